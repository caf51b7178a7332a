"""What a run will cost, from rehearsals of its search and from what a few trainings took: arithmetic alone.

Not covered: baselines, exports, the report's pages; trainings that stop early, or diverge, which cost less.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from fmnist.metrics.robustness import changes
from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from search.estimate.simulation import Rehearsal, RehearsedTrial
from search.records.models import DataRecord
from search.refit.schedule import (
    CONFIRM_LENGTH,
    CONFIRM_SHARE_OF_TIME,
    SHARE_OF_TIME,
    Clock,
    full_training_images,
    looks_of_confirmation,
    second_longest,
    side_by_side,
    threads_of_each,
)
from search.worker.probes import Probe

SHARES_SHOWN = (0.1, 0.9)  # of the cases, from the cheapest on, between which a cost is said to lie
BYTES_A_TRIAL = 20_000  # of the database, for its report and its share of the pages (one study of digits: 14,000)
BYTES_OF_PAGES = 6_000_000  # report, its pictures, and records
BYTES_A_WEIGHT = 4.2  # of a saved model


@dataclass(frozen=True)
class Costs:
    """Seconds of trainings: those of an image are a line over its network's multiply-adds."""

    start_seconds: float  # of each training process
    fixed_seconds: float  # an image, whatever the network
    seconds_a_multiply_add: float
    share_seen: float  # what an image costs that is only looked at, as a share of one that is learned from

    def seconds_an_image(self, recipe: Recipe) -> float:
        return self.fixed_seconds + self.seconds_a_multiply_add * count_multiply_adds(recipe.architecture)

    def seconds(self, recipe: Recipe, n_images: int, n_seen: int) -> float:
        """Of a training on so many images, repeats counted, with looks at n_seen; without its start."""
        return (n_images + self.share_seen * n_seen) * self.seconds_an_image(recipe)


def fit_costs(probes: Sequence[Probe], n_seen: int) -> Costs:
    """Least squares of relative errors, neither term below 0: a sum of trainings is off by what each is off by, by its
    share, so the small networks count as much as the large ones. n_seen: images of a look.

    A single probe of a second may be off by half where the machine has other work, more than networks lie off the line
    (a sixth, of nine trials of Fashion-MNIST): so the line holds for those that were measured too.
    """
    a_look = float(np.median([probe.look_in_images for probe in probes]))
    seconds = np.array([seconds_an_image(probe, a_look) for probe in probes])
    starts = [
        probe.first_seconds - (probe.n_first + a_look) * an_image
        for probe, an_image in zip(probes, seconds, strict=True)
    ]
    multiply_adds = np.array([count_multiply_adds(probe.recipe.architecture) for probe in probes])
    scale = multiply_adds.max()  # else the columns differ by a million
    columns = np.stack([1 / seconds, multiply_adds / scale / seconds], axis=1)
    fixed, by_cost = nnls(columns, np.ones(len(probes)))[0]
    return Costs(
        start_seconds=max(0.0, float(np.mean(starts))),
        fixed_seconds=float(fixed),
        seconds_a_multiply_add=float(by_cost / scale),
        share_seen=a_look / n_seen,
    )


def seconds_an_image(probe: Probe, look_in_images: float) -> float:
    """Of both trainings together: their difference would be noisier."""
    return sum(probe.seconds) / (sum(probe.n_images) + 2 * look_in_images)


@dataclass(frozen=True)
class Job:
    """The run whose cost is asked for."""

    data: DataRecord
    n_test_images: int
    report_every_images: int  # of trials
    longest_training: int  # epochs
    workers: int
    load_seconds: float  # until the first training of a run starts, longer than others
    gain_of_threads: float  # of a training with more than a worker's: 1 where each is worth a worker, 0 where nothing
    n_seeds: int
    flips: bool  # whether the test images are mirrored too
    begins_early: bool  # workers without a trial begin with the confirmations
    search_only: bool = False
    timeout: float | None = None
    n_trials_done: int = 0
    n_confirmed: int = 0
    n_refitted: int = 0

    def slowness(self, n_parallel: int) -> float:
        """Seconds an image of so many trainings at a time, against those of as many as there are workers. More share
        the cores; fewer have more threads each."""
        if n_parallel >= self.workers:
            return n_parallel / self.workers
        n_threads = threads_of_each(n_parallel, self.workers, 1)
        return 1 / (1 + self.gain_of_threads * (n_threads - 1))

    @property
    def n_train(self) -> int:
        return self.data.n_images["train"]

    @property
    def n_all(self) -> int:
        return sum(self.data.n_images[name] for name in ("train", "selection", "confirmation"))


@dataclass(frozen=True)
class Phase:
    """What a phase of a run costs."""

    name: str
    n_images: float  # training images seen
    seconds: float


@dataclass(frozen=True)
class Case:
    """A run that might be."""

    phases: tuple[Phase, ...]
    n_trials: int  # that are run now
    n_infeasible: int  # of these
    refit_share: float  # of the full length of a retraining, that a timeout leaves

    @property
    def n_images(self) -> float:
        return sum(phase.n_images for phase in self.phases)

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for phase in self.phases)


def estimate(rehearsals: Sequence[Rehearsal], costs: Costs, job: Job) -> list[Case]:
    """Each rehearsal, with each of its finalists as the winner: all as likely. Cheapest first. Those that found nothing
    to confirm are left out, unless that is all of them."""
    with_finalists = [rehearsal for rehearsal in rehearsals if rehearsal.finalists]
    likely = rehearsals if job.search_only else with_finalists or rehearsals
    cases = [case for rehearsal in likely for case in _cases_of(rehearsal, costs, job)]
    return sorted(cases, key=lambda case: case.seconds)


def middle(cases: Sequence[Case]) -> Case:
    """Mean figures of all cases."""
    names = [phase.name for phase in cases[0].phases]
    phases = tuple(
        Phase(
            name,
            float(np.mean([case.phases[i].n_images for case in cases])),
            float(np.mean([case.phases[i].seconds for case in cases])),
        )
        for i, name in enumerate(names)
    )
    return Case(
        phases,
        round(np.mean([case.n_trials for case in cases])),
        round(np.mean([case.n_infeasible for case in cases])),
        float(np.mean([case.refit_share for case in cases])),
    )


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Between which most of them lie, see SHARES_SHOWN."""
    low, high = np.quantile(values, SHARES_SHOWN)
    return float(low), float(high)


def _cases_of(rehearsal: Rehearsal, costs: Costs, job: Job) -> list[Case]:
    trials = rehearsal.trials[job.n_trials_done :]
    searched = _search(trials, rehearsal, costs, job)
    if job.search_only or not rehearsal.finalists:
        return [Case((searched.phase,), len(searched.trials), searched.n_infeasible, 1.0)]
    return [_case(searched, rehearsal, finalist.recipe, costs, job) for finalist in rehearsal.finalists]


def _case(searched: _Searched, rehearsal: Rehearsal, winner: Recipe, costs: Costs, job: Job) -> Case:
    confirm_share, refit_share = _shares(searched, rehearsal, winner, costs, job)
    finalists = sorted((f.recipe for f in rehearsal.finalists), key=lambda r: -_full(r, job.n_train, costs))
    confirmed = _confirm(finalists[job.n_confirmed :], confirm_share, searched.free_at, costs, job)
    refitted = _refit(winner, refit_share, costs, job)
    phases = (searched.phase, confirmed, refitted, _test(winner, costs, job))
    return Case(phases, len(searched.trials), searched.n_infeasible, refit_share)


# --- the search


@dataclass(frozen=True)
class _Searched:
    phase: Phase
    trials: tuple[RehearsedTrial, ...]
    free_at: tuple[float, ...]  # seconds from the beginning, for each worker

    @property
    def n_infeasible(self) -> int:
        return sum(not trial.rungs for trial in self.trials)


def _search(trials: Sequence[RehearsedTrial], rehearsal: Rehearsal, costs: Costs, job: Job) -> _Searched:
    seconds = [trial_seconds(trial, costs, job) for trial in trials]
    limit = _search_limit(rehearsal, costs, job)
    starts, free_at = in_turn(seconds, [job.load_seconds if seconds else 0.0] * job.workers)
    run = [
        (trial, start, length) for trial, start, length in zip(trials, starts, seconds, strict=True) if start < limit
    ]
    n_images = sum(sum(trial.rungs) * min(1.0, (limit - start) / length) for trial, start, length in run if length > 0)
    free_at = [min(limit, each) for each in free_at]
    phase = Phase("search", n_images, max(free_at) if run else 0.0)
    return _Searched(phase, tuple(trial for trial, *_ in run), tuple(free_at))


def trial_seconds(trial: RehearsedTrial, costs: Costs, job: Job) -> float:
    """0 where it is infeasible: nothing is built."""
    if not trial.rungs:
        return 0.0
    n_seen = job.data.n_images["selection"] * sum(n_looks(n, job.report_every_images) for n in trial.rungs)
    return costs.start_seconds + costs.seconds(trial.recipe, sum(trial.rungs), n_seen)


def n_looks(n_images: int, report_every_images: int) -> int:
    """Looks at the selection split in a training of so many images: at every mark, and one at its end."""
    return math.ceil(n_images / report_every_images)


def in_turn(seconds: Sequence[float], free_at: Sequence[float]) -> tuple[list[float], list[float]]:
    """When each job starts, taken in this order by whichever worker is free, and when each worker is free again."""
    workers, starts = list(free_at), []
    heapq.heapify(workers)
    for length in seconds:
        start = heapq.heappop(workers)
        starts.append(start)
        heapq.heappush(workers, start + length)
    return starts, workers


def _search_limit(rehearsal: Rehearsal, costs: Costs, job: Job) -> float:
    """Seconds until the search has to end."""
    if job.timeout is None:
        return math.inf
    n_images = full_training_images(job.longest_training, job.data, job.n_seeds, job.workers)
    recipes = [finalist.recipe for finalist in rehearsal.finalists]
    speeds = [1 / costs.seconds_an_image(recipe) for recipe in recipes]
    return Clock(job.timeout, now=lambda: 0.0).seconds_left_for_search(n_images, speeds)


# --- full trainings


def _full(recipe: Recipe, n_images: int, costs: Costs) -> float:
    """Seconds of a full training on so many images an epoch, nothing looked at."""
    return recipe.plan.n_epochs * n_images * costs.seconds_an_image(recipe)


def _shares(searched: _Searched, rehearsal: Rehearsal, winner: Recipe, costs: Costs, job: Job) -> tuple[float, float]:
    """Of a full training's length: of a confirmation, and of a retraining. See `refit.confirm` for the rule."""
    if job.timeout is None:
        return CONFIRM_LENGTH, 1.0
    left = job.timeout - searched.phase.seconds
    recipes = [finalist.recipe for finalist in rehearsal.finalists]
    n_parallel = side_by_side(len(recipes), job.workers)
    slow, retraining = job.slowness(n_parallel) / n_parallel, _refit_seconds(winner, costs, job)
    longest = max(recipe.plan.n_epochs for recipe in recipes) * job.n_train
    confirming = sum(_full(recipe, job.n_train, costs) for recipe in recipes) * slow
    share = _share_that_fits(left, CONFIRM_LENGTH * confirming + retraining)
    as_searched = second_longest([max(trial.rungs, default=0) for trial in searched.trials]) / longest
    at_most = CONFIRM_SHARE_OF_TIME * left / confirming
    confirm_share = min(CONFIRM_LENGTH, max(CONFIRM_LENGTH * share**2, min(as_searched, at_most)))
    return confirm_share, _share_that_fits(left - confirm_share * confirming, retraining)


def _share_that_fits(seconds_left: float, seconds: float) -> float:
    fitting = SHARE_OF_TIME * max(0.0, seconds_left)
    return 1.0 if fitting >= seconds else fitting / seconds


def _confirm(recipes: Sequence[Recipe], share: float, free_at: Sequence[float], costs: Costs, job: Job) -> Phase:
    """recipes: the longest first."""
    lengths = [max(1, round(share * recipe.plan.n_epochs * job.n_train)) for recipe in recipes]
    if not recipes:
        return Phase("confirmation", 0, 0.0)
    n_parallel = side_by_side(len(recipes), job.workers)
    faster = min(1.0, job.slowness(n_parallel))
    seconds = [
        costs.start_seconds + faster * costs.seconds(recipe, length, _n_seen_confirming(length, job))
        for recipe, length in zip(recipes, lengths, strict=True)
    ]
    search_ends = max(free_at)
    begins = free_at if job.begins_early else [search_ends] * min(n_parallel, job.workers)
    if n_parallel > job.workers:
        return Phase("confirmation", sum(lengths), max(0.0, all_at_a_time(seconds, begins) - search_ends))
    _, ends = in_turn(seconds, begins)
    return Phase("confirmation", sum(lengths), max(0.0, max(ends) - search_ends))


def all_at_a_time(seconds: Sequence[float], free_at: Sequence[float]) -> float:
    """When jobs end that share the cores evenly, of one worker each, from when each is free: as soon as all work is
    done, but no sooner than the longest alone."""
    return max((sum(free_at) + sum(seconds)) / len(free_at), min(free_at) + max(seconds))


def _n_seen_confirming(length: int, job: Job) -> int:
    looks = n_looks(length, looks_of_confirmation(length, job.n_train))
    return looks * job.data.n_images["selection"] + job.data.n_images["confirmation"]


def _refit(winner: Recipe, share: float, costs: Costs, job: Job) -> Phase:
    n_left = max(0, job.n_seeds - job.n_refitted)
    n_images = n_left * share * winner.plan.n_epochs * job.n_all
    return Phase("retraining", n_images, _refit_seconds(winner, costs, job, share))


def _refit_seconds(winner: Recipe, costs: Costs, job: Job, share: float = 1.0) -> float:
    n_left = max(0, job.n_seeds - job.n_refitted)
    if n_left == 0:
        return 0.0
    n_parallel = side_by_side(n_left, job.workers)
    one = costs.start_seconds + share * job.slowness(n_parallel) * _full(winner, job.n_all, costs)
    return math.ceil(n_left / n_parallel) * one


def _test(winner: Recipe, costs: Costs, job: Job) -> Phase:
    """Every model predicts in a process of its own; the delivered one once more in a Python that has to load Keras
    first, and on changed images."""
    n_processes = job.n_seeds * (1 + job.flips) + 1
    n_seen = job.n_test_images * (n_processes + len(changes(winner.plan.border)))
    seconds = job.load_seconds + n_processes * costs.start_seconds + costs.seconds(winner, 0, n_seen)
    return Phase("testing", 0, seconds)


# --- memory and disk


@dataclass(frozen=True)
class Memory:
    """Megabytes, at the highest."""

    of_worker: float
    in_all: float  # pages that processes share counted for each: rather too much


def estimate_memory(probes: Sequence[Probe], supervisor_mb: float, job: Job) -> Memory:
    """A retraining holds all images as its own; other trainings map them."""
    largest = max(probe.peak_memory_mb for probe in probes)
    images_mb = 0.0 if job.search_only else job.n_all * math.prod(job.data.image_shape) / 2**20
    n_refits = 0 if job.search_only else side_by_side(job.n_seeds, job.workers)
    in_all = max(job.workers * largest, n_refits * (largest + images_mb))
    return Memory(largest + images_mb, in_all + supervisor_mb)


def estimate_disk(n_trials: int, n_parameters: int, n_models: int, data: DataRecord) -> int:
    """Bytes in the study's folder at its fullest. n_parameters: of the winner; n_models: its copies, in any format."""
    n_images = sum(data.n_images.values())
    images = n_images * (math.prod(data.image_shape) + 1)  # the split, removed when the run ends
    return round(images + n_trials * BYTES_A_TRIAL + n_models * n_parameters * BYTES_A_WEIGHT + BYTES_OF_PAGES)
