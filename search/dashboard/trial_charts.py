"""The pictures of a trial for the dashboard: its learning curve, its mistakes, its network. PNG.

Draw one at a time: Matplotlib's fonts are shared by all threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fmnist.model.layers import LayerSummary, count_multiply_adds, count_parameters, describe_layers
from fmnist.recipe import Architecture
from fmnist.training.history import HistoryPoint, best_point
from search.format import count, percent, short_count, tick_count
from search.report.charts.model import confusion_figure
from search.report.charts.style import BLUE, GREEN, GREY, ORANGE, PURPLE, clean, figure_png, percent_axis
from search.study.objective import RungEnd

INK = "#222222"


# ---------------------------------------------------------------------------------------------------- learning curve


def learning_curve(number: int, ended: Sequence[RungEnd]) -> bytes:
    """Accuracy and loss against the images seen, with a break where a rung begins with new weights.

    ended: one or more.
    """
    figure = Figure(figsize=(8.4, 3.7), facecolor="white")
    accuracy, loss = figure.add_axes((0.075, 0.15, 0.40, 0.62)), figure.add_axes((0.58, 0.15, 0.40, 0.62))
    _draw_curves(accuracy, ended, "accuracy")
    _draw_curves(loss, ended, "loss")
    _mark_rungs(accuracy, ended)
    _mark_rungs(loss, ended)
    accuracy.set_ylabel("accuracy (%)", fontsize=10)
    loss.set_ylabel("cross-entropy loss", fontsize=10)
    percent_axis(accuracy)
    _mark_best(accuracy, ended[-1])
    handles, labels = accuracy.get_legend_handles_labels()
    figure.legend(handles, labels, loc=(0.068, 0.845), ncols=3, fontsize=9, frameon=False)
    best = best_point(ended[-1].history)
    figure.text(0.075, 0.94, f"Trial {number}: {percent(best.validation_accuracy)} at best", fontsize=12, weight="bold")
    return figure_png(figure)


def _draw_curves(axes: Axes, ended: Sequence[RungEnd], name: str) -> None:
    for part, colour, style, label in (
        ("train", ORANGE, "--", "training (augmented images)"),
        ("validation", BLUE, "-", "validation (selection split)"),
    ):
        for i, rung in enumerate(ended):
            axes.plot(
                [rung.n_images_before + point.n_images for point in rung.history],
                [getattr(point, f"{part}_{name}") for point in rung.history],
                style,
                color=colour,
                linewidth=1.6,
                marker="." if len(rung.history) < 40 else None,
                markersize=5,
                label=label if i == 0 else None,
            )
    axes.set_xlim(0, 1.02 * _n_images(ended[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n_images, _: tick_count(n_images)))
    axes.set_xlabel("training images seen", fontsize=10)
    clean(axes)


def _n_images(rung: RungEnd) -> int:
    return rung.n_images_before + rung.history[-1].n_images


def _mark_rungs(axes: Axes, ended: Sequence[RungEnd]) -> None:
    """A line at the end of each rung but the last, and over each how long it is, where there is room."""
    for rung in ended[:-1]:
        axes.axvline(_n_images(rung), color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    width = axes.get_xlim()[1]
    for i, rung in enumerate(ended, start=1):
        length = rung.history[-1].n_images
        if len(ended) > 1 and length > 0.15 * width:
            place = (rung.n_images_before + length / 2) / width
            words = f"training {i}: {tick_count(length)}" if length > 0.3 * width else tick_count(length)
            axes.text(place, 1.02, words, transform=axes.transAxes, fontsize=8, color=GREY, ha="center", va="bottom")


def _mark_best(axes: Axes, rung: RungEnd) -> None:
    best: HistoryPoint = best_point(rung.history)
    place = (rung.n_images_before + best.n_images, best.validation_accuracy)
    axes.plot(*place, "*", color="#111111", markersize=11, label="best point", zorder=4, clip_on=False)


# ------------------------------------------------------------------------------------------------------------ mistakes


def confusion_matrix(number: int, counts: np.ndarray, class_names: Sequence[str]) -> bytes:
    """counts: int (n_classes, n_classes), selection images by true and predicted class."""
    figure = confusion_figure(counts, class_names)
    n_images, n_right = int(counts.sum()), int(counts.trace())
    figure.suptitle(
        f"Trial {number}, selection split: {count(n_images - n_right)} of {count(n_images)} wrong",
        fontsize=11,
        weight="bold",
    )
    return figure_png(figure)


# ------------------------------------------------------------------------------------------------------------- network

KINDS = {  # of layers that compute or reduce something -> colour
    "Input": GREY,
    "Conv2D": BLUE,
    "MaxPooling2D": ORANGE,
    "AveragePooling2D": ORANGE,
    "Flatten": ORANGE,
    "GlobalAveragePooling2D": ORANGE,
    "GlobalMaxPooling2D": ORANGE,
    "Dense": GREEN,
}
WORDS = {
    "MaxPooling2D": "max pooling 2 x 2",
    "AveragePooling2D": "average pooling 2 x 2",
    "Flatten": "flatten",
    "GlobalAveragePooling2D": "global average pooling",
    "GlobalMaxPooling2D": "global max pooling",
}
ROW_INCHES = 0.30
LABEL, SIZE, PARAMETERS, RIGHT = 0.36, 0.815, 0.985, 1.0  # where the columns begin or, the last two, end
CENTRE, HALF_WIDTH = 0.195, 0.11  # of the drawing


@dataclass
class _Row:
    """One row of the drawing: a layer and what belongs to it."""

    kind: str
    words: str
    shape: tuple[int, ...]
    n_parameters: int
    block: int | None  # from 0
    adds: bool = False  # the shortcut of its residual block comes in behind it


def network(number: int, architecture: Architecture) -> bytes:
    """The layers from the image down: how wide the images still are, how many channels, what each costs."""
    rows = _rows(architecture)
    height = ROW_INCHES * (len(rows) + 3.3)
    figure = Figure(figsize=(7.6, height), facecolor="white")
    axes = figure.add_axes((0.01, 0.0, 0.98, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) + 0.3, -3.0)  # downwards, a row each
    _write_head(axes, number, architecture)
    _shade_blocks(axes, rows)
    for y, row in enumerate(rows):
        _draw_row(axes, y, row, architecture)
    _draw_shortcuts(axes, rows)
    return figure_png(figure)


def _rows(architecture: Architecture) -> list[_Row]:
    rows = [_Row("Input", "image", architecture.image_shape, 0, None)]
    for layer in describe_layers(architecture):
        if layer.kind in KINDS:
            block = int(layer.name[5 : layer.name.index("_")]) - 1 if layer.name.startswith("block") else None
            rows.append(_Row(layer.kind, _words(layer, architecture, block), layer.output_shape, 0, block))
        owner = next(row for row in reversed(rows) if row.kind in ("Input", "Conv2D", "Dense"))
        owner.n_parameters += layer.n_parameters  # normalization counts with its convolution
        if layer.kind == "Add":
            rows[-1].adds = True
        if layer.kind == "SpatialDropout2D":
            rows[-1].words += f", dropout {architecture.blocks[rows[-1].block].dropout:.2g}"
        if layer.kind == "Dropout":
            rows[-1].words += f", dropout {architecture.head_dropout:.2g}"
    return rows


def _words(layer: LayerSummary, architecture: Architecture, block: int | None) -> str:
    if layer.kind == "Conv2D":
        found = architecture.blocks[block]
        return f"convolution {found.kernel_size} x {found.kernel_size}, {found.filters} filters"
    if layer.kind == "Dense":
        is_last = layer.name == "logits"
        return f"softmax over {layer.output_shape[0]} classes" if is_last else f"dense, {layer.output_shape[0]} units"
    return WORDS[layer.kind]


def _write_head(axes: Axes, number: int, architecture: Architecture) -> None:
    n_parameters, multiply_adds = (
        short_count(count_parameters(architecture)),
        short_count(count_multiply_adds(architecture)),
    )
    title = f"Trial {number}: {n_parameters} parameters, {multiply_adds} multiply-adds an image"
    axes.text(0, -2.4, title, fontsize=12, weight="bold", va="center")
    normalization = "batch normalization and " if architecture.batch_normalization else ""
    activation = {"relu": "ReLU", "elu": "ELU", "silu": "SiLU", "gelu": "GELU"}[architecture.activation]
    shortcut = "; +: a shortcut is added" if any(block.residual for block in architecture.blocks) else ""
    throughout = f"After each convolution and hidden dense layer: {normalization}{activation}{shortcut}"
    axes.text(0, -1.65, throughout, fontsize=9, color=GREY, va="center")
    for x, words, side in ((LABEL, "layer", "left"), (SIZE, "output", "center"), (PARAMETERS, "parameters", "right")):
        axes.text(x, -0.85, words, fontsize=9, color=GREY, ha=side, va="center")


def _shade_blocks(axes: Axes, rows: Sequence[_Row]) -> None:
    for block in {row.block for row in rows} - {None}:
        places = [y for y, row in enumerate(rows) if row.block == block]
        top, bottom = places[0] - 0.46, places[-1] + 0.46
        axes.add_patch(Rectangle((0, top), RIGHT, bottom - top, facecolor="#f3f6f9", edgecolor="none", zorder=0))
        axes.text(0.012, (top + bottom) / 2, f"block {block + 1}", fontsize=9, color=GREY, va="center", rotation=0)


def _draw_row(axes: Axes, y: int, row: _Row, architecture: Architecture) -> None:
    """A bar as wide as the image is by now, and as thick as it has channels, in powers of two."""
    is_image = len(row.shape) == 3
    share = row.shape[1] / architecture.image_shape[1] if is_image else 0.0
    half = max(HALF_WIDTH * share, 0.012)
    thickness = 0.16 + 0.062 * min(math.log2(row.shape[-1]), 10)
    axes.add_patch(
        Rectangle((CENTRE - half, y - thickness / 2), 2 * half, thickness, facecolor=KINDS[row.kind], edgecolor="white")
    )
    axes.text(LABEL, y, row.words, fontsize=9.5, color=INK, va="center")
    axes.text(SIZE, y, " x ".join(map(str, row.shape)), fontsize=9.5, color=INK, ha="center", va="center")
    if row.n_parameters:
        axes.text(PARAMETERS, y, short_count(row.n_parameters), fontsize=9.5, color=INK, ha="right", va="center")


def _draw_shortcuts(axes: Axes, rows: Sequence[_Row]) -> None:
    """From behind a residual block's first convolution, and its pooling if there is one, to the end of its last."""
    x, out = CENTRE + HALF_WIDTH - 0.02, CENTRE + HALF_WIDTH + 0.015
    for end, row in enumerate(rows):
        if not row.adds:
            continue
        first = next(y for y, other in enumerate(rows) if other.block == row.block)
        start = first + 1 if rows[first + 1].kind in ("MaxPooling2D", "AveragePooling2D") else first
        axes.plot([x, out, out, x + 0.012], [start, start, end, end], color=PURPLE, linewidth=1.4)
        axes.text(x, end, "+", fontsize=13, color=PURPLE, va="center", ha="center", weight="bold")
