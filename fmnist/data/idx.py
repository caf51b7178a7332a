"""The IDX format: a magic number, the size of each dimension (32-bit big-endian), then the bytes. Gzipped or not.

Labels have one dimension; grey images have three, n x height x width, colour images a fourth, their 3 channels.
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
_DIMENSIONS = {2049: 1, 2051: 3, 2052: 4}  # of unsigned bytes, by magic number
_KINDS = {1: LABELS, 3: IMAGES, 4: IMAGES}
_EXPECTED = {LABELS: "magic number 2049", IMAGES: "magic number 2051, or 2052 for colour"}


def read_labels(path: Path) -> np.ndarray:
    """uint8 (n,), read-only."""
    return _read(path, LABELS)


def read_images(path: Path) -> np.ndarray:
    """uint8 (n, height, width, channels), read-only."""
    images = _read(path, IMAGES)
    return images if images.ndim == 4 else images[..., np.newaxis]


def n_labels(path: Path) -> int:
    return _checked_shape(path, LABELS)[0]


def image_shape(path: Path) -> tuple[int, int, int, int]:
    """Number of images, height, width, channels: what the header says, after the rest was counted and thrown away."""
    shape = _checked_shape(path, IMAGES)
    if len(shape) == 4 and shape[3] not in (1, 3):
        raise UserError(
            f"{path} must hold images of 1 or 3 channels, n x height x width x channels, but its header says "
            f"{_in_words(shape)}; write it again"
        )
    return shape if len(shape) == 4 else (*shape, 1)


def _read(path: Path, kind: str) -> np.ndarray:
    with _opened(path, kind) as (shape, file):
        content = file.read()
    _require_whole(path, len(content), shape)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _checked_shape(path: Path, kind: str) -> tuple[int, ...]:
    with _opened(path, kind) as (shape, file):
        n_bytes = sum(len(chunk) for chunk in iter(lambda: file.read(1 << 20), b""))
    _require_whole(path, n_bytes, shape)
    return shape


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[tuple[tuple[int, ...], IO[bytes]]]:
    """The shape in the header, and the file, standing behind it."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield _header(path, file, kind), file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} must be a whole gzip file, but is cut or damaged ({error}); fetch it again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _header(path: Path, file: IO[bytes], kind: str) -> tuple[int, ...]:
    start = file.read(4)
    magic = struct.unpack(">i", start)[0] if len(start) == 4 else None
    n_dimensions = _DIMENSIONS.get(magic)
    if n_dimensions is None:
        raise UserError(f"{path} must be an IDX file of {kind} ({_EXPECTED[kind]}), but got {magic}")
    if _KINDS[n_dimensions] != kind:
        raise UserError(
            f"{path} holds {_KINDS[n_dimensions]} where {kind} are expected: are image and label files swapped?"
        )
    sizes = file.read(4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        raise UserError(f"{path} is cut: {4 + len(sizes)} bytes end within its header; fetch it again")
    return struct.unpack(f">{n_dimensions}I", sizes)


def _require_whole(path: Path, n_bytes: int, shape: tuple[int, ...]) -> None:
    expected = math.prod(shape)
    if n_bytes != expected:
        state = "is cut" if n_bytes < expected else "is too long"
        raise UserError(
            f"{path} {state}: its header promises {_in_words(shape)} = {expected:,} bytes, but got {n_bytes:,}; "
            "fetch it again"
        )


def _in_words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
