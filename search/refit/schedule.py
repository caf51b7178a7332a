"""The time of one run: what `--timeout` leaves for a trial, for the finalists and for the retraining.

Confirmation and retraining train for much longer than a trial does, so their time is kept back from the start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from search.records.models import ConfirmRecord, DataRecord
from search.refit.finalists import N_FINALISTS_AGAINST_TIME

LARGEST_RESERVE = 0.7  # share of the timeout; where that is too little, the full trainings get shorter instead,
SEARCH_GIVES = 0.5  # and the search, by this share of its own time where next to nothing of them fits in


class Clock:
    """Counts from its making. timeout: seconds, None for no limit. now: seconds, for tests."""

    def __init__(self, timeout: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._timeout = timeout
        self._started = now()

    def seconds_left(self) -> float | None:
        """Until the timeout, 0 where it has passed; None without a limit."""
        if self._timeout is None:
            return None
        return max(0.0, self._timeout - (self._now() - self._started))

    def seconds_left_for_search(self, full_images: int, speeds: Sequence[float]) -> float | None:
        """Until the search has to end, so that the full trainings fit in.

        full_images: training images that one worker sees in confirmation and retraining. speeds: training images per
        second of one worker, as measured so far; empty: nothing is known yet, and the largest reserve is kept.
        """
        left = self.seconds_left()
        if left is None:
            return None
        reserve = LARGEST_RESERVE * self._timeout
        if speeds:
            # The slowest of them: better a trial less than a retraining cut short.
            full_seconds = full_images / min(speeds)
            missing = max(0.0, 1 - reserve / full_seconds)  # share of the full trainings that does not fit in
            reserve = min(full_seconds, reserve + SEARCH_GIVES * missing * (self._timeout - reserve))
        return max(0.0, left - reserve)

    def share_that_fits(self, n_images: int, images_per_second: float, share_of_time: float = 1.0) -> float:
        """How much of these training images fits into this share of the time left: above 0, at most 1."""
        left = self.seconds_left()
        if left is None:
            return 1.0
        fitting = left * share_of_time * images_per_second
        return min(1.0, max(fitting / n_images, 1e-3))


CONFIRM_LENGTH = 0.4  # of a full training: enough to tell finalists apart, and the time goes into the retraining
CONFIRM_SHARE_OF_TIME = 0.2  # of that, at most for confirmations that are longer only so as not to be too short
GAIN_OF_THREADS = 0.5  # of a worker's speed, by each further thread (two threads: 1.33 and 1.65 times one; two probes)
SHARE_OF_TRYING = 0.02  # of the time left, for trying how fast the retrainings are, where they have to be shortened;
FEWEST_SECONDS_OF_TRYING, MOST_SECONDS_OF_TRYING = 4, 20  # less is over before a training is under way
SHARE_OF_TIME = 0.9  # of what a timeout leaves for the full trainings; the rest is for starts and the evaluation
LAST_SHARE_OF_TIME = 0.96  # of that, when a retraining is cut that turned out slower; the evaluation needs the rest


def full_training_images(n_epochs: int, data: DataRecord, n_refits: int, workers: int) -> int:
    """Training images that one worker sees in confirmation and retraining under a timeout, for the clock."""
    n_train = data.n_images["train"]
    n_all = sum(data.n_images[name] for name in ("train", "selection", "confirmation"))
    return math.ceil(n_epochs * (N_FINALISTS_AGAINST_TIME * CONFIRM_LENGTH * n_train + n_refits * n_all) / workers)


def second_longest(lengths: Sequence[int]) -> int:
    """0 where there are fewer than two."""
    return sorted((0, 0, *lengths))[-2]


def looks_of_confirmation(n_planned_images: int, n_train_images: int) -> int:
    """After how many images each a confirmation looks at the selection split."""
    return max(1, min(n_planned_images // 2, n_train_images))


def stop_share(winner: ConfirmRecord, n_selection: int) -> float:
    """At which share of its schedule a retraining stops: where the confirmation training was best on the selection
    split, if that was better than its last look by more than one standard error; else at the end, also where that
    training ended early because it could not get any better.

    The highest of many looks is often noise, and a schedule that is cut short keeps a learning rate that is too high.
    The one-standard-error rule: Breiman et al. 1984. The error as of Agresti and Coull 1998, two right and two wrong
    images added: that of the share itself would be 0 where all are right, and one image would decide.
    """
    best, last = winner.best.validation_accuracy, winner.history[-1].validation_accuracy
    share = (best * n_selection + 2) / (n_selection + 4)
    if best - last > math.sqrt(share * (1 - share) / (n_selection + 4)):
        return winner.best.n_images / winner.n_planned_images
    return 1.0


def retraining_evaluation_interval(n_planned_images: int, n_all_images: int) -> int:
    """Twice an epoch: for whoever watches."""
    return max(1, min(n_planned_images, n_all_images) // 2)


def side_by_side(n_jobs: int, workers: int) -> int:
    """How many trainings run at a time: as many as there are workers; all of them, sharing the cores, where else some
    cores would lie idle while the last one runs."""
    return n_jobs if n_jobs <= 2 * workers else workers


def threads_of_each(n_parallel: int, workers: int, n_threads: int) -> int:
    """Threads of each training: all cores are used where there are fewer trainings than workers, of n_threads each."""
    return max(1, n_threads * workers // n_parallel)
