"""What all trainings after the search have in common, and how they run side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np

from fmnist.data.split import open_split
from fmnist.model.metadata import ModelMetadata
from fmnist.scoring import Metric, score_of
from fmnist.training.history import HistoryPoint, best_point
from search.callbacks.base import Callback
from search.records.files import StudyFiles
from search.records.ledger import Stopwatch
from search.records.models import ConfirmRecord, DataRecord
from search.refit.schedule import (
    GAIN_OF_THREADS,
    Clock,
    effective_workers,
    n_parallel_trainings,
    n_searched_images,
    seconds_together,
    threads_per_training,
)
from search.worker.drive import drive
from search.worker.tasks import (
    MAX_LOSSES,
    BaselineResult,
    BaselineTask,
    Predictor,
    Trainer,
    TrainingFailed,
    TrainingSite,
    TrainResult,
    TrainTask,
    WorkerLost,
)


@dataclass(frozen=True)
class FinalRound:
    """What confirmation, retraining, baselines and evaluation of one study share."""

    files: StudyFiles
    site: TrainingSite
    data: DataRecord
    study_seed: int
    trainer: Trainer
    predict: Predictor  # in a process of its own
    workers: int  # trainings at a time that share no cores
    most_threads: int  # of one training: all cores of this machine, or of the cluster's largest node
    # Megabytes that each of so many trainings at a time may take; None: the node that runs it says.
    memory_limit_of_each: Callable[[int], float | None]
    clock: Clock
    stop: threading.Event  # set: the run is to end
    callback: Callback

    @property
    def n_searched_images(self) -> int:
        """Number of images that a full training learns from: training and selection split together."""
        return n_searched_images(self.data)

    def n_parallel(self, n_trainings: int) -> int:
        """Return how many of so many trainings run at a time."""
        return n_parallel_trainings(n_trainings, self.workers)

    def threads_per_training(self, n_parallel: int) -> int:
        """Return the threads of each of n_parallel trainings that run at a time."""
        return threads_per_training(n_parallel, self.workers, self.site.n_threads, self.most_threads)

    def seconds_together(self, seconds: Sequence[float]) -> float:
        """Return how long trainings take that run side by side; seconds: of each on one worker."""
        return seconds_together(seconds, self.workers, self.site.n_threads, most_threads=self.most_threads)

    def speed_of_one_worker(self, winner: ConfirmRecord, confirmed: Sequence[ConfirmRecord]) -> float:
        """Return training images per second of one worker, by the winner's confirmation among all of the study."""
        return speed_of_one_worker(winner, confirmed, self.workers, self.site.n_threads)

    def speed_with_all_threads(self, speeds: Sequence[float]) -> float:
        """Return images per second of one process that has the threads of all workers, by the mean of speeds on one."""
        workers = effective_workers(1, self.workers, self.site.n_threads, most_threads=self.most_threads)
        return sum(speeds) / len(speeds) * workers

    def run_parallel(self, phase: str, jobs: Sequence[Callable[[], None]], n_parallel: int) -> list[TrainingFailed]:
        """Run jobs side by side, their time going to the phase's account, and return the failures among them.

        A TrainingFailed is an outcome; any other error stops the other jobs and is raised.
        """
        failures: list[TrainingFailed] = []
        if not jobs:
            return failures
        with Stopwatch(self.files, phase) as stopwatch, ThreadPoolExecutor(max_workers=n_parallel) as executor:
            futures = [executor.submit(job) for job in jobs]
            try:
                for future in as_completed(futures):
                    failure = future.exception()
                    if isinstance(failure, TrainingFailed):
                        failures.append(failure)
                    elif failure is not None:
                        raise failure
                    stopwatch.lap()
            except BaseException:
                self.stop.set()
                executor.shutdown(cancel_futures=True)
                raise
        return failures


def model_metadata(data: DataRecord) -> ModelMetadata:
    """Return what every model file says of itself, so that it can be used on pictures without this study.

    Raises:
        ValueError: The images' background or the share of their objects is not known.
    """
    if data.background is None or data.object_share is None:
        raise ValueError(f"background and object_share must be known, but got {data.background}, {data.object_share}")
    return ModelMetadata(
        class_names=data.class_names,
        image_shape=data.image_shape,
        background=data.background,
        object_share=data.object_share,
        contrast=data.contrast,
        picture_form=data.picture_form,
    )


@dataclass(frozen=True)
class Confirmed:
    """How good a trained network is on the confirmation split."""

    accuracy: float
    score: float | None  # by the study's metric, see `fmnist.scoring.score_of`; None where that is accuracy


def write_confirmation(final: FinalRound, path: Path, result: TrainResult) -> Confirmed:
    """Store what a trained network predicts on the confirmation split, and return how good it is there.

    Args:
        final: Whose split and files these are.
        path: Where the predictions go, see `StudyFiles.confirm_arrays`.
        result: Of a training that was to score the confirmation split.
    """
    probabilities = result.confirmation_probabilities
    if probabilities is None:
        raise RuntimeError(f"a full training must predict the confirmation split, but gave {result}")
    labels = np.array(open_split(final.site.split_folder).confirmation.labels)
    arrays = {"probabilities": probabilities, "labels": labels}
    if result.mirrored_probabilities is not None:
        arrays["mirrored_probabilities"] = result.mirrored_probabilities
    final.files.write_arrays(path, **arrays)
    return confirmed_by(final.site.metric, labels, probabilities)


def confirmed_by(metric: Metric, labels: np.ndarray, probabilities: np.ndarray) -> Confirmed:
    """Score what a network predicts on the confirmation split.

    Args:
        metric: of the study.
        labels: int (n,).
        probabilities: float32 (n, n_classes).
    """
    score = None if metric == "accuracy" else score_of(metric, labels, probabilities)
    return Confirmed(score_of("accuracy", labels, probabilities), score)


def n_cut_images(result: TrainResult) -> int | None:
    """Return how many images a training had seen when a timeout ended it; None if none did."""
    return result.n_images if result.stopped_by == "time limit" else None


def run_training(trainer: Trainer, callback: Callback, task: TrainTask, label: str) -> TrainResult:
    """Run one training and return its result. The caller reports its end, once the result is on disk.

    Args:
        trainer: Where the training runs.
        callback: Is told of its start, its progress, and its end where it fails.
        task: The training.
        label: Its name in the callback, such as "seed 1".

    Raises:
        TrainingFailed: The training came to nothing.
        Interrupted: The run is to stop.
    """
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
    """Run a task of one training, pass its progress on to the callback, and return its result.

    One that is lost with the node that ran it begins again, in what is left of its time, until it was lost MAX_LOSSES
    times.
    """
    n_losses = 0
    started, of_try = time.monotonic(), task
    while True:
        try:
            return _run_once(trainer, callback, of_try, label)
        except WorkerLost as lost:  # the workers say what it costs
            n_losses += 1
            lost.concerns(label, runs_again=n_losses < MAX_LOSSES)
            if not lost.runs_again:
                raise
            if isinstance(task, TrainTask) and task.seconds_limit is not None:
                of_try = replace(task, seconds_limit=max(0.0, task.seconds_limit - (time.monotonic() - started)))
            callback.on_training_progress(label, 0)


def _run_once(
    trainer: Trainer, callback: Callback, task: TrainTask | BaselineTask, label: str
) -> TrainResult | BaselineResult:
    history: list[HistoryPoint] = []
    length = task.n_planned_images if isinstance(task, TrainTask) else None

    def on_point(point: HistoryPoint) -> None:
        history.append(point)
        best = best_point(history)
        callback.on_evaluation(label, point, best.validation_accuracy if best else None)

    def on_images(n_images: int) -> None:
        callback.on_training_progress(label, n_images)

    def on_length(n_planned_images: int) -> None:
        nonlocal length
        if n_planned_images != length:
            length = n_planned_images
            callback.on_training_length(label, n_planned_images)

    with closing(drive(trainer, task, on_point=on_point, on_images=on_images, on_length=on_length)) as results:
        return next(results)


def speed_of_one_worker(
    winner: ConfirmRecord,
    confirmed: Sequence[ConfirmRecord],
    workers: int,
    n_threads: int,
) -> float:
    """Return training images per second of one worker, by the winner's confirmation.

    Several trainings to a worker began at once, and each had its share of the workers until another one ended. Fewer
    had the threads that they began with, whatever became of the others.

    Args:
        winner: The confirmation whose speed is asked for.
        confirmed: All confirmations of the study.
        workers: Workers of the run.
        n_threads: Threads of each worker.
    """
    together = [record for record in confirmed if record.n_side_by_side == winner.n_side_by_side]
    n_running = min(winner.n_side_by_side, len(together))  # what failed or was killed is taken to have left at once
    if n_running <= workers:
        further_threads = winner.n_threads / n_threads - 1
        return winner.n_images / winner.seconds / (1 + GAIN_OF_THREADS * further_threads)
    ends = sorted(record.seconds for record in together if record.trial != winner.trial)
    worker_seconds, since = 0.0, 0.0
    for end in ends:
        if end >= winner.seconds:
            break
        worker_seconds += (end - since) * min(1.0, workers / n_running)
        n_running, since = n_running - 1, end
    worker_seconds += (winner.seconds - since) * min(1.0, workers / n_running)
    return winner.n_images / worker_seconds
