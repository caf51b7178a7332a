"""What a person sees while the tool runs: a line for each training and a few for the study, redrawn as they change.

In a notebook that is one output of the cell. Where standard output is no terminal, plain lines with the time of day.
The supervisor alone owns the terminal; worker processes have their standard error in a file.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fmnist.output import printable_lines
from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.callbacks.notebook import RunOutput
from search.callbacks.progress import Phase, Training, finalist_lines, nodes_line
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
from search.format import METRIC_WORDS, shown_score, with_noun
from search.system.notebook import LiveOutput, find_notebook

LINES_ABOVE = 5  # of what was said, which stay visible however much redraws
TABLE_WIDTH = 80  # at least: in fewer columns its figures would be cut
SHORTEST_LABEL_WIDTH = 11  # "finalist 99"


class Terminal(Reporter):
    """Shows a run to a person, in a terminal or in a notebook. Thread-safe.

    In a notebook, a run is one output of its cell, which changes in place and at the end keeps what came out.

    Where standard output is no terminal, or one that cannot go back in a line (TERM=dumb), each finished training is a
    line with the time of day, and nothing redraws.

    Redrawing lasts as long as a run does; as a context manager, it lasts for several runs.

    Args:
        console: where to write; None: the notebook, or standard output.
        verbosity: "quiet" tells what came out and what went wrong, "verbose" every evaluation too.
    """

    def __init__(self, console: Console | None = None, verbosity: str = NORMAL) -> None:
        self._console = require_console(console, _standard_console())
        self._notebook = find_notebook() if console is None else None
        self._redraws = self._console.is_terminal and not self._console.is_dumb_terminal
        self._verbosity = require_verbosity(verbosity)
        self._lock = threading.RLock()
        self._trainings: dict[str, Training] = {}
        self._phase: Phase | None = None
        self._nodes_line = ""  # empty without a cluster
        self._label_width = SHORTEST_LABEL_WIDTH
        self._live: Live | LiveOutput | None = None
        self._output: RunOutput | None = None  # in a notebook
        self._n_entered = 0

    def __enter__(self) -> Self:
        """Begin to redraw, if there is a terminal or a notebook. Does nothing where it has begun already."""
        with self._lock:
            self._n_entered += 1
            if self._n_entered > 1:
                return self
            self._phase, self._trainings, self._nodes_line = None, {}, ""
        if self._notebook is not None:
            self._output = RunOutput(is_quiet=self._verbosity == QUIET)
            self._live = LiveOutput(self._notebook, self._draw_output)
        elif self._redraws and self._verbosity != QUIET:
            self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=2, transient=True)
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *error: object) -> None:
        """End redrawing; what was said stays."""
        with self._lock:
            self._n_entered -= 1
            if self._n_entered > 0:
                return
            if self._output is not None:
                self._output.end(kind)
        if self._live is not None:
            self._live.stop()
        self._live = self._output = None

    def _draw_output(self) -> Mapping[str, str] | None:
        """What the notebook's cell shows now; None for nothing."""
        with self._lock:
            if self._output is None:
                return None
            return self._output.draw(self._phase, self._trainings, self.metric, self._nodes_line)

    def say(self, text: str, level: str = INFO, *, wrap: bool = True) -> None:
        """Print a line that stays, if the verbosity has that level. wrap=False cuts it at the terminal's width."""
        if level not in SAID[self._verbosity]:
            return
        text = printable_lines(text)
        with self._lock:
            if self._output is not None:
                self._output.say(text, level)
                return
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
            self._phase = Phase(name, n_total, n_done, n_done, progress, counts_trainings=counts_trainings)

    def advance(self, progress: SearchProgress) -> None:
        """Show that trials have ended, unless a higher count is shown already."""
        with self._lock:
            phase = self._phase
            if phase is None or progress.n_finished <= phase.n_done:
                return
            phase.n_done, phase.progress, phase.progress_told = progress.n_finished, progress, time.monotonic()
            if self._live is None:
                self.say(" · ".join(part for part in (phase.line(), phase.best_line(self.metric)) if part))

    def show_nodes(self, trainings: Mapping[str, int] | None, n_waiting: int = 0) -> None:
        """Show what the nodes do in a line of its own, from now on."""
        with self._lock:
            self._nodes_line = "" if trainings is None else nodes_line(trainings, n_waiting)

    def show_finalists(self, rows: Sequence[FinalistRow]) -> None:
        """Print the finalists, the winner marked with >."""
        with self._lock:
            if self._output is not None:
                self._output.finalists = tuple(rows)
                return
        for line in finalist_lines(rows, self.metric):
            self.say(line, RESULT, wrap=False)

    def show_result(self, text: str, figures: Mapping[str, Any], places: Mapping[str, str]) -> None:
        """Print the result in words, and a line for each place."""
        with self._lock:
            if self._output is not None:
                self._output.result, self._output.places = text, dict(places)
                return
        self.say(text, RESULT)
        width = max(map(len, places))
        for name, place in places.items():
            self.say(f"  {name:<{width}}  {place}", RESULT)

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        """Show a line for the training until it ends."""
        with self._lock:
            self._trainings[label] = Training(what, n_planned_images)
        begun = f"{label:<{self._label_width}} begins "
        if n_planned_images is not None:
            begun += f"{n_planned_images:,} images of "
        self.say(f"{begun}{what}", DETAIL, wrap=False)

    def on_training_progress(self, label: str, n_images: int) -> None:
        """Show how far the training is."""
        with self._lock:
            self._count(label, n_images)

    def on_training_length(self, label: str, n_planned_images: int) -> None:
        """Show how far the training is of its new length."""
        with self._lock:
            self._trainings[label].n_planned_images = n_planned_images

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
        """What redraws, as it is now: a line for each training, the nodes, the best trial, the phase.

        The last ones stay visible however many trainings there are, and so does what was said last: trainings that find
        no room are counted.
        """
        with self._lock:
            phase, below = "preparing", [self._nodes_line]
            if self._phase is not None:
                phase = self._phase.line()
                below.append(self._phase.best_line(self.metric))
            last = [*(_one_line(line) for line in below if line), _one_line(phase, style="bold")]
            n_shown, n = self._console.height - LINES_ABOVE - len(last), len(self._trainings)
            if n > n_shown:
                n_shown = max(0, n_shown - 1)
                last.insert(0, _one_line(f"… and {with_noun(n - n_shown, 'more training')}"))
            shown = itertools.islice(self._trainings.items(), n_shown)
            return Group(*(self._line_of(label, training) for label, training in shown), *last)

    def _line_of(self, label: str, training: Training) -> Text:
        length, share, clock = training.columns()
        best = training.best(self.metric)
        columns = f"{label:<{self._label_width}} {length:>5} {share:>4} {best:>6} {clock:>12}"
        return _one_line(f"{columns}  {training.what}")


@dataclass
class _Whole:
    """A table that does not shrink below TABLE_WIDTH, whatever the console's width."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table as Rich asks for it."""
        return console.render(self.table, options.update(width=max(options.max_width, TABLE_WIDTH)))


def _standard_console() -> Console:
    """Standard output, as a terminal only where it is one: CI services set FORCE_COLOR for what goes to a file.

    A notebook's is text too: what Rich makes of it there would be an output for each line.
    """
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(force_terminal=None if is_terminal else False, force_jupyter=False)


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
