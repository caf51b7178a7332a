"""How many finalists are trained, how long, and when they have to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from fmnist.data.split import Split
from search.records.models import TrialRecord
from search.refit.confirmation import confirm, finalists_of_search, lengths_in_time, plan_confirmations
from search.refit.finalists import Finalist, choose_finalists, finalists_by_number
from search.refit.round import FinalRound
from search.refit.schedule import Clock, FinalistsPlan
from search.space.space import Fidelity
from search.worker.tasks import TrainingFailed, TrainTask
from tests.support.training.fake_trainer import N_EPOCHS, Failing, FakeTrainer, final_round, trial


def candidates(*speeds: float | None) -> list[Finalist]:
    """Finalists of the same network, of these speeds."""
    (one,) = choose_finalists([trial(1, 0.9)])
    return [replace(one, trial=number, images_per_second=speed) for number, speed in enumerate(speeds)]


def plan_of(final: FinalRound, finalists: Sequence[Finalist], n_test: int = 0) -> FinalistsPlan:
    by_number = [finalists[:n] for n in range(1, len(finalists) + 1)]
    return plan_confirmations(final, by_number, n_students=2, n_test=n_test)


@pytest.fixture
def trainer(digits_split: Split) -> FakeTrainer:
    return FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)


def round_of(tmp_path: Path, digits_split: Split, trainer: Any, timeout: float | None) -> FinalRound:
    return final_round(tmp_path, digits_split, trainer, clock=Clock(timeout, now=lambda: 0.0))


def test_finalist_of_unknown_speed_is_taken_to_be_as_fast_for_its_cost_as_the_others(
    tmp_path: Path, digits_split: Split, trainer: FakeTrainer
) -> None:
    final = round_of(tmp_path, digits_split, trainer, timeout=1000)
    known, unknown = plan_of(final, candidates(20, 20)), plan_of(final, candidates(20, None))
    assert astuple(unknown) == pytest.approx(astuple(known))


def test_slow_finalists_end_in_time_for_the_students(tmp_path: Path, digits_split: Split, trainer: FakeTrainer) -> None:
    final = round_of(tmp_path, digits_split, trainer, timeout=2000)
    finalists = candidates(20, 20, 20)
    plan = plan_of(final, finalists)
    left = final.clock.seconds_left_for_training()
    assert left is not None
    confirm(final, finalists, plan)
    assert plan.seconds_kept > 0.2 * left
    assert [task.seconds_limit for task in trainer.tasks] == pytest.approx([left - plan.seconds_kept] * 3)


@pytest.mark.parametrize(("timeout", "with_retrainings"), [(150, False), (400, True)])
def test_single_finalist_may_become_longer_than_planned_and_ends_when_its_time_does(
    tmp_path: Path, digits_split: Split, trainer: FakeTrainer, timeout: float, with_retrainings: bool
) -> None:
    final = round_of(tmp_path, digits_split, trainer, timeout)
    finalists = candidates(20)
    plan = plan_of(final, finalists)
    left = final.clock.seconds_left_for_training()
    assert left is not None
    confirm(final, finalists, plan)
    (task,) = trainer.tasks
    n_full = N_EPOCHS * final.n_searched_images
    assert task.n_planned_images == round(plan.share * n_full) < task.n_most_images
    assert task.seconds_limit == pytest.approx(plan.seconds if with_retrainings else left)
    assert (plan.seconds_kept > 0) == with_retrainings


def test_several_finalists_do_not_become_longer_than_planned(
    tmp_path: Path, digits_split: Split, trainer: FakeTrainer
) -> None:
    final = round_of(tmp_path, digits_split, trainer, timeout=2000)
    finalists = candidates(20, 20, 20)
    confirm(final, finalists, plan_of(final, finalists))
    assert {task.n_most_images for task in trainer.tasks} == {trainer.tasks[0].n_planned_images}


def test_interrupted_round_goes_on_with_no_more_finalists_than_have_time_for_its_length(
    tmp_path: Path, digits_split: Split, trainer: FakeTrainer
) -> None:
    finalists = candidates(20, 20, 20)
    final = round_of(tmp_path, digits_split, trainer, timeout=2000)
    confirm(final, finalists[:1], FinalistsPlan(1, 3.0))  # the one that a short run had planned
    resumed = plan_of(final, finalists)
    assert (resumed.n_finalists, resumed.share) == (2, pytest.approx(3.0))
    hurried = plan_of(replace(final, clock=Clock(400, now=lambda: 0.0)), finalists)
    assert (hurried.n_finalists, hurried.share) == (1, pytest.approx(3.0))


def test_where_the_only_finalist_fails_the_next_best_is_trained(tmp_path: Path, digits_split: Split) -> None:
    trainer = Failing(digits_split.confirmation.labels, lambda filters: 0.5)
    first, second = choose_finalists([trial(1, 0.9), trial(2, 0.8)])
    trainer.failure = lambda task: TrainingFailed("memory", "no room") if task.recipe == first.recipe else None
    final = round_of(tmp_path, digits_split, trainer, timeout=None)
    (record,) = confirm(final, [first], substitutes=[second])
    assert record.trial == second.trial


def test_next_best_has_all_of_the_time_that_the_failed_finalist_left(tmp_path: Path, digits_split: Split) -> None:
    seconds = 0.0
    trainer = Failing(digits_split.confirmation.labels, lambda filters: 0.5)
    first, second = choose_finalists([trial(1, 0.9), trial(2, 0.8)])

    def fails_late(task: TrainTask) -> TrainingFailed | None:
        nonlocal seconds
        if task.recipe != first.recipe:
            return None
        assert task.seconds_limit is not None
        seconds = task.seconds_limit
        return TrainingFailed("diverged", "the loss is nan")

    trainer.failure = fails_late
    final = final_round(tmp_path, digits_split, trainer, clock=Clock(400, now=lambda: seconds))
    finalists = [replace(first, images_per_second=20)]
    plan = plan_of(final, finalists)
    assert plan.seconds_kept > 0, "a retraining was to follow"
    (record,) = confirm(final, finalists, plan, substitutes=[second])
    assert record.trial == second.trial
    assert trainer.tasks[-1].seconds_limit == final.clock.seconds_left_for_training() > 0


def test_a_bug_in_the_only_finalist_is_not_passed_over(tmp_path: Path, digits_split: Split) -> None:
    trainer = Failing(digits_split.confirmation.labels, lambda filters: 0.5)
    first, second = choose_finalists([trial(1, 0.9), trial(2, 0.8)])
    trainer.failure = lambda task: TrainingFailed("error", "KeyError") if task.recipe == first.recipe else None
    with pytest.raises(TrainingFailed, match="KeyError"):
        confirm(round_of(tmp_path, digits_split, trainer, timeout=None), [first], substitutes=[second])


def test_without_a_timeout_nothing_ends_a_finalist(tmp_path: Path, digits_split: Split, trainer: FakeTrainer) -> None:
    final = round_of(tmp_path, digits_split, trainer, timeout=None)
    finalists = candidates(20, 20)
    plan = plan_of(final, finalists)
    confirm(final, finalists, plan)
    assert [task.seconds_limit for task in trainer.tasks] == [None, None]


def test_more_is_kept_for_a_large_test_set_on_a_slow_machine(
    tmp_path: Path, digits_split: Split, trainer: FakeTrainer
) -> None:
    final = round_of(tmp_path, digits_split, trainer, timeout=1000)
    plan_of(final, candidates(1000, 1000), n_test=100)
    little = final.clock.seconds_left_for_training()
    plan_of(final, candidates(1000, 1000), n_test=10_000)
    much = final.clock.seconds_left_for_training()
    assert little is not None and much is not None
    assert 1000 > little > much >= 800


def test_finalists_are_told_for_every_number_of_them_and_the_default_is_among_three_or_more() -> None:
    trials = [trial(0, 0.5, origin="default"), *(trial(number, 0.8 + number / 100) for number in range(1, 12))]
    by_number = finalists_by_number(trials, 0.0, against_time=True)
    assert [len(finalists) for finalists in by_number] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [finalist.trial for finalist in by_number[0]] == [11]  # the best alone
    assert [finalist.trial for finalist in by_number[1]] == [11, 10]
    assert all(0 in [finalist.trial for finalist in finalists] for finalists in by_number[2:])
    assert [len(finalists) for finalists in finalists_by_number(trials[:3], 0.0, against_time=True)] == [1, 2, 3]
    assert finalists_by_number([], 0.0, against_time=True) == []


def timed(number: int, score: float, images_per_second: float) -> TrialRecord:
    """A trial that was on both rungs, of 1,000 and 4,000 images, and gained two points."""
    rungs = {"rung_images": 4000, "rung_accuracy": score, "rung_scores": {1000: score - 0.02, 4000: score}}
    return trial(number, score, **rungs, n_images=5000, seconds_in_steps=5000 / images_per_second)


def test_full_trainings_of_slow_networks_are_shorter(tmp_path: Path, digits_split: Split, trainer: FakeTrainer) -> None:
    final = round_of(tmp_path, digits_split, trainer, timeout=400)
    all_cores = final.speed_with_all_threads([1])
    lengths = lengths_in_time(final, [timed(1, 0.8, 100), timed(2, 0.8, 25)], seconds=40)
    assert lengths == pytest.approx({1: 40 * 100 * all_cores, 2: 40 * 25 * all_cores})


@pytest.mark.parametrize(("timeout", "n_students"), [(60, 1), (200, 1), (400, 3), (1500, 1), (3000, 1)])
@pytest.mark.parametrize("n_done", [1, 2])
def test_resumed_round_chooses_the_finalists_that_it_began_with(
    tmp_path: Path, digits_split: Split, trainer: FakeTrainer, timeout: float, n_students: int, n_done: int
) -> None:
    """The command is given again, and has all of its timeout anew, or another."""
    trials = [timed(number, 0.9 + 0.002 * number, 200 / 2**number) for number in range(1, 9)]
    lengths = {"report_every_images": 1000, "first_rung_images": 1000, "search_images": 4000, "patience_images": 4000}
    fidelity = Fidelity(**lengths, reduction_factor=4)
    final = round_of(tmp_path, digits_split, trainer, timeout)
    begun = finalists_of_search(final, trials, fidelity, against_time=True)
    plan = plan_confirmations(final, begun, n_students=n_students, n_test=100)
    confirm(final, begun[plan.n_finalists - 1][:n_done], plan)
    orders = set()
    for again in (20.0, timeout, 5000.0):
        resumed = replace(final, clock=Clock(again, now=lambda: 0.0))
        assert finalists_of_search(resumed, trials, fidelity, against_time=True) == begun
        fresh = round_of(tmp_path / "fresh", digits_split, trainer, again)
        orders.add(finalists_of_search(fresh, trials, fidelity, against_time=True)[0][0].trial)
    assert len(orders) > 1, "another timeout chooses another one where nothing was begun"


@pytest.mark.parametrize(("timeout", "best"), [(60, 1), (400, 2)])
def test_timeout_decides_between_a_fast_network_and_a_better_one(
    tmp_path: Path, digits_split: Split, trainer: FakeTrainer, timeout: float, best: int
) -> None:
    trials = [timed(1, 0.9, 100), timed(2, 0.92, 20), *(timed(number, 0.6, 100) for number in (3, 4, 5))]
    final = round_of(tmp_path, digits_split, trainer, timeout)
    lengths = {"report_every_images": 1000, "first_rung_images": 1000, "search_images": 4000, "patience_images": 4000}
    by_number = finalists_of_search(final, trials, Fidelity(**lengths, reduction_factor=4), against_time=True)
    assert by_number[0][0].trial == best


@pytest.mark.parametrize(("state", "speed"), [("complete", 1000), ("pruned", 1000), ("failed", 500)])
def test_speed_of_a_finalist_is_that_of_its_steps(state: str, speed: float) -> None:
    """A failed trial has images of a rung that did not end, and whose steps are not counted."""
    trials = [trial(0, 0.5, state, "default", rung_images=1000, n_images=1000, seconds=2.0, seconds_in_steps=1.0)]
    (finalist,) = choose_finalists(trials, against_time=True)
    assert finalist.images_per_second == speed
