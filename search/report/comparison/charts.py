"""What does a comparison draw? Accuracies with their intervals, classes, and how the two searches went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.format import METRIC_WORDS, SHARES, percent, signed, tick_count
from search.report.analysis.trials import BestSoFar, accuracy_floor
from search.report.charts.plain import Axes, Figure, FuncFormatter, MaxNLocator, Patch
from search.report.charts.style import (
    BLUE,
    ORANGE,
    TICK_POINTS,
    Chart,
    Medium,
    clean,
    fitting,
    label_axes,
    label_percent,
    legend_above,
    make_chart,
    reach,
    round_ticks,
    score_label,
)
from search.report.comparison.data import ClassContrast, Comparison

COLOURS, LINES, MARKERS = (BLUE, ORANGE), ("-", "--"), ("o", "s")  # of the first study and the second
QUIET = "#444444"  # of what belongs to neither
MOST_CLASSES = 30  # in a picture; the table has all
ROOM_BELOW = 1.08  # the curves, times their height
LEAST_HEIGHT = 0.1  # points, of the curves


def accuracy_chart(comparison: Comparison) -> Chart:
    """Mean test accuracy of both studies with its interval, and every delivered training.

    Args:
        comparison: one with `is_same_test`; accuracies on different images answer different questions.
    """
    (name_a, name_b), (a, b) = comparison.names, comparison.both
    shown = f"{name_a} {percent(a.test_mean)}, {name_b} {percent(b.test_mean)}"
    alt = f"Mean test accuracy with its 95 % interval, and every delivered training: {shown}."

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(medium.pick(1.9, 2.3))
        axes = figure.add_subplot()
        for place, study in enumerate(comparison.both):
            colour, marker = COLOURS[place], MARKERS[place]
            xerr = np.reshape(reach(study.test_mean, study.test_interval), (2, 1))
            axes.errorbar(
                study.test_mean, -place, xerr=xerr, fmt=marker, color=colour, markersize=7, capsize=4, linewidth=1.6
            )
            seeds = study.test_accuracies
            axes.scatter(seeds, np.full(len(seeds), -place - 0.22), marker="|", s=70, c=colour, linewidths=1.6)
        axes.plot([], [], "o", color=QUIET, label="mean over seeds, 95 % interval")
        axes.plot([], [], "|", color=QUIET, markersize=8, markeredgewidth=1.6, label="each seed")
        axes.set_yticks((0, -1), [fitting(name, medium.pick(28, 14)) for name in comparison.names])
        axes.set_ylim(-1.55, 0.45)
        label_axes(axes, x="test accuracy (%)")
        label_percent(axes.xaxis)
        round_ticks(axes.xaxis, medium.pick(8, 5))
        clean(axes, grid="x")
        legend_above(figure, medium.pick(2, 1))

    return make_chart("accuracy", alt, draw)


def recall_chart(comparison: Comparison) -> Chart:
    """Difference in recall of the classes that differ most, to the right where the second study finds more.

    Args:
        comparison: one with `is_same_test`.
    """
    shown = most_different(comparison.classes)
    first = max(shown, key=lambda contrast: abs(contrast.recall_difference))
    alt = (
        f"Difference in recall of {len(shown)} classes, {comparison.names[1]} less {comparison.names[0]}; the largest "
        f"is {100 * first.recall_difference:+.1f} points, of {first.name}."
    )

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(1.3 + 0.27 * len(shown) + medium.pick(0, 0.25))
        axes = figure.add_subplot()
        differences = [100 * contrast.recall_difference for contrast in shown]
        places = -np.arange(len(shown))
        colours, labels, names = [], [], []
        for contrast, difference in zip(shown, differences, strict=True):
            colours.append(COLOURS[difference > 0])
            labels.append(signed(difference, 1))
            names.append(fitting(contrast.name, medium.pick(28, 16)))
        bars = axes.barh(places, differences, color=colours, height=0.66)
        axes.bar_label(bars, labels, padding=3, fontsize=TICK_POINTS)
        axes.axvline(0, color=QUIET, linewidth=0.8)
        axes.set_yticks(places, names)
        axes.set_ylim(-len(shown) + 0.4, 0.6)
        room = medium.pick(1.25, 1.6)
        width = room * max(LEAST_HEIGHT, abs(max(differences, key=abs)))
        axes.set_xlim(-width, width)
        label_axes(axes, x="difference in recall (points)")
        clean(axes, grid="x")
        patches = []
        for name, colour in zip(comparison.names, COLOURS, strict=True):
            patches.append(Patch(color=colour, label=f"{fitting(name, 22)} finds more"))
        figure.legend(
            handles=patches, loc="outside upper left", ncols=medium.pick(2, 1), fontsize=TICK_POINTS, frameon=False
        )

    return make_chart("recall", alt, draw)


def most_different(classes: Sequence[ClassContrast]) -> list[ClassContrast]:
    """The classes that differ most in recall, as many as a picture has room for, in their own order."""
    chosen = sorted(classes, key=lambda contrast: -abs(contrast.recall_difference))[:MOST_CLASSES]
    return [contrast for contrast in classes if contrast in chosen]


def curves_chart(comparison: Comparison) -> Chart:
    """How the best trial of both searches rose, against trials and against training images.

    Args:
        comparison: one whose searches both have a trial that was trained to its end.
    """
    metric = comparison.metric
    what, label = "How far each search was from its own best", "points from its own best"
    if metric not in SHARES:
        label = "hundredths from its own best"
    if comparison.has_comparable_curves and metric is not None:
        what, label = f"Best selection {METRIC_WORDS[metric]} so far", f"best selection {score_label(metric)}"
        if metric not in SHARES:
            label += {"macro_f1": " (hundredths)"}.get(metric, " (hundredths, negative)")
    alt = f"{what}, against the number of trials and against training images, for both searches."

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(medium.pick(3.4, 5.6))
        by_trials, by_images = medium.stack(figure, share_y=True)
        for i, curve in enumerate(comparison.curves):
            heights = _heights(curve, comparison.has_comparable_curves)
            n_trials, n_images = [], []
            for point in curve:
                n_trials.append(point.n_trials)
                n_images.append(point.n_images)
            _draw_curve(by_trials, n_trials, heights, i, comparison.names[i])
            _draw_curve(by_images, n_images, heights, i, comparison.names[i])
        label_axes(by_trials, x="trials ended")
        label_axes(by_images, x="training images seen")
        by_trials.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        by_images.xaxis.set_major_locator(MaxNLocator(5))
        by_images.xaxis.set_major_formatter(FuncFormatter(lambda n, _: tick_count(n)))
        label_axes(by_trials, y=label)
        if medium.is_narrow:
            label_axes(by_images, y=label)
        for axes in (by_trials, by_images):
            clean(axes)
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=_floor(comparison))
            round_ticks(axes.yaxis)
        legend_above(figure, medium.pick(2, 1), by_trials)

    return make_chart("searches", alt, draw)


def _draw_curve(axes: Axes, places: Sequence[int], heights: Sequence[float], i: int, name: str) -> None:
    """Draw one search as steps, with a dot at its end. i: 0 for the first study, 1 for the second."""
    axes.step(places, heights, LINES[i], where="post", color=COLOURS[i], linewidth=1.8, label=fitting(name, 30))
    axes.plot(places[-1], heights[-1], MARKERS[i], color=COLOURS[i], markersize=6)


def _heights(curve: Sequence[BestSoFar], is_comparable: bool) -> list[float]:
    """In percent, or hundredths of a score; where curves are not comparable, from the curve's own end."""
    end = 0.0 if is_comparable else curve[-1].selection_accuracy
    return [100 * (point.selection_accuracy - end) for point in curve]


def _floor(comparison: Comparison) -> float:
    """Where the axis begins: a few bad trials at the start would otherwise press all that follows into one line."""
    heights, floors = [], []
    for study, curve in zip(comparison.both, comparison.curves, strict=True):
        heights += _heights(curve, comparison.has_comparable_curves)
        floors.append(100 * accuracy_floor(study.trials) - (100 * curve[-1].selection_accuracy - heights[-1]))
    span = max(heights) - max(min(floors), min(heights))
    return max(heights) - ROOM_BELOW * max(span, LEAST_HEIGHT)
