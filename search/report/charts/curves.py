"""How is a learning curve drawn? In reports, over epochs, and in the dashboard, over the images of all rungs."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist.training.history import HistoryPoint
from search.report.charts.plain import Axes
from search.report.charts.style import BLACK

BEST_LABEL = "best point"


def plot_part(
    axes: Axes,
    places: Sequence[float],
    points: Sequence[HistoryPoint],
    attribute: str,
    *,
    style: tuple[str, str],
    label: str | None,
    marker: tuple[str | None, float],
) -> None:
    """Draw one figure of a training over its points, without those that lack it.

    Args:
        axes: to draw into.
        places: of the points, on the horizontal axis.
        points: of the training.
        attribute: of a HistoryPoint, such as "train_loss".
        style: colour and line.
        label: in the legend; None for none.
        marker: of each point, and its size.
    """
    drawn = []
    for place, point in zip(places, points, strict=True):
        value = getattr(point, attribute)
        if value is not None:
            drawn.append((place, value))
    if drawn:
        colour, line = style
        kind, size = marker
        axes.plot(
            *zip(*drawn, strict=True), line, color=colour, linewidth=1.6, label=label, marker=kind, markersize=size
        )


def mark_best(axes: Axes, place: float, value: float, size: float, *, clip: bool = True) -> None:
    """Put a star at the best point of a training. clip: leave out what of the star lies beyond the axes."""
    axes.plot(place, value, "*", color=BLACK, markersize=size, label=BEST_LABEL, zorder=4, clip_on=clip)
