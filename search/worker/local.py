"""Training processes on this machine: one fresh process per task, from the supervisor's side.

A task goes in; progress and then results come out over a pipe. Memory cannot grow from trial to trial, and a process
that leaks, hangs or is killed takes nothing with it. On a CPU it is forked from a server that has imported Keras and
run no operation (0.03 s a child against 5 s for a spawned one); with an NVIDIA GPU it is spawned, since CUDA does not
survive a fork. What a process costs is compiling its network, about a second; so a trial's rungs are one task,
compiled once.

The supervisor loads this module, so TensorFlow is imported inside the child's functions only.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

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

POLL_SECONDS = 0.1  # how often a waiting supervisor checks whether it should stop
STALL_SECONDS = 900.0  # a process that sends nothing for so long counts as hung
_starting = threading.Lock()  # held while this process's environment is another


class WorkerProcesses:
    """Runs each task in a process of its own. Thread-safe: one call per supervisor thread at a time.

    Args:
        log: File for the processes' standard error (TensorFlow is talkative).
        stop: Set it to make every call raise Interrupted.
        serve: What a process does with (pipe, task, log). Tests give others, which train nothing.
        preload: Modules that a forked process finds loaded.
        stall_seconds: A process that sends nothing for so long counts as hung.
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
        self._preload = list(preload)
        self._spawns = has_gpu()
        if self._spawns:
            self._context = multiprocessing.get_context("spawn")
        else:
            self._context = multiprocessing.get_context("forkserver")
            with _stderr_in(log):
                self._ensure_fork_server()  # now: Keras loads in the background

    def train(self, task: TrainTask | BaselineTask) -> Generator[TrainMessage, None, None]:
        """Run a training in a process, and yield its messages as they come.

        They are evaluations, the number of images seen once a second, and then one TrainResult; the same again for
        each of the task's further trainings, which starts when more is asked for. A baseline's network yields an
        evaluation for each epoch, its classifiers none, then one BaselineResult. Close the generator to end the
        process early.

        Raises:
            TrainingFailed: The training came to nothing.
            Interrupted: `stop` was set.
        """
        yield from self._run(task)

    def predict(self, task: PredictTask | BaselinePredictTask) -> np.ndarray:
        """Predict in a process: probabilities float32 (n, n_classes), or a baseline's classes uint8 (n,).

        Raises:
            TrainingFailed: The prediction failed.
            Interrupted: `stop` was set.
        """
        (predicted,) = self._run(task)
        return predicted

    def _run(self, task: Task) -> Generator[Any, None, None]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=self._serve, args=(theirs, task, self._log), daemon=True)
        if self._spawns:
            with inherited(training_variables()):
                process.start()
        else:
            self._ensure_fork_server()  # it may have been killed since
            process.start()
        theirs.close()
        try:
            yield from self._receive(ours, process)
        finally:
            ours.close()
            process.kill()
            process.join()

    def _ensure_fork_server(self) -> None:
        multiprocessing.set_forkserver_preload(self._preload)
        with inherited(training_variables()):
            multiprocessing.forkserver.ensure_running()

    def _receive(self, pipe: Connection, process: BaseProcess) -> Generator[Any, None, None]:
        # Time is counted in waits, not by a clock: processes that were stopped for long (Ctrl-Z) have not hung.
        waited = 0.0
        while True:
            if self._stop.is_set():
                raise Interrupted
            ready = wait([pipe, process.sentinel], POLL_SECONDS)
            if not ready:
                waited += POLL_SECONDS
                if waited > self._stall_seconds:
                    raise TrainingFailed("hung", f"no progress for {self._stall_seconds:.0f} s; the process was ended")
                continue
            waited = 0.0
            message = self._next_message(pipe, process)
            if message is None:
                return
            if isinstance(message, Pulse):
                continue
            if isinstance(message, Failure):
                raise TrainingFailed(message.kind, message.reason, message.trace)
            if isinstance(message, Pause):
                with suppress(BrokenPipeError):  # it has died since; the next message tells
                    pipe.send(None)
                continue
            yield message

    def _next_message(self, pipe: Connection, process: BaseProcess) -> Any:
        """Receive a message that is there, or raise TrainingFailed if the process has ended without one."""
        try:
            if pipe.poll():  # what it sent before its end comes first
                return pipe.recv()
        except (EOFError, OSError):  # OSError: it ended in the middle of a message
            pass
        process.join()
        if process.exitcode == -signal.SIGKILL:
            reason = "the training process was killed (exit code -9), as the system does when memory runs out"
        else:
            reason = f"the training process ended without a word (exit code {process.exitcode}); see {self._log}"
        raise TrainingFailed("killed", reason)


def training_variables() -> dict[str, str]:
    """Environment variables for a process that loads Keras, beside those that the user has set.

    Whatever the user's shell or Keras' own file says, the training steps are TensorFlow's.
    """
    defaults = {}
    if has_gpu():
        defaults["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # else the first worker takes all of its memory
    else:
        defaults["TF_CPP_MIN_LOG_LEVEL"] = "2"
        if platform.machine() in ("x86_64", "AMD64"):
            # TensorFlow leaves oneDNN off on processors without AVX-512, where networks learned 1.7 to 2.1 times the
            # images with it (three networks, one probe each, AVX2).
            defaults["TF_ENABLE_ONEDNN_OPTS"] = "1"
    variables = {name: value for name, value in defaults.items() if name not in os.environ}
    return variables | {"KERAS_BACKEND": "tensorflow"}


@contextmanager
def inherited(variables: Mapping[str, str]) -> Iterator[None]:
    """Let processes that start while the block runs inherit these variables; afterwards the environment is as before.

    `multiprocessing` passes on this process's environment and takes no other.
    """
    with _starting:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@contextmanager
def _stderr_in(log: Path) -> Iterator[None]:
    """Let processes that start while the block runs write their standard error to a file."""
    if sys.stderr is not None:  # a program without a console has none
        sys.stderr.flush()
    kept = os.dup(2)
    stderr_to(log)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
