"""What is drawn of a search? Its trials in order, parameters, rungs, and how soon it was good."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnist.scoring import Metric, shown_value
from search.format import METRIC_WORDS, SHARES, parameter_value, shown_score, thousands
from search.records.models import TrialRecord
from search.report.analysis.trials import BestSoFar, Rung, accuracy_floor, is_number, running_best, score, scored
from search.report.charts.plain import Axes, Figure, FuncFormatter, MaxNLocator, NullFormatter
from search.report.charts.style import (
    BLUE,
    INK,
    MANY_POINTS,
    STATE_STYLES,
    TICK_POINTS,
    Chart,
    Medium,
    clean,
    fitting,
    label_axes,
    legend_above,
    make_chart,
    score_axis,
    score_label,
)

LEAST_SPAN = 0.004  # of an accuracy axis, so that equal trials have one too
ROOM_ABOVE = 0.08  # the best trial, in spans
EDGE_BELOW, ROOM_BELOW_EDGE = 0.09, 0.06  # the floor and the edge, in spans
FEW_TRIALS, LARGE_DOT, SMALL_DOT = 150, 26, 12  # up to so many trials have large dots (points squared)
MOST_IMPORTANT = 15  # parameters that have a bar
MOST_STRIPS = 6  # whole numbers that get a strip each
LOGARITHMIC_FROM = 50  # largest value by smallest, from which on an axis is logarithmic
JITTER = 0.18  # strips, sideways
MOST_UPRIGHT_LETTERS = 18  # of all labels of a small panel's axis; with more, they are turned
NEAR_RUNGS = 1.35  # by which factor rungs differ whose labels don't overlap
FIRST_STEP = 0.6  # of the first rung's length, where the survival curve begins


@dataclass(frozen=True)
class Scale:
    """How a parameter's values become places on an axis.

    Words, truth values and a few whole numbers get a strip each, at 0, 1, 2 and so on; other numbers stay what they
    are.
    """

    labels: tuple[str, ...] = ()  # of the strips, in order
    strips: Mapping[Any, int] | None = None  # value -> strip; None where numbers stay what they are
    is_logarithmic: bool = False

    @classmethod
    def of(cls, values: Sequence[Any]) -> Scale:
        """Choose the scale for the values that a parameter took."""
        distinct = set(values)
        is_numeric = all(is_number(value) for value in distinct)
        is_whole = is_numeric and all(float(value).is_integer() for value in distinct)
        if is_numeric and not (is_whole and len(distinct) <= MOST_STRIPS):
            return cls(is_logarithmic=spans_magnitudes(distinct))
        strips: dict[Any, int] = {}
        labels: list[str] = []
        for value in sorted(distinct, key=None if is_numeric else parameter_value):
            label = parameter_value(value)
            if label not in labels:
                labels.append(label)
            strips[value] = labels.index(label)
        return cls(tuple(labels), strips)

    def place(self, value: Any) -> float:
        """Where a value lies on the axis. It must be one of those that the scale was chosen for."""
        if self.strips is not None:
            value = self.strips[value]
        return float(value)

    def apply(self, axes: Axes) -> None:
        """Give the horizontal axis its ticks, labels and limits."""
        if self.labels:
            size, rotation = 8, 0
            if len("".join(self.labels)) > MOST_UPRIGHT_LETTERS:
                size, rotation = 7, 90
            axes.set_xticks(range(len(self.labels)), self.labels, fontsize=size, rotation=rotation)
            axes.set_xlim(-0.5, len(self.labels) - 0.5)
        elif self.is_logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(3))


def spans_magnitudes(values: Collection[float]) -> bool:
    """Whether positive values lie so far apart that only a logarithmic axis shows them all."""
    return min(values) > 0 and max(values) / min(values) >= LOGARITHMIC_FROM


@dataclass(frozen=True)
class AccuracyAxis:
    """The vertical axis of a chart of trials, from the floor to the best one."""

    floor: float  # see `accuracy_floor`
    top: float

    @classmethod
    def of(cls, trials: Sequence[TrialRecord]) -> AccuracyAxis:
        """Choose the axis for a search's trials."""
        return cls(accuracy_floor(trials), max((accuracy for _, accuracy in scored(trials)), default=1.0))

    @property
    def span(self) -> float:
        """From the floor to the best trial, and never next to nothing."""
        return max(self.top - self.floor, LEAST_SPAN)

    @property
    def edge(self) -> float:
        """Where trials without a score, or with a lower one than this, are drawn."""
        return self.floor - EDGE_BELOW * self.span

    def height(self, trial: TrialRecord) -> float:
        """Where a trial is drawn: at its score, or on the lower edge if that is lower or unknown."""
        accuracy = score(trial)
        return self.edge if accuracy is None else max(accuracy, self.edge)

    def n_below(self, trials: Sequence[TrialRecord]) -> int:
        """How many trials have a score that is lower than they are drawn."""
        return sum(accuracy < self.edge for _, accuracy in scored(trials))

    def apply(self, axes: Axes) -> None:
        """Set the limits of the vertical axis."""
        axes.set_ylim(self.edge - ROOM_BELOW_EDGE * self.span, self.top + ROOM_ABOVE * self.span)


def history_chart(trials: Sequence[TrialRecord], metric: Metric = "accuracy") -> Chart:
    """Selection score of every trial in order, with the best so far as a line.

    Trials that have no score, or a lower one than the axis shows, are drawn on its lower edge.

    Args:
        trials: finished ones, by number; at least one.
        metric: of the study.
    """
    words = METRIC_WORDS[metric]
    alt = f"Selection {words} of every trial in order, by what became of it, with the best so far as a line."

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(3.6)
        axes, accuracy = figure.add_subplot(), AccuracyAxis.of(trials)
        dot = LARGE_DOT if len(trials) <= FEW_TRIALS else SMALL_DOT
        for state, style in STATE_STYLES.items():
            x, y = [], []
            for trial in trials:
                if trial.state == state:
                    x.append(trial.number)
                    y.append(accuracy.height(trial))
            if x:
                axes.scatter(
                    x, y, s=dot, c=style.fill, edgecolors=style.colour, marker=style.marker, linewidths=1.1,
                    label=style.label, rasterized=len(trials) > MANY_POINTS, zorder=3,
                )  # fmt: skip
        _draw_best_so_far(axes, trials)
        accuracy.apply(axes)
        label_axes(axes, x="trial", y=f"selection {score_label(metric)}")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlim(-0.7, trials[-1].number + 0.7)
        clean(axes)
        score_axis(axes.yaxis, metric)
        legend_above(figure, medium.pick(5, 1))

    return make_chart("search-history", alt, draw)


def _draw_best_so_far(axes: Axes, trials: Sequence[TrialRecord]) -> None:
    """Draw a line with a corner at each complete trial, to the last one of all."""
    numbers, best = [], []
    for trial, state in running_best(trials):
        if trial.value is not None:
            numbers.append(trial.number)
            best.append(state.selection_accuracy)
    if numbers:
        line = {"where": "post", "color": INK, "linewidth": 1.4, "label": "best so far"}
        axes.step([*numbers, trials[-1].number], [*best, best[-1]], **line)


def importance_chart(importances: Mapping[str, float]) -> Chart:
    """The most important parameters as bars, the largest on top.

    Args:
        importances: parameter -> share, at least one.
    """
    ranked = sorted(importances.items(), key=lambda item: item[1])[-MOST_IMPORTANT:]
    first = [f"{name} {share:.2f}" for name, share in reversed(ranked[-5:])]
    alt = f"Importance of the parameters, largest first: {', '.join(first)}"

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(0.9 + 0.26 * len(ranked))
        axes = figure.add_subplot()
        names, values = zip(*ranked, strict=True)
        bars = axes.barh(names, values, color=BLUE, height=0.66)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=TICK_POINTS)
        label_axes(axes, x="importance (share)")
        axes.set_xlim(0, 1.18 * max(max(values), 1e-6))
        clean(axes, grid="x")

    return make_chart("importance", alt, draw)


def parameters_chart(trials: Sequence[TrialRecord], names: Sequence[str], metric: Metric = "accuracy") -> Chart:
    """A small panel for each parameter, with the selection score against its values.

    Args:
        trials: of the search.
        names: of the parameters, at least one.
        metric: of the study.
    """
    alt = f"Selection {METRIC_WORDS[metric]} against the value of each of {len(names)} parameters: {', '.join(names)}."

    def draw(figure: Figure, medium: Medium) -> None:
        n_columns = min(medium.pick(4, 2), len(names))
        n_rows = -(-len(names) // n_columns)
        figure.set_figheight(0.5 + 1.75 * n_rows)
        panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
        for axes, name in zip(panels.flat, names, strict=False):
            _draw_parameter(axes, trials, name, metric)
        for axes in list(panels.flat)[len(names) :]:
            axes.set_visible(False)
        figure.supylabel(f"selection {score_label(metric)}", fontsize=10)
        legend_above(figure, medium.pick(3, 1), panels[0, 0])

    return make_chart("parameters", alt, draw)


def _draw_parameter(axes: Axes, trials: Sequence[TrialRecord], name: str, metric: Metric) -> None:
    """Draw the panel of one parameter; strips are spread a little sideways, the same way each time."""
    scale = Scale.of([trial.params[name] for trial in trials if name in trial.params])
    accuracy = AccuracyAxis.of(trials)
    shown = [trial for trial, _ in scored(trials) if name in trial.params]
    jitter = np.zeros(len(shown))
    if scale.labels:
        jitter = np.random.default_rng(0).uniform(-JITTER, JITTER, len(shown))
    for state, alpha in (("pruned", 0.5), ("complete", 0.85)):
        style = STATE_STYLES[state]
        x, y = [], []
        for trial, shift in zip(shown, jitter, strict=True):
            if trial.state == state:
                x.append(scale.place(trial.params[name]) + shift)
                y.append(accuracy.height(trial))
        axes.scatter(
            x, y, s=13, c=style.fill, edgecolors=style.colour, alpha=alpha, marker=style.marker, linewidths=0.8,
            label=style.label, rasterized=len(trials) > MANY_POINTS,
        )  # fmt: skip
    axes.set_title(fitting(name), fontsize=9)
    accuracy.apply(axes)
    clean(axes)
    score_axis(axes.yaxis, metric)
    axes.tick_params(labelsize=8)
    scale.apply(axes)


def survival_chart(rungs: Sequence[Rung]) -> Chart:
    """How many trials were still in training after so many images.

    Args:
        rungs: shortest first, at least one.
    """
    reached = [f"{rung.n_reached} reached {rung.n_images:,}" for rung in rungs[:6]]
    alt = f"How many trials were still in training after so many images: {', '.join(reached)}"

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(2.7)
        axes = figure.add_subplot()
        x, y = [FIRST_STEP * rungs[0].n_images], [rungs[0].n_reached]
        for rung in rungs:
            x.append(rung.n_images)
            y.append(rung.n_reached)
        axes.step(x, y, where="pre", color=BLUE, linewidth=1.8)
        axes.fill_between(x, y, step="pre", color=BLUE, alpha=0.15)
        axes.set_xscale("log")
        labelled = {rung.n_images: thousands(rung.n_images) for rung in _apart(rungs)}
        axes.set_xticks(list(labelled), list(labelled.values()))
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        label_axes(axes, x="training images seen by the trial (thousands)", y="trials in training")
        clean(axes)

    return make_chart("rung-survival", alt, draw)


def _apart(rungs: Sequence[Rung]) -> list[Rung]:
    """Those whose labels don't overlap on a logarithmic axis; of near ones the one at which more trials ended."""
    kept: list[Rung] = []
    for rung in rungs:
        if kept and rung.n_images < NEAR_RUNGS * kept[-1].n_images:
            kept[-1] = max(kept[-1], rung, key=lambda each: each.n_ended)
        else:
            kept.append(rung)
    return kept


def anytime_chart(improvements: Sequence[BestSoFar], n_images: int, metric: Metric = "accuracy") -> Chart:
    """The best selection score against the training images of all trials.

    Args:
        improvements: each new best of the search, at least one.
        n_images: training images of the whole search.
        metric: of the study.
    """
    best = improvements[-1].selection_accuracy
    alt = (
        f"Best selection {METRIC_WORDS[metric]} of complete trials against training images of all trials: "
        f"{shown_score(metric, best)} at last"
    )

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(2.7)
        axes = figure.add_subplot()
        x, y = [], []
        for point in improvements:
            x.append(point.n_images / 1e6)
            y.append(point.selection_accuracy)
        axes.step([*x, n_images / 1e6], [*y, best], where="post", color=BLUE, linewidth=1.8)
        axes.plot(x, y, "o", color=BLUE, markersize=4)
        axes.set_xlim(left=0)
        label_axes(axes, x="training images of all trials (millions)", y=f"best selection\n{score_label(metric)}")
        score_axis(axes.yaxis, metric)
        clean(axes)

    return make_chart("anytime", alt, draw)


def pair_chart(trials: Sequence[TrialRecord], names: tuple[str, str], metric: Metric = "accuracy") -> Chart:
    """Two numeric parameters against each other, trials coloured by selection score.

    The scale of colours leaves out the worst tenth, which would take most of it.

    Args:
        trials: of the search.
        names: of the parameters, the horizontal one first.
        metric: of the study.
    """
    alt = f"Trials by {names[0]} and {names[1]}, coloured by selection {METRIC_WORDS[metric]}."

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(3.6)
        axes = figure.add_subplot()
        first_values, second_values, scores, states = [], [], [], []
        for trial, accuracy in scored(trials):
            first, second = trial.params.get(names[0]), trial.params.get(names[1])
            if is_number(first) and is_number(second):
                first_values.append(first)
                second_values.append(second)
                scores.append(accuracy)
                states.append(trial.state)
        x, y, accuracies = np.array(first_values), np.array(second_values), np.array(scores)
        low, high = np.quantile(accuracies, [0.1, 1.0])
        for state, size, edge in (("pruned", 24, "none"), ("complete", 46, INK)):
            style, rows = STATE_STYLES[state], np.array(states) == state
            points = axes.scatter(
                x[rows], y[rows], c=accuracies[rows], cmap="viridis", vmin=low, vmax=high, marker=style.marker, s=size,
                edgecolors=edge, linewidths=0.9, label=style.label,
            )  # fmt: skip
        if spans_magnitudes(first_values):
            axes.set_xscale("log")
        if spans_magnitudes(second_values):
            axes.set_yscale("log")
        label_axes(axes, x=fitting(names[0]), y=fitting(names[1]))
        factor = 100 if metric in SHARES else shown_value(metric, 1.0)
        values = FuncFormatter(lambda score, _: parameter_value(factor * score))
        bar = figure.colorbar(points, ax=axes, format=values)
        bar.set_label(f"selection {score_label(metric)}", fontsize=10)
        clean(axes, grid="both")
        legend_above(figure, 2, axes)

    return make_chart("pair", alt, draw)
