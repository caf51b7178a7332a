"""Which images does each step learn from, and after which steps is a training validated?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fmnist.data.images import LabelledImages
from fmnist.recipe import TrainingPlan
from fmnist.training.augmentation import augment

IMAGES_AT_ONCE = 1024  # augmented together: half the time of batch by batch; with more they leave the cache


def steps_for(n_images: int, batch_size: int) -> int:
    """Round this many images to whole batches: the number of batches nearest to them, at least 1."""
    return max(1, round(n_images / batch_size))


def marks_by_step(n_end_images: int, report_every_images: int, batch_size: int) -> dict[int, list[int]]:
    """Map steps, from 1, to the marks that are reported after them.

    Marks are in images: every report_every_images, and the end. A mark belongs to the step nearest to it, so several
    may belong to one.
    """
    found: dict[int, list[int]] = {}
    for mark in [*range(report_every_images, n_end_images, report_every_images), n_end_images]:
        found.setdefault(steps_for(mark, batch_size), []).append(mark)
    return found


def plan_for_length(plan: TrainingPlan, n_epochs: float) -> TrainingPlan:
    """Adapt a plan to a training of so many epochs: one shorter than the plan's erases less, in proportion."""
    return replace(plan, erasing=plan.erasing * min(1.0, n_epochs / plan.n_epochs))


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step learns from."""

    images: np.ndarray  # uint8 (batch_size, height, width, channels), augmented
    labels: np.ndarray  # uint8 (batch_size,)
    taught: np.ndarray | None = None  # float32 (batch_size, n_classes): a teacher's probabilities


def augmented_batches(
    train_images: LabelledImages,
    plan: TrainingPlan,
    batch_size: int,
    seed: int,
) -> Iterator[Batch]:
    """Yield batches without end, in a new order for every epoch, of which the last, incomplete batch is dropped.

    Args:
        train_images: at least batch_size of them.
        plan: says how they are augmented.
        batch_size: images in a batch.
        seed: of order, flips and all that is random in augmentation.
    """
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
                part = slice(first, first + batch_size)
                yield Batch(images[part], labels[part])
