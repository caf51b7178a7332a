from __future__ import annotations

import numpy as np
import pytest

from fmnist.recipe import TrainingPlan
from fmnist.training.augmentation import alternating_flip, augment, erase, shift


def random_images(n: int = 64, shape: tuple[int, int, int] = (8, 6, 1)) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, size=(n, *shape), dtype=np.uint8)  # never 0: 0 marks what came in


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_two_epochs_in_a_row_show_both_views_of_every_image() -> None:
    images = random_images()
    first_flip = generator().random(len(images)) < 0.5
    even, odd = alternating_flip(images, first_flip, 4), alternating_flip(images, first_flip, 5)
    np.testing.assert_array_equal(odd, even[:, :, ::-1])


def test_first_flip_says_which_images_are_mirrored_in_epoch_0() -> None:
    images = random_images(3)
    flipped = alternating_flip(images, np.array([True, False, True]), 0)
    np.testing.assert_array_equal(flipped[1], images[1])
    np.testing.assert_array_equal(flipped[[0, 2]], images[[0, 2], :, ::-1])


def test_two_epochs_apart_the_view_is_the_same() -> None:
    images, first_flip = random_images(4), np.array([True, False, True, False])
    np.testing.assert_array_equal(alternating_flip(images, first_flip, 1), alternating_flip(images, first_flip, 3))


@pytest.mark.parametrize(("border", "mode"), [("black", "constant"), ("edge", "edge")])
@pytest.mark.parametrize("shape", [(8, 6, 1), (5, 7, 3)])
def test_every_shifted_image_is_the_image_moved_by_whole_pixels(shape, border, mode) -> None:
    images = random_images(40, shape)
    height, width, _ = shape
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=mode)
    offsets = set()
    for i, moved in enumerate(shift(images, 2, generator(), border)):
        matches = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(moved, padded[i, top : top + height, left : left + width])
        ]
        assert len(matches) == 1
        offsets.update(matches)
    assert len(offsets) > 10  # each image by its own


def test_all_shifts_are_about_equally_frequent() -> None:
    images = np.zeros((9000, 3, 3, 1), np.uint8)
    images[:, 1, 1] = 255
    counts = (shift(images, 1, generator()) > 0).sum(axis=0).ravel()
    assert counts.sum() == 9000
    assert counts.min() > 850


def test_no_shift_leaves_images_alone() -> None:
    images = random_images()
    np.testing.assert_array_equal(shift(images, 0, generator()), images)


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (0.3, 0.3), (1.0, 1.0)])
def test_erasing_takes_the_given_share_of_images(probability, share) -> None:
    erased = erase(np.full((2000, 28, 28, 1), 9, np.uint8), probability, 0, generator())
    assert np.mean((erased == 0).any(axis=(1, 2, 3))) == pytest.approx(share, abs=0.04)


def test_what_is_erased_is_one_rectangle_of_the_promised_area_and_shape() -> None:
    erased = erase(np.full((500, 40, 40, 3), 9, np.uint8), 1.0, 0, generator()) == 0
    heights = erased.any(axis=(2, 3)).sum(axis=1)
    widths = erased.any(axis=(1, 3)).sum(axis=1)
    np.testing.assert_array_equal(erased.sum(axis=(1, 2, 3)), heights * widths * 3)
    shares, aspects = heights * widths / 1600, heights / widths
    assert 0.015 < shares.min() < 0.04 < 0.16 < shares.max() < 0.22
    assert 0.25 < aspects.min() < 0.4 < 2.5 < aspects.max() < 4


def test_erasing_reaches_every_pixel() -> None:
    erased = erase(np.full((3000, 8, 6, 1), 9, np.uint8), 1.0, 0, generator()) == 0
    assert erased.any(axis=0).all()


def test_without_a_fill_erased_pixels_are_random() -> None:
    erased = erase(np.zeros((400, 28, 28, 1), np.uint8), 1.0, None, generator())
    pixels = erased[erased > 0]
    assert len(np.unique(pixels)) == 255
    assert pixels.mean() == pytest.approx(128, abs=2)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 30, 1)])
def test_rectangles_fit_images_of_any_shape(shape) -> None:
    assert erase(random_images(50, shape), 1.0, 0, generator()).shape == (50, *shape)


def test_augmented_images_keep_shape_and_type_and_the_input_stays_as_it_was() -> None:
    images = random_images()
    before = images.copy()
    plan = TrainingPlan(flip=True, shift=2, erasing=0.5)
    augmented = augment(images, plan, np.zeros(len(images), bool), 1, generator())
    assert augmented.dtype == np.uint8
    assert augmented.shape == images.shape
    assert not np.array_equal(augmented, images)
    np.testing.assert_array_equal(images, before)


def test_same_generator_gives_same_images_and_another_gives_others() -> None:
    images, plan = random_images(), TrainingPlan(shift=2, erasing=0.5)
    first_flip = np.zeros(len(images), bool)
    one, same, other = (augment(images, plan, first_flip, 0, generator(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_plan_without_augmentation_changes_nothing() -> None:
    images, plan = random_images(), TrainingPlan(flip=False, shift=0, erasing=0.0)
    np.testing.assert_array_equal(augment(images, plan, np.ones(len(images), bool), 0, generator()), images)
