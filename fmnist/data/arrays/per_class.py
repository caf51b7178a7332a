"""One array of images a class, called by its name, as QuickDraw has them: cat.npy, dog.npy, ...

They are the .npy files of a folder, .npz files with one array each, or the arrays of an .npz archive.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
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


class ClassArrays:
    """Arrays of a class each, as `fmnist.data.arrays.parts.ArrayFiles`. They have no test images of their own.

    Args:
        place: The archive or folder.
        headers: Of its arrays, by name.

    Raises:
        UserError: The names are those of shares rather than classes, or there are too many classes, or too few images.
    """

    has_test = False
    wanted_test = "array of test images"

    def __init__(self, place: Path, headers: Mapping[str, Header]) -> None:
        self.place = place
        if are_shares(list(headers)):
            raise UserError(
                f"{place} must hold an array for each class, called by its name, but got {first_few(list(headers))}, "
                "as shares of a data set are called; rename them after the classes, or save all as x_train and y_train"
            )
        full_names = [_full_name(name, header) for name, header in headers.items()]
        named = sorted(
            zip(shortened(full_names), full_names, headers.values(), strict=True), key=lambda each: natural(each[0])
        )
        self._class_names = check_names([name for name, _, _ in named], place)
        self._is_shortened = any(name != full_name for name, full_name, _ in named)
        self._headers = [header for _, _, header in named]
        counts = np.array([header.shape[0] for header in self._headers])
        check_class_sizes(self._class_names, counts, place, MIN_IMAGES_WITH_TEST)
        self._full_names = [full_name for _, full_name, _ in named]

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        return list(dict.fromkeys(header.file for header in self._headers))

    def read_train(self) -> list[Part]:
        """Read all images, a part for each class."""
        check_memory_for(self._headers)
        parts = []
        for label, (header, name) in enumerate(zip(self._headers, self._full_names, strict=True)):
            images = read_array(header)
            parts.append(Part(images, np.full(len(images), label), f"{name} in {self.place}", str(self.place)))
        return parts

    def read_test(self) -> Part:
        """Never called, as there are no test images."""
        raise NotImplementedError

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the arrays, in natural order."""
        return self._class_names

    def notes(self) -> list[str]:
        """Say that arrays are classes, and what was left out of their names."""
        note = f"Each of the {len(self._headers)} arrays is a class, called by the array's name"
        if self._is_shortened:
            note += f": {self._full_names[0]} is {self._class_names[0]}"
        return [note]


def _full_name(name: str, header: Header) -> str:
    """Return the name of an array in its archive, or that of a file with one array."""
    if header.member == name:
        return name
    return header.file.stem


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
