"""What each phase of a run costs: the arithmetic, without any training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from search.estimate.costs import Costs
from search.estimate.phases import (
    Job,
    estimate,
    list_schedule,
    middle,
    n_evaluations,
    shared_makespan,
    trial_seconds,
)
from search.estimate.simulation import Rehearsal, RehearsedTrial
from search.refit.finalists import Finalist
from search.refit.schedule import CONFIRM_LENGTH
from tests.support.costs import DATA, JOB, N_EPOCHS, recipe

COSTS = Costs(start_seconds=2.0, fixed_seconds=0.001, seconds_a_multiply_add=0.0, share_seen=0.5)
TRIAL = RehearsedTrial(recipe(8), (1000, 4000))  # 2 s to start, 5 s of images, 5 evaluations on 200 images: 0.5 s
FINALISTS = tuple(Finalist(n, "sampler", recipe(8), 0.9, 4000) for n in range(2))
REHEARSAL = Rehearsal((TRIAL,) * 4, FINALISTS)


def test_trial_costs_its_start_its_images_and_its_evaluations() -> None:
    assert trial_seconds(TRIAL, COSTS, JOB) == pytest.approx(2 + 5 + 0.5)
    assert trial_seconds(RehearsedTrial(recipe(8), ()), COSTS, JOB) == 0, "an infeasible one is not built"


@pytest.mark.parametrize(("n_images", "n"), [(1000, 1), (1001, 2), (400, 1), (4000, 4)])
def test_training_is_evaluated_after_every_interval_and_at_its_end(n_images: int, n: int) -> None:
    assert n_evaluations(n_images, 1000) == n


def test_next_job_goes_to_the_worker_that_is_free_first() -> None:
    starts, free_at = list_schedule([5, 1, 1, 1], [0, 0])
    assert starts == [0, 0, 1, 2]
    assert sorted(free_at) == [3, 5]


def test_phases_follow_from_images_and_workers() -> None:
    (case, _) = estimate([REHEARSAL], COSTS, JOB)
    search, confirm, refit, _ = case.phases
    assert (search.n_images, search.seconds) == (20_000, pytest.approx(5 + 2 * 7.5))  # four trials, two workers
    length = CONFIRM_LENGTH * N_EPOCHS * 1000
    assert (confirm.n_images, confirm.seconds) == (2 * length, pytest.approx(2 + (length + 0.5 * 1000) * 1e-3))
    # Three at a time on two cores: each takes half as long again.
    assert (refit.n_images, refit.seconds) == (3 * N_EPOCHS * 1400, pytest.approx(2 + 1.5 * 14.0))


def test_search_only_costs_the_search_alone() -> None:
    (case,) = estimate([REHEARSAL], COSTS, replace(JOB, search_only=True))
    assert [phase.name for phase in case.phases] == ["search"]


def test_rehearsal_that_found_nothing_to_confirm_says_nothing_of_what_comes_after() -> None:
    cases = estimate([replace(REHEARSAL, finalists=()), REHEARSAL], COSTS, JOB)
    assert [len(case.phases) for case in cases] == [4, 4]
    assert len(middle(cases).phases) == 4


def test_what_is_done_costs_nothing_again() -> None:
    done = replace(JOB, n_trials_done=4, n_confirmed=2, n_refitted=2)
    case, _ = estimate([REHEARSAL], COSTS, done)
    assert [phase.n_images for phase in case.phases] == [0, 0, N_EPOCHS * 1400, 0]
    assert [phase.seconds for phase in case.phases[:2]] == [0, 0]


def test_idle_workers_shorten_the_confirmation() -> None:
    odd = replace(REHEARSAL, trials=(TRIAL,) * 3)
    early, late = (middle(estimate([odd], COSTS, replace(JOB, begins_early=begins))) for begins in (True, False))
    assert early.phases[0] == late.phases[0]
    assert early.phases[1].seconds < late.phases[1].seconds


def test_jobs_that_share_cores_end_when_all_work_is_done() -> None:
    assert shared_makespan([4, 4, 4], [0, 0]) == 6
    assert shared_makespan([4, 4, 4], [0, 2]) == 7, "a core was busy for two seconds more"
    assert shared_makespan([9, 1, 1], [0, 0]) == 9, "one job has one core"


def test_three_finalists_on_two_workers_share_the_cores() -> None:
    three = replace(REHEARSAL, finalists=(*FINALISTS, replace(FINALISTS[0], trial=2)))
    two, more = (middle(estimate([each], COSTS, JOB)).phases[1] for each in (REHEARSAL, three))
    assert more.seconds == pytest.approx(1.5 * two.seconds)


@pytest.mark.parametrize(("n_parallel", "slowness"), [(2, 1), (3, 1.5), (4, 2), (1, 1 / 1.5)])
def test_more_trainings_share_the_cores_and_fewer_have_more_threads(n_parallel: int, slowness: float) -> None:
    assert JOB.slowness(n_parallel) == pytest.approx(slowness)


@pytest.mark.parametrize("timeout", [20.0, 40.0, 60.0])
def test_run_under_a_timeout_takes_no_longer_and_says_what_it_drops(timeout: float) -> None:
    longer = replace(REHEARSAL, trials=(TRIAL,) * 100)
    case = middle(estimate([longer], COSTS, replace(JOB, timeout=timeout)))
    assert sum(phase.seconds for phase in case.phases[:2]) < timeout
    assert case.n_trials < 100
    assert case.refit_share < 1


def test_timeout_that_leaves_room_for_everything_changes_nothing() -> None:
    assert estimate([REHEARSAL], COSTS, replace(JOB, timeout=1e6)) == estimate([REHEARSAL], COSTS, JOB)


def long_recipe(filters: int, n_epochs: int) -> Recipe:
    return Recipe(Architecture((28, 28, 1), 10, (Block(filters, 2, 3),)), TrainingPlan(n_epochs=n_epochs))


def long_rehearsal(n_finalists: int) -> Rehearsal:
    """A search of 40 trials, of different networks and lengths, some of them infeasible."""
    trials, finalists = [], []
    for i in range(40):
        if i % 7 == 6:
            trials.append(RehearsedTrial(long_recipe(16 + i, 10 + i % 5), ()))
        else:
            rungs = (38_400, 115_200, 192_000)[: 1 + i % 3]
            trials.append(RehearsedTrial(long_recipe(8 + i, 10 + i % 5), rungs))
    for i in range(n_finalists):
        searched = 38_400 * (1 + 2 * (i % 3))
        finalists.append(Finalist(3 * i, "sampler", long_recipe(8 + 5 * i, 10 + i % 5), 0.9, searched))
    return Rehearsal(tuple(trials), tuple(finalists))


SECONDS = {"fast": (2e-5, 2e-13), "slow": (1e-4, 2e-11)}  # an image, whatever the network; a multiply-add


@pytest.mark.parametrize(
    ("timeout", "workers", "n_seeds", "speed", "figures"),
    [  # what earlier versions said: trials, share of the retrainings' length, seconds of each phase
        (300, 1, 1, "slow", (4, 1.0, [98.09, 66.2, 82.97, 18.08])),
        (300, 1, 3, "fast", (40, 1.0, [233.59, 15.01, 45.37, 21.28])),
        (300, 1, 3, "slow", (3, 0.7388, [66.58, 45.31, 179.8, 27.81])),
        (300, 2, 1, "slow", (15, 1.0, [196.61, 33.8, 52.61, 18.08])),
        (300, 2, 3, "fast", (40, 1.0, [121.1, 7.59, 21.68, 21.28])),
        (300, 2, 3, "slow", (8, 1.0, [91.6, 34.1, 123.46, 27.81])),
        (300, 4, 1, "slow", (31, 0.9843, [248.3, 23.21, 30.32, 18.08])),
        (300, 4, 3, "fast", (40, 1.0, [66.53, 5.49, 15.12, 21.28])),
        (300, 4, 3, "slow", (28, 0.9435, [189.83, 26.23, 77.29, 27.81])),
        (1200, 1, 1, "slow", (29, 1.0, [993.22, 66.2, 82.97, 18.08])),
        (1200, 1, 3, "slow", (25, 1.0, [759.31, 66.2, 248.91, 27.81])),
        (1200, 2, 1, "slow", (40, 1.0, [937.78, 34.1, 52.61, 18.08])),
        (1200, 2, 3, "slow", (40, 1.0, [937.78, 34.1, 123.46, 27.81])),
        (1200, 4, 1, "slow", (40, 1.0, [513.36, 26.23, 30.92, 18.08])),
        (1200, 4, 3, "slow", (40, 1.0, [513.36, 26.23, 82.97, 27.81])),
        (5400, 1, 3, "slow", (40, 1.0, [1776.08, 66.2, 248.91, 27.81])),
        (5400, 2, 3, "slow", (40, 1.0, [937.78, 34.1, 123.46, 27.81])),
        (5400, 4, 3, "slow", (40, 1.0, [513.36, 26.23, 82.97, 27.81])),
        (None, 1, 1, "slow", (40, 1.0, [1776.08, 150.69, 109.71, 19.29])),
        (None, 1, 3, "fast", (40, 1.0, [233.59, 28.07, 49.51, 21.29])),
        (None, 1, 3, "slow", (40, 1.0, [1776.08, 150.69, 329.13, 29.37])),
        (None, 2, 1, "slow", (40, 1.0, [937.78, 33.07, 69.32, 19.29])),
        (None, 2, 3, "fast", (40, 1.0, [121.1, 13.74, 23.76, 21.29])),
        (None, 2, 3, "slow", (40, 1.0, [937.78, 33.07, 163.57, 29.37])),
        (None, 4, 1, "slow", (40, 1.0, [513.36, 0.0, 40.47, 19.29])),
        (None, 4, 3, "fast", (40, 1.0, [66.53, 4.52, 16.5, 21.29])),
        (None, 4, 3, "slow", (40, 1.0, [513.36, 0.0, 109.71, 29.37])),
    ],
)
def test_figures_of_a_run_are_those_of_earlier_versions(
    timeout: float | None, workers: int, n_seeds: int, speed: str, figures: tuple[int, float, list[float]]
) -> None:
    fixed, by_cost = SECONDS[speed]
    costs = Costs(start_seconds=2.0, fixed_seconds=fixed, seconds_a_multiply_add=by_cost, share_seen=0.35)
    n_images = {"train": 38_400, "selection": 9_600, "confirmation": 12_000, "test": 10_000}
    job = Job(
        data=replace(DATA, n_images=n_images),
        n_test_images=10_000,
        report_every_images=19_200,
        longest_training=14,
        workers=workers,
        load_seconds=6.0,
        gain_of_threads=0.6,
        n_seeds=n_seeds,
        flips=True,
        begins_early=timeout is None,
        timeout=timeout,
    )
    n_finalists = 3 if timeout is not None else 5
    case = middle(estimate([long_rehearsal(n_finalists), long_rehearsal(n_finalists - 1)], costs, job))
    n_trials, refit_share, seconds = figures
    assert case.n_trials == n_trials
    assert case.refit_share == pytest.approx(refit_share, abs=1e-4)
    assert [phase.seconds for phase in case.phases] == pytest.approx(seconds, abs=0.01)
