"""How long every training after the search is, how many run at a time, and what `--timeout` keeps back for them.

Pure arithmetic of time: the run follows it, and `--check` simulates it. Confirmation and retraining train for much
longer than a trial does, so their time is reserved from the start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from search.records.models import ConfirmRecord, DataRecord
from search.refit.finalists import N_FINALISTS_AGAINST_TIME

# Largest share of a timeout that is reserved for the full trainings before the search gives up any of its own time.
LARGEST_RESERVE = 0.7
# Share of its own time that the search gives to the full trainings if next to nothing of them fits into
# LARGEST_RESERVE; proportionally less if more of them does.
SEARCH_GIVES = 0.5
# Length of a confirmation, as a share of a full training: enough to tell finalists apart; the time saved goes into the
# retraining.
CONFIRM_LENGTH = 0.4
# Largest share of the time left that confirmations may take where a short timeout lengthens them to match the search.
CONFIRM_SHARE_OF_TIME = 0.2
# What each further thread of a training adds, as a share of a worker's speed (two threads: 1.33 and 1.65 times the
# speed of one; two probes).
GAIN_OF_THREADS = 0.5
# Share of the time left that is spent on measuring the speed of retrainings which have to be shortened.
SHARE_OF_TRYING = 0.02
# Fewest seconds of such a measurement: in a shorter one a training is not under way before it ends.
FEWEST_SECONDS_OF_TRYING = 4
# Most seconds of such a measurement: a longer one tells no more, and takes from the retraining.
MOST_SECONDS_OF_TRYING = 20
# Share of the time left that full trainings are planned for; process starts and the evaluation take the rest.
SHARE_OF_TIME = 0.9
# Share of the time left after which a retraining that turned out slower is cut; the evaluation needs the rest.
LAST_SHARE_OF_TIME = 0.96
# No training is planned shorter than this share of its full length.
SMALLEST_SHARE = 1e-3


class Clock:
    """The time of one run, counted from the making of this object.

    Args:
        timeout: Seconds that the run may take; None for no limit.
        now: Returns seconds that only grow; tests pass a clock of their own.
    """

    def __init__(self, timeout: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._timeout = timeout
        self._started = now()

    def seconds_left(self) -> float | None:
        """Return the seconds until the timeout, 0 once it has passed, None without a limit."""
        if self._timeout is None:
            return None
        return max(0.0, self._timeout - (self._now() - self._started))

    def seconds_left_for_search(self, full_images: int, speeds: Sequence[float]) -> float | None:
        """Return the seconds until the search has to end so that the full trainings fit in; None without a limit.

        Args:
            full_images: Training images that one worker sees in confirmation and retraining.
            speeds: Training images per second of one worker, as measured so far. Empty: nothing is known yet, and the
                largest reserve is kept.
        """
        left = self.seconds_left()
        if left is None or self._timeout is None:
            return None
        reserve = LARGEST_RESERVE * self._timeout
        if speeds:
            # The slowest of them: better a trial less than a retraining cut short.
            full_seconds = full_images / min(speeds)
            missing = max(0.0, 1 - reserve / full_seconds)  # share of the full trainings that does not fit in
            reserve = min(full_seconds, reserve + SEARCH_GIVES * missing * (self._timeout - reserve))
        return max(0.0, left - reserve)


def share_that_fits(available: float, needed: float) -> float:
    """Return how much of the seconds needed is available: above 0, at most 1."""
    if available >= needed:
        return 1.0
    return max(available / needed, SMALLEST_SHARE)


def full_training_images(n_epochs: int, data: DataRecord, n_refits: int, workers: int) -> int:
    """Return the training images that one worker sees in confirmation and retraining under a timeout.

    n_epochs: of the longest training of the search space. n_refits: seeds of the retraining.
    """
    n_train = data.n_images["train"]
    n_all = n_all_images(data)
    return math.ceil(n_epochs * (N_FINALISTS_AGAINST_TIME * CONFIRM_LENGTH * n_train + n_refits * n_all) / workers)


def n_all_images(data: DataRecord) -> int:
    """Return how many images a retraining learns from: training, selection and confirmation split together."""
    return data.n_images["train"] + data.n_images["selection"] + data.n_images["confirmation"]


def full_length(n_epochs: int, n_images: int) -> int:
    """Return the length of a full training, in images seen; n_images: of one epoch."""
    return n_epochs * n_images


def n_parallel_trainings(n_trainings: int, workers: int) -> int:
    """Return how many trainings run at a time.

    As many as there are workers; but all of them, sharing the cores, where some cores would otherwise lie idle while
    the last one runs.
    """
    if n_trainings <= 2 * workers:
        return n_trainings
    return workers


def threads_per_training(n_parallel: int, workers: int, n_threads: int) -> int:
    """Return the threads of each training: with fewer trainings than workers, of n_threads each, all cores are used."""
    return max(1, n_threads * workers // n_parallel)


def effective_workers(n_parallel: int, workers: int, n_threads: int, gain_of_threads: float = GAIN_OF_THREADS) -> float:
    """Return how many workers' speed a round of trainings has.

    With fewer trainings than workers, each has several threads, which bring less than as many workers would.

    Args:
        n_parallel: Trainings at a time.
        workers: Workers of the run.
        n_threads: Threads of each worker.
        gain_of_threads: What each further thread adds, as a share of a worker's speed.
    """
    n_running = min(n_parallel, workers)
    further_threads = threads_per_training(n_running, workers, n_threads) / n_threads - 1
    return n_running * (1 + gain_of_threads * further_threads)


def confirmation_share(
    seconds_left: float | None,
    confirming: float,
    retraining: float,
    searched_lengths: Sequence[int],
    longest: int,
) -> float:
    """Return the length of every confirmation, as a share of a full training.

    Where a timeout leaves room for a share of the full trainings only, confirmation is shortened by its square:
    comparing needs less than the retraining, which takes all that is left. But a training shorter than those that two
    or more finalists were chosen by would tell less than these did, so it is as long, as far as the time allows.

    Args:
        seconds_left: Until the timeout; None without one.
        confirming: Seconds that the confirmations would take if each were a full training.
        retraining: Seconds of the retrainings in full.
        searched_lengths: Length of the longest rung that each finalist's trial finished, in images.
        longest: Length of the longest full training among the finalists, in images.
    """
    if seconds_left is None:
        return CONFIRM_LENGTH
    share_of_all = share_that_fits(SHARE_OF_TIME * seconds_left, CONFIRM_LENGTH * confirming + retraining)
    shortened = CONFIRM_LENGTH * share_of_all**2
    as_searched = second_longest(searched_lengths) / longest
    affordable = share_that_fits(CONFIRM_SHARE_OF_TIME * seconds_left, confirming)
    return min(CONFIRM_LENGTH, max(shortened, min(as_searched, affordable)))


def retraining_share(seconds_left: float | None, seconds: float) -> float:
    """Return the length of every retraining, as a share of a full one.

    Args:
        seconds_left: Until the timeout; None without one.
        seconds: Of all retrainings in full.
    """
    if seconds_left is None:
        return 1.0
    return share_that_fits(SHARE_OF_TIME * seconds_left, seconds)


def second_longest(lengths: Sequence[int]) -> int:
    """Return the second longest of the lengths; 0 if there are fewer than two."""
    return sorted((0, 0, *lengths))[-2]


def confirmation_length(n_epochs: int, n_train_images: int, share: float) -> int:
    """Return the length of a confirmation, in training images; share: of a full training."""
    return max(1, round(share * full_length(n_epochs, n_train_images)))


def confirmation_evaluation_interval(n_planned_images: int, n_train_images: int) -> int:
    """Return after how many training images a confirmation is evaluated on the selection split, again and again."""
    return max(1, min(n_planned_images // 2, n_train_images))


def stop_share(winner: ConfirmRecord, n_selection: int) -> float:
    """Return the share of its schedule after which a retraining stops.

    It is where the confirmation training was best on the selection split, if that was better than its last evaluation
    by more than one standard error; else the end, also where that training ended early because it could not get any
    better.

    The highest of many evaluations is often noise, and a schedule that is cut short keeps a learning rate that is too
    high. The one-standard-error rule: Breiman et al. 1984. The error: Agresti and Coull 1998, two right and two wrong
    images added; that of the share itself would be 0 where all are right, and one image would decide.

    Args:
        winner: The confirmation of the recipe that is retrained.
        n_selection: Images of the selection split.
    """
    best, last = winner.best.validation_accuracy, winner.history[-1].validation_accuracy
    if best is None or last is None:
        return 1.0
    share = (best * n_selection + 2) / (n_selection + 4)
    standard_error = math.sqrt(share * (1 - share) / (n_selection + 4))
    if best - last > standard_error:
        return winner.best.n_images / winner.n_planned_images
    return 1.0


def retraining_evaluation_interval(n_planned_images: int, n_all_images: int) -> int:
    """Return after how many images a retraining reports: twice an epoch, for whoever watches."""
    return max(1, min(n_planned_images, n_all_images) // 2)


def seconds_of_trying(seconds_left: float | None) -> float | None:
    """Return how long to measure the speed of retrainings that have to be shortened; None if too little time is left
    for that."""
    if seconds_left is None:
        return None
    seconds = min(MOST_SECONDS_OF_TRYING, SHARE_OF_TRYING * seconds_left)
    if seconds < FEWEST_SECONDS_OF_TRYING:
        return None
    return seconds


def speed_of_one_worker(
    winner: ConfirmRecord, confirmed: Sequence[ConfirmRecord], workers: int, n_threads: int
) -> float:
    """Return training images per second of one worker, by the winner's confirmation.

    Several trainings to a worker began at once, and each had its share of the workers until another one ended.

    Args:
        winner: The confirmation whose speed is asked for.
        confirmed: All confirmations of the study.
        workers: Workers of the run.
        n_threads: Threads of each worker.
    """
    together = [record for record in confirmed if record.n_side_by_side == winner.n_side_by_side]
    n_running = min(winner.n_side_by_side, len(together))  # what failed or was killed is taken to have left at once
    if n_running <= workers:
        return winner.n_images / winner.seconds * n_running / effective_workers(n_running, workers, n_threads)
    ends = sorted(record.seconds for record in together if record.trial != winner.trial)
    worker_seconds, since = 0.0, 0.0
    for end in ends:
        if end >= winner.seconds:
            break
        worker_seconds += (end - since) * min(1.0, workers / n_running)
        n_running, since = n_running - 1, end
    worker_seconds += (winner.seconds - since) * min(1.0, workers / n_running)
    return winner.n_images / worker_seconds
