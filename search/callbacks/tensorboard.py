"""Trainings as runs of TensorBoard, as they go: `tensorboard --logdir DIR` may stay open all the time.

Written by the `tensorboard` package's own records and messages, the part of it that needs no TensorFlow.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text import metadata as text
from tensorboard.summary.writer.record_writer import RecordWriter

from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.callbacks.base import Callback
from search.extras import require_writable
from search.records.io import flat

SCALARS = {  # field of a HistoryPoint -> scalar; what stands before the slash shares a group
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
    "seconds": "seconds",
}
BEST = "accuracy/best"  # so far, on the selection split


@dataclass
class _Run:
    """A training under way."""

    what: Recipe | str
    n_planned_images: int | None
    path: Path | None = None  # of its event file, once it has one
    n_images: int = 0


class TensorBoardRuns(Callback):
    """Every training that reports points is a run, `folder/LABEL/LENGTH images`, or `folder/LABEL` where nobody knows
    its length: a trial's rungs, which start from new weights each, are runs beside each other, and their curves do not
    fold back. Thread-safe.

    The step of its scalars is training images seen. Each record is in the file as soon as it is told, so that a killed
    process leaves all of them. A training that starts again after that takes the place of its first attempt. Raises
    UserError where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        require_writable("tensorboard", folder)
        self._folder = folder
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        with self._lock:
            self._end(label, "passed; the trial goes on")  # the rung before
            self._runs[label] = _Run(what, n_planned_images)

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        """The first point makes the run: a classifier's fit, which has none, is no curve."""
        with self._lock:
            run = self._runs[label]
            if run.path is None:
                self._begin(label, run)
            run.n_images = point.n_images
            _write(run.path, Event(step=point.n_images, summary=_scalars(point, best_accuracy)))

    def on_training_end(self, label: str, reason: str) -> None:
        with self._lock:
            self._end(label, reason)

    def _begin(self, label: str, run: _Run) -> None:
        length = "" if run.n_planned_images is None else f"{run.n_planned_images} images"
        folder = self._folder / label / length
        folder.mkdir(parents=True, exist_ok=True)
        run.path = folder / _file_name()
        _write(run.path, Event(file_version="brain.Event:2"))
        _write(run.path, Event(step=0, session_log=SessionLog(status=SessionLog.START)))  # discards what was before
        _write(run.path, Event(step=0, summary=_text("recipe", _described(run.what))))
        if isinstance(run.what, Recipe):
            shown = _hyperparameters(run.what, run.n_planned_images, f"{self._folder.name}/{label}/{length}")
            _write(run.path, Event(step=0, summary=shown))

    def _end(self, label: str, reason: str) -> None:
        run = self._runs.pop(label, None)
        if run is None or run.path is None:
            return
        _write(run.path, Event(step=run.n_images, summary=_text("end", reason)))
        if isinstance(run.what, Recipe):
            _write(run.path, Event(step=run.n_images, summary=_end_of_session(reason)))


def _file_name() -> str:
    """TensorBoard reads the files of a run in the order of their names: the latest attempt last."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"events.out.tfevents.{seconds:010d}.{nanoseconds:09d}.{socket.gethostname()}.{os.getpid()}"


def _write(path: Path, event: Event) -> None:
    """Append it. The file is closed after each: whatever ends this process, nothing is left in a buffer."""
    event.wall_time = time.time()
    with open(path, "ab") as file:
        RecordWriter(file).write(event.SerializeToString())


def _scalars(point: HistoryPoint, best_accuracy: float | None) -> Summary:
    values = {tag: getattr(point, field) for field, tag in SCALARS.items()} | {BEST: best_accuracy}
    known = {tag: value for tag, value in values.items() if value is not None}
    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in known.items()])


def _described(what: Recipe | str) -> str:
    """In Markdown, which TensorBoard renders."""
    if isinstance(what, str):
        return what
    return f"`{what}`\n\n```json\n{json.dumps(what.to_dict(), indent=2)}\n```"


def _text(tag: str, markdown: str) -> Summary:
    tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()])
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=text.create_summary_metadata(tag, ""))])


def _hyperparameters(recipe: Recipe, n_planned_images: int | None, name: str) -> Summary:
    """What the HPARAMS page compares runs by: the length of the training and the recipe's fields. Lists are shown as
    words."""
    fields = recipe.to_dict()
    shown = {"images": n_planned_images or 0} | fields["plan"] | flat(fields["architecture"])
    return hparams_pb({key: str(value) if isinstance(value, list) else value for key, value in shown.items()}, name)


def _end_of_session(reason: str) -> Summary:
    status = STATUS_FAILURE if reason.startswith("failed") else STATUS_SUCCESS
    end = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=time.time()))
    metadata = hparams.create_summary_metadata(end)
    return Summary(
        value=[Summary.Value(tag=hparams.SESSION_END_INFO_TAG, metadata=metadata, tensor=hparams.NULL_TENSOR)]
    )
