from __future__ import annotations

import pytest

from fmnist.training.history import HistoryPoint
from search.records.models import ConfirmRecord, DataRecord
from search.refit.schedule import LARGEST_RESERVE, SEARCH_GIVES, Clock, full_training_images, stop_share


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


@pytest.mark.parametrize(("n_best", "n_last", "share"), [(238, 237, 1.0), (239, 239, 1.0), (239, 230, 0.1)])
def test_neither_one_image_nor_nothing_left_to_gain_stops_a_retraining(n_best: int, n_last: int, share: float) -> None:
    """Of 239 images so many are right at the best look and at the last, where patience ended the confirmation."""
    best, last = (HistoryPoint(n, 1.0, 0.1, 0.2, 0.9, 0.1, right / 239) for n, right in ((100, n_best), (600, n_last)))
    record = ConfirmRecord(1, "sampler", {}, 0, None, 0.9, 0.9, (best, last), best, 1000, 600, 1.0, "", 1.0)
    assert stop_share(record, 239) == share


def test_reserve_counts_finalists_and_retrainings() -> None:
    n_images = {"train": 100, "selection": 10, "confirmation": 10}
    data = DataRecord("d", "", {}, (), (8, 8, 1), n_images, {}, 1.0, 1.0, "", 0)
    one_worker = 10 * (3 * 0.4 * 100 + 3 * 120)
    assert full_training_images(10, data, n_refits=3, workers=1) == one_worker
    assert full_training_images(10, data, n_refits=3, workers=2) == one_worker / 2
