"""What a person sees while the tool runs: a line for each training and two for the study, redrawn as they change.

Where standard output is no terminal, plain lines with the time of day. The supervisor alone owns the terminal; worker
processes have their standard error in a file.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fmnist.output import printable_lines
from fmnist.recipe import Recipe
from fmnist.scoring import Metric
from fmnist.training.history import HistoryPoint
from search.callbacks.reporter import (
    DETAIL,
    INFO,
    NORMAL,
    QUIET,
    RESULT,
    SAID,
    FinalistRow,
    Reporter,
    SearchProgress,
    higher,
    require_console,
    require_verbosity,
)
from search.format import METRIC_WORDS, SHARES, clock_time, metric_range, narrow_count, narrow_range, shown_score

FEWEST_TRIALS = 12  # before the time left is told: the portfolio, which comes first, trains for much longer than others
TABLE_WIDTH = 80  # at least: in fewer columns its figures would be cut
SHORTEST_LABEL_WIDTH = 11  # "finalist 99"


@dataclass
class _Training:
    """A training under way."""

    what: Recipe | str
    n_planned_images: int | None  # None if unknown
    n_images: int = 0
    best_accuracy: float | None = None
    best_score: float | None = None  # by the study's metric; None where that is accuracy
    started: float = field(default_factory=time.monotonic)

    def best(self, metric: Metric) -> str:
        """What its best point has by the metric; empty where nothing was validated."""
        if self.best_score is not None:
            return shown_score(metric, self.best_score)
        return _accuracy(self.best_accuracy)  # also of a baseline in a study by another metric

    def columns(self) -> tuple[str, str, str]:
        """Its length, the share of it that is done, and its clock."""
        elapsed = time.monotonic() - self.started
        if self.n_planned_images is None:
            return "", "", f"{clock_time(elapsed)} so far"
        share, clock = self.n_images / self.n_planned_images, ""
        if self.n_images > 0:
            clock = f"{clock_time(elapsed * (1 / share - 1))} left"
        return narrow_count(self.n_planned_images), f"{share:.0%}", clock


@dataclass
class _Phase:
    """A phase under way: the search, the finalists, the students, the baselines."""

    name: str
    n_total: int
    n_done_before: int  # done by earlier runs: they say nothing about this run's speed
    n_done: int
    progress: SearchProgress | None = None
    progress_told: float = field(default_factory=time.monotonic)
    counts_trainings: bool = False  # every training that ends is one more done
    n_images: int = 0  # training images seen in it, of all trainings
    started: float = field(default_factory=time.monotonic)

    def seconds_left(self) -> float | None:
        """The shorter of two estimates: by the speed so far, once that says something, and by the timeout."""
        now, known = time.monotonic(), []
        n_done = self.n_done - self.n_done_before
        n_needed = 1 if self.counts_trainings else FEWEST_TRIALS
        if n_done >= n_needed:
            known.append((self.n_total - self.n_done) * (now - self.started) / n_done)
        if self.progress is not None and self.progress.seconds_left is not None:
            known.append(max(0.0, self.progress.seconds_left - (now - self.progress_told)))
        return min(known, default=None)

    def line(self) -> str:
        """Its count, the time left, the speed and the trials by state, as far as known."""
        parts = [self.name]
        if self.n_total:
            parts = [f"{self.name} {self.n_done}/{self.n_total}"]
        seconds_left = self.seconds_left()
        if seconds_left is not None:
            parts.append(f"{clock_time(seconds_left)} left")
        if self.n_images:
            parts.append(f"{self.n_images / (time.monotonic() - self.started):,.0f} images/s")
        if self.progress is not None:
            parts.append(str(self.progress))
        return " · ".join(part for part in parts if part)

    def best_line(self, metric: Metric) -> str:
        """The best trial so far; empty outside the search."""
        if self.progress is None:
            return ""
        best = self.progress.best
        if best is None:
            return "no trial is complete yet"
        figures = f"{best.accuracy:.2%} {narrow_range(best.interval)}"
        if best.score is not None:
            figures = f"{METRIC_WORDS[metric]} {shown_score(metric, best.score)}, accuracy {best.accuracy:.2%}"
        return f"best {figures} · trial {best.number} · {best.network}"


class Terminal(Reporter):
    """Shows a run to a person. Use it as a context manager. Thread-safe.

    Where standard output is no terminal, or one that cannot go back in a line (TERM=dumb), each finished training is a
    line with the time of day, and nothing redraws.

    Args:
        console: where to write; None: standard output.
        verbosity: "quiet" tells what came out and what went wrong, "verbose" every evaluation too.
    """

    def __init__(self, console: Console | None = None, verbosity: str = NORMAL) -> None:
        self._console = require_console(console, _standard_console())
        self._redraws = self._console.is_terminal and not self._console.is_dumb_terminal
        self._verbosity = require_verbosity(verbosity)
        self._lock = threading.RLock()
        self._trainings: dict[str, _Training] = {}
        self._phase: _Phase | None = None
        self._label_width = SHORTEST_LABEL_WIDTH
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Begin to redraw, if there is a terminal."""
        if self._redraws and self._verbosity != QUIET:
            self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End redrawing; what was said stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str, level: str = INFO, *, wrap: bool = True) -> None:
        """Print a line that stays, if the verbosity has that level. wrap=False cuts it at the terminal's width."""
        if level not in SAID[self._verbosity]:
            return
        text = printable_lines(text)
        if self._redraws and not wrap:
            self._console.print(_one_line(text), no_wrap=True, overflow="ellipsis")
            return
        if not self._redraws:
            text = f"{datetime.now():%H:%M:%S} {text}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, table: Table) -> None:
        """Print a table, its cells whole: on a narrower terminal its lines wrap."""
        self._console.print(_Whole(table), crop=False)

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
        """Show this phase in the last line from now on."""
        with self._lock:
            self._label_width = max(SHORTEST_LABEL_WIDTH, max(map(len, labels), default=0))
            self._phase = _Phase(name, n_total, n_done, n_done, progress, counts_trainings=counts_trainings)

    def advance(self, progress: SearchProgress) -> None:
        """Show that trials have ended, unless a higher count is shown already."""
        with self._lock:
            phase = self._phase
            if phase is None or progress.n_finished <= phase.n_done:
                return
            phase.n_done, phase.progress, phase.progress_told = progress.n_finished, progress, time.monotonic()
            if self._live is None:
                self.say(" · ".join(part for part in (phase.line(), phase.best_line(self.metric)) if part))

    def show_finalists(self, rows: Sequence[FinalistRow]) -> None:
        """Print the finalists, the winner marked with >."""
        heading = "finalists" if self.metric == "accuracy" else f"by {METRIC_WORDS[self.metric]}"
        self.say(f"{heading:<24} {'search':>7}  {'confirmation, 95 %':<24} network", RESULT, wrap=False)
        for row in rows:
            name = f"> trial {row.trial}" if row.is_winner else f"  trial {row.trial}"
            if row.origin != "sampler":
                name = f"{name} {row.origin}"
            searched = _accuracy(row.search_accuracy)
            if row.search_score is not None:
                searched = shown_score(self.metric, row.search_score)
            confirmed = f"{row.confirm_accuracy:.2%} {narrow_range(row.interval)}"
            if row.confirm_score is not None:
                interval = f"({metric_range(self.metric, row.interval)})"
                if self.metric in SHARES:
                    interval = narrow_range(row.interval)
                confirmed = f"{shown_score(self.metric, row.confirm_score)} {interval}"
            self.say(f"{name[:24]:<24} {searched:>7}  {confirmed:<24} {row.network}", RESULT, wrap=False)

    def show_result(self, text: str, figures: Mapping[str, Any], places: Mapping[str, str]) -> None:
        """Print the result in words, and a line for each place."""
        self.say(text, RESULT)
        width = max(map(len, places))
        for name, place in places.items():
            self.say(f"  {name:<{width}}  {place}", RESULT)

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        """Show a line for the training until it ends."""
        with self._lock:
            self._trainings[label] = _Training(what, n_planned_images)
        begun = f"{label:<{self._label_width}} begins "
        if n_planned_images is not None:
            begun += f"{n_planned_images:,} images of "
        self.say(f"{begun}{what}", DETAIL, wrap=False)

    def on_training_progress(self, label: str, n_images: int) -> None:
        """Show how far the training is."""
        with self._lock:
            self._count(label, n_images)

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        """Show the training's best accuracy so far, and with "verbose" a line for the evaluation."""
        with self._lock:
            self._count(label, point.n_images)
            training = self._trainings[label]
            training.best_accuracy = best_accuracy
            training.best_score = higher(training.best_score, point.validation_score)
        text = f"{label:<{self._label_width}} "
        if point.validation_accuracy is not None:
            text += f"selection {point.validation_accuracy:.2%}, "
        if point.validation_score is not None:
            text += f"{METRIC_WORDS[self.metric]} {shown_score(self.metric, point.validation_score)}, "
        self.say(f"{text}training {point.train_accuracy:.2%} after {point.n_images:,} images", DETAIL, wrap=False)

    def on_training_end(self, label: str, reason: str) -> None:
        """Print a line that stays: what the training came to, and why it ended."""
        with self._lock:
            if self._phase is not None and self._phase.counts_trainings:
                self._phase.n_done += 1
            training = self._trainings.pop(label)
        outcome = reason
        if training.best_accuracy is not None:
            outcome = f"{training.best(self.metric):>6}  {reason}"
        self.say(f"{label:<{self._label_width}} {outcome}  {training.what}", wrap=False)

    def _count(self, label: str, n_images: int) -> None:
        training = self._trainings[label]
        if self._phase is not None:
            self._phase.n_images += max(0, n_images - training.n_images)
        training.n_images = max(training.n_images, n_images)

    def render(self) -> Group:
        """What redraws, as it is now: a line for each training, the best trial, the phase."""
        with self._lock:
            lines = []
            for label, training in self._trainings.items():
                length, share, clock = training.columns()
                best = training.best(self.metric)
                columns = f"{label:<{self._label_width}} {length:>5} {share:>4} {best:>6} {clock:>12}"
                lines.append(_one_line(f"{columns}  {training.what}"))
            if self._phase is None:
                return Group(*lines, _one_line("preparing", style="bold"))
            best_line = self._phase.best_line(self.metric)
            if best_line:
                lines.append(_one_line(best_line))
            return Group(*lines, _one_line(self._phase.line(), style="bold"))


@dataclass
class _Whole:
    """A table that does not shrink below TABLE_WIDTH, whatever the console's width."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table as Rich asks for it."""
        return console.render(self.table, options.update(width=max(options.max_width, TABLE_WIDTH)))


def _standard_console() -> Console:
    """Standard output, as a terminal only where it is one: CI services set FORCE_COLOR for what goes to a file."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(force_terminal=None if is_terminal else False)


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _accuracy(share: float | None) -> str:
    """Such as `93.50%`; empty for None."""
    if share is None:
        return ""
    return f"{share:.2%}"
