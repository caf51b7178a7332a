"""How is one recipe trained? Step after step, with validation on the way, to the first of several ends.

What of Keras' `fit` is given up for this loop, and why:

- metrics, callbacks and `train_on_batch`'s generality: it traces a network several times and keeps metrics that nobody
  reads. Here a step is traced once, a second less per process for the default recipe's network at the same speed per
  step (CPU time until the second step, n = 2 each: 0.9 s instead of 2.0);
- a new compilation for every `fit`: a trial's rungs are trainings of their own, and all reuse one compiled `TrainStep`;
- validation by epochs only: here it comes at marks in images, the same for all trainings whatever their batch size;
- one batch per step: a `TrainStep` cuts it into a part per thread (1.75 instead of 1.24 times one thread's speed);
- `use_ema` and learning-rate schedule objects: the average includes batch normalization's statistics, and neither ends
  up in the saved model;
- other backends, several GPUs, `tf.data` and weights of single images: nothing here needs them.

Not covered: which data is held out (see `fmnist.data.split`), how long a training should be (the caller's choice),
what else can be said of predictions (see `fmnist.metrics.evaluation`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from fmnist.data.images import LabelledImages
from fmnist.recipe import Recipe
from fmnist.scoring import Metric, confusion_table, mean_log_loss, score_of
from fmnist.training.batches import Batch, augmented_batches, plan_for_length
from fmnist.training.course import Course, Pacer, Rescheduling
from fmnist.training.history import HistoryPoint, best_point
from fmnist.training.schedule import averaging_rate_at, learning_rate_at
from fmnist.training.step import TrainStep


class Diverged(Exception):
    """The loss or the weights are not finite any more. The message says after how many images."""


@dataclass(frozen=True)
class Training:
    """A finished training."""

    model: keras.Model  # with the best point's weights where validated, else the last
    history: tuple[HistoryPoint, ...]
    best: HistoryPoint | None  # None where nothing was validated
    n_images: int  # training images seen: whole batches, so up to half a batch off the last point's nominal n_images
    seconds: float  # wall time, building and validation included
    seconds_in_steps: float  # of these, what steps of learning and validation took; the rest is overhead
    stopped_by: str  # "end", "early stopping", "time limit" or "stop point"
    # int64 (n_classes, n_classes): validation images by true and predicted class, at the best point
    confusion: np.ndarray | None = None
    reschedulings: tuple[Rescheduling, ...] = ()  # changes of its length on the way


def ignore(*progress: HistoryPoint | int) -> None:
    """Do nothing with a progress report."""


def train(
    recipe: Recipe,
    train_images: LabelledImages,
    validation: LabelledImages | None,
    seed: int,
    *,
    pixel_mean: float,
    pixel_std: float,
    n_planned_images: int,
    n_stop_images: int | None = None,
    report_every_images: int,
    patience_images: int | None = None,
    seconds_limit: float | None = None,
    ends_in_time: bool = False,
    n_most_images: int | None = None,
    reschedulings: Sequence[Rescheduling] = (),
    on_progress: Callable[[HistoryPoint], None] = ignore,
    on_step: Callable[[int, int], None] = ignore,
    train_step: TrainStep | None = None,
    teacher: Callable[[np.ndarray], np.ndarray] | None = None,
    metric: Metric = "accuracy",
) -> Training:
    """Train a new network by the recipe.

    Reports bear nominal marks (k * report_every_images, and the end), each made after the step nearest to it, so the
    marks of all trainings coincide whatever their batch size. Batches that span several marks report each of them.
    Only a point made at the time limit bears the images really seen. The last, incomplete batch of an epoch is dropped.

    Same seed, machine and number of threads: the same history, to the bit, except for its seconds; with ends_in_time if
    the changes of its length are repeated, see `reschedulings`.

    Args:
        recipe: what is trained, and how.
        train_images: to learn from.
        validation: to validate on; None: nothing is held out, and the last weights are kept.
        seed: of initial weights, dropout, order and augmentation.
        pixel_mean: mean of the training images' pixels, 0 to 255.
        pixel_std: their standard deviation.
        n_planned_images: what the learning-rate schedule spans, repeats counted, and where the training ends unless
            something ends it before.
        n_stop_images: where it ends with the schedule cut short.
        report_every_images: between two validations.
        patience_images: without a better validation score, after which it ends.
        seconds_limit: it ends at the first step past it, with a last validation.
        ends_in_time: whether the schedule is drawn together where the training would not end within seconds_limit, by
            the speed of its steps. A network whose schedule is cut is worse than one whose schedule is shorter.
        n_most_images: how long it may become by that where it is faster than planned; None: no longer than planned.
        reschedulings: changes of the length to repeat, as an earlier training had them.
        on_progress: called with every point. An exception from there ends the training and passes through.
        on_step: called after each step with the images seen and the length as it is now; the same holds for its
            exceptions.
        train_step: one that has trained the same recipe on as many images; it is started anew, which spares compiling.
            Without one, every image counts the same in the loss; one with class weights weighs them.
        teacher: returns probabilities, float32 (n, n_classes), of the images of a batch as they are learned from; None:
            it learns from labels alone. See `fmnist.training.teachers`.
        metric: of the validation images, by which the best point is found, and by which it stalls.

    Raises:
        Diverged: as soon as a loss is not finite, or at the next mark if only weights are not.
        ValueError: the arguments do not fit each other.
    """
    started = time.monotonic()
    _check_arguments(
        recipe, train_images, validation, n_planned_images, n_stop_images, report_every_images, patience_images
    )
    if ends_in_time and seconds_limit is None:
        raise ValueError("ends_in_time needs a time to end in; pass seconds_limit")
    batch_size = min(recipe.plan.batch_size, len(train_images))
    course = Course(n_planned_images, n_stop_images, report_every_images, batch_size)
    pacer = None
    if ends_in_time and seconds_limit is not None:
        pacer = Pacer(max(n_planned_images, n_most_images or 0), seconds_limit)
    repeated = {change.n_images: change.n_planned_images for change in reschedulings}
    if train_step is None:
        train_step = TrainStep(recipe, pixel_mean, pixel_std, batch_size, seed, taught=teacher is not None)
    elif (train_step.recipe, train_step.batch_size) != (recipe, batch_size):
        raise ValueError(
            f"a train step can be used again for its own recipe and batch size only, but got one of batch size "
            f"{train_step.batch_size} and recipe {train_step.recipe} for {batch_size} and {recipe}"
        )
    else:
        train_step.restart(seed)
    plan = plan_for_length(recipe.plan, n_planned_images / len(train_images))
    batches = augmented_batches(train_images, plan, batch_size, seed)

    run = _Run(train_step, course, validation, metric, on_progress, started)
    while (reason := run.reason_to_stop(patience_images, seconds_limit)) is None:
        batch = next(batches)
        if teacher is not None:
            batch = replace(batch, taught=teacher(batch.images))
        run.learn(batch)
        on_step(run.n_images, course.n_planned_images)
        if run.n_images in repeated:
            course.reschedule(run.n_steps, repeated[run.n_images])
        elif pacer is not None:
            run.keep_pace(pacer)
        if run.n_steps in course.marks:
            run.report(course.marks[run.n_steps])
    return run.finish(reason)


class _Run:
    """A training under way: what it has seen, how it fares, and the best weights so far."""

    def __init__(
        self,
        train_step: TrainStep,
        course: Course,
        validation: LabelledImages | None,
        metric: Metric,
        on_progress: Callable[[HistoryPoint], None],
        started: float,  # time.monotonic
    ) -> None:
        self.n_steps = 0  # made so far
        self.n_images = 0  # training images seen
        self._train_step = train_step
        self._course = course
        self._validation = validation
        self._metric: Metric = metric
        self._on_progress = on_progress
        self._started = started
        self._history: list[HistoryPoint] = []
        self._best: HistoryPoint | None = None
        self._best_weights: list[np.ndarray] | None = None
        self._best_confusion: np.ndarray | None = None
        self._seconds_in_steps = 0.0  # of learning and validation
        self._learning_rate = 0.0  # of the last step
        self._losses: list[float] = []  # of the steps since the last report
        self._accuracies: list[float] = []

    def learn(self, batch: Batch) -> None:
        """Make the next step, see `TrainStep.learn`."""
        started, plan = time.monotonic(), self._train_step.recipe.plan
        self._learning_rate = learning_rate_at(plan, self._course.progress_at(self.n_steps))
        averaging_rate = averaging_rate_at(plan, self.n_steps, self._course.n_steps)
        loss, accuracy = self._train_step.learn(batch, self._learning_rate, averaging_rate)
        self._seconds_in_steps += time.monotonic() - started
        self.n_steps += 1
        self.n_images += len(batch.images)
        self._require_finite("training loss is", loss)
        self._losses.append(loss)
        self._accuracies.append(accuracy)

    def keep_pace(self, pacer: Pacer) -> None:
        """Change the length of the course where the training would not end in time, or could be longer."""
        if self.n_steps == self._course.n_end_steps:
            return
        n_planned_images = pacer.new_length(self.n_images, self._seconds(), self._course.n_planned_images)
        if n_planned_images is not None:
            self._course.reschedule(self.n_steps, n_planned_images)

    def report(self, marks: Sequence[int]) -> None:
        """Validate once, then add and announce one point per mark. Keeps the weights of a new best point."""
        weights = self._train_step.weights()
        for array in weights:  # max pooling passes over NaN, so that a broken network can have a finite loss
            self._require_finite("weights are", array)
        validated, confusion = self._validate()
        point = HistoryPoint(
            n_images=marks[0],
            seconds=self._seconds(),
            learning_rate=self._learning_rate,
            train_loss=float(np.mean(self._losses)),
            train_accuracy=float(np.mean(self._accuracies)),
            **validated,
        )
        points = [replace(point, n_images=mark) for mark in marks]
        self._losses, self._accuracies = [], []
        self._history.extend(points)
        best = best_point(self._history)
        if best is not self._best:
            self._best, self._best_weights, self._best_confusion = best, weights, confusion
        for each in points:
            self._on_progress(each)

    def reason_to_stop(self, patience_images: int | None, seconds_limit: float | None) -> str | None:
        """Tell why the training ends after the steps so far, all of which are then reported; None: it goes on."""
        if self.n_steps == self._course.n_end_steps:
            return "stop point" if self._course.is_cut_short else "end"
        if seconds_limit is not None and self.n_steps > 0 and self._seconds() > seconds_limit:
            if self._losses:  # steps since the last report
                self.report([self.n_images])
            return "time limit"
        if patience_images is None or self._best is None:
            return None
        has_stalled = self._history[-1].n_images - self._best.n_images >= patience_images
        return "early stopping" if has_stalled else None

    def finish(self, stopped_by: str) -> Training:
        """Restore the best weights, or take the last where nothing was validated."""
        weights = self._best_weights
        if weights is None:
            weights = self._train_step.weights()
        self._train_step.model.set_weights(weights)
        return Training(
            model=self._train_step.model,
            history=tuple(self._history),
            best=self._best,
            n_images=self.n_images,
            seconds=self._seconds(),
            seconds_in_steps=self._seconds_in_steps,
            stopped_by=stopped_by,
            confusion=self._best_confusion,
            reschedulings=self._course.reschedulings,
        )

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _validate(self) -> tuple[dict[str, float], np.ndarray | None]:
        """Return a HistoryPoint's figures on the validation images, and these by true and predicted class."""
        if self._validation is None:
            return {}, None
        started, labels = time.monotonic(), self._validation.labels
        probabilities = self._train_step.probabilities(self._validation.images)
        self._seconds_in_steps += time.monotonic() - started
        loss = mean_log_loss(labels, probabilities)
        self._require_finite("validation loss is", loss)
        predicted = probabilities.argmax(axis=1)
        figures = {"validation_loss": loss, "validation_accuracy": float(np.mean(predicted == labels))}
        if self._metric != "accuracy":
            figures["validation_score"] = score_of(self._metric, labels, probabilities)
        return figures, confusion_table(labels, predicted, probabilities.shape[1])

    def _require_finite(self, name: str, value: float | np.ndarray) -> None:
        if not np.isfinite(value).all():
            raise Diverged(f"the {name} not finite after {self.n_images:,} images; lower the peak learning rate")


def _check_arguments(
    recipe: Recipe,
    train_images: LabelledImages,
    validation: LabelledImages | None,
    n_planned_images: int,
    n_stop_images: int | None,
    report_every_images: int,
    patience_images: int | None,
) -> None:
    """Raises ValueError unless the arguments of `train` fit each other."""
    if n_planned_images < 1 or report_every_images < 1 or (n_stop_images is not None and n_stop_images < 1):
        raise ValueError(
            "n_planned_images, n_stop_images and report_every_images must be at least 1, "
            f"but got {n_planned_images=}, {n_stop_images=}, {report_every_images=}"
        )
    if patience_images is not None and validation is None:
        raise ValueError("early stopping needs a validation set; pass one, or patience_images=None")
    if patience_images is not None and patience_images < 1:
        raise ValueError(f"patience_images must be at least 1, but got {patience_images=}")
    architecture = recipe.architecture
    for labelled in (train_images, validation):
        if labelled is None:
            continue
        if len(labelled) == 0 or labelled.images.shape[1:] != architecture.image_shape:
            raise ValueError(f"images must be (n, {architecture.image_shape}), n > 0, but got {labelled.images.shape}")
        if labelled.labels.max() >= architecture.n_classes:
            raise ValueError(f"labels must be below {architecture.n_classes}, but got {labelled.labels.max()}")
