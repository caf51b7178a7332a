"""benchmark.png: every contender's anytime curve, a line for the mean and a band over the seeds.

Matplotlib's object interface only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from tests.benchmarks.peers.curves import Curve, accuracy_at
from tests.benchmarks.peers.records import TITLES, Outcome

STYLES = {  # Okabe and Ito's colours, told apart with any colour vision; dashes besides, for the printed page
    "ours": ("#0072B2", "-", 2.6),
    "ours-small-space": ("#56B4E9", "-", 1.8),
    "optuna": ("#D55E00", "-", 1.8),
    "keras-tuner": ("#E69F00", "-", 1.8),
    "random": ("#009E73", (0, (5, 1.5)), 1.6),
    "i-epoch": ("#CC79A7", (0, (5, 1.5)), 1.6),
    "default": ("#333333", (0, (1.5, 1.2)), 1.6),
}
N_TIMES = 400  # at which curves are averaged
EARLY_SHARE = 1 / 12  # of the time: the vertical axis begins with the middle contender's accuracy there
LABEL_GAP = 0.045  # of the axis' height, between two labels at least


def draw(outcomes: Sequence[Outcome], seconds: float, path: Path) -> None:
    """Write the picture. seconds: what each contender was given, and where the time axis ends.

    A contender that had validated nothing by then, with any seed, has no line; a note names it.
    """
    figure = Figure(figsize=(9, 5.4), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    curves = {name: [o.curve for o in outcomes if o.contender == name] for name in TITLES}
    in_time = {name: group for name, group in curves.items() if group and _all_in_time(group, seconds)}
    late = [TITLES[name] for name, group in curves.items() if group and name not in in_time]
    earliest = min((curve[0].seconds for group in in_time.values() for curve in group), default=seconds / 2)
    times = np.geomspace(max(earliest, seconds / 1000), seconds, N_TIMES)
    levels = {name: _levels(group, times) for name, group in in_time.items()}
    low, high = _limits(levels, times, seconds)
    for name, level in levels.items():
        _draw_contender(axes, name, times, level)
    _dress(axes, 0.9 * _first_time_shown(levels, times, low), seconds, low, high)
    _label_ends(axes, {name: level[-1].mean() for name, level in levels.items()}, seconds, low, high)
    if late:
        note = f"nothing validated in time: {', '.join(late)}"
        axes.text(0.01, 0.98, note, transform=axes.transAxes, va="top", fontsize=9, color="#6b6b6b")
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def _all_in_time(group: Sequence[Curve], seconds: float) -> bool:
    return all(accuracy_at(curve, seconds) is not None for curve in group)


def _levels(group: Sequence[Curve], times: np.ndarray) -> np.ndarray:
    """Accuracy so far: float (n_times, n_seeds), NaN before the first validation."""
    return np.array([[accuracy_at(curve, time) or np.nan for curve in group] for time in times])


def _draw_contender(axes: Axes, name: str, times: np.ndarray, levels: np.ndarray) -> None:
    """A line from where every seed has been validated once."""
    colour, dashes, width = STYLES[name]
    if levels.shape[1] > 1:
        axes.fill_between(
            times, levels.min(axis=1), levels.max(axis=1), color=colour, alpha=0.15, linewidth=0, step="post"
        )
    axes.plot(times, levels.mean(axis=1), color=colour, linestyle=dashes, linewidth=width, drawstyle="steps-post")


def _limits(levels: dict[str, np.ndarray], times: np.ndarray, seconds: float) -> tuple[float, float]:
    """The vertical axis. The first steep minutes, and who is still far behind, come in from below."""
    if not levels:
        return 0.0, 1.0
    early = int(np.searchsorted(times, EARLY_SHARE * seconds))
    firsts = [level[early:][np.isfinite(level[early:])].min() for level in levels.values()]
    low, high = float(np.median(firsts)), max(np.nanmax(level) for level in levels.values())
    low = min(low, *(level[-1].min() for level in levels.values()))  # every end is in the picture
    margin = max(0.05 * (high - low), 0.001)
    return low - margin, high + margin


def _first_time_shown(levels: dict[str, np.ndarray], times: np.ndarray, low: float) -> float:
    """When the first curve comes in from below."""
    return min((times[(level >= low).any(axis=1).argmax()] for level in levels.values()), default=times[0])


def _dress(axes: Axes, first: float, seconds: float, low: float, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(first, seconds)
    axes.set_ylim(low, high)
    axes.set_xticks(_ticks(first, seconds))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 3):g}"))
    axes.set_xlabel("wall seconds")
    axes.set_title("Best validation accuracy so far, %", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)


def _ticks(first: float, seconds: float) -> list[float]:
    """The halves of the whole time: the table speaks of the first two of them."""
    ticks = [seconds]
    while ticks[-1] / 2 >= first:
        ticks.append(ticks[-1] / 2)
    return ticks


def _label_ends(axes: Axes, ends: dict[str, float], seconds: float, low: float, high: float) -> None:
    """Name each curve at its end, in its colour, moved apart where two would touch."""
    for name, height in zip(ends, spread(list(ends.values()), low, high, LABEL_GAP * (high - low)), strict=True):
        axes.annotate(
            f"{TITLES[name]}  {100 * ends[name]:.2f}",
            xy=(seconds, ends[name]),
            xytext=(1.045, (height - low) / (high - low)),
            textcoords="axes fraction",
            color=STYLES[name][0],
            fontsize=10,
            fontweight="bold" if name == "ours" else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": STYLES[name][0],
                "linewidth": 0.7,
                "shrinkA": 2,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def spread(heights: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """The heights, moved so that any two are a gap apart, in the same order, within low and high where they fit."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = [0.0] * len(heights)
    floor = low
    for rank, index in enumerate(order):
        n_above = len(order) - rank - 1
        placed[index] = max(floor, min(heights[index], high - gap * n_above))
        floor = placed[index] + gap
    return placed
