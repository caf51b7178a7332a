"""What is in a MATLAB file, by SciPy: the names, shapes and kinds of its variables, and their values.

Files of versions 4 to 7 are read. Version 7.3 is HDF5, which SciPy does not read.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.data.arrays.matlab.structure import check_structure, unpacked_sizes
from fmnist.data.checks import check_memory
from fmnist.errors import UserError, unreadable
from fmnist.reading import MATLAB_SUFFIX

BEGINNING = b"MATLAB 5.0 MAT-file"  # of versions 5 to 7
HDF5 = b"\x89HDF\r\n\x1a\n"
HDF5_PLACES = (0, 512)  # MATLAB writes a header of 512 bytes in front, Octave none
BYTES_OF = {"double": 8, "single": 4, "logical": 1}  # of a number of each kind
BYTES_OF |= {f"{sign}int{8 * n_bytes}": n_bytes for sign in ("", "u") for n_bytes in (1, 2, 4, 8)}
TEXTS = ("cell", "char")


@dataclass(frozen=True)
class Variable:
    """What a file says of a variable, without its values."""

    shape: tuple[int, ...]
    kind: str  # "uint8", "double", "struct", "cell", "char", "object", "function", ...


def is_matlab_file(path: Path) -> bool:
    """Tell whether a file is MATLAB's, by its first bytes or else its suffix. Raises OSError if it cannot be read."""
    if path.suffix.lower() == MATLAB_SUFFIX:
        return True
    with path.open("rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING


def _is_recent(path: Path) -> bool:
    """Tell whether SciPy takes a file for one of versions 5 to 7, rather than 4."""
    from scipy.io.matlab import matfile_version

    return matfile_version(path, appendmat=False)[0] == 1


def list_variables(path: Path) -> dict[str, Variable]:
    """List the variables of a file, by name, in its order.

    Raises:
        UserError: The file is cut or damaged, of version 7.3, or none of MATLAB's.
    """
    from scipy.io import whosmat  # here: it takes a fifth of a second that other readers save

    with _naming_damage(path):
        _refuse_hdf5(path)
        if _is_recent(path):
            unpacked_sizes(path)  # as SciPy leaves out a variable that is cut, and says nothing
        try:
            found = whosmat(path, appendmat=False)
        except TypeError as error:  # SciPy looks for the shape of an object of the newer kind, which has none
            raise UserError(
                f"{path} must hold numbers and cell arrays alone, but has an object, such as a string array, table or "
                "categorical; convert it with cellstr(...) or double(...), and save it again with save(..., '-v7')"
            ) from error
        if not all(name.isprintable() for name, _, _ in found):
            raise ValueError("the name of a variable cannot be printed")
        return {name: Variable(tuple(shape), kind) for name, shape, kind in found}


def read_variables(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read the values of variables.

    Returns:
        By name: numbers as arrays of two or more dimensions, texts as arrays of texts, cells as arrays of objects, a
        struct as an array of records.

    Raises:
        UserError: As of `list_variables`, or a variable is gone.
    """
    from scipy.io import loadmat

    with _naming_damage(path):
        if _is_recent(path):
            check_structure(path, names)
        values = loadmat(path, variable_names=list(names), appendmat=False)
        missing = [name for name in names if name not in values]
        if missing:
            raise ValueError(f"{missing[0]} is missing")
    return {name: values[name] for name in names}


def unpacked_bytes(path: Path) -> int:
    """Say how many bytes the variables of a file of versions 5 to 7 take once they are unpacked, from their headers.

    Raises:
        UserError: The file is cut or damaged.
    """
    with _naming_damage(path):
        return unpacked_sizes(path)


def texts_of(value: np.ndarray) -> np.ndarray | None:
    """Return a cell of texts, or rows of characters, as an array of texts, (n,); None if it is neither."""
    if value.dtype.kind == "U":
        return value.ravel()
    if value.dtype != object:
        return None
    texts = []
    for cell in value.ravel():
        if not isinstance(cell, np.ndarray) or cell.dtype.kind != "U" or cell.size > 1:
            return None
        texts.append(str(cell.item()) if cell.size else "")
    return np.array(texts, dtype=str)


def images_first(images: np.ndarray, n_labels: int, where: str) -> np.ndarray:
    """Return images with their number as the first dimension, whichever of the usual orders they have.

        (n, ...)                                        as they are
        (height, width, n), (height, width, 1 or 3, n)  MATLAB's habit: the last dimension becomes the first
        (pixels, n)                                     is transposed

    Args:
        images: Of two or more dimensions.
        n_labels: How many images there should be.
        where: The variable and its file, for the message.

    Raises:
        UserError: The first and the last dimension are both n_labels.
    """
    if images.ndim == 4:
        is_last = images.shape[2] in (1, 3) and images.shape[3] == n_labels
        return np.moveaxis(images, -1, 0) if is_last else images
    if images.ndim > 4 or images.shape[-1] != n_labels:
        return images
    if images.shape[0] == n_labels:
        raise UserError(
            f"{where} must have one dimension of {n_labels:,}, the number of labels, but its shape is "
            f"{images.shape}; reshape it to (height, width, 1, {n_labels})"
        )
    return np.moveaxis(images, -1, 0)


def labels_in_rows(labels: np.ndarray, images: tuple[int, ...]) -> np.ndarray:
    """Return labels of one row or column as (n,), and one-hot columns as rows. images: the shape of their array."""
    if labels.ndim != 2:
        return labels
    if 1 in labels.shape:
        return labels.ravel()
    ends = (images[0], images[-1])
    if labels.shape[0] not in ends and labels.shape[1] in ends:
        return labels.T
    return labels


def check_memory_for(images: Variable, labels: Variable) -> None:
    """Check that memory holds the images of a variable. Raises UserError if it does not."""
    sides = list(images.shape)
    n = max(labels.shape, default=0)
    if n not in sides:
        n = max(sides, default=0)
    if n in sides:
        del sides[len(sides) - 1 - sides[::-1].index(n)]
    height, width, *channels = [*sides, 1, 1][: max(2, len(sides))]
    check_memory(n, (height, width, math.prod(channels)), BYTES_OF.get(images.kind, 1))


def _refuse_hdf5(path: Path) -> None:
    with path.open("rb") as file:
        for place in HDF5_PLACES:
            file.seek(place)
            if file.read(len(HDF5)) == HDF5:
                raise UserError(
                    f"{path} must be a MATLAB file of version 7 or before, but is of version 7.3 (HDF5); save it again "
                    "with save(..., '-v7')"
                )


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    from scipy.io.matlab import MatReadError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # such as that values may be corrupt
            yield
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, struct.error, zlib.error) as error:
        raise _damaged(path, error) from error
    except (
        MatReadError,
        NotImplementedError,
        MemoryError,
        OverflowError,
        AssertionError,
        NameError,
        UserWarning,
    ) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # SciPy's own, of a file that ends too early
            raise _damaged(path, error) from error
        raise unreadable(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return UserError(
        f"{path} must be a whole MATLAB file, but: {reason}; fetch it again, or save it again with save(..., '-v7')"
    )
