"""A run as JSON, one object a line, for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.callbacks.terminal import DETAIL, INFO, NORMAL, RESULT, SAID, FinalistRow, Terminal


class JsonTerminal(Terminal):
    """The same, for programs: one JSON object a line with its `time` (ISO 8601, UTC) and `event`:

    "message" (level, text), "phase" (name, n_total, n_done), "training_started" (label, network, n_planned_images),
    "progress" (label, best_accuracy, and the fields of a HistoryPoint; with "verbose" only), "training_ended" (label,
    reason, best_accuracy, network), "standing" (counts by state, best), "table" (columns, rows: those of --check),
    "finalists" (rows) and "result" (figures and places). Accuracies are shares of 1.
    """

    def __init__(self, console: Console | None = None, verbosity: str = NORMAL) -> None:
        super().__init__(console or Console(force_terminal=False), verbosity)

    def __enter__(self) -> JsonTerminal:
        return self  # nothing redraws, whatever standard output is

    def _write(self, level: str, event: str, /, **fields: Any) -> None:
        if level not in SAID[self._verbosity]:
            return
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields})
        with self._lock:
            self._console.file.write(f"{line}\n")
            self._console.file.flush()

    def say(self, text: str, level: str = INFO, *, wrap: bool = True) -> None:
        self._write(level, "message", level=level, text=text)

    def begin(self, name: str, n_total: int = 0, n_done: int = 0, *args: Any, **more: Any) -> None:
        super().begin(name, n_total, n_done, *args, **more)
        self._write(INFO, "phase", name=name, n_total=n_total, n_done=n_done)

    def _tell_advance(self) -> None:
        standing = self._phase.standing
        best = asdict(standing.best) if standing.best else None
        self._write(INFO, "standing", n_total=self._phase.n_total, counts=dict(standing.counts), best=best)

    def show(self, table: Table) -> None:
        columns = [[str(cell) for cell in column.cells] for column in table.columns]
        head = [str(column.header) for column in table.columns] if table.show_header else []
        self._write(RESULT, "table", columns=head, rows=[list(row) for row in zip(*columns, strict=True)])

    def show_finalists(self, rows: Sequence[FinalistRow]) -> None:
        self._write(RESULT, "finalists", rows=[asdict(row) for row in rows])

    def show_result(self, text: str, figures: Mapping[str, Any], places: Mapping[str, str]) -> None:
        self._write(RESULT, "result", text=text, **figures, **places)

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        self._begin(label, what, n_planned_images)
        self._write(INFO, "training_started", label=label, network=str(what), n_planned_images=n_planned_images)

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        self._look(label, point.n_images, best_accuracy)
        self._write(DETAIL, "progress", label=label, best_accuracy=best_accuracy, **asdict(point))

    def on_training_end(self, label: str, reason: str) -> None:
        line = self._end(label)
        self._write(
            INFO,
            "training_ended",
            label=label,
            reason=reason,
            best_accuracy=line.best_accuracy,
            network=str(line.what),
        )
