"""What every kind of data set is turned into: a `DataSource` that was found and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fmnist.data.checksums import digests_of, md5
from fmnist.data.decode import Form
from fmnist.data.images import LabelledImages, Shape
from fmnist.errors import UserError


@dataclass(frozen=True)
class DataSource:
    """A data set that was found and checked, of whatever kind.

    The two readers are for `fmnist.data.split.load_train` and `load_test` alone, so that nothing else can open the test
    set. What the rest may know of the test images are their digests.
    """

    dataset: str  # one of DATASETS, or the folder's or file's name
    folder: Path | None  # that it was found in, or the file; None: bundled with scikit-learn
    checksums: dict[str, str]  # file name -> md5; of picture folders an entry a part, over names and contents
    class_names: tuple[str, ...]  # by label
    image_shape: Shape
    test_digests: tuple[bytes, ...] = field(repr=False)  # of the test images, in their order; empty: there are none
    test_checksum: str | None  # md5 over these and the test labels; None: there are no test images
    read_train: Callable[[], LabelledImages] = field(repr=False, compare=False)
    read_test: Callable[[], LabelledImages] = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()  # sentences: what was decided or noticed on the way
    picture_form: Form | None = None  # how picture files were read; None: the images were not in picture files
    without_folder: str = "bundled with scikit-learn"  # where the images come from if no folder has them, in words

    @property
    def has_test(self) -> bool:
        """Whether there are test images: without them a study ends with the choice that its confirmation makes."""
        return bool(self.test_digests)


def build_source(
    *,
    dataset: str,
    folder: Path | None,
    checksums: dict[str, str],
    class_names: Sequence[str],
    image_shape: Shape,
    test: LabelledImages,
    read_train: Callable[[], LabelledImages],
    read_test: Callable[[], LabelledImages],
    notes: Sequence[str] = (),
) -> DataSource:
    """Build the DataSource of images that were not in picture files.

    Args:
        test: The test images, of which nothing but digests is kept.

    The other arguments are fields of `DataSource`.
    """
    test_digests = tuple(digests_of(test.images))
    test_checksum = checksum_of_test_set(test_digests, test.labels)

    def read_same_test() -> LabelledImages:
        images = read_test()
        require_same(images, test_checksum, folder or dataset)
        return images

    return DataSource(
        dataset=dataset,
        folder=folder,
        checksums=checksums,
        class_names=tuple(class_names),
        image_shape=image_shape,
        test_digests=test_digests,
        test_checksum=test_checksum,
        read_train=read_train,
        read_test=read_same_test,
        notes=tuple(notes),
    )


def checksum_of_test_set(digests: Sequence[bytes], labels: np.ndarray) -> str:
    """Compute a checksum that changes with any test image, label or their order. labels: uint8 (n,)."""
    return md5(*digests, labels.tobytes())


def checksum_of(images: LabelledImages) -> str:
    """Compute the checksum of images and labels in their order, as of a test set."""
    return checksum_of_test_set(digests_of(images.images), images.labels)


def require_same(images: LabelledImages, checksum: str, where: object) -> None:
    """Raise UserError if images that were read again are not those that were checked.

    A study takes hours, and what its networks are measured on must be what it was begun with.

    Args:
        images: As they are now.
        checksum: Of those before, see `checksum_of`.
        where: What they were read from, for the message.
    """
    if checksum_of(images) != checksum:
        raise UserError(
            f"images and labels must stay as they were when the run began, but those in {where} have changed; restore "
            "them, then the same command goes on from here"
        )


class PreloadedReader:
    """A reader of images that are in memory already, as the checks needed them.

    The first call hands them over and lets go of them, so that they are not held for the whole of a study. Later calls
    read the files again, and raise UserError if they have changed.

    Args:
        images: In memory.
        read_again: Reads them anew.
        where: What they are read from, for messages.
    """

    def __init__(self, images: LabelledImages, read_again: Callable[[], LabelledImages], where: object) -> None:
        self._images: LabelledImages | None = images
        self._read_again = read_again
        self._where = where
        self._checksum = ""

    def __call__(self) -> LabelledImages:
        images, self._images = self._images, None
        if images is not None:
            self._checksum = checksum_of(images)
            return images
        images = self._read_again()
        require_same(images, self._checksum, self._where)
        return images
