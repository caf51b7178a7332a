"""A storage that one process holds: trials from memory are those of the database, and what belongs together is."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc

from search.space.space import SearchSpace
from search.study.attributes import set_attributes
from search.study.objective import Objective
from search.study.optuna_private import (
    RelationalStorage,
    id_of,
    set_study_system_attr,
    set_trial_system_attr,
    study_system_attrs,
    together,
)
from search.study.requeue import requeue
from search.study.storage.held import TrialMirror
from search.study.storage.opening import StudyStorage, open_storage
from search.study.storage.retry import RetryPolicy, retried
from search.study.strategy import build_pruner, build_rungs, build_sampler
from search.worker.tasks import TrainingFailed
from tests.benchmarks.study_growth import FakeTrainer, site


@pytest.fixture
def storage(tmp_path: Path) -> StudyStorage:
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    storage.hold_trials()
    return storage


@pytest.fixture
def study(storage: StudyStorage) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=storage, direction="maximize")


def trials_in_database(storage: StudyStorage) -> list[FrozenTrial]:
    """What another process would read now."""
    return optuna.load_study(study_name="s", storage=open_storage(storage.url)).get_trials(deepcopy=False)


def count_commits(storage: StudyStorage) -> list[None]:
    """A list that grows by one with each transaction that writes."""
    commits: list[None] = []
    sqlalchemy.event.listen(storage.engine, "commit", lambda connection: commits.append(None))
    return commits


def test_trials_in_memory_are_those_of_the_database(storage: StudyStorage, study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.25}, user_attrs={"origin": "default"})
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING):
        trial = study.ask()
        trial.suggest_float("x", 0.1, 1, log=True)
        trial.suggest_int("n", 1, 64, log=True)
        trial.suggest_categorical("kind", ["a", None, 3, 0.1, True])
        trial.set_user_attr("history", ({"score": 0.1 + 0.2, 5: ()},))
        trial.set_user_attr("history", [("again", float("inf"))])
        trial.set_constraint("size", -1 / 3)
        set_trial_system_attr(trial, "drawn-from", {"rungs": (1, 2)})
        for step, score in ((2000, 0.1 + 0.7), (1000, float("-inf")), (3000, 1 / 3), (2000, 0.5)):
            trial.report(score, step)
        if state != TrialState.RUNNING:
            study.tell(trial, 1 / 3 if state == TrialState.COMPLETE else None, state)
    study.enqueue_trial({"x": 0.5})
    in_memory, in_database = study.get_trials(deepcopy=False), trials_in_database(storage)
    assert len(in_memory) == 5
    for mine, theirs in zip(in_memory, in_database, strict=True):
        assert vars(mine) == vars(theirs)
        assert list(mine.params) == list(theirs.params), "in the order of their suggestion"


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_search_of_a_held_storage_is_that_of_any_other(tmp_path: Path, space: SearchSpace, sampler: str) -> None:
    """With one worker, to the bit: parameters, values, reports and attributes, what takes seconds left aside."""
    found = []
    for holds in (True, False):
        storage = open_storage(f"sqlite:///{tmp_path}/{holds}.db")
        if holds:
            storage.hold_trials()
        study = optuna.create_study(
            study_name="s",
            storage=storage,
            direction="maximize",
            sampler=build_sampler(sampler, 0),
            pruner=build_pruner("asha", space.fidelity),
        )
        for entry in space.portfolio:
            study.enqueue_trial(entry.params, user_attrs={"origin": entry.name})
        objective = Objective(space, FakeTrainer(3, 0.1), site(), 0, build_rungs("asha", space.fidelity))
        study.optimize(objective, n_trials=40, catch=(TrainingFailed,))
        trials = trials_in_database(storage)
        for trial in trials:
            trial.datetime_start = trial.datetime_complete = None
            del trial.user_attrs["seconds"]
        found.append([vars(trial) for trial in trials])
    assert found[0] == found[1]
    assert len(found[0]) == 40


def test_what_belongs_together_is_one_transaction(storage: StudyStorage, study: optuna.Study) -> None:
    study.ask().suggest_float("x", 0, 1)  # Optuna compares a name's first distribution with the stored ones
    trial, commits = study.ask(), count_commits(storage)
    with together(trial):
        trial.suggest_float("x", 0, 1)
        set_attributes(trial, n_images=5, seconds=1.5)
        trial.report(0.5, 10)
        set_trial_system_attr(trial, "key", [1])
        set_study_system_attr(study, "note", "text")
        assert trials_in_database(storage)[1].params == {}
        assert list(study.trials[1].params) == ["x"], "this process sees it at once"
        del commits[:]  # of reading
    assert len(commits) == 1
    stored = trials_in_database(storage)[1]
    assert (stored.user_attrs, stored.intermediate_values) == ({"n_images": 5, "seconds": 1.5}, {10: 0.5})
    assert (stored.system_attrs["key"], study_system_attrs(study)["note"]) == ([1], "text")


def test_what_was_given_before_an_error_is_stored(storage: StudyStorage, study: optuna.Study) -> None:
    trial = study.ask()
    with pytest.raises(optuna.TrialPruned), together(trial):
        set_attributes(trial, reason="infeasible")
        raise optuna.TrialPruned
    assert trials_in_database(storage)[0].user_attrs == {"reason": "infeasible"}


def test_trial_counts_as_finished_after_all_else_of_it_is_stored(storage: StudyStorage, study: optuna.Study) -> None:
    trial, seen = study.ask(), []

    def on_statement(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE trials"):
            seen.append(trials_in_database(storage)[0].user_attrs)

    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", on_statement)
    with together(trial):
        set_attributes(trial, reason="trained to the end")
        study.tell(trial, 0.5)
    assert seen == [{"reason": "trained to the end"}]


def test_finished_trial_takes_no_more(study: optuna.Study) -> None:
    trial = study.ask()
    study.tell(trial, 0.5)
    for write in (
        lambda: trial.set_user_attr("a", 1),
        lambda: trial.report(0.1, 1),
        lambda: trial.suggest_int("n", 1, 2),
    ):
        with pytest.raises(UpdateFinishedTrialError), together(trial):
            write()


def test_other_distribution_of_a_name_is_refused_where_it_is_suggested(study: optuna.Study) -> None:
    for _ in range(2):
        study.ask().suggest_categorical("kind", ["a", "b"])
    trial = study.ask()
    with together(trial), pytest.raises(ValueError, match="does not support dynamic value space"):
        trial.suggest_categorical("kind", ["a", "c"])


def test_trial_that_could_not_be_stored_is_what_the_database_has(storage: StudyStorage, study: optuna.Study) -> None:
    storage.retry_policy = RetryPolicy(seconds=0.0)
    trial = study.ask()
    set_attributes(trial, n_images=5)

    def fail(*_: object) -> None:
        raise exc.OperationalError("INSERT", {}, sqlite3.OperationalError("no such table"))

    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", fail)
    with pytest.raises(exc.OperationalError), together(trial):
        trial.set_user_attr("n_images", 6)
        assert storage.get_trial(id_of(trial)).user_attrs == {"n_images": 6}
    sqlalchemy.event.remove(storage.engine, "before_cursor_execute", fail)
    assert storage.get_trial(id_of(trial)).user_attrs == {"n_images": 5}


def test_running_trials_are_not_read_again(storage: StudyStorage, study: optuna.Study) -> None:
    for _ in range(3):
        study.ask().suggest_float("x", 0, 1)
    statements: list[str] = []
    sqlalchemy.event.listen(
        storage.engine, "before_cursor_execute", lambda connection, cursor, statement, *_: statements.append(statement)
    )
    assert [list(trial.params) for trial in study.get_trials()] == [["x"]] * 3
    assert statements == []


def test_trial_given_out_does_not_change_and_may_be_written_to(storage: StudyStorage, study: optuna.Study) -> None:
    trial = study.ask()
    before = study.get_trials(deepcopy=False)[0]
    trial.set_user_attr("a", 1)
    own = storage.get_trial(id_of(trial))
    own.user_attrs["a"] = 2
    assert (before.user_attrs, study.trials[0].user_attrs) == ({}, {"a": 1})


def test_no_trial_of_many_threads_is_missed(storage: StudyStorage, study: optuna.Study) -> None:
    """All of them create, write and finish trials, and read all of them, at the same time."""

    def work() -> None:
        for _ in range(5):
            trial = study.ask()
            with together(trial):
                trial.suggest_float("x", 0, 1)
                trial.set_user_attr("n_images", trial.number)
            study.get_trials(deepcopy=False)
            study.tell(trial, 0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = study.get_trials(deepcopy=False)
    assert [trial.user_attrs["n_images"] for trial in trials] == list(range(40))
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert [vars(trial) for trial in trials] == [vars(trial) for trial in trials_in_database(storage)]


def test_storage_that_nobody_holds_sees_what_others_write(tmp_path: Path) -> None:
    mine, theirs = (open_storage(f"sqlite:///{tmp_path}/s.db") for _ in range(2))
    study = optuna.create_study(study_name="s", storage=mine)
    trial = optuna.load_study(study_name="s", storage=theirs).ask()
    assert study.trials[0].user_attrs == {}
    with together(trial):
        trial.set_user_attr("a", 1)
        assert study.trials[0].user_attrs == {"a": 1}


def test_change_that_comes_while_a_trial_is_read_is_not_lost(frozen: Callable[[dict], FrozenTrial]) -> None:
    """The other thread changes the storage after it was read, and says so before what was read is kept."""
    changing = threading.Thread(target=lambda: mirror.change(7, user_attrs={"a": 2}))

    def read(key: int) -> FrozenTrial:
        if not changing.ident:
            changing.start()
            changing.join(0.05)  # it waits for this reading
        return frozen({"a": 1})

    mirror = TrialMirror(read, lambda study_key: {})
    mirror.trial(7)
    changing.join()
    assert mirror.trial(7).user_attrs == {"a": 2}


@pytest.fixture
def frozen() -> Callable[[dict], FrozenTrial]:
    def make(user_attrs: dict) -> FrozenTrial:
        return optuna.trial.create_trial(state=TrialState.WAITING, user_attrs=user_attrs)

    return make


def test_trial_that_waits_again_is_seen(storage: StudyStorage, study: optuna.Study) -> None:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    requeue(study.trials[0], storage, is_loss=True)
    (again,) = study.get_trials(deepcopy=False)
    assert (again.state, again.user_attrs["n_losses"], list(again.params)) == (TrialState.WAITING, 1, ["x"])
    assert study.ask().number == trial.number


def test_trial_that_the_database_began_before_it_went_away_is_known(
    storage: StudyStorage, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.ask()
    goes_away = [True]

    def create_without_an_answer(*arguments: Any) -> FrozenTrial:
        trial = RDBStorage._create_new_trial(*arguments)
        if goes_away:
            goes_away.pop()
            raise exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))
        return trial

    monkeypatch.setattr(RelationalStorage, "create_trial", retried(create_without_an_answer))
    storage.retry_policy = RetryPolicy(seconds=60)
    assert study.ask().number == 2
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING] * 3
    assert study.trials == trials_in_database(storage)
