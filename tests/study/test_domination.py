"""Which networks are on the front, and which of them deserve more training first."""

from __future__ import annotations

import numpy as np

from search.study.domination import fronts, spread_first


def dominates(scores: np.ndarray, costs: np.ndarray, a: int, b: int) -> bool:
    return scores[a] >= scores[b] and costs[a] <= costs[b] and (scores[a] > scores[b] or costs[a] < costs[b])


def test_every_network_is_dominated_by_one_of_the_front_before_its_own_and_by_none_of_its_own() -> None:
    rng = np.random.default_rng(0)
    scores, costs = rng.integers(0, 12, 60) / 12, rng.integers(1, 12, 60).astype(float)
    found = list(fronts(scores.tolist(), costs.tolist()))
    assert sorted(i for front in found for i in front) == list(range(60))
    for place, front in enumerate(found):
        assert not any(dominates(scores, costs, a, b) for a in front for b in front)
        for i in front if place else []:
            before = found[place - 1]
            assert any(scores[a] >= scores[i] and costs[a] <= costs[i] for a in before)


def test_cheapest_of_a_front_comes_first() -> None:
    assert list(fronts([0.9, 0.5, 0.7], [30, 10, 20])) == [[1, 2, 0]]


def test_equal_networks_are_one_of_the_front() -> None:
    assert list(fronts([0.9, 0.9], [10, 10])) == [[0], [1]]


def test_most_accurate_is_first_then_what_is_furthest_from_it_then_the_gap_between() -> None:
    costs = [1.0, 2.5, 5.0, 9.0, 10.0]
    assert list(spread_first([0.1, 0.25, 0.5, 0.9, 1.0], costs)) == [4, 0, 2, 1, 3]


def test_dominated_networks_come_after_the_whole_front() -> None:
    order = list(spread_first([0.9, 0.89, 0.5], [10.0, 11.0, 1.0]))
    assert order == [0, 2, 1]


def test_every_network_comes_once_where_all_are_alike() -> None:
    assert sorted(spread_first([0.5] * 4, [1.0] * 4)) == [0, 1, 2, 3]
