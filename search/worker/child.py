"""What a training process does with its task: train, predict, fit a baseline. The child's side of the pipe.

The supervisor loads this module too, so Keras and TensorFlow are imported inside functions only.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from fmnist.baselines.fitting import fit_baseline, load_baseline
from fmnist.data.images import LabelledImages
from fmnist.data.split import Split, open_split
from fmnist.metrics.robustness import changes
from fmnist.scoring import weights_of_classes
from fmnist.training.history import HistoryPoint
from search.worker.tasks import (
    AverageTask,
    BaselinePredictTask,
    BaselineResult,
    BaselineTask,
    Failure,
    ImagesSeen,
    Pause,
    PredictTask,
    Pulse,
    Task,
    TrainResult,
    TrainTask,
)

if TYPE_CHECKING:
    from fmnist.training.loop import Training


PULSE_SECONDS = 1.0  # how often a process that has nothing to report says that it computes, or how far it is
BUSY_SHARE = 0.02  # of a core: a process that uses less does not compute; reading its own memory takes 0.0002


class OverMemoryLimit(Exception):
    """The process uses more memory than its task allows."""


def serve(pipe: Connection, task: Task) -> None:
    """Spend the whole life of a training process: do the task, send what comes of it, then None.

    Args:
        pipe: To the supervisor. When it closes its end, or dies, this process ends at once.
        task: What to do.
    """
    go_on = threading.Semaphore(0)

    def listen() -> None:
        try:
            while True:
                pipe.recv()  # whatever the supervisor sends means: go on
                go_on.release()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    try:
        for message in messages_of(task, pipe):
            pipe.send(message)
            if isinstance(message, Pause):
                go_on.acquire()
        pipe.send(None)
    except BrokenPipeError:
        os._exit(1)
    except BaseException as error:
        pipe.send(failure_of(error))


def messages_of(task: Task, pipe: Connection) -> Iterator[Any]:
    """Do the task and yield its results; progress goes to the pipe at once."""
    from fmnist.training.execution import limit_threads, make_deterministic

    limit_threads(task.n_threads)
    if isinstance(task, TrainTask) and task.deterministic:
        make_deterministic()
    match task:
        case TrainTask():
            yield from train_task(task, pipe)
        case PredictTask():
            with Pulsing(pipe, memory_limit_mb=None):
                probabilities = predict_task(task)
            yield probabilities
        case AverageTask():
            with Pulsing(pipe, memory_limit_mb=None):
                probabilities = average_task(task)
            yield probabilities
        case BaselineTask():
            yield fit_baseline_task(task, pipe)
        case BaselinePredictTask():
            make_openmp_passive()
            with Pulsing(pipe, memory_limit_mb=None):
                classes = load_baseline(task.name, task.model, task.n_threads).predict_classes(task.images)
            yield classes


def predict_task(task: PredictTask) -> np.ndarray:
    """Predict probabilities float32 (n, n_classes); with `changed`, (n_changes, n, n_classes)."""
    import keras

    from fmnist.model.inference import predict_probabilities

    model: Any = keras.saving.load_model(task.model, compile=False)
    if not task.changed:
        return predict_probabilities(model, task.images)
    predicted = []
    for change in changes(task.border):
        changed_images = change.apply(task.images, np.random.default_rng(0))
        predicted.append(predict_probabilities(model, changed_images))
    return np.stack(predicted)


def average_task(task: AverageTask) -> np.ndarray:
    """Build and save an average of models, and predict with it: float32 (n, n_classes)."""
    from fmnist.model.ensemble import average_models
    from fmnist.model.inference import predict_probabilities

    model = average_models(task.models, task.weights, mirrored=task.mirrored)
    model.save(task.save_to)
    return predict_probabilities(model, task.images)


def train_task(task: TrainTask, pipe: Connection) -> Iterator[TrainResult | Pause]:
    """Run the task's trainings one after another. What they have in common is compiled for the first."""
    from fmnist.training.loop import train
    from fmnist.training.step import TrainStep
    from fmnist.training.teachers import Teachers

    started = time.monotonic()
    split = open_split(task.split_folder)
    train_images, validation = images_of(task, split)
    batch_size = min(task.recipe.plan.batch_size, len(train_images))
    teacher = Teachers(task.teachers, task.teacher_weights) if task.teachers else None
    train_step = TrainStep(
        task.recipe,
        task.pixel_mean,
        task.pixel_std,
        batch_size,
        task.seed,
        bfloat16=task.bfloat16,
        taught=teacher is not None,
        class_weights=weights_of_classes(task.class_weights, train_images.labels, task.recipe.architecture.n_classes),
    )

    def on_progress(point: HistoryPoint) -> None:
        check_memory(task.memory_limit_mb)
        pipe.send(point)

    last_sent = time.monotonic()

    def on_step(n_images: int, n_planned_images: int) -> None:
        nonlocal last_sent
        if time.monotonic() - last_sent >= PULSE_SECONDS:
            last_sent = time.monotonic()
            check_memory(task.memory_limit_mb)
            pipe.send(ImagesSeen(n_images, n_planned_images))

    for i, n_planned_images in enumerate((task.n_planned_images, *task.further_lengths)):
        if i > 0:
            yield Pause()
        seconds_left = task.seconds_limit
        if seconds_left:
            seconds_left -= time.monotonic() - started
        training = train(
            task.recipe,
            train_images,
            validation,
            task.seed,
            pixel_mean=task.pixel_mean,
            pixel_std=task.pixel_std,
            n_planned_images=n_planned_images,
            n_stop_images=task.n_stop_images,
            report_every_images=task.report_every_images,
            patience_images=task.patience_images,
            seconds_limit=seconds_left,
            ends_in_time=task.ends_in_time,
            n_most_images=task.n_most_images,
            reschedulings=task.reschedulings,
            on_progress=on_progress,
            on_step=on_step,
            train_step=train_step,
            teacher=teacher,
            metric=task.metric,
        )
        yield result_of(task, training, split)


def images_of(task: TrainTask, split: Split) -> tuple[LabelledImages, LabelledImages | None]:
    """Choose the images to train on and to validate with; the latter is None where nothing is held out."""
    match task.fit_on:
        case "train":
            return split.train, split.selection
        case "searched":
            return split.searched(), None
        case "together":
            return split.together(), None
    raise ValueError(f'fit_on must be "train", "searched" or "together", but got {task.fit_on!r}')


def result_of(task: TrainTask, training: Training, split: Split) -> TrainResult:
    """Score and save a finished training as the task asks."""
    from fmnist.model.inference import predict_probabilities, save_for_users

    scored, scored_mirrored = None, None
    if task.score_on_confirmation:
        images = split.confirmation.images
        scored = predict_probabilities(training.model, images)
        if task.recipe.plan.flip:
            scored_mirrored = predict_probabilities(training.model, images[:, :, ::-1])
    if task.save_to is not None:
        save_for_users(training.model, task.save_to)
    return TrainResult(
        history=training.history,
        best=training.best,
        n_images=training.n_images,
        seconds=training.seconds,
        seconds_in_steps=training.seconds_in_steps,
        stopped_by=training.stopped_by,
        peak_memory_mb=peak_memory_mb(),
        confirmation_probabilities=scored,
        mirrored_probabilities=scored_mirrored,
        confusion=training.confusion,
        reschedulings=training.reschedulings,
    )


def fit_baseline_task(task: BaselineTask, pipe: Connection) -> BaselineResult:
    """Fit and save a baseline."""
    make_openmp_passive()
    with Pulsing(pipe, task.memory_limit_mb) as pulsing:
        split = open_split(task.split_folder)
        fit = fit_baseline(
            task.name, split, task.seed, task.n_threads, on_progress=pulsing.send, class_weights=task.class_weights
        )
        fit.model.save(task.save_to)
    return BaselineResult(fit.n_images, fit.model.n_parameters, fit.n_epochs, fit.seconds, fit.reason, peak_memory_mb())


def make_openmp_passive() -> None:
    """Let OpenMP's threads sleep while they wait; call it before scikit-learn is loaded.

    They would wait for each other at full speed: with others on the same cores, gradient boosting of the digits took
    38 s instead of 5 (n = 1).
    """
    os.environ["OMP_WAIT_POLICY"] = "passive"


class Pulsing:
    """Sends a Pulse every second in which this process computes, while the block runs.

    A classifier is fitted for minutes within one call. A process that waits forever uses no processor, so it is
    silent, and the supervisor takes it for hung. The process ends if it takes more memory than its limit. Whatever
    else the block sends must go through `send`.
    """

    def __init__(self, pipe: Connection, memory_limit_mb: float | None, every_seconds: float = PULSE_SECONDS) -> None:
        self._pipe = pipe
        self._memory_limit_mb = memory_limit_mb
        self._every_seconds = every_seconds
        self._lock = threading.Lock()  # of the pipe: it takes one message at a time
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._pulse, daemon=True)

    def send(self, message: object) -> None:
        """Send a message between two pulses. Thread-safe."""
        with self._lock:
            self._pipe.send(message)

    def __enter__(self) -> Pulsing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _pulse(self) -> None:
        try:
            check_memory(self._memory_limit_mb)
            before = time.process_time()
            while not self._is_over.wait(self._every_seconds):
                check_memory(self._memory_limit_mb)
                now = time.process_time()
                if now - before > BUSY_SHARE * self._every_seconds:
                    self.send(Pulse())
                before = now
        except OverMemoryLimit as error:
            self.send(failure_of(error))
            os._exit(1)
        except BrokenPipeError:  # the supervisor is gone
            os._exit(1)


def check_memory(limit_mb: float | None) -> None:
    """Raise OverMemoryLimit if this process uses more resident memory than the limit."""
    resident_mb = psutil.Process().memory_info().rss / 2**20
    if limit_mb is not None and resident_mb > limit_mb:
        raise OverMemoryLimit(f"the process used {resident_mb:.0f} MB, over its limit of {limit_mb:.0f} MB")


def peak_memory_mb() -> float:
    """Resident memory of this process at its highest, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bytes_each = 1 if sys.platform == "darwin" else 2**10  # of the system's unit
    return peak * bytes_each / 2**20


def failure_of(error: BaseException) -> Failure:
    """Describe an error to the supervisor: a diverged training and lack of memory are told from bugs."""
    name, trace = type(error).__name__, traceback.format_exc()
    if name == "Diverged":
        return Failure("diverged", str(error), trace)
    lines = str(error).strip().splitlines() or [name]
    if isinstance(error, MemoryError | OverMemoryLimit) or name == "ResourceExhaustedError":
        return Failure("memory", lines[0], trace)
    return Failure("error", f"{name}: {lines[0]}", trace)
