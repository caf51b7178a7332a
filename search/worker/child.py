"""What runs in a training process: train, predict, fit a baseline."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from fmnist.baselines.fitting import fit_baseline, load_baseline
from fmnist.data.images import LabelledImages
from fmnist.data.split import Split, open_split
from fmnist.metrics.robustness import changes
from fmnist.training.history import HistoryPoint
from search.worker.tasks import (
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


PULSE_SECONDS = 1.0  # how often a worker that has nothing to report says that it computes, or how far it is
BUSY_SHARE = 0.02  # of a core: a worker that uses less does not compute; looking at its own memory takes 0.0002


def serve(pipe: Connection, task: Task, log: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stderr_to(log)
    go_on = threading.Semaphore(0)
    threading.Thread(target=_listen, args=(pipe, go_on), daemon=True).start()
    try:
        for message in _results(task, pipe):
            pipe.send(message)
            if isinstance(message, Pause):
                go_on.acquire()
        pipe.send(None)
    except BrokenPipeError:
        os._exit(1)
    except BaseException as error:
        pipe.send(_failure_of(error))


def _listen(pipe: Connection, go_on: threading.Semaphore) -> None:
    """Every word of the supervisor means: go on. The pipe's end means that it closed its side, or died."""
    try:
        while True:
            pipe.recv()
            go_on.release()
    except (EOFError, OSError):
        os._exit(1)


def _results(task: Task, pipe: Connection) -> Iterator:
    from fmnist.training.loop import limit_threads, make_deterministic

    limit_threads(task.n_threads)
    if isinstance(task, TrainTask) and task.deterministic:
        make_deterministic()
    match task:
        case TrainTask():
            yield from _train(task, pipe)
        case PredictTask():
            with _Pulsing(pipe, memory_limit_mb=None):
                predicted = _predict(task)
            yield predicted
        case BaselineTask():
            yield _fit_baseline(task, pipe)
        case BaselinePredictTask():
            yield _predict_by_baseline(task, pipe)


def _predict(task: PredictTask) -> np.ndarray:
    import keras

    from fmnist.model.inference import predict_probabilities

    model = keras.saving.load_model(task.model, compile=False)
    if not task.changed:
        return predict_probabilities(model, task.images)
    images = (change.apply(task.images, np.random.default_rng(0)) for change in changes(task.border))
    return np.stack([predict_probabilities(model, changed) for changed in images])


def _train(task: TrainTask, pipe: Connection) -> Iterator[TrainResult | Pause]:
    """The task's trainings, one after another. What they have in common is compiled for the first."""
    from fmnist.training.loop import train
    from fmnist.training.step import TrainStep

    started = time.monotonic()
    split = open_split(task.split_folder)
    train_images, validation = _images_of(task, split)
    batch_size = min(task.recipe.plan.batch_size, len(train_images))
    train_step = TrainStep(task.recipe, task.pixel_mean, task.pixel_std, batch_size, task.seed, bfloat16=task.bfloat16)

    def on_progress(point: HistoryPoint) -> None:
        _check_memory(task.memory_limit_mb)
        pipe.send(point)

    said = time.monotonic()

    def on_step(n_images: int) -> None:
        nonlocal said
        if time.monotonic() - said >= PULSE_SECONDS:
            said = time.monotonic()
            _check_memory(task.memory_limit_mb)
            pipe.send(ImagesSeen(n_images))

    for i, n_planned_images in enumerate((task.n_planned_images, *task.further_lengths)):
        if i > 0:
            yield Pause()
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
            seconds_limit=task.seconds_limit and task.seconds_limit - (time.monotonic() - started),
            on_progress=on_progress,
            on_step=on_step,
            train_step=train_step,
        )
        yield _result(task, training, split)


def _result(task: TrainTask, training: Training, split: Split) -> TrainResult:
    from fmnist.model.inference import predict_probabilities, save_for_users

    scored = predict_probabilities(training.model, split.confirmation.images) if task.score_on_confirmation else None
    if task.save_to is not None:
        save_for_users(training.model, task.save_to)
    return TrainResult(
        history=training.history,
        best=training.best,
        n_images=training.n_images,
        seconds=training.seconds,
        seconds_in_steps=training.seconds_in_steps,
        stopped_by=training.stopped_by,
        peak_memory_mb=_peak_memory_mb(),
        confirmation_probabilities=scored,
        confusion=training.confusion,
    )


def _fit_baseline(task: BaselineTask, pipe: Connection) -> BaselineResult:
    # Before scikit-learn is loaded. Its threads would wait for each other at full speed: with others on the same cores,
    # gradient boosting of the digits took 38 s instead of 5 (n = 1).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with _Pulsing(pipe, task.memory_limit_mb) as pulsing:
        fit = fit_baseline(
            task.name, open_split(task.split_folder), task.seed, task.n_threads, on_progress=pulsing.send
        )
        fit.model.save(task.save_to)
    return BaselineResult(
        fit.n_images, fit.model.n_parameters, fit.n_epochs, fit.seconds, fit.reason, _peak_memory_mb()
    )


def _predict_by_baseline(task: BaselinePredictTask, pipe: Connection) -> np.ndarray:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as for the fit
    with _Pulsing(pipe, memory_limit_mb=None):
        return load_baseline(task.name, task.model, task.n_threads).predict_classes(task.images)


class _Pulsing:
    """Says every second that this process computes, while the block runs: a classifier is fitted for minutes within one
    call. A process that waits forever uses no processor, and its silence tells.

    Also ends the process where it takes more memory than its limit. Whatever else the block sends goes through `send`.
    """

    def __init__(self, pipe: Connection, memory_limit_mb: float | None, every_seconds: float = PULSE_SECONDS) -> None:
        self._pipe = pipe
        self._memory_limit_mb = memory_limit_mb
        self._every_seconds = every_seconds
        self._lock = threading.Lock()  # of the pipe: it takes one message at a time
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._pulse, daemon=True)

    def send(self, message: object) -> None:
        with self._lock:
            self._pipe.send(message)

    def __enter__(self) -> _Pulsing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _pulse(self) -> None:
        try:
            _check_memory(self._memory_limit_mb)
            before = time.process_time()
            while not self._over.wait(self._every_seconds):
                _check_memory(self._memory_limit_mb)
                now = time.process_time()
                if now - before > BUSY_SHARE * self._every_seconds:
                    self.send(Pulse())
                before = now
        except _OverMemoryLimit as error:
            self.send(_failure_of(error))
            os._exit(1)
        except BrokenPipeError:  # the supervisor is gone
            os._exit(1)


def _images_of(task: TrainTask, split: Split) -> tuple[LabelledImages, LabelledImages | None]:
    if task.fit_on == "together":
        return split.together(), None
    return split.train, split.selection


class _OverMemoryLimit(Exception):
    pass


def _check_memory(limit_mb: float | None) -> None:
    resident_mb = psutil.Process().memory_info().rss / 2**20
    if limit_mb is not None and resident_mb > limit_mb:
        raise _OverMemoryLimit(f"the process used {resident_mb:.0f} MB, over its limit of {limit_mb:.0f} MB")


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, kilobytes elsewhere


def _failure_of(error: BaseException) -> Failure:
    trace = traceback.format_exc()
    name = type(error).__name__
    if name == "Diverged":
        return Failure("diverged", str(error), trace)
    if isinstance(error, MemoryError | _OverMemoryLimit) or name == "ResourceExhaustedError":
        return Failure("memory", _first_line(error), trace)
    return Failure("error", f"{name}: {_first_line(error)}", trace)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def stderr_to(log: Path) -> None:
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 2)
