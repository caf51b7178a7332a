"""The format of IDX files, gzipped or not. `fmnist.data.arrays.idx.files` makes a folder of them a data set.

An IDX file is a magic number, the size of each dimension (32-bit big-endian), then the bytes. Labels have one
dimension; grey images have three, n x height x width; colour images have a fourth, their 3 channels.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from fmnist.errors import UserError, unreadable

LABELS, IMAGES = "labels", "images"
N_DIMENSIONS = {2049: 1, 2051: 3, 2052: 4}  # of unsigned bytes, by magic number
CONTENT = {1: LABELS, 3: IMAGES, 4: IMAGES}  # by number of dimensions
EXPECTED_MAGIC = {LABELS: "magic number 2049", IMAGES: "magic number 2051, or 2052 for colour"}

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
IDX_NAMES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)  # of the files of a data set, as published


def read_labels(path: Path) -> np.ndarray:
    """Read a file of labels: uint8 (n,), read-only. Raises UserError if it is damaged or holds images."""
    return _read(path, LABELS)


def read_images(path: Path) -> np.ndarray:
    """Read a file of images: uint8 (n, height, width, channels), read-only.

    Raises:
        UserError: The file is damaged or holds labels.
    """
    images = _read(path, IMAGES)
    if images.ndim == 3:
        return images[..., np.newaxis]
    return images


def image_shape(path: Path) -> tuple[int, int, int, int]:
    """Read the number of images, height, width and channels from a header, after the bytes behind it were counted.

    Raises:
        UserError: The file is damaged, holds labels, or has images of 2 channels or of more than 3.
    """
    shape = _checked_shape(path, IMAGES)
    if len(shape) == 3:
        shape = (*shape, 1)
    n, height, width, n_channels = shape
    if n_channels not in (1, 3):
        raise UserError(
            f"{path} must hold images of 1 or 3 channels, n x height x width x channels, but its header says "
            f"{_in_words(shape)}; write it again"
        )
    return n, height, width, n_channels


def _read(path: Path, content: str) -> np.ndarray:
    with _opened(path, content) as (shape, file):
        values = file.read()
    _require_whole(path, len(values), shape)
    return np.frombuffer(values, np.uint8).reshape(shape)


def _checked_shape(path: Path, content: str) -> tuple[int, ...]:
    """The shape in the header. The bytes behind it are counted a megabyte at a time and thrown away."""
    n_bytes = 0
    with _opened(path, content) as (shape, file):
        while chunk := file.read(1 << 20):
            n_bytes += len(chunk)
    _require_whole(path, n_bytes, shape)
    return shape


@contextmanager
def _opened(path: Path, content: str) -> Iterator[tuple[tuple[int, ...], IO[bytes]]]:
    """The shape in the header, and the file, positioned behind it."""
    try:
        with _open_plain_or_gzipped(path) as file:
            yield _read_header(path, file, content), file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} must be a whole gzip file, but is cut or damaged ({error}); fetch it again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _open_plain_or_gzipped(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path)  # pyright: ignore[reportReturnType]  a GzipFile reads as any binary file does
    return path.open("rb")


def _read_header(path: Path, file: IO[bytes], content: str) -> tuple[int, ...]:
    start = file.read(4)
    magic = None
    if len(start) == 4:
        (magic,) = struct.unpack(">i", start)
    if magic not in N_DIMENSIONS:
        raise UserError(f"{path} must be an IDX file of {content} ({EXPECTED_MAGIC[content]}), but got {magic}")
    n_dimensions = N_DIMENSIONS[magic]
    if CONTENT[n_dimensions] != content:
        raise UserError(
            f"{path} holds {CONTENT[n_dimensions]} where {content} are expected: are image and label files swapped?"
        )
    sizes = file.read(4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        raise UserError(f"{path} is cut: {4 + len(sizes)} bytes end within its header; fetch it again")
    return struct.unpack(f">{n_dimensions}I", sizes)


def _require_whole(path: Path, n_bytes: int, shape: tuple[int, ...]) -> None:
    expected = math.prod(shape)
    if n_bytes == expected:
        return
    state = "is too long"
    if n_bytes < expected:
        state = "is cut"
    raise UserError(
        f"{path} {state}: its header promises {_in_words(shape)} = {expected:,} bytes, but got {n_bytes:,}; "
        "fetch it again"
    )


def _in_words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
