"""Matplotlib as it is delivered, whatever the user has set. No other module imports it.

A notebook's MPLBACKEND, a matplotlibrc, or a style that the caller's script uses would otherwise change a report's
pictures, or end the run. Matplotlib's settings are one table for all threads, so one thread draws at a time.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fmnist.errors import UserError

BACKEND = "MPLBACKEND"  # the variable


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Matplotlib from logging what a user of this program can do nothing about, such as its slow start."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def load_matplotlib() -> None:
    """Import Matplotlib, also where $MPLBACKEND names what this Python does not have.

    Matplotlib itself refuses to be imported then. Every notebook's kernel sets the variable, also for what it starts.

    Raises:
        UserError: A matplotlibrc cannot be read. (Lines in it that make no sense do not matter.)
    """
    backend = None
    if "matplotlib" not in sys.modules:
        backend = os.environ.pop(BACKEND, None)
    try:
        import matplotlib
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "Matplotlib must be able to read its settings, matplotlibrc in this folder, $MATPLOTLIBRC or "
            f"~/.config/matplotlib, but: {error}; repair that file, or move it away"
        ) from error
    finally:
        if backend is not None:
            os.environ[BACKEND] = backend
    if backend is not None:
        with suppress(ValueError):  # the caller's own pictures would not be drawn by it either
            matplotlib.rcParams["backend"] = backend


with _silent():
    load_matplotlib()
    import matplotlib
    from matplotlib import ft2font
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.font_manager import findSystemFonts, fontManager
    from matplotlib.patches import Patch, Rectangle
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

__all__ = [
    "Axes",
    "Axis",
    "Figure",
    "FigureCanvasAgg",
    "FigureCanvasSVG",
    "FuncFormatter",
    "ListedColormap",
    "MaxNLocator",
    "NullFormatter",
    "Patch",
    "Rectangle",
    "drawing",
    "findSystemFonts",
    "ft2font",
    "usual_font",
]

USUAL_FAMILY = "DejaVu Sans"  # comes with Matplotlib
SETTINGS: dict[Any, Any] = {
    # Without the backend, which is for windows: rcdefaults would load pyplot to choose the caller's.
    **{name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"},
    "svg.hashsalt": "report",  # the same records give the same bytes
}
_one_at_a_time = threading.RLock()
_open: list[tuple[str, ...]] = []  # fonts of each `drawing` under way, one within the other


@contextmanager
def drawing(fonts: Iterable[str] = ()) -> Iterator[None]:
    """Draw with Matplotlib's own settings in the block; what the caller has set holds again afterwards.

    Figures have to be made and written in such a block. One within another keeps the settings and fonts of that.

    Args:
        fonts: Paths of fonts for what the usual one lacks, the first that has a character counts.
    """
    with _one_at_a_time, _silent(), warnings.catch_warnings(), matplotlib.rc_context():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # `search.report.charts.fonts` tells of them once
        if not _open:
            warnings.filterwarnings("ignore", category=matplotlib.MatplotlibDeprecationWarning)  # of its own settings
            matplotlib.rcParams.update(SETTINGS)
        known = list(fontManager.ttflist)
        paths = (*(_open[-1] if _open else ()), *fonts)
        matplotlib.rcParams["font.family"] = [USUAL_FAMILY, *map(_family, paths)]
        _open.append(paths)
        try:
            yield
        finally:
            _open.pop()
            fontManager.ttflist[:] = known


def _family(path: str) -> str:
    """The family of a font, by which Matplotlib finds it: also if it was installed after Matplotlib's last look."""
    if all(entry.fname != path for entry in fontManager.ttflist):
        fontManager.addfont(path)
    return ft2font.FT2Font(path).family_name


def usual_font() -> str:
    """Return the path of the font in which everything is written that it has letters for."""
    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
