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

from fmnist.data.checksums import md5_of_file
from fmnist.data.decode import fit_all
from fmnist.data.images import LabelledImages, is_constant, joined
from fmnist.data.source import (
    MAX_CLASSES,
    MIN_IMAGES_PER_CLASS,
    MIN_IMAGES_WITH_TEST,
    DataSource,
    Reading,
    ReadOnce,
    build_source,
    check_memory,
    check_names,
    check_sides,
    check_test_labels,
    check_train_labels,
    describe_test_set,
    hold_out,
    note_constant,
    note_held_out,
)
from fmnist.errors import UserError, first_few, unreadable

SUFFIX = ".npz"
TRAIN, VALIDATION, TEST = ("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test")
NAMES = "class_names"
AS_BYTES = "save them as uint8, from 0 to 255; of numbers from 0 to 1: np.round(255 * x).astype('uint8')"


def archive_source(path: Path, reading: Reading) -> DataSource:
    """Raises UserError where the archive is damaged, lacks an array, or holds other values than it must."""
    archive = _Archive(path, reading)
    everything = archive.everything()
    class_names = archive.class_names()
    least = MIN_IMAGES_PER_CLASS if archive.has(TEST) else MIN_IMAGES_WITH_TEST
    n_classes = check_train_labels(everything.labels, f"{path}: {TRAIN[1]}", class_names, least)
    notes = archive.notes()
    if not archive.has(TEST):
        archive.rows = hold_out(everything.labels, reading.seed)
        notes.append(note_held_out(len(archive.rows[1]), len(everything), reading.seed, lacks=TEST[0]))
    train, test = archive.train_of(everything), archive.test_of(everything)
    if archive.has(TEST):
        _check_test(test, train, path, n_classes)
    return build_source(
        path.stem,
        path,
        {path.name: md5_of_file(path)},
        class_names or [str(label) for label in range(n_classes)],
        train.images.shape[1:],
        **describe_test_set(test),
        read_train=ReadOnce(train, lambda: archive.train_of(archive.everything())),
        read_test=lambda: archive.test_of(None if archive.has(TEST) else archive.everything()),
        notes=[*notes, *note_constant(is_constant(train.images), lambda i: f"training image {i:,}")],
    )


def _check_test(test: LabelledImages, train: LabelledImages, path: Path, n_classes: int) -> None:
    check_test_labels(test.labels.astype(np.int64), f"{path}: {TEST[1]}", n_classes)
    ours, theirs = train.images.shape[1:], test.images.shape[1:]
    if ours != theirs:
        raise UserError(
            f"training and test images must have one shape, but in {path} they have {_in_words(ours)} and "
            f"{_in_words(theirs)}; make them alike, or pass --image-size where only the sides differ"
        )


@dataclass(frozen=True)
class _Header:
    """What an array's header says of it."""

    shape: tuple[int, ...]
    dtype: np.dtype


class _Archive:
    """The arrays of one file, read when they are asked for."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._path = path
        self._reading = reading
        self._headers = _headers(path)
        self.rows: tuple[np.ndarray, np.ndarray] | None = None  # of training and test, where the latter is held out

    def has(self, pair: tuple[str, str]) -> bool:
        """Whether both arrays are there. Raises UserError where one of them is."""
        found = [name for name in pair if name in self._headers]
        if len(found) == 1:
            raise UserError(
                f"{self._path} must hold {pair[0]} and {pair[1]}, but got {found[0]} alone; add the other, or leave it "
                "out too"
            )
        return len(found) == 2

    def everything(self) -> LabelledImages:
        """All that is not x_test."""
        if not self.has(TRAIN):
            raise UserError(
                f"{self._path} must hold arrays {TRAIN[0]} and {TRAIN[1]}, but got "
                f"{first_few(list(self._headers)) or 'none'}; save it with np.savez({self._path.name!r}, x_train=..., "
                "y_train=...)"
            )
        train = self._labelled(TRAIN)
        if not self.has(VALIDATION):
            return train
        more = self._labelled(VALIDATION)
        _check_test(more, train, self._path, MAX_CLASSES)
        return joined(train, more)

    def train_of(self, everything: LabelledImages) -> LabelledImages:
        return everything if self.rows is None else everything.rows(self.rows[0])

    def test_of(self, everything: LabelledImages | None) -> LabelledImages:
        return self._labelled(TEST) if self.rows is None else everything.rows(self.rows[1])

    def class_names(self) -> tuple[str, ...] | None:
        if NAMES not in self._headers:
            return None
        header = self._headers[NAMES]
        if header.dtype.kind != "U" or len(header.shape) != 1:
            raise UserError(
                f"{NAMES} in {self._path} must be one text for each class, but got {header.dtype} "
                f"{header.shape}; save np.array([...]) of the names"
            )
        return check_names([str(name) for name in self._array(NAMES)], f"{self._path}: {NAMES}")

    def notes(self) -> list[str]:
        known = {*TRAIN, *VALIDATION, *TEST, NAMES}
        others = [name for name in self._headers if name not in known]
        notes = [f"{VALIDATION[0]} joins the training images"] if self.has(VALIDATION) else []
        return [*notes, f"Arrays that nothing reads: {first_few(others)}"] if others else notes

    def _labelled(self, pair: tuple[str, str]) -> LabelledImages:
        images, labels = self._images(pair[0]), self._labels(pair[1])
        if len(images) != len(labels):
            raise UserError(
                f"every image needs a label, but {self._path} holds {len(images):,} images in {pair[0]} and "
                f"{len(labels):,} labels in {pair[1]}; take both from one data set"
            )
        return LabelledImages(images, labels)

    def _images(self, name: str) -> np.ndarray:
        """uint8 (n, height, width, channels), fitted into the image size where there is one."""
        shape, dtype = self._headers[name].shape, self._headers[name].dtype
        where = f"{name} in {self._path}"
        n, *sides = shape or (0,)
        if len(sides) == 2:
            sides.append(1)
        if len(sides) != 3 or sides[2] not in (1, 3):
            raise UserError(
                f"{where} must have the shape (n, height, width), or with 1 or 3 channels at the end, but got {shape}; "
                "reshape or transpose it"
            )
        check_sides(tuple(sides), where, self._reading)
        check_memory(n, tuple(sides), dtype.itemsize)
        pixels = _as_bytes(self._array(name), where).reshape(n, *sides)
        return pixels if self._reading.image_size is None else fit_all(pixels, self._reading.image_size)

    def _labels(self, name: str) -> np.ndarray:
        """uint8 (n,)."""
        header, where = self._headers[name], f"{name} in {self._path}"
        if header.dtype.kind not in "iu" or header.shape[1:] not in ((), (1,)) or header.shape == ():
            remedy = f"{name}.argmax(axis=1) turns one-hot rows into them" if len(header.shape) == 2 else "number them"
            raise UserError(
                f"{where} must be whole numbers of the shape (n,), the class of each image, but got {header.dtype} "
                f"{header.shape}; {remedy}"
            )
        labels = self._array(name).reshape(-1)
        if len(labels) and not 0 <= labels.min() <= labels.max() < MAX_CLASSES:
            raise UserError(
                f"{where} must number the classes from 0 to {MAX_CLASSES - 1} at most, but got {labels.min()} to "
                f"{labels.max()}; number them from 0"
            )
        return labels.astype(np.uint8)

    def _array(self, name: str) -> np.ndarray:
        with _naming_damage(self._path), np.load(self._path, allow_pickle=False) as arrays:
            return arrays[name]


def _as_bytes(values: np.ndarray, where: str) -> np.ndarray:
    """The same as uint8. Decimal numbers are refused, not scaled: whoever uses the model would have to know by what."""
    is_number = values.dtype.kind in "iuf" and values.size > 0
    if is_number and not (n_good := np.isfinite(values).sum()) == values.size:
        raise UserError(
            f"{where} must be whole numbers from 0 to 255, but {values.size - n_good:,} of its values are NaN or "
            f"infinite; mend them, then {AS_BYTES}"
        )
    if values.dtype.kind not in "iu" or (is_number and not 0 <= values.min() <= values.max() <= 255):
        between = f", {values.min():g} to {values.max():g}" if is_number else ""
        raise UserError(f"{where} must be whole numbers from 0 to 255, but got {values.dtype}{between}; {AS_BYTES}")
    return values.astype(np.uint8, copy=False)


def _headers(path: Path) -> dict[str, _Header]:
    """Of every array, by name, in the file's order."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} must be an .npz archive, but is none, or cut; save it again with np.savez")
    with _naming_damage(path), zipfile.ZipFile(path) as archive:
        found = {}
        for name in archive.namelist():
            with archive.open(name) as file:
                found[name.removesuffix(".npy")] = _header(file)
    objects = [name for name, header in found.items() if header.dtype.hasobject]
    if objects:
        raise UserError(
            f"{path} must hold numbers, but {first_few(objects)} holds Python objects, which are not loaded, since "
            "that could run any code; save an array of one shape and of whole numbers"
        )
    return found


def _header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"an array of version {version}")
    shape, _, dtype = read[version](file)
    return _Header(shape, dtype)


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
