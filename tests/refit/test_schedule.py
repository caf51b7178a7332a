from __future__ import annotations

import pytest

from search.refit.schedule import LARGEST_RESERVE, SEARCH_GIVES, Clock


class Now:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


def test_without_a_timeout_nothing_is_limited(now):
    clock = Clock(None, now)
    now.seconds += 1e9
    assert clock.seconds_left() is None
    assert clock.seconds_left_for_search(10**9, [1.0]) is None
    assert clock.share_that_fits(10**9, 1.0) == 1.0


def test_seconds_left_counts_from_the_making_of_the_clock(now):
    clock = Clock(60, now)
    assert clock.seconds_left() == 60
    now.seconds += 45
    assert clock.seconds_left() == 15


def test_seconds_left_never_falls_below_zero(now):
    clock = Clock(60, now)
    now.seconds += 61
    assert clock.seconds_left() == 0
    assert clock.seconds_left_for_search(100, [10.0]) == 0


def test_search_leaves_the_time_of_the_full_trainings(now):
    clock = Clock(100, now)
    assert clock.seconds_left_for_search(full_images=2000, speeds=[100.0]) == 80
    now.seconds += 30
    assert clock.seconds_left_for_search(full_images=2000, speeds=[100.0]) == 50


def test_slowest_finalist_decides_what_is_kept_back(now):
    assert Clock(100, now).seconds_left_for_search(2000, [400.0, 50.0, 100.0]) == 60


def test_search_has_what_is_no_reserve_while_no_speed_is_known(now):
    assert Clock(100, now).seconds_left_for_search(2000, []) == pytest.approx(100 * (1 - LARGEST_RESERVE))


@pytest.mark.parametrize(("speed", "given"), [(2000 / 70, 0.0), (2000 / 140, 0.5), (1e-6, 1.0)])
def test_search_gives_way_as_the_full_trainings_fit_less(now, speed, given):
    own = 100 * (1 - LARGEST_RESERVE)
    assert Clock(100, now).seconds_left_for_search(2000, [speed]) == pytest.approx(own * (1 - SEARCH_GIVES * given))


def test_search_is_over_once_only_the_reserve_is_left(now):
    clock = Clock(100, now)
    now.seconds += 85
    assert clock.seconds_left_for_search(2000, [100.0]) == 0


def test_whole_training_fits_into_ample_time(now):
    assert Clock(100, now).share_that_fits(n_images=1000, images_per_second=100) == 1.0


def test_share_shrinks_with_the_time_left_and_its_own_part_of_it(now):
    clock = Clock(100, now)
    assert clock.share_that_fits(20_000, 100) == pytest.approx(0.5)
    assert clock.share_that_fits(20_000, 100, share_of_time=0.5) == pytest.approx(0.25)
    now.seconds += 50
    assert clock.share_that_fits(20_000, 100) == pytest.approx(0.25)


def test_share_stays_above_zero_when_time_is_over(now):
    clock = Clock(100, now)
    now.seconds += 200
    assert 0 < clock.share_that_fits(20_000, 100) < 0.01
