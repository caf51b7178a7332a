"""What this project takes from Optuna and optuna-dashboard without it being public: one contract for each name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers._tpe.sampler import default_gamma
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.study import optuna_private
from search.study.attributes import set_attributes
from search.study.optuna_private import RewrittenTrial
from search.study.requeue import requeue_running
from search.study.storage.opening import StudyStorage, open_storage
from search.study.storage.retry import RetryPolicy, T
from search.study.strategy import BoundedTPESampler


@pytest.fixture
def storage(tmp_path: Path) -> StudyStorage:
    return open_storage(f"sqlite:///{tmp_path}/s.db")


@pytest.fixture
def study(storage: StudyStorage) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=storage, direction="maximize")


def test_key_of_a_trial_finds_it_in_the_storage(storage: StudyStorage, study: optuna.Study) -> None:
    optuna.create_study(study_name="other", storage=storage).ask()  # so that keys and numbers differ
    trial = study.ask()
    assert (trial.number, storage.get_trial(optuna_private.id_of(trial)).number) == (0, 0)
    assert optuna_private.id_of(trial) == optuna_private.id_of(study.trials[0]) != 0


def test_key_of_a_study_finds_its_trials(storage: StudyStorage, study: optuna.Study) -> None:
    study.ask()
    assert len(storage.get_all_trials(optuna_private.study_id_of(study))) == 1


def test_storage_behind_the_cache_is_the_one_that_was_given(storage: StudyStorage, study: optuna.Study) -> None:
    assert optuna_private.uncached_storage_of(study) is storage
    in_memory = optuna.create_study()
    assert isinstance(optuna_private.uncached_storage_of(in_memory), optuna.storages.InMemoryStorage)


def test_excerpt_shows_the_selected_trials_and_is_the_study_in_all_else(study: optuna.Study) -> None:
    for state in (TrialState.PRUNED, TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING):
        trial = study.ask()
        if state != TrialState.RUNNING:
            study.tell(trial, state=state)
    excerpt = optuna_private.StudyExcerpt(study, lambda trials: trials[1:])
    assert [trial.number for trial in excerpt.get_trials()] == [1, 2, 3]
    assert [trial.number for trial in excerpt.get_trials(deepcopy=False, states=(TrialState.PRUNED,))] == [2]
    assert optuna_private.study_id_of(excerpt) == optuna_private.study_id_of(study)
    assert (excerpt.direction, excerpt.study_name) == (study.direction, "s")
    study.ask()
    assert len(excerpt.trials) == 3, "it is read once"
    assert len(optuna_private.StudyExcerpt(study, lambda trials: trials).trials) == 5


def test_sampler_reads_the_trials_through_the_excerpt(study: optuna.Study) -> None:
    """Each read of the storage is one call of `select`: one for what Optuna keeps for this suggestion, one for now."""
    sampler = optuna.samplers.TPESampler(n_startup_trials=2, multivariate=True, seed=0)
    for _ in range(3):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 0.5)
    running = optuna_private.stored(study.ask())
    sizes: list[int] = []

    def select(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
        sizes.append(len(trials))
        return trials[:1]

    def excerpt(*, is_recent: bool = False) -> optuna.Study:
        return optuna_private.StudyExcerpt(study, select, is_recent=is_recent)

    space = sampler.infer_relative_search_space(excerpt(), running)
    assert space.keys() == {"x"}
    assert sampler.sample_relative(excerpt(), running, space) == {}, "of one trial nothing is learned"
    assert sizes == [4, 4]
    drawn = optuna_private.StudyExcerpt(study, lambda trials: trials, is_recent=True)
    assert sampler.sample_relative(drawn, running, space).keys() == {"x"}


def test_sampler_calls_as_many_trials_good_at_the_bound_as_in_any_larger_study() -> None:
    sampler = BoundedTPESampler
    assert sampler.N_GOOD == default_gamma(sampler.HISTORY) == default_gamma(100_000)


def test_queued_parameters_are_known_before_they_are_drawn(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.5})
    assert optuna_private.queued_params(study.trials[0]) == {"x": 0.5}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_parameters_are_known_that_were_drawn_and_not_asked_for(study: optuna.Study) -> None:
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=2, multivariate=True, group=True, seed=0)
    for _ in range(3):
        trial = study.ask()
        both = trial.suggest_float("x", 0, 1), trial.suggest_categorical("kind", ["a", "b"])
        study.tell(trial, both[0])
    trial = study.ask()
    x = trial.suggest_float("x", 0, 1)
    drawn = optuna_private.params_drawn_for(optuna_private.stored(trial))
    assert trial.params == {"x": x}
    assert drawn == {"x": x, "kind": trial.suggest_categorical("kind", ["a", "b"])}


def test_stored_trial_has_reports_and_constraints_of_the_running_one(study: optuna.Study) -> None:
    trial = study.ask()
    assert (optuna_private.stored(trial).intermediate_values, optuna_private.stored(trial).constraints) == ({}, {})
    trial.report(0.5, 10)
    trial.set_constraint("size", -0.5)
    assert optuna_private.stored(trial).intermediate_values == {10: 0.5}
    assert optuna_private.stored(trial).constraints == {"size": -0.5}


def test_attributes_beside_a_study_and_a_trial_come_back(study: optuna.Study) -> None:
    trial = study.ask()
    optuna_private.set_study_system_attr(study, "a", [1])
    optuna_private.set_trial_system_attr(trial, "b", {"c": 2})
    assert optuna_private.study_system_attrs(study)["a"] == [1]
    assert study.trials[0].system_attrs["b"] == {"c": 2}


def test_notes_have_the_keys_and_the_length_of_the_dashboard(study: optuna.Study) -> None:
    from optuna_dashboard import _note as note  # 2 s: in no other test of this file

    trial = study.ask()
    for each, key in ((None, None), (trial, optuna_private.id_of(trial))):
        assert optuna_private.note_version_key(each) == note.note_ver_key(key)
        assert optuna_private.note_piece_prefix(each) == note.note_str_key_prefix(key)
    assert note.SYSTEM_ATTR_MAX_LENGTH == optuna_private.NOTE_PIECE_CHARACTERS


def test_artifacts_have_the_prefix_of_optuna() -> None:
    assert optuna_private.ARTIFACT_PREFIX == ARTIFACTS_ATTR_PREFIX


def test_tables_are_seen_once_optuna_has_made_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        assert not optuna_private.has_tables(connection)
    RDBStorage(url)
    with engine.connect() as connection:
        assert optuna_private.has_tables(connection)


def test_study_attribute_is_read_through_any_connection(storage: StudyStorage, study: optuna.Study) -> None:
    study.set_user_attr("who", {"token": "a"})
    optuna.create_study(study_name="other", storage=storage).set_user_attr("who", 1)
    with sqlalchemy.create_engine(storage.url).connect() as connection:
        assert optuna_private.read_study_user_attr(connection, "s", "who") == {"token": "a"}
        assert optuna_private.read_study_user_attr(connection, "s", "what") is None
        assert optuna_private.read_study_user_attr(connection, "missing", "who") is None


def rewritten(trial: optuna.trial.FrozenTrial, **changes: Any) -> RewrittenTrial:
    kept = {"params": trial.params, "distributions": trial.distributions, "constraints": trial.constraints}
    given: dict[str, Any] = {"queued_params": None, "waits_again": False, **kept, **changes}
    return RewrittenTrial(trial_id=optuna_private.id_of(trial), **given)


def test_finished_trials_are_rewritten_with_other_choices_which_optuna_itself_refuses(
    storage: StudyStorage, study: optuna.Study
) -> None:
    for chosen in ("b", "a"):
        study.enqueue_trial({"kind": chosen})
        trial = study.ask()
        trial.suggest_categorical("kind", ["a", "b"])
        trial.set_constraint("size", 1.0)
        study.tell(trial, 0.5)
    with pytest.raises(ValueError, match="does not support dynamic value space"):
        study.ask().suggest_categorical("kind", ["c", "a", "b"])
    larger = {"kind": CategoricalDistribution(["c", "a", "b"]), "x": FloatDistribution(0, 1)}
    changes = [
        rewritten(trial, params={**trial.params, "x": 0.25}, distributions=larger, constraints={"size": -0.5})
        for trial in study.trials[:2]
    ]
    storage.rewrite_trials(optuna_private.study_id_of(study), changes, {"new": 1, "other": [2]})
    storage.rewrite_trials(optuna_private.study_id_of(study), changes, {"new": 3})
    again = optuna.load_study(study_name="s", storage=storage)
    assert again.user_attrs == {"new": 3, "other": [2]}
    for trial, chosen in zip(again.trials[:2], ("b", "a"), strict=True):
        assert (trial.params, trial.distributions) == ({"kind": chosen, "x": 0.25}, larger)
        assert (trial.constraints, trial.state, trial.value) == ({"size": -0.5}, TrialState.COMPLETE, 0.5)
        assert optuna_private.queued_params(trial) == {}
    assert again.ask().suggest_categorical("kind", ["c", "a", "b"]) in ("a", "b", "c")


def test_rewritten_trial_may_wait_again_with_what_was_queued(storage: StudyStorage, study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.5})
    trial = study.ask()
    set_attributes(trial, recipe={"a": 1}, reason="infeasible: too large")
    study.tell(trial, state=TrialState.PRUNED)
    change = rewritten(study.trials[0], queued_params={"x": 0.5, "y": 2}, waits_again=True)
    storage.rewrite_trials(optuna_private.study_id_of(study), [change], {})
    again = optuna.load_study(study_name="s", storage=storage).trials[0]
    assert (again.state, again.user_attrs, again.datetime_complete) == (TrialState.WAITING, {"recipe": {"a": 1}}, None)
    assert optuna_private.queued_params(again) == {"x": 0.5, "y": 2}


def test_rewriting_that_fails_changes_nothing(storage: StudyStorage, study: optuna.Study) -> None:
    for _ in range(2):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 0.5)
    before = study.get_trials()
    changes = [rewritten(before[0], params={}), rewritten(before[1], params={"y": 1.0})]  # y has no distribution
    with pytest.raises(KeyError):
        storage.rewrite_trials(optuna_private.study_id_of(study), changes, {"new": 1})
    again = optuna.load_study(study_name="s", storage=storage)
    assert (again.get_trials(), again.user_attrs) == (before, {})


def test_constraints_have_the_key_of_optuna(study: optuna.Study) -> None:
    trial = study.ask()
    trial.set_constraint("size", -0.5)
    assert study.trials[0].system_attrs[f"{optuna_private._CONSTRAINTS_KEY}:size"] == -0.5


class Watching(RetryPolicy):
    """Knows whether a call is under way."""

    depth = 0

    def call(self, function: Callable[[], T]) -> T:
        self.depth += 1
        try:
            return super().call(function)
        finally:
            self.depth -= 1


def test_everything_that_a_study_reads_or_writes_is_retried(storage: StudyStorage) -> None:
    """A name that a new release of Optuna adds to the way of a trial would be found here."""
    storage.retry_policy = watching = Watching(seconds=0.0)
    unprotected: list[str] = []

    def on_statement(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if watching.depth == 0:
            unprotected.append(statement)

    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", on_statement)
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize", load_if_exists=True)
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize", load_if_exists=True)
    study = optuna.load_study(study_name="s", storage=storage, pruner=optuna.pruners.MedianPruner(n_startup_trials=0))
    study.set_user_attr("a", 1)
    optuna_private.set_study_system_attr(study, "b", 1)
    assert (study.user_attrs, study.directions) == ({"a": 1}, [optuna.study.StudyDirection.MAXIMIZE])
    study.enqueue_trial({"x": 0.1}, user_attrs={"origin": "default"})
    for _ in range(3):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("kind", ["a", "b"])
        trial.set_user_attr("recipe", {})
        trial.set_constraint("size", -1.0)
        trial.report(0.5, 10)
        trial.should_prune()
        study.tell(trial, 0.5)
    study.tell(study.ask(), state=TrialState.FAIL)
    assert study.best_trial.value == 0.5
    assert len(study.trials) == 4
    optuna_private.study_system_attrs(study)
    study.ask({"x": FloatDistribution(0, 1)})
    requeue_running(study, storage, are_losses=True)
    assert unprotected == []
