"""Which form do arrays have at a path? Told by what lies there, and by names where content says nothing."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from fmnist.data.arrays.cifar.batches import CifarBatches, is_cifar_folder
from fmnist.data.arrays.matlab.contents import is_matlab_file
from fmnist.data.arrays.matlab.files import is_matlab_folder, matlab_files
from fmnist.data.arrays.numpy_files import NPY_SUFFIX, is_numpy_folder
from fmnist.data.arrays.parts import ArrayFiles
from fmnist.data.arrays.per_class import numpy_files
from fmnist.data.image_folder.tree import read_tree
from fmnist.errors import UserError
from fmnist.reading import ARCHIVE_SUFFIX

Opener = Callable[[Path], ArrayFiles]  # raises UserError if what it opens cannot be used


def find_opener(path: Path) -> Opener | None:
    """Find what opens the arrays at a path; None if there are none, or the path cannot be read.

    A folder that has pictures, in it or below it, is one of pictures, whatever else it has.
    """
    try:
        if os.path.isfile(path):
            return _opener_of_file(path)
        if os.path.isdir(path):
            return _opener_of_folder(path)
    except OSError:
        return None
    return None


def can_open(path: Path) -> bool:
    """Tell whether there are arrays at a path that are named as they must be. Their values are not read."""
    opener = find_opener(path)
    if opener is None:
        return False
    try:
        opener(path)
    except UserError:
        return False
    return True


def _opener_of_file(path: Path) -> Opener | None:
    if path.suffix.lower() == ARCHIVE_SUFFIX:
        return numpy_files
    if is_matlab_file(path):
        return matlab_files
    if _is_archive_of_arrays(path):
        return numpy_files
    return None


def _opener_of_folder(folder: Path) -> Opener | None:
    if is_cifar_folder(folder):
        return CifarBatches
    opener = None
    if is_matlab_folder(folder):
        opener = matlab_files
    elif is_numpy_folder(folder):
        opener = numpy_files
    if opener is not None and read_tree(folder).n_pictures:
        return None
    return opener


def _is_archive_of_arrays(path: Path) -> bool:
    """Tell whether a file is an archive of nothing but .npy files, as np.savez writes it, under any name."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return False
    return bool(names) and all(name.endswith(NPY_SUFFIX) and "/" not in name for name in names)
