"""What each phase of a run costs: the arithmetic, without any training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.estimate.cases import estimate, middle
from search.estimate.costs import Costs
from search.estimate.phases import ensemble_phase, n_evaluations, trial_seconds
from search.estimate.simulation import Rehearsal, RehearsedTrial
from search.refit.schedule import COST_OF_TEACHERS, FINALIST_LENGTH, STUDENT_LENGTH
from tests.support.costs import JOB, N_EPOCHS, recipe

COSTS = Costs(start_seconds=2.0, fixed_seconds=0.001, seconds_a_multiply_add=0.0, share_seen=0.5)
TRIAL = RehearsedTrial(recipe(8), (1000, 4000))  # 2 s to start, 5 s of images, 5 evaluations on 200 images: 0.5 s
FINALISTS = ((recipe(8),), (recipe(8),) * 2)
REHEARSAL = Rehearsal((TRIAL,) * 4, FINALISTS)
FULL = N_EPOCHS * 1200  # images of a full training


def test_trial_costs_its_start_its_images_and_its_evaluations() -> None:
    assert trial_seconds(TRIAL, COSTS, JOB) == pytest.approx(2 + 5 + 0.5)
    assert trial_seconds(RehearsedTrial(recipe(8), ()), COSTS, JOB) == 0, "an infeasible one is not built"


@pytest.mark.parametrize(("n_images", "n"), [(1000, 1), (1001, 2), (400, 1), (4000, 4)])
def test_training_is_evaluated_after_every_interval_and_at_its_end(n_images: int, n: int) -> None:
    assert n_evaluations(n_images, 1000) == n


def test_phases_follow_from_images_and_workers() -> None:
    (case, _) = estimate([REHEARSAL], COSTS, JOB)
    search, finalists, students, ensemble, testing = case.phases
    assert (search.n_images, search.seconds) == (20_000, pytest.approx(5 + 2 * 7.5))  # four trials, two workers
    of_finalist = FINALIST_LENGTH * FULL
    one = 2 + (of_finalist + 0.5 * 200) * 1e-3  # its start, its images, and what it predicts on the confirmation split
    assert (finalists.n_images, finalists.seconds) == (2 * of_finalist, pytest.approx(one))
    length = STUDENT_LENGTH * FULL
    of_student = 2 + COST_OF_TEACHERS * (length + 0.5 * 200) * 1e-3
    # Three students share two workers: half as long again.
    assert (students.n_images, students.seconds) == (3 * length, pytest.approx(1.5 * of_student))
    # Five networks predict 200 images, with two threads.
    assert (ensemble.n_images, ensemble.seconds) == (0, pytest.approx(2 + 5 * 0.1 / 1.5))
    # Three students predict 100 images with two threads, the delivered one does once more and on eleven changed ones,
    # and the ensemble. Keras is loaded twice.
    assert testing.seconds == pytest.approx(3 * 2 + 2 + (3 + 1 + 11 + 5) * 0.05 / 1.5 + 2 * 5)


def test_networks_that_learn_from_mirror_images_predict_them_too() -> None:
    (plain, _), (mirrored, _) = (estimate([REHEARSAL], COSTS, replace(JOB, flips=flips)) for flips in (False, True))
    more = [after.seconds - before.seconds for before, after in zip(plain.phases, mirrored.phases, strict=True)]
    # The search; finalists with 200 images of the confirmation split; students, three on two workers; the ensemble of
    # five networks; on the test set three students and the ensemble, which are started anew.
    of_students = 1.5 * COST_OF_TEACHERS * 0.1
    assert more == pytest.approx([0, 0.1, of_students, 5 * 0.1 / 1.5, 3 * 2 + (3 + 5) * 0.05 / 1.5])
    of_one = [ensemble_phase([recipe(8)], COSTS, replace(JOB, flips=flips)).seconds for flips in (False, True)]
    assert of_one == pytest.approx([0, 2 + 2 * 0.1 / 1.5]), "one network and its mirror images are averaged too"


def test_search_only_costs_the_search_alone() -> None:
    (case,) = estimate([REHEARSAL], COSTS, replace(JOB, search_only=True))
    assert [phase.name for phase in case.phases] == ["search"]


def test_search_that_nothing_follows_is_estimated_to_have_all_of_the_timeout() -> None:
    job = replace(JOB, timeout=20.0)
    alone, followed = (
        estimate([REHEARSAL], COSTS, replace(job, search_only=True)) + estimate([REHEARSAL], COSTS, job)[:1]
    )
    assert (alone.n_trials, alone.phases[0].seconds) == (4, pytest.approx(20))
    assert followed.n_trials == 0


def test_rehearsal_that_found_nothing_to_confirm_says_nothing_of_what_comes_after() -> None:
    cases = estimate([replace(REHEARSAL, finalists=()), REHEARSAL], COSTS, JOB)
    assert [len(case.phases) for case in cases] == [5, 5]
    assert len(middle(cases).phases) == 5


def test_what_is_done_costs_nothing_again() -> None:
    done = replace(JOB, n_trials_done=4, n_finalists_done=2, n_students_done=2)
    case, _ = estimate([REHEARSAL], COSTS, done)
    assert [phase.n_images for phase in case.phases] == [0, 0, STUDENT_LENGTH * FULL, 0, 0]
    assert [phase.seconds for phase in case.phases[:2]] == [0, 0]


def test_idle_workers_shorten_the_finalists_phase() -> None:
    odd = replace(REHEARSAL, trials=(TRIAL,) * 3, finalists=(*FINALISTS, (recipe(8),) * 3))
    early, late = (middle(estimate([odd], COSTS, replace(JOB, begins_early=begins))) for begins in (True, False))
    assert early.phases[0] == late.phases[0]
    assert early.phases[1].seconds < late.phases[1].seconds


def test_three_finalists_on_two_workers_share_the_cores() -> None:
    three = replace(REHEARSAL, finalists=(*FINALISTS, (recipe(8),) * 3))
    two, more = (middle(estimate([each], COSTS, JOB)).phases[1] for each in (REHEARSAL, three))
    assert more.seconds == pytest.approx(1.5 * two.seconds)


@pytest.mark.parametrize("timeout", [120.0, 240.0, 400.0])
def test_run_under_a_timeout_takes_all_of_it_and_no_longer_and_says_what_it_has_room_for(timeout: float) -> None:
    several = replace(REHEARSAL, trials=(TRIAL,) * 1000, finalists=tuple((recipe(8),) * n for n in range(1, 5)))
    slow = replace(COSTS, fixed_seconds=0.002)
    case = middle(estimate([several], slow, replace(JOB, timeout=timeout)))
    assert 0.8 * timeout < case.seconds < 1.05 * timeout
    assert case.n_trials < 1000
    assert case.finalist_share != 1


@pytest.mark.parametrize("timeout", [None, 240.0])
def test_what_is_measured_for_a_target_comes_before_the_search_and_out_of_the_timeout(timeout: float | None) -> None:
    several = replace(REHEARSAL, trials=(TRIAL,) * 1000)
    job, slow = replace(JOB, timeout=timeout), replace(COSTS, fixed_seconds=0.002)
    without = middle(estimate([several], slow, job))
    case = middle(estimate([several], slow, replace(job, measuring_seconds=40.0)))
    assert [(phase.name, phase.n_images, phase.seconds) for phase in case.phases[:1]] == [("measuring", 0, 40)]
    assert len(case.phases) == len(without.phases) + 1
    if timeout is None:
        assert case.seconds == pytest.approx(without.seconds + 40)
    else:
        assert case.seconds < 1.05 * timeout
        assert case.phases[1].seconds < without.phases[0].seconds


def test_run_whose_search_ends_early_spends_what_is_left_on_longer_trainings() -> None:
    three = replace(REHEARSAL, finalists=(*FINALISTS, (recipe(8),) * 3))
    case = middle(estimate([three], COSTS, replace(JOB, timeout=400)))
    assert (case.n_trials, case.n_finalists) == (4, 3)
    assert case.finalist_share > 1
    assert case.student_share > 1


@pytest.mark.parametrize(("timeout", "with_retraining"), [(60, False), (150, True)])
def test_short_run_has_one_long_training_or_two_of_the_same_recipe(timeout: float, with_retraining: bool) -> None:
    job = replace(JOB, n_students=1, timeout=timeout, n_test_images=0)
    case = middle(estimate([REHEARSAL], replace(COSTS, fixed_seconds=0.01), job))
    assert (case.n_finalists, case.kind_of_student) == (1, "retraining")
    assert (case.student_share > 0) == with_retraining
