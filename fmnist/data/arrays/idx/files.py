"""The four IDX files of a data set in a folder, under any of their usual names.

The classes may be named by `classes.txt`, one a line, or by EMNIST's own mapping beside the files, such as
`emnist-letters-mapping.txt`: a label and the codes of its characters in each line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fmnist.data.arrays.idx.names import IdxSet, the_idx_set
from fmnist.data.arrays.parts import Part
from fmnist.data.arrays.source import arrays_source
from fmnist.data.checks import check_memory, check_names
from fmnist.data.idx import (
    IDX_NAMES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    image_shape,
    read_images,
    read_labels,
)
from fmnist.data.source import DataSource
from fmnist.errors import UserError, first_few, unreadable
from fmnist.reading import Reading

CLASSES_FILE = "classes.txt"
MAPPING_SUFFIX = "-mapping.txt"


def idx_source(folder: Path, reading: Reading) -> DataSource:
    """Check a folder of IDX files and make it a data set.

    Raises:
        UserError: A file is missing, cut or swapped, or images and labels do not go together.
    """
    return arrays_source(IdxArrays(the_idx_set(folder)), reading, dataset=folder.name)


class IdxArrays:
    """The four IDX files of a data set, as `fmnist.data.arrays.parts.ArrayFiles`.

    Args:
        found: All four.
        is_turned: Whether rows and columns of the images are exchanged, as EMNIST has them; None: by the files' names.
    """

    def __init__(self, found: IdxSet, is_turned: bool | None = None) -> None:
        self.place = found.folder
        self._found = found
        self._is_turned = found.is_emnist if is_turned is None else is_turned

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        files = [self._found.paths[name] for name in IDX_NAMES]
        names_from = _file_of_names(self._found)
        if names_from is not None:
            files.append(names_from)
        return files

    @property
    def has_test(self) -> bool:
        """Whether there are test images apart from the others: always."""
        return True

    @property
    def wanted_test(self) -> str:
        """What holds the test images."""
        return TEST_IMAGES

    def read_train(self) -> list[Part]:
        """Read the training images."""
        return [self._read_pair(TRAIN_IMAGES, TRAIN_LABELS)]

    def read_test(self) -> Part:
        """Read the test images."""
        return self._read_pair(TEST_IMAGES, TEST_LABELS)

    def class_names(self) -> tuple[str, ...] | None:
        """Read the names of the classes; None if nothing names them."""
        return class_names_beside(self._found)

    def notes(self) -> list[str]:
        """Write sentences about images that are turned, and about files that nothing reads."""
        notes = []
        if self._is_turned:
            notes.append(
                "The files are EMNIST's, which have the rows and columns of their images exchanged: the images are "
                "turned upright"
            )
        if self._found.unread:
            unread = [os.path.relpath(path, self.place) for path in self._found.unread]
            notes.append(f"Files that nothing reads, as others hold the same by their names: {first_few(unread)}")
        return notes

    def _read_pair(self, images_name: str, labels_name: str) -> Part:
        paths = self._found.paths
        labels = read_labels(paths[labels_name])
        n_images, height, width, n_channels = image_shape(paths[images_name])
        check_memory(n_images, (height, width, n_channels))
        images = read_images(paths[images_name])
        if n_channels == 1:  # nobody can take the rows of small images for channels then
            images = images[..., 0]
        if self._is_turned:
            images = np.swapaxes(images, 1, 2)
        return Part(images, labels, str(paths[images_name]), str(paths[labels_name]))


def class_names_beside(found: IdxSet) -> tuple[str, ...] | None:
    """Read the names of the classes that lie beside IDX files; None if nothing names them.

    Raises:
        UserError: They cannot be used.
    """
    path = _file_of_names(found)
    if path is None:
        return None
    if path.name == CLASSES_FILE:
        return read_class_names(path)
    return read_mapping(path)


def _file_of_names(found: IdxSet) -> Path | None:
    """Find the file that names the classes."""
    for name in (CLASSES_FILE, f"{found.prefix}{MAPPING_SUFFIX}"):
        if os.path.lexists(found.folder / name):
            return found.folder / name
    return None


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read the names of the classes, one a line. Raises UserError if they cannot be used."""
    return check_names([line.strip() for line in _lines(path)], path)


def read_mapping(path: Path) -> tuple[str, ...]:
    """Read the names of the classes from a mapping of EMNIST: the first character of each label, by label.

    A line has the label and the codes of its characters, such as `1 65 97` for A and a.

    Raises:
        UserError: It is another kind of text.
    """
    characters = {}
    for number, line in enumerate(_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) < 2 or not all(word.isdecimal() and len(word) < 7 for word in words):
            raise UserError(
                f"{path} must have a class in each line, its label and the code of its character, but line {number} is "
                f"{line!r}; restore the file, or delete it for classes that are called by their numbers"
            )
        characters[int(words[0])] = chr(int(words[1]))
    return check_names([characters[label] for label in sorted(characters)], path)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be a text file in UTF-8, but: {error.reason}; save it so") from error
    except OSError as error:
        raise unreadable(path, error) from error
