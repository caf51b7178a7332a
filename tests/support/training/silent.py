"""Training processes that say little. A process that runs one imports this module, so it loads nothing more."""

from __future__ import annotations

import time
from functools import partial
from multiprocessing.connection import Connection

from fmnist.training.history import HistoryPoint
from search.worker.child import Pulsing
from search.worker.local import WorkerProcesses
from search.worker.tasks import TrainResult, TrainTask


def serve_and_hang(pipe: Connection, task: TrainTask) -> None:
    """Send one evaluation, then hang."""
    pipe.send(HistoryPoint(task.report_every_images, 0.1, 1e-3, 1.0, 0.5, 0.9, 0.5))
    time.sleep(600)


def serve_in_silence(pipe: Connection, task: TrainTask) -> None:
    """Compute for two seconds, and say no more than that, before the only result."""
    started = time.monotonic()
    with Pulsing(pipe, memory_limit_mb=None, every_seconds=0.1):
        while time.monotonic() - started < 2.1:
            sum(range(1000))
    seconds = time.monotonic() - started
    pipe.send(TrainResult((), None, task.n_planned_images, seconds, seconds, "end", 100.0))
    pipe.send(None)


def serve_too_late(pipe: Connection, task: TrainTask) -> None:
    """Come to no evaluation within the time limit."""
    pipe.send(TrainResult((), None, 0, 0.1, 0.1, "time limit", 100.0))
    pipe.send(None)


too_late_workers = partial(WorkerProcesses, serve=serve_too_late, preload=("tests.support.training.silent",))
