"""What a run will cost: the arithmetic, without any training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from search.estimate.costs import (
    Costs,
    Job,
    Probe,
    estimate,
    fit_costs,
    list_schedule,
    middle,
    n_evaluations,
    shared_makespan,
    trial_seconds,
)
from search.estimate.resources import estimate_disk, estimate_memory
from search.estimate.simulation import Rehearsal, RehearsedTrial
from search.records.models import DataRecord
from search.refit.finalists import Finalist
from search.refit.schedule import CONFIRM_LENGTH

N_IMAGES = {"train": 1000, "selection": 200, "confirmation": 200, "test": 0}
DATA = DataRecord("made", "here", {}, ("a", "b"), (28, 28, 1), N_IMAGES, {}, 0.0, 1.0, "", 0)
N_EPOCHS = 10


def recipe(filters: int) -> Recipe:
    return Recipe(Architecture((28, 28, 1), 2, (Block(filters, 1, 3),)), TrainingPlan(n_epochs=N_EPOCHS))


def probe(filters: int, peak_memory_mb: float = 500.0) -> Probe:
    """A ten-thousandth of a second for an image, and as much for each 100,000 multiply-adds; a look costs 40 images."""
    seconds = 1e-4 + 1e-9 * count_multiply_adds(recipe(filters).architecture)
    looked = {"n_images": (100, 400), "seconds": (140 * seconds, 440 * seconds)}
    return Probe("p", recipe(filters), 2.0 + 72 * seconds, 32, **looked, peak_memory_mb=peak_memory_mb)


COSTS = Costs(start_seconds=2.0, fixed_seconds=0.001, seconds_a_multiply_add=0.0, share_seen=0.5)
JOB = Job(
    data=DATA,
    n_test_images=100,
    report_every_images=1000,
    longest_training=N_EPOCHS,
    workers=2,
    load_seconds=5.0,
    gain_of_threads=0.5,
    n_seeds=3,
    flips=False,
    begins_early=False,
)
TRIAL = RehearsedTrial(recipe(8), (1000, 4000))  # 2 s to start, 5 s of images, 5 looks at 200 images: 0.5 s
FINALISTS = tuple(Finalist(n, "sampler", recipe(8), 0.9, 4000) for n in range(2))
REHEARSAL = Rehearsal((TRIAL,) * 4, FINALISTS)


def test_cost_of_an_image_is_found_again_from_probes_of_three_networks() -> None:
    costs = fit_costs([probe(filters) for filters in (4, 16, 64)], n_seen=100)
    other = recipe(32)
    assert costs.seconds_an_image(other) == pytest.approx(1e-4 + 1e-9 * count_multiply_adds(other.architecture))
    assert costs.share_seen == pytest.approx(0.4)
    assert costs.start_seconds == pytest.approx(2.0)


def test_neither_part_of_a_cost_is_negative() -> None:
    """Noise may make a large network look faster than a small one."""
    probes = [replace(probe(filters), seconds=(140 / filters, 440 / filters)) for filters in (4, 16, 64)]
    costs = fit_costs(probes, n_seen=100)
    assert costs.fixed_seconds > 0
    assert costs.seconds_a_multiply_add == 0


def test_probe_that_was_disturbed_says_nothing_of_looks() -> None:
    disturbed = replace(probe(16), seconds=(10.0, 1.0))
    assert disturbed.look_in_images == 0
    assert fit_costs([probe(4), disturbed, probe(64)], n_seen=100).share_seen == pytest.approx(0.4)


def test_trial_costs_its_start_its_images_and_its_looks() -> None:
    assert trial_seconds(TRIAL, COSTS, JOB) == pytest.approx(2 + 5 + 0.5)
    assert trial_seconds(RehearsedTrial(recipe(8), ()), COSTS, JOB) == 0, "an infeasible one is not built"


@pytest.mark.parametrize(("n_images", "n"), [(1000, 1), (1001, 2), (400, 1), (4000, 4)])
def test_training_looks_at_every_mark_and_at_its_end(n_images: int, n: int) -> None:
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


def test_memory_is_that_of_shared_makespan() -> None:
    images_mb = 1400 * 28 * 28 / 2**20
    memory = estimate_memory([probe(4), probe(16, peak_memory_mb=700.0)], 100.0, JOB)
    assert memory.of_worker == pytest.approx(700 + images_mb)
    assert memory.in_all == pytest.approx(3 * (700 + images_mb) + 100), "three retrainings at a time"
    assert estimate_memory([probe(4)], 100.0, replace(JOB, search_only=True)).in_all == 2 * 500 + 100


def test_disk_holds_images_trials_and_models() -> None:
    bare = estimate_disk(0, 0, 0, DATA)
    assert bare > 1400 * 28 * 28
    assert estimate_disk(1000, 0, 0, DATA) > bare + 1e7
    assert estimate_disk(0, 1_000_000, 4, DATA) > bare + 4 * 4e6
