"""How time is divided among what follows the search."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.records.models import ConfirmRecord, DataRecord
from search.refit.round import speed_of_one_worker
from search.refit.schedule import (
    FINALIST_LENGTH,
    LONGEST_BESIDE_STUDENTS,
    MOST_FINALISTS,
    MOST_LENGTHS,
    MOST_OF_TESTING,
    N_FINALISTS,
    SEARCH_SHARE,
    SECONDS_OF_TESTING,
    SHARE_KEPT,
    SHARE_OF_TIME,
    STUDENT_LENGTH,
    STUDENT_TO_FINALIST,
    Clock,
    FinalistsPlan,
    full_evaluation_interval,
    has_time_for_students,
    list_schedule,
    n_parallel_trainings,
    n_searched_images,
    plan_finalists,
    seconds_of_testing,
    seconds_sharing,
    seconds_together,
    share_of_further_training,
    share_that_fits,
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
    assert clock.seconds_left_for_search() is None
    assert clock.seconds_left_for_training() is None
    plan = plan_finalists(None, [1e9 * n for n in range(1, 9)], students_in_full=1e9, retrainings_in_full=1e9)
    assert (plan.n_finalists, plan.share, plan.seconds_kept) == (N_FINALISTS, FINALIST_LENGTH, 0.0)
    assert share_of_further_training(None, 1e9) == STUDENT_LENGTH


def test_seconds_left_counts_from_the_making_of_the_clock(now: Now) -> None:
    clock = Clock(60, now)
    assert clock.seconds_left() == 60
    now.seconds += 45
    assert clock.seconds_left() == 15


def test_seconds_left_never_fall_below_zero(now: Now) -> None:
    clock = Clock(60, now)
    now.seconds += 61
    assert clock.seconds_left() == clock.seconds_left_for_search() == clock.seconds_left_for_training() == 0


def test_search_ends_so_that_full_trainings_have_the_most_of_the_time(now: Now) -> None:
    clock = Clock(1000, now)
    assert clock.seconds_left_for_search() == SEARCH_SHARE * 1000
    now.seconds += 100
    assert clock.seconds_left_for_search() == SEARCH_SHARE * 1000 - 100
    now.seconds += 200
    assert clock.seconds_left_for_search() == 0
    assert clock.seconds_left_for_training() == 700 - SECONDS_OF_TESTING


def test_search_that_nothing_follows_has_all_of_the_time(now: Now) -> None:
    clock = Clock(1000, now, search_only=True)
    now.seconds += 400
    assert clock.seconds_left_for_search() == 600
    assert Clock(None, now, search_only=True).seconds_left_for_search() is None


def test_what_is_kept_for_the_test_set_is_what_it_will_take_but_not_most_of_a_short_run(now: Now) -> None:
    long, short = Clock(10_000, now), Clock(100, now)
    assert short.seconds_left_for_training() == 100 * (1 - MOST_OF_TESTING)
    for clock, seconds, left in ((long, 300.0, 9_700.0), (short, 300.0, 80.0), (short, 10.0, 90.0)):
        clock.keep_for_testing(seconds)
        assert clock.seconds_left_for_training() == left


def test_test_set_takes_a_minute_where_two_networks_are_trained_a_minute_and_longer_on_slow_machines() -> None:
    usual = seconds_of_testing(10_000, 5_000, n_finalists=5, n_students=2, images_per_second=2_500, n_views=1)
    assert 50 < usual < 90
    assert seconds_of_testing(10_000, 5_000, 5, 2, images_per_second=625, n_views=1) > 2 * usual
    assert seconds_of_testing(10_000, 5_000, 5, 2, images_per_second=2_500, n_views=2) > 1.3 * usual
    assert seconds_of_testing(360, 240, 5, 2, images_per_second=5_000, n_views=2) < 30


def test_whole_training_fits_into_ample_time() -> None:
    assert share_that_fits(100, 100) == 1.0
    assert share_of_further_training(100, 100 * SHARE_OF_TIME) == pytest.approx(1.0)
    assert share_of_further_training(1e9, 1) == MOST_LENGTHS


def test_share_shrinks_with_the_time_left_and_stays_above_zero_when_it_is_over() -> None:
    assert share_of_further_training(100, 200) == pytest.approx(SHARE_OF_TIME / 2)
    assert share_of_further_training(50, 200) == pytest.approx(SHARE_OF_TIME / 4)
    assert 0 < share_of_further_training(0, 200) < 0.01


@pytest.mark.parametrize(
    ("n_trainings", "workers", "n_parallel"),
    [
        (1, 4, 1),
        (4, 4, 4),
        (5, 4, 5),  # one alone would leave three workers idle
        (3, 2, 3),
        (5, 2, 5),
        (4, 2, 2),  # no worker is ever idle
        (6, 2, 2),
        (7, 2, 2),  # in the memory of seven there would be little to gain
        (3, 1, 1),
        (8, 16, 8),
    ],
)
def test_trainings_share_workers_only_where_some_would_be_idle(n_trainings: int, workers: int, n_parallel: int) -> None:
    assert n_parallel_trainings(n_trainings, workers) == n_parallel


@pytest.mark.parametrize(
    ("seconds", "workers", "together"),
    [
        ([4, 4, 4], 2, 6),
        ([9, 1, 1], 2, 9.5),  # until the short ones have ended the long one has two thirds of a worker
        ([2, 2, 1, 1], 2, 3),  # two after two
        ([3, 1, 1, 1], 2, 3),
        ([6], 2, 4),  # with the threads of both
        ([6, 6], 4, 4),
        ([1, 2, 3], 1, 6),
    ],
)
def test_seconds_together_follow_from_how_many_run_at_a_time(
    seconds: list[float], workers: int, together: float
) -> None:
    assert seconds_together(seconds, workers) == pytest.approx(together)


@pytest.mark.parametrize(
    ("n_trainings", "workers", "n_threads", "most_threads", "together"),
    [
        (1, 4, 1, None, 12 / 2.5),  # with the threads of all four
        (1, 4, 1, 2, 12 / 1.5),
        (1, 4, 1, 1, 12),
        (2, 4, 1, 2, 12 / 1.5),
        (2, 8, 1, 2, 12 / 1.5),
        (2, 8, 1, 8, 12 / 2.5),
        (1, 4, 2, 2, 12),  # a worker has all that a node has
        (4, 4, 2, 2, 12),
        (8, 4, 1, 1, 24),
    ],
)
def test_training_has_no_more_threads_than_a_node_has_cores(
    n_trainings: int, workers: int, n_threads: int, most_threads: int | None, together: float
) -> None:
    seconds = seconds_together([12.0] * n_trainings, workers, n_threads, most_threads=most_threads)
    assert seconds == pytest.approx(together)


@pytest.mark.parametrize(("n_side_by_side", "n_threads", "speed"), [(1, 4, 120 / 2.5), (1, 2, 120 / 1.5), (3, 1, 120)])
def test_speed_of_a_confirmed_network_is_told_by_the_threads_that_it_had(
    n_side_by_side: int, n_threads: int, speed: float
) -> None:
    of_network = (0, "default", {}, 0, None, None, 0.9, (), None)
    winner = ConfirmRecord(*of_network, 1_200, n_images=1_200, seconds=10.0, reason="end", peak_memory_mb=1.0)
    winner = replace(winner, n_side_by_side=n_side_by_side, n_threads=n_threads)
    assert speed_of_one_worker(winner, [winner], 4, 1) == pytest.approx(speed), "also where those beside it failed"


def test_trainings_that_share_workers_lose_nothing_but_the_last_one_alone() -> None:
    assert seconds_sharing([4, 4, 4, 4], 2) == 8
    assert seconds_sharing([1, 1], 2) == 1


def test_next_job_goes_to_the_worker_that_is_free_first() -> None:
    starts, free_at = list_schedule([5, 1, 1, 1], [0, 0])
    assert starts == [0, 0, 1, 2]
    assert sorted(free_at) == [3, 5]


FULL = 600.0  # seconds of a full training on one worker


def full_seconds(workers: int, n_candidates: int = MOST_FINALISTS) -> list[float]:
    """What so many finalists take in full, side by side: one, two, three and so on."""
    return [seconds_together([FULL] * n, workers) for n in range(1, n_candidates + 1)]


def students(workers: int, n_students: int = 1) -> float:
    """What so many students, or retrainings, take in full."""
    return seconds_together([FULL] * n_students, workers)


def planned(
    seconds_left: float | None, workers: int, n_students: int = 1, n_candidates: int = MOST_FINALISTS
) -> FinalistsPlan:
    """What is planned where all trainings take as long as each other."""
    further = students(workers, n_students)
    return plan_finalists(seconds_left, full_seconds(workers, n_candidates), further, further)


@pytest.mark.parametrize("workers", [1, 2, 4, 16])
@pytest.mark.parametrize("n_students", [1, 2, 5])
def test_more_time_never_means_fewer_finalists_or_less_training(workers: int, n_students: int) -> None:
    n_before, work_before = 0, 0.0
    for seconds_left in [10 * 1.1**i for i in range(100)]:
        plan = planned(seconds_left, workers, n_students)
        work = plan.share * full_seconds(workers)[plan.n_finalists - 1]
        if plan.seconds_kept:  # there are students, who have the rest
            work = SHARE_OF_TIME * seconds_left
        assert plan.n_finalists >= n_before
        assert work >= work_before
        n_before, work_before = plan.n_finalists, work
    assert n_before == MOST_FINALISTS


@pytest.mark.parametrize("workers", [1, 2, 4, 16])
@pytest.mark.parametrize("slowness", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("minutes", [5, 20, 45, 60, 240])
def test_plans_use_the_time_and_end_in_it(minutes: float, slowness: float, workers: int) -> None:
    left = (1 - SEARCH_SHARE) * 60 * minutes - SECONDS_OF_TESTING
    in_full = [slowness * seconds for seconds in full_seconds(workers)]
    students_in_full = slowness * students(workers)
    plan = plan_finalists(left, in_full, students_in_full, students_in_full)
    seconds = plan.share * in_full[plan.n_finalists - 1]
    are_taught = plan.n_finalists > 1
    has_time = has_time_for_students(left - seconds, students_in_full, plan.share, are_taught=are_taught)
    assert has_time == (plan.seconds_kept > 0)
    if plan.seconds_kept:
        share = share_of_further_training(left - seconds, students_in_full)
        assert share >= 0.93 * min((STUDENT_TO_FINALIST if are_taught else 1) * plan.share, MOST_LENGTHS)
        seconds += share * students_in_full
    assert seconds <= left
    if plan.share < MOST_LENGTHS and not (plan.seconds_kept and share == MOST_LENGTHS):
        assert seconds >= 0.9 * left


@pytest.mark.parametrize(
    ("n_full", "n_finalists", "with_more"),
    [(0.3, 1, False), (1.3, 1, False), (1.4, 1, True), (4.6, 1, True), (4.7, 2, True), (5.7, 3, True), (10, 4, True)],
)
def test_little_time_goes_into_one_training_more_into_a_retraining_and_much_into_a_student(
    n_full: float, n_finalists: int, with_more: bool
) -> None:
    """n_full: trainings that two workers have time for."""
    left = n_full * FULL / 2
    plan = planned(left, 2)
    assert plan.n_finalists == n_finalists
    assert (plan.seconds_kept > 0) == with_more
    if n_finalists == 1:
        expected = left / 2 if with_more else SHARE_OF_TIME * left
        assert plan.share * full_seconds(2)[0] == pytest.approx(expected)


def test_much_time_is_shared_with_students_who_train_longer_than_a_finalist() -> None:
    left = 10 * FULL / 2
    plan = planned(left, 2)
    of_finalists = plan.share * full_seconds(2)[plan.n_finalists - 1]
    assert plan.n_finalists >= 3
    assert (left - of_finalists) / students(2) == pytest.approx(STUDENT_TO_FINALIST * plan.share)


@pytest.mark.parametrize("workers", [1, 2, 4, 16])
@pytest.mark.parametrize("slower", [1.0, 1.3])
def test_students_that_are_planned_are_trained_also_where_finalists_are_slower(workers: int, slower: float) -> None:
    n_with_students = 0
    for seconds_left in [1000 * 1.02**i for i in range(250)]:
        plan = planned(seconds_left, workers)
        if not plan.seconds_kept:
            continue
        n_with_students += 1
        taken = min(slower * plan.share * full_seconds(workers)[plan.n_finalists - 1], seconds_left - plan.seconds_kept)
        are_taught = plan.n_finalists > 1
        left = seconds_left - taken
        assert has_time_for_students(left, students(workers), plan.share, are_taught=are_taught)
    assert n_with_students > 100


def test_single_finalist_uses_the_time_it_was_given_whatever_its_speed() -> None:
    alone, twice, several = planned(390.0, 2), planned(1000.0, 2), planned(6000.0, 2)
    assert [plan.n_finalists for plan in (alone, twice)] == [1, 1] and several.n_finalists > 1
    assert alone.with_real_speed(1200.0).share == pytest.approx(SHARE_OF_TIME * 390 / 1200)
    assert twice.with_real_speed(200.0).share == pytest.approx(500 / 200)
    assert alone.most_share == MOST_LENGTHS and twice.most_share == LONGEST_BESIDE_STUDENTS
    assert several.with_real_speed(1200.0) == several and several.most_share == several.share
    assert planned(None, 2).most_share == FINALIST_LENGTH


def test_retraining_has_all_that_a_single_finalist_leaves() -> None:
    plan = planned(1000.0, 2)
    assert (plan.n_finalists, plan.seconds, plan.seconds_kept) == (1, pytest.approx(500), pytest.approx(500))


def test_finalists_that_are_slower_than_planned_leave_students_most_of_their_time() -> None:
    plan = planned(6000.0, 2)
    for_students = 6000.0 - plan.share * full_seconds(2)[plan.n_finalists - 1]
    assert plan.seconds_kept == pytest.approx(SHARE_KEPT * for_students)


def test_students_need_time_for_longer_trainings_than_finalists_have_and_retrainings_for_little_shorter_ones() -> None:
    for are_taught in (True, False):
        assert has_time_for_students(None, 1e9, 1.0, are_taught=are_taught)
        assert has_time_for_students(600.0, 100.0, 1.0, are_taught=are_taught)
        assert has_time_for_students(600.0, 500.0, 1.0, are_taught=are_taught)
        assert not has_time_for_students(0.0, 100.0, 1.0, are_taught=are_taught)
    assert not has_time_for_students(600.0, 500.0, 1.2, are_taught=True)
    assert has_time_for_students(600.0, 500.0, 1.2, are_taught=False)
    assert not has_time_for_students(600.0, 500.0, 2.0, are_taught=False)


def test_single_candidate_is_the_only_finalist() -> None:
    assert planned(1e6, 2, n_candidates=1).n_finalists == 1
    assert planned(None, 2, n_candidates=1).n_finalists == 1


def test_full_training_learns_from_training_and_selection_split() -> None:
    n_images = {"train": 100, "selection": 10, "confirmation": 10}
    data = DataRecord("d", "", {}, (), (8, 8, 1), n_images, {}, 1.0, 1.0, "", 0)
    assert n_searched_images(data) == 110


@pytest.mark.parametrize(("n_planned", "interval"), [(1000, 55), (110, 55), (50, 25), (1, 1)])
def test_full_training_reports_twice_an_epoch(n_planned: int, interval: int) -> None:
    assert full_evaluation_interval(n_planned, 110) == interval


def test_search_has_its_share_of_what_is_left_when_it_begins() -> None:
    times = iter([0.0, 60.0, 60.0, 100.0])
    clock = Clock(360.0, now=lambda: next(times))
    clock.begin_search()  # after a minute in which something was measured
    assert clock.seconds_left_for_search() == pytest.approx(0.2 * 300)
    assert clock.seconds_left_for_search() == pytest.approx(0.2 * 300 - 40)
