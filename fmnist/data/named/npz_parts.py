"""Four .npz files with an array each, as Kuzushiji-MNIST has them: kmnist-train-imgs.npz, kmnist-train-labels.npz."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fmnist.data.arrays.numpy_files import read_array_of, read_headers
from fmnist.data.arrays.parts import Part
from fmnist.data.checks import check_memory
from fmnist.errors import UserError

NAME = re.compile(r"(?:.*[-_])?(?P<part>train|test)[-_](?P<content>imgs|images|labels)\.npz", re.IGNORECASE)
ROLES = (("train", "images"), ("train", "labels"), ("test", "images"), ("test", "labels"))


def find_npz_parts(folder: Path) -> dict[tuple[str, str], Path]:
    """Find the files by their names: part and content, one of ROLES -> file. Empty unless there is one of each."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    found: dict[tuple[str, str], Path] = {}
    for name in names:
        match = NAME.fullmatch(name)
        if match is None:
            continue
        content = "labels" if match["content"].lower() == "labels" else "images"
        role = (match["part"].lower(), content)
        if role in found:
            return {}
        found[role] = folder / name
    return found if len(found) == len(ROLES) else {}


class NpzParts:
    """The four files, as `fmnist.data.arrays.parts.ArrayFiles`.

    Args:
        folder: Where they are.
        found: What `find_npz_parts` found there.
    """

    def __init__(self, folder: Path, found: dict[tuple[str, str], Path]) -> None:
        self.place = folder
        self._found = found

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        return [self._found[role] for role in ROLES]

    @property
    def has_test(self) -> bool:
        """Whether there are test images apart from the others: always."""
        return True

    @property
    def wanted_test(self) -> str:
        """What holds the test images."""
        return self._found["test", "images"].name

    def read_train(self) -> list[Part]:
        """Read the training images."""
        return [self._read_part("train")]

    def read_test(self) -> Part:
        """Read the test images."""
        return self._read_part("test")

    def class_names(self) -> None:
        """Return None: the files name no classes."""
        return None

    def notes(self) -> list[str]:
        """Return no sentence."""
        return []

    def _read_part(self, part: str) -> Part:
        images, labels = self._found[part, "images"], self._found[part, "labels"]
        return Part(read_only_array(images), read_only_array(labels), str(images), str(labels))


def read_only_array(path: Path) -> np.ndarray:
    """Read the array of an archive that holds one. Raises UserError if it holds none or several, or is damaged."""
    headers = read_headers(path)
    if len(headers) != 1:
        raise UserError(
            f"{path} must hold one array, but holds {', '.join(headers) or 'none'}; fetch it again, or save its own "
            "array alone with np.savez(path, array)"
        )
    ((name, header),) = headers.items()
    if len(header.shape) == 3:
        check_memory(header.shape[0], (*header.shape[1:], 1), header.dtype.itemsize)
    return read_array_of(path, name)
