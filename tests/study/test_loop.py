"""The loop over trials: exact budget, what ends it, and what it says to threads without a trial."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.config import StudyConfig
from search.space.space import SearchSpace
from search.study.loop import SearchStopped, require_a_trial
from search.study.storage.opening import open_storage
from search.study.strategy import build_sampler
from search.study.trials import count_by_state, read_trials
from search.worker.tasks import RecipeTrainer, TrainingFailed, TrainMessage, TrainTask
from tests.support.training.trainers import (
    by_filters,
    objective_of,
    open_study,
    point,
    run_trials,
)

pytestmark = pytest.mark.studies


@pytest.mark.parametrize("n_jobs", [1, 2, 4])
def test_study_ends_with_exactly_the_trials_asked_for(config: StudyConfig, space: SearchSpace, n_jobs: int) -> None:
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=13, n_jobs=n_jobs)
    counts = count_by_state(study)
    assert len(study.trials) == 13
    assert counts["running"] == counts["waiting"] == 0


def test_worker_without_a_trial_is_told_while_the_last_trial_still_runs(
    config: StudyConfig, space: SearchSpace
) -> None:
    idle = threading.Event()
    n_running: list[int] = []
    study = open_study(config, space)

    def wait_for_the_other(trial: optuna.Trial) -> float:
        if trial.number == 3:
            assert idle.wait(30), "the other worker was not told"
        return 0.5

    def when_idle() -> None:
        n_running.append(count_by_state(study)["running"])
        idle.set()

    run_trials(study, wait_for_the_other, n_trials=4, n_jobs=2, when_idle=when_idle)
    assert n_running == [1, 0]
    assert len(study.trials) == 4


def test_second_run_adds_only_what_is_missing(config: StudyConfig, space: SearchSpace) -> None:
    run_trials(open_study(config, space), objective_of(space, by_filters), n_trials=5)
    run_trials(open_study(config, space), objective_of(space, by_filters), n_trials=9)
    run_trials(open_study(config, space), objective_of(space, by_filters), n_trials=9)
    assert len(open_study(config, space).trials) == 9


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_seed_counts_with_several_workers_too(tmp_path: Path, sampler: str) -> None:
    def drawn_by_two_threads(seed: int, name: str) -> list[int]:
        storage = open_storage(f"sqlite:///{tmp_path}/{name}.db")
        study = optuna.create_study(storage=storage, direction="maximize", sampler=build_sampler(sampler, seed, 0))
        run_trials(study, lambda trial: trial.suggest_int("n", 0, 10**9) * 0.0, n_trials=8, n_jobs=2)
        return sorted(trial.params["n"] for trial in study.trials)

    assert drawn_by_two_threads(5, "a") == drawn_by_two_threads(5, "b")
    assert drawn_by_two_threads(5, "c") != drawn_by_two_threads(6, "d")


def test_bug_in_the_objective_ends_the_run_with_its_trace_and_loses_no_trial(
    config: StudyConfig, space: SearchSpace
) -> None:
    def buggy(task: TrainTask) -> Generator[TrainMessage, None, None]:
        yield point(1000, 0.5)
        raise KeyError("a bug")

    study = open_study(config, space)
    with pytest.raises(KeyError, match="a bug"):
        run_trials(study, objective_of(space, buggy), n_trials=9, n_jobs=2)
    assert all(trial.state == TrialState.WAITING for trial in study.trials)


def failing(kind: str, reason: Callable[[TrainTask], str]) -> RecipeTrainer:
    def train(task: TrainTask) -> Generator[TrainMessage, None, None]:
        yield point(1000, 0.5)
        raise TrainingFailed(kind, reason(task), "Traceback of the worker")

    return train


def test_failed_trial_is_recorded_with_its_reason_and_the_search_goes_on(
    config: StudyConfig, space: SearchSpace
) -> None:
    study = open_study(config, space)
    run_trials(study, objective_of(space, failing("memory", lambda task: f"seed {task.seed}")), n_trials=6)
    records = read_trials(study)
    assert [record.state for record in records] == ["failed"] * 6
    assert all(record.reason.startswith("failed (memory): seed") and record.value is None for record in records)


def test_diverging_trials_never_stop_the_search(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    run_trials(study, objective_of(space, failing("diverged", lambda task: "loss is nan")), n_trials=8)
    assert count_by_state(study)["failed"] == 8


def test_equal_failures_in_a_row_stop_the_search_with_the_trace_once(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    with pytest.raises(SearchStopped, match=r"3 trials in a row failed \(error\): broken\nTraceback of the worker"):
        run_trials(study, objective_of(space, failing("error", lambda task: "broken")), n_trials=50, n_jobs=2)
    assert len(study.trials) <= 6


def test_memory_that_no_training_keeps_within_stops_the_search_although_each_takes_another_amount(
    config: StudyConfig, space: SearchSpace
) -> None:
    study = open_study(config, space)
    study.tell(study.ask(), state=TrialState.PRUNED)  # as an infeasible one, which nothing was trained of
    trainer = failing("memory", lambda task: f"the process used {task.seed} MB, over its limit of 1 MB")
    with pytest.raises(SearchStopped, match=r"3 trials in a row failed \(memory\): .* used more memory, over"):
        run_trials(study, objective_of(space, trainer), n_trials=50)
    assert len(study.trials) <= 6


@pytest.mark.follows("no trial of study {} could be trained: {} of {} failed, the last as {}; remove the cause, then")
def test_search_whose_trials_all_failed_has_found_nothing_until_one_trains(
    config: StudyConfig, space: SearchSpace
) -> None:
    study = open_study(config, space)
    require_a_trial(study)  # none has ended yet
    run_trials(study, objective_of(space, failing("diverged", lambda task: "loss is nan")), n_trials=4)
    with pytest.raises(SearchStopped, match=r"4 of 4 failed, .*loss is nan; .* --trials above 4 tries more"):
        require_a_trial(study)
    run_trials(study, objective_of(space, by_filters), n_trials=5)
    require_a_trial(study)
