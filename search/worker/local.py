"""The training process: a task in; progress, then a result, out over a pipe.

One fresh process per task: memory cannot grow from trial to trial, and a process that leaks, hangs or is killed takes
nothing with it. On a CPU it is forked from a server that has imported Keras and run no operation (0.03 s a child
against 5 s for a spawned one); with an NVIDIA GPU it is spawned, since CUDA does not survive a fork. What a process
costs is compiling its network, about a second; so a trial's rungs are one task, compiled once.

This module is loaded by the supervisor, so TensorFlow is imported inside the child's functions only.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from fmnist.baselines.fitting import fit_baseline, load_baseline
from fmnist.data.images import LabelledImages
from fmnist.data.split import Split, open_split
from fmnist.metrics.robustness import changes
from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.machine import has_gpu

if TYPE_CHECKING:
    from fmnist.training.loop import Training

POLL_SECONDS = 0.1  # how often a waiting supervisor looks whether it should stop
STALL_SECONDS = 900.0  # a worker that says nothing for so long is taken for hung
PULSE_SECONDS = 1.0  # how often a worker that has nothing to report says that it computes, or how far it is
BUSY_SHARE = 0.02  # of a core: a worker that uses less does not compute; looking at its own memory takes 0.0002


@dataclass(frozen=True)
class TrainTask:
    """One training, said completely; or several of one recipe, one after another."""

    recipe: Recipe
    seed: int
    split_folder: Path  # written by fmnist.data.named.save_split
    pixel_mean: float  # of the training split, 0 to 255
    pixel_std: float
    n_planned_images: int  # length of the schedule
    report_every_images: int
    further_lengths: tuple[int, ...] = ()  # of trainings after it, each from new weights, same seed
    n_stop_images: int | None = None  # stop here, the schedule's length unchanged
    patience_images: int | None = None  # early stopping; None: never
    seconds_limit: float | None = None  # for all of it; ends the training, which keeps its best point
    memory_limit_mb: float | None = None  # resident memory of the process; over it the training fails
    n_threads: int = 1
    bfloat16: bool = False  # steps of learning convolve in bfloat16; the processor must have it
    fit_on: str = "train"  # "train": validated on the selection split; "together": all three splits, not validated
    score_on_confirmation: bool = False  # add probabilities on the confirmation split, by the best point's weights
    save_to: Path | None = None  # write the trained model here (.keras)
    deterministic: bool = False  # by TensorFlow's own switch: for GPUs, where it is slower; a CPU repeats itself anyway


@dataclass(frozen=True)
class ImagesSeen:
    """How far a training has come, between its looks at the selection split."""

    n_images: int


@dataclass(frozen=True)
class TrainResult:
    """What a training came to."""

    history: tuple[HistoryPoint, ...]
    best: HistoryPoint | None  # None where nothing was validated
    n_images: int  # training images seen
    seconds: float  # of the training itself, without the start of the process
    seconds_in_steps: float  # of these, in steps of learning and validation; the rest is overhead
    stopped_by: str  # "end", "early stopping", "time limit" or "stop point"
    peak_memory_mb: float  # resident memory of the process at its highest
    confirmation_probabilities: np.ndarray | None = None  # float32 (n, n_classes)
    confusion: np.ndarray | None = None  # int64 (n_classes, n_classes): selection images by true and predicted
    # class, at the best point


@dataclass(frozen=True)
class PredictTask:
    """Load a saved model and predict."""

    model: Path  # .keras
    images: np.ndarray  # uint8 (n, height, width, channels)
    n_threads: int = 1
    changed: bool = (
        False  # instead of them, once for each of fmnist.metrics.robustness.changes(), all drawn from seed 0
    )
    border: str = "black"  # of those that are moved


@dataclass(frozen=True)
class BaselineTask:
    """The fit of one baseline."""

    name: str  # of one of fmnist.baselines.networks.BASELINES
    seed: int
    split_folder: Path  # written by fmnist.data.named.save_split
    save_to: Path  # write the fitted model here, of the baseline's suffix
    memory_limit_mb: float | None = None  # resident memory of the process; over it the fit fails
    n_threads: int = 1


@dataclass(frozen=True)
class BaselineResult:
    """What the fit of a baseline came to."""

    n_images: int  # that it learned from
    n_parameters: int | None  # of a network
    n_epochs: int | None  # of a network's training
    seconds: float  # of the fit itself, without the start of the process
    reason: str  # why it ended, in words
    peak_memory_mb: float  # resident memory of the process at its highest


@dataclass(frozen=True)
class BaselinePredictTask:
    """Load a fitted baseline and predict."""

    name: str
    model: Path
    images: np.ndarray  # uint8 (n, height, width, channels)
    n_threads: int = 1


Task = TrainTask | PredictTask | BaselineTask | BaselinePredictTask


@dataclass(frozen=True)
class _Failure:
    kind: str
    reason: str
    trace: str


class _Pause:
    """The child waits for a word before its next training; it gets it as soon as the iterator is asked for more."""


class _Pulse:
    """The child computes, and has nothing else to say."""


class TrainingFailed(Exception):
    """A training that came to nothing, or a baseline's fit. `kind` is "diverged", "memory", "killed", "hung" or
    "error"."""

    def __init__(self, kind: str, reason: str, trace: str = "") -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.trace = trace  # of the child, empty where it could not send one


class Interrupted(BaseException):
    """The run is to stop now. Not an Exception: Optuna would record the trial as failed, and it shall run again."""


# Points as they come, and how far it is once a second; then one result.
TrainMessage = HistoryPoint | ImagesSeen | TrainResult | BaselineResult
Trainer = Callable[[TrainTask | BaselineTask], Iterator[TrainMessage]]
Predictor = Callable[[PredictTask | BaselinePredictTask], np.ndarray]


class WorkerProcesses:
    """Runs each task in a process of its own. Thread-safe: one call per supervisor thread at a time.

    log: file that takes the processes' standard error (TensorFlow is talkative). stop: set it to make every call raise
    Interrupted. serve: what a process does with (pipe, task, log), and preload: the modules that it finds loaded; tests
    give others, which train nothing.
    """

    def __init__(
        self,
        log: Path,
        stop: threading.Event,
        *,
        serve: Callable[[Connection, Task, Path], None] | None = None,
        preload: Sequence[str] = ("fmnist.training.loop",),
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._stop = stop
        self._stall_seconds = stall_seconds
        self._log = log
        self._serve = serve or _serve
        self._context = _start_context(log, preload)

    def train(self, task: TrainTask | BaselineTask) -> Iterator[TrainMessage]:
        """Progress points, and how far it is once a second, then one TrainResult; the same again for each of the task's
        further trainings, which starts when more is asked for. Of a baseline a point for each epoch of a network, none
        of a classifier, then one BaselineResult. Closing the iterator early ends the process.

        Raises TrainingFailed, or Interrupted once `stop` is set.
        """
        yield from self._run(task)

    def predict(self, task: PredictTask | BaselinePredictTask) -> np.ndarray:
        """Probabilities float32 (n, n_classes); of a baseline classes uint8 (n,). Raises as `train` does."""
        (predicted,) = self._run(task)
        return predicted

    def _run(self, task: Task) -> Iterator:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=self._serve, args=(theirs, task, self._log), daemon=True)
        process.start()
        theirs.close()
        try:
            yield from self._receive(ours, process)
        finally:
            ours.close()
            process.kill()
            process.join()

    def _receive(self, pipe: Connection, process: multiprocessing.Process) -> Iterator:
        waited = 0.0
        while True:
            if self._stop.is_set():
                raise Interrupted
            if not pipe.poll(POLL_SECONDS):
                waited += POLL_SECONDS
                if waited > self._stall_seconds:
                    raise TrainingFailed("hung", f"no progress for {self._stall_seconds:.0f} s; the process was ended")
                continue
            waited = 0.0
            try:
                message = pipe.recv()
            except (EOFError, OSError):  # the latter in the middle of a message
                process.join()
                raise TrainingFailed("killed", _death(process.exitcode, self._log)) from None
            if message is None:
                return
            if isinstance(message, _Pulse):
                continue
            if isinstance(message, _Failure):
                raise TrainingFailed(message.kind, message.reason, message.trace)
            if isinstance(message, _Pause):
                with suppress(BrokenPipeError):  # it has died since; the next word tells
                    pipe.send(None)
                continue
            yield message


def _start_context(log: Path, preload: Sequence[str]) -> BaseContext:
    # Whatever the user's shell or Keras' own file says: the steps are TensorFlow's.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if has_gpu():
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # else the first worker takes all of its memory
        return multiprocessing.get_context("spawn")
    if platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow leaves oneDNN off on processors without AVX-512, where networks learned 1.7 to 2.1 times the images
        # with it (three networks, one probe each, AVX2).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    with _quiet(log):
        multiprocessing.forkserver.ensure_running()
    return context


class _quiet:
    """Standard error goes to `log` while processes start, so that they inherit it so."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        sys.stderr.flush()
        self._kept = os.dup(2)
        _stderr_to(self._log)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)


def _stderr_to(log: Path) -> None:
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 2)


def _death(exit_code: int | None, log: Path) -> str:
    if exit_code == -signal.SIGKILL:
        return "the training process was killed (exit code -9), as the system does when memory runs out"
    return f"the training process ended without a word (exit code {exit_code}); see {log}"


# From here on: inside the child.


def _serve(pipe: Connection, task: Task, log: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _stderr_to(log)
    go_on = threading.Semaphore(0)
    threading.Thread(target=_listen, args=(pipe, go_on), daemon=True).start()
    try:
        for message in _results(task, pipe):
            pipe.send(message)
            if isinstance(message, _Pause):
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


def _train(task: TrainTask, pipe: Connection) -> Iterator[TrainResult | _Pause]:
    """The task's trainings, one after another. What they have in common is compiled for the first."""
    from fmnist.training.loop import train
    from fmnist.training.step import Learner

    started = time.monotonic()
    split = open_split(task.split_folder)
    train_images, validation = _images_of(task, split)
    batch_size = min(task.recipe.plan.batch_size, len(train_images))
    learner = Learner(task.recipe, task.pixel_mean, task.pixel_std, batch_size, task.seed, bfloat16=task.bfloat16)

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
            yield _Pause()
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
            learner=learner,
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
                    self.send(_Pulse())
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


def _failure_of(error: BaseException) -> _Failure:
    trace = traceback.format_exc()
    name = type(error).__name__
    if name == "Diverged":
        return _Failure("diverged", str(error), trace)
    if isinstance(error, MemoryError | _OverMemoryLimit) or name == "ResourceExhaustedError":
        return _Failure("memory", _first_line(error), trace)
    return _Failure("error", f"{name}: {_first_line(error)}", trace)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
