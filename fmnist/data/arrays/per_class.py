"""One array of images a class, called by its name, as QuickDraw has them: cat.npy, dog.npy, ...

They are the .npy files of a folder, .npz files with one array each, or the arrays of an .npz archive.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.data.arrays.names import PARTS, POSITIONAL, role_of
from fmnist.data.arrays.numpy_files import Header, NumpyArrays, check_memory_for, headers_of, read_array
from fmnist.data.arrays.parts import ArrayFiles, Part
from fmnist.data.checks import MIN_IMAGES_WITH_TEST, check_class_sizes, check_names
from fmnist.data.image_folder.names import are_shares, natural
from fmnist.errors import UserError, first_few

# What names of files say of their form, and never of a class where all files say it.
FORM_WORDS = {
    *("full", "numpy", "bitmap", "bitmaps", "npy", "npz", "np", "array", "arrays"),
    *("image", "images", "img", "imgs", "data"),
}
SEPARATOR = re.compile(r"([\s_\-]+)")


def numpy_files(place: Path) -> ArrayFiles:
    """Open an .npz archive, or a folder of files with one array each: training images and labels, or one array a class.

    Raises:
        UserError: A file is damaged, or what must be there is not.
    """
    headers = headers_of(place)
    if are_classes(headers):
        return ClassArrays(place, headers)
    return NumpyArrays(place, headers)


def are_classes(headers: Mapping[str, Header]) -> bool:
    """Tell whether arrays are the images of a class each: two or more, none of labels, and called by other names.

    Arrays called x_train and x_test, train and test, or arr_0 and arr_1, are parts of a data set that lacks its labels.
    """
    if len(headers) < 2:
        return False
    roles = [role_of(name) for name in headers]
    part_words = {word for words in PARTS.values() for word in words}
    if any(role is not None and role[1] == "labels" for role in roles) or None not in roles:
        return False
    if all(POSITIONAL.fullmatch(name) or name.lower() in part_words for name in headers):
        return False
    return all(_holds_images(header) for header in headers.values())


def _holds_images(header: Header) -> bool:
    """Tell whether an array holds several images: rows of square ones, or three dimensions that are no picture's."""
    shape = header.shape
    if header.dtype.kind not in "biuf":
        return False
    if len(shape) == 2:
        return shape[1] >= 16 and math.isqrt(shape[1]) ** 2 == shape[1] and shape[0] != shape[1]
    if len(shape) == 3:
        return shape[2] > 4  # otherwise it is a single picture: height, width, channels
    return len(shape) == 4


@dataclass(frozen=True)
class _ClassArray:
    """The images of a class."""

    name: str  # of the class
    full_name: str  # of the array, or of its file
    header: Header


class ClassArrays:
    """Arrays of a class each, as `fmnist.data.arrays.parts.ArrayFiles`. They have no test images of their own.

    Args:
        place: The archive or folder.
        headers: Of its arrays, by name.
        least: How many images each class must have.

    Raises:
        UserError: The names are those of shares rather than classes, or there are too many classes, or too few images.
    """

    has_test = False
    wanted_test = "array of test images"

    def __init__(self, place: Path, headers: Mapping[str, Header], *, least: int = MIN_IMAGES_WITH_TEST) -> None:
        self.place = place
        full_names = list(headers)
        if os.path.isdir(place):
            full_names = [header.file.stem for header in headers.values()]
        if are_shares(full_names):
            raise UserError(
                f"{place} must hold an array for each class, called by its name, but got {first_few(full_names)}, "
                "as shares of a data set are called; rename them after the classes, or save all as x_train and y_train"
            )
        check_names(shortened(full_names), place)
        columns = zip(shortened(full_names), full_names, headers.values(), strict=True)
        arrays = [_ClassArray(name, full_name, header) for name, full_name, header in columns]
        self._arrays = sorted(arrays, key=lambda array: natural(array.name))
        counts = np.array([array.header.shape[0] for array in self._arrays])
        check_class_sizes(self.class_names(), counts, place, least)

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        return list(dict.fromkeys(array.header.file for array in self._arrays))

    def read_train(self) -> list[Part]:
        """Read all images, a part for each class."""
        check_memory_for([array.header for array in self._arrays])
        parts = []
        for label, array in enumerate(self._arrays):
            images = read_array(array.header)
            labels = np.full(len(images), label)
            parts.append(Part(images, labels, f"{array.full_name} in {self.place}", str(self.place)))
        return parts

    def read_test(self) -> Part:
        """Raise RuntimeError: there are no test images apart, as `has_test` says."""
        raise RuntimeError(f"arrays of a class each have no test images, but those of {self.place} were asked for")

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the arrays, in natural order."""
        return tuple(array.name for array in self._arrays)

    def array_names(self) -> tuple[str, ...]:
        """Return the names of the files, or of the arrays in an archive, in the order of the classes."""
        is_folder = os.path.isdir(self.place)
        return tuple(array.header.file.name if is_folder else array.full_name for array in self._arrays)

    def notes(self) -> list[str]:
        """Say that arrays are classes, and what was left out of their names."""
        note = f"Each of the {len(self._arrays)} arrays is a class, called by the array's name"
        first = self._arrays[0]
        if first.name != first.full_name:
            note += f": {first.full_name} is {first.name}"
        return [note]


def shortened(names: Sequence[str]) -> list[str]:
    """Return names without words such as `full_numpy_bitmap` that all of them begin or end with.

    Nothing is left out that could be of a class: words must be of FORM_WORDS, and all names differ without them.
    """
    pieces = [SEPARATOR.split(name) for name in names]  # words, with separators between them
    n_front = n_back = 0
    while _share_form_word(pieces, n_front, n_front + n_back):
        n_front += 2
    while _share_form_word(pieces, -1 - n_back, n_front + n_back):
        n_back += 2
    short = ["".join(each[n_front : len(each) - n_back]) for each in pieces]
    return short if len(set(short)) == len(short) else list(names)


def _share_form_word(pieces: Sequence[Sequence[str]], place: int, n_taken: int) -> bool:
    """Tell whether all names have the same word of FORM_WORDS in a place, and another word besides."""
    if min(map(len, pieces)) < n_taken + 3:
        return False
    words = {each[place].lower() for each in pieces}
    return len(words) == 1 and words <= FORM_WORDS
