"""How one recipe is trained: the loop, its schedule and its ends, and what is kept of it.

Not covered: which data is held out (see `fmnist.data.named`), how long a training should be (the caller's choice), scores
beyond accuracy and cross-entropy (see `fmnist.metrics.evaluation`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import keras
import numpy as np
import tensorflow as tf

from fmnist.data.images import LabelledImages
from fmnist.recipe import Recipe, TrainingPlan
from fmnist.training.augmentation import augment
from fmnist.training.history import HistoryPoint, best_point
from fmnist.training.optimizer import learning_rate_at
from fmnist.training.step import TrainStep

IMAGES_AT_ONCE = 1024  # augmented together: half the time of batch by batch; with more they leave the cache
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)  # keeps the logarithm of an underflown probability finite


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
    confusion: np.ndarray | None = None  # int64 (n_classes, n_classes): validation images by true and predicted
    # class, at the best point


def ignore(progress: HistoryPoint | int) -> None:
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
    on_progress: Callable[[HistoryPoint], None] = ignore,
    on_step: Callable[[int], None] = ignore,
    train_step: TrainStep | None = None,
) -> Training:
    """Train a new network by the recipe. The learning-rate schedule spans n_planned_images, repeats counted.

    The training ends there; or at n_stop_images, the schedule cut short; or after patience_images without a higher
    validation accuracy; or at the first step past seconds_limit, with a last validation. Every report_every_images it
    validates and calls on_progress with the point, and after each step on_step with the images seen; an exception from
    there ends the training and passes through.

    Reports bear nominal marks (k * report_every_images, and the end), each made after the step nearest to it, so the
    marks of all trainings coincide whatever their batch size. Batches that span several marks report each of them.
    Only a point made at the time limit bears the images really seen. The last, incomplete batch of an epoch is dropped.
    train_step: one that has trained the same recipe on as many images; it is started anew, which spares compiling.

    Same seed, machine and number of threads: the same history, to the bit, except for its seconds.
    Raises Diverged as soon as a loss is not finite, or at the next mark if only weights are not; ValueError if the
    arguments do not fit each other.
    """
    started = time.monotonic()
    _check_lengths(n_planned_images, n_stop_images, report_every_images)
    _check_patience(patience_images, validation)
    for labelled in (train_images, validation):
        _check_images(recipe, labelled)

    plan, batch_size = recipe.plan, min(recipe.plan.batch_size, len(train_images))
    n_end_images = n_planned_images if n_stop_images is None else min(n_planned_images, n_stop_images)
    n_steps, n_end_steps = steps_for(n_planned_images, batch_size), steps_for(n_end_images, batch_size)
    marks = _marks_by_step(n_end_images, report_every_images, batch_size)
    if train_step is None:
        train_step = TrainStep(recipe, pixel_mean, pixel_std, batch_size, seed)
    else:
        _check_train_step(train_step, recipe, batch_size)
        train_step.restart(seed)
    batches = _batches(train_images, _for_length(plan, n_planned_images / len(train_images)), batch_size, seed)

    run = _Run(train_step, validation, on_progress, started)
    stopped_by = "end" if n_end_images == n_planned_images else "stop point"
    for step in range(n_end_steps):
        run.learn(*next(batches), step, n_steps)
        on_step(run.n_images)
        if step + 1 in marks:
            run.report(marks[step + 1])
        if step + 1 < n_end_steps and (reason := run.reason_to_stop(patience_images, seconds_limit)):
            stopped_by = reason
            break
    train_step.model.set_weights(run.best_weights if run.best_weights is not None else train_step.weights())
    return Training(
        train_step.model,
        tuple(run.history),
        run.best,
        run.n_images,
        run.seconds(),
        run.seconds_in_steps,
        stopped_by,
        run.best_confusion,
    )


def steps_for(n_images: int, batch_size: int) -> int:
    """The number of batches nearest to this many images, at least 1."""
    return max(1, round(n_images / batch_size))


def limit_threads(n_threads: int) -> None:
    """Have TensorFlow compute on this many threads; results are the same to the bit only for the same number, and with
    several, batches are learned from in as many parts (see `TrainStep`).

    Call it before TensorFlow has run anything. Raises RuntimeError if that is too late.
    """
    tf.config.threading.set_intra_op_parallelism_threads(n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(n_threads)


def make_deterministic() -> None:
    """Have TensorFlow take operations that give the same bits each time, also on a GPU, or raise where it has none."""
    tf.config.experimental.enable_op_determinism()


@dataclass
class _Run:
    """A training under way."""

    train_step: TrainStep
    validation: LabelledImages | None
    on_progress: Callable[[HistoryPoint], None]
    started: float  # time.monotonic
    history: list[HistoryPoint] = field(default_factory=list)
    best: HistoryPoint | None = None
    best_weights: list[np.ndarray] | None = None
    best_confusion: np.ndarray | None = None
    n_images: int = 0  # training images seen
    seconds_in_steps: float = 0.0  # of learning and validation
    learning_rate: float = 0.0  # of the last step
    losses: list[float] = field(default_factory=list)  # of the steps since the last report
    accuracies: list[float] = field(default_factory=list)

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def learn(self, images: np.ndarray, labels: np.ndarray, step: int, n_steps: int) -> None:
        """One step of the optimizer."""
        started = time.monotonic()
        loss, accuracy = self.train_step.learn(images, labels, step, n_steps)
        self.seconds_in_steps += time.monotonic() - started
        self.learning_rate = learning_rate_at(self.train_step.recipe.plan, step, n_steps)
        self.n_images += len(images)
        self.require_finite("training loss is", loss)
        self.losses.append(loss)
        self.accuracies.append(accuracy)

    def report(self, marks: Sequence[int]) -> None:
        """Validate once, then add and announce one point per mark. Keeps the weights of a new best point."""
        weights = self.train_step.weights()
        for array in weights:  # max pooling passes over NaN, so that a broken network can have a finite loss
            self.require_finite("weights are", array)
        validation_loss, validation_accuracy, confusion = self.validate()
        point = HistoryPoint(
            n_images=marks[0],
            seconds=self.seconds(),
            learning_rate=self.learning_rate,
            train_loss=float(np.mean(self.losses)),
            train_accuracy=float(np.mean(self.accuracies)),
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
        )
        points = [replace(point, n_images=mark) for mark in marks]
        self.losses, self.accuracies = [], []
        self.history.extend(points)
        if (best := best_point(self.history)) is not self.best:
            self.best, self.best_weights, self.best_confusion = best, weights, confusion
        for each in points:
            self.on_progress(each)

    def validate(self) -> tuple[float | None, float | None, np.ndarray | None]:
        """Cross-entropy without smoothing, accuracy, and images by true and predicted class."""
        if self.validation is None:
            return None, None, None
        started, labels = time.monotonic(), self.validation.labels
        probabilities = self.train_step.probabilities(self.validation.images)
        self.seconds_in_steps += time.monotonic() - started
        true_probabilities = probabilities[np.arange(len(labels)), labels]
        loss = float(-np.log(np.maximum(true_probabilities, SMALLEST_PROBABILITY), dtype=np.float64).mean())
        self.require_finite("validation loss is", loss)
        predicted, n_classes = probabilities.argmax(axis=1), probabilities.shape[1]
        pairs = labels.astype(np.int64) * n_classes + predicted
        confusion = np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
        return loss, float(np.mean(predicted == labels)), confusion

    def reason_to_stop(self, patience_images: int | None, seconds_limit: float | None) -> str | None:
        """Why to end before the planned end, if so; the work so far is then reported."""
        if seconds_limit is not None and self.seconds() > seconds_limit:
            if self.losses:  # steps since the last report
                self.report([self.n_images])
            return "time limit"
        if patience_images is None or self.best is None:
            return None
        has_stalled = self.history[-1].n_images - self.best.n_images >= patience_images
        return "early stopping" if has_stalled else None

    def require_finite(self, name: str, value: float | np.ndarray) -> None:
        if not np.isfinite(value).all():
            raise Diverged(f"the {name} not finite after {self.n_images:,} images; lower the peak learning rate")


def _for_length(plan: TrainingPlan, n_epochs: float) -> TrainingPlan:
    """The plan for a training of so many epochs: a shorter one than the plan's erases as much less as it is shorter."""
    return replace(plan, erasing=plan.erasing * min(1.0, n_epochs / plan.n_epochs))


def _batches(
    train_images: LabelledImages, plan: TrainingPlan, batch_size: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches: augmented images, uint8 (batch_size, height, width, channels); labels, uint8 (batch_size,)."""
    shuffling, flipping, augmenting = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3))
    n_images = len(train_images)
    first_flip = flipping.random(n_images) < 0.5
    n_at_once = max(1, IMAGES_AT_ONCE // batch_size) * batch_size
    for epoch in itertools.count():
        order = shuffling.permutation(n_images)[: n_images // batch_size * batch_size]
        for start in range(0, len(order), n_at_once):
            chosen = order[start : start + n_at_once]
            images = augment(train_images.images[chosen], plan, first_flip[chosen], epoch, augmenting)
            labels = train_images.labels[chosen]
            for first in range(0, len(chosen), batch_size):
                yield images[first : first + batch_size], labels[first : first + batch_size]


def _marks_by_step(n_end_images: int, report_every_images: int, batch_size: int) -> dict[int, list[int]]:
    """Step (from 1) -> the marks, in images, that are reported after it."""
    marks_by_step: dict[int, list[int]] = {}
    for mark in [*range(report_every_images, n_end_images, report_every_images), n_end_images]:
        marks_by_step.setdefault(steps_for(mark, batch_size), []).append(mark)
    return marks_by_step


def _check_lengths(n_planned_images: int, n_stop_images: int | None, report_every_images: int) -> None:
    if n_planned_images < 1 or report_every_images < 1 or (n_stop_images is not None and n_stop_images < 1):
        raise ValueError(
            "n_planned_images, n_stop_images and report_every_images must be at least 1, "
            f"but got {n_planned_images=}, {n_stop_images=}, {report_every_images=}"
        )


def _check_train_step(train_step: TrainStep, recipe: Recipe, batch_size: int) -> None:
    if (train_step.recipe, train_step.batch_size) != (recipe, batch_size):
        raise ValueError(
            f"a train step can be used again for its own recipe and batch size only, but got one of batch size "
            f"{train_step.batch_size} and recipe {train_step.recipe} for {batch_size} and {recipe}"
        )


def _check_patience(patience_images: int | None, validation: LabelledImages | None) -> None:
    if patience_images is None:
        return
    if validation is None:
        raise ValueError("early stopping needs a validation set; pass one, or patience_images=None")
    if patience_images < 1:
        raise ValueError(f"patience_images must be at least 1, but got {patience_images=}")


def _check_images(recipe: Recipe, labelled: LabelledImages | None) -> None:
    if labelled is None:
        return
    architecture = recipe.architecture
    if len(labelled) == 0 or labelled.images.shape[1:] != architecture.image_shape:
        raise ValueError(f"images must be (n, {architecture.image_shape}), n > 0, but got {labelled.images.shape}")
    if labelled.labels.max() >= architecture.n_classes:
        raise ValueError(f"labels must be below {architecture.n_classes}, but got {labelled.labels.max()}")
