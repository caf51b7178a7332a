"""Arrays in NumPy's own files: an .npz archive, or a folder of .npy files, one an array.

Arrays have everyday names, see `fmnist.data.arrays.names`. Objects are never unpickled, since that could run any code.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fmnist.data.arrays.names import Roles, find_roles
from fmnist.data.arrays.parts import Part
from fmnist.data.checks import check_memory, check_names
from fmnist.errors import UserError, first_few, unreadable

NPY_SUFFIX = ".npy"


@dataclass(frozen=True)
class Header:
    """What the header of an array says, without its values."""

    shape: tuple[int, ...]
    dtype: np.dtype


class NumpyArrays:
    """The arrays of an archive or of a folder, as `fmnist.data.arrays.parts.ArrayFiles`.

    Args:
        place: An .npz file, or a folder with .npy files.

    Raises:
        UserError: The files are damaged, or lack an array.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._is_folder = os.path.isdir(place)
        headers = read_folder_headers(place) if self._is_folder else read_headers(place)
        self._headers: Mapping[str, Header] = headers
        remedy = f"save it with np.savez({place.name!r}, x_train=..., y_train=...)"
        if self._is_folder:
            remedy = "save them as x_train.npy and y_train.npy"
        self._roles: Roles = find_roles({name: header.shape for name, header in headers.items()}, str(place), remedy)

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        if not self._is_folder:
            return [self.place]
        roles = self._roles
        pairs = [pair for pair in (roles.train, roles.val, roles.test) if pair is not None]
        names = [name for pair in pairs for name in pair]
        if roles.class_names is not None:
            names.append(roles.class_names)
        return [self.place / f"{name}{NPY_SUFFIX}" for name in names]

    @property
    def has_test(self) -> bool:
        """Whether there are test images apart from the others."""
        return self._roles.test is not None

    @property
    def wanted_test(self) -> str:
        """What would have held the test images."""
        return "x_test"

    def read_train(self) -> list[Part]:
        """Read the training images, and the validation images as a part behind them."""
        pairs = [self._roles.train]
        if self._roles.val is not None:
            pairs.append(self._roles.val)
        return [self._read_pair(pair) for pair in pairs]

    def read_test(self) -> Part:
        """Read the test images."""
        assert self._roles.test is not None
        return self._read_pair(self._roles.test)

    def class_names(self) -> tuple[str, ...] | None:
        """Read the names of the classes; None if there are none."""
        name = self._roles.class_names
        if name is None:
            return None
        header = self._headers[name]
        if header.dtype.kind != "U" or len(header.shape) != 1:
            raise UserError(
                f"{name} in {self.place} must be one text for each class, but got {header.dtype} "
                f"{header.shape}; save np.array([...]) of the names"
            )
        return check_names(list(map(str, self._read_array(name))), f"{self.place}: {name}")

    def notes(self) -> list[str]:
        """Write sentences about validation images, arrays without names, and arrays that nothing reads."""
        notes = []
        if self._roles.note:
            notes.append(self._roles.note)
        if self._roles.val is not None:
            notes.append(f"{self._roles.val[0]} joins the training images")
        if self._roles.unread:
            notes.append(f"Arrays that nothing reads: {first_few(list(self._roles.unread))}")
        return notes

    def _read_pair(self, pair: tuple[str, str]) -> Part:
        images, labels = pair
        header = self._headers[images]
        if header.shape:
            _, *sides = header.shape
            check_memory(header.shape[0], _three(sides), header.dtype.itemsize)
        return Part(
            self._read_array(images),
            self._read_array(labels),
            f"{images} in {self.place}",
            f"{labels} in {self.place}",
        )

    def _read_array(self, name: str) -> np.ndarray:
        return read_array(self.place, name)


def read_array(place: Path, name: str) -> np.ndarray:
    """Read an array of an archive, or of a folder of .npy files, by its name without the suffix.

    Raises:
        UserError: The file is damaged, or holds Python objects.
    """
    if os.path.isdir(place):
        path = place / f"{name}{NPY_SUFFIX}"
        with _naming_damage(path, "a whole .npy file", "np.save"):
            return np.load(path, allow_pickle=False)
    with (
        _naming_damage(place, "a whole .npz archive", "np.savez"),
        np.load(place, allow_pickle=False) as arrays,
    ):
        return arrays[name]


def _three(sides: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of an image with its sides and channels, of an array whose other dimensions are not known yet."""
    height, width, *channels = [*sides, 1, 1][: max(2, len(sides))]
    return height, width, math.prod(channels)


def is_numpy_folder(folder: Path) -> bool:
    """Tell whether a folder holds .npy files."""
    return any(name.lower().endswith(NPY_SUFFIX) for name in os.listdir(folder))


def read_headers(path: Path) -> dict[str, Header]:
    """Read the header of every array of an archive, by name, in the file's order.

    Raises:
        UserError: The file is no archive, is damaged, or holds Python objects.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} must be an .npz archive, but is none, or cut; save it again with np.savez")
    headers = {}
    with _naming_damage(path, "a whole .npz archive", "np.savez"), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                headers[name.removesuffix(NPY_SUFFIX)] = read_header(file)
    _refuse_objects(path, headers)
    return headers


def read_folder_headers(folder: Path) -> dict[str, Header]:
    """Read the header of every .npy file of a folder, by its name without the suffix.

    Raises:
        UserError: A file is damaged, or holds Python objects.
    """
    headers = {}
    for name in sorted(os.listdir(folder)):
        if name.lower().endswith(NPY_SUFFIX):
            path = folder / name
            with _naming_damage(path, "a whole .npy file", "np.save"), path.open("rb") as file:
                headers[name[: -len(NPY_SUFFIX)]] = read_header(file)
    _refuse_objects(folder, headers)
    return headers


def _refuse_objects(path: Path, headers: Mapping[str, Header]) -> None:
    objects = [name for name, header in headers.items() if header.dtype.hasobject]
    if objects:
        raise UserError(
            f"{path} must hold numbers, but {first_few(objects)} holds Python objects, which are not loaded, since "
            "that could run any code; save an array of one shape and of whole numbers"
        )


def read_header(file: IO[bytes]) -> Header:
    """Read the header of an array in NumPy's format. Raises ValueError if it is damaged or of an unknown version."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"an array of version {version}")
    return Header(shape, dtype)


@contextmanager
def _naming_damage(path: Path, expected: str, function: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} must be {expected}, but: {reason}; save it again with {function}") from error
