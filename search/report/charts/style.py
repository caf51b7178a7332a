"""What do all charts have in common? Colours, sizes, axes, SVG and PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from rich.cells import cell_len, set_cell_size

from fmnist.metrics.intervals import Interval
from fmnist.output import printable
from fmnist.scoring import Metric, shown_value
from search.format import METRIC_WORDS, SHARES
from search.report.charts.plain import (
    Axes,
    Axis,
    Figure,
    FigureCanvasAgg,
    FigureCanvasSVG,
    FuncFormatter,
    MaxNLocator,
    drawing,
)

T = TypeVar("T")
# Okabe and Ito's colours, told apart with any colour vision
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#00795A", "#A6528A", "#6b6b6b"
INK, BLACK = "#222222", "#111111"
PART_STYLES = (  # of a learning curve: part, colour, line, label
    ("train", ORANGE, "--", "training (in the midst of learning)"),
    ("validation", BLUE, "-", "validation (selection split)"),
)
CSS_PIXELS_PER_INCH = 96
PNG_DPI = 130
LABEL_POINTS, TICK_POINTS = 10, 9  # sizes of letters; legends and bars have those of ticks
MANY_POINTS = 400  # above it, points go into the SVG as one bitmap, to keep the page light
MANY_CLASSES = 30  # above it, a confusion matrix is a picture without numbers, and tables of classes scroll
MOST_NAMED_CLASSES = 120  # above it, that picture has no names either


@dataclass(frozen=True)
class StateStyle:
    """How the trials of a state are drawn."""

    colour: str  # of the edge
    fill: str  # a colour, or "none"
    marker: str
    label: str  # in the legend


STATE_STYLES = {
    "complete": StateStyle(BLUE, BLUE, "o", "trained to the end"),
    "pruned": StateStyle(ORANGE, "none", "v", "stopped early (best so far)"),
    "failed": StateStyle(PURPLE, PURPLE, "X", "failed"),
    "infeasible": StateStyle(GREY, GREY, "s", "outside the limits"),
}


@dataclass(frozen=True)
class Medium:
    """What a chart is drawn for."""

    inches: float  # of its width; 72 points each, and a browser shows a point as 4/3 pixels
    is_narrow: bool

    def pick(self, page: T, phone: T) -> T:
        """Choose what suits the medium."""
        return phone if self.is_narrow else page

    def stack(self, figure: Figure, *, share_x: bool = False, share_y: bool = False) -> tuple[Axes, Axes]:
        """Divide a figure into two axes: side by side on a page, one above the other on a phone.

        Args:
            figure: an empty one.
            share_x: whether axes above each other have one horizontal axis.
            share_y: whether both have one vertical axis.
        """
        if self.is_narrow:
            first, second = figure.subplots(2, 1, sharex=share_x, sharey=share_y)
        else:
            first, second = figure.subplots(1, 2, sharey=share_y)
        return first, second


PAGE, PHONE = Medium(7.9, is_narrow=False), Medium(3.75, is_narrow=True)
Draw = Callable[[Figure, Medium], None]  # into an empty figure


@dataclass(frozen=True)
class Chart:
    """One chart, drawn for page and phone."""

    name: str  # of its file, without suffix
    alt: str  # what it shows, for those who don't see it
    wide_svg: bytes
    narrow_svg: bytes
    wide_width: int  # CSS pixels
    wide_height: int
    png: bytes


@drawing()
def make_chart(name: str, alt: str, draw: Draw) -> Chart:
    """Draw a chart in both widths.

    Args:
        name: of its file, without suffix.
        alt: what it shows, for those who don't see it.
        draw: draws it into an empty figure, and is told what that is for.

    Returns:
        The chart, as SVG in both widths and as PNG in that of the page.
    """
    figures = {}
    for medium in (PAGE, PHONE):
        figure = Figure(figsize=(medium.inches, medium.inches / 2), layout="constrained", facecolor="white")
        draw(figure, medium)
        figures[medium] = figure
    wide = figures[PAGE]
    width, height = np.round(CSS_PIXELS_PER_INCH * wide.get_size_inches()).astype(int).tolist()
    wide_svg = figure_svg(wide)
    wide.set_layout_engine("none")  # it is laid out: the PNG need not take that time again
    return Chart(name, alt, wide_svg, figure_svg(figures[PHONE]), width, height, figure_png(wide))


def figure_svg(figure: Figure) -> bytes:
    """A figure as an SVG file, the same bytes for the same figure: without a date, letters as paths."""
    stream = io.BytesIO()
    with drawing():
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def figure_png(figure: Figure) -> bytes:
    """A figure as a PNG file, the same bytes for the same figure."""
    stream = io.BytesIO()
    figure.set_dpi(PNG_DPI)
    with drawing():
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def clean(axes: Axes, *, grid: Literal["x", "y", "both"] = "y") -> None:
    """Leave the frame and all but the quiet lines of a grid away.

    Args:
        axes: to tidy up.
        grid: across which of them the lines go.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=TICK_POINTS)


def label_axes(axes: Axes, *, x: str | None = None, y: str | None = None) -> None:
    """Name what the axes show."""
    if x is not None:
        axes.set_xlabel(x, fontsize=LABEL_POINTS)
    if y is not None:
        axes.set_ylabel(y, fontsize=LABEL_POINTS)


def label_percent(axis: Axis, *, digits: int = 3) -> None:
    """Write an axis of shares in percent.

    Args:
        axis: one of a chart's two.
        digits: behind the point at most; zeros at the end go.
    """
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, digits):g}"))


def round_ticks(axis: Axis, n_ticks: int = 6) -> None:
    """Put ticks at round places, so many spaces at most."""
    axis.set_major_locator(MaxNLocator(n_ticks, steps=[1, 2, 5, 10]))


def percent_axis(axes: Axes) -> None:
    """Write the vertical axis of shares in percent, at round places."""
    label_percent(axes.yaxis)
    round_ticks(axes.yaxis)


def score_axis(axis: Axis, metric: Metric) -> None:
    """Write an axis of scores as people know the metric: shares in percent, log loss as positive; better is further."""
    if metric in SHARES:
        label_percent(axis)
    elif metric == "log_loss":
        axis.set_major_formatter(FuncFormatter(lambda score, _: f"{shown_value(metric, score):g}"))
    round_ticks(axis)


def score_label(metric: Metric) -> str:
    """Name an axis of scores, such as `balanced accuracy (%)`."""
    return f"{METRIC_WORDS[metric]} (%)" if metric in SHARES else METRIC_WORDS[metric]


def legend_above(figure: Figure, n_columns: int, axes: Axes | None = None) -> None:
    """Put a legend above the axes.

    Args:
        figure: whose axes they are.
        n_columns: of the legend.
        axes: whose entries it has; None takes those of all.
    """
    entries: tuple[Any, ...] = ()
    if axes is not None:
        entries = axes.get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper left", ncols=n_columns, fontsize=TICK_POINTS, frameon=False)


def reach(value: float, interval: Interval) -> tuple[float, float]:
    """How far an interval reaches below a value and above it, as Matplotlib's error bars want it."""
    return value - interval.low, interval.high - value


def fitting(name: str, limit: int = 24) -> str:
    """Cut a name to the room there is, and keep its dollar signs from beginning a formula.

    Args:
        name: of a class, a parameter or a study.
        limit: letters that there is room for; those of Chinese, Japanese and Korean take two.
    """
    shown = printable(name)
    if cell_len(shown) > limit:
        shown = f"{set_cell_size(shown, limit - 1).rstrip()}…"
    return shown.replace("$", r"\$")
