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

# The classes of messages are made when these modules load, so a type checker does not see them.
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.types_pb2 import DT_STRING  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.api_pb2 import (
    STATUS_FAILURE,  # pyright: ignore[reportAttributeAccessIssue]
    STATUS_SUCCESS,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
    SessionEndInfo,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text import metadata as text
from tensorboard.summary.writer.record_writer import RecordWriter

from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.callbacks.base import Callback
from search.records.io import flat
from search.system.extras import require_writable

SCALARS = {  # field of a HistoryPoint -> scalar; what stands before the slash shares a group
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "validation_accuracy": "accuracy/validation",
    "validation_score": "score/validation",
    "learning_rate": "learning_rate",
    "seconds": "seconds",
}
BEST = "accuracy/best"  # so far, on the selection split


@dataclass
class _Run:
    """A training under way."""

    what: Recipe | str
    n_planned_images: int | None
    file: Path | None = None  # its event file, once it has one
    n_images: int = 0


class TensorBoardRuns(Callback):
    """Writes every training that is evaluated as a run of TensorBoard. Thread-safe.

    A run is `folder/LABEL/LENGTH images`, or `folder/LABEL` where the length is unknown: a trial's rungs, which start
    from new weights each, are runs beside each other, and their curves do not fold back. The step of its scalars is
    training images seen.

    Each record is in the file as soon as it is told, so that a killed process leaves all of them. A training that
    starts again after that takes the place of its first attempt.

    Args:
        folder: where the runs go.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        require_writable("tensorboard", folder)
        self._folder = folder
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        """Note the training, and end the run of the rung before it."""
        with self._lock:
            self._end(label, "passed; the trial goes on")
            self._runs[label] = _Run(what, n_planned_images)

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        """Write the point. The first one makes the run: a classifier's fit, which has none, is no curve."""
        with self._lock:
            run = self._runs[label]
            if run.file is None:
                run.file = begin_run(self._folder, label, run.what, run.n_planned_images)
            run.n_images = point.n_images
            write_event(run.file, Event(step=point.n_images, summary=scalars_of(point, best_accuracy)))

    def on_training_end(self, label: str, reason: str) -> None:
        """Write why the training ended."""
        with self._lock:
            self._end(label, reason)

    def _end(self, label: str, reason: str) -> None:
        run = self._runs.pop(label, None)
        if run is None or run.file is None:
            return
        write_event(run.file, Event(step=run.n_images, summary=text_summary("end", reason)))
        if isinstance(run.what, Recipe):
            status = STATUS_FAILURE if reason.startswith("failed") else STATUS_SUCCESS
            end = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=time.time()))
            value = Summary.Value(
                tag=hparams.SESSION_END_INFO_TAG,
                metadata=hparams.create_summary_metadata(end),
                tensor=hparams.NULL_TENSOR,
            )
            write_event(run.file, Event(step=run.n_images, summary=Summary(value=[value])))


def begin_run(folder: Path, label: str, what: Recipe | str, n_planned_images: int | None) -> Path:
    """Make a run's event file, with the recipe as text and as the hyperparameters that the HPARAMS page compares.

    Args:
        folder: of all runs.
        label: names the training.
        what: its recipe, or a baseline in words.
        n_planned_images: training images that it will see; None if unknown.
    """
    name = label
    if n_planned_images is not None:
        name = f"{label}/{n_planned_images} images"
    (folder / name).mkdir(parents=True, exist_ok=True)
    # TensorBoard reads the files of a run in the order of their names: the latest attempt last.
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    moment = f"{seconds:010d}.{nanoseconds:09d}"
    file = folder / name / f"events.out.tfevents.{moment}.{socket.gethostname()}.{os.getpid()}"
    write_event(file, Event(file_version="brain.Event:2"))
    write_event(file, Event(step=0, session_log=SessionLog(status=SessionLog.START)))  # discards what was before
    if isinstance(what, str):
        write_event(file, Event(step=0, summary=text_summary("recipe", what)))
        return file
    fields = what.to_dict()
    in_json = f"`{what}`\n\n```json\n{json.dumps(fields, indent=2)}\n```"
    write_event(file, Event(step=0, summary=text_summary("recipe", in_json)))
    parameters = {"images": n_planned_images or 0} | fields["plan"] | flat(fields["architecture"])
    for key, value in parameters.items():
        if isinstance(value, list):  # which a hyperparameter cannot be
            parameters[key] = str(value)
    write_event(file, Event(step=0, summary=hparams_pb(parameters, f"{folder.name}/{name}")))
    return file


def write_event(file: Path, event: Event) -> None:
    """Append an event. The file is closed after each: whatever ends this process, nothing is left in a buffer."""
    event.wall_time = time.time()
    with open(file, "ab") as stream:
        RecordWriter(stream).write(event.SerializeToString())


def scalars_of(point: HistoryPoint, best_accuracy: float | None) -> Summary:
    """The figures of a point that are known."""
    figures = {tag: getattr(point, field) for field, tag in SCALARS.items()} | {BEST: best_accuracy}
    known = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items() if value is not None]
    return Summary(value=known)


def text_summary(tag: str, markdown: str) -> Summary:
    """A text, which TensorBoard renders as Markdown."""
    tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()])
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=text.create_summary_metadata(tag, ""))])
