"""The drawing of a trial's network for the dashboard, layer by layer. PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fmnist.model.layers import LayerSummary, count_multiply_adds, count_parameters, describe_layers
from fmnist.recipe import Architecture
from search.format import short_count
from search.report.charts.plain import Axes, Figure, Rectangle, drawing
from search.report.charts.style import BLUE, GREEN, GREY, ORANGE, PURPLE, figure_png

INK, SHADE = "#222222", "#f3f6f9"
COLOURS = {  # of layers that compute or reduce something, by kind
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
ACTIVATIONS = {"relu": "ReLU", "elu": "ELU", "silu": "SiLU", "gelu": "GELU"}
WITH_WEIGHTS = ("Input", "Conv2D", "Dense")  # what the parameters of the layers after it are counted with
POOLING = ("MaxPooling2D", "AveragePooling2D")
ROW_INCHES = 0.30
LABEL, SIZE, PARAMETERS, RIGHT = 0.36, 0.815, 0.985, 1.0  # where the columns begin or, the last two, end
CENTRE, HALF_WIDTH = 0.195, 0.11  # of the drawing


@dataclass
class Row:
    """One row of the drawing: a layer and what belongs to it."""

    kind: str
    words: str
    shape: tuple[int, ...]
    n_parameters: int
    block: int | None  # from 0
    adds: bool = False  # the shortcut of its residual block comes in behind it


@drawing()
def draw_network(number: int, architecture: Architecture) -> bytes:
    """Draw the layers from the image down: how wide the images still are, how many channels, what each costs.

    Args:
        number: of the trial.
        architecture: of its network.
    """
    rows = rows_of(architecture)
    height = ROW_INCHES * (len(rows) + 3.3)
    figure = Figure(figsize=(7.6, height), facecolor="white")
    axes = figure.add_axes((0.01, 0.0, 0.98, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) + 0.3, -3.0)  # downwards, a row each
    write_head(axes, number, architecture)
    shade_blocks(axes, rows)
    for y, row in enumerate(rows):
        draw_row(axes, y, row, architecture)
    draw_shortcuts(axes, rows)
    return figure_png(figure)


def rows_of(architecture: Architecture) -> list[Row]:
    """A row for the image and for each layer that computes or reduces something; the other layers join the one before.

    Normalization counts with its convolution, and dropout is said behind it.
    """
    owner = Row("Input", "image", architecture.image_shape, 0, None)
    rows = [owner]
    for layer in describe_layers(architecture):
        if layer.kind in COLOURS:
            block = None
            if layer.name.startswith("block"):
                block = int(layer.name[5 : layer.name.index("_")]) - 1
            rows.append(Row(layer.kind, words_of(layer, architecture, block), layer.output_shape, 0, block))
            if layer.kind in WITH_WEIGHTS:
                owner = rows[-1]
        owner.n_parameters += layer.n_parameters
        last = rows[-1]
        if layer.kind == "Add":
            last.adds = True
        if layer.kind == "SpatialDropout2D" and last.block is not None:
            last.words += f", dropout {architecture.blocks[last.block].dropout:.2g}"
        if layer.kind == "Dropout":
            last.words += f", dropout {architecture.head_dropout:.2g}"
    return rows


def words_of(layer: LayerSummary, architecture: Architecture, block: int | None) -> str:
    """Describe a layer. block: index of its block; None in the head."""
    if layer.kind == "Conv2D" and block is not None:
        found = architecture.blocks[block]
        return f"convolution {found.kernel_size} x {found.kernel_size}, {found.filters} filters"
    if layer.name == "logits":
        return f"softmax over {layer.output_shape[0]} classes"
    if layer.kind == "Dense":
        return f"dense, {layer.output_shape[0]} units"
    return WORDS[layer.kind]


def write_head(axes: Axes, number: int, architecture: Architecture) -> None:
    """Write what the network costs, what holds throughout, and the heads of the columns."""
    n_parameters, multiply_adds = (
        short_count(count_parameters(architecture)),
        short_count(count_multiply_adds(architecture)),
    )
    title = f"Trial {number}: {n_parameters} parameters, {multiply_adds} multiply-adds an image"
    axes.text(0, -2.4, title, fontsize=12, weight="bold", va="center")
    throughout = ACTIVATIONS[architecture.activation]
    if architecture.batch_normalization:
        throughout = f"batch normalization and {throughout}"
    if any(block.residual for block in architecture.blocks):
        throughout += "; +: a shortcut is added"
    text = f"After each convolution and hidden dense layer: {throughout}"
    axes.text(0, -1.65, text, fontsize=9, color=GREY, va="center")
    for x, words, side in ((LABEL, "layer", "left"), (SIZE, "output", "center"), (PARAMETERS, "parameters", "right")):
        axes.text(x, -0.85, words, fontsize=9, color=GREY, ha=side, va="center")


def shade_blocks(axes: Axes, rows: Sequence[Row]) -> None:
    """Shade the rows of each block, and name it."""
    places_of: dict[int, list[int]] = {}
    for y, row in enumerate(rows):
        if row.block is not None:
            places_of.setdefault(row.block, []).append(y)
    for block, places in places_of.items():
        top, bottom = places[0] - 0.46, places[-1] + 0.46
        axes.add_patch(Rectangle((0, top), RIGHT, bottom - top, facecolor=SHADE, edgecolor="none", zorder=0))
        axes.text(0.012, (top + bottom) / 2, f"block {block + 1}", fontsize=9, color=GREY, va="center", rotation=0)


def draw_row(axes: Axes, y: int, row: Row, architecture: Architecture) -> None:
    """Draw a bar as wide as the image is by now, and as thick as it has channels, in powers of two; and its words."""
    half = 0.012
    if len(row.shape) == 3:
        half = max(HALF_WIDTH * row.shape[1] / architecture.image_shape[1], half)
    thickness = 0.16 + 0.062 * min(math.log2(row.shape[-1]), 10)
    corner = (CENTRE - half, y - thickness / 2)
    axes.add_patch(Rectangle(corner, 2 * half, thickness, facecolor=COLOURS[row.kind], edgecolor="white"))
    axes.text(LABEL, y, row.words, fontsize=9.5, color=INK, va="center")
    axes.text(SIZE, y, " x ".join(map(str, row.shape)), fontsize=9.5, color=INK, ha="center", va="center")
    if row.n_parameters:
        axes.text(PARAMETERS, y, short_count(row.n_parameters), fontsize=9.5, color=INK, ha="right", va="center")


def draw_shortcuts(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw the shortcut of each residual block.

    It leads from behind the block's first convolution, and its pooling if there is one, to the end of its last.
    """
    x, out = CENTRE + HALF_WIDTH - 0.02, CENTRE + HALF_WIDTH + 0.015
    for end, row in enumerate(rows):
        if not row.adds:
            continue
        start = next(y for y, other in enumerate(rows) if other.block == row.block)
        if rows[start + 1].kind in POOLING:
            start += 1
        axes.plot([x, out, out, x + 0.012], [start, start, end, end], color=PURPLE, linewidth=1.4)
        axes.text(x, end, "+", fontsize=13, color=PURPLE, va="center", ha="center", weight="bold")
