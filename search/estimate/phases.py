"""What each phase of a run will cost, from rehearsals of its search and what trainings take: arithmetic alone.

How many finalists and students are trained, how long, and how many at a time is asked of the schedule that the run
follows. Not covered: baselines, exports; trials that stop early, or diverge, which cost less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fmnist.metrics.robustness import changes
from fmnist.recipe import Recipe
from search.estimate.costs import Costs
from search.estimate.simulation import Rehearsal, RehearsedTrial
from search.records.models import DataRecord, kind_of_refit
from search.refit.schedule import (
    COST_OF_TEACHERS,
    STUDENT_LENGTH,
    Clock,
    FinalistsPlan,
    cost_of_learning,
    effective_workers,
    full_length,
    has_time_for_students,
    length_of_share,
    list_schedule,
    n_parallel_trainings,
    n_searched_images,
    plan_finalists,
    seconds_of_testing,
    seconds_sharing,
    seconds_together,
    share_of_further_training,
)


@dataclass(frozen=True)
class Job:
    """The run whose cost is asked for."""

    data: DataRecord
    n_test_images: int
    report_every_images: int  # of trials
    workers: int
    load_seconds: float  # until the first training of a run starts, longer than others
    gain_of_threads: float  # of a training with more than a worker's: 1 where each is worth a worker, 0 where nothing
    n_students: int  # or retrainings, where there is a single finalist
    flips: bool  # whether mirrored images are predicted too
    begins_early: bool  # workers without a trial begin with the finalists
    n_threads: int = 1  # of each worker
    most_threads: int | None = None  # that one training can have; None: those of all workers
    search_only: bool = False
    front: bool = False  # networks of every size are delivered, see `search.estimate.front`
    timeout: float | None = None
    measuring_seconds: float = 0.0  # of networks for a target, before the search; 0 without one, or where it is done
    n_trials_done: int = 0
    n_finalists_done: int = 0
    n_students_done: int = 0

    @property
    def n_searched(self) -> int:
        """Number of images that finalists and students learn from."""
        return n_searched_images(self.data)

    @property
    def n_students_left(self) -> int:
        """Number of students that are still to be trained."""
        return max(0, self.n_students - self.n_students_done)

    @property
    def n_views(self) -> int:
        """How many views of an image are predicted: itself, and its mirror image."""
        return 2 if self.flips else 1

    @property
    def n_confirmed(self) -> int:
        """Number of images that a network predicts of the confirmation split, mirror images among them."""
        return self.n_views * self.data.n_images["confirmation"]

    def all_workers(self) -> float:
        """Return how many workers' speed one process has that computes with the threads of all of them."""
        return effective_workers(1, self.workers, self.n_threads, self.gain_of_threads, self.most_threads)

    def seconds_together(self, seconds: Sequence[float]) -> float:
        """Return how long trainings take that run side by side; seconds: of each on one worker."""
        return seconds_together(seconds, self.workers, self.n_threads, self.gain_of_threads, self.most_threads)

    def planned_all_workers(self) -> float:
        """Return what the run takes `all_workers` to be, which knows nothing of its gain by further threads."""
        return effective_workers(1, self.workers, self.n_threads, most_threads=self.most_threads)

    def planned_seconds_together(self, seconds: Sequence[float]) -> float:
        """Return how long the run takes them to need, which knows nothing of its gain by further threads."""
        return seconds_together(seconds, self.workers, self.n_threads, most_threads=self.most_threads)


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
    n_finalists: int = 0
    finalist_share: float = 1.0  # length of a finalist's training, as a share of a full one
    student_share: float = 1.0  # the same of a student's, or a retraining's

    @property
    def kind_of_student(self) -> str:
        """What is trained after the finalists: students or, of a single finalist, retrainings."""
        return kind_of_refit(is_taught=self.n_finalists > 1)

    @property
    def n_images(self) -> float:
        """Training images seen in all phases."""
        return sum(phase.n_images for phase in self.phases)

    @property
    def seconds(self) -> float:
        """Seconds of all phases."""
        return sum(phase.seconds for phase in self.phases)


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
    limit = clock_at(0.0, job).seconds_left_for_search()
    if limit is None:
        limit = math.inf
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


def clock_at(seconds: float, job: Job) -> Clock:
    """Return the run's clock as it stands so many seconds after the search began."""
    times = iter([0.0])
    timeout = None if job.timeout is None else max(0.0, job.timeout - job.measuring_seconds)
    return Clock(timeout, now=lambda: next(times, seconds), search_only=job.search_only)


def seconds_left(seconds: float, seconds_kept: float, job: Job) -> float | None:
    """Return how long trainings may go on so many seconds after the start; seconds_kept: for the test set."""
    clock = clock_at(seconds, job)
    clock.keep_for_testing(seconds_kept)
    return clock.seconds_left_for_training()


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


def full_seconds(recipe: Recipe, costs: Costs, job: Job) -> float:
    """Return the seconds of a full training on one worker, without its start."""
    return costs.seconds(recipe, full_length(recipe.plan.n_epochs, job.n_searched), 0)


@dataclass(frozen=True)
class SimulatedFinalists:
    """The finalists, trained."""

    phase: Phase
    recipes: tuple[Recipe, ...]
    share: float  # of a full training
    seconds_kept: float  # for the test set


def simulate_finalists(rehearsal: Rehearsal, searched: SimulatedSearch, costs: Costs, job: Job) -> SimulatedFinalists:
    """Train the finalists for as long as the schedule gives them."""
    full = partial(full_seconds, costs=costs, job=job)
    seconds_in_full = []
    for recipes in rehearsal.finalists:
        seconds_in_full.append(job.planned_seconds_together(list(map(full, recipes))))
    each = list(map(full, rehearsal.finalists[-1]))
    of_student = COST_OF_TEACHERS * float(np.mean(each))
    students_in_full = job.planned_seconds_together([of_student] * job.n_students)
    again_in_full = job.planned_seconds_together(list(map(full, rehearsal.finalists[0])) * job.n_students)
    speed = float(np.mean([1 / costs.seconds_an_image(recipe) for recipe in rehearsal.finalists[-1]]))
    speed *= job.planned_all_workers()
    n_confirmation = job.data.n_images["confirmation"]
    plan, n_students = FinalistsPlan(len(rehearsal.finalists), 1.0), job.n_students
    kept = 0.0
    for _ in range(2):  # as the run does
        kept = seconds_of_testing(
            job.n_test_images, n_confirmation, plan.n_finalists, n_students, speed, n_views=job.n_views
        )
        left = seconds_left(searched.phase.seconds, kept, job)
        plan = plan_finalists(left, seconds_in_full, students_in_full, again_in_full)
        n_students = job.n_students if plan.seconds_kept or job.timeout is None else 1
    longest_first = sorted(rehearsal.finalists[plan.n_finalists - 1], key=full, reverse=True)
    plan = plan.with_real_speed(job.seconds_together(list(map(full, longest_first))))
    shares = [plan.share * stretch for stretch in plan.stretches(list(map(full, longest_first)), job.workers)]
    left_to_train = slice(job.n_finalists_done, None)
    phase = finalists_phase(longest_first[left_to_train], shares[left_to_train], searched.free_at, costs, job)
    return SimulatedFinalists(phase, tuple(longest_first), plan.share, kept)


def finalists_phase(
    recipes: Sequence[Recipe], shares: Sequence[float], free_at: Sequence[float], costs: Costs, job: Job
) -> Phase:
    """Count the finalists that are left.

    Args:
        recipes: Theirs, the longest training first.
        shares: How long each is trained, as a share of a full training.
        free_at: When each worker has nothing more to do in the search.
        costs: What trainings take.
        job: The run.
    """
    if not recipes:
        return Phase("finalists", 0, 0.0)
    n_images = 0
    seconds = []
    for recipe, share in zip(recipes, shares, strict=True):
        length = length_of_share(recipe.plan.n_epochs, job.n_searched, share)
        n_images += length
        seconds.append(costs.start_seconds + costs.seconds(recipe, length, job.n_confirmed))
    search_ends = max(free_at)
    n_parallel = n_parallel_trainings(len(recipes), job.workers)
    if not job.begins_early or n_parallel < job.workers:
        ends = search_ends + job.seconds_together(seconds)
    elif n_parallel > job.workers:
        ends = float(np.mean(free_at)) + seconds_sharing(seconds, job.workers)
    else:
        ends = max(list_schedule(seconds, free_at)[1])
    return Phase("finalists", n_images, max(0.0, ends - search_ends))


def simulate_rest(
    searched: SimulatedSearch, trained: SimulatedFinalists, winner: Recipe, costs: Costs, job: Job
) -> Case:
    """Return what a run costs if this finalist wins.

    Args:
        searched: The search.
        trained: The finalists.
        winner: The recipe of the students.
        costs: What trainings take.
        job: The run.
    """
    students, share = students_phase(winner, trained, searched.phase.seconds + trained.phase.seconds, costs, job)
    n_students = job.n_students if share > 0 else 0
    networks = [*trained.recipes, *[winner] * n_students]
    ensemble = ensemble_phase(networks, costs, job)
    testing = testing_phase(winner, max(1, n_students), networks, costs, job)
    phases = (searched.phase, trained.phase, students, ensemble, testing)
    return Case(
        phases, len(searched.trials), searched.n_infeasible, len(trained.recipes), trained.share, student_share=share
    )


def students_phase(
    winner: Recipe, trained: SimulatedFinalists, begins: float, costs: Costs, job: Job
) -> tuple[Phase, float]:
    """Count the students or retrainings that are left; also return the length of one, as a share of a full training.

    Args:
        winner: Their recipe.
        trained: The finalists.
        begins: Seconds from the run's beginning until this phase.
        costs: What trainings take.
        job: The run.
    """
    n_left = job.n_students_left
    if n_left == 0:
        return Phase("students", 0, 0.0), STUDENT_LENGTH
    are_taught = len(trained.recipes) > 1
    cost = cost_of_learning(is_taught=are_taught)
    each = [cost * full_seconds(winner, costs, job)] * n_left
    if not has_time_for_students(
        seconds_left(begins, trained.seconds_kept, job),
        job.planned_seconds_together(each),
        finalist_share=0.0 if job.n_students_done else trained.share,
        are_taught=are_taught,
    ):
        return Phase("students", 0, 0.0), 0.0
    share = share_of_further_training(seconds_left(begins, trained.seconds_kept, job), job.seconds_together(each))
    length = length_of_share(winner.plan.n_epochs, job.n_searched, share)
    one = costs.start_seconds + cost * costs.seconds(winner, length, job.n_confirmed)
    return Phase("students", n_left * length, job.seconds_together([one] * n_left)), share


def ensemble_phase(networks: Sequence[Recipe], costs: Costs, job: Job) -> Phase:
    """Count the making of the ensemble, which predicts the confirmation split; all networks are taken to be members."""
    if not has_ensemble(networks, job):
        return Phase("ensemble", 0, 0.0)
    seconds = ensemble_seconds(networks, job.n_confirmed, costs, job)
    return Phase("ensemble", 0, costs.start_seconds + seconds)


def has_ensemble(networks: Sequence[Recipe], job: Job) -> bool:
    """Return whether there is something to average: several networks, or mirror images."""
    return len(networks) > 1 or job.flips


def ensemble_seconds(networks: Sequence[Recipe], n_images: int, costs: Costs, job: Job) -> float:
    """Return what all networks together take to predict, one after the other with the threads of all workers."""
    return sum(costs.seconds(recipe, 0, n_images) for recipe in networks) / job.all_workers()


def testing_phase(winner: Recipe, n_delivered: int, networks: Sequence[Recipe], costs: Costs, job: Job) -> Phase:
    """Count the evaluation on the test set.

    Every delivered network predicts in a process of its own; the first one and the ensemble in a Python that has to
    load Keras first, and the first one on changed images too.

    Args:
        winner: The recipe of what is delivered.
        n_delivered: Networks that are delivered: the students, or the winner's own training.
        networks: All that may be in the ensemble.
        costs: What trainings take.
        job: The run.
    """
    once = costs.seconds(winner, 0, job.n_test_images)
    n_processes = n_delivered * job.n_views + 1  # the last one predicts the image as it is once more, and changed
    n_views = n_delivered * job.n_views + 1 + len(changes(winner.plan.border))
    seconds = n_processes * costs.start_seconds + n_views * once / job.all_workers()
    if has_ensemble(networks, job):
        seconds += ensemble_seconds(networks, job.n_views * job.n_test_images, costs, job)
    return Phase("testing", 0, 2 * job.load_seconds + seconds)
