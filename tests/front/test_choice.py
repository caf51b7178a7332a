"""Which networks of a search become the front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest

from search.front.choice import LEAST_RATIO, MOST_POINTS, POINTS_TO_FILL, choose_points, name_points
from search.records.models import TrialRecord
from search.refit.finalists import Finalist, finalist_of
from tests.support.training.fake_trainer import recipe, trial


def sized(number: int, value: float | None, filters: int, **more) -> TrialRecord:
    """A complete trial whose multiply-adds are as many as its filters, times a thousand."""
    return trial(number, value, recipe=recipe(filters).to_dict(), multiply_adds=1000 * filters, **more)


def numbers_of(points: Sequence[Finalist]) -> list[int]:
    return [point.trial for point in points]


def chosen(trials: Sequence[TrialRecord]) -> list[int]:
    return numbers_of(choose_points(trials, "accuracy"))


def test_networks_that_no_cheaper_one_is_as_good_as_are_the_front_cheapest_first() -> None:
    trials = [sized(0, 0.95, 64), sized(1, 0.93, 16), sized(2, 0.9, 4), sized(3, 0.94, 32)]
    assert chosen(trials) == [2, 1, 3, 0]


def test_dominated_network_fills_a_place_that_is_left_but_only_far_from_the_others() -> None:
    near = sized(2, 0.92, int(16 * LEAST_RATIO) - 1)
    far = sized(3, 0.92, 64)
    assert chosen([sized(0, 0.95, 16), near, far]) == [0, 3]


def test_network_with_far_fewer_weights_is_another_choice_though_it_computes_as_much() -> None:
    large = sized(0, 0.95, 64, n_parameters=30_000)
    small, like_it = sized(1, 0.93, 62, n_parameters=9_000), sized(2, 0.92, 60, n_parameters=9_500)
    assert chosen([large, small, like_it]) == [1, 0]


def test_of_networks_of_nearly_one_size_the_best_is_in_wherever_the_others_lie() -> None:
    large, small = sized(0, 0.95, 100), sized(1, 0.9, 10)
    best = sized(2, 0.94, 40)
    central = sized(3, 0.91, int(40 / LEAST_RATIO) + 1)
    assert chosen([large, small, best, central]) == [1, 2, 0]


def test_dominated_networks_fill_no_more_than_the_fewest_places() -> None:
    dominated = [sized(1 + n, 0.9, 32 * 2**n) for n in range(7)]
    assert len(chosen([sized(0, 0.95, 16), *dominated])) == POINTS_TO_FILL


def test_places_are_spread_over_the_front() -> None:
    trials = [sized(n, 0.90 + 0.0005 * n, 4 + n) for n in range(100)]
    points = choose_points(trials, "accuracy")
    assert len(points) == MOST_POINTS
    sizes = [point.recipe.architecture.blocks[0].filters for point in points]
    assert (sizes[0], sizes[-1]) == (4, 103), "the cheapest and the most accurate"
    ratios = [math.log(b / a) for a, b in pairwise(sizes)]
    assert min(ratios) >= math.log(LEAST_RATIO) and max(ratios) < 3 * min(ratios)


def test_network_that_errs_far_more_often_than_the_best_is_left_out() -> None:
    assert chosen([sized(0, 0.95, 64), sized(1, 0.84, 8), sized(2, 0.86, 16)]) == [2, 0]


def test_network_with_few_errors_is_in_also_where_the_best_has_none() -> None:
    assert chosen([sized(0, 1.0, 64), sized(1, 0.89, 8), sized(2, 0.91, 16)]) == [2, 0]


def test_loss_is_compared_as_a_loss() -> None:
    trials = [sized(0, -0.2, 64), sized(1, -0.7, 8), sized(2, -0.55, 16)]
    assert numbers_of(choose_points(trials, "log_loss")) == [2, 0]


def test_default_is_always_in_also_where_it_is_dominated() -> None:
    trials = [sized(0, 0.8, 62, origin="default"), sized(1, 0.95, 60), sized(2, 0.93, 16)]
    assert chosen(trials) == [2, 1, 0]


def test_cheap_trial_that_was_pruned_is_in_where_no_other_as_cheap_came_as_far() -> None:
    def ended(number: int, filters: int, rung: int, accuracy: float) -> TrialRecord:
        return sized(number, None, filters, state="pruned", rung_images=rung, rung_accuracy=accuracy)

    complete = sized(0, 0.95, 64)
    assert chosen([complete, ended(1, 4, 64_000, 0.8)]) == [1, 0]
    assert chosen([complete, ended(1, 4, 64_000, 0.8), ended(2, 5, 16_000, 0.9)]) == [1, 2, 0], "fills a place"
    assert chosen([complete, ended(1, 63, 64_000, 0.8)]) == [0], "too near"


def test_no_network_is_chosen_where_no_trial_came_far_enough() -> None:
    assert chosen([sized(0, None, 4, state="failed")]) == []


@pytest.mark.parametrize(("filters", "name"), [(8, "194"), (64, "1.5k"), (512, "12k")])
def test_networks_are_named_by_their_weights(filters: int, name: str) -> None:
    (record,) = name_points(choose_points([sized(0, 0.9, filters)], "accuracy"))
    assert record.name == name
    assert record.trial == 0 and record.n_parameters > 0 and record.multiply_adds > 0


def test_networks_of_equal_size_have_names_of_their_own() -> None:
    points = [finalist_of(sized(number, 0.9, filters)) for number, filters in ((3, 8), (5, 64), (7, 64))]
    assert [record.name for record in name_points(points)] == ["194", "1.5k", "1.5k-trial-7"]
