"""A training process that trains nothing: what a task reports follows from its seed alone.

Every report is entered in a ledger beside the study's images before it is sent, so that a test can say what was lost.
A process that runs one imports this module, so it loads nothing more.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from multiprocessing.connection import Connection

from fmnist.training.history import HistoryPoint
from search.worker.tasks import Pause, TrainResult, TrainTask

SECONDS_VARIABLE = "FAKE_SECONDS"  # that every report takes
LEDGER_VARIABLE = "FAKE_LEDGER"  # where reports are entered, if not beside the study's images


def accuracy_of(seed: int, length: int, n_images: int) -> float:
    """What a fake training of this seed and length reports after so many images."""
    top = 0.5 + zlib.crc32(f"{seed} {length}".encode()) / 2**33
    return round(top * (0.8 + 0.2 * n_images / length), 9)


def points_of(task: TrainTask, length: int) -> Iterator[HistoryPoint]:
    marks = [*range(task.report_every_images, length, task.report_every_images), length]
    for mark in marks:
        yield HistoryPoint(mark, 0.01 * mark, 1e-3, 1.0, 0.5, 0.9, accuracy_of(task.seed, length, mark))


def serve(pipe: Connection, task: TrainTask) -> None:
    """The whole life of one process."""
    seconds = float(os.environ.get(SECONDS_VARIABLE, "0"))
    try:
        for i, length in enumerate((task.n_planned_images, *task.further_lengths)):
            if i > 0:
                pipe.send(Pause())
                pipe.recv()
            history = []
            for point in points_of(task, length):
                time.sleep(seconds)
                _enter(task, length, point)
                history.append(point)
                pipe.send(point)
            pipe.send(TrainResult(tuple(history), history[-1], length, 0.1, 0.1, "end", 100.0))
        pipe.send(None)
    except (BrokenPipeError, EOFError):
        os._exit(1)


def _enter(task: TrainTask, length: int, point: HistoryPoint) -> None:
    line = json.dumps([task.seed, length, point.n_images, point.validation_accuracy]) + "\n"
    ledger = os.environ.get(LEDGER_VARIABLE) or task.split_folder.with_name("reported.jsonl")
    handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())  # one call: whole lines, whoever dies
    os.close(handle)
