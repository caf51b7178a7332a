"""Training processes on this machine: one fresh process per task, from the supervisor's side.

A task goes in; progress and then results come out over a pipe. Memory cannot grow from trial to trial, and a process
that leaks, hangs or is killed takes nothing with it. On a CPU it is forked from a server that has imported Keras and
run no operation (0.03 s a child against 5 s for a spawned one); with an NVIDIA GPU it is spawned, since CUDA does not
survive a fork: see `search.worker.server`. What a process costs is compiling its network, about a second; so a trial's
rungs are one task, compiled once.

The supervisor loads this module, so TensorFlow is imported inside the child's functions only.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fmnist.errors import UserError
from search.system.machine import has_gpu
from search.worker import child
from search.worker.client import POLL_SECONDS, ProcessServer, ServerLost, TrainingProcess
from search.worker.tasks import (
    BaselineTask,
    Failure,
    Interrupted,
    Pause,
    PredictorTask,
    Pulse,
    Task,
    TrainingFailed,
    TrainMessage,
    TrainTask,
    map_paths,
)

STALL_SECONDS = 900.0  # a process that sends nothing for so long counts as hung


class WorkerProcesses:
    """Runs each task in a process of its own. Thread-safe: one call per supervisor thread at a time.

    Args:
        log: File for the processes' standard error and output (TensorFlow is talkative).
        stop: Set it to make every call raise Interrupted.
        serve: What a process does with (pipe, task). Tests give others, which train nothing.
        preload: Modules that a forked process finds loaded.
        stall_seconds: A process that sends nothing for so long counts as hung.

    Raises:
        UserError: The machine does not let processes start; so do `train` and `predict`.
    """

    def __init__(
        self,
        log: Path,
        stop: threading.Event,
        *,
        serve: Callable[[Connection, Any], None] = child.serve,
        preload: Sequence[str] = ("fmnist.training.loop", "search.worker.child"),
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._stop = stop
        self._stall_seconds = stall_seconds
        self._log = log
        self._serve = serve
        self._server = ProcessServer(log, preload, forks=not has_gpu())  # now: Keras loads in the background

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End whatever runs; nothing can be run afterwards."""
        self._server.close()

    @contextmanager
    def room(self) -> Iterator[None]:
        """Wait until another training may begin, and keep its room while the block runs: here, at once."""
        yield

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

    def predict(self, task: PredictorTask) -> np.ndarray:
        """Predict in a process: probabilities float32 (n, n_classes), or a baseline's classes uint8 (n,).

        Raises:
            TrainingFailed: The prediction failed.
            Interrupted: `stop` was set.
        """
        (predicted,) = self._run(task)
        return predicted

    def _run(self, task: Task) -> Generator[Any, None, None]:
        process = self._server.start_process(self._serve, with_absolute_paths(task), self._stop)
        try:
            yield from self._receive(process)
        except ServerLost:  # killed, and the training with it
            raise UserError(
                "the machine must let training processes run, but the one that starts them was killed, as the system "
                "does when memory runs out; free memory, or lower --workers, and run the same command again: it goes "
                "on from here"
            ) from None
        finally:
            process.end()

    def _receive(self, process: TrainingProcess) -> Generator[Any, None, None]:
        # Time is counted in waits, not by a clock: processes that were stopped for long (Ctrl-Z) have not hung.
        waited = 0.0
        while True:
            if self._stop.is_set():
                raise Interrupted
            if not wait([process.pipe], POLL_SECONDS):
                waited += POLL_SECONDS
                if waited > self._stall_seconds:
                    raise TrainingFailed("hung", f"no progress for {self._stall_seconds:.0f} s; the process was ended")
                continue
            waited = 0.0
            message = self._next_message(process)
            if message is None:
                return
            if isinstance(message, Pulse):
                continue
            if isinstance(message, Failure):
                raise TrainingFailed(message.kind, message.reason, message.trace)
            if isinstance(message, Pause):
                with suppress(BrokenPipeError):  # it has died since; the next message tells
                    process.pipe.send(None)
                continue
            yield message

    def _next_message(self, process: TrainingProcess) -> Any:
        """Receive a message that is there, or raise TrainingFailed if the process has ended without one."""
        try:
            return process.pipe.recv()
        except (EOFError, OSError):  # OSError: it ended in the middle of a message
            code = process.exit_code()
        if code == -signal.SIGKILL:
            reason = "the training process was killed (exit code -9), as the system does when memory runs out"
        else:
            reason = f"the training process ended without a word (exit code {code}); see {self._log}"
        raise TrainingFailed("killed", reason)


def with_absolute_paths(task: Task) -> Task:
    """Make a task's paths absolute: a training process has another working directory."""
    return map_paths(task, lambda field, path: path.absolute())
