"""The study: exact budget, repair after a kill, failure policy. A fake trainer stands in for the worker processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from fmnist.errors import UserError
from fmnist.training.history import HistoryPoint
from search.config import SHIPPED_SPACES, StudyConfig
from search.records.files import StudyFiles
from search.refit.finalists import choose_finalists
from search.space.space import SearchSpace
from search.study.leases import MAX_LOSSES, TrialLeases
from search.study.locks import hold
from search.study.loop import SearchStopped
from search.study.loop import run_trials as run_trials_of
from search.study.objective import Objective
from search.study.storage import StudyStorage, open_storage
from search.study.strategy import build_rungs, build_sampler
from search.study.study import check_identity, create_or_resume, storage_url
from search.study.trials import count_by_state, importances, read_speeds, read_trials
from search.worker.tasks import Interrupted, Trainer, TrainingFailed, TrainingSite, TrainResult, TrainTask
from tests.support.spaces import space_from


@pytest.fixture
def space() -> SearchSpace:
    return space_from(SHIPPED_SPACES / "digits.toml", (8, 8, 1), 10)


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return StudyConfig(study="s", dataset="digits", studies_dir=tmp_path)


def open_study(config: StudyConfig, space: SearchSpace) -> optuna.Study:
    files = StudyFiles(config.folder)
    files.root.mkdir(parents=True, exist_ok=True)
    return create_or_resume(config, space, open_storage(storage_url(config, files)))


def run_trials(study: optuna.Study, objective: Callable[[optuna.Trial], float], **more: object) -> None:
    run_trials_of(study, objective, storage_of(study), **more)


def storage_of(study: optuna.Study) -> StudyStorage:
    return study._storage._backend


def objective_of(space: SearchSpace, trainer: Trainer, **more: object) -> Objective:
    site = TrainingSite(Path("unused"), 128.0, 64.0, 959, memory_limit_mb=None)
    return Objective(space, trainer, site, 0, build_rungs("asha", space.fidelity), **more)


def point(n_images: int, accuracy: float) -> HistoryPoint:
    return HistoryPoint(n_images, 0.1, 1e-3, 1.0, 0.5, 0.9, accuracy)


def fake_trainer(accuracy_of: Callable[[TrainTask], float]) -> Trainer:
    """Reports a rising accuracy at every mark, without training anything."""

    def train(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        accuracy = accuracy_of(task)
        for length in (task.n_planned_images, *task.further_lengths):
            marks = range(task.report_every_images, length + 1, task.report_every_images)
            history = tuple(point(mark, accuracy * (0.9 + 0.1 * mark / length)) for mark in marks)
            yield from history
            yield TrainResult(history, history[-1], history[-1].n_images, 0.1, 0.1, "end", 100.0)

    return train


by_filters = fake_trainer(lambda task: min(0.99, 0.5 + task.recipe.architecture.blocks[0].filters / 100))


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


def test_resumed_study_does_not_repeat_the_draws_of_the_first_run(config: StudyConfig, space: SearchSpace) -> None:
    for n_trials in (5, 10):
        run_trials(open_study(config, space), objective_of(space, by_filters), n_trials=n_trials)
    sampled = [
        json.dumps(trial.params) for trial in read_trials(open_study(config, space)) if trial.origin == "sampler"
    ]
    assert len(set(sampled)) == len(sampled) == 8


def test_speed_is_known_before_a_trial_has_ended(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    running = []

    def seconds_left() -> float:
        running.extend(trial for trial in read_trials(study) if trial.state == "running")
        return 1000.0

    run_trials(study, objective_of(space, by_filters, seconds_left=seconds_left), n_trials=9)
    assert {trial.n_images for trial in running} == {0, 4_000}
    assert all(trial.seconds > 0 for trial in running if trial.n_images)


def ended(study: optuna.Study, n_images: int, seconds: float, value: float | None = None) -> None:
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    attributes = {"n_images": n_images, "seconds": seconds}
    study.add_trial(optuna.trial.create_trial(state=state, value=value, user_attrs=attributes))


def test_trial_that_the_clock_ended_while_it_was_setting_up_is_not_taken_for_slow() -> None:
    study = optuna.create_study(direction="maximize")
    assert read_speeds(study, 3) == []
    ended(study, 128, 3.0)
    assert read_speeds(study, 3) == [128 / 3], "nothing else is known"
    ended(study, 64_000, 64.0)
    ended(study, 80_000, 40.0)
    ended(study, 16_000, 8.0)
    assert read_speeds(study, 3) == [1_000, 2_000]
    ended(study, 256_000, 512.0, 0.9)
    assert read_speeds(study, 3) == [500], "of the complete one: it would be a finalist"


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_seed_counts_with_several_workers_too(tmp_path: Path, sampler: str) -> None:
    def drawn_by_two_threads(seed: int, name: str) -> list[int]:
        storage = open_storage(f"sqlite:///{tmp_path}/{name}.db")
        study = optuna.create_study(storage=storage, direction="maximize", sampler=build_sampler(sampler, seed, 0))
        run_trials(study, lambda trial: trial.suggest_int("n", 0, 10**9) * 0.0, n_trials=8, n_jobs=2)
        return sorted(trial.params["n"] for trial in study.trials)

    assert drawn_by_two_threads(5, "a") == drawn_by_two_threads(5, "b")
    assert drawn_by_two_threads(5, "c") != drawn_by_two_threads(6, "d")


def test_portfolio_comes_first_and_default_is_trial_0(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=3)
    assert [trial.origin for trial in read_trials(study)] == ["default", "notebook, shallow", "sampler"]


def test_default_recipe_is_never_pruned(config: StudyConfig, space: SearchSpace) -> None:
    worst_default = fake_trainer(lambda task: 0.1 if task.seed == default_seed else 0.9)
    seeds: list[int] = []
    run_trials(open_study(config, space), objective_of(space, _noting(seeds)), n_trials=1)
    default_seed = seeds[0]
    fresh = replace(config, study="fresh")
    study = open_study(fresh, space)
    run_trials(study, objective_of(space, worst_default), n_trials=12, n_jobs=1)
    assert read_trials(study)[0].state == "complete"


def _noting(seeds: list[int]) -> Trainer:
    def accuracy_of(task: TrainTask) -> float:
        seeds.append(task.seed)
        return 0.5

    return fake_trainer(accuracy_of)


def test_bad_trials_are_pruned_and_say_where(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=30)
    pruned = [trial for trial in read_trials(study) if trial.state == "pruned"]
    assert pruned
    assert all(trial.reason == "pruned after 4,000 images" for trial in pruned)
    assert all(trial.best is not None and trial.n_images == 4_000 for trial in pruned)


def test_rung_is_a_training_of_its_own_with_its_own_schedule(config: StudyConfig, space: SearchSpace) -> None:
    tasks: list[TrainTask] = []

    def noting(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        tasks.append(task)
        yield from by_filters(task)

    study = open_study(config, space)
    run_trials(study, objective_of(space, noting), n_trials=8)
    assert [(task.n_planned_images, *task.further_lengths) for task in tasks[2:]] == [(4_000, 16_000)] * 6
    climbed = next(trial for trial in read_trials(study)[2:] if trial.state == "complete")
    trial = study.trials[climbed.number]
    assert trial.last_step == 20_000
    assert climbed.n_images == 20_000
    assert trial.value == trial.intermediate_values[20_000]


@pytest.mark.parametrize(("attributes", "state"), [({"passed_step": 4_000}, "complete"), ({}, "pruned")])
def test_trial_that_runs_again_is_not_asked_at_rungs_it_had_passed(
    tmp_path: Path, space: SearchSpace, attributes: dict[str, int], state: str
) -> None:
    class Strict(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, direction="maximize", pruner=Strict())
    study.enqueue_trial(space.portfolio[1].params, user_attrs=attributes)  # no origin: it starts at the first rung
    run_trials(study, objective_of(space, by_filters), n_trials=1)
    assert read_trials(study)[0].state == state


def test_default_recipe_trains_on_the_last_rung_at_once_and_reports_the_same_steps(
    config: StudyConfig, space: SearchSpace
) -> None:
    tasks: list[TrainTask] = []

    def noting(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        tasks.append(task)
        yield from by_filters(task)

    study = open_study(config, space)
    run_trials(study, objective_of(space, noting), n_trials=1)
    assert [(task.n_planned_images, task.further_lengths) for task in tasks] == [(16_000, ())]
    assert study.trials[0].last_step == 20_000
    assert read_trials(study)[0].n_images == 16_000


def test_rest_of_the_portfolio_is_spared_the_first_rung_and_no_other(config: StudyConfig, space: SearchSpace) -> None:
    tasks: list[TrainTask] = []

    def noting(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        tasks.append(task)
        yield from by_filters(task)

    fidelity = replace(space.fidelity, first_rung_images=1_000)
    study = open_study(config, space)
    run_trials(study, objective_of(replace(space, fidelity=fidelity), noting), n_trials=3)
    lengths = [(task.n_planned_images, *task.further_lengths) for task in tasks]
    assert lengths == [(16_000,), (4_000, 16_000), (1_000, 4_000, 16_000)]
    assert study.trials[1].last_step in (5_000, 21_000)


def test_value_is_the_best_point_not_the_last(config: StudyConfig, space: SearchSpace) -> None:
    def falling(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        for end in (task.n_planned_images, *task.further_lengths):
            history = (point(1000, 0.5), point(2000, 0.9), point(end, 0.4))
            yield from history
            yield TrainResult(history, history[1], end, 0.1, 0.1, "end", 100.0)

    study = open_study(config, space)
    run_trials(study, objective_of(space, falling), n_trials=1)
    record = read_trials(study)[0]
    assert record.value == 0.9
    assert record.best.n_images == 2000


def test_network_over_the_limit_is_infeasible_and_never_trained(config: StudyConfig, space: SearchSpace) -> None:
    def refuse(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        raise AssertionError("trained")
        yield

    study = open_study(config, space)
    run_trials(study, objective_of(space, refuse, max_parameters=10), n_trials=4)
    assert {trial.state for trial in read_trials(study)} == {"infeasible"}
    assert all("over max_parameters = 10" in trial.reason for trial in read_trials(study))
    assert all(max(trial.constraints.values()) > 0 for trial in study.trials)


# --- kills and stops


KILLED_RUN = """
import os, signal, sys, threading
from pathlib import Path
import tests.study.test_study as t
from search.config import SHIPPED_SPACES, StudyConfig
from search.space.schema import read_space_text, space_of
space = space_of(read_space_text(SHIPPED_SPACES / "digits.toml"), "digits", (8, 8, 1), 10)
config = StudyConfig(study="s", dataset="digits", studies_dir=Path(sys.argv[1]))
n_points = 0
def dying(task):
    for message in t.by_filters(task):
        global n_points
        n_points += 1
        if n_points > 60:
            os.kill(os.getpid(), signal.SIGKILL)
        yield message
t.run_trials(t.open_study(config, space), t.objective_of(space, dying), n_trials=20, n_jobs=2)
"""


@pytest.mark.process
@pytest.mark.faults
def test_killed_run_goes_on_to_exactly_n_trials_none_running_none_lost(
    config: StudyConfig, space: SearchSpace, tmp_path: Path
) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED_RUN, str(tmp_path)], cwd=Path(__file__).parents[2])
    assert died.returncode == -9
    left = open_storage(storage_url(config, StudyFiles(config.folder))).get_all_trials(1)
    running = [trial.number for trial in left if trial.state == TrialState.RUNNING]
    finished = {trial.number: trial.value for trial in left if trial.state.is_finished()}
    assert running

    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=20, n_jobs=2)
    after = study.trials
    assert len(after) == 20
    assert all(trial.state.is_finished() for trial in after)
    assert {number: after[number].value for number in finished} == finished
    params = {number: trial.params for number, trial in enumerate(left) if number in running}
    assert all(after[number].params.items() >= params[number].items() for number in running)


def test_lost_trial_repeats_its_number_its_parameters_and_its_seed(config: StudyConfig, space: SearchSpace) -> None:
    seeds: list[int] = []
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=4)
    stop = threading.Event()

    def stopping(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        seeds.append(task.seed)
        yield point(1000, 0.5)
        stop.set()
        raise Interrupted

    with pytest.raises(Interrupted):
        run_trials(study, objective_of(space, stopping), n_trials=5, stop=stop)
    interrupted = study.trials[4]
    assert interrupted.state == TrialState.WAITING
    study = open_study(config, space)
    run_trials(study, objective_of(space, _noting(seeds)), n_trials=5)
    assert study.trials[4].params == interrupted.params
    assert len(set(seeds)) == 1


def test_trial_that_dies_with_the_run_again_and_again_is_failed(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    for _ in range(MAX_LOSSES):
        study.ask()
        TrialLeases(study, storage_of(study)).requeue_lost()
    assert study.trials[0].state == TrialState.FAIL
    assert "deaths of a run" in read_trials(study)[0].reason


def test_bug_in_the_objective_ends_the_run_with_its_trace_and_loses_no_trial(
    config: StudyConfig, space: SearchSpace
) -> None:
    def buggy(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        yield point(1000, 0.5)
        raise KeyError("a bug")

    study = open_study(config, space)
    with pytest.raises(KeyError, match="a bug"):
        run_trials(study, objective_of(space, buggy), n_trials=9, n_jobs=2)
    assert all(trial.state == TrialState.WAITING for trial in study.trials)


# --- failures


def failing(kind: str, reason: Callable[[TrainTask], str]) -> Trainer:
    def train(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
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


def test_training_cut_by_the_clock_is_not_a_complete_trial(config: StudyConfig, space: SearchSpace) -> None:
    def cut(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        yield point(1000, 0.9)
        yield TrainResult((point(1000, 0.9),), point(1000, 0.9), 1000, 0.1, 0.1, "time limit", 100.0)

    study = open_study(config, space)
    run_trials(study, objective_of(space, cut), n_trials=9, timeout=lambda: True)
    assert [record.state for record in read_trials(study) if record.state != "waiting"] == ["pruned"]


def test_rung_that_the_clock_would_cut_is_not_begun_and_the_trial_stays_a_candidate(
    config: StudyConfig, space: SearchSpace
) -> None:
    """Its last rung is four times the first, which took a tenth of a second: there is no time for that."""

    def slow(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        for message in by_filters(task):
            time.sleep(0.02)
            yield message

    study = open_study(config, space)
    run_trials(study, objective_of(space, slow, seconds_left=lambda: 0.05), n_trials=8)
    ended = [record for record in read_trials(study) if record.out_of_time]
    assert ended and all(record.reason == "no time was left for 16,000 images more" for record in ended)
    assert all(record.n_images == record.rung_images == 4_000 for record in ended)
    assert all(record.rung_accuracy == record.best.validation_accuracy for record in ended)
    assert choose_finalists(read_trials(study))[0].trial in {0, 1}  # the portfolio has the last rung only, here


# --- the folder


def test_second_run_of_the_same_study_is_refused(config: StudyConfig) -> None:
    files = StudyFiles(config.folder)
    with hold(files), pytest.raises(UserError, match="in use by another run"), hold(files):
        pass


def test_changed_study_is_refused_by_the_name_of_the_change(config: StudyConfig) -> None:
    files = StudyFiles(config.folder)
    check_identity(files, {"seed": 0, "space": {"training": {"n_epochs": 8}}})
    check_identity(files, {"seed": 0, "space": {"training": {"n_epochs": 8}}})
    with pytest.raises(UserError, match=r"space\.training\.n_epochs = 8, but now it is 9"):
        check_identity(files, {"seed": 0, "space": {"training": {"n_epochs": 9}}})


def test_sqlite_storage_is_in_write_ahead_mode(config: StudyConfig, space: SearchSpace) -> None:
    import sqlite3

    open_study(config, space)
    with sqlite3.connect(StudyFiles(config.folder).storage) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_importances_are_withheld_until_four_trials_completed(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(replace(config, pruner="none"), space)
    run_trials(study, objective_of(space, by_filters), n_trials=3)
    assert importances(study) is None
    run_trials(study, objective_of(space, by_filters), n_trials=12)
    assert importances(study)
