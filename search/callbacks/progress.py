"""What is told of a run while it goes on: each training, the phase, the time left, and the finalists, in words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fmnist.recipe import Recipe
from fmnist.scoring import Metric
from search.callbacks.reporter import FinalistRow, SearchProgress
from search.format import (
    METRIC_WORDS,
    SHARES,
    clock_time,
    metric_range,
    narrow_count,
    narrow_range,
    shown_score,
    with_noun,
)

FEWEST_TRIALS = 12  # before the time left is told: the portfolio, which comes first, trains for much longer than others
LINE_WIDTH = 80  # of the narrowest usual terminal


@dataclass
class Training:
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
        return accuracy_in_words(self.best_accuracy)  # also of a baseline in a study by another metric

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
class Phase:
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
        return " · ".join(self.parts())

    def parts(self) -> list[str]:
        """The parts of its line: name and count first."""
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
        return [part for part in parts if part]

    @property
    def share_done(self) -> float | None:
        """From 0 to 1; None where the phase has no steps to count."""
        return self.n_done / self.n_total if self.n_total else None

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


def nodes_line(trainings: Mapping[str, int], n_waiting: int = 0) -> str:
    """What the nodes of a cluster do, in one line, however many they are.

    Args:
        trainings: how many each node runs, by its name.
        n_waiting: trainings that no node has taken yet.
    """
    waiting = f" · {n_waiting:,} waiting" if n_waiting else ""
    if not trainings:
        return f"no nodes{waiting}"
    each = ", ".join(f"{name}: {n:,}" for name, n in trainings.items())
    line = f"trainings on {each}{waiting}"
    if len(line) <= LINE_WIDTH:
        return line
    running = sum(trainings.values())
    busiest = max(trainings, key=lambda name: trainings[name])
    n_idle = sum(n == 0 for n in trainings.values())
    idle = f" · {n_idle:,} idle" if n_idle else ""
    line = f"{with_noun(len(trainings), 'node')} · {with_noun(running, 'training')}{idle}{waiting}"
    longer = f"{line} · most on {busiest}: {trainings[busiest]:,}"
    return longer if running and len(longer) <= LINE_WIDTH else line


def finalist_lines(rows: Sequence[FinalistRow], metric: Metric) -> list[str]:
    """The finalists as a table of text, the winner marked with >."""
    heading = "finalists" if metric == "accuracy" else f"by {METRIC_WORDS[metric]}"
    names = [f"{'>' if row.is_winner else ' '} {finalist_name(row)}" for row in rows]
    width = max([24, *map(len, names)])
    lines = [f"{heading:<{width}} {'search':>7}  {'confirmation, 95 %':<24} network"]
    for name, row in zip(names, rows, strict=True):
        searched, confirmed = finalist_figures(row, metric)
        lines.append(f"{name:<{width}} {searched:>7}  {confirmed:<24} {row.network}")
    return lines


def finalist_figures(row: FinalistRow, metric: Metric) -> tuple[str, str]:
    """What a finalist had in the search, and when confirmed with its interval, by the metric."""
    searched, confirmed = accuracy_in_words(row.search_accuracy), f"{row.confirm_accuracy:.2%}"
    interval = narrow_range(row.interval)
    if row.search_score is not None:
        searched = shown_score(metric, row.search_score)
    if row.confirm_score is not None:
        confirmed = shown_score(metric, row.confirm_score)
        if metric not in SHARES:
            interval = f"({metric_range(metric, row.interval)})"
    return searched, f"{confirmed} {interval}"


def finalist_name(row: FinalistRow) -> str:
    """Such as `trial 7`, or `trial 0 default` for a configuration of the portfolio."""
    return f"trial {row.trial}" if row.origin == "sampler" else f"trial {row.trial} {row.origin}"


def accuracy_in_words(share: float | None) -> str:
    """Such as `93.50%`; empty for None."""
    if share is None:
        return ""
    return f"{share:.2%}"
