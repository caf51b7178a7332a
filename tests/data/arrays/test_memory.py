"""Arrays in memory become a data set without test images."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist.data.arrays.memory import find_image_form, memory_source
from fmnist.data.split import load_test, load_train
from fmnist.reading import Reading
from tests.support.made_images import digits_of_each, in_colour
from tests.support.remedies import needs_remedy

IMAGES, LABELS = digits_of_each([15, 15])
DARK = np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8) % 16


def test_all_images_are_for_training_and_none_for_testing() -> None:
    source = memory_source(IMAGES[..., np.newaxis], LABELS, ["zero", "one"])
    split = load_train(source, seed=0)
    assert len(split.together()) == 30
    assert (source.has_test, source.test_digests, source.test_checksum) == (False, (), None)
    with pytest.raises(RuntimeError, match="no test images"):
        load_test(source)


def test_other_images_or_labels_are_told_by_their_checksum() -> None:
    def checksums(images: np.ndarray, labels: np.ndarray) -> dict[str, str]:
        return memory_source(images[..., np.newaxis], labels, ["zero", "one"]).checksums

    same, other_labels = checksums(IMAGES.copy(), LABELS.copy()), checksums(IMAGES, LABELS[::-1])
    assert same == checksums(IMAGES, LABELS) != other_labels
    assert checksums(IMAGES[::-1], LABELS) != same


@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("scale", ["bytes", "0 to 1"])
def test_arrays_of_one_content_become_the_same_bytes(channels: str, scale: str) -> None:
    expected = in_colour(IMAGES)
    values = np.moveaxis(expected, 3, 1) if channels == "first" else expected
    if scale == "0 to 1":
        values = values / 255
    form, _ = find_image_form(values, Reading(), "X")
    np.testing.assert_array_equal(form.apply(values, "X"), expected)


def test_form_of_the_training_images_is_kept_for_others() -> None:
    """An image of zeros and ones means another thing from 0 to 255 than from 0 to 1."""
    ones = np.ones((1, 16, 16))
    as_bytes, _ = find_image_form(IMAGES.astype(float), Reading(), "X")
    as_shares, _ = find_image_form(IMAGES / 255, Reading(), "X")
    assert as_bytes.apply(ones, "X").max() == 1
    assert as_shares.apply(ones, "X").max() == 255


def test_image_size_holds_for_every_array() -> None:
    form, _ = find_image_form(IMAGES, Reading(image_size=8), "X")
    assert form.apply(IMAGES[:2], "X").shape == (2, 8, 8, 1)


def test_images_of_another_shape_are_refused() -> None:
    form, _ = find_image_form(IMAGES, Reading(), "X")
    with needs_remedy("{} must have images of the shape that the model was trained on, {}, but got {}; pass"):
        form.apply(IMAGES.reshape(30, 8, 32), "X")
    assert len(form.apply(IMAGES.reshape(30, 16, 16), "X")) == 30


@pytest.mark.parametrize("given", [DARK * 17, np.full_like(DARK, 70) * 2])
def test_images_are_on_the_scale_of_the_training_images(given: np.ndarray) -> None:
    form, _ = find_image_form(DARK, Reading(), "X")
    with needs_remedy("{} must have pixels on the scale of the training images, whose brightest is {} of {}, but its"):
        form.apply(given[:1], "X")
    form.apply(DARK[:1], "X")  # scaled as those were


def test_truth_values_after_whole_numbers_are_refused() -> None:
    form, _ = find_image_form(DARK, Reading(), "X")
    with needs_remedy(
        "{} must be numbers as the training images are, whole ones from 0 to {}, but got truth values; pass"
    ):
        form.apply(DARK > 7, "X")
    form.apply(DARK, "X")  # before they were compared
    of_ones, _ = find_image_form(DARK // 15, Reading(), "X")
    assert of_ones.apply(DARK == 15, "X").max() == 1  # the same numbers


@pytest.mark.parametrize(
    ("training", "given"),
    [(DARK * 17, DARK), (DARK * 17, DARK * 0), (DARK * 8, DARK * 17), (DARK, DARK * 8), (DARK / 15, DARK / 255)],
    ids=["dark", "black", "nearly as bright", "none above half", "dark decimals"],
)
def test_images_that_may_be_dark_or_a_little_brighter_are_taken(training: np.ndarray, given: np.ndarray) -> None:
    form, _ = find_image_form(training, Reading(), "X")
    assert len(form.apply(given, "X")) == len(given)


def test_many_images_that_are_much_darker_are_told_of_and_few_are_not() -> None:
    bright, _ = find_image_form(DARK * 17, Reading(), "X")
    assert bright.note_darker(DARK, "X").startswith("The brightest pixel of X is 15 of 255, but 255 in the training im")
    dark, _ = find_image_form(DARK, Reading(), "X")
    assert not any((bright.note_darker(DARK[:9], "X"), bright.note_darker(DARK * 5, "X"), dark.note_darker(DARK, "X")))
