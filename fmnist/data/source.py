"""A data set that was found and checked, of whatever kind; and the checks that all kinds have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

from fmnist.data.checksums import digests_of, md5
from fmnist.data.images import LabelledImages
from fmnist.errors import UserError, first_few

Colour = Literal["grey", "rgb"]
COLOURS: dict[str, int] = {"grey": 1, "rgb": 3}  # --colour -> channels
MIN_IMAGES_PER_CLASS = 12  # a twelfth each for selection and confirmation is then at least one image
MIN_IMAGES_WITH_TEST = 15  # the same where a sixth is held out as the test set first
MAX_CLASSES = 256  # labels are bytes
MIN_SIDE = 4  # pixels
MAX_SIDE = 64  # pixels, unless an image size is asked for
IMAGE_SIZES = (8, 128)  # that may be asked for
LARGE_SET = 12_000  # images from which a twelfth (1,000 images or more) is enough to select on

Shape = tuple[int, int, int]  # height, width, channels


@dataclass(frozen=True)
class Reading:
    """How images of one's own are to be read."""

    image_size: int | None = None  # pixels, of the square that each is fitted into; None: they stay as they are
    colour: str | None = None  # one of COLOURS, that pictures are turned into; None: as they are, all alike
    skip_unreadable: bool = False  # leave out the picture files that cannot be read
    seed: int = 0  # draws the test set where there is none
    on_progress: Callable[[int, int], None] = lambda n_read, n_files: None  # of picture files; may raise, to end it

    def __post_init__(self) -> None:
        low, high = IMAGE_SIZES
        if self.image_size is not None and not low <= self.image_size <= high:
            raise UserError(f"--image-size must be between {low} and {high} pixels, but got {self.image_size}")

    @property
    def is_plain(self) -> bool:
        return (self.image_size, self.colour, self.skip_unreadable) == (None, None, False)


@dataclass(frozen=True)
class DataSource:
    """A data set that was found and checked. The two readers are for `data.load_train` and `data.load_test` alone."""

    dataset: str  # "fashion-mnist", "digits" or the folder's or file's name
    folder: Path | None  # that it was found in, or the file; None: bundled with scikit-learn
    checksums: dict[str, str]  # file name -> md5; of picture folders an entry a part, over names and contents
    class_names: tuple[str, ...]  # by label
    image_shape: Shape
    test_digests: tuple[bytes, ...] = field(repr=False)  # of the test images, in their order: what may be known of them
    test_checksum: str  # md5 over these and the test labels
    read_train: Callable[[], LabelledImages] = field(repr=False, compare=False)
    read_test: Callable[[], LabelledImages] = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()  # sentences: what was decided or noticed on the way


def build_source(
    dataset: str,
    folder: Path | None,
    checksums: dict[str, str],
    class_names: Sequence[str],
    image_shape: Shape,
    *,
    test_digests: Sequence[bytes],
    test_labels: np.ndarray,
    read_train: Callable[[], LabelledImages],
    read_test: Callable[[], LabelledImages],
    notes: Sequence[str] = (),
) -> DataSource:
    return DataSource(
        dataset=dataset,
        folder=folder,
        checksums=checksums,
        class_names=tuple(class_names),
        image_shape=image_shape,
        test_digests=tuple(test_digests),
        test_checksum=md5(*test_digests, test_labels.tobytes()),
        read_train=read_train,
        read_test=read_test,
        notes=tuple(notes),
    )


def describe_test_set(test: LabelledImages) -> dict[str, object]:
    """What `build_source` wants to know of test images in memory, which the caller then forgets."""
    return {"test_digests": digests_of(test.images), "test_labels": test.labels}


class ReadOnce:
    """Hands over the images that were read for the checks, to the first who asks, and does not hold them any longer.
    Whoever asks later has them read again."""

    def __init__(self, images: LabelledImages, again: Callable[[], LabelledImages]) -> None:
        self._images: LabelledImages | None = images
        self._again = again

    def __call__(self) -> LabelledImages:
        images, self._images = self._images, None
        return self._again() if images is None else images


# --- checks of labels


def check_train_labels(labels: np.ndarray, where: object, class_names: Sequence[str] | None, least: int) -> int:
    """The number of classes. Raises UserError where a class is left out, too small, or the only one. labels: int (n,).

    where: file or array, for the message. class_names: None: they are called by their numbers. least: images a class.
    """
    if len(labels) and labels.min() < 0:
        raise UserError(f"labels must be 0 or more, but in {where} one is {labels.min()}; number the classes from 0")
    counts = np.bincount(labels)
    absent = np.flatnonzero(counts == 0)
    if len(counts) < 2 or len(absent):
        which = f"; absent: {first_few(absent)}" if len(absent) else ""
        raise UserError(
            f"labels must be 0 to k - 1 with none left out and k at least 2, but {where} goes up to {len(counts) - 1}"
            f"{which}; number the classes from 0"
        )
    if class_names is not None and len(class_names) != len(counts):
        raise UserError(
            f"there must be one name for each class, but got {len(class_names)} for the {len(counts)} classes in "
            f"{where}; mend the list of names"
        )
    names = class_names or [f"class {label}" for label in range(len(counts))]
    check_class_sizes(names, counts, where, least)
    return len(counts)


def check_class_sizes(names: Sequence[str], counts: Sequence[int], where: object, least: int) -> None:
    """Raises UserError where there are too many classes, fewer than two, or one has fewer than `least` images."""
    if len(names) < 2:
        raise UserError(f"a data set must have two classes or more, but {where} has {len(names)}; add another")
    if len(names) > MAX_CLASSES:
        raise UserError(
            f"a data set may have {MAX_CLASSES} classes at most, but {where} has {len(names):,}; leave some out"
        )
    small = sorted((int(n), name) for name, n in zip(names, counts, strict=True) if n < least)
    if small:
        listed = first_few([f"{name} has {n}" for n, name in small])
        held_out = " (a sixth of them becomes the test set)" if least == MIN_IMAGES_WITH_TEST else ""
        raise UserError(
            f"a class needs at least {least} training images{held_out}, but in {where} {listed}; add images or leave "
            "the class out"
        )


def check_test_labels(labels: np.ndarray, where: object, n_classes: int) -> None:
    """labels: int (n,)."""
    is_wrong = (labels < 0) | (labels >= n_classes)
    if len(labels) == 0 or is_wrong.any():
        received = f"one is {labels[is_wrong][0]}" if len(labels) else "there is none"
        raise UserError(f"test labels must be 0 to {n_classes - 1} as in training, but in {where} {received}; mend it")


def check_names(names: Sequence[str], where: object) -> tuple[str, ...]:
    """The names of classes, as a file gives them."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    bad = [repr(name) for name in names if not name.strip() or not name.isprintable()]
    if repeated or bad:
        received = f"{first_few(repeated)} twice" if repeated else first_few(bad)
        raise UserError(f"{where} must name each class in a line of its own, but got {received}; mend it")
    return tuple(names)


# --- checks of images


def check_sides(shape: Shape, where: object, reading: Reading) -> None:
    """Raises UserError where images of this shape are too small, or larger than was asked for."""
    height, width, _ = shape
    if min(height, width) < MIN_SIDE:
        raise UserError(
            f"images need sides of {MIN_SIDE} pixels or more, but those in {where} are {height} x {width}; use larger "
            "ones, or pass --image-size"
        )
    if max(height, width) > MAX_SIDE and reading.image_size is None:
        raise UserError(
            f"images may have sides of {MAX_SIDE} pixels at most, but those in {where} are {height} x {width}; pass "
            f"--image-size N, such as {MAX_SIDE}, which fits each into N x N pixels"
        )


def check_memory(n_images: int, shape: Shape, bytes_a_value: int = 1) -> None:
    """Raises UserError where the images would not fit into the memory that is free."""
    n_bytes, free = n_images * math.prod(shape) * bytes_a_value, psutil.virtual_memory().available
    if 2 * n_bytes > free:
        raise UserError(
            f"{n_images:,} images of {' x '.join(map(str, shape))} take {_gigabytes(n_bytes)} of memory, and as much "
            f"again while they are split, but {_gigabytes(free)} are free; use fewer images or a smaller --image-size"
        )


def note_constant(is_constant: np.ndarray, names: Callable[[int], object]) -> list[str]:
    """A sentence where some images have one colour only; none where there are none. names: of image number i."""
    rows = np.flatnonzero(is_constant)
    if len(rows) == 0:
        return []
    images = "1 image is" if len(rows) == 1 else f"{len(rows):,} images are"
    return [f"{images} of one colour all over, perhaps damaged: {first_few([names(int(i)) for i in rows])}"]


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB"


# --- the test set, where there is none


def hold_out(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training rows and test rows, stratified: sorted int64. A sixth is for testing, a twelfth of large sets."""
    return stratified(np.arange(len(labels)), labels, held_out_size(len(labels)), seed)


def held_out_size(n_images: int) -> int:
    """How many of so many images a split for selection, confirmation or testing gets."""
    return n_images // (12 if n_images >= LARGE_SET else 6)


def note_held_out(n_test: int, n_images: int, seed: int, lacks: str) -> str:
    return (
        f"There is no {lacks}, so {n_test:,} of the {n_images:,} images, drawn by class with seed {seed}, are held out "
        "as the test set"
    )


def stratified(indices: np.ndarray, labels: np.ndarray, n_second: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two parts, each class in both by its share: sorted int64. labels: of all images, not of `indices` alone."""
    from sklearn.model_selection import train_test_split  # here: it takes a second that many readers save

    first, second = train_test_split(indices, test_size=n_second, stratify=labels[indices], random_state=seed)
    return np.sort(first), np.sort(second)
