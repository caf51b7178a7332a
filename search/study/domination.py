"""Which networks are on the front of accuracy against cost, and in which order do they deserve more training?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def fronts(scores: Sequence[float], costs: Sequence[float]) -> Iterator[list[int]]:
    """Sort networks by non-domination: of each front in turn, yield the indices, the cheapest first.

    The first front has every network that no other one dominates, the second those that only the first one's do, and
    so on (Deb et al. 2002). One dominates another if it scores no less and costs no more; of equal ones the first does.

    Args:
        scores: Of each network; larger is better.
        costs: Of each network; smaller is better.
    """
    rest = sorted(range(len(scores)), key=lambda i: (costs[i], -scores[i]))
    while rest:
        front, dominated, best = [], [], -np.inf
        for i in rest:
            if scores[i] > best:
                front.append(i)
                best = scores[i]
            else:
                dominated.append(i)
        yield front
        rest = dominated


def spread_first(scores: Sequence[float], costs: Sequence[float]) -> Iterator[int]:
    """Yield all indices, front by front; within a front the best score first, then always the one furthest from those.

    That is the order in which multi-objective asynchronous successive halving promotes (its epsilon-net strategy,
    Schmucker et al. 2021). Distances are relative to the range of the front.

    Args:
        scores: Of each network; larger is better.
        costs: Of each network; smaller is better.
    """
    for front in fronts(scores, costs):
        points = np.array([(scores[i], costs[i]) for i in front], float)
        extent = np.ptp(points, axis=0)
        points = points / np.where(extent > 0, extent, 1.0)
        distances = np.full(len(front), np.inf)  # to the nearest that came before
        place = len(front) - 1  # the costliest of a front scores best
        for _ in front:
            yield front[place]
            to_this = np.linalg.norm(points - points[place], axis=1)
            distances = np.minimum(distances, to_this)
            distances[place] = -1.0  # never again
            place = int(np.argmax(distances))
