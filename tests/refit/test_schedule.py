"""How time is divided among what follows the search."""

from __future__ import annotations

import pytest

from fmnist.training.history import HistoryPoint
from search.records.models import ConfirmRecord, DataRecord
from search.refit.schedule import (
    CONFIRM_LENGTH,
    CONFIRM_SHARE_OF_TIME,
    LARGEST_RESERVE,
    SEARCH_GIVES,
    SHARE_OF_TIME,
    Clock,
    confirmation_share,
    full_training_images,
    retraining_share,
    share_that_fits,
    stop_share,
)


class Now:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


def test_without_a_timeout_nothing_is_limited(now: Now) -> None:
    clock = Clock(None, now)
    now.seconds += 1e9
    assert clock.seconds_left() is None
    assert clock.seconds_left_for_search(10**9, [1.0]) is None
    assert retraining_share(clock.seconds_left(), 1e9) == 1.0
    assert confirmation_share(clock.seconds_left(), 1e9, 1e9, [], 1000) == CONFIRM_LENGTH


def test_seconds_left_counts_from_the_making_of_the_clock(now: Now) -> None:
    clock = Clock(60, now)
    assert clock.seconds_left() == 60
    now.seconds += 45
    assert clock.seconds_left() == 15


def test_seconds_left_never_falls_below_zero(now: Now) -> None:
    clock = Clock(60, now)
    now.seconds += 61
    assert clock.seconds_left() == 0
    assert clock.seconds_left_for_search(100, [10.0]) == 0


def test_search_leaves_the_time_of_the_full_trainings(now: Now) -> None:
    clock = Clock(100, now)
    assert clock.seconds_left_for_search(full_images=2000, speeds=[100.0]) == 80
    now.seconds += 30
    assert clock.seconds_left_for_search(full_images=2000, speeds=[100.0]) == 50


def test_slowest_finalist_decides_what_is_kept_back(now: Now) -> None:
    assert Clock(100, now).seconds_left_for_search(2000, [400.0, 50.0, 100.0]) == 60


def test_search_has_what_is_no_reserve_while_no_speed_is_known(now: Now) -> None:
    assert Clock(100, now).seconds_left_for_search(2000, []) == pytest.approx(100 * (1 - LARGEST_RESERVE))


@pytest.mark.parametrize(("speed", "given"), [(2000 / 70, 0.0), (2000 / 140, 0.5), (1e-6, 1.0)])
def test_search_gives_way_as_the_full_trainings_fit_less(now: Now, speed: float, given: float) -> None:
    own = 100 * (1 - LARGEST_RESERVE)
    assert Clock(100, now).seconds_left_for_search(2000, [speed]) == pytest.approx(own * (1 - SEARCH_GIVES * given))


def test_search_is_over_once_only_the_reserve_is_left(now: Now) -> None:
    clock = Clock(100, now)
    now.seconds += 85
    assert clock.seconds_left_for_search(2000, [100.0]) == 0


def test_whole_training_fits_into_ample_time() -> None:
    assert share_that_fits(100, 10) == 1.0
    assert retraining_share(100, 100 * SHARE_OF_TIME) == 1.0


def test_share_shrinks_with_the_time_left_and_stays_above_zero_when_it_is_over() -> None:
    assert retraining_share(100, 200) == pytest.approx(SHARE_OF_TIME / 2)
    assert retraining_share(50, 200) == pytest.approx(SHARE_OF_TIME / 4)
    assert 0 < retraining_share(0, 200) < 0.01


def test_confirmation_gives_way_to_the_retraining_by_the_square_of_the_share_that_fits() -> None:
    seconds = CONFIRM_LENGTH * 100 + 60
    assert confirmation_share(seconds / SHARE_OF_TIME, 100, 60, [], 1000) == CONFIRM_LENGTH
    assert confirmation_share(seconds / SHARE_OF_TIME / 2, 100, 60, [], 1000) == pytest.approx(CONFIRM_LENGTH / 4)


@pytest.mark.parametrize(
    ("searched", "share"),
    [
        ([100, 100], 0.1),  # as long as what two finalists were chosen by
        ([100], 0.0),  # one tells nothing of another
        ([900, 250], CONFIRM_SHARE_OF_TIME),  # no longer than the time allows
    ],
)
def test_confirmation_is_as_long_as_the_second_longest_search_if_time_allows(searched: list[int], share: float) -> None:
    assert confirmation_share(100, 100, 1e6, searched, 1000) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize(("n_best", "n_last", "share"), [(238, 237, 1.0), (239, 239, 1.0), (239, 230, 0.1)])
def test_neither_one_image_nor_nothing_left_to_gain_stops_a_retraining(n_best: int, n_last: int, share: float) -> None:
    """Of 239 images so many are right at the best evaluation and at the last, where patience ended the confirmation."""
    best, last = (HistoryPoint(n, 1.0, 0.1, 0.2, 0.9, 0.1, right / 239) for n, right in ((100, n_best), (600, n_last)))
    record = ConfirmRecord(1, "sampler", {}, 0, None, 0.9, 0.9, (best, last), best, 1000, 600, 1.0, "", 1.0)
    assert stop_share(record, 239) == share


def test_reserve_counts_finalists_and_retrainings() -> None:
    n_images = {"train": 100, "selection": 10, "confirmation": 10}
    data = DataRecord("d", "", {}, (), (8, 8, 1), n_images, {}, 1.0, 1.0, "", 0)
    one_worker = 10 * (3 * 0.4 * 100 + 3 * 120)
    assert full_training_images(10, data, n_refits=3, workers=1) == one_worker
    assert full_training_images(10, data, n_refits=3, workers=2) == one_worker / 2
