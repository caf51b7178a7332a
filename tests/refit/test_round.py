"""Trainings after the search that are lost with the node that ran them begin again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.training.history import HistoryPoint
from search.callbacks.base import Callback, CallbackList
from search.refit.round import run_task, run_training
from search.worker.tasks import (
    MAX_LOSSES,
    BaselineResult,
    BaselineTask,
    ImagesSeen,
    TrainingFailed,
    TrainMessage,
    TrainResult,
    TrainTask,
    WorkerLost,
)
from tests.support.training.fake_trainer import recipe

TASK = TrainTask(recipe(1), 7, Path("split"), 1.0, 1.0, 200, 100)
BASELINE = BaselineTask("ridge", 7, Path("split"), Path("model"))


class Losing:
    """Loses the node of so many trainings after an evaluation, and then trains to the end."""

    def __init__(self, n_losses: int) -> None:
        self.n_losses = n_losses
        self.tasks: list[TrainTask | BaselineTask] = []
        self.losses: list[WorkerLost] = []

    def __call__(self, task: TrainTask | BaselineTask) -> Iterator[TrainMessage]:
        self.tasks.append(task)
        first, second = HistoryPoint(100, 1.0, 0.1, 0.2, 0.5), HistoryPoint(200, 2.0, 0.1, 0.2, 0.9)
        yield ImagesSeen(50)
        yield first
        if len(self.tasks) <= self.n_losses:
            self.losses.append(WorkerLost(f"node {len(self.tasks)}", "the node has died"))
            raise self.losses[-1]
        yield second
        if isinstance(task, BaselineTask):
            yield BaselineResult(200, 10, 2, 1.0, "trained for 2 epochs", 100.0)
        else:
            yield TrainResult((first, second), None, 200, 2.0, 1.0, "end", 100.0)


class Heard(Callback):
    """Notes what a training says."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def on_training_start(self, label: str, recipe: object, n_images: int) -> None:
        self.said.append("start")

    def on_training_progress(self, label: str, n_images: int) -> None:
        self.said.append(n_images)

    def on_training_length(self, label: str, n_planned_images: int) -> None:
        self.said.append(f"{n_planned_images} long")

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        self.said.append(point.n_images)

    def on_training_end(self, label: str, reason: str) -> None:
        self.said.append(reason)


@pytest.mark.parametrize("n_losses", range(MAX_LOSSES))
def test_lost_training_begins_again_with_the_same_task(n_losses: int) -> None:
    trainer, heard = Losing(n_losses), Heard()
    result = run_task(trainer, heard, TASK, "seed 1")
    assert trainer.tasks == [TASK] * (n_losses + 1)
    assert [point.n_images for point in result.history] == [100, 200]
    assert heard.said == [50, 100, 0] * n_losses + [50, 100, 200], "its progress is back at the beginning"
    assert all((lost.training, lost.runs_again) == ("seed 1", True) for lost in trainer.losses)


def test_lost_training_begins_again_in_what_is_left_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(0.0, 40.0)  # each look at the clock is 40 seconds after the last one
    monkeypatch.setattr("search.refit.round.time.monotonic", lambda: next(seconds))
    trainer = Losing(2)
    run_task(trainer, Callback(), replace(TASK, seconds_limit=100.0), "student 0")
    assert [task.seconds_limit for task in trainer.tasks] == [100.0, 60.0, 20.0]


def test_lost_baseline_begins_again() -> None:
    trainer = Losing(1)
    assert run_task(trainer, Callback(), BASELINE, "ridge").n_images == 200
    assert trainer.tasks == [BASELINE, BASELINE]


def test_training_that_is_lost_again_and_again_fails_with_its_last_node() -> None:
    trainer, heard = Losing(MAX_LOSSES), Heard()
    with pytest.raises(TrainingFailed, match=f"node {MAX_LOSSES} was lost: the node has died") as failed:
        run_training(trainer, heard, TASK, "seed 1")
    assert failed.value.kind == "lost"
    assert [lost.runs_again for lost in trainer.losses] == [True] * (MAX_LOSSES - 1) + [False]
    assert len(trainer.tasks) == MAX_LOSSES
    assert heard.said[0] == "start" and heard.said.count("start") == 1
    assert heard.said[-1] == f"failed (lost): node {MAX_LOSSES} was lost: the node has died"


def test_change_of_a_length_is_told_once() -> None:
    def trainer(task: TrainTask) -> Iterator[TrainMessage]:
        for length in (TASK.n_planned_images, TASK.n_planned_images, 250, 250, 300):
            yield ImagesSeen(50, length)
        yield TrainResult((), None, 300, 2.0, 1.0, "end", 100.0)

    heard = Heard()
    run_task(trainer, CallbackList([heard]), TASK, "student 0")
    assert [said for said in heard.said if isinstance(said, str)] == ["250 long", "300 long"]


def test_other_failures_are_not_repeated() -> None:
    n_begun = 0

    def failing(task: TrainTask | BaselineTask) -> Iterator[TrainMessage]:
        nonlocal n_begun
        n_begun += 1
        yield ImagesSeen(50)
        raise TrainingFailed("diverged", "loss is nan")

    with pytest.raises(TrainingFailed, match="loss is nan"):
        run_task(failing, Callback(), TASK, "seed 1")
    assert n_begun == 1
