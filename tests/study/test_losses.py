"""Trials whose node died: they wait again, run again as they were, and fail at last; and room for trainings."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.config import StudyConfig
from search.space.space import SearchSpace
from search.study.attributes import attributes_of
from search.study.requeue import requeue
from search.study.trials import count_by_state, read_trials
from search.worker.tasks import MAX_LOSSES, Interrupted, TrainMessage, TrainTask, WorkerLost
from tests.support.training.trainers import by_filters, objective_of, open_study, run_trials, storage_of

pytestmark = pytest.mark.studies


class Losing:
    """Loses the nodes of some tasks after their second evaluation, so many times each; remembers what it trained."""

    def __init__(self, n_losses: dict[int, int]) -> None:
        self.n_losses = n_losses  # by the position of a seed among those that came
        self.tasks: dict[int, list[TrainTask]] = {}  # by seed
        self.losses: list[WorkerLost] = []
        self._lock = threading.Lock()

    def __call__(self, task: TrainTask) -> Generator[TrainMessage, None, None]:
        with self._lock:
            same = self.tasks.setdefault(task.seed, [])
            same.append(task)
            n_before, position = len(same) - 1, list(self.tasks).index(task.seed)
        for i, message in enumerate(by_filters(task)):
            if i == 2 and n_before < self.n_losses.get(position, 0):
                self.losses.append(WorkerLost(f"node {n_before}", "the node has died"))
                raise self.losses[-1]
            yield message


def reports(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, int]]:
    """Count how often each step of each trial is reported, by number and step."""
    counted: Counter[tuple[int, int]] = Counter()
    really_report = optuna.Trial.report

    def report(self: optuna.Trial, value: float, step: int) -> None:
        counted[self.number, step] += 1
        really_report(self, value, step)

    monkeypatch.setattr(optuna.Trial, "report", report)
    return counted


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_lost_trial_runs_again_under_its_number_and_parameters_and_reports_every_value_once(
    config: StudyConfig, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, n_jobs: int
) -> None:
    counted, ended = reports(monkeypatch), list[FrozenTrial]()
    trainer = Losing({2: 1, 4: MAX_LOSSES - 1})
    study = open_study(config, space)
    run_trials(
        study,
        objective_of(space, trainer),
        n_trials=8,
        n_jobs=n_jobs,
        after_trial=lambda study, trial: ended.append(trial),
    )
    assert sorted(trial.number for trial in ended) == list(range(8)), "each has ended once"
    assert all(trial.state in {TrialState.COMPLETE, TrialState.PRUNED} for trial in study.trials)
    assert len(trainer.tasks) == 8
    n_begun = [len(tasks) for tasks in trainer.tasks.values()]
    assert (n_begun[2], n_begun[4], sum(n_begun)) == (2, MAX_LOSSES, 8 + MAX_LOSSES)
    for tasks in trainer.tasks.values():
        assert all(task == tasks[0] for task in tasks), "the seed, and so all that follows from it, is the same"
    assert set(counted.values()) == {1}
    for trial in study.trials:
        assert set(trial.intermediate_values) == {step for number, step in counted if number == trial.number}


def test_lost_trial_is_the_next_to_run(config: StudyConfig, space: SearchSpace) -> None:
    states: list[str] = []
    study = open_study(config, space)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_int("x", 0, 10**9)
        states.append(f"{trial.number} {x}")
        if len(states) == 2:
            raise WorkerLost("node 1", "the node has died")
        return 0.5

    run_trials(study, objective, n_trials=3)
    assert states[1] == states[2]
    assert [each.partition(" ")[0] for each in states] == ["0", "1", "1", "2"]


def test_trial_that_is_lost_again_and_again_fails_with_a_reason_and_the_search_goes_on(
    config: StudyConfig, space: SearchSpace
) -> None:
    said, ended, trainer = list[str](), list[int](), Losing({1: MAX_LOSSES})
    study = open_study(config, space)
    run_trials(
        study,
        objective_of(space, trainer),
        n_trials=4,
        after_trial=lambda study, trial: ended.append(trial.number),
        say=said.append,
    )
    assert [trial.state == TrialState.FAIL for trial in study.trials] == [False, True, False, False]
    assert read_trials(study)[1].reason == f"failed (lost): it was running at {MAX_LOSSES} deaths of a run or a node"
    assert ended == [0, 1, 2, 3], "its end counts once, as every trial's"
    assert {lost.training for lost in trainer.losses} == {"trial 1"}
    assert [lost.runs_again for lost in trainer.losses] == [True] * (MAX_LOSSES - 1) + [False]
    assert said == [
        f"trial 1 has failed: every node that ran it was lost, the last time as node {MAX_LOSSES - 1} was lost: the "
        "node has died"
    ]


def test_only_the_last_loss_ends_a_trial(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    storage = storage_of(study)
    for n_losses in range(1, MAX_LOSSES):
        assert study.ask().number == 0
        assert requeue(study.trials[0], storage, is_loss=True)
        assert study.trials[0].state == TrialState.WAITING
        assert attributes_of(study.trials[0]).get("n_losses") == n_losses
    assert study.ask().number == 0
    assert not requeue(study.trials[0], storage, is_loss=True)
    assert study.trials[0].state == TrialState.FAIL


class Room:
    """Has room for so many trainings, and counts those that have some."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.n_inside = self.most = 0
        self.changed = threading.Condition()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self.changed:
            if not self.changed.wait_for(lambda: self.n_inside < self.size, timeout=30):
                raise TimeoutError("nobody has left the room")
            self.n_inside += 1
            self.most = max(self.most, self.n_inside)
        try:
            yield
        finally:
            with self.changed:
                self.n_inside -= 1
                self.changed.notify_all()


def test_room_limits_how_many_trials_are_asked_for_at_a_time(config: StudyConfig, space: SearchSpace) -> None:
    room, study = Room(2), open_study(config, space)
    n_running: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        n_running.append(count_by_state(study)["running"])
        return 0.5

    run_trials(study, objective, n_trials=12, n_jobs=6, room=room)
    assert len(n_running) == 12 and max(n_running) <= 2, "the sampler knows what others have given before it draws"
    assert (room.most, room.n_inside) == (2, 0)


def test_room_is_given_back_by_lost_trials_and_by_a_run_that_stops(config: StudyConfig, space: SearchSpace) -> None:
    room, stop, study = Room(1), threading.Event(), open_study(config, space)
    n_begun = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal n_begun
        n_begun += 1
        if n_begun == 1:
            raise WorkerLost("node 1", "the node has died")
        if n_begun == 3:
            stop.set()
            raise Interrupted
        return 0.5

    with pytest.raises(Interrupted):
        run_trials(study, objective, n_trials=9, n_jobs=3, room=room, stop=stop)
    assert (n_begun, room.n_inside) == (3, 0)
    assert count_by_state(study)["running"] == 0
