"""What all trainings after the search have in common, and how they run side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from typing import overload

from fmnist.training.history import HistoryPoint, best_point
from search.callbacks.base import Callback
from search.records.files import StudyFiles
from search.records.ledger import Stopwatch
from search.records.models import DataRecord
from search.refit.schedule import GAIN_OF_THREADS, Clock, side_by_side, threads_of_each
from search.worker.drive import drive
from search.worker.tasks import (
    BaselineResult,
    BaselineTask,
    Predictor,
    Trainer,
    TrainingFailed,
    TrainingSite,
    TrainResult,
    TrainTask,
)


@dataclass(frozen=True)
class FinalRound:
    """What confirmation, retraining and baselines have in common. One object serves all, and the tests."""

    files: StudyFiles
    site: TrainingSite
    data: DataRecord
    study_seed: int
    trainer: Trainer
    predict: Predictor  # in a process of its own
    workers: int
    clock: Clock
    stop: threading.Event
    callback: Callback

    @property
    def n_all_images(self) -> int:
        """Training images of a retraining: train, selection and confirmation split together."""
        return sum(self.data.n_images[name] for name in ("train", "selection", "confirmation"))


def run_training(trainer: Trainer, callback: Callback, task: TrainTask, label: str) -> TrainResult:
    """Drive one training. The caller reports its end, once the result is on disk."""
    callback.on_training_start(label, task.recipe, task.n_stop_images or task.n_planned_images)
    try:
        return run_task(trainer, callback, task, label)
    except TrainingFailed as failure:
        callback.on_training_end(label, f"failed ({failure.kind}): {failure.reason}")
        raise


@overload
def run_task(trainer: Trainer, callback: Callback, task: TrainTask, label: str) -> TrainResult: ...


@overload
def run_task(trainer: Trainer, callback: Callback, task: BaselineTask, label: str) -> BaselineResult: ...


def run_task(
    trainer: Trainer, callback: Callback, task: TrainTask | BaselineTask, label: str
) -> TrainResult | BaselineResult:
    """Run a task of one training, pass its progress on to the callback, and return its result."""
    history: list[HistoryPoint] = []

    def on_point(point: HistoryPoint) -> None:
        history.append(point)
        best = best_point(history)
        callback.on_evaluation(label, point, best.validation_accuracy if best else None)

    def on_images(n_images: int) -> None:
        callback.on_training_progress(label, n_images)

    with closing(drive(trainer, task, on_point=on_point, on_images=on_images)) as results:
        return next(results)


def n_parallel_trainings(final: FinalRound, n_jobs: int) -> int:
    return side_by_side(n_jobs, final.workers)


def threads_for(final: FinalRound, n_parallel: int) -> int:
    return threads_of_each(n_parallel, final.workers, final.site.n_threads)


def effective_workers(final: FinalRound, n_jobs: int) -> float:
    """How many workers' speed a round of so many trainings has: with fewer trainings than workers each has several
    threads, which bring less than as many workers."""
    n_parallel = min(n_parallel_trainings(final, n_jobs), final.workers)
    more_threads = threads_for(final, n_parallel) / final.site.n_threads - 1
    return n_parallel * (1 + GAIN_OF_THREADS * more_threads)


def run_parallel(
    final: FinalRound, phase: str, jobs: Sequence[Callable[[], None]], n_parallel: int
) -> list[TrainingFailed | None]:
    """Run the jobs, n_parallel at a time, their time going to the phase's account.

    A TrainingFailed is an outcome; any other error stops the others and is raised.
    """
    if not jobs:
        return []
    with Stopwatch(final.files, phase) as stopwatch, ThreadPoolExecutor(max_workers=n_parallel) as executor:
        futures = [executor.submit(_outcome, job) for job in jobs]
        try:
            return [_lapped(future.result(), stopwatch) for future in as_completed(futures)]
        except BaseException:
            final.stop.set()
            executor.shutdown(cancel_futures=True)
            raise


def _lapped(outcome: TrainingFailed | None, stopwatch: Stopwatch) -> TrainingFailed | None:
    stopwatch.lap()
    return outcome


def _outcome(job: Callable[[], None]) -> TrainingFailed | None:
    try:
        job()
    except TrainingFailed as failure:
        return failure
    return None
