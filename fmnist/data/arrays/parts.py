"""What every file of arrays or tables is turned into before it is checked: its parts, as they are in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class Part:
    """Images and their labels as a file has them, before they are checked: training, validation or test."""

    images: np.ndarray  # (n, ...): numbers in one of the forms of `fmnist.data.arrays.pixels`
    labels: np.ndarray  # (n,), or what `fmnist.data.arrays.labels` makes it from
    images_from: str  # where the images are, in words: "x_train in /data/mnist.npz"
    labels_from: str  # the same of the labels


class ArrayFiles(Protocol):
    """A file, or several that belong together, with images and labels in one of the forms that are read.

    Every method raises UserError if a file cannot be used. Each reads the files when it is called, so that test images
    are not held in memory, and closes them.
    """

    place: Path  # the file or folder that the user named

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read, whose contents make the data set what it is."""
        ...

    @property
    def has_test(self) -> bool:
        """Whether there are test images apart from the others. Else some are held out."""
        ...

    @property
    def wanted_test(self) -> str:
        """What would have held the test images, in words: "x_test"."""
        ...

    def read_train(self) -> Sequence[Part]:
        """Read the training images; validation images, if there are some, are a part behind them."""
        ...

    def read_test(self) -> Part:
        """Read the test images; called only where `has_test`."""
        ...

    def class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes by their label; None if the file does not name them."""
        ...

    def notes(self) -> list[str]:
        """Return sentences about what was decided or noticed on the way, such as files that nothing reads."""
        ...


def parts_to_classify(files: ArrayFiles) -> Sequence[Part]:
    """Read the images that are meant where a model is to classify files: the test images, or all if there are none.

    The files are a user's, handed to `fmnist.predict`. A study's own test images have another way, opened once.

    Raises:
        UserError: A file cannot be used.
    """
    return [files.read_test()] if files.has_test else files.read_train()
