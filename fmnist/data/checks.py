"""What labels, names of classes and images must be, whatever file they came from; each check raises UserError."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import psutil

from fmnist.data.images import Shape
from fmnist.errors import UserError, first_few
from fmnist.reading import Reading

MIN_IMAGES_PER_CLASS = 12  # a twelfth each for selection and confirmation is then at least one image
MIN_IMAGES_WITH_TEST = 15  # the same where a sixth is held out as the test set first
MAX_CLASSES = 256  # labels are bytes
MIN_SIDE = 4  # pixels
MAX_SIDE = 64  # pixels, unless an image size is asked for


def check_train_labels(labels: np.ndarray, where: object, class_names: Sequence[str] | None, min_images: int) -> int:
    """Check that the labels number two or more classes without a gap, and that no class is too small.

    Args:
        labels: int (n,).
        where: The file or array, for the message.
        class_names: By label; None if the classes are called by their numbers.
        min_images: How many images each class needs.

    Returns:
        The number of classes.
    """
    _require_two_classes(labels, where, class_names)
    if labels.min() < 0:
        raise UserError(f"labels must be 0 or more, but in {where} one is {labels.min()}; number the classes from 0")
    counts = np.bincount(labels)
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        raise UserError(
            f"labels must be 0 to k - 1 with none left out, but {where} goes up to {len(counts) - 1}; absent: "
            f"{first_few(absent.tolist())}; number the classes from 0"
        )
    if class_names is None:
        class_names = [f"class {label}" for label in range(len(counts))]
    if len(class_names) != len(counts):
        raise UserError(
            f"there must be one name for each class, but got {len(class_names)} for the {len(counts)} classes in "
            f"{where}; fix the list of names"
        )
    check_class_sizes(class_names, counts, where, min_images)
    return len(counts)


def _require_two_classes(labels: np.ndarray, where: object, class_names: Sequence[str] | None) -> None:
    present = np.unique(labels).tolist()
    if not present:
        raise UserError(
            f"there must be images of two classes or more, but in {where} there is no image; add some of each class"
        )
    if len(present) == 1:
        (only,) = present
        if class_names is not None and 0 <= only < len(class_names):
            only = class_names[only]
        raise UserError(
            f"labels must be of two classes or more, but in {where} all are {only}; add images of another class"
        )


def check_class_sizes(names: Sequence[str], counts: np.ndarray, where: object, min_images: int) -> None:
    """Check that there are not more classes than a byte can number, each with enough images.

    Args:
        names: Of the classes, by label.
        counts: int (n_classes,), images of each class.
        where: The file or folder, for the message.
        min_images: How many images each class needs.
    """
    if len(names) > MAX_CLASSES:
        raise UserError(
            f"a data set may have {MAX_CLASSES} classes at most, but {where} has {len(names):,}; leave some out"
        )
    small = sorted((int(n), name) for name, n in zip(names, counts, strict=True) if n < min_images)
    if not small:
        return
    required = f"a class needs at least {min_images} training images"
    if min_images == MIN_IMAGES_WITH_TEST:
        required += " (a sixth of them becomes the test set)"
    received = first_few([f"{name} has {n}" for n, name in small])
    raise UserError(f"{required}, but in {where} {received}; add images or leave the class out")


def check_test_labels(labels: np.ndarray, where: object, n_classes: int, first: int = 0) -> None:
    """Check that there are test images, all of classes that were trained on.

    Args:
        labels: int (n,), from 0.
        where: The file or array, for the message.
        n_classes: Of the training images.
        first: What the training labels call class 0, for the message, which has the numbers of the file.
    """
    if len(labels) == 0:
        raise UserError(f"there must be test images, but in {where} there is none; add some of each class")
    is_wrong = (labels < 0) | (labels >= n_classes)
    if not is_wrong.any():
        return
    training = f"in training, which begins with {first}" if first else "in training"
    raise UserError(
        f"test labels must be {first} to {n_classes - 1 + first} as {training}, but in {where} one is "
        f"{labels[is_wrong][0] + first}; number both alike, or leave images of other classes out"
    )


def check_names(names: Sequence[str], where: object) -> tuple[str, ...]:
    """Check that the names of classes can be printed and told apart, and return them as a tuple."""
    counts = Counter(names)
    repeated = sorted(name for name in counts if counts[name] > 1)
    if repeated:
        received = f"{first_few(repeated)} twice"
    else:
        unusable = [repr(name) for name in names if not name.strip() or not name.isprintable()]
        if not unusable:
            return tuple(names)
        received = first_few(unusable)
    raise UserError(f"{where} must name each class in a line of its own, but got {received}; fix it")


def refuse_picture_options(reading: Reading, place: object) -> None:
    """Raise UserError if images in numbers are to be read by an option that only picture files have."""
    if reading.colour is not None or reading.skip_unreadable:
        raise UserError(
            "--colour and --skip-unreadable are for picture files, in folders, archives or Parquet, but "
            f"{place} holds pixels as numbers; leave them out"
        )


def check_sides(shape: Shape, where: object, reading: Reading) -> None:
    """Check that images of this shape are neither too small nor larger than what `reading` allows."""
    height, width, _ = shape
    least, remedy = MIN_SIDE, "use larger ones"
    if min(height, width) > 0:
        remedy += ", or pass --image-size"
    if reading.image_size is not None:  # which enlarges whatever has a pixel
        least = 1
    if min(height, width) < least:
        raise UserError(
            f"images need sides of {least} pixels or more, but those in {where} are {height} x {width}; {remedy}"
        )
    if max(height, width) > MAX_SIDE and reading.image_size is None:
        raise UserError(
            f"images may have sides of {MAX_SIDE} pixels at most, but those in {where} are {height} x {width}; pass "
            f"--image-size N, such as {MAX_SIDE}, which fits each into N x N pixels"
        )


def check_memory(n_images: int, shape: Shape, bytes_per_value: int = 1, remedy: str = "use fewer images") -> None:
    """Check that the memory that is free can hold so many images of this shape twice.

    remedy: What to do where it cannot, the end of the message.
    """
    n_bytes, free = n_images * math.prod(shape) * bytes_per_value, psutil.virtual_memory().available
    if 2 * n_bytes > free:
        sides = " x ".join(map(str, shape))
        raise UserError(
            f"{n_images:,} images of {sides} take {n_bytes / 1e9:,.1f} GB of memory, and as much again while they are "
            f"split, but {free / 1e9:,.1f} GB are free; {remedy}"
        )


def note_constant(is_constant: np.ndarray, name_of: Callable[[int], object]) -> list[str]:
    """Write a sentence about images of one colour; none if there is no such image.

    Args:
        is_constant: bool (n,), of all images.
        name_of: Gives the name of image number i.
    """
    rows = np.flatnonzero(is_constant)
    if len(rows) == 0:
        return []
    images = f"{len(rows):,} images are"
    if len(rows) == 1:
        images = "1 image is"
    return [f"{images} of one colour all over, perhaps damaged: {first_few([name_of(int(row)) for row in rows])}"]
