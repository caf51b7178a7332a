"""Workers that train nothing and stand still in one phase of a run, and signals that arrive while they do."""

from __future__ import annotations

import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.data.split import open_split
from fmnist.training.history import HistoryPoint
from search.worker.tasks import (
    AverageTask,
    BaselinePredictTask,
    BaselineResult,
    BaselineTask,
    Interrupted,
    PredictorTask,
    PredictTask,
    Task,
    TrainMessage,
    TrainResult,
    TrainTask,
)
from tests.support.training.fake_process import accuracy_of

PHASES = (
    "trials",
    "confirm",
    "refit",
    "average",
    "baselines",
    "evaluate",
)  # in which workers have something to do, in order


def phase_of(task: Task) -> str:
    match task:
        case PredictTask() | BaselinePredictTask():
            return "evaluate"
        case AverageTask():
            return "average"
        case BaselineTask():
            return "baselines"
    if task.teachers:
        return "refit"
    return "confirm" if task.score_on_confirmation else "trials"


class StandingStill:
    """Workers that answer at once, but in one phase stand still until they are to stop, as slow trainings do.

    Args:
        stop: As for `WorkerProcesses`: every call raises Interrupted soon after it is set.
        phase: One of PHASES; None: none.
        begun: Is set when a worker stands still.
    """

    def __init__(self, log: Path, stop: threading.Event, *, phase: str | None, begun: threading.Event) -> None:
        self._stop = stop
        self._phase = phase
        self._begun = begun

    def __enter__(self) -> StandingStill:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def close(self) -> None:
        pass

    def room(self) -> AbstractContextManager[None]:
        return nullcontext()

    def train(self, task: TrainTask | BaselineTask) -> Iterator[TrainMessage]:
        if isinstance(task, BaselineTask):
            yield HistoryPoint(100, 1.0, 0.1, 0.2, 0.9)
            self._stand_still(task)
            task.save_to.write_text(f"model of {task.name}")
            yield BaselineResult(1437, 10, 15, 2.5, "trained for 15 epochs", 300.0)
            return
        for length in (task.n_planned_images, *task.further_lengths):
            yield from self._train_once(task, length)

    def _train_once(self, task: TrainTask, length: int) -> Iterator[TrainMessage]:
        validated = {}
        if task.fit_on == "train":
            validated = {"validation_loss": 0.9, "validation_accuracy": accuracy_of(task.seed, length, length)}
        point = HistoryPoint(length, 1.0, 0.1, 0.2, 0.9, **validated)
        yield point
        self._stand_still(task)
        if task.save_to is not None:
            save_model(task.save_to, f"model of seed {task.seed}")
        probabilities = None
        if task.score_on_confirmation:
            labels = np.array(open_split(task.split_folder).confirmation.labels)
            wrong_and_right = np.random.default_rng(task.seed).permutation(len(labels)) % 2
            # Each network is sure of its own half of the images, so that several are better than one.
            probabilities = np.where(wrong_and_right[:, None], np.eye(10)[labels], 0.1).astype(np.float32)
        best = point if validated else None
        yield TrainResult((point,), best, length, 1.0, 0.9, "end", 100.0, confirmation_probabilities=probabilities)

    def predict(self, task: PredictorTask) -> np.ndarray:
        self._stand_still(task)
        if isinstance(task, AverageTask):
            save_model(task.save_to, f"average of {task.models}")
        return np.zeros((len(task.images), 10), np.float32)

    def _stand_still(self, task: Any) -> None:
        if phase_of(task) == self._phase:
            self._begun.set()
            if not self._stop.wait(60):
                raise TimeoutError("nobody has stopped the run")
            raise Interrupted


def save_model(path: Path, text: str) -> None:
    """Write an archive that can have metadata, as a model's file; it is no model."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", text)


def standing_still(phase: str | None, begun: threading.Event | None = None) -> Any:
    """What `run_study` takes as `worker_processes`."""
    return partial(StandingStill, phase=phase, begun=begun or threading.Event())


@contextmanager
def signalled(begun: threading.Event, *pauses: float, number: int = signal.SIGINT) -> Iterator[list[float]]:
    """Send this process a signal when `begun` is set, and another one after each pause, while the block runs.

    Yields the moments of the signals (time.monotonic), as they are sent.
    """
    sent: list[float] = []
    is_over = threading.Event()

    def send() -> None:
        while not begun.wait(0.01):
            if is_over.is_set():
                return
        for pause in (0.05, *pauses):
            if is_over.wait(pause):
                return
            sent.append(time.monotonic())
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        is_over.set()
        thread.join()
