"""The charts of a comparison: accuracies with their intervals, classes, and how the two searches went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from search.format import percent, signed, tick_count
from search.report.analysis import BestSoFar
from search.report.charts.search import accuracy_floor
from search.report.charts.style import BLUE, ORANGE, Chart, clean, fitting, make_chart
from search.report.comparison.data import ClassContrast, Comparison

COLOURS, LINES, MARKERS = (BLUE, ORANGE), ("-", "--"), ("o", "s")  # of the first study and the second
MOST_CLASSES = 30  # in a picture; the table has all


def accuracy_chart(comparison: Comparison) -> Chart:
    """Only where both were tested on the same images."""
    shown = [
        f"{name} {percent(study_result.test_mean)}"
        for name, study_result in zip(comparison.names, comparison.both, strict=True)
    ]
    alt = f"Mean test accuracy with its 95 % interval, and every retraining: {', '.join(shown)}."
    return make_chart("accuracy", alt, lambda figure, is_narrow: _draw_accuracies(figure, is_narrow, comparison))


def _draw_accuracies(figure: Figure, is_narrow: bool, comparison: Comparison) -> None:
    figure.set_figheight(2.3 if is_narrow else 1.9)
    axes = figure.add_subplot()
    for place, (study_result, colour, marker) in enumerate(zip(comparison.both, COLOURS, MARKERS, strict=True)):
        mean, interval = study_result.test_mean, study_result.test_interval
        axes.errorbar(
            mean, -place, xerr=[[mean - interval.low], [interval.high - mean]], fmt=marker, color=colour, markersize=7,
            capsize=4, linewidth=1.6,
        )  # fmt: skip
        seeds = study_result.test_accuracies
        axes.scatter(seeds, np.full(len(seeds), -place - 0.22), marker="|", s=70, c=colour, linewidths=1.6)
    axes.plot([], [], "o", color="#444444", label="mean of the retrainings, 95 % interval")
    axes.plot([], [], "|", color="#444444", markersize=8, markeredgewidth=1.6, label="each retraining")
    axes.set_yticks((0, -1), [fitting(name, 14 if is_narrow else 28) for name in comparison.names])
    axes.set_ylim(-1.55, 0.45)
    axes.set_xlabel("test accuracy (%)", fontsize=10)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 3):g}"))
    axes.xaxis.set_major_locator(MaxNLocator(5 if is_narrow else 8, steps=[1, 2, 5, 10]))
    clean(axes, grid="x")
    figure.legend(loc="outside upper left", ncols=1 if is_narrow else 2, fontsize=9, frameon=False)


def recall_chart(comparison: Comparison) -> Chart:
    """Only where both were tested on the same images."""
    shown = most_different(comparison.classes)
    first = max(shown, key=lambda it: abs(it.recall_difference))
    alt = (
        f"Difference in recall of {len(shown)} classes, {comparison.names[1]} less {comparison.names[0]}; the largest "
        f"is {100 * first.recall_difference:+.1f} points, of {first.name}."
    )
    return make_chart("recall", alt, lambda figure, is_narrow: _draw_recalls(figure, is_narrow, comparison, shown))


def most_different(classes: Sequence[ClassContrast]) -> list[ClassContrast]:
    """Those that a picture has room for, in their own order."""
    chosen = sorted(classes, key=lambda it: -abs(it.recall_difference))[:MOST_CLASSES]
    return [it for it in classes if it in chosen]


def _draw_recalls(figure: Figure, is_narrow: bool, comparison: Comparison, shown: Sequence[ClassContrast]) -> None:
    figure.set_figheight(1.3 + 0.27 * len(shown) + (0.25 if is_narrow else 0))
    axes = figure.add_subplot()
    differences = [100 * it.recall_difference for it in shown]
    places = -np.arange(len(shown))
    bars = axes.barh(places, differences, color=[COLOURS[value > 0] for value in differences], height=0.66)
    axes.bar_label(bars, [signed(value, 1) for value in differences], padding=3, fontsize=9)
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set_yticks(places, [fitting(it.name, 16 if is_narrow else 28) for it in shown])
    axes.set_ylim(-len(shown) + 0.4, 0.6)
    reach = (1.6 if is_narrow else 1.25) * max(*map(abs, differences), 0.1)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("difference in recall (points)", fontsize=10)
    clean(axes, grid="x")
    labels = [f"{fitting(name, 22)} finds more" for name in comparison.names]
    figure.legend(
        [Patch(color=colour) for colour in COLOURS], labels, loc="outside upper left", ncols=1 if is_narrow else 2,
        fontsize=9, frameon=False,
    )  # fmt: skip


def curves_chart(comparison: Comparison) -> Chart | None:
    """None where one of the searches has no trial that was trained to its end."""
    if not all(comparison.curves):
        return None
    what = "Best selection accuracy so far" if comparison.is_same_test else "How far each search was from its own best"
    alt = f"{what}, against the number of trials and against training images, for both searches."
    return make_chart("searches", alt, lambda figure, is_narrow: _draw_curves(figure, is_narrow, comparison))


def _draw_curves(figure: Figure, is_narrow: bool, comparison: Comparison) -> None:
    figure.set_figheight(5.6 if is_narrow else 3.4)
    by_trials, by_images = figure.subplots(2, 1, sharey=True) if is_narrow else figure.subplots(1, 2, sharey=True)
    for i, curve in enumerate(comparison.curves):
        heights = _heights(curve, comparison.is_same_test)
        _draw_curve(by_trials, [point.n_trials for point in curve], heights, i, comparison)
        _draw_curve(by_images, [point.n_images for point in curve], heights, i, comparison)
    by_trials.set_xlabel("trials ended", fontsize=10)
    by_images.set_xlabel("training images seen", fontsize=10)
    by_trials.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    by_images.xaxis.set_major_locator(MaxNLocator(5))
    by_images.xaxis.set_major_formatter(FuncFormatter(lambda n, _: tick_count(n)))
    label = "best selection accuracy (%)" if comparison.is_same_test else "points from its own best"
    for axes in (by_trials, by_images) if is_narrow else (by_trials,):
        axes.set_ylabel(label, fontsize=10)
    for axes in (by_trials, by_images):
        clean(axes)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=_floor(comparison))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    figure.legend(
        *by_trials.get_legend_handles_labels(), loc="outside upper left", ncols=1 if is_narrow else 2, fontsize=9,
        frameon=False,
    )  # fmt: skip


def _heights(curve: Sequence[BestSoFar], is_same_test: bool) -> list[float]:
    """In percent; of different test images, in points from the curve's own end."""
    end = 0.0 if is_same_test else curve[-1].selection_accuracy
    return [100 * (point.selection_accuracy - end) for point in curve]


def _floor(comparison: Comparison) -> float:
    """Where the axis begins: a few bad trials at the start would otherwise press all that follows into one line."""
    heights, floors = [], []
    for study_result, curve in zip(comparison.both, comparison.curves, strict=True):
        heights += _heights(curve, comparison.is_same_test)
        floors.append(100 * accuracy_floor(study_result.trials) - (100 * curve[-1].selection_accuracy - heights[-1]))
    span = max(heights) - max(min(floors), min(heights))
    return max(heights) - 1.08 * max(span, 0.1)


def _draw_curve(axes: Axes, places: Sequence[int], heights: Sequence[float], i: int, comparison: Comparison) -> None:
    axes.step(
        places, heights, LINES[i], where="post", color=COLOURS[i], linewidth=1.8, label=fitting(comparison.names[i], 30)
    )
    axes.plot(places[-1], heights[-1], MARKERS[i], color=COLOURS[i], markersize=6)
