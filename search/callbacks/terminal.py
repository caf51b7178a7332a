"""What a person sees while the tool runs: a line for each training and two for the study; plain lines with the time
where no terminal is, or one JSON object a line for a program to read.

The supervisor alone owns the terminal; worker processes have their standard error in a file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fmnist.metrics.intervals import Interval
from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.callbacks.base import Callback

FEWEST_TRIALS = 12  # before the time left is told: the portfolio, which comes first, trains for much longer than others
SHORTEST_LABEL_WIDTH = 11  # "finalist 99"
STATES = ("complete", "pruned", "infeasible", "failed")  # that a trial may end in, as they are counted out

# How much is said, least first.
QUIET, NORMAL, VERBOSE = "quiet", "normal", "verbose"
VERBOSITIES = (QUIET, NORMAL, VERBOSE)
# What is said, most important first: what came out or went wrong, what goes on, and what only VERBOSE tells.
RESULT, WARNING, INFO, DETAIL = "result", "warning", "info", "detail"
SAID = {QUIET: (RESULT, WARNING), NORMAL: (RESULT, WARNING, INFO), VERBOSE: (RESULT, WARNING, INFO, DETAIL)}


@dataclass(frozen=True)
class BestTrial:
    """The best complete trial so far."""

    number: int
    accuracy: float  # on the selection split
    interval: Interval  # 95 %, of the split's images; it says nothing of the choice among many trials
    network: str  # the recipe's short form


@dataclass(frozen=True)
class SearchProgress:
    """How far a search has come."""

    counts: Mapping[str, int]  # trials by state
    best: BestTrial | None = None
    seconds_left: float | None = None  # that a timeout leaves for the search; None: it has all the time it takes

    @property
    def n_finished(self) -> int:
        return sum(self.counts[state] for state in STATES)

    def __str__(self) -> str:
        return ", ".join(f"{self.counts[state]} {state}" for state in STATES if self.counts[state])


@dataclass(frozen=True)
class FinalistRow:
    """A finalist in the table at the end."""

    trial: int
    origin: str  # "sampler", or the portfolio's name for it
    search_accuracy: float | None  # on the selection split; None if its trial did not complete
    confirm_accuracy: float
    interval: Interval  # 95 %, of the confirmation split's images
    network: str  # the recipe's short form
    is_winner: bool


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
    standing: SearchProgress | None = None
    standing_told: float = field(default_factory=time.monotonic)
    counts_trainings: bool = False  # every training that ends is one more done
    n_images: int = 0  # training images seen in it, of all trainings
    started: float = field(default_factory=time.monotonic)


class Terminal(Callback):
    """Shows progress; use it as a context manager. Thread-safe.

    Where standard output is no terminal, each finished training is a line with the time of day, and nothing redraws.
    verbosity: "quiet" tells what came out and what went wrong, "verbose" every look at the selection split too.
    """

    def __init__(self, console: Console | None = None, verbosity: str = NORMAL) -> None:
        self._console = console or Console()
        self._verbosity = verbosity
        self._lock = threading.RLock()
        self._lines: dict[str, _Line] = {}
        self._phase: _Phase | None = None
        self._label_width = SHORTEST_LABEL_WIDTH
        self._live: Live | None = None

    def __enter__(self) -> Terminal:
        if self._console.is_terminal and self._verbosity != QUIET:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=2, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)
            self._live = None

    # --- what the study tells

    def say(self, text: str, level: str = INFO, *, wrap: bool = True) -> None:
        """A line that stays. wrap=False cuts it at the terminal's width; what is to be copied wraps."""
        if level not in SAID[self._verbosity]:
            return
        if self._console.is_terminal and not wrap:
            self._console.print(_one_line(text), no_wrap=True, overflow="ellipsis")
            return
        stamp = "" if self._console.is_terminal else f"{datetime.now():%H:%M:%S} "
        self._console.print(f"{stamp}{text}", markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line that stays, whatever the verbosity."""
        self.say(text, WARNING)

    def show(self, table: Table) -> None:
        """A table that was asked for, whatever the verbosity."""
        self._console.print(table)

    def begin(
        self,
        name: str,
        n_total: int = 0,
        n_done: int = 0,
        standing: SearchProgress | None = None,
        *,
        counts_trainings: bool = False,
        labels: Iterable[str] = (),
    ) -> None:
        """Start a phase of `n_total` steps, 0 where it has none to count. labels: of its trainings, where they may be
        longer than those of trials: their lines align."""
        with self._lock:
            self._label_width = max(SHORTEST_LABEL_WIDTH, max(map(len, labels), default=0))
            self._phase = _Phase(name, n_total, n_done, n_done, standing, counts_trainings=counts_trainings)

    def advance(self, standing: SearchProgress) -> None:
        """Trials have ended. Two threads may count before either tells: the lower count is late."""
        with self._lock:
            if standing.n_finished <= self._phase.n_done:
                return
            self._phase.n_done, self._phase.standing = standing.n_finished, standing
            self._phase.standing_told = time.monotonic()
            self._tell_advance()

    def _tell_advance(self) -> None:
        if self._live is None:
            self.say(" · ".join(part for part in (self._phase_line(), self._best_line()) if part))

    def show_finalists(self, rows: Sequence[FinalistRow]) -> None:
        """A table, best first."""
        self.say(f"{'finalists':<24} {'search':>7}  {'confirmation, 95 %':<24} network", RESULT, wrap=False)
        for row in rows:
            mark, origin = ">" if row.is_winner else " ", "" if row.origin == "sampler" else f" {row.origin}"
            name = f"{mark} trial {row.trial}{origin}"[:24]
            found = "" if row.search_accuracy is None else f"{row.search_accuracy:.2%}"
            confirmed = f"{row.confirm_accuracy:.2%} {_in_words(row.interval)}"
            self.say(f"{name:<24} {found:>7}  {confirmed:<24} {row.network}", RESULT, wrap=False)

    def show_result(self, text: str, figures: Mapping[str, Any], places: Mapping[str, str]) -> None:
        """The end of a run: what came out, in words and as JSON values, and where to look next."""
        self.say(text, RESULT)
        width = max(map(len, places))
        for name, place in places.items():
            self.say(f"  {name:<{width}}  {place}", RESULT)

    # --- what the trainings tell (callbacks)

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        self._begin(label, what, n_planned_images)
        length = "" if n_planned_images is None else f"{n_planned_images:,} images of "
        self.say(f"{label:<{self._label_width}} begins {length}{what}", DETAIL, wrap=False)

    def on_training_progress(self, label: str, n_images: int) -> None:
        with self._lock:
            self._count(label, n_images)

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        self._look(label, point.n_images, best_accuracy)
        looked = "" if point.validation_accuracy is None else f"selection {point.validation_accuracy:.2%}, "
        text = f"{label:<{self._label_width}} {looked}training {point.train_accuracy:.2%}"
        self.say(f"{text} after {point.n_images:,} images", DETAIL, wrap=False)

    def on_training_end(self, label: str, reason: str) -> None:
        line = self._end(label)
        accuracy = "" if line.best_accuracy is None else f"{line.best_accuracy:.2%}"
        self.say(f"{label:<{self._label_width}} {accuracy:>6}  {reason}  {line.what}", wrap=False)

    def _begin(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        with self._lock:
            self._lines[label] = _Line(what, n_planned_images)

    def _look(self, label: str, n_images: int, best_accuracy: float | None) -> None:
        with self._lock:
            self._count(label, n_images)
            self._lines[label].best_accuracy = best_accuracy

    def _end(self, label: str) -> _Line:
        with self._lock:
            if self._phase is not None and self._phase.counts_trainings:
                self._phase.n_done += 1
            return self._lines.pop(label)

    def _count(self, label: str, n_images: int) -> None:
        line = self._lines[label]
        if self._phase is not None:
            self._phase.n_images += max(0, n_images - line.n_images)
        line.n_images = max(line.n_images, n_images)

    # --- drawing

    def _render(self) -> Group:
        with self._lock:
            lines = [self._training_line(label, line) for label, line in self._lines.items()]
            best = self._best_line()
            phase = self._phase_line() if self._phase else "preparing"
        return Group(
            *(_one_line(line) for line in lines), *([_one_line(best)] if best else []), _one_line(phase, style="bold")
        )

    def _training_line(self, label: str, line: _Line) -> str:
        best = "" if line.best_accuracy is None else f"{line.best_accuracy:.2%}"
        if line.n_planned_images is None:
            length, share, clock = "", "", f"{_duration(time.monotonic() - line.started)} so far"
        else:
            length, share = _short_count(line.n_planned_images), f"{line.n_images / line.n_planned_images:.0%}"
            left = _duration(_seconds_left(line))
            clock = f"{left} left" if left else ""
        return f"{label:<{self._label_width}} {length:>5} {share:>4} {best:>6} {clock:>12}  {line.what}"

    def _best_line(self) -> str:
        standing = self._phase.standing if self._phase else None
        if standing is None:
            return ""
        if standing.best is None:
            return "no trial is complete yet"
        best = standing.best
        return f"best {best.accuracy:.2%} {_in_words(best.interval)} · trial {best.number} · {best.network}"

    def _phase_line(self) -> str:
        phase = self._phase
        count = f" {phase.n_done}/{phase.n_total}" if phase.n_total else ""
        seconds = time.monotonic() - phase.started
        left = f"{_duration(min(known))} left" if (known := _phase_seconds_left(phase)) else ""
        speed = f"{phase.n_images / seconds:,.0f} images/s" if phase.n_images else ""
        tally = str(phase.standing) if phase.standing else ""
        return " · ".join(part for part in (phase.name + count, left, speed, tally) if part)


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _in_words(interval: Interval) -> str:
    return f"({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _short_count(n: int) -> str:
    """Such as `800`, `16k`, `1.2M`: five characters at most."""
    if n < 1000:
        return str(n)
    return f"{n / 1000:.0f}k" if n < 999_500 else f"{n / 1e6:.1f}M"


def _phase_seconds_left(phase: _Phase) -> list[float]:
    """By its speed so far, once that says something, and by the clock."""
    now, known = time.monotonic(), []
    n_done = phase.n_done - phase.n_done_before
    if n_done >= (1 if phase.counts_trainings else FEWEST_TRIALS):
        known.append((phase.n_total - phase.n_done) * (now - phase.started) / n_done)
    if phase.standing is not None and phase.standing.seconds_left is not None:
        known.append(max(0.0, phase.standing.seconds_left - (now - phase.standing_told)))
    return known


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
