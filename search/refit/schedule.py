"""How long every training after the search is, how many run at a time, and what `--timeout` keeps back for them.

Pure arithmetic of time: the run follows it, and `--check` simulates it. Finalists and students train for much longer
than a trial does, so their time is reserved from the start.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search.records.models import DataRecord

# Share of a timeout after which the search ends, if it has not made its trials before: full trainings have the rest.
SEARCH_SHARE = 0.2
# Length of a finalist's and a student's training without a timeout, in full trainings. What is delivered gains by
# length: the default has 93.6 % after 24 epochs and 94.9 after 102.
FINALIST_LENGTH = 1.0
STUDENT_LENGTH = 2.0
# How many times as long as a finalist's training a student's is planned under a timeout.
STUDENT_TO_FINALIST = 2
# A student that is trained for less than a finalist was is no better; a retraining still makes an average better.
SHORTEST_STUDENT = 1.0
SHORTEST_RETRAINING = 0.6
# Share of the students' time that they keep however slow several finalists are: one that would take more is cut.
SHARE_KEPT = 0.6
# Finalists that a student learns from, at most, and how many times as long as from labels alone its training takes:
# they predict every image that it sees (two teachers, images/s of trainings side by side, one probe: 1.64).
N_TEACHERS = 2
COST_OF_TEACHERS = 1.65
# Finalists without a timeout, and the most under one.
N_FINALISTS = 4
MOST_FINALISTS = 8
# Full trainings that each of so many finalists must have room for beside the students that learn from them.
LENGTH_BESIDE_STUDENTS = {2: 1.0, 3: 1.0, 4: 1.2, 5: 1.4, 6: 1.6, 7: 1.8, 8: 2.0}
# Full trainings that a single finalist must have room for beside a retraining of its recipe. From there on, averaging
# both brings 0.4 points, and twice the epochs less than 0.2; a worse network hardly helps an average.
LENGTH_BESIDE_RETRAININGS = 0.5
MOST_LENGTHS = 8.0  # no training is planned longer than this many full ones, however much time there is
LONGEST_BESIDE_STUDENTS = 4.0  # for finalists whose students are to be trained for longer
# What each further thread of a training adds, as a share of a worker's speed (two threads: 1.33 and 1.65 times the
# speed of one; two probes).
GAIN_OF_THREADS = 0.5
# What is kept back for what follows the last training until more is known of it, and the most, as a share of a timeout.
SECONDS_OF_TESTING = 60.0
MOST_OF_TESTING = 0.2
SECONDS_OF_LOADING = 20.0  # of that, whatever is predicted: Keras is loaded twice, and the report is drawn
# Views of a test image that the delivered model predicts: itself, in a process of its own, and changed ones.
N_VIEWS_OF_DELIVERED = 12
# What it takes to predict an image, as a share of learning from it in bfloat16 (18 networks: 0.3 to 0.6).
COST_OF_PREDICTION = 0.5
# Share of the time left for training that full trainings are planned for: they may turn out slower. Those that do are
# drawn together, and some that turn out faster are drawn out, see `fmnist.training.course.Pacer`.
SHARE_OF_TIME = 0.98
SMALLEST_SHARE = 1e-3  # no training is planned shorter than this share of its full length


class Clock:
    """The time of one run, counted from the making of this object.

    Args:
        timeout: Seconds that the run may take; None for no limit.
        now: Returns seconds that only grow; tests pass a clock of their own.
        search_only: No training follows the search, which has all of the time.
    """

    def __init__(
        self, timeout: float | None, now: Callable[[], float] = time.monotonic, *, search_only: bool = False
    ) -> None:
        self._now = now
        self._search_only = search_only
        self._timeout = timeout
        self._seconds_of_testing = SECONDS_OF_TESTING
        self._started = now()
        self._seconds_shared = timeout or 0.0  # by the search and what follows

    def begin_search(self) -> None:
        """Note that what is left now is what the search and the trainings after it share: something came before."""
        self._seconds_shared = self.seconds_left() or 0.0

    def seconds_left(self) -> float | None:
        """Return the seconds until the timeout, 0 once it has passed, None without a limit."""
        if self._timeout is None:
            return None
        return max(0.0, self._timeout - (self._now() - self._started))

    def seconds_left_for_search(self) -> float | None:
        """Return the seconds until the search has to end so that the full trainings fit in; None without a limit."""
        left = self.seconds_left()
        if left is None or self._search_only:
            return left
        return max(0.0, left - (1 - SEARCH_SHARE) * self._seconds_shared)

    def seconds_left_for_training(self) -> float | None:
        """Return the seconds until the last training has to end so that the test set is opened in time.

        None without a limit.
        """
        left = self.seconds_left()
        if left is None or self._timeout is None:
            return None
        return max(0.0, left - min(MOST_OF_TESTING * self._timeout, self._seconds_of_testing))

    def keep_for_testing(self, seconds: float) -> None:
        """Keep so many seconds back for what follows the last training, at most MOST_OF_TESTING of the timeout."""
        self._seconds_of_testing = seconds


def seconds_of_testing(
    n_test: int, n_confirmation: int, n_finalists: int, n_students: int, images_per_second: float, *, n_views: int
) -> float:
    """Return about how long the making of the ensemble, the test set and the report take.

    Args:
        n_test: Test images.
        n_confirmation: Images of the confirmation split.
        n_finalists: Networks that may be in the ensemble beside the students.
        n_students: Networks that are delivered.
        images_per_second: That a single training learns from, with the threads of all workers, as predictions have.
        n_views: That each network and the ensemble predict of an image: itself, and its mirror image.
    """
    n_networks = n_finalists + n_students  # of the ensemble
    n_predicted = n_test * (n_views * (n_students + n_networks) + N_VIEWS_OF_DELIVERED)
    n_predicted += n_confirmation * n_views * n_networks
    return SECONDS_OF_LOADING + COST_OF_PREDICTION * n_predicted / images_per_second


def share_that_fits(available: float, needed: float) -> float:
    """Return how many full trainings long one may be, in the seconds available: above 0, at most MOST_LENGTHS.

    needed: the seconds of a full one.
    """
    if available >= MOST_LENGTHS * needed:
        return MOST_LENGTHS
    return max(available / needed, SMALLEST_SHARE)


def n_searched_images(data: DataRecord) -> int:
    """Return how many images a full training learns from: training and selection split together."""
    return data.n_images["train"] + data.n_images["selection"]


def full_length(n_epochs: int, n_images: int) -> int:
    """Return the length of a full training, in images seen; n_images: of one epoch."""
    return n_epochs * n_images


def n_parallel_trainings(n_trainings: int, workers: int) -> int:
    """Return how many trainings run at a time.

    As many as there are workers; but all of them, sharing the cores, where some cores would otherwise lie idle while
    the last ones run. Of many trainings that would spare little and take much memory.
    """
    if n_trainings <= workers:
        return n_trainings
    if n_trainings < 3 * workers and n_trainings % workers > 0:
        return n_trainings
    return workers


def threads_per_training(n_parallel: int, workers: int, n_threads: int, most_threads: int | None = None) -> int:
    """Return the threads of each training: with fewer trainings than workers, all cores are used.

    Args:
        n_parallel: Trainings at a time.
        workers: Workers of the run.
        n_threads: Threads of each worker.
        most_threads: That one training can have, as a node of a cluster has no more cores; None: those of all workers.
    """
    shared = n_threads * workers // n_parallel
    return max(1, shared if most_threads is None else min(shared, most_threads))


def effective_workers(
    n_parallel: int,
    workers: int,
    n_threads: int,
    gain_of_threads: float = GAIN_OF_THREADS,
    most_threads: int | None = None,
) -> float:
    """Return how many workers' speed a round of trainings has.

    With fewer trainings than workers, each has several threads, which bring less than as many workers would.

    Args:
        n_parallel: Trainings at a time.
        workers: Workers of the run.
        n_threads: Threads of each worker.
        gain_of_threads: What each further thread adds, as a share of a worker's speed.
        most_threads: See `threads_per_training`.
    """
    n_running = min(n_parallel, workers)
    further_threads = threads_per_training(n_running, workers, n_threads, most_threads) / n_threads - 1
    return n_running * (1 + gain_of_threads * further_threads)


def seconds_together(
    seconds: Sequence[float],
    workers: int,
    n_threads: int = 1,
    gain_of_threads: float = GAIN_OF_THREADS,
    most_threads: int | None = None,
) -> float:
    """Return how long trainings take that run as `n_parallel_trainings` says, the longest first.

    Args:
        seconds: Of each on one worker.
        workers: Workers of the run.
        n_threads: Threads of each worker.
        gain_of_threads: What each further thread adds, as a share of a worker's speed.
        most_threads: See `threads_per_training`.
    """
    n_parallel = n_parallel_trainings(len(seconds), workers)
    if n_parallel > workers:
        return seconds_sharing(seconds, workers)
    speed = effective_workers(n_parallel, workers, n_threads, gain_of_threads, most_threads) / n_parallel
    longest_first = sorted((each / speed for each in seconds), reverse=True)
    _, ends = list_schedule(longest_first, [0.0] * n_parallel)
    return max(ends)


def seconds_sharing(seconds: Sequence[float], workers: int) -> float:
    """Return how long trainings take that begin together and share the workers evenly until each has ended.

    Args:
        seconds: Of each on one worker.
        workers: Workers of the run.
    """
    elapsed, done = 0.0, 0.0
    for i, length in enumerate(sorted(seconds)):
        n_running = len(seconds) - i
        elapsed += (length - done) * max(1.0, n_running / workers)
        done = length
    return elapsed


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


@dataclass(frozen=True)
class FinalistsPlan:
    """How many finalists are trained, and how long."""

    n_finalists: int
    share: float  # of a full training, of the slowest of them
    seconds: float = math.inf  # that they may take; infinite without a timeout
    seconds_kept: float = 0.0  # for the students, whatever the finalists take; 0 without a timeout or students

    @classmethod
    def of(cls, n_finalists: int, in_full: float, seconds: float, seconds_kept: float = 0.0) -> FinalistsPlan:
        """Return a plan with as long trainings as fit. in_full: the seconds that all of them take in full."""
        longest = LONGEST_BESIDE_STUDENTS if seconds_kept else MOST_LENGTHS
        return cls(n_finalists, min(share_that_fits(seconds, in_full), longest), seconds, seconds_kept)

    @classmethod
    def beside(
        cls, n_finalists: int, in_full: float, further_in_full: float, further_to_finalist: int, seconds_left: float
    ) -> FinalistsPlan:
        """Return a plan with time for further trainings, so many times as long; what is over goes to the finalists."""
        share = share_that_fits(seconds_left, in_full + further_to_finalist * further_in_full)
        seconds = max(share * in_full, seconds_left - MOST_LENGTHS * further_in_full / SHARE_OF_TIME)
        share_kept = SHARE_KEPT if n_finalists > 1 else 1.0  # a single one uses its time and no more
        return cls.of(n_finalists, in_full, seconds, share_kept * (seconds_left - seconds))

    def stretches(self, seconds_in_full: Sequence[float], workers: int) -> list[float]:
        """Return how many times the plan's length each training has.

        That is 1, but under a timeout where each has a worker of its own: there a faster one goes on until the slowest
        ends, as its worker would have nothing else to do.

        Args:
            seconds_in_full: What each finalist takes in full.
            workers: Workers of the run.
        """
        if math.isinf(self.seconds) or len(seconds_in_full) > workers:
            return [1.0] * len(seconds_in_full)
        slowest = max(seconds_in_full)
        return [max(1.0, min(slowest / each, MOST_LENGTHS / self.share)) for each in seconds_in_full]

    def clock_of(self, clock: Clock, seconds: float) -> Clock:
        """Return the clock of one training that waits for no other. seconds: what it is planned to take."""
        return clock

    @property
    def fills_time(self) -> bool:
        """Whether finalists that are faster than planned become longer: a single one under a timeout does."""
        return self.n_finalists == 1 and not math.isinf(self.seconds)

    @property
    def most_share(self) -> float:
        """How long a finalist may become, in full trainings."""
        if not self.fills_time:
            return self.share
        return LONGEST_BESIDE_STUDENTS if self.seconds_kept else MOST_LENGTHS

    def with_real_speed(self, in_full: float) -> FinalistsPlan:
        """Return what the clock makes of it where all finalists take so many seconds in full."""
        return FinalistsPlan.of(1, in_full, self.seconds, self.seconds_kept) if self.fills_time else self


def plan_finalists(
    seconds_left: float | None,
    seconds_in_full: Sequence[float],
    students_in_full: float,
    retrainings_in_full: float,
) -> FinalistsPlan:
    """Return how many finalists are trained, and how long, so that what time there is is used.

    Little time goes into one training, which has the threads of all workers, more into that and retrainings of its
    recipe, and much into several finalists and students of theirs. An ensemble may have all of them.

    Args:
        seconds_left: Until the last training has to end; None without a timeout.
        seconds_in_full: What the first, the first two, the first three finalists and so on take in full, side by side.
        students_in_full: What all students take in full, side by side, after them.
        retrainings_in_full: What as many retrainings of the first finalist take, from labels alone.
    """
    if seconds_left is None:
        return FinalistsPlan(min(N_FINALISTS, len(seconds_in_full)), FINALIST_LENGTH)
    plan = FinalistsPlan.of(1, seconds_in_full[0], SHARE_OF_TIME * seconds_left)
    twice = FinalistsPlan.beside(1, seconds_in_full[0], retrainings_in_full, 1, seconds_left)
    if twice.share >= LENGTH_BESIDE_RETRAININGS:
        plan = twice
    for n, in_full in enumerate(seconds_in_full[1:], start=2):
        taught = FinalistsPlan.beside(n, in_full, students_in_full, STUDENT_TO_FINALIST, seconds_left)
        if taught.share >= LENGTH_BESIDE_STUDENTS[n]:
            plan = taught
    return plan


def cost_of_learning(*, is_taught: bool) -> float:
    """Return how many times as long as from labels alone a training takes."""
    return COST_OF_TEACHERS if is_taught else 1.0


def has_time_for_students(
    seconds_left: float | None, students_in_full: float, finalist_share: float, *, are_taught: bool
) -> bool:
    """Return whether the finalists leave enough time for students or retrainings that are worth having.

    Args:
        seconds_left: Until the last training has to end; None without a timeout.
        students_in_full: What all of them take in full, side by side, their teachers included.
        finalist_share: Length of a finalist's training, in full ones.
        are_taught: Whether they are students, which learn from finalists.
    """
    if seconds_left is None:
        return True
    if seconds_left <= 0:
        return False
    shortest = SHORTEST_STUDENT if are_taught else SHORTEST_RETRAINING
    return share_of_further_training(seconds_left, students_in_full) >= shortest * finalist_share


def length_of_share(n_epochs: int, n_images: int, share: float) -> int:
    """Return the length of a training, in images seen.

    Args:
        n_epochs: Of a full training.
        n_images: Of one epoch.
        share: Of a full training.
    """
    return max(1, round(share * full_length(n_epochs, n_images)))


def share_of_further_training(seconds_left: float | None, seconds: float) -> float:
    """Return how long every student or retraining is trained, in full trainings.

    Args:
        seconds_left: Until the last training has to end; None without a timeout.
        seconds: Of all these trainings in full.
    """
    if seconds_left is None:
        return STUDENT_LENGTH
    return share_that_fits(SHARE_OF_TIME * seconds_left, seconds)


def full_evaluation_interval(n_planned_images: int, n_images: int) -> int:
    """Return after how many images a full training reports: twice an epoch of n_images, for whoever watches."""
    return max(1, min(n_planned_images, n_images) // 2)
