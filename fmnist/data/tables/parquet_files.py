"""Parquet files that go together: their labels, and images whose pixels are numbers.

`fmnist.data.tables.parquet_pictures` reads those that hold pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fmnist.data.arrays.parts import Part
from fmnist.data.checks import check_memory
from fmnist.data.tables.card import CARD, class_names_in_card
from fmnist.data.tables.columns import INDEX_NAMES, are_names, in_words, note_names, plain
from fmnist.data.tables.files import TableFiles
from fmnist.data.tables.parquet_layout import (
    NUMBERS,
    PATHS,
    TEXTS,
    ParquetLayout,
    class_names_in,
    find_layout,
    is_list,
    kind_of,
    not_embedded,
    opened,
    read_schema,
)
from fmnist.data.tables.parquet_names import ClassNames, join_names
from fmnist.errors import UserError


class ParquetTables:
    """Parquet files that go together, and the labels in them.

    Raises:
        UserError: A file is damaged, or its columns are not those of the first.
    """

    def __init__(self, tables: TableFiles) -> None:
        self.place = tables.place
        self.layout = find_layout(tables.train[0])
        self.train = [*tables.train, *tables.validation]
        self.test = list(tables.test)
        self.notes = list(tables.notes)
        self._schemas = {path: read_schema(path) for path in self.files}
        self._class_names: ClassNames | None = None  # None: labels are texts, or nobody names the classes
        for path in self.files:
            self._require_alike(path)
        if self.test and self._is_unlabelled(self.test):
            names = in_words([path.name for path in self.test])
            self.notes.append(f"{names} has no labels, so that no accuracy can be measured on it: it is left alone")
            self.test = []
        for path in self.files:
            self._require_columns(path, [self._label])
        if self.layout.note:
            self.notes.append(self.layout.note)
        if self.layout.unread:
            self.notes.append(f"Columns that nothing reads: {in_words(self.layout.unread)}")
        self.wanted_test = "test table with labels" if tables.test else "test table"
        self._are_names = False  # whether labels name the classes though they are numbers
        self._find_class_names()

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [*self.train, *self.test]

    @property
    def label_from(self) -> str:
        """Where the training labels are, in words."""
        return f"{self.layout.label} in {self.place}"

    @property
    def _label(self) -> str:
        """The column of labels, which tables to train on have."""
        assert self.layout.label is not None
        return self.layout.label

    def train_labels(self) -> list[np.ndarray]:
        """Read the labels of each file to train on, (n,): whole numbers, or texts."""
        labels = [self._labels(path) for path in self.train]
        if self.layout.class_names is None and are_names(labels):
            if not self._are_names:
                self.notes.append(note_names(labels, self.label_from))
            self._are_names = True
        return [self._named(each) for each in labels]

    def test_labels(self) -> list[np.ndarray]:
        """Read the labels of each file to test on, in the form of those to train on."""
        return [self._named(self._labels(path)) for path in self.test]

    def occurring_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes with an image to train on, in their order; None if nobody names them."""
        if self.layout.class_names is None:
            return None
        found = {str(name) for labels in self.train_labels() for name in np.unique(labels)}
        return tuple(name for name in self.layout.class_names if name in found)

    def _find_class_names(self) -> None:
        """Find them in the files, in which each may number them otherwise, or else in the card."""
        label = self._label
        numbering = [path for path in self.files if kind_of(self._schemas[path].field(label).type) == NUMBERS]
        found = join_names({path: class_names_in(self._schemas[path], label) for path in numbering}, label)
        of_card = class_names_in_card(self.place)
        if found is None and of_card is not None and self._are_numbers_of(of_card):
            found = ClassNames(
                of_card, dict.fromkeys(numbering, of_card), f"The names of the classes are those in {CARD}"
            )
        if found is not None and found.note:
            self.notes.append(found.note)
        texts = [path for path in self.train if path not in numbering]
        nameless = [path for path in self.train if path in numbering and found is None]
        if texts and nameless:
            raise _unlike(label, (nameless[0], NUMBERS), (texts[0], TEXTS))
        self._class_names = found
        self.layout = replace(self.layout, class_names=None if found is None else found.together)

    def _are_numbers_of(self, names: Sequence[str]) -> bool:
        """Tell whether all training labels are numbers of these names."""
        labels = np.concatenate([self._labels(path) for path in self.train])
        return labels.dtype.kind in "iu" and len(labels) > 0 and 0 <= labels.min() <= labels.max() < len(names)

    def _labels(self, path: Path) -> np.ndarray:
        labels = read_labels(path, self._label)
        require_all(labels, path)
        names = None if self._class_names is None else self._class_names.by_file.get(path)
        if names is not None and labels.dtype.kind == "f" and (labels == np.round(labels)).all():
            labels = labels.astype(np.int64)
        if names is not None and labels.dtype.kind in "iu" and len(labels):
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= len(names):
                raise UserError(
                    f"{self.layout.label} in {path} must number the {len(names)} classes that the file names, from 0 "
                    f"to {len(names) - 1}, but got {low} to {high}; leave other rows out"
                )
            return np.array(names)[labels]
        return labels

    def _named(self, labels: np.ndarray) -> np.ndarray:
        return labels.astype(str) if self._are_names else labels

    def _is_unlabelled(self, tests: Sequence[Path]) -> bool:
        """Whether test files have no label, or none but -1, as the hub has where labels are kept secret."""
        for path in tests:
            if self.layout.label not in self._schemas[path].names:
                continue
            if are_told(read_labels(path, self._label)):
                return False
        return True

    def _require_alike(self, path: Path) -> None:
        """Raise UserError unless a file has the columns of the first one, with the same in them.

        One to test on may lack labels, and texts may be labels where others have numbers, which the form of labels
        tells.
        """
        layout, schema = self.layout, self._schemas[path]
        wanted = [name for name in layout.names if name not in layout.unread and plain(name) not in INDEX_NAMES]
        lacks_labels = layout.label not in schema.names and layout.numbered_by not in schema.names
        if path in self.test and lacks_labels:
            wanted = [name for name in wanted if name not in (layout.label, layout.numbered_by)]
        self._require_columns(path, [name for name in wanted if name != layout.numbered_by])
        for name in wanted:
            if name in (layout.label, layout.numbered_by):
                continue
            own, first = (kind_of(each.field(name).type) for each in (schema, self._schemas[self.train[0]]))
            if own == PATHS:
                raise not_embedded(path, name)
            if own != first:
                raise _unlike(name, (path, own), (self.train[0], first))

    def _require_columns(self, path: Path, names: Sequence[str]) -> None:
        _require_columns(path, self._schemas[path].names, names)


def _unlike(column: str, one: tuple[Path, str], other: tuple[Path, str]) -> UserError:
    """Build the error to raise when a column holds different things in two files."""
    return UserError(
        f"tables of one data set must have the same in each column, but {column} in {one[0]} holds {one[1]} and in "
        f"{other[0].name} {other[1]}; write it like the others, or move it away"
    )


def require_alike(path: Path, layout: ParquetLayout, *, needs_label: bool) -> None:
    """Raise UserError if a file lacks a column that another of its data set has. layout: of the other."""
    wanted = [name for name in layout.names if name not in layout.unread and plain(name) not in INDEX_NAMES]
    if not needs_label:
        wanted = [name for name in wanted if name != layout.label]
    _require_columns(path, read_schema(path).names, wanted)


def _require_columns(path: Path, present: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise UserError(
            f"tables of one data set must have the same columns, but {path} lacks {in_words(missing)}; write it "
            "with them, or move it away"
        )


def require_all(labels: np.ndarray, path: Path) -> None:
    """Raise UserError if rows of a file lack their label. labels: as of `read_labels`."""
    n_without = int(sum(label is None for label in labels)) if labels.dtype == object else 0
    if n_without:
        raise UserError(
            f"every image needs a label, but in {path} {n_without:,} of {len(labels):,} rows have none; leave "
            "these rows out"
        )


def are_told(labels: np.ndarray) -> bool:
    """Tell whether there are labels among those of a file, rather than -1 or nothing in every row."""
    return any(label is not None and label != -1 for label in labels.tolist())


def read_labels(path: Path, column: str) -> np.ndarray:
    """Read the labels of a file, (n,): int64, float64 or texts; or objects with None where one is missing.

    Raises:
        UserError: The file is damaged.
    """
    with opened(path) as file:
        return _as_numpy(file.read(columns=[column]).column(0))


def _as_numpy(values: Any) -> np.ndarray:
    from pyarrow import types

    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if values.null_count:
        return np.array(values.to_pylist(), object)
    if types.is_integer(values.type) or types.is_floating(values.type):
        array = values.to_numpy()
        return array.astype(np.int64) if array.dtype.kind in "iu" else array.astype(np.float64)
    return np.array(values.to_pylist(), str)


class ParquetNumbers:
    """Parquet files with pixels as numbers, as `fmnist.data.arrays.parts.ArrayFiles`."""

    def __init__(self, tables: ParquetTables) -> None:
        self.place = tables.place
        self._tables = tables

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        return self._tables.files

    @property
    def has_test(self) -> bool:
        """Whether there are files to test on."""
        return bool(self._tables.test)

    @property
    def wanted_test(self) -> str:
        """What would have held the test images."""
        return self._tables.wanted_test

    def read_train(self) -> list[Part]:
        """Read the images and labels of each file to train on."""
        return self._parts(self._tables.train, self._tables.train_labels())

    def read_test(self) -> Part:
        """Read the images and labels to test on."""
        parts = self._parts(self._tables.test, self._tables.test_labels())
        shapes = {part.images.shape[1:] for part in parts}
        if len(shapes) > 1:
            raise _not_alike(self.place, "rows of several lengths")
        return Part(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
            parts[0].images_from,
            parts[0].labels_from,
        )

    def class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes; None if nobody names them."""
        return self._tables.occurring_names()

    def notes(self) -> list[str]:
        """Return sentences about columns and files."""
        pixels = self._tables.layout.pixels
        return [*self._tables.notes, *([pixels.note] if pixels is not None and pixels.note else [])]

    def _parts(self, paths: Sequence[Path], labels: Sequence[np.ndarray]) -> list[Part]:
        column = self._tables.layout.label
        return [
            Part(read_images(path, self._tables.layout), each, f"{path}", f"{column} in {path}")
            for path, each in zip(paths, labels, strict=True)
        ]


def read_images(path: Path, layout: ParquetLayout) -> np.ndarray:
    """Read the images of a file of numbers: (n, n_pixels) or (n, height, width), perhaps with channels.

    Raises:
        UserError: The file is damaged, lacks a number, or does not fit the memory.
    """
    with opened(path) as file:
        require_memory(path, [file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)])
        if layout.image is not None:
            return _from_lists(path, file.read(columns=[layout.image]).column(0))
        assert layout.pixels is not None
        check_memory(file.metadata.num_rows, (len(layout.pixels.indices), 1, 1), 4)
        names = [layout.names[i] for i in layout.pixels.indices]
        table = file.read(columns=names)
        if any(table.column(name).null_count for name in names):
            raise _not_alike(path, "empty ones")
        images = np.stack([table.column(name).to_numpy() for name in names], axis=1)
        return images.reshape(len(images), *layout.pixels.shape)


def _from_lists(path: Path, column: Any) -> np.ndarray:
    """Make lists of numbers, perhaps in lists, one array: (n, length, ...)."""
    from pyarrow import compute

    values, shape = column.combine_chunks(), [len(column)]
    if hasattr(values, "chunks"):  # of a table that has no row group
        return np.empty((0, 0), np.uint8)
    while is_list(values.type):
        lengths = compute.call_function("list_value_length", [values]).unique().to_pylist()
        if len(lengths) > 1 or None in lengths:
            raise _not_alike(path, "rows of several lengths" if None not in lengths else "empty ones")
        shape.append(lengths[0] if lengths else 0)
        values = values.flatten()
    if values.null_count:
        raise _not_alike(path, "empty ones")
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def _not_alike(path: Path, received: str) -> UserError:
    return UserError(
        f"{path} must have as many numbers for each image as for the others, but got {received}; leave these rows out"
    )


def require_memory(path: Path, sizes: Sequence[int]) -> None:
    """Raise UserError unless so many bytes, of row groups that are read together, fit the free memory."""
    free = psutil.virtual_memory().available
    if sum(sizes) > free:
        raise UserError(
            f"{path} must be read in pieces that fit the memory, but one takes {sum(sizes) / 1e9:,.1f} GB and "
            f"{free / 1e9:,.1f} GB are free; write it with fewer rows, or with smaller row groups if it holds pictures"
        )
