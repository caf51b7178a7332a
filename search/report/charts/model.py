"""Charts of the model: learning curves, finalists, confusion, calibration, baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fmnist.metrics.evaluation import Evaluation
from search.records.models import ChangedTestScore, ConfirmRecord
from search.report.analysis import BaselineScore, Calibration
from search.report.charts.style import (
    BLUE,
    GREY,
    MANY_CLASSES,
    MOST_NAMED_CLASSES,
    ORANGE,
    Chart,
    clean,
    figure_png,
    fitting,
    make_chart,
    percent_axis,
)


def learning_chart(record: ConfirmRecord, n_train: int) -> Chart:
    alt = "Loss and accuracy over the epochs of the winner's confirmation training, on training and selection images."
    return make_chart("learning", alt, lambda figure, is_narrow: _draw_learning(figure, is_narrow, record, n_train))


def _draw_learning(figure: Figure, is_narrow: bool, record: ConfirmRecord, n_train: int) -> None:
    figure.set_figheight(5.4 if is_narrow else 3.2)
    loss, accuracy = figure.subplots(2, 1, sharex=True) if is_narrow else figure.subplots(1, 2)
    _draw_curves(loss, record, n_train, "loss")
    _draw_curves(accuracy, record, n_train, "accuracy")
    loss.set_ylabel("cross-entropy loss", fontsize=10)
    accuracy.set_ylabel("accuracy (%)", fontsize=10)
    percent_axis(accuracy)
    accuracy.set_xlabel("epochs", fontsize=10)
    if not is_narrow:
        loss.set_xlabel("epochs", fontsize=10)
    handles, labels = accuracy.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=1 if is_narrow else 3, fontsize=9, frameon=False)


def _draw_curves(axes: Axes, record: ConfirmRecord, n_train: int, figure_name: str) -> None:
    """Training and validation figures over the epochs, with the best point marked."""
    for part, colour, style, label in (
        ("train", ORANGE, "--", "training (augmented images)"),
        ("validation", BLUE, "-", "validation (selection split)"),
    ):
        drawn = [(p.n_images / n_train, getattr(p, f"{part}_{figure_name}")) for p in record.history]
        drawn = [(x, y) for x, y in drawn if y is not None]
        if drawn:
            axes.plot(
                *zip(*drawn, strict=True), style, color=colour, linewidth=1.6, label=label, marker=".", markersize=4
            )
    best = getattr(record.best, f"validation_{figure_name}")
    if best is not None:
        axes.plot(
            record.best.n_images / n_train, best, "*", color="#111111", markersize=12, label="best point", zorder=4
        )
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.set_xlim(left=0)
    clean(axes)


def finalists_chart(rows: Sequence[Mapping[str, object]]) -> Chart:
    """rows: as in report.json's `finalists`."""
    alt = (
        "Accuracy of each finalist in the search and in its confirmation training, on selection and confirmation split."
    )
    return make_chart("finalists", alt, lambda figure, is_narrow: _draw_finalists(figure, is_narrow, rows))


def _draw_finalists(figure: Figure, is_narrow: bool, rows: Sequence[Mapping[str, object]]) -> None:
    figure.set_figheight(1.5 + 0.34 * len(rows) + (0.5 if is_narrow else 0))
    axes = figure.add_subplot()
    places = np.arange(len(rows))[::-1]
    for key, colour, marker, label, shift in (
        ("search_accuracy", GREY, "o", "in the search", 0.2),
        ("full_selection_accuracy", ORANGE, "v", "selection split, confirmation training", 0.0),
    ):
        drawn = [(row[key], place + shift) for row, place in zip(rows, places, strict=True) if row[key] is not None]
        axes.scatter(
            *(zip(*drawn, strict=True) if drawn else ([], [])),
            c="none",
            edgecolors=colour,
            marker=marker,
            s=30,
            label=label,
        )
    middle = np.array([row["confirm_accuracy"] for row in rows])
    low, high = np.array([row["confirm_wilson_95"] for row in rows]).T
    axes.errorbar(
        middle, places - 0.2, xerr=(middle - low, high - middle), fmt="D", color=BLUE, markersize=5, capsize=3,
        label="confirmation split, with 95 % interval",
    )  # fmt: skip
    labels = [f"trial {row['trial']}{' (default)' if row['is_default'] else ''}" for row in rows]
    axes.set_yticks(places, labels)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("accuracy (%)", fontsize=10)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 3):g}"))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    clean(axes, grid="x")
    figure.legend(loc="outside upper left", ncols=1 if is_narrow else 3, fontsize=9, frameon=False)


def confusion_png(evaluation: Evaluation) -> bytes:
    """The confusion matrix as a heat map, mistakes in a scale of their own. Of many classes without numbers, of very
    many without names."""
    return figure_png(confusion_figure(np.array(evaluation.confusion_matrix), [it.name for it in evaluation.per_class]))


def confusion_figure(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """counts: int (n_classes, n_classes), images by true and predicted class."""
    n, is_crowded = len(names), len(names) > MANY_CLASSES
    shown = [fitting(name) for name in names]
    side = 15.0 if is_crowded else 1.0 + 0.075 * max(map(len, shown)) + 0.45 * n
    figure = Figure(figsize=(side, side), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    is_right = np.eye(n, dtype=bool)
    axes.imshow(np.where(is_right, np.nan, _shade(counts)), cmap="Oranges", vmin=0, vmax=1.6)
    if is_crowded:  # the diagonal would look empty
        axes.imshow(np.where(is_right, 1.0, np.nan), cmap=ListedColormap(["#b9d9ee"]))
    else:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                axes.text(j, i, f"{count}", ha="center", va="center", fontsize=8, weight="bold" if i == j else "normal")
    size = 9.0 if not is_crowded else max(4.0, 650 / n)  # points: as large as rows are high
    if n <= MOST_NAMED_CLASSES:
        axes.set_xticks(range(n), shown, rotation=90, fontsize=min(9.0, size))
        axes.set_yticks(range(n), shown, fontsize=min(9.0, size))
    by_number = "" if n <= MOST_NAMED_CLASSES else ", by its number from 0"
    axes.set_xlabel(f"predicted class{by_number}", fontsize=10)
    axes.set_ylabel(f"true class{by_number}", fontsize=10)
    return figure


def confusion_shade(evaluation: Evaluation) -> np.ndarray:
    """How strongly each cell is coloured, 0 to 1: the root of its share of the true class, the largest mistake 1."""
    return _shade(np.array(evaluation.confusion_matrix))


def _shade(counts: np.ndarray) -> np.ndarray:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    largest = (shares * (1 - np.eye(len(counts)))).max()
    return np.minimum(np.sqrt(shares / largest), 1) if largest else np.zeros_like(shares)


def reliability_chart(calibration: Calibration) -> Chart:
    before, after = calibration.before, calibration.after
    alt = (
        f"Accuracy against confidence in bins, on the test set, as delivered and with temperature "
        f"{calibration.temperature:.2f}: expected calibration error {100 * before.expected_calibration_error:.1f} and "
        f"{100 * after.expected_calibration_error:.1f} points."
    )
    return make_chart("reliability", alt, lambda figure, is_narrow: _draw_reliability(figure, is_narrow, calibration))


def _draw_reliability(figure: Figure, is_narrow: bool, calibration: Calibration) -> None:
    figure.set_figheight(5.0 if is_narrow else 3.9)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="as sure as right")
    for part, colour, marker, label in (
        (calibration.before, ORANGE, "o", "as delivered"),
        (calibration.after, BLUE, "s", f"with temperature {calibration.temperature:.2f}"),
    ):
        drawn = [b for b in part.bins if b.n_images >= 5]  # of fewer, an accuracy says nothing
        x, y = [b.mean_confidence for b in drawn], [b.accuracy for b in drawn]
        errors = np.array(
            [(b.accuracy - b.accuracy_interval.low, b.accuracy_interval.high - b.accuracy) for b in drawn]
        )
        axes.errorbar(
            x, y, yerr=np.maximum(errors.T, 0), fmt=f"{marker}-", color=colour, markersize=4, capsize=2, linewidth=1.2,
            elinewidth=0.9, label=label,
        )  # fmt: skip
    bins = calibration.before.bins
    counts.bar([(b.low + b.high) / 2 for b in bins], [b.n_images for b in bins], width=0.055, color=ORANGE)
    counts.set_yscale("log")
    counts.set_ylabel("images", fontsize=10)
    counts.set_xlabel("confidence (%)", fontsize=10)
    axes.set_ylabel("accuracy (%)", fontsize=10)
    for each in (axes, counts):
        clean(each)
        each.set_xlim(0, 1.01)
        each.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share):g}"))
    percent_axis(axes)
    axes.set_ylim(-0.02, 1.02)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper left", ncols=1 if is_narrow else 3, fontsize=9,
        frameon=False,
    )  # fmt: skip


def baselines_chart(scores: Sequence[BaselineScore], evaluation: Evaluation) -> Chart:
    best = scores[0]
    alt = (
        f"Test accuracy with 95 % intervals: the delivered model {100 * evaluation.accuracy:.2f} %, the best baseline, "
        f"{best.record.name}, {100 * best.rival.accuracy:.2f} %."
    )
    return make_chart("baselines", alt, lambda figure, is_narrow: _draw_baselines(figure, scores, evaluation))


def _draw_baselines(figure: Figure, scores: Sequence[BaselineScore], evaluation: Evaluation) -> None:
    figure.set_figheight(0.9 + 0.28 * (1 + len(scores)))
    axes = figure.add_subplot()
    names = ["the delivered model", *(score.record.name for score in scores)]
    middle = np.array([evaluation.accuracy, *(score.rival.accuracy for score in scores)])
    intervals = [evaluation.accuracy_interval, *(score.accuracy_interval for score in scores)]
    low, high = (np.array([getattr(interval, end) for interval in intervals]) for end in ("low", "high"))
    places = np.arange(len(names))[::-1]
    for rows, colour in ((slice(0, 1), ORANGE), (slice(1, None), BLUE)):
        errors = (middle[rows] - low[rows], high[rows] - middle[rows])
        axes.errorbar(middle[rows], places[rows], xerr=errors, fmt="o", color=colour, markersize=5, capsize=3)
    published = [(score.record.published_accuracy, place) for score, place in zip(scores, places[1:], strict=True)]
    drawn = [(accuracy, place) for accuracy, place in published if accuracy is not None]
    axes.plot([accuracy for accuracy, _ in drawn], [place for _, place in drawn], "x", color=GREY)
    axes.set_yticks(places, names)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 3):g}"))
    axes.set_xlabel("test accuracy (%)", fontsize=10)
    clean(axes, grid="x")


def changes_chart(changed: Sequence[ChangedTestScore], accuracy: float) -> Chart:
    worst = min(changed, key=lambda row: row.accuracy)
    alt = (
        f"Test accuracy on changed images, {100 * accuracy:.1f} % on unchanged ones; lowest, {worst.change}: "
        f"{100 * worst.accuracy:.1f} %."
    )
    return make_chart("changed-images", alt, lambda figure, is_narrow: _draw_changes(figure, changed, accuracy))


def _draw_changes(figure: Figure, changed: Sequence[ChangedTestScore], accuracy: float) -> None:
    figure.set_figheight(0.9 + 0.27 * len(changed))
    axes = figure.add_subplot()
    places = np.arange(len(changed))[::-1]
    bars = axes.barh(places, [row.accuracy for row in changed], color=BLUE, height=0.64)
    axes.bar_label(
        bars, [f"{100 * row.accuracy:.1f}" for row in changed], padding=-30, fontsize=9, color="white", weight="bold"
    )
    axes.axvline(accuracy, color=ORANGE, linewidth=1.2, linestyle="--")
    axes.set_yticks(places, [row.change for row in changed])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share):g}"))
    axes.set_xlabel("test accuracy (%)", fontsize=10)
    clean(axes, grid="x")
