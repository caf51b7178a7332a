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

from fmnist.data.arrays.labels import find_label_form
from fmnist.data.checks import MIN_IMAGES_PER_CLASS, MIN_IMAGES_WITH_TEST, check_test_labels, check_train_labels
from fmnist.data.checksums import md5_of_file
from fmnist.data.decode import UnreadablePicture
from fmnist.data.image_folder.files import FILES_AT_ONCE, ReadContent, n_threads
from fmnist.data.image_folder.reading import LabelledFiles, PictureSet, draw_test, pictures_source
from fmnist.data.source import DataSource
from fmnist.data.tables.parquet_files import ParquetTables, require_memory
from fmnist.data.tables.parquet_layout import naming_damage, opened
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
    labels = tables.train_labels()
    form = find_label_form(labels, tables.occurring_names(), tables.label_from)
    numbers = form.apply(np.concatenate(labels), tables.label_from)
    least = MIN_IMAGES_PER_CLASS if tables.test else MIN_IMAGES_WITH_TEST
    n_classes = check_train_labels(numbers, tables.label_from, form.class_names, least)
    train = _labelled(tables.train, labels, numbers)
    notes = [*tables.notes, *form.notes]
    if tables.test:
        test_labels = tables.test_labels()
        test_numbers = form.apply(np.concatenate(test_labels), f"{tables.layout.label} in {tables.test[0]}")
        check_test_labels(test_numbers, tables.test[0], n_classes)
        test = _labelled(tables.test, test_labels, test_numbers)
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
        content = group[row - starts[number]].as_py()
        if isinstance(content, dict):
            content = content["bytes"]
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
