"""The pickled batches of CIFAR-10 and CIFAR-100, and of anything in their form: 32 x 32 pixels in colour.

    CIFAR-10      data_batch_1, data_batch_2, ...; test_batch; batches.meta
    CIFAR-100     train; test; meta

Each batch is a dictionary: `data`, uint8 (n, 3072), all red pixels of an image, then all green, then all blue; and
`labels`, or `fine_labels` beside `coarse_labels`. The last file names the classes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.data.arrays.cifar.unpickling import read_pickle
from fmnist.data.arrays.parts import Part
from fmnist.data.checks import check_memory, check_names
from fmnist.data.images import Shape
from fmnist.errors import UserError, first_few, unreadable

SHAPE: Shape = (32, 32, 3)
N_NUMBERS = 3072
N_BATCHES = 5  # of CIFAR-10 itself
BATCH = re.compile(r"data_batch_([1-9]\d{0,3})")
BINARY_PICKLE = b"\x80"  # its first byte
FINE, PLAIN = "fine_labels", "labels"
NAMES_OF = {FINE: "fine_label_names", PLAIN: "label_names"}
AS_ARCHIVE = "save images of another form as an .npz archive with x_train and y_train"


@dataclass(frozen=True)
class _Names:
    """What the files are called."""

    train: tuple[str, ...]
    test: str
    meta: str


def is_cifar_folder(folder: Path) -> bool:
    """Tell whether a folder holds files of these names, rather than folders. Raises OSError if it cannot be listed."""
    names = {name for name in os.listdir(folder) if _is_cifar_name(name) and os.path.isfile(folder / name)}
    if any(map(BATCH.fullmatch, names)) or {"test_batch", "batches.meta"} <= names or {"train", "meta"} <= names:
        return True
    if "train" not in names:
        return False
    with (folder / "train").open("rb") as file:
        return file.read(1) == BINARY_PICKLE


def is_cifar_batch(path: Path) -> bool:
    """Tell whether a file is a batch, by its name and first byte. Raises OSError if it cannot be read."""
    if not _is_cifar_name(path.name) or path.name in ("meta", "batches.meta"):
        return False
    with path.open("rb") as file:
        return file.read(1) == BINARY_PICKLE


def _is_cifar_name(name: str) -> bool:
    return BATCH.fullmatch(name) is not None or name in ("test_batch", "batches.meta", "train", "test", "meta")


class CifarBatches:
    """The batches of a folder, as `fmnist.data.arrays.parts.ArrayFiles`.

    Args:
        place: The folder.
        to_train: Whether there must be batches to train on, without a gap.

    Raises:
        UserError: A batch is missing.
    """

    def __init__(self, place: Path, *, to_train: bool = True) -> None:
        self.place = place
        self._names = _find_names(place, to_train=to_train)

    @property
    def train_files(self) -> Sequence[Path]:
        """The batches to train on."""
        return [self.place / name for name in self._names.train]

    @property
    def test_file(self) -> Path:
        """The batch to test on, where there is one."""
        return self.place / self._names.test

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        names = self._names
        found = [self.place / name for name in (*names.train, names.test, names.meta)]
        return [path for path in found if os.path.isfile(path)]

    @property
    def has_test(self) -> bool:
        """Whether there are test images apart from the others."""
        return os.path.isfile(self.test_file)

    @property
    def wanted_test(self) -> str:
        """What would have held the test images."""
        return self._names.test

    def read_train(self) -> list[Part]:
        """Read the training images, a part for each batch."""
        _check_memory(self.train_files)
        return [self.read_batch(path) for path in self.train_files]

    def read_test(self) -> Part:
        """Read the test images."""
        _check_memory([self.test_file])
        return self.read_batch(self.test_file)

    def class_names(self) -> tuple[str, ...] | None:
        """Read the names of the classes; None if there is no file of them."""
        path = self.place / self._names.meta
        if not os.path.isfile(path):
            return None
        meta = read_pickle(path)
        key = next((key for key in NAMES_OF.values() if key in meta), NAMES_OF[PLAIN])
        names = meta.get(key)
        if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
            raise UserError(
                f"{path} must hold {key}, a list of texts, but has {first_few(list(meta)) or 'nothing'}; add it, or "
                "delete the file, and classes are called by their numbers"
            )
        texts = [name if isinstance(name, str) else name.decode("utf-8", errors="backslashreplace") for name in names]
        return check_names(texts, path)

    def notes(self) -> list[str]:
        """Write sentences about coarse labels, and about batches if there are not as many as CIFAR-10 has."""
        notes = []
        n_batches = len(self._names.train)
        if n_batches not in (1, N_BATCHES) or (n_batches == 1 and self._names.train != ("train",)):
            notes.append(f"Training batches: {n_batches}, where CIFAR-10 has {N_BATCHES}")
        if os.path.isfile(self.place / self._names.meta):
            coarse = read_pickle(self.place / self._names.meta).get("coarse_label_names")
            if isinstance(coarse, list):
                notes.append(f"The fine labels are the classes; the {len(coarse)} coarse ones are not read")
        return notes

    def read_batch(self, path: Path) -> Part:
        """Read the images of a batch. Raises UserError if it is none, or damaged."""
        batch = read_pickle(path)
        data = batch.get("data")
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (N_NUMBERS,):
            raise UserError(
                f"data in {path} must be uint8 (n, {N_NUMBERS}), 32 x 32 pixels of red, green and blue, but got "
                f"{_in_words(data)}; {AS_ARCHIVE}"
            )
        key = FINE if FINE in batch else PLAIN
        labels = batch.get(key)
        if not isinstance(labels, np.ndarray) and not _are_whole(labels):
            raise UserError(
                f"{key} in {path} must be a list of whole numbers, the class of each image, but got "
                f"{_in_words(labels)}; number the classes from 0"
            )
        images = np.moveaxis(data.reshape(-1, 3, 32, 32), 1, -1)
        return Part(images, np.asarray(labels), str(path), str(self.place))


def _find_names(folder: Path, *, to_train: bool) -> _Names:
    """Find what the files of a folder are called. Raises UserError if there is nothing to train on, or a gap."""
    found = os.listdir(folder)
    if not any(map(BATCH.fullmatch, found)) and ("train" in found or {"test", "meta"} <= set(found)):
        return _Names(("train",), "test", "meta")
    numbers = {int(match[1]) for match in map(BATCH.fullmatch, found) if match is not None}
    missing = sorted(set(range(1, max(numbers, default=1) + 1)) - numbers)
    if missing and to_train:
        names = first_few([f"data_batch_{number}" for number in missing])
        raise UserError(
            f"{folder} must hold data_batch_1 and those after it without a gap, but lacks {names}; unpack the archive "
            "again, or number the batches anew"
        )
    return _Names(tuple(f"data_batch_{number}" for number in sorted(numbers)), "test_batch", "batches.meta")


def _check_memory(paths: Sequence[Path]) -> None:
    """Check that memory holds the images of batches, which are not compressed. Raises UserError if it does not."""
    n_bytes = 0
    for path in paths:
        try:
            n_bytes += os.path.getsize(path)
        except OSError as error:
            raise unreadable(path, error) from error
    check_memory(n_bytes // N_NUMBERS, SHAPE)


def _are_whole(labels: Any) -> bool:
    """Tell whether labels are a list of whole numbers that NumPy has a type for."""
    return isinstance(labels, list) and all(type(label) is int and abs(label) < 2**31 for label in labels)


def _in_words(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"a {type(value).__name__}"
