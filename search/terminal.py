"""What a person sees while the tool runs: a line per training and one for the study, or plain lines without a terminal.

The supervisor alone owns the terminal; worker processes have their standard error in a file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fmnist.history import HistoryPoint
from fmnist.recipe import Recipe
from search.watcher import Watcher

FEWEST_TRIALS = 12  # before the time left is told: the portfolio, which comes first, trains for much longer than others
SHORTEST_LABEL_WIDTH = 11  # "finalist 99"


@dataclass
class _Line:
    """A training under way."""

    what: Recipe | str
    n_planned_images: int | None  # None: nobody knows
    n_images: int = 0
    best_accuracy: float | None = None
    started: float = field(default_factory=time.monotonic)


@dataclass
class _Phase:
    """A phase under way: the search, the confirmation, the retraining, the baselines."""

    name: str
    n_total: int
    n_done_before: int  # done by earlier runs: they say nothing about this run's speed
    n_done: int
    tally: str = ""
    counts_trainings: bool = False  # every training that ends is one more done
    started: float = field(default_factory=time.monotonic)


class Terminal(Watcher):
    """Shows progress; use it as a context manager. Thread-safe.

    Where standard output is no terminal, each finished training is a line with the time of day, and nothing redraws.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._lock = threading.RLock()
        self._lines: dict[str, _Line] = {}
        self._phase: _Phase | None = None
        self._label_width = SHORTEST_LABEL_WIDTH
        self._live: Live | None = None

    def __enter__(self) -> Terminal:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=2, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)
            self._live = None

    # --- what the study tells

    def say(self, text: str, *, wrap: bool = True) -> None:
        """A line that stays. wrap=False cuts it at the terminal's width; what is to be copied wraps."""
        if self._console.is_terminal and not wrap:
            self._console.print(_one_line(text), no_wrap=True, overflow="ellipsis")
            return
        stamp = "" if self._console.is_terminal else f"{datetime.now():%H:%M:%S} "
        self._console.print(f"{stamp}{text}", markup=False, highlight=False, soft_wrap=True)

    def show(self, table: Table) -> None:
        self._console.print(table)

    def begin(
        self,
        name: str,
        n_total: int = 0,
        n_done: int = 0,
        tally: str = "",
        *,
        counts_trainings: bool = False,
        labels: Iterable[str] = (),
    ) -> None:
        """Start a phase of `n_total` steps, 0 where it has none to count. labels: of its trainings, where they may be
        longer than those of trials: their lines align."""
        with self._lock:
            self._label_width = max(SHORTEST_LABEL_WIDTH, max(map(len, labels), default=0))
            self._phase = _Phase(name, n_total, n_done, n_done, tally, counts_trainings)

    def advance(self, n_done: int, tally: str) -> None:
        """`n_done` steps of the phase are done. Two threads may count before either tells: the lower count is late."""
        with self._lock:
            if n_done <= self._phase.n_done:
                return
            self._phase.n_done, self._phase.tally = n_done, tally
            if self._live is None:
                self.say(self._phase_line())

    # --- what the trainings tell (Watcher)

    def started(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        with self._lock:
            self._lines[label] = _Line(what, n_planned_images)

    def progressed(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        with self._lock:
            line = self._lines[label]
            line.n_images, line.best_accuracy = point.n_images, best_accuracy

    def ended(self, label: str, reason: str) -> None:
        with self._lock:
            line = self._lines.pop(label)
            if self._phase is not None and self._phase.counts_trainings:
                self._phase.n_done += 1
        accuracy = "" if line.best_accuracy is None else f"{line.best_accuracy:.2%}"
        self.say(f"{label:<{self._label_width}} {accuracy:>6}  {reason}  {line.what}", wrap=False)

    # --- drawing

    def _render(self) -> Group:
        with self._lock:
            lines = [self._training_line(label, line) for label, line in self._lines.items()]
            phase = self._phase_line() if self._phase else "preparing"
        return Group(*(_one_line(line) for line in lines), _one_line(phase, style="bold"))

    def _training_line(self, label: str, line: _Line) -> str:
        best = "" if line.best_accuracy is None else f"{line.best_accuracy:.2%}"
        if line.n_planned_images is None:
            share, clock = "", f"{_duration(time.monotonic() - line.started)} so far"
        else:
            share, left = f"{line.n_images / line.n_planned_images:.0%}", _duration(_seconds_left(line))
            clock = f"{left} left" if left else ""
        return f"{label:<{self._label_width}} {share:>4} {best:>6} {clock:>12}  {line.what}"

    def _phase_line(self) -> str:
        phase = self._phase
        count = f" {phase.n_done}/{phase.n_total}" if phase.n_total else ""
        n_done = phase.n_done - phase.n_done_before
        rate = n_done / (time.monotonic() - phase.started)
        says_enough = n_done > 0 if phase.counts_trainings else n_done >= FEWEST_TRIALS
        left = _duration((phase.n_total - phase.n_done) / rate) if says_enough else ""
        return " · ".join(part for part in (phase.name + count, phase.tally, f"{left} left" if left else "") if part)


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _seconds_left(line: _Line) -> float | None:
    if line.n_images == 0:
        return None
    elapsed = time.monotonic() - line.started
    return elapsed * (line.n_planned_images / line.n_images - 1)


def _duration(seconds: float | None) -> str:
    """Such as `1:05:09` or `2:07`; empty for None."""
    if seconds is None:
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
