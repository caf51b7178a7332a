"""What every kind of data set is turned into: a `DataSource` that was found and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fmnist.data.checksums import digests_of, md5
from fmnist.data.decode import Form
from fmnist.data.images import LabelledImages, Shape


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
    test_digests: tuple[bytes, ...] = field(repr=False)  # of the test images, in their order
    test_checksum: str  # md5 over these and the test labels
    read_train: Callable[[], LabelledImages] = field(repr=False, compare=False)
    read_test: Callable[[], LabelledImages] = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()  # sentences: what was decided or noticed on the way
    picture_form: Form | None = None  # how picture files were read; None: the images were not in picture files


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
    return DataSource(
        dataset=dataset,
        folder=folder,
        checksums=checksums,
        class_names=tuple(class_names),
        image_shape=image_shape,
        test_digests=test_digests,
        test_checksum=checksum_of_test_set(test_digests, test.labels),
        read_train=read_train,
        read_test=read_test,
        notes=tuple(notes),
    )


def checksum_of_test_set(digests: Sequence[bytes], labels: np.ndarray) -> str:
    """Compute a checksum that changes with any test image, label or their order. labels: uint8 (n,)."""
    return md5(*digests, labels.tobytes())


class PreloadedReader:
    """A reader of images that are in memory already, as the checks needed them.

    The first call hands them over and lets go of them, so that they are not held for the whole of a study. Later calls
    read the files again.
    """

    def __init__(self, images: LabelledImages, read_again: Callable[[], LabelledImages]) -> None:
        self._images: LabelledImages | None = images
        self._read_again = read_again

    def __call__(self) -> LabelledImages:
        images, self._images = self._images, None
        if images is None:
            return self._read_again()
        return images
