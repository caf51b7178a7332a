"""How does a run look in a notebook? One output: while it lasts, what the terminal redraws; then what came of it.

Thread safety is the caller's: see `search.callbacks.terminal`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from fmnist.scoring import Metric
from search.callbacks.progress import Phase, Training, finalist_figures, finalist_lines, finalist_name
from search.callbacks.reporter import RESULT, WARNING, FinalistRow
from search.format import METRIC_WORDS, duration, with_noun
from search.system.notebook_html import code, output, paragraph, preformatted, progress_bar, table

MOST_LINES = 500  # that are kept; a long search's first ones go, as history.csv has all of its trials
LAST_LINES = 6  # that are shown while the run lasts


class RunOutput:
    """A run, as an output of a notebook's cell. Not thread-safe.

    Args:
        is_quiet: show nothing but what came out and went wrong.
    """

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self._started = time.monotonic()
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._n_lines = 0
        self._kept: list[tuple[str, str]] = []  # level and text of results and warnings, which stay visible
        self._ended = ""  # how, in words; empty while the run lasts
        self.finalists: Sequence[FinalistRow] = ()
        self.result: str | None = None
        self.places: Mapping[str, str] = {}

    def say(self, text: str, level: str) -> None:
        """Add a line that stays."""
        if level in (RESULT, WARNING):
            self._kept.append((level, text))
        else:
            self._n_lines += 1
            self._lines.append(text)

    def end(self, kind: type[BaseException] | None) -> None:
        """Show what came of the run from now on. kind: of the exception that ended it; None at a run's own end."""
        took = duration(time.monotonic() - self._started)
        if kind is None:
            self._ended = f"done in {took}"
        elif issubclass(kind, Exception):
            self._ended = f"ended by an error after {took}; everything finished so far is kept"
        else:
            self._ended = f"stopped after {took}; everything finished so far is kept, the same call goes on from here"

    def draw(
        self,
        phase: Phase | None,
        trainings: Mapping[str, Training],
        metric: Metric = "accuracy",
        nodes: str = "",
    ) -> dict[str, str] | None:
        """The output as HTML and as text; None while there is nothing to show.

        Args:
            phase: of the run; None before its first.
            trainings: under way, by their labels.
            metric: what decides in the study.
            nodes: what those of the cluster do, in words; empty without a cluster.
        """
        if self._is_quiet and not self._kept and self.result is None:
            return None
        if self._ended:
            text, parts = self._text_at_the_end(phase, metric), self._html_at_the_end(phase, metric)
        elif self._is_quiet:
            text, parts = "\n".join(text for _, text in self._kept), self._html_of_kept()
        else:
            lines, parts = _lines_of(phase, metric), _html_of(phase, metric)
            if nodes:
                lines.insert(0, nodes)
                parts.append(paragraph(nodes))
            text = "\n".join(lines)
            parts += [*_table_of(trainings, metric), *self._html_of_kept()]
            if self._lines:
                parts.append(preformatted(list(self._lines)[-LAST_LINES:]))
        return {"text/html": output(parts), "text/plain": text}

    def _text_at_the_end(self, phase: Phase | None, metric: Metric) -> str:
        lines = [*self._lines, *(text for _, text in self._kept)]
        if self.finalists:
            lines += finalist_lines(self.finalists, metric)
        if self.result is not None:
            lines.append(self.result)
        elif not self._is_quiet:
            lines += _lines_of(phase, metric)
        lines += [f"  {name}  {place}" for name, place in self.places.items()]
        return "\n".join((*lines, self._ended))

    def _html_at_the_end(self, phase: Phase | None, metric: Metric) -> list[Markup]:
        parts = []
        if self.result is not None:
            parts.append(paragraph(Markup("<b>{}</b>").format(self.result)))
        elif not self._is_quiet:
            parts += _html_of(phase, metric)
        parts += self._html_of_kept()
        if self.finalists:
            parts.append(_finalists_table(self.finalists, metric))
        if self.places:
            rows = [(name, code(place)) for name, place in self.places.items()]
            parts.append(table(rows))
        parts.append(paragraph(self._ended, is_quiet=True))
        if self._lines:
            summary = with_noun(self._n_lines, "line")
            if self._n_lines > len(self._lines):
                summary = f"the last {len(self._lines)} of {summary}"
            parts.append(Markup("<details><summary>{} of the run</summary>{}</details>").format(
                summary, preformatted(self._lines)
            ))  # fmt: skip
        return parts

    def _html_of_kept(self) -> list[Markup]:
        return [paragraph(f"⚠ {text}" if level == WARNING else text) for level, text in self._kept]


def _lines_of(phase: Phase | None, metric: Metric) -> list[str]:
    if phase is None:
        return ["preparing"]
    return [line for line in (phase.best_line(metric), phase.line()) if line]


def _html_of(phase: Phase | None, metric: Metric) -> list[Markup]:
    if phase is None:
        return [paragraph(Markup("<b>preparing</b>"))]
    name, *details = phase.parts()
    parts = [paragraph(Markup(" · ").join((Markup("<b>{}</b>").format(name), *details)))]
    if phase.share_done is not None:
        parts.append(progress_bar(phase.share_done))
    if phase.best_line(metric):
        parts.append(paragraph(phase.best_line(metric)))
    return parts


def _table_of(trainings: Mapping[str, Training], metric: Metric) -> list[Markup]:
    if not trainings:
        return []
    rows = []
    for label, training in trainings.items():
        length, share, clock = training.columns()
        rows.append((label, length, share, training.best(metric), clock, code(str(training.what))))
    by = f"selection {METRIC_WORDS[metric]}"
    return [table(rows, ("training", "images", "done", by, "time", "network"))]


def _finalists_table(rows: Sequence[FinalistRow], metric: Metric) -> Markup:
    cells = []
    for row in rows:
        name: str | Markup = finalist_name(row)
        if row.is_winner:
            name = Markup("<b>{}, the winner</b>").format(name)
        cells.append((name, *finalist_figures(row, metric), code(row.network)))
    by = "" if metric == "accuracy" else f", {METRIC_WORDS[metric]}"
    return table(cells, ("finalist", f"in the search{by}", "confirmation, 95 %", "network"))
