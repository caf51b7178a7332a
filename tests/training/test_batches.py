from __future__ import annotations

import itertools

import numpy as np
import pytest

from fmnist.data.images import LabelledImages
from fmnist.recipe import TrainingPlan
from fmnist.training.batches import augmented_batches, marks_by_step, plan_for_length, steps_for

UNCHANGED = TrainingPlan(flip=False, shift=0, erasing=0.0)


def numbered(n: int) -> LabelledImages:
    """Images of one pixel, whose value and label are their number."""
    numbers = np.arange(n, dtype=np.uint8)
    return LabelledImages(numbers.reshape(n, 1, 1, 1), numbers)


@pytest.mark.parametrize(("n_images", "n_steps"), [(1, 1), (99, 1), (100, 1), (151, 2), (1000, 10)])
def test_steps_are_the_nearest_whole_number_of_batches(n_images: int, n_steps: int) -> None:
    assert steps_for(n_images, 100) == n_steps


def test_each_mark_belongs_to_the_step_nearest_to_it_and_the_end_is_one() -> None:
    assert marks_by_step(1700, 500, 100) == {5: [500], 10: [1000], 15: [1500], 17: [1700]}
    assert marks_by_step(1200, 400, 600) == {1: [400, 800], 2: [1200]}


def test_a_short_training_erases_less_and_a_long_one_no_more() -> None:
    plan = TrainingPlan(erasing=0.4, n_epochs=20)
    erasing = [plan_for_length(plan, n_epochs).erasing for n_epochs in (0.5, 10, 20, 200)]
    assert erasing == pytest.approx([0.01, 0.2, 0.4, 0.4])


@pytest.mark.parametrize("batch_size", [3, 40])
def test_an_epoch_shows_every_image_once_but_those_of_an_incomplete_batch(batch_size: int) -> None:
    batches = augmented_batches(numbered(100), UNCHANGED, batch_size, seed=0)
    n_batches = 100 // batch_size
    for _ in range(2):
        epoch = list(itertools.islice(batches, n_batches))
        seen = np.concatenate([batch.labels for batch in epoch])
        assert len(set(seen.tolist())) == n_batches * batch_size
        for batch in epoch:
            np.testing.assert_array_equal(batch.images.ravel(), batch.labels)


def test_batches_follow_from_the_seed() -> None:
    firsts = []
    for seed in (0, 0, 1):
        batch = next(augmented_batches(numbered(100), UNCHANGED, 50, seed))
        firsts.append(batch.labels.tolist())
    assert firsts[0] == firsts[1] != firsts[2]
