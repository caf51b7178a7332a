"""Training processes that train nothing and load nothing: each does one thing that its supervisor must cope with."""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection

from search.worker.tasks import PredictTask

NEVER = 600.0  # seconds


def answer(pipe: Connection, task: PredictTask) -> None:
    """Send the model's path, as it has arrived here."""
    pipe.send(task.model)
    pipe.send(None)


def answer_late(pipe: Connection, task: PredictTask) -> None:
    """Send this process's id and its parent's, and the path once told to go on."""
    pipe.send((os.getpid(), os.getppid()))
    while not os.path.exists(task.model):
        time.sleep(0.01)
    answer(pipe, task)


def hang(pipe: Connection, task: PredictTask) -> None:
    """Send this process's id and its parent's, and nothing more."""
    pipe.send((os.getpid(), os.getppid()))
    time.sleep(NEVER)


def talk(pipe: Connection, task: PredictTask) -> None:
    """Print, as libraries do, before the answer."""
    print("in a library", flush=True)
    print("a warning of a library", file=sys.stderr)
    answer(pipe, task)
