"""MATLAB files whose variables have everyday names, see `fmnist.data.arrays.names`; SVHN's two files among them.

a file      X and y, or train_x, train_y, test_x, test_y, ...
a folder    train_32x32.mat, test_32x32.mat, ...: a file for each part, with X and y
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.data.arrays.matlab.contents import (
    BYTES_OF,
    TEXTS,
    Variable,
    check_memory_for,
    images_first,
    labels_in_rows,
    list_variables,
    read_variables,
    texts_of,
)
from fmnist.data.arrays.matlab.emnist import EmnistFile, is_emnist
from fmnist.data.arrays.names import PARTS, Roles, find_pair, find_roles, part_of_file
from fmnist.data.arrays.parts import ArrayFiles, Part
from fmnist.data.checks import check_names
from fmnist.errors import UserError, first_few
from fmnist.reading import MATLAB_SUFFIX

REMEDY = "save it with save(..., 'x_train', 'y_train', '-v7')"
SVHN_NAME = re.compile(r"svhn|32x32", re.IGNORECASE)
SVHN_SIDES = (32, 32, 3)
SVHN_ZERO = 10  # its label of the digit 0


@dataclass(frozen=True)
class Source:
    """Where the images and labels of a part are."""

    path: Path
    images: str
    labels: str


def matlab_files(place: Path) -> ArrayFiles:
    """Open a MATLAB file, or a folder with a file for each part. Raises UserError if something is missing."""
    if not os.path.isdir(place) and is_emnist(list_variables(place)):
        return EmnistFile(place)
    return MatlabFiles(place)


def is_matlab_folder(folder: Path) -> bool:
    """Tell whether a folder holds MATLAB files for parts of a data set. Raises OSError if it cannot be listed."""
    found = _files_by_part(folder)
    return "train" in found and sum(map(len, found.values())) > 1


def _files_by_part(folder: Path) -> dict[str | None, list[Path]]:
    """List the MATLAB files of a folder by the part that their names say, None of others."""
    found: dict[str | None, list[Path]] = {}
    for name in sorted(os.listdir(folder)):
        if name.lower().endswith(MATLAB_SUFFIX) and os.path.isfile(folder / name):
            found.setdefault(part_of_file(name[: -len(MATLAB_SUFFIX)]), []).append(folder / name)
    return found


class MatlabFiles:
    """A MATLAB file or a folder of them, as `fmnist.data.arrays.parts.ArrayFiles`.

    Raises:
        UserError: A file is damaged, or lacks a variable.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._sources: dict[str, Source] = {}  # by part
        self._class_names: tuple[Path, str] | None = None  # a file, and its variable that names the classes
        self._notes: list[str] = []
        if os.path.isdir(place):
            self._find_in_folder()
        else:
            shapes = {name: variable.shape for name, variable in list_variables(place).items()}
            self._find_in_file(place, find_roles(shapes, str(place), REMEDY))

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        return sorted({source.path for source in self._sources.values()})

    @property
    def has_test(self) -> bool:
        """Whether there are test images apart from the others."""
        return "test" in self._sources

    @property
    def wanted_test(self) -> str:
        """What would have held the test images."""
        return "file for testing" if os.path.isdir(self.place) else "x_test"

    def read_train(self) -> list[Part]:
        """Read the training images, and the validation images as a part behind them."""
        return [read_part(self._sources[part], self.place) for part in ("train", "val") if part in self._sources]

    def read_test(self) -> Part:
        """Read the test images."""
        return read_part(self._sources["test"], self.place)

    def class_names(self) -> tuple[str, ...] | None:
        """Read the names of the classes; None if there are none."""
        if self._class_names is None:
            return None
        return read_class_names(*self._class_names)

    def notes(self) -> list[str]:
        """Write sentences about what is not read, and about SVHN's label 10."""
        notes = list(self._notes)
        if "val" in self._sources:
            source = self._sources["val"]
            notes.append(f"{source.images} in {source.path.name} joins the training images")
        if any(_is_svhn(source, self.place, list_variables(source.path)) for source in self._sources.values()):
            notes.append(f"These are SVHN's files, in which the label {SVHN_ZERO} is the digit 0: it is read as 0")
        return notes

    def _find_in_folder(self) -> None:
        found = _files_by_part(self.place)
        for part in PARTS:
            paths = found.get(part, [])
            if len(paths) > 1:
                raise UserError(
                    f"{self.place} must hold one MATLAB file for each part, but got "
                    f"{' and '.join(path.name for path in paths)}; leave all but one out"
                )
            if paths:
                variables = list_variables(paths[0])
                roles = find_pair(variables, str(paths[0]))
                self._sources[part] = Source(paths[0], *roles.train)
                if part == "train" and roles.class_names is not None:
                    self._class_names = (paths[0], roles.class_names)
        if None in found:
            names = first_few([path.name for path in found[None]])
            self._notes.append(f"MATLAB files that nothing reads: {names}")

    def _find_in_file(self, path: Path, roles: Roles) -> None:
        for part, pair in (("train", roles.train), ("val", roles.val), ("test", roles.test)):
            if pair is not None:
                self._sources[part] = Source(path, *pair)
        if roles.class_names is not None:
            self._class_names = (path, roles.class_names)
        if roles.note:
            self._notes.append(roles.note)
        if roles.unread:
            self._notes.append(f"Variables that nothing reads: {first_few(list(roles.unread))}")


def read_part(source: Source, place: Path) -> Part:
    """Read the images and labels of a part. place: The file or folder that the user named.

    Raises:
        UserError: A variable is missing or of another kind, or the file is damaged.
    """
    variables = list_variables(source.path)
    missing = [name for name in (source.images, source.labels) if name not in variables]
    if not missing:
        _require_kind(source.path, source.images, variables, tuple(BYTES_OF), "numbers")
        _require_kind(source.path, source.labels, variables, (*BYTES_OF, *TEXTS), "numbers or texts")
        check_memory_for(variables[source.images], variables[source.labels])
    values = read_variables(source.path, [source.images, source.labels])
    images, labels = _as_numbers(values[source.images], variables[source.images]), values[source.labels]
    labels_from, images_from = f"{source.labels} in {source.path}", f"{source.images} in {source.path}"
    texts = texts_of(labels)
    labels = labels_in_rows(labels, images.shape) if texts is None else texts
    if labels.dtype == object:
        raise UserError(f"{labels_from} must be a cell array of texts, but holds others; write the classes as texts")
    if _is_svhn(source, place, variables):
        labels = np.where(labels == SVHN_ZERO, 0, labels)
    return Part(images_first(images, len(labels), images_from), labels, images_from, labels_from)


def read_images_alone(path: Path, name: str) -> np.ndarray:
    """Read a variable of images that no labels belong to, its dimensions as they are in the file.

    Raises:
        UserError: It is of another kind, or the file is damaged.
    """
    variables = list_variables(path)
    if name in variables:
        _require_kind(path, name, variables, tuple(BYTES_OF), "numbers")
        check_memory_for(variables[name], variables[name])
    return _as_numbers(read_variables(path, [name])[name], variables[name])


def read_class_names(path: Path, name: str) -> tuple[str, ...]:
    """Read the names of classes, by label, from a variable. Raises UserError if it holds none."""
    value = read_variables(path, [name])[name]
    texts = texts_of(value)
    if texts is None:
        raise UserError(
            f"{name} in {path} must be a cell array of texts, one for each class, but got {value.dtype} "
            f"{value.shape}; save it as {{'cat', 'dog'}}"
        )
    return check_names([text.strip() for text in texts.tolist()], f"{path}: {name}")


def _as_numbers(images: np.ndarray, variable: Variable) -> np.ndarray:
    return images.astype(bool) if variable.kind == "logical" else images  # which SciPy gives as bytes of 0 and 1


def _is_svhn(source: Source, place: Path, variables: dict[str, Variable]) -> bool:
    """Tell whether these are SVHN's files, by their names, those of the variables, and the size of the images."""
    named = SVHN_NAME.search(source.path.name) or SVHN_NAME.search(place.name)
    if named is None or (source.images, source.labels) != ("X", "y") or "X" not in variables:
        return False
    return variables["X"].shape[:-1] == SVHN_SIDES


def _require_kind(path: Path, name: str, variables: dict[str, Variable], kinds: tuple[str, ...], words: str) -> None:
    kind = variables[name].kind
    if kind not in kinds:
        raise UserError(
            f"{name} in {path} must be an array of {words}, but is a MATLAB {kind}; convert it, such as with "
            "full(double(...)), and save it again with save(..., '-v7')"
        )
