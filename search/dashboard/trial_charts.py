"""The charts of a trial's training for the dashboard: its learning curve and its mistakes. PNG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fmnist.training.history import best_point
from search.format import count, percent, tick_count
from search.report.charts.curves import mark_best, plot_part
from search.report.charts.fonts import fonts_for
from search.report.charts.model import confusion_figure
from search.report.charts.plain import Axes, Figure, FuncFormatter, MaxNLocator, drawing
from search.report.charts.style import GREY, PART_STYLES, clean, figure_png, percent_axis
from search.study.objective import RungEnd

LEFT_AXES, RIGHT_AXES = (0.075, 0.15, 0.40, 0.62), (0.58, 0.15, 0.40, 0.62)  # left, bottom, width, height
MANY_POINTS = 40  # from so many on, points have no marks
LABELLED_SHARE, WORDED_SHARE = 0.15, 0.3  # of the width: what a rung takes to have its length, and words, over it


@drawing()
def draw_learning_curve(number: int, ended: Sequence[RungEnd]) -> bytes:
    """Draw accuracy and loss against the images seen, with a break where a rung begins with new weights.

    Args:
        number: of the trial.
        ended: its rungs, one or more.
    """
    figure = Figure(figsize=(8.4, 3.7), facecolor="white")
    accuracy, loss = figure.add_axes(LEFT_AXES), figure.add_axes(RIGHT_AXES)
    for axes, name in ((accuracy, "accuracy"), (loss, "loss")):
        draw_curves(axes, ended, name)
    for axes in (accuracy, loss):
        mark_rungs(axes, ended)
    accuracy.set_ylabel("accuracy (%)", fontsize=10)
    loss.set_ylabel("cross-entropy loss", fontsize=10)
    percent_axis(accuracy)
    last = ended[-1]
    best, best_accuracy = best_point(last.history), None
    if best is not None and best.validation_accuracy is not None:
        best_accuracy = best.validation_accuracy
        mark_best(accuracy, last.n_images_before + best.n_images, best_accuracy, 11, clip=False)
    handles, labels = accuracy.get_legend_handles_labels()
    figure.legend(handles, labels, loc=(0.068, 0.845), ncols=3, fontsize=9, frameon=False)
    figure.text(0.075, 0.94, f"Trial {number}: {percent(best_accuracy)} at best", fontsize=12, weight="bold")
    return figure_png(figure)


def draw_curves(axes: Axes, ended: Sequence[RungEnd], name: str) -> None:
    """Draw a training and a validation curve for each rung. name: "accuracy" or "loss"."""
    for part, colour, line, label in PART_STYLES:
        for i, rung in enumerate(ended):
            places = [rung.n_images_before + point.n_images for point in rung.history]
            marker = "." if len(rung.history) < MANY_POINTS else None
            plot_part(
                axes, places, rung.history, f"{part}_{name}", style=(colour, line), label=label if i == 0 else None,
                marker=(marker, 5),
            )  # fmt: skip
    axes.set_xlim(0, 1.02 * end_of(ended[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n_images, _: tick_count(n_images)))
    axes.set_xlabel("training images seen", fontsize=10)
    clean(axes)


def mark_rungs(axes: Axes, ended: Sequence[RungEnd]) -> None:
    """Draw a line at the end of each rung but the last, and write over each how long it is, where there is room."""
    for rung in ended[:-1]:
        axes.axvline(end_of(rung), color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    if len(ended) == 1:
        return
    width = axes.get_xlim()[1]
    for i, rung in enumerate(ended, start=1):
        length = rung.history[-1].n_images
        if length <= LABELLED_SHARE * width:
            continue
        words = tick_count(length)
        if length > WORDED_SHARE * width:
            words = f"training {i}: {words}"
        middle = (rung.n_images_before + length / 2) / width
        axes.text(middle, 1.02, words, transform=axes.transAxes, fontsize=8, color=GREY, ha="center", va="bottom")


def end_of(rung: RungEnd) -> int:
    """Training images that the trial had seen at the end of the rung."""
    return rung.n_images_before + rung.history[-1].n_images


def draw_confusion_matrix(number: int, counts: np.ndarray, class_names: Sequence[str]) -> bytes:
    """Draw which classes the trial's network confuses.

    Args:
        number: of the trial.
        counts: int (n_classes, n_classes), selection images by true and predicted class.
        class_names: by label.
    """
    n_images, n_right = int(counts.sum()), int(counts.trace())
    title = f"Trial {number}, selection split: {count(n_images - n_right)} of {count(n_images)} wrong"
    with drawing(fonts_for(class_names).paths):
        figure = confusion_figure(counts, class_names)
        figure.suptitle(title, fontsize=11, weight="bold")
        return figure_png(figure)
