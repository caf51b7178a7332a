"""How far is a training at each step, where does it end, and what is reported on the way? Arithmetic of steps.

A training that has to end in time may be slower than it was planned. Cut with its learning rate still high, a network
is half a point worse, so its schedule is drawn together instead; that of a faster one may be drawn out. `Pacer` says
how long it may be, and `Course` goes on from where it is to the new end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fmnist.training.batches import marks_by_step, steps_for

# A time limit is looked at so many times, and speed is that of the steps since this many looks before. Noise of other
# programs lasts seconds, so the speed of the last moment alone would say little.
N_LOOKS = 50
LOOKS_OF_SPEED = 10
# Share of the time limit that a training is to end by; what it lacks covers the last steps' own noise.
SHARE_OF_LIMIT = 0.99
# A length is changed where what is left of it would become longer or shorter by more than this share.
LEAST_CHANGE = 0.02


@dataclass(frozen=True)
class Rescheduling:
    """A change of a training's length on the way."""

    n_images: int  # seen when it was made
    n_planned_images: int  # where the training ends from then on


class Course:
    """The steps of a training: its schedule, its end and its marks, which may change on the way.

    Args:
        n_planned_images: what the schedule spans, repeats counted.
        n_stop_images: where the training ends with the schedule cut short; None: nowhere.
        report_every_images: between two marks.
        batch_size: images of every step.

    Attributes:
        n_steps: of the schedule.
        n_end_steps: after which the training ends.
        marks: steps, from 1, to the marks that are reported after them, in images.
        reschedulings: changes of its length so far.
    """

    def __init__(
        self, n_planned_images: int, n_stop_images: int | None, report_every_images: int, batch_size: int
    ) -> None:
        self.reschedulings: tuple[Rescheduling, ...] = ()
        self._n_stop_images = n_stop_images
        self._report_every_images = report_every_images
        self._batch_size = batch_size
        self._first_step, self._first_progress = 0, 0.0  # of the schedule's last stretch
        self._set_length(n_planned_images)

    def progress_at(self, step: int) -> float:
        """Return how far through its schedule the training is in the middle of a step: above 0, below 1."""
        return self._progress(step + 0.5)

    @property
    def is_cut_short(self) -> bool:
        """Whether the training ends before its schedule."""
        return self._n_stop_images is not None and self._n_stop_images < self.n_planned_images

    def reschedule(self, n_steps_done: int, n_planned_images: int) -> None:
        """Change the length after so many steps: what is left of the schedule spans what is left of the new length.

        A length that is over already ends it with the next step.
        """
        self._first_progress = self._progress(n_steps_done)
        self._first_step = n_steps_done
        self._set_length(max(n_planned_images, (n_steps_done + 1) * self._batch_size))
        made = Rescheduling(n_steps_done * self._batch_size, self.n_planned_images)
        self.reschedulings = (*self.reschedulings, made)

    def _progress(self, steps: float) -> float:
        share_of_stretch = (steps - self._first_step) / (self.n_steps - self._first_step)
        return self._first_progress + (1 - self._first_progress) * share_of_stretch

    def _set_length(self, n_planned_images: int) -> None:
        self.n_planned_images = n_planned_images
        n_end_images = n_planned_images
        if self._n_stop_images is not None:
            n_end_images = min(n_planned_images, self._n_stop_images)
        self.n_steps = steps_for(n_planned_images, self._batch_size)
        self.n_end_steps = steps_for(n_end_images, self._batch_size)
        self.marks = marks_by_step(n_end_images, self._report_every_images, self._batch_size)


class Pacer:
    """Says how long a training may be so that it ends in time.

    Args:
        n_most_images: that it may ever be long: as planned where only what is late is to be made good, more where it is
            to use its time.
        seconds_limit: that it may take, from its start.
    """

    def __init__(self, n_most_images: int, seconds_limit: float) -> None:
        self._n_most_images = n_most_images
        self._seconds_limit = seconds_limit
        self._looks: deque[tuple[float, int]] = deque(maxlen=LOOKS_OF_SPEED + 1)  # seconds and images seen

    def new_length(self, n_images: int, seconds: float, n_planned_images: int) -> int | None:
        """Return the length that fits, in images; None where the present one does, or it is too early to tell.

        Args:
            n_images: seen so far.
            seconds: since the training's start.
            n_planned_images: the present length.
        """
        if self._looks and seconds - self._looks[-1][0] < self._seconds_limit / N_LOOKS:
            return None
        self._looks.append((seconds, n_images))
        (first_seconds, first_images), n_left = self._looks[0], n_planned_images - n_images
        if seconds <= first_seconds or n_left <= 0:
            return None
        images_per_second = (n_images - first_images) / (seconds - first_seconds)
        n_in_time = int(images_per_second * max(0.0, SHARE_OF_LIMIT * self._seconds_limit - seconds))
        n_fitting = min(n_images + n_in_time, self._n_most_images)
        if abs(n_fitting - n_planned_images) <= LEAST_CHANGE * n_left:
            return None
        return n_fitting


def length_in_the_end(n_planned_images: int, reschedulings: Sequence[Rescheduling]) -> int:
    """Return the length of a schedule after its changes, in images; n_planned_images: before them."""
    return reschedulings[-1].n_planned_images if reschedulings else n_planned_images
