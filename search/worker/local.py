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
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.machine import has_gpu
from search.worker import child
from search.worker.child import stderr_to
from search.worker.tasks import (
    BaselinePredictTask,
    BaselineTask,
    Failure,
    Interrupted,
    Pause,
    PredictTask,
    Pulse,
    Task,
    TrainingFailed,
    TrainMessage,
    TrainTask,
)

if TYPE_CHECKING:
    pass

POLL_SECONDS = 0.1  # how often a waiting supervisor looks whether it should stop
STALL_SECONDS = 900.0  # a worker that says nothing for so long is taken for hung


# class, at the best point


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
        self._serve = serve or child.serve
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
            if isinstance(message, Pulse):
                continue
            if isinstance(message, Failure):
                raise TrainingFailed(message.kind, message.reason, message.trace)
            if isinstance(message, Pause):
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
        stderr_to(self._log)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)


def _death(exit_code: int | None, log: Path) -> str:
    if exit_code == -signal.SIGKILL:
        return "the training process was killed (exit code -9), as the system does when memory runs out"
    return f"the training process ended without a word (exit code {exit_code}); see {log}"


# From here on: inside the child.
