"""What is drawn of the front? A still picture for every reader, and what the page's own script draws from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from search.format import percent, percent_range, tick_count
from search.report.analysis.front import KINDS, FrontView, PlottedNetwork, shown_cost
from search.report.charts.plain import Axes, Figure, FuncFormatter, NullFormatter
from search.report.charts.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    TICK_POINTS,
    Chart,
    Medium,
    clean,
    fitting,
    label_axes,
    legend_above,
    make_chart,
    percent_axis,
    reach,
)

TRIALS_LABEL = "trials of the search (selection accuracy)"
TRIAL_COLOUR = "#b4b4b4"


@dataclasses.dataclass(frozen=True)
class KindStyle:
    """How the networks of a kind are drawn, see `KINDS`."""

    colour: str
    fill: str  # a colour, or "none"
    marker: str  # Matplotlib's; the page's script knows the same ones


STYLES = {
    "best": KindStyle(ORANGE, ORANGE, "D"),
    "point": KindStyle(BLUE, BLUE, "o"),
    "dominated": KindStyle(BLUE, "white", "o"),
    "ensemble": KindStyle(PURPLE, "white", "s"),
    "baseline": KindStyle(GREY, "white", "^"),
}


def front_chart(view: FrontView) -> Chart:
    """Draw one view of the front: every network's test accuracy with its interval, trials of the search behind them.

    Args:
        view: The costs of what is drawn; at least one network.
    """
    said = [f"{network.name} {percent(network.accuracy)}" for network in view.networks]
    alt = f"Accuracy on the test images against {view.axis}: {', '.join(said)}."

    def draw(figure: Figure, medium: Medium) -> None:
        figure.set_figheight(medium.pick(4.2, 5.4))
        axes = figure.add_subplot()
        if view.trials:
            x, y = np.transpose(view.trials)
            axes.scatter(x, y, s=9, c=TRIAL_COLOUR, linewidths=0, label=TRIALS_LABEL, rasterized=True)
        if view.best_baseline is not None:
            name, accuracy = view.best_baseline
            label = f"the best baseline, {fitting(name)}"
            axes.axhline(accuracy, color=GREY, linewidth=1, linestyle="--", label=label)
        named_below = names_below(view.networks, medium.pick(0.08, 0.2))
        for kind, label in KINDS.items():
            networks = [network for network in view.networks if network.kind == kind]
            if networks:
                _draw_networks(axes, networks, STYLES[kind], label, named_below)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_of(view, value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(view.low, view.high)
        percent_axis(axes)
        label_axes(axes, x=view.axis, y="accuracy on the test images (%)")
        clean(axes, grid="both")
        legend_above(figure, medium.pick(2, 1))

    return make_chart("front", alt, draw)


def names_below(networks: Sequence[PlottedNetwork], share: float) -> set[str]:
    """Return whose names stand below, not above: of two neighbours whose names would meet, the less accurate one's.

    Args:
        networks: All that are named, at least one.
        share: Of the axis, from the cheapest to the costliest, that a name takes.
    """
    ordered = sorted(networks, key=lambda network: network.cost)
    room = share * math.log(ordered[-1].cost / ordered[0].cost)
    below: set[str] = set()
    for before, network in pairwise(ordered):
        if math.log(network.cost / before.cost) <= room and not below & {before.name, network.name}:
            below.add(network.name if network.accuracy <= before.accuracy else before.name)
    return below


def _draw_networks(
    axes: Axes, networks: Sequence[PlottedNetwork], style: KindStyle, label: str, named_below: Collection[str]
) -> None:
    """Draw networks of one kind with their intervals and names: these below, so that neighbours' have room."""
    x, y = [network.cost for network in networks], [network.accuracy for network in networks]
    errors = [(0.0, 0.0) if it.interval is None else reach(it.accuracy, it.interval) for it in networks]
    if any(network.interval for network in networks):
        axes.errorbar(
            x, y, yerr=np.maximum(np.transpose(errors), 0), fmt="none", ecolor=style.colour, capsize=3, elinewidth=1.2
        )
    axes.scatter(x, y, s=38, c=style.fill, edgecolors=style.colour, marker=style.marker, label=label, zorder=3)
    for network, (below, above) in zip(networks, errors, strict=True):
        end, offset, side = network.accuracy + above, 5, "bottom"
        if network.name in named_below:
            end, offset, side = network.accuracy - below, -5, "top"
        axes.annotate(
            fitting(network.name, 14), (network.cost, end), xytext=(0, offset), textcoords="offset points",
            ha="center", va=side, fontsize=TICK_POINTS, color=style.colour, zorder=4,
        )  # fmt: skip


def tick_of(view: FrontView, value: float) -> str:
    """Write the cost at a tick of an axis: `500 k`, `20 kB`, `0.05 ms`."""
    if view.cost.name == "ms":
        return f"{value:g} ms"
    if view.cost.name == "bytes":
        return f"{value:g} bytes" if value < 1000 else f"{tick_count(value)}B"
    return tick_count(value)


def page_data(views: Sequence[FrontView]) -> list[dict[str, Any]]:
    """Turn the views into what the page's script draws from, in JSON's types, all texts ready to be shown."""
    found = []
    for view in views:
        found.append(
            {
                "key": view.key,
                "axis": view.axis,
                "cost": view.cost.name,
                "low": view.low,
                "high": view.high,
                "networks": [_network_data(view, network) for network in view.networks],
                "baseline": None if view.best_baseline is None else view.best_baseline[1],
                "trials": [[round(cost), round(accuracy, 5)] for cost, accuracy in view.trials],
            }
        )
    return found


def _network_data(view: FrontView, network: PlottedNetwork) -> dict[str, Any]:
    interval = network.interval
    accuracy = percent(network.accuracy)
    if interval is not None:
        accuracy = f"{accuracy}, 95 % interval {percent_range(interval)}"
    links = {"ensemble": "#ensemble", "baseline": "#trust"}
    return {
        "name": network.name,
        "kind": network.kind,
        "cost": network.cost,
        "accuracy": network.accuracy,
        "interval": None if interval is None else [interval.low, interval.high],
        "link": links.get(network.kind, f"#front-{network.name}"),
        "lines": [shown_cost(view.cost, network.cost), f"accuracy {accuracy}", KINDS[network.kind]],
        "about": network.about,
    }
