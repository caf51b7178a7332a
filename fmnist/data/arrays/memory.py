"""Arrays in memory -> DataSource without test images: what a caller's `fit` is given is all for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnist.data.arrays.pixels import (
    Brightness,
    PixelForm,
    brightness_of,
    find_layout,
    find_pixel_form,
    note_dark,
    note_darker,
    require_range_of_training,
)
from fmnist.data.checks import MIN_IMAGES_PER_CLASS, check_sides, check_train_labels, note_constant
from fmnist.data.decode import fit_all
from fmnist.data.images import LabelledImages, Shape, is_constant
from fmnist.data.source import DataSource, checksum_of
from fmnist.errors import UserError
from fmnist.reading import Reading

DATASET = "arrays"  # what a data set of such arrays is called
IN_MEMORY = "arrays in memory"


@dataclass(frozen=True)
class ImageForm:
    """How an array becomes the images of a model: decided on the training images, applied to every other array."""

    shape: Shape  # of an image, before it is fitted into `image_size`: height, width, channels
    pixels: PixelForm
    training: Brightness  # of the images that it was decided on
    image_size: int | None = None  # each is fitted whole into so many pixels a side; None: as it is

    def apply(self, values: np.ndarray, where: str) -> np.ndarray:
        """Return images of this form as uint8 (n, height, width, channels).

        Args:
            values: Numbers, (n, height, width), with channels at the end or in front, or rows of square grey images.
            where: What the array is called, for messages.

        Raises:
            UserError: The images have another shape, or their numbers another range.
        """
        layout = find_layout(values.shape, where)
        if layout.shape != self.shape:
            raise UserError(
                f"{where} must have images of the shape that the model was trained on, {self.shape}, but got "
                f"{layout.shape}; pass images of that size"
            )
        images = np.ascontiguousarray(layout.apply(self.pixels.apply(values, where)))
        require_range_of_training(values, self.pixels, self.training, where)
        return images if self.image_size is None else fit_all(images, self.image_size)

    def note_darker(self, values: np.ndarray, where: str) -> str:
        """Write a sentence about images that are much darker than the training images; or nothing. See `apply`."""
        return note_darker(brightness_of([values], self.pixels, where), self.training)


def find_image_form(values: np.ndarray, reading: Reading, where: str) -> tuple[ImageForm, list[str]]:
    """Find the form of training images.

    Args:
        values: As for `ImageForm.apply`, in one of the forms of `fmnist.data.arrays.pixels`.
        reading: How the images are to be read: only its image_size counts.
        where: What the array is called, for messages.

    Returns:
        The form, and sentences on what was decided.

    Raises:
        UserError: The array is in none of these forms.
    """
    layout = find_layout(values.shape, where)
    check_sides(layout.shape, where, reading)
    pixels = find_pixel_form([values], where)
    training = brightness_of([values], pixels, where)
    notes = [layout.note, pixels.note, note_dark(training)]
    return ImageForm(layout.shape, pixels, training, reading.image_size), [note for note in notes if note]


def memory_source(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    notes: Sequence[str] = (),
    dataset: str = DATASET,
    labels_from: str = "y",
) -> DataSource:
    """Make a data set without test images of arrays that are in memory.

    Args:
        images: uint8 (n, height, width, channels), as `ImageForm.apply` gives them. They must stay as they are.
        labels: int (n,), from 0 to n_classes - 1.
        class_names: By label.
        notes: Sentences for the report.
        dataset: What the data set is called.
        labels_from: What the array of labels is called, for messages.

    Raises:
        UserError: There is one class alone, or a class has too few images.
    """
    check_train_labels(labels, labels_from, class_names, MIN_IMAGES_PER_CLASS)
    train = LabelledImages(images, labels.astype(np.uint8))
    return DataSource(
        dataset=dataset,
        folder=None,
        checksums={"images and labels": checksum_of(train)},
        class_names=tuple(class_names),
        image_shape=train.shape,
        test_digests=(),
        test_checksum=None,
        read_train=lambda: train,
        read_test=no_test_images,
        notes=(*notes, *note_constant(is_constant(images), lambda i: f"training image {i:,}")),
        without_folder=IN_MEMORY,
    )


def no_test_images() -> LabelledImages:
    """Stand in for the reader of test images where there are none. Raises RuntimeError: whoever calls it is wrong."""
    raise RuntimeError("this data set has no test images: ask DataSource.has_test first")
