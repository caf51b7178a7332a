"""An .npz archive with images and labels -> DataSource.

    x_train, y_train; x_test, y_test where there is a test set; class_names, texts, where classes have names

x is uint8, or other whole numbers from 0 to 255: (n, height, width), or with 1 or 3 channels at the end. y is 0 to
k - 1: (n,) or (n, 1). `x_val` and `y_val` join the training images. Objects are never unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fmnist.data.checks import (
    MAX_CLASSES,
    MIN_IMAGES_PER_CLASS,
    MIN_IMAGES_WITH_TEST,
    check_memory,
    check_names,
    check_sides,
    check_test_labels,
    check_train_labels,
    note_constant,
)
from fmnist.data.checksums import md5_of_file
from fmnist.data.decode import fit_all
from fmnist.data.images import LabelledImages, Shape, is_constant, joined
from fmnist.data.source import DataSource, PreloadedReader, build_source
from fmnist.data.split import hold_out, note_held_out
from fmnist.errors import UserError, first_few, unreadable
from fmnist.reading import Reading

TRAIN, VALIDATION, TEST = ("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test")
NAMES = "class_names"
AS_BYTES = "save them as uint8, from 0 to 255; of numbers from 0 to 1: np.round(255 * x).astype('uint8')"


def npz_source(path: Path, reading: Reading) -> DataSource:
    """Check an archive and make it a data set.

    Raises:
        UserError: The archive is damaged, lacks an array, or holds other values than it must.
    """
    archive = Archive(path, reading)
    everything = archive.read_not_test()
    class_names = archive.class_names()
    where = f"{path}: {TRAIN[1]}"
    notes = archive.notes()
    if archive.has(TEST):
        n_classes = check_train_labels(everything.labels, where, class_names, MIN_IMAGES_PER_CLASS)
    else:
        n_classes = check_train_labels(everything.labels, where, class_names, MIN_IMAGES_WITH_TEST)
        archive.held_out = hold_out(everything.labels, reading.seed)
        n_test = len(archive.held_out[1])
        notes.append(note_held_out(n_test, len(everything), reading.seed, missing=TEST[0]))
    train, test = archive.train_of(everything), archive.test_of(everything)
    if archive.has(TEST):
        check_addition(test, train, path, n_classes)
    return build_source(
        dataset=path.stem,
        folder=path,
        checksums={path.name: md5_of_file(path)},
        class_names=class_names or list(map(str, range(n_classes))),
        image_shape=train.shape,
        test=test,
        read_train=PreloadedReader(train, archive.read_train),
        read_test=archive.read_test,
        notes=[*notes, *note_constant(is_constant(train.images), lambda i: f"training image {i:,}")],
    )


def check_addition(other: LabelledImages, train: LabelledImages, path: Path, n_classes: int) -> None:
    """Raise UserError unless test or validation images have the shape and the classes of the training images."""
    check_test_labels(other.labels.astype(np.int64), f"{path}: {TEST[1]}", n_classes)
    if train.shape != other.shape:
        raise UserError(
            f"training and test images must have one shape, but in {path} they have {_in_words(train.shape)} and "
            f"{_in_words(other.shape)}; make them alike, or pass --image-size where only the sides differ"
        )


@dataclass(frozen=True)
class Header:
    """What the header of an array says, without its values."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Archive:
    """The arrays of one file, each read when it is asked for.

    Every method raises UserError if the file or the array in question cannot be used.
    """

    def __init__(self, path: Path, reading: Reading) -> None:
        self._path = path
        self._reading = reading
        self._headers = read_headers(path)
        self.held_out: tuple[np.ndarray, np.ndarray] | None = None  # rows to train and to test on, if drawn

    def has(self, pair: tuple[str, str]) -> bool:
        """Tell whether both arrays of a pair are there. One without the other is a UserError."""
        found = [name for name in pair if name in self._headers]
        if len(found) == 1:
            raise UserError(
                f"{self._path} must hold {pair[0]} and {pair[1]}, but got {found[0]} alone; add the other, or leave it "
                "out too"
            )
        return len(found) == 2

    def read_not_test(self) -> LabelledImages:
        """Read the training images, and the validation images behind them."""
        if not self.has(TRAIN):
            raise UserError(
                f"{self._path} must hold arrays {TRAIN[0]} and {TRAIN[1]}, but got "
                f"{first_few(list(self._headers)) or 'none'}; save it with np.savez({self._path.name!r}, x_train=..., "
                "y_train=...)"
            )
        train = self._read_pair(TRAIN)
        if not self.has(VALIDATION):
            return train
        more = self._read_pair(VALIDATION)
        check_addition(more, train, self._path, MAX_CLASSES)
        return joined(train, more)

    def read_train(self) -> LabelledImages:
        """Read the images to train on."""
        return self.train_of(self.read_not_test())

    def read_test(self) -> LabelledImages:
        """Read the images to test on."""
        if self.held_out is None:
            return self._read_pair(TEST)
        return self.test_of(self.read_not_test())

    def train_of(self, everything: LabelledImages) -> LabelledImages:
        """Select the images to train on from what `read_not_test` gave."""
        if self.held_out is None:
            return everything
        return everything.rows(self.held_out[0])

    def test_of(self, everything: LabelledImages) -> LabelledImages:
        """Select the images to test on from what `read_not_test` gave, or read them if they are apart."""
        if self.held_out is None:
            return self._read_pair(TEST)
        return everything.rows(self.held_out[1])

    def class_names(self) -> tuple[str, ...] | None:
        """Read the names of the classes; None if there are none."""
        if NAMES not in self._headers:
            return None
        header = self._headers[NAMES]
        if header.dtype.kind != "U" or len(header.shape) != 1:
            raise UserError(
                f"{NAMES} in {self._path} must be one text for each class, but got {header.dtype} "
                f"{header.shape}; save np.array([...]) of the names"
            )
        return check_names(list(map(str, self._read_array(NAMES))), f"{self._path}: {NAMES}")

    def notes(self) -> list[str]:
        """Write sentences about validation images and about arrays that nothing reads."""
        notes = []
        if self.has(VALIDATION):
            notes.append(f"{VALIDATION[0]} joins the training images")
        known = {*TRAIN, *VALIDATION, *TEST, NAMES}
        others = [name for name in self._headers if name not in known]
        if others:
            notes.append(f"Arrays that nothing reads: {first_few(others)}")
        return notes

    def _read_pair(self, pair: tuple[str, str]) -> LabelledImages:
        images, labels = self.read_images(pair[0]), self.read_labels(pair[1])
        if len(images) != len(labels):
            raise UserError(
                f"every image needs a label, but {self._path} holds {len(images):,} images in {pair[0]} and "
                f"{len(labels):,} labels in {pair[1]}; take both from one data set"
            )
        return LabelledImages(images, labels)

    def read_images(self, name: str) -> np.ndarray:
        """Read an array of images, fitted into the image size if one is asked for.

        Shape and memory are checked by the header, before the values are read.

        Returns:
            uint8 (n, height, width, channels).
        """
        header, where = self._headers[name], f"{name} in {self._path}"
        n, shape = image_shape(header.shape, where)
        check_sides(shape, where, self._reading)
        check_memory(n, shape, header.dtype.itemsize)
        pixels = as_bytes(self._read_array(name), where).reshape(n, *shape)
        if self._reading.image_size is None:
            return pixels
        return fit_all(pixels, self._reading.image_size)

    def read_labels(self, name: str) -> np.ndarray:
        """Read an array of labels: uint8 (n,)."""
        header, where = self._headers[name], f"{name} in {self._path}"
        if header.dtype.kind not in "iu" or header.shape[1:] not in ((), (1,)) or header.shape == ():
            remedy = "number them"
            if len(header.shape) == 2:
                remedy = f"{name}.argmax(axis=1) turns one-hot rows into them"
            raise UserError(
                f"{where} must be whole numbers of the shape (n,), the class of each image, but got {header.dtype} "
                f"{header.shape}; {remedy}"
            )
        labels = self._read_array(name).reshape(-1)
        if len(labels) and not 0 <= labels.min() <= labels.max() < MAX_CLASSES:
            raise UserError(
                f"{where} must number the classes from 0 to {MAX_CLASSES - 1} at most, but got {labels.min()} to "
                f"{labels.max()}; number them from 0"
            )
        return labels.astype(np.uint8)

    def _read_array(self, name: str) -> np.ndarray:
        with _naming_damage(self._path), np.load(self._path, allow_pickle=False) as arrays:
            return arrays[name]


def image_shape(shape: tuple[int, ...], where: str) -> tuple[int, Shape]:
    """Tell the number of images and their shape from the shape of an array. Raises UserError if it holds none."""
    if len(shape) == 3:
        return shape[0], (shape[1], shape[2], 1)
    if len(shape) == 4 and shape[3] in (1, 3):
        return shape[0], (shape[1], shape[2], shape[3])
    raise UserError(
        f"{where} must have the shape (n, height, width), or with 1 or 3 channels at the end, but got {shape}; "
        "reshape or transpose it"
    )


def as_bytes(values: np.ndarray, where: str) -> np.ndarray:
    """Turn whole numbers from 0 to 255 into uint8.

    Decimal numbers are refused, not scaled: whoever uses the model would have to know by what.

    Raises:
        UserError: The values are others. where: the array and its file, for the message.
    """
    is_number = values.dtype.kind in "iuf" and values.size > 0
    between = ""
    if is_number:
        n_bad = values.size - np.isfinite(values).sum()
        if n_bad:
            raise UserError(
                f"{where} must be whole numbers from 0 to 255, but {n_bad:,} of its values are NaN or infinite; fix "
                f"them, then {AS_BYTES}"
            )
        low, high = values.min(), values.max()
        between = f", {low:g} to {high:g}"
        if values.dtype.kind in "iu" and low >= 0 and high <= 255:
            return values.astype(np.uint8, copy=False)
    elif values.dtype.kind in "iu":  # an empty array
        return values.astype(np.uint8, copy=False)
    raise UserError(f"{where} must be whole numbers from 0 to 255, but got {values.dtype}{between}; {AS_BYTES}")


def read_headers(path: Path) -> dict[str, Header]:
    """Read the header of every array, by name, in the file's order.

    Raises:
        UserError: The file is no archive, is damaged, or holds Python objects.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} must be an .npz archive, but is none, or cut; save it again with np.savez")
    headers = {}
    with _naming_damage(path), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                headers[name.removesuffix(".npy")] = read_header(file)
    objects = [name for name, header in headers.items() if header.dtype.hasobject]
    if objects:
        raise UserError(
            f"{path} must hold numbers, but {first_few(objects)} holds Python objects, which are not loaded, since "
            "that could run any code; save an array of one shape and of whole numbers"
        )
    return headers


def read_header(file: IO[bytes]) -> Header:
    """Read the header of an array in NumPy's format. Raises ValueError if it is damaged or of an unknown version."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"an array of version {version}")
    return Header(shape, dtype)


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} must be a whole .npz archive, but: {reason}; save it again with np.savez") from error


def _in_words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
