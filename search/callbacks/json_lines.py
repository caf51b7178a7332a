"""A run as JSON, one object a line, for programs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.callbacks.reporter import (
    DETAIL,
    INFO,
    NORMAL,
    RESULT,
    SAID,
    WARNING,
    FinalistRow,
    NodeLoss,
    Reporter,
    SearchProgress,
    higher,
    known,
    require_console,
    require_verbosity,
)


@dataclass
class _Training:
    """A training under way."""

    network: str
    best_accuracy: float | None = None
    best_score: float | None = None  # by the study's metric; None where that is accuracy


class JsonReporter(Reporter):
    """Writes one JSON object a line, each with its `time` (ISO 8601, UTC) and `event`. Thread-safe.

    Events: "message" (level, text), "phase" (name, n_total, n_done), "training_started" (label, network,
    n_planned_images), "progress" (label, best_accuracy, and the fields of a HistoryPoint; with "verbose" only),
    "training_length" (label, n_planned_images: what a timeout has made of it; with "verbose" only), "training_ended"
    (label, reason, best_accuracy, network), "standing" (counts by state, best), "table" (columns, rows: those of
    --check), "finalists" (rows) and "result" (figures and places). Accuracies are shares of 1. In a study by another
    metric, events have the score that decides too, as `validation_score`, `best_score` and the like.
    Larger is better: by log loss it is the negative log loss.

    On a cluster also "nodes" (trainings: how many each node runs, of those for which that has changed, null for a node
    that is gone; n_waiting: trainings that no node has taken yet) and "node_lost" (text; node; is_whole: false where a
    training's process there has died alone; trainings: those that begin again; n_images and seconds of what was lost).
    """

    def __init__(self, console: Console | None = None, verbosity: str = NORMAL) -> None:
        self._console = require_console(console, Console(force_terminal=False))
        self._verbosity = require_verbosity(verbosity)
        self._lock = threading.RLock()
        self._trainings: dict[str, _Training] = {}
        self._n_total = 0  # of the phase under way
        self._n_done = 0
        self._nodes: dict[str, int] = {}  # trainings by node, as written last
        self._n_waiting = 0

    def say(self, text: str, level: str = INFO, *, wrap: bool = True) -> None:
        """Write a "message"."""
        self._write(level, "message", level=level, text=text)

    def show(self, table: Table) -> None:
        """Write a "table", its cells as strings."""
        columns = [[str(cell) for cell in column.cells] for column in table.columns]
        head: list[str] = []
        if table.show_header:
            head = [str(column.header) for column in table.columns]
        self._write(RESULT, "table", columns=head, rows=list(zip(*columns, strict=True)))

    def begin(
        self,
        name: str,
        n_total: int = 0,
        n_done: int = 0,
        progress: SearchProgress | None = None,
        *,
        counts_trainings: bool = False,
        labels: Iterable[str] = (),
    ) -> None:
        """Write a "phase"."""
        with self._lock:
            self._n_total, self._n_done = n_total, n_done
        self._write(INFO, "phase", name=name, n_total=n_total, n_done=n_done)

    def advance(self, progress: SearchProgress) -> None:
        """Write a "standing", unless a higher count has been written."""
        best = None
        if progress.best is not None:
            best = known(asdict(progress.best))
        with self._lock:
            if progress.n_finished <= self._n_done:
                return
            self._n_done = progress.n_finished
            self._write(INFO, "standing", n_total=self._n_total, counts=dict(progress.counts), best=best)

    def show_nodes(self, trainings: Mapping[str, int] | None, n_waiting: int = 0) -> None:
        """Write "nodes", if anything has changed."""
        if trainings is None:
            return
        with self._lock:
            changed: dict[str, int | None] = {name: n for name, n in trainings.items() if self._nodes.get(name) != n}
            changed.update((name, None) for name in self._nodes if name not in trainings)
            if not changed and n_waiting == self._n_waiting:
                return
            self._nodes, self._n_waiting = dict(trainings), n_waiting
            self._write(INFO, "nodes", trainings=changed, n_waiting=n_waiting)

    def warn_of_loss(self, loss: NodeLoss) -> None:
        """Write "node_lost"."""
        self._write(WARNING, "node_lost", text=str(loss), **asdict(loss))

    def show_finalists(self, rows: Sequence[FinalistRow]) -> None:
        """Write "finalists"."""
        self._write(RESULT, "finalists", rows=[known(asdict(row)) for row in rows])

    def show_result(self, text: str, figures: Mapping[str, Any], places: Mapping[str, str]) -> None:
        """Write a "result"."""
        self._write(RESULT, "result", text=text, **figures, **places)

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        """Write "training_started"."""
        training = _Training(str(what))
        with self._lock:
            self._trainings[label] = training
        self._write(INFO, "training_started", label=label, network=training.network, n_planned_images=n_planned_images)

    def on_training_length(self, label: str, n_planned_images: int) -> None:
        """Write "training_length"."""
        self._write(DETAIL, "training_length", label=label, n_planned_images=n_planned_images)

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        """Write "progress"."""
        with self._lock:
            training = self._trainings[label]
            training.best_accuracy = best_accuracy
            training.best_score = higher(training.best_score, point.validation_score)
        scores = known({"best_score": training.best_score})
        self._write(DETAIL, "progress", label=label, best_accuracy=best_accuracy, **scores, **point.to_dict())

    def on_training_end(self, label: str, reason: str) -> None:
        """Write "training_ended"."""
        with self._lock:
            training = self._trainings.pop(label)
        self._write(
            INFO,
            "training_ended",
            label=label,
            reason=reason,
            best_accuracy=training.best_accuracy,
            network=training.network,
            **known({"best_score": training.best_score}),
        )

    def _write(self, level: str, event: str, /, **fields: Any) -> None:
        if level not in SAID[self._verbosity]:
            return
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields})
        with self._lock:
            self._console.file.write(f"{line}\n")
            self._console.file.flush()
