"""Arrays in NumPy's own files: an .npz archive, or a folder of files with one array each, .npy or .npz.

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

from fmnist.data.arrays.names import Roles, find_roles, without_common_words
from fmnist.data.arrays.parts import Part
from fmnist.data.checks import check_memory, check_names
from fmnist.errors import UserError, first_few, unreadable
from fmnist.reading import ARCHIVE_SUFFIX

NPY_SUFFIX = ".npy"


@dataclass(frozen=True)
class Header:
    """What the header of an array says, without its values."""

    shape: tuple[int, ...]
    dtype: np.dtype
    file: Path  # that it is in
    member: str | None = None  # its name in an archive; None: the file is the array


class NumpyArrays:
    """The arrays of an archive or of a folder, as `fmnist.data.arrays.parts.ArrayFiles`.

    Args:
        place: An .npz file, or a folder with files of one array each.
        headers: What `headers_of` finds there.

    Raises:
        UserError: An array is missing.
    """

    def __init__(self, place: Path, headers: Mapping[str, Header]) -> None:
        self.place = place
        self._headers = headers
        self._is_folder = os.path.isdir(place)
        remedy = f"save it with np.savez({place.name!r}, x_train=..., y_train=...)"
        if self._is_folder:
            remedy = "save them as x_train.npy and y_train.npy"
        self._roles: Roles = find_roles({name: header.shape for name, header in headers.items()}, str(place), remedy)

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        roles = self._roles
        pairs = [pair for pair in (roles.train, roles.val, roles.test) if pair is not None]
        names = [name for pair in pairs for name in pair]
        if roles.class_names is not None:
            names.append(roles.class_names)
        return list(dict.fromkeys(self._headers[name].file for name in names))

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
        return check_names(list(map(str, read_array(header))), f"{self.place}: {name}")

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
        images, labels = (self._headers[name] for name in pair)
        check_memory_for([images])
        return Part(read_array(images), read_array(labels), *(f"{name} in {self.place}" for name in pair))


def read_array(header: Header) -> np.ndarray:
    """Read an array. Raises UserError if its file is damaged or gone."""
    if header.member is None:
        with _naming_damage(header.file, "np.save"):
            return np.load(header.file, allow_pickle=False)
    with (
        _naming_damage(header.file, "np.savez"),
        np.load(header.file, allow_pickle=False) as arrays,
    ):
        return arrays[header.member]


def check_memory_for(headers: Sequence[Header]) -> None:
    """Check that memory holds arrays of images, of one size. Raises UserError if it does not."""
    first = headers[0]
    if first.shape:
        _, *sides = first.shape
        n_images = sum(header.shape[0] for header in headers if header.shape)
        check_memory(n_images, _three(sides), first.dtype.itemsize)


def _three(sides: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of an image as height, width and channels, from whatever dimensions an array has for it."""
    height, width, *channels = [*sides, 1, 1][: max(2, len(sides))]
    return height, width, math.prod(channels)


def is_numpy_folder(folder: Path) -> bool:
    """Tell whether a folder holds .npy files, or several .npz files of one array. Raises OSError if unreadable."""
    names = [name.lower() for name in os.listdir(folder)]
    if any(name.endswith(NPY_SUFFIX) for name in names):
        return True
    archives = [name for name in os.listdir(folder) if name.lower().endswith(ARCHIVE_SUFFIX)]
    return len(archives) > 1 and all(_holds_one_array(folder / name) for name in archives)


def _holds_one_array(path: Path) -> bool:
    """Tell whether an archive holds one array. One that is damaged or locked may, and is named when it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return len(archive.namelist()) == 1
    except (zipfile.BadZipFile, OSError):
        return True


def headers_of(place: Path) -> dict[str, Header]:
    """Read the header of every array of an archive, in its order, or of a folder, in that of the files' names.

    Returns:
        By the array's name in an archive. In a folder by the file's, without its suffix and the words that all names
        begin with, unless these say what the array is.

    Raises:
        UserError: A file is damaged, is no archive, or holds Python objects.
    """
    if not os.path.isdir(place):
        return read_headers(place)
    found = []
    for name in sorted(os.listdir(place)):
        path = place / name
        if name.lower().endswith(NPY_SUFFIX):
            found.append((name[: -len(NPY_SUFFIX)], read_npy_header(path)))
        elif name.lower().endswith(ARCHIVE_SUFFIX):
            arrays = list(read_headers(path).values())
            if len(arrays) == 1:
                found.append((name[: -len(ARCHIVE_SUFFIX)], arrays[0]))
    names = without_common_words([name for name, _ in found])
    headers = {name: header for name, (_, header) in zip(names, found, strict=True)}
    _refuse_objects(place, headers)
    return headers


def read_headers(path: Path) -> dict[str, Header]:
    """Read the header of every array of an archive, by name, in the file's order.

    Raises:
        UserError: The file cannot be read, is no archive, is damaged, or holds Python objects.
    """
    with _naming_damage(path, "np.savez"), path.open("rb") as file:  # of a path, zipfile takes unreadable for no zip
        is_archive = zipfile.is_zipfile(file)
    if not is_archive:
        raise UserError(f"{path} must be an .npz archive, but is none, or cut; save it again with np.savez")
    headers = {}
    with _naming_damage(path, "np.savez"), zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            name = member.removesuffix(NPY_SUFFIX)
            if not name.isprintable():
                raise ValueError("the name of an array cannot be printed")
            with archive.open(member) as file:
                headers[name] = read_header(file, path, name)
    _refuse_objects(path, headers)
    return headers


def read_npy_header(path: Path) -> Header:
    """Read the header of a .npy file. Raises UserError if it is damaged or unreadable."""
    with _naming_damage(path, "np.save"), path.open("rb") as file:
        return read_header(file, path)


def _refuse_objects(path: Path, headers: Mapping[str, Header]) -> None:
    objects = [name for name, header in headers.items() if header.dtype.hasobject]
    if objects:
        raise UserError(
            f"{path} must hold numbers, but {first_few(objects)} holds Python objects, which are not loaded, since "
            "that could run any code; save an array of one shape and of whole numbers"
        )


def read_header(file: IO[bytes], path: Path, member: str | None = None) -> Header:
    """Read the header of an array in NumPy's format. Raises ValueError if it is damaged or of an unknown version."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"an array of version {version}")
    return Header(shape, dtype, path, member)


@contextmanager
def _naming_damage(path: Path, function: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} must be a whole file of NumPy, but: {reason}; save it again with {function}"
        ) from error
