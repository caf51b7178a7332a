"""What each phase of a run will cost, from rehearsals of its search and what trainings take: arithmetic alone.

How long trainings are and how many run at a time is asked of the schedule that the run follows. Not covered: baselines,
exports, the report's pages; trainings that stop early, or diverge, which cost less.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnist.metrics.robustness import changes
from fmnist.recipe import Recipe
from search.estimate.costs import Costs
from search.estimate.simulation import Rehearsal, RehearsedTrial
from search.records.models import DataRecord
from search.refit.schedule import (
    Clock,
    confirmation_evaluation_interval,
    confirmation_length,
    confirmation_share,
    effective_workers,
    full_length,
    full_training_images,
    n_all_images,
    n_parallel_trainings,
    retraining_share,
)

SHARES_SHOWN = (0.1, 0.9)  # of the cases, from the cheapest on, between which a cost is said to lie


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
        """Return the seconds an image of so many trainings at a time, against those of as many as there are workers.

        More share the cores; fewer have more threads each.
        """
        return n_parallel / self.effective_workers(n_parallel)

    def effective_workers(self, n_parallel: int) -> float:
        """Return how many workers' speed so many trainings at a time have together."""
        return effective_workers(n_parallel, self.workers, 1, self.gain_of_threads)

    @property
    def n_train(self) -> int:
        """Number of images in the training split."""
        return self.data.n_images["train"]

    @property
    def n_all(self) -> int:
        """Number of images that a retraining learns from."""
        return n_all_images(self.data)

    @property
    def n_seeds_left(self) -> int:
        """Number of retrainings that are still to be made."""
        return max(0, self.n_seeds - self.n_refitted)


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
        """Training images seen in all phases."""
        return sum(phase.n_images for phase in self.phases)

    @property
    def seconds(self) -> float:
        """Seconds of all phases."""
        return sum(phase.seconds for phase in self.phases)


def estimate(rehearsals: Sequence[Rehearsal], costs: Costs, job: Job) -> list[Case]:
    """Return what each rehearsal costs with each of its finalists as the winner, all as likely, the cheapest first.

    Rehearsals that found nothing to confirm are left out, unless that is all of them.
    """
    likely = list(rehearsals)
    with_finalists = [rehearsal for rehearsal in rehearsals if rehearsal.finalists]
    if with_finalists and not job.search_only:
        likely = with_finalists
    cases = []
    for rehearsal in likely:
        searched = simulate_search(rehearsal, costs, job)
        if job.search_only or not rehearsal.finalists:
            cases.append(Case((searched.phase,), len(searched.trials), searched.n_infeasible, 1.0))
            continue
        for finalist in rehearsal.finalists:
            cases.append(simulate_run(rehearsal, searched, finalist.recipe, costs, job))
    return sorted(cases, key=lambda case: case.seconds)


def middle(cases: Sequence[Case]) -> Case:
    """Return the mean figures of all cases, as one case."""
    phases = []
    for i, phase in enumerate(cases[0].phases):
        n_images = np.mean([case.phases[i].n_images for case in cases])
        seconds = np.mean([case.phases[i].seconds for case in cases])
        phases.append(Phase(phase.name, float(n_images), float(seconds)))
    counts = [(case.n_trials, case.n_infeasible, case.refit_share) for case in cases]
    n_trials, n_infeasible, refit_share = np.mean(counts, axis=0)
    return Case(tuple(phases), round(n_trials), round(n_infeasible), float(refit_share))


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the two values between which most of them lie, see SHARES_SHOWN."""
    low, high = np.quantile(values, SHARES_SHOWN)
    return float(low), float(high)


def simulate_run(rehearsal: Rehearsal, searched: SimulatedSearch, winner: Recipe, costs: Costs, job: Job) -> Case:
    """Return what a run costs after this search, if this finalist wins.

    Args:
        rehearsal: The search as it was rehearsed.
        searched: The same, with its times.
        winner: The recipe that is retrained.
        costs: What trainings take.
        job: The run.
    """
    finalists = [finalist.recipe for finalist in rehearsal.finalists]
    finalists.sort(key=lambda recipe: full_seconds(recipe, job.n_train, costs), reverse=True)
    confirming, longest = 0.0, 0
    for recipe in finalists:
        confirming += full_seconds(recipe, job.n_train, costs)
        longest = max(longest, full_length(recipe.plan.n_epochs, job.n_train))
    confirming /= job.effective_workers(n_parallel_trainings(len(finalists), job.workers))
    retraining = retraining_seconds(winner, 1.0, costs, job)
    left = None
    if job.timeout is not None:
        left = max(0.0, job.timeout - searched.phase.seconds)
    confirm_share = confirmation_share(
        left,
        confirming,
        retraining,
        searched_lengths=[max(trial.rungs, default=0) for trial in searched.trials],
        longest=longest,
    )
    if left is not None:
        left = max(0.0, left - confirm_share * confirming)
    refit_share = retraining_share(left, retraining)
    n_images = job.n_seeds_left * refit_share * full_length(winner.plan.n_epochs, job.n_all)
    phases = (
        searched.phase,
        confirmation_phase(finalists[job.n_confirmed :], confirm_share, searched.free_at, costs, job),
        Phase("retraining", n_images, retraining_seconds(winner, refit_share, costs, job)),
        testing_phase(winner, costs, job),
    )
    return Case(phases, len(searched.trials), searched.n_infeasible, refit_share)


@dataclass(frozen=True)
class SimulatedSearch:
    """A search with its times."""

    phase: Phase
    trials: tuple[RehearsedTrial, ...]  # that start before the search has to end
    free_at: tuple[float, ...]  # seconds from the beginning until each worker has nothing more to do

    @property
    def n_infeasible(self) -> int:
        """Number of trials over the limits."""
        return sum(not trial.rungs for trial in self.trials)


def simulate_search(rehearsal: Rehearsal, costs: Costs, job: Job) -> SimulatedSearch:
    """Count the trials that start before the search has to end, and what is trained of them until then."""
    trials = rehearsal.trials[job.n_trials_done :]
    seconds = [trial_seconds(trial, costs, job) for trial in trials]
    limit = search_limit(rehearsal, costs, job)
    begins = job.load_seconds if seconds else 0.0
    starts, ends = list_schedule(seconds, [begins] * job.workers)
    begun: list[RehearsedTrial] = []
    n_images = 0.0
    for trial, start, length in zip(trials, starts, seconds, strict=True):
        if start >= limit:
            continue
        begun.append(trial)
        if length > 0:
            n_images += sum(trial.rungs) * min(1.0, (limit - start) / length)
    free_at = tuple(min(limit, end) for end in ends)
    phase = Phase("search", n_images, max(free_at) if begun else 0.0)
    return SimulatedSearch(phase, tuple(begun), free_at)


def search_limit(rehearsal: Rehearsal, costs: Costs, job: Job) -> float:
    """Return the seconds until the search has to end, by the clock of the run; infinity without a timeout."""
    clock = Clock(job.timeout, now=lambda: 0.0)
    n_images = full_training_images(job.longest_training, job.data, job.n_seeds, job.workers)
    speeds = [1 / costs.seconds_an_image(finalist.recipe) for finalist in rehearsal.finalists]
    limit = clock.seconds_left_for_search(n_images, speeds)
    return math.inf if limit is None else limit


def trial_seconds(trial: RehearsedTrial, costs: Costs, job: Job) -> float:
    """Return the seconds of a trial; 0 where it is infeasible: nothing is built."""
    if not trial.rungs:
        return 0.0
    n_seen = 0
    for n_images in trial.rungs:
        n_seen += job.data.n_images["selection"] * n_evaluations(n_images, job.report_every_images)
    return costs.start_seconds + costs.seconds(trial.recipe, sum(trial.rungs), n_seen)


def n_evaluations(n_images: int, interval: int) -> int:
    """Return how often a training of so many images is evaluated: after every interval, and at its end."""
    return math.ceil(n_images / interval)


def list_schedule(seconds: Sequence[float], free_at: Sequence[float]) -> tuple[list[float], list[float]]:
    """Simulate jobs that are taken in this order by whichever worker is free (list scheduling, Graham 1966).

    Args:
        seconds: Length of each job.
        free_at: When each worker is free for the first time.

    Returns:
        When each job starts, and when each worker is free again.
    """
    workers = list(free_at)
    starts = []
    heapq.heapify(workers)
    for length in seconds:
        start = heapq.heappop(workers)
        starts.append(start)
        heapq.heappush(workers, start + length)
    return starts, workers


def shared_makespan(seconds: Sequence[float], free_at: Sequence[float]) -> float:
    """Return when jobs end that share the workers evenly: when all work is done, but no sooner than the longest alone.

    Args:
        seconds: Length of each job on a worker of its own.
        free_at: When each worker is free.
    """
    return max((sum(free_at) + sum(seconds)) / len(free_at), min(free_at) + max(seconds))


def full_seconds(recipe: Recipe, n_images: int, costs: Costs) -> float:
    """Return the seconds of a full training without evaluations; n_images: of an epoch."""
    return full_length(recipe.plan.n_epochs, n_images) * costs.seconds_an_image(recipe)


def confirmation_phase(
    recipes: Sequence[Recipe], share: float, free_at: Sequence[float], costs: Costs, job: Job
) -> Phase:
    """Count the confirmations that are left.

    Args:
        recipes: Their finalists, the longest training first.
        share: Length of a confirmation, as a share of a full training.
        free_at: When each worker has nothing more to do in the search.
        costs: What trainings take.
        job: The run.
    """
    if not recipes:
        return Phase("confirmation", 0, 0.0)
    n_parallel = n_parallel_trainings(len(recipes), job.workers)
    faster = min(1.0, job.slowness(n_parallel))
    n_images = 0
    seconds = []
    for recipe in recipes:
        length = confirmation_length(recipe.plan.n_epochs, job.n_train, share)
        evaluations = n_evaluations(length, confirmation_evaluation_interval(length, job.n_train))
        n_seen = evaluations * job.data.n_images["selection"] + job.data.n_images["confirmation"]
        n_images += length
        seconds.append(costs.start_seconds + faster * costs.seconds(recipe, length, n_seen))
    search_ends = max(free_at)
    begins = free_at
    if not job.begins_early:
        begins = [search_ends] * min(n_parallel, job.workers)
    if n_parallel > job.workers:
        ends_at = shared_makespan(seconds, begins)
    else:
        _, ends = list_schedule(seconds, begins)
        ends_at = max(ends)
    return Phase("confirmation", n_images, max(0.0, ends_at - search_ends))


def retraining_seconds(winner: Recipe, share: float, costs: Costs, job: Job) -> float:
    """Return the seconds of all retrainings that are left; share: of their full length."""
    if job.n_seeds_left == 0:
        return 0.0
    n_parallel = n_parallel_trainings(job.n_seeds_left, job.workers)
    one = costs.start_seconds + share * job.slowness(n_parallel) * full_seconds(winner, job.n_all, costs)
    return math.ceil(job.n_seeds_left / n_parallel) * one


def testing_phase(winner: Recipe, costs: Costs, job: Job) -> Phase:
    """Count the evaluation on the test set.

    Every model predicts in a process of its own; the delivered one once more in a Python that has to load Keras first,
    and on changed images.
    """
    n_processes = job.n_seeds * (1 + job.flips) + 1
    n_seen = job.n_test_images * (n_processes + len(changes(winner.plan.border)))
    seconds = job.load_seconds + n_processes * costs.start_seconds + costs.seconds(winner, 0, n_seen)
    return Phase("testing", 0, seconds)
