"""Parquet files with pictures in them, as the Hugging Face hub stores them -> DataSource.

Pictures are decoded as those in class folders are, a row group at a time.
"""

from __future__ import annotations

import bisect
import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist.data.arrays.labels import LabelForm, find_label_form
from fmnist.data.checks import MIN_IMAGES_PER_CLASS, MIN_IMAGES_WITH_TEST, check_test_labels, check_train_labels
from fmnist.data.checksums import md5_of_file
from fmnist.data.decode import UnreadablePicture
from fmnist.data.image_folder.files import FILES_AT_ONCE, ReadContent, n_threads
from fmnist.data.image_folder.reading import LabelledFiles, PictureSet, draw_test, pictures_source
from fmnist.data.source import DataSource
from fmnist.data.tables.parquet_files import ParquetTables, require_memory
from fmnist.data.tables.parquet_layout import naming_damage, not_embedded, opened
from fmnist.reading import Reading

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile


def parquet_pictures_source(tables: ParquetTables, dataset: str, reading: Reading) -> DataSource:
    """Read all pictures, keep those to train on, and make the files a data set.

    Args:
        tables: Files with a column of pictures.
        dataset: What the data set is called.
        reading: How the pictures are to be read.

    Raises:
        UserError: Labels or pictures cannot be used, or a file is damaged.
    """
    assert tables.layout.image is not None
    column = tables.layout.image
    for path in tables.files:
        _require_embedded(path, column)
    labels = tables.train_labels()
    form = find_label_form(labels, tables.occurring_names(), tables.label_from)
    numbers = form.apply(np.concatenate(labels), tables.label_from)
    least = MIN_IMAGES_PER_CLASS if tables.test else MIN_IMAGES_WITH_TEST
    n_classes = check_train_labels(numbers, tables.label_from, form.class_names, least)
    train = _labelled(tables.train, labels, numbers)
    notes = [*tables.notes, *form.notes]
    if tables.test:
        test_labels = tables.test_labels()
        test = _labelled(tables.test, test_labels, _test_numbers(tables, test_labels, form, n_classes))
    else:
        train, test, note = draw_test(train, reading, missing=tables.wanted_test)
        notes.append(note)
    unused = [name for name in tables.layout.class_names or () if name not in (form.class_names or ())]
    if unused:
        notes.append(f"Classes without a picture to train on: {', '.join(unused)}")
    pictures = PictureSet(
        place=tables.place,
        class_names=form.class_names or tuple(map(str, range(n_classes))),
        train=train,
        test=test,
        notes=notes,
        checksums=lambda train, test: {_name_within(tables.place, path): md5_of_file(path) for path in tables.files},
        opened=lambda: pictures_of(column),
    )
    return pictures_source(pictures, dataset, reading)


def _require_embedded(path: Path, column: str) -> None:
    """Raise UserError if a file has rows, and a picture in none of them."""
    with opened(path) as file:
        if not file.metadata.num_rows or any(_has_picture(path, file, i, column) for i in range(file.num_row_groups)):
            return
    raise not_embedded(path, column)


def _has_picture(path: Path, file: ParquetFile, number: int, column: str) -> bool:
    """Tell whether a row group has a picture, by its statistics where it has them."""
    group = file.metadata.row_group(number)
    chunks = [group.column(i) for i in range(group.num_columns)]
    statistics = next((each.statistics for each in chunks if each.path_in_schema in (column, f"{column}.bytes")), None)
    if statistics is not None and statistics.has_null_count:
        return statistics.null_count < group.num_rows
    require_memory(path, [group.total_byte_size])
    return any(_content_of(value) is not None for value in file.read_row_group(number, columns=[column]).column(0))


def _content_of(value: Any) -> bytes | None:
    """Return the bytes of a picture as Arrow has it: bytes, or {bytes, path}."""
    content = value.as_py()
    return content["bytes"] if isinstance(content, dict) else content


def _test_numbers(tables: ParquetTables, labels: Sequence[np.ndarray], form: LabelForm, n_classes: int) -> np.ndarray:
    """Number the labels of all files to test on as the training labels are, and check them file by file."""
    numbers = []
    for path, each in zip(tables.test, labels, strict=True):
        numbers.append(form.apply(each, f"{tables.layout.label} in {path}"))
        if len(each):
            check_test_labels(numbers[-1], path, n_classes, form.first)
    together = np.concatenate(numbers)
    check_test_labels(together, tables.test[0], n_classes, form.first)
    return together


def _labelled(tables: Sequence[Path], labels: Sequence[np.ndarray], numbers: np.ndarray) -> LabelledFiles:
    """Name each row of tables as if it were a file in them: `train.parquet/row 7`."""
    files = [path / f"row {row}" for path, each in zip(tables, labels, strict=True) for row in range(len(each))]
    return LabelledFiles(files, numbers.astype(np.uint8))


def _name_within(place: Path, path: Path) -> str:
    return path.name if path == place else os.path.relpath(path, place)


@contextmanager
def pictures_of(column: str) -> Iterator[ReadContent]:
    """Give what reads the content of a picture by the name of its row, and close the files at the end.

    column: Of the pictures: bytes, or {bytes, path}.
    """
    with ExitStack() as stack:
        yield _Rows(column, stack).content


class _Rows:
    """Rows of Parquet files. Threads share it, which go forward and not far from each other: few groups are kept."""

    def __init__(self, column: str, stack: ExitStack) -> None:
        self._column = column
        self._stack = stack  # closes the files
        self._files: dict[Path, tuple[ParquetFile, list[int]]] = {}  # and the first row of each group, and the end
        self._groups: dict[tuple[Path, int], Any] = {}  # the contents of the last ones that were read, in that order
        self._lock = threading.Lock()

    def content(self, path: Path) -> bytes:
        """Return the content of a picture. Raises UnreadablePicture if there is none, UserError if the file is cut."""
        table, row = path.parent, int(path.name.removeprefix("row "))
        with self._lock:
            _, starts = self._file(table)
            number = bisect.bisect_right(starts, row) - 1
            if number >= len(starts) - 1:
                raise UnreadablePicture("no such row any longer")
            group = self._group(table, number)
        content = _content_of(group[row - starts[number]])
        if content is None:
            raise UnreadablePicture("the row holds no picture, at most its path")
        return content

    def _file(self, table: Path) -> tuple[ParquetFile, list[int]]:
        if table not in self._files:
            file = self._stack.enter_context(opened(table))
            lengths = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            self._files[table] = (file, [0, *itertools.accumulate(lengths)])
        return self._files[table]

    def _group(self, table: Path, number: int) -> Any:
        """The contents of a row group, from memory or else from the file."""
        key = (table, number)
        if key not in self._groups:
            file, _ = self._file(table)
            require_memory(table, [file.metadata.row_group(number).total_byte_size])
            with naming_damage(table):
                values = file.read_row_group(number, columns=[self._column]).column(0)
                n_rows = file.metadata.row_group(number).num_rows
                if len(values) != n_rows:
                    raise ValueError(f"row group {number} promises {n_rows:,} rows and holds {len(values):,}")
            self._groups[key] = values
            self._forget()
        return self._groups[key]

    def _forget(self) -> None:
        """Keep no more of the oldest groups than the rows that threads may be at."""
        rows_at_once = FILES_AT_ONCE * (n_threads() + 1)
        while len(self._groups) > 2 and sum(map(len, self._groups.values())) > 2 * rows_at_once:
            del self._groups[next(iter(self._groups))]
