"""A folder with the four IDX files of a data set, gzipped or not, and perhaps `classes.txt` -> DataSource."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fmnist.data import idx
from fmnist.data.checksums import md5_of_file
from fmnist.data.decode import fit_all
from fmnist.data.images import LabelledImages, is_constant
from fmnist.data.source import (
    MIN_IMAGES_PER_CLASS,
    DataSource,
    Reading,
    ReadOnce,
    Shape,
    build_source,
    check_memory,
    check_names,
    check_sides,
    check_test_labels,
    check_train_labels,
    describe_test_set,
    note_constant,
)
from fmnist.errors import UserError, unreadable

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
IDX_NAMES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
CLASSES_FILE = "classes.txt"  # the name of each class, a line each


def has_idx_files(folder: Path) -> bool:
    """Whether one of the four is there."""
    return any(_member(folder, name) is not None for name in IDX_NAMES)


def idx_source(folder: Path, reading: Reading) -> DataSource:
    """Raises UserError if a file is missing, cut or swapped, or images and labels do not go together."""
    missing = [f"{name}[.gz]" for name in IDX_NAMES if _member(folder, name) is None]
    if missing:
        raise UserError(f"a folder of IDX files must hold all four, but {folder} lacks {', '.join(missing)}")
    class_names = _class_names(folder)
    n_classes = _check_labels(folder, class_names)
    shape = _check_images(folder, TRAIN_IMAGES, TRAIN_LABELS, reading)
    if _check_images(folder, TEST_IMAGES, TEST_LABELS, reading) != shape:
        raise UserError(f"training and test images must have one size, but those in {folder} differ")
    files = [_require_member(folder, name) for name in IDX_NAMES]
    if class_names is not None:
        files.append(folder / CLASSES_FILE)
    train = read_pair(folder, TRAIN_IMAGES, TRAIN_LABELS, reading)
    notes = note_constant(is_constant(train.images), lambda i: f"image {i:,} of {files[0].name}")
    return build_source(
        folder.name,
        folder,
        {file.name: md5_of_file(file) for file in files},
        class_names or [str(label) for label in range(n_classes)],
        train.images.shape[1:],
        **describe_test_set(read_pair(folder, TEST_IMAGES, TEST_LABELS, reading)),
        read_train=ReadOnce(train, lambda: read_pair(folder, TRAIN_IMAGES, TRAIN_LABELS, reading)),
        read_test=lambda: read_pair(folder, TEST_IMAGES, TEST_LABELS, reading),
        notes=notes,
    )


def read_pair(folder: Path, images_name: str, labels_name: str, reading: Reading | None = None) -> LabelledImages:
    """Images, fitted into the image size where there is one, and their labels."""
    images = idx.read_images(_require_member(folder, images_name))
    if reading is not None and reading.image_size is not None:
        images = fit_all(images, reading.image_size)
    return LabelledImages(images, idx.read_labels(_require_member(folder, labels_name)))


def _class_names(folder: Path) -> tuple[str, ...] | None:
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


def _check_labels(folder: Path, class_names: tuple[str, ...] | None) -> int:
    """The number of classes."""
    train, test = _require_member(folder, TRAIN_LABELS), _require_member(folder, TEST_LABELS)
    n_classes = check_train_labels(idx.read_labels(train), train, class_names, MIN_IMAGES_PER_CLASS)
    check_test_labels(idx.read_labels(test).astype(np.int64), test, n_classes)
    return n_classes


def _check_images(folder: Path, images_name: str, labels_name: str, reading: Reading) -> Shape:
    path = _require_member(folder, images_name)
    n_images, *shape = idx.image_shape(path)
    n_labels = idx.n_labels(_require_member(folder, labels_name))
    if n_images != n_labels:
        raise UserError(
            f"every image needs a label, but {path} holds {n_images:,} images and {labels_name} {n_labels:,} labels; "
            "take both files from one data set"
        )
    check_sides(tuple(shape), path, reading)
    check_memory(n_images, tuple(shape))
    return tuple(shape)


def _member(folder: Path, name: str) -> Path | None:
    """A file of this name, or of the name that colour images have, gzipped or not."""
    names = (name, name.replace("idx3", "idx4"))
    candidates = (folder / f"{each}{suffix}" for each in names for suffix in (".gz", ""))
    return next((path for path in candidates if os.path.isfile(path)), None)


def _require_member(folder: Path, name: str) -> Path:
    path = _member(folder, name)
    if path is None:
        raise UserError(f"{folder} must hold {name} or {name}.gz, but neither is there any more; put it back")
    return path
