"""The steps of a training whose length changes on the way, and how long it may be to end in time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fmnist.training.course import Course, Pacer, Rescheduling, length_in_the_end


def test_schedule_runs_evenly_from_its_start_to_its_end() -> None:
    course = Course(1000, None, 250, 10)
    assert [course.progress_at(step) for step in (0, 49, 99)] == [0.5 / 100, 49.5 / 100, 99.5 / 100]
    assert sorted(course.marks) == [25, 50, 75, 100]
    assert not course.is_cut_short


def test_changed_length_goes_on_from_where_the_schedule_was_and_ends_at_its_end() -> None:
    course = Course(1000, None, 250, 10)
    course.reschedule(40, 600)
    progress = [course.progress_at(step) for step in range(40, course.n_end_steps)]
    assert course.n_end_steps == 60
    assert progress[0] == pytest.approx(0.4 + 0.6 * 0.5 / 20)
    assert progress[-1] == pytest.approx(1 - 0.6 * 0.5 / 20)
    assert all(later > earlier for earlier, later in pairwise(progress))
    assert course.marks == {25: [250], 50: [500], 60: [600]}
    assert course.reschedulings == (Rescheduling(400, 600),)


def test_length_that_is_over_already_ends_with_the_next_step() -> None:
    course = Course(1000, None, 250, 10)
    course.reschedule(40, 100)
    assert course.n_end_steps == 41
    assert 0.4 < course.progress_at(40) < 1


def test_training_that_was_cut_is_cut_there_again() -> None:
    course = Course(1000, 300, 250, 10)
    course.reschedule(20, 600)
    assert (course.n_end_steps, course.n_steps, course.is_cut_short) == (30, 60, True)


def paced(speeds, limit: float, n_planned: int, n_most: int | None = None) -> tuple[Course, float]:
    """Train by a pacer at speeds(seconds) images per second; return the course and the seconds that it took."""
    batch_size = 10
    course, pacer = Course(n_planned, None, n_planned, batch_size), Pacer(n_most or n_planned, limit)
    seconds, n_steps = 0.0, 0
    while n_steps < course.n_end_steps and seconds < 2 * limit:
        seconds += batch_size / speeds(seconds)
        n_steps += 1
        length = pacer.new_length(n_steps * batch_size, seconds, course.n_planned_images)
        if length is not None and n_steps < course.n_end_steps:
            course.reschedule(n_steps, length)
    return course, seconds


def test_training_at_the_planned_speed_is_left_alone() -> None:
    course, seconds = paced(lambda _: 100.0, limit=100.0, n_planned=9600)
    assert course.reschedulings == ()
    assert seconds == pytest.approx(96)


@pytest.mark.parametrize("since", [0, 30, 60, 90])
def test_training_that_becomes_half_as_fast_ends_in_time_all_the_same(since) -> None:
    course, seconds = paced(lambda now: 100.0 if now < since else 50.0, limit=100.0, n_planned=9600)
    assert course.reschedulings
    assert 93 <= seconds <= 100


def test_training_that_was_slow_for_a_while_gets_back_what_it_can() -> None:
    course, seconds = paced(lambda now: 20.0 if 20 < now < 30 else 100.0, limit=100.0, n_planned=9600)
    assert course.n_planned_images == pytest.approx(9000, rel=0.02)
    assert seconds <= 100


def test_training_that_becomes_faster_is_not_longer_than_planned() -> None:
    course, _ = paced(lambda now: 50.0 if now < 20 else 500.0, limit=100.0, n_planned=9600)
    assert course.n_planned_images == 9600


@pytest.mark.parametrize("speed", [50.0, 100.0, 200.0])
def test_training_that_may_become_longer_uses_its_time_at_any_speed(speed: float) -> None:
    course, seconds = paced(lambda _: speed, limit=100.0, n_planned=7500, n_most=100_000)
    assert 96 <= seconds <= 100
    first = course.reschedulings[0]
    assert first.n_images <= 0.05 * course.n_planned_images, "before it is far"


def test_training_becomes_no_longer_than_it_may() -> None:
    course, seconds = paced(lambda _: 200.0, limit=100.0, n_planned=7500, n_most=9000)
    assert course.n_planned_images == 9000
    assert seconds == pytest.approx(45, abs=1)


def test_speed_of_a_moment_does_not_shorten_a_training() -> None:
    course, _ = paced(lambda now: 10.0 if 40 < now < 40.5 else 100.0, limit=100.0, n_planned=9000)
    assert course.reschedulings == ()


def test_length_in_the_end_is_that_of_the_last_change() -> None:
    assert length_in_the_end(100, ()) == 100
    assert length_in_the_end(100, (Rescheduling(10, 50), Rescheduling(20, 60))) == 60
