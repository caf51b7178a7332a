"""How the networks of the front are trained in full: as finalists first, then each as a student of the best of them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from search.format import with_noun
from search.records.models import ConfirmRecord, FrontPointRecord, FrontRecord, MemberRecord, kind_of_refit
from search.refit.confirmation import full_seconds, trained_finalists
from search.refit.ensemble import choose_teachers, finished_students
from search.refit.finalists import Finalist, n_views_of
from search.refit.retraining import description_of, student_failure, train_student
from search.refit.round import FinalRound
from search.refit.schedule import (
    COST_OF_TEACHERS,
    FINALIST_LENGTH,
    MOST_LENGTHS,
    N_TEACHERS,
    SHARE_KEPT,
    SHARE_OF_TIME,
    SHORTEST_STUDENT,
    STUDENT_TO_FINALIST,
    Clock,
    FinalistsPlan,
    full_length,
    length_of_share,
    seconds_of_testing,
    share_of_further_training,
    share_that_fits,
)
from search.worker.tasks import TrainingFailed

# Full trainings that every finalist must have room for so that students follow: shorter ones teach little, and each
# student asks its teachers for every image that it sees.
LENGTH_BESIDE_STUDENTS_OF_FRONT = 0.75
# A file: conversion, comparison on the test images and timing (10,000 images of 28 x 28 pixels: 18 files took 9 s each
# on two busy cores, 9 files 6 s on two idle ones).
SECONDS_OF_EXPORT = 10.0


@dataclass(frozen=True)
class Point:
    """A network of the front that has been trained as a finalist."""

    record: FrontPointRecord
    finalist: ConfirmRecord
    final: FinalRound  # with the files that its training goes to

    @property
    def recipe(self) -> Recipe:
        """Its network and its training."""
        return Recipe.from_dict(self.finalist.recipe)


class ClockShare(Clock):
    """What one training may take of the time that is left, counted from its first question."""

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        super().__init__(None)
        self._clock = clock
        self._left_at_first: float | None = None
        self._seconds = seconds

    def seconds_left_for_training(self) -> float | None:
        """Return the seconds until this training has to end; None without a timeout."""
        left = self._clock.seconds_left_for_training()
        if left is None or self._seconds is None:
            return left
        if self._left_at_first is None:
            self._left_at_first = left
        return min(left, max(0.0, self._seconds - (self._left_at_first - left)))


@dataclass(frozen=True)
class FullTraining:
    """What a full training of a network takes."""

    seconds: float  # on one worker
    multiply_adds: int  # of the network, for an image


@dataclass(frozen=True)
class FrontPlan(FinalistsPlan):
    """How long the networks of the front are trained as finalists: the smaller, the longer.

    A small network learns for longer, and its images cost less: each is seen the more often by the square root of how
    many times as many the largest one's would cost.
    """

    costs: tuple[int, ...] = ()  # of all networks: multiply-adds an image
    allotment: float = math.inf  # of what a training is planned to take, the most that it may; infinite without timeout

    def stretches(self, seconds_in_full: Sequence[float], workers: int) -> list[float]:
        """Return how many times the plan's length each training has."""
        return stretches_of(self.costs, self.share)

    def clock_of(self, clock: Clock, seconds: float) -> Clock:
        """Return the clock of one training, which leaves the others their time. seconds: what it is planned to take."""
        if math.isinf(self.allotment):
            return clock
        # What is kept for the students is taken off what any finalist's clock has left.
        return ClockShare(clock, self.allotment * seconds + self.seconds_kept)


def stretches_of(costs: Sequence[int], share: float) -> list[float]:
    """Return how many times as long as planned each network is trained, see `FrontPlan`; none beyond MOST_LENGTHS.

    Args:
        costs: Multiply-adds of each network, which measured seconds would only repeat with noise.
        share: What is planned, as a share of a full training.
    """
    longest = max(1.0, MOST_LENGTHS / share)
    return [min(math.sqrt(max(costs) / cost), longest) for cost in costs]


def plan_front(final: FinalRound, points: Sequence[Finalist], n_students: int, n_test: int) -> FrontPlan:
    """Return how long the networks are trained as finalists, and what is kept for their students.

    The clock is told how long the test set and the files will take.

    Args:
        final: Where trainings run.
        points: The networks.
        n_students: Students that are trained of each.
        n_test: Test images.
    """
    trainings = []
    for seconds, point in zip(full_seconds(final, points), points, strict=True):
        trainings.append(FullTraining(seconds, count_multiply_adds(point.recipe.architecture)))
    speeds = [point.images_per_second for point in points if point.images_per_second is not None]
    if speeds:
        n_confirmation = final.data.n_images["confirmation"]
        speed = final.speed_with_all_threads(speeds)
        n, n_views = len(points), n_views_of(points)
        seconds = seconds_of_testing(n_test, n_confirmation, n, n, speed, n_views=n_views)
        final.clock.keep_for_testing(seconds + seconds_of_files(n))
    seconds_left = final.clock.seconds_left_for_training()
    plan = plan_of_front(trainings, n_students, seconds_left, final.seconds_together)
    by_trial = {record.trial: record for record in trained_finalists(final)}
    done = [place for place, point in enumerate(points) if point.trial in by_trial]
    if not done:
        return plan
    first = points[done[0]]
    n_full = _full_length(final, first.recipe)
    stretch = stretches_of([training.multiply_adds for training in trainings], plan.share)[done[0]]
    share = by_trial[first.trial].n_planned_images / n_full / stretch
    if seconds_left is not None:
        seconds_left -= plan.seconds_kept
    resumed = plan_of_length(share, trainings, seconds_left, final.seconds_together, done)
    return replace(resumed, seconds_kept=plan.seconds_kept)


def plan_of_front(
    trainings: Sequence[FullTraining],
    n_students: int,
    seconds_left: float | None,
    together: Callable[[Sequence[float]], float],
) -> FrontPlan:
    """Return how long networks are trained as finalists; with students after them where there is time for long ones.

    Args:
        trainings: What each network takes.
        n_students: Students that are trained of each.
        seconds_left: Until the last training has to end; None without a timeout.
        together: Returns how long trainings take that run side by side.
    """
    if seconds_left is None:
        return plan_of_length(FINALIST_LENGTH, trainings, None, together)
    each = [training.seconds for training in trainings]
    stretches = stretches_of([training.multiply_adds for training in trainings], 1.0)
    in_full = together([seconds * stretch for seconds, stretch in zip(each, stretches, strict=True)])
    taught = taught_seconds(each, sorted(each)[-N_TEACHERS:])
    students_in_full = together([seconds for seconds in taught for _ in range(n_students)])
    share = share_that_fits(SHARE_OF_TIME * seconds_left, in_full + STUDENT_TO_FINALIST * students_in_full)
    if share < LENGTH_BESIDE_STUDENTS_OF_FRONT:
        share = share_that_fits(SHARE_OF_TIME * seconds_left, in_full)
        return plan_of_length(share, trainings, seconds_left, together)
    plan = plan_of_length(share, trainings, share * in_full / SHARE_OF_TIME, together)
    return replace(plan, seconds_kept=SHARE_KEPT * (seconds_left - plan.seconds))


def plan_of_length(
    share: float,
    trainings: Sequence[FullTraining],
    seconds_left: float | None,
    together: Callable[[Sequence[float]], float],
    done: Sequence[int] = (),
) -> FrontPlan:
    """Return a plan of this length for the networks that are still to be trained, which may take the seconds left.

    Args:
        share: Of a full training.
        trainings: What each network takes.
        seconds_left: For all that are missing; None without a timeout.
        together: Returns how long trainings take that run side by side.
        done: Places of those that are trained.
    """
    costs = tuple(training.multiply_adds for training in trainings)
    plan = FrontPlan(len(trainings), share, costs=costs)
    planned = []
    for place, (training, stretch) in enumerate(zip(trainings, stretches_of(costs, share), strict=True)):
        if place not in done:
            planned.append(share * training.seconds * stretch)
    if seconds_left is None or not planned:
        return plan
    return replace(plan, seconds=seconds_left, allotment=seconds_left / together(planned))


def seconds_of_files(n_points: int, n_formats: int = 3) -> float:
    """Return about how long it takes to make the files of so many networks, and to compare them on the test set."""
    return SECONDS_OF_EXPORT * n_points * n_formats


def taught_seconds(seconds: Sequence[float], of_teachers: Sequence[float]) -> list[float]:
    """Return what a student of each network takes: its own training, and its teachers' predictions.

    Args:
        seconds: Of each training from labels alone.
        of_teachers: The same of the teachers', for as many images.
    """
    of_teaching = (COST_OF_TEACHERS - 1) * sum(of_teachers) / N_TEACHERS
    return [own + of_teaching for own in seconds]


def write_front(final: FinalRound, points: tuple[FrontPointRecord, ...]) -> None:
    """Write which networks the front has; what an earlier run has trained of others goes."""
    files = final.files
    for old in files.read_front():
        if old not in points:
            files.checksums.forget(files.front / old.name)
    if files.read_front() != points:
        files.write_json(files.front_record, FrontRecord(points))


def trained_points(final: FinalRound) -> list[Point]:
    """Return the networks that were trained as finalists, the cheapest first."""
    by_trial = {record.trial: record for record in trained_finalists(final)}
    points = []
    for record in final.files.read_front():
        finalist = by_trial.get(record.trial)
        if finalist is None:  # its training failed
            continue
        points.append(Point(record, finalist, replace(final, files=final.files.of_point(record.name))))
    return points


def train_students(
    final: FinalRound,
    winner: ConfirmRecord,
    points: Sequence[Point],
    n_seeds: int,
    announce: Callable[..., None],
) -> dict[str, str]:
    """Train the students that are missing; return why some are still missing, in words, by the point's name.

    Args:
        final: Where trainings run.
        winner: The best finalist.
        points: The front's networks.
        n_seeds: Students of each; those that an earlier run finished count.
        announce: Is told of the phase, of how many students it has, and how many of them are done.

    Raises:
        TrainingFailed: A student's training met a bug.
        Interrupted: The run is to stop.
    """
    missing = [(point, index) for point in points for index in _missing(point, n_seeds)]
    if not missing:
        return {}
    begun = []
    for point in points:
        begun += [(point, record) for record in finished_students(point.final.files, point.finalist.trial)]
    teachers = begun[0][1].teachers if begun else choose_teachers(final)  # all students have the same
    which = description_of(is_taught=bool(teachers))
    taught = _seconds_of_students(final, points, teachers)
    missing.sort(key=lambda each: -taught[each[0].record.name])  # so that no worker waits for a long one at the end
    in_full = final.seconds_together([taught[point.record.name] for point, _ in missing])
    seconds_left = final.clock.seconds_left_for_training()
    share = share_of_further_training(seconds_left, in_full)
    share_of_winner = winner.n_images / _full_length(final, Recipe.from_dict(winner.recipe))
    if begun:
        first, record = begun[0]
        share = record.n_planned_images / _full_length(final, first.recipe)
    elif seconds_left is not None and share < SHORTEST_STUDENT * share_of_winner:
        return {point.record.name: f"the timeout left no time for {which}" for point in points}
    n, kind = n_seeds * len(points), kind_of_refit(is_taught=bool(teachers))
    announce(f"training {with_noun(n, kind)} of the front", n, n - len(missing))
    n_parallel = final.n_parallel(len(missing))
    failed: dict[str, TrainingFailed] = {}  # by the point's name
    jobs = []
    for point, index in missing:
        name, allotted = point.record.name, None
        if seconds_left is not None and n_parallel < len(missing):  # others wait for its worker
            allotted = seconds_left * taught[name] / in_full
        of_student = replace(point.final, clock=ClockShare(final.clock, allotted))
        n_planned = length_of_share(point.recipe.plan.n_epochs, final.n_searched_images, share)
        label = f"{kind} {index} of {name}"
        train = partial(train_student, of_student, point.finalist, index, n_planned, n_parallel, teachers, label)
        jobs.append(partial(_noting_failure, train, name, failed))
    for failure in final.run_parallel("refit", jobs, n_parallel):
        if failure.kind == "error":  # a bug, which no other training makes good
            raise failure
    return {name: student_failure(failure, which) for name, failure in failed.items()}


def _noting_failure(train: Callable[[], None], name: str, failed: dict[str, TrainingFailed]) -> None:
    """Train a student of the named point, and note its failure, which goes on."""
    try:
        train()
    except TrainingFailed as failure:
        failed[name] = failure
        raise


def _missing(point: Point, n_seeds: int) -> list[int]:
    """Return which students of a point are to be trained, by their seeds' places."""
    done = {record.seed_index for record in finished_students(point.final.files, point.finalist.trial)}
    return sorted(set(range(n_seeds)) - done)


def _full_length(final: FinalRound, recipe: Recipe) -> int:
    return full_length(recipe.plan.n_epochs, final.n_searched_images)


def _seconds_of_students(
    final: FinalRound, points: Sequence[Point], teachers: Sequence[MemberRecord]
) -> dict[str, float]:
    """Return what a full training of a student of each point takes on one worker, by the point's name."""
    finalists = [point.finalist for point in points]
    own = []
    for point in points:
        own.append(_full_length(final, point.recipe) / final.speed_of_one_worker(point.finalist, finalists))
    models = {teacher.model for teacher in teachers}
    of_teachers = []
    for point, seconds in zip(points, own, strict=True):
        if final.files.relative_name(final.files.confirm_model(point.finalist.trial)) in models:
            of_teachers.append(seconds)
    names = [point.record.name for point in points]
    return dict(zip(names, taught_seconds(own, of_teachers), strict=True))


def deliver_best(final: FinalRound, point: Point) -> None:
    """Make a network of the front the study's single one: what was trained by its recipe goes to `refit`, too."""
    files, of_point = final.files, point.final.files
    files.checksums.forget(files.refit)  # an earlier run may have delivered other trainings
    trained: list[Path] = []
    for student in finished_students(of_point, point.finalist.trial):
        index = student.seed_index
        trained += [of_point.student_model(index), of_point.student_arrays(index), of_point.student_record(index)]
    for delivered in of_point.read_refit_records():
        trained += [of_point.refit_model(delivered.seed_index), of_point.refit_record(delivered.seed_index)]
    copied = [(source, files.refit / source.name) for source in trained]
    copied += [(of_point.best_recipe, files.best_recipe), (of_point.model, files.model)]
    for source, place in copied:
        with files.checksums.writing(place) as temporary:
            shutil.copyfile(files.checksums.intact(source), temporary)
