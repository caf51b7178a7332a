"""The time of one run: what `--timeout` leaves for a trial, for the finalists and for the retraining.

Confirmation and retraining train for much longer than a trial does, so their time is kept back from the start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

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
            lacking = max(0.0, 1 - reserve / full_seconds)  # share of the full trainings that does not fit in
            reserve = min(full_seconds, reserve + SEARCH_GIVES * lacking * (self._timeout - reserve))
        return max(0.0, left - reserve)

    def share_that_fits(self, n_images: int, images_per_second: float, share_of_time: float = 1.0) -> float:
        """How much of these training images fits into this share of the time left: above 0, at most 1."""
        left = self.seconds_left()
        if left is None:
            return 1.0
        fitting = left * share_of_time * images_per_second
        return min(1.0, max(fitting / n_images, 1e-3))
