"""EMNIST's MATLAB files: a struct `dataset` with images that are stored column by column, labels, and a mapping.

dataset.train.images    (n, 784), each image's columns one after the other
dataset.train.labels    (n, 1), numbers that the first column of the mapping has
dataset.test            the same
dataset.mapping         (n_classes, 2 or more): a label, then the codes of the characters that it stands for
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fmnist.data.arrays.matlab.contents import Variable, read_variables, unpacked_bytes
from fmnist.data.arrays.parts import Part
from fmnist.data.checks import check_memory, check_names
from fmnist.errors import UserError

VARIABLE = "dataset"
SHAPE = (28, 28, 1)
LAST_CODE = 0x10FFFF  # of Unicode


def is_emnist(variables: Mapping[str, Variable]) -> bool:
    """Tell whether a MATLAB file with these variables has EMNIST's form: a struct called dataset."""
    return VARIABLE in variables and variables[VARIABLE].kind == "struct"


class EmnistFile:
    """A file of EMNIST, as `fmnist.data.arrays.parts.ArrayFiles`.

    The struct is one variable, so that all of it is read each time, and what was not asked for is let go of.

    Raises:
        UserError: The file is damaged, lacks a field, or is larger than memory.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        check_memory(unpacked_bytes(place) // math.prod(SHAPE), SHAPE)
        dataset = self._read()
        self._mapping = _whole_numbers(_field(dataset, "mapping"))
        if self._mapping is None or self._mapping.ndim != 2 or self._mapping.shape[1] < 2:
            raise self._refused("mapping is no table of labels and codes")
        codes = self._mapping[:, 1:]
        if codes.size == 0 or codes.min() < 0 or codes.max() > LAST_CODE:
            raise self._refused("mapping has numbers that are no codes of characters")
        self._has_test = _field(dataset, "test") is not None

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        return [self.place]

    @property
    def has_test(self) -> bool:
        """Whether there are test images apart from the others."""
        return self._has_test

    @property
    def wanted_test(self) -> str:
        """What would have held the test images."""
        return "dataset.test"

    def read_train(self) -> list[Part]:
        """Read the training images."""
        return [self._part("train")]

    def read_test(self) -> Part:
        """Read the test images."""
        return self._part("test")

    def class_names(self) -> tuple[str, ...]:
        """Return the characters of each class: `A`, or `Aa` where small and capital letters are one."""
        assert self._mapping is not None
        names = ["".join(dict.fromkeys(map(chr, codes))) for codes in self._mapping[:, 1:].tolist()]
        return check_names(names, f"{self.place}: dataset.mapping")

    def notes(self) -> list[str]:
        """Say how the images are read, and the classes named."""
        return [
            "EMNIST's images are stored column by column, and turned so that characters stand upright; its mapping "
            "names the classes"
        ]

    def _read(self) -> np.ndarray:
        return read_variables(self.place, [VARIABLE])[VARIABLE]

    def _part(self, name: str) -> Part:
        part = _field(self._read(), name)
        images, labels = _field(part, "images"), _whole_numbers(_field(part, "labels"))
        if images is None or images.ndim != 2 or math.isqrt(images.shape[1]) ** 2 != images.shape[1]:
            raise self._refused(f"{name}.images has no rows of as many pixels as a square has")
        if labels is None or labels.size != max(labels.shape):
            raise self._refused(f"{name}.labels is no column of whole numbers")
        assert self._mapping is not None
        side, known = math.isqrt(images.shape[1]), self._mapping[:, 0]
        order = np.argsort(known)
        places = np.minimum(np.searchsorted(known, labels.ravel(), sorter=order), len(known) - 1)
        unknown = labels.ravel()[known[order][places] != labels.ravel()]
        if len(unknown):
            raise self._refused(f"mapping lacks the label {unknown[0]} of {name}.labels")
        return Part(
            images.reshape(-1, side, side).swapaxes(1, 2),
            order[places],
            f"dataset.{name}.images in {self.place}",
            f"dataset.{name}.labels in {self.place}",
        )

    def _refused(self, received: str) -> UserError:
        return UserError(
            f"a struct dataset in {self.place} must be as EMNIST has it, but {received}; fetch the file again, or save "
            "arrays x_train and y_train"
        )


def _field(struct: np.ndarray | None, name: str) -> np.ndarray | None:
    """Return a field of a struct as SciPy gives it, an array with one record; None if there is no such thing."""
    if struct is None or struct.dtype.names is None or struct.size != 1 or name not in struct.dtype.names:
        return None
    value = struct.ravel()[0][name]
    return value if isinstance(value, np.ndarray) else None


def _whole_numbers(values: np.ndarray | None) -> np.ndarray | None:
    """Return an array of whole numbers as int64, of the same shape; None if it is none, or empty."""
    if values is None or values.dtype.kind not in "iuf" or values.size == 0:
        return None
    if not np.isfinite(values).all() or (values != np.round(values)).any() or np.abs(values).max() > 2**53:
        return None
    return values.astype(np.int64)
