"""IDX files, gzipped or not, and a folder with the four of a data set as a DataSource.

An IDX file is a magic number, the size of each dimension (32-bit big-endian), then the bytes. Labels have one
dimension; grey images have three, n x height x width; colour images have a fourth, their 3 channels. A folder may name
its classes in `classes.txt`, one a line.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from fmnist.data.checks import (
    MIN_IMAGES_PER_CLASS,
    check_memory,
    check_names,
    check_sides,
    check_test_labels,
    check_train_labels,
    note_constant,
)
from fmnist.data.checksums import md5_of_file
from fmnist.data.decode import fit_all
from fmnist.data.images import LabelledImages, is_constant
from fmnist.data.source import DataSource, PreloadedReader, Shape, build_source
from fmnist.errors import UserError, unreadable
from fmnist.reading import Reading

LABELS, IMAGES = "labels", "images"
N_DIMENSIONS = {2049: 1, 2051: 3, 2052: 4}  # of unsigned bytes, by magic number
CONTENT = {1: LABELS, 3: IMAGES, 4: IMAGES}  # by number of dimensions
EXPECTED_MAGIC = {LABELS: "magic number 2049", IMAGES: "magic number 2051, or 2052 for colour"}

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
IDX_NAMES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
CLASSES_FILE = "classes.txt"


def idx_source(folder: Path, reading: Reading) -> DataSource:
    """Check a folder of IDX files and make it a data set.

    Raises:
        UserError: A file is missing, cut or swapped, or images and labels do not go together.
    """
    missing = [f"{name}[.gz]" for name in IDX_NAMES if find_member(folder, name) is None]
    if missing:
        raise UserError(f"a folder of IDX files must hold all four, but {folder} lacks {', '.join(missing)}; add them")
    class_names = read_class_names(folder)

    train_labels, test_labels = require_member(folder, TRAIN_LABELS), require_member(folder, TEST_LABELS)
    n_classes = check_train_labels(read_labels(train_labels), train_labels, class_names, MIN_IMAGES_PER_CLASS)
    check_test_labels(read_labels(test_labels).astype(np.int64), test_labels, n_classes)

    shape = _check_images(folder, TRAIN_IMAGES, TRAIN_LABELS, reading)
    test_shape = _check_images(folder, TEST_IMAGES, TEST_LABELS, reading)
    if test_shape != shape:
        raise UserError(
            f"training and test images must have one shape, but in {folder} they have {_in_words(shape)} and "
            f"{_in_words(test_shape)}; make them alike, or pass --image-size where only the sides differ"
        )

    files = [require_member(folder, name) for name in IDX_NAMES]
    if class_names is not None:
        files.append(folder / CLASSES_FILE)
    train = read_pair(folder, TRAIN_IMAGES, TRAIN_LABELS, reading)
    return build_source(
        dataset=folder.name,
        folder=folder,
        checksums={file.name: md5_of_file(file) for file in files},
        class_names=class_names or list(map(str, range(n_classes))),
        image_shape=train.shape,
        test=read_pair(folder, TEST_IMAGES, TEST_LABELS, reading),
        read_train=PreloadedReader(train, lambda: read_pair(folder, TRAIN_IMAGES, TRAIN_LABELS, reading)),
        read_test=lambda: read_pair(folder, TEST_IMAGES, TEST_LABELS, reading),
        notes=note_constant(is_constant(train.images), lambda i: f"image {i:,} of {files[0].name}"),
    )


def has_idx_files(folder: Path) -> bool:
    """Tell whether a folder holds at least one of the four files."""
    return any(find_member(folder, name) is not None for name in IDX_NAMES)


def find_member(folder: Path, name: str) -> Path | None:
    """Find one of the four files under its own name or the one that colour images have, gzipped or not."""
    for stem in (name, name.replace("idx3", "idx4")):
        for suffix in (".gz", ""):
            path = folder / f"{stem}{suffix}"
            if os.path.isfile(path):
                return path
    return None


def require_member(folder: Path, name: str) -> Path:
    """Find one of the four files as `find_member` does. Raises UserError if it is gone."""
    path = find_member(folder, name)
    if path is None:
        raise UserError(f"{folder} must hold {name} or {name}.gz, but neither exists any longer; restore one")
    return path


def read_pair(folder: Path, images_name: str, labels_name: str, reading: Reading | None = None) -> LabelledImages:
    """Read images and their labels, the images fitted into the image size if `reading` asks for one."""
    images = read_images(require_member(folder, images_name))
    if reading is not None and reading.image_size is not None:
        images = fit_all(images, reading.image_size)
    return LabelledImages(images, read_labels(require_member(folder, labels_name)))


def read_class_names(folder: Path) -> tuple[str, ...] | None:
    """Read the names of the classes; None if the folder does not name them. Raises UserError."""
    path = folder / CLASSES_FILE
    if not os.path.lexists(path):
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be a text file in UTF-8, but: {error.reason}; save it so") from error
    except OSError as error:
        raise unreadable(path, error) from error
    return check_names([line.strip() for line in lines], path)


def _check_images(folder: Path, images_name: str, labels_name: str, reading: Reading) -> Shape:
    """Check an image file against its labels, the limits and the free memory. Returns the shape of an image as read."""
    path = require_member(folder, images_name)
    n_images, *sides = image_shape(path)
    n_labels = _checked_shape(require_member(folder, labels_name), LABELS)[0]
    if n_images != n_labels:
        raise UserError(
            f"every image needs a label, but {path} holds {n_images:,} images and {labels_name} {n_labels:,} labels; "
            "take both files from one data set"
        )
    height, width, n_channels = sides
    shape = (height, width, n_channels)
    check_sides(shape, path, reading)
    check_memory(n_images, shape)
    if reading.image_size is not None:
        shape = (reading.image_size, reading.image_size, n_channels)
    return shape


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
    if path.suffix == ".gz":
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
