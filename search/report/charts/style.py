"""What all charts have in common: colours, sizes, SVG and PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# Okabe and Ito's colours, told apart with any colour vision
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#00795A", "#A6528A", "#6b6b6b"
STATE_STYLES = {  # state -> colour, marker, label
    "complete": (BLUE, "o", "trained to the end"),
    "pruned": (ORANGE, "v", "stopped early (best so far)"),
    "failed": (PURPLE, "X", "failed"),
    "infeasible": (GREY, "s", "outside the limits"),
}
PAGE_INCHES, PHONE_INCHES = 7.9, 3.75  # 72 points each; a browser shows a point as 4/3 pixels
PNG_DPI = 130
MANY_POINTS = 400  # above it, points go into the SVG as one bitmap, to keep the page light
MANY_CLASSES = 30  # above it, a confusion matrix is a picture without numbers, and tables of classes scroll
MOST_NAMED_CLASSES = 120  # above it, that picture has no names either
SVG_STYLE = {"svg.fonttype": "path", "svg.hashsalt": "report"}  # the same records give the same bytes
Draw = Callable[[Figure, bool], None]  # (empty figure, whether it is for a phone)


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


def make_chart(name: str, alt: str, draw: Draw) -> Chart:
    wide, narrow = _drawn(draw, PAGE_INCHES, False), _drawn(draw, PHONE_INCHES, True)
    width, height = (round(96 * inches) for inches in wide.get_size_inches())
    return Chart(name, alt, _svg(wide), _svg(narrow), width, height, figure_png(wide))


def _drawn(draw: Draw, width_inches: float, is_narrow: bool) -> Figure:
    figure = Figure(figsize=(width_inches, width_inches / 2), layout="constrained", facecolor="white")
    draw(figure, is_narrow)
    return figure


def _svg(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with matplotlib.rc_context(SVG_STYLE), _without_word_of_missing_glyphs():
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def figure_png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.set_dpi(PNG_DPI)
    with _without_word_of_missing_glyphs():
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


@contextmanager
def _without_word_of_missing_glyphs() -> Iterator[None]:
    """Matplotlib's font lacks some scripts: names in them are boxes in pictures, and right in the page."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def clean(axes: Axes, *, grid: str = "y") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def percent_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 3):g}"))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def fitting(name: str, limit: int = 24) -> str:
    """As much of a name as there is room for; its dollar signs begin no formula."""
    shown = name if len(name) <= limit else f"{name[: limit - 1]}…"
    return shown.replace("$", r"\$")
