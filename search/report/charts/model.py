"""What is drawn of the model? Learning curve, finalists, confusion, calibration, baselines, changed images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.cells import cell_len

from fmnist.metrics.calibration import ReliabilityBin
from fmnist.metrics.evaluation import Evaluation
from fmnist.metrics.intervals import Interval
from fmnist.scoring import Metric
from search.format import METRIC_WORDS, percent
from search.records.models import ChangedTestScore
from search.report.analysis.evidence import BaselineScore, Calibration
from search.report.analysis.learning import LearningCurve
from search.report.charts.curves import mark_best, plot_part
from search.report.charts.plain import Axes, Figure, ListedColormap, MaxNLocator, drawing
from search.report.charts.style import (
    BLUE,
    GREY,
    MANY_CLASSES,
    MOST_NAMED_CLASSES,
    ORANGE,
    PART_STYLES,
    TICK_POINTS,
    Chart,
    Medium,
    clean,
    figure_png,
    fitting,
    label_axes,
    label_percent,
    legend_above,
    make_chart,
    percent_axis,
    reach,
    score_axis,
    score_label,
)

FEWEST_IN_BIN = 5  # images; of fewer, an accuracy says nothing
BIN_WIDTH = 0.055  # of a bar, a little less than the fifteenth that a bin is wide
DARKEST = 1.6  # where the scale of orange would end: the largest mistake is to leave its number legible
WEIGHTS = ("normal", "bold")  # of the letters of mistakes and of right answers
RIGHT_COLOUR = "#b9d9ee"  # of the diagonal
CROWDED_INCHES = 15.0  # a side of a confusion matrix of many classes
CELL_INCHES, LETTER_INCHES, BORDER_INCHES = 0.45, 0.075, 1.0  # of one of few
CROWDED_POINTS, SMALLEST_POINTS = 650, 4.0  # of its names: the first shared by its rows


def learning_chart(curve: LearningCurve) -> Chart:
    """Loss and accuracy over the epochs of a training, with its best point if it was validated.

    Args:
        curve: of the training; it must have a history.
    """
    parts = "training and selection" if curve.best is not None else "training"
    alt = f"Loss and accuracy over the epochs of {curve.whose}, on {parts} images."

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(medium.pick(3.2, 5.4))
        loss, accuracy = medium.stack(figure, share_x=True)
        _draw_curves(loss, curve, "loss")
        _draw_curves(accuracy, curve, "accuracy")
        label_axes(loss, y="cross-entropy loss")
        label_axes(accuracy, x="epochs", y="accuracy (%)")
        percent_axis(accuracy)
        if not medium.is_narrow:
            label_axes(loss, x="epochs")
        legend_above(figure, medium.pick(3, 1), accuracy)

    return make_chart("learning", alt, draw)


def _draw_curves(axes: Axes, curve: LearningCurve, name: str) -> None:
    """Training and validation figures over the epochs, with the best point marked. name: "loss" or "accuracy"."""
    epochs = [curve.epochs(point.n_images) for point in curve.history]
    for part, colour, line, label in PART_STYLES:
        attribute = f"{part}_{name}"
        plot_part(axes, epochs, curve.history, attribute, style=(colour, line), label=label, marker=(".", 4))
    best = None if curve.best is None else getattr(curve.best, f"validation_{name}")
    if curve.best is not None and best is not None:
        mark_best(axes, curve.epochs(curve.best.n_images), best, 12)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.set_xlim(left=0)
    clean(axes)


def finalists_chart(rows: Sequence[Mapping[str, Any]], metric: Metric = "accuracy") -> Chart:
    """The scores of each finalist: in the search, and on the splits that its training as a finalist was scored on.

    Args:
        rows: as in report.json's `finalists`, best first.
        metric: of the study.
    """
    words = METRIC_WORDS[metric].capitalize() if metric != "macro_f1" else METRIC_WORDS[metric]
    alt = f"{words} of each finalist in the search, and of its longer training on the confirmation split."
    decides = "accuracy" if metric == "accuracy" else "score"
    interval_key = "confirm_wilson_95" if metric == "accuracy" else "confirm_score_95"

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(1.5 + 0.34 * len(rows) + medium.pick(0, 0.5))
        axes = figure.add_subplot()
        places = np.arange(len(rows))[::-1]
        for key, colour, marker, label, shift in (
            (f"search_{decides}", GREY, "o", "in the search", 0.2),
            ("full_selection_accuracy", ORANGE, "v", "selection split, confirmation training", 0.0),
        ):
            drawn = []
            for row, place in zip(rows, places, strict=True):
                if row[key] is not None:
                    drawn.append((row[key], place + shift))
            if drawn:
                x, y = np.transpose(drawn)
                axes.scatter(x, y, c="none", edgecolors=colour, marker=marker, s=30, label=label)
        names, middle, errors = [], [], []
        for row in rows:
            low, high = row[interval_key]
            names.append(f"trial {row['trial']} (default)" if row["is_default"] else f"trial {row['trial']}")
            middle.append(row[f"confirm_{decides}"])
            errors.append(reach(row[f"confirm_{decides}"], Interval(low, high)))
        axes.errorbar(
            middle, places - 0.2, xerr=np.transpose(errors), fmt="D", color=BLUE, markersize=5, capsize=3,
            label="confirmation split, with 95 % interval",
        )  # fmt: skip
        axes.set_yticks(places, names)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        label_axes(axes, x=score_label(metric))
        score_axis(axes.xaxis, metric)
        clean(axes, grid="x")
        legend_above(figure, medium.pick(3, 1))

    return make_chart("finalists", alt, draw)


@drawing()
def confusion_png(evaluation: Evaluation) -> bytes:
    """The confusion matrix of the delivered model as a PNG file, see `confusion_figure`.

    Args:
        evaluation: on the test set.
    """
    names = [score.name for score in evaluation.per_class]
    return figure_png(confusion_figure(np.array(evaluation.confusion_matrix), names))


@drawing()
def confusion_figure(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """The confusion matrix as a heat map, mistakes in a scale of their own.

    Of many classes it has no numbers, of very many no names.

    Args:
        counts: int (n_classes, n_classes), images by true and predicted class.
        names: of the classes.
    """
    n, is_crowded = len(names), len(names) > MANY_CLASSES
    shown = [fitting(name) for name in names]
    side = CROWDED_INCHES
    if not is_crowded:
        side = BORDER_INCHES + LETTER_INCHES * max(map(cell_len, shown)) + CELL_INCHES * n
    figure = Figure(figsize=(side, side), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    is_right = np.eye(n, dtype=bool)
    axes.imshow(np.where(is_right, np.nan, _shade(counts)), cmap="Oranges", vmin=0, vmax=DARKEST)
    if is_crowded:  # the diagonal would look empty
        axes.imshow(np.where(is_right, 1.0, np.nan), cmap=ListedColormap([RIGHT_COLOUR]))
    else:
        for (i, j), n_images in np.ndenumerate(counts):
            if n_images:
                axes.text(j, i, f"{n_images}", ha="center", va="center", fontsize=8, weight=WEIGHTS[i == j])
    by_number = ", by its number from 0"
    if n <= MOST_NAMED_CLASSES:
        by_number, size = "", float(TICK_POINTS)
        if is_crowded:  # as large as rows are high
            size = min(size, max(SMALLEST_POINTS, CROWDED_POINTS / n))
        axes.set_xticks(range(n), shown, rotation=90, fontsize=size)
        axes.set_yticks(range(n), shown, fontsize=size)
    label_axes(axes, x=f"predicted class{by_number}", y=f"true class{by_number}")
    return figure


def confusion_shade(evaluation: Evaluation) -> np.ndarray:
    """How strongly each cell of the confusion matrix is coloured in the page's table.

    Returns:
        From 0 to 1, float (n_classes, n_classes): the root of the cell's share of its true class, with 1 for the
        largest mistake.
    """
    return _shade(np.array(evaluation.confusion_matrix))


def _shade(counts: np.ndarray) -> np.ndarray:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    largest = (shares * (1 - np.eye(len(counts)))).max()
    if not largest:
        return np.zeros_like(shares)
    return np.minimum(np.sqrt(shares / largest), 1)


def reliability_chart(calibration: Calibration) -> Chart:
    """Accuracy against confidence in bins, as delivered and with the temperature; below, the images in each bin.

    Bins of fewer than FEWEST_IN_BIN images are left out.

    Args:
        calibration: of the delivered model, on the test set.
    """
    before, after = calibration.before, calibration.after
    alt = (
        f"Accuracy against confidence in bins, on the test set, as delivered and with temperature "
        f"{calibration.temperature:.2f}: expected calibration error {100 * before.expected_calibration_error:.1f} and "
        f"{100 * after.expected_calibration_error:.1f} points."
    )

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(medium.pick(3.9, 5.0))
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="as sure as right")
        _draw_bins(axes, before.bins, ORANGE, "o", "as delivered")
        _draw_bins(axes, after.bins, BLUE, "s", f"with temperature {calibration.temperature:.2f}")
        for b in before.bins:
            counts.bar((b.low + b.high) / 2, b.n_images, width=BIN_WIDTH, color=ORANGE)
        counts.set_yscale("log")
        label_axes(counts, x="confidence (%)", y="images")
        label_axes(axes, y="accuracy (%)")
        for each in (axes, counts):
            clean(each)
            each.set_xlim(0, 1.01)
            label_percent(each.xaxis, digits=0)
        percent_axis(axes)
        axes.set_ylim(-0.02, 1.02)
        legend_above(figure, medium.pick(3, 1), axes)

    return make_chart("reliability", alt, draw)


def _draw_bins(axes: Axes, bins: Sequence[ReliabilityBin], colour: str, marker: str, label: str) -> None:
    """Draw the accuracy of bins of confidence with its interval, but for bins of too few images."""
    x, y, errors = [], [], []
    for b in bins:
        if b.n_images >= FEWEST_IN_BIN:
            x.append(b.mean_confidence)
            y.append(b.accuracy)
            errors.append(reach(b.accuracy, b.accuracy_interval))
    axes.errorbar(
        x, y, yerr=np.maximum(np.array(errors).T, 0), fmt=f"{marker}-", color=colour, markersize=4, capsize=2,
        linewidth=1.2, elinewidth=0.9, label=label,
    )  # fmt: skip


def baselines_chart(scores: Sequence[BaselineScore], evaluation: Evaluation) -> Chart:
    """Test accuracy of the delivered model and of every baseline, with intervals and what their authors give.

    Args:
        scores: of the baselines, best first; at least one.
        evaluation: of the delivered model.
    """
    best = scores[0]
    alt = (
        f"Test accuracy with 95 % intervals: the delivered model {percent(evaluation.accuracy)}, the best baseline, "
        f"{best.record.name}, {percent(best.rival.accuracy)}."
    )

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(0.9 + 0.28 * (1 + len(scores)))
        axes = figure.add_subplot()
        places = np.arange(1 + len(scores))[::-1]
        names = ["the delivered model"]
        middle, errors = [evaluation.accuracy], [reach(evaluation.accuracy, evaluation.accuracy_interval)]
        crosses, crossed = [], []
        for score, place in zip(scores, places[1:], strict=True):
            names.append(score.record.name)
            middle.append(score.rival.accuracy)
            errors.append(reach(score.rival.accuracy, score.accuracy_interval))
            if score.record.published_accuracy is not None:
                crosses.append(score.record.published_accuracy)
                crossed.append(place)
        for rows, colour in ((slice(0, 1), ORANGE), (slice(1, None), BLUE)):
            xerr = np.transpose(errors[rows])
            axes.errorbar(middle[rows], places[rows], xerr=xerr, fmt="o", color=colour, markersize=5, capsize=3)
        axes.plot(crosses, crossed, "x", color=GREY)
        axes.set_yticks(places, names)
        label_percent(axes.xaxis)
        label_axes(axes, x="test accuracy (%)")
        clean(axes, grid="x")

    return make_chart("baselines", alt, draw)


def changes_chart(changed: Sequence[ChangedTestScore], accuracy: float) -> Chart:
    """Test accuracy on changed images, with a line at the accuracy on unchanged ones.

    Args:
        changed: in the order of the changes; at least one.
        accuracy: of the delivered model, on unchanged test images.
    """
    worst = min(changed, key=lambda row: row.accuracy)
    alt = (
        f"Test accuracy on changed images, {percent(accuracy, 1)} on unchanged ones; lowest, {worst.change}: "
        f"{percent(worst.accuracy, 1)}."
    )

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(0.9 + 0.27 * len(changed))
        axes = figure.add_subplot()
        places = np.arange(len(changed))[::-1]
        accuracies, labels, names = [], [], []
        for row in changed:
            accuracies.append(row.accuracy)
            labels.append(f"{100 * row.accuracy:.1f}")
            names.append(row.change)
        bars = axes.barh(places, accuracies, color=BLUE, height=0.64)
        axes.bar_label(bars, labels, padding=-30, fontsize=TICK_POINTS, color="white", weight="bold")
        axes.axvline(accuracy, color=ORANGE, linewidth=1.2, linestyle="--")
        axes.set_yticks(places, names)
        axes.set_xlim(0, 1)
        label_percent(axes.xaxis, digits=0)
        label_axes(axes, x="test accuracy (%)")
        clean(axes, grid="x")

    return make_chart("changed-images", alt, draw)
