"""Tables in text, an image a row: a label and its pixels. `fmnist.data.tables.columns` tells which column is which.

Fields are separated by commas, semicolons or tabs, with or without a first line of names, gzipped or not. NumPy reads
60,000 rows of 28 x 28 pixels in two seconds or three.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import shlex
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.data.arrays.parts import Part
from fmnist.data.checks import check_memory
from fmnist.data.decode import picture_suffixes
from fmnist.data.tables.columns import (
    MIN_PIXELS,
    PixelColumns,
    are_names,
    find_pixels,
    in_words,
    indices_by_name,
    label_by_values,
    label_not_told,
    labels_by_name,
    note_names,
    plain,
)
from fmnist.data.tables.files import TableFiles, open_table, separator_of
from fmnist.errors import UserError, unreadable

FIELDS_AT_ONCE = 2_000_000  # that are parsed and, if something is wrong with them, gone through again
LARGEST_WHOLE = 2**53  # up to which decimal numbers have every whole one; a larger label is a name
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*")
MAX_LINE = 32_000_000  # characters; a longer one would fill the memory before it is refused


@dataclass(frozen=True)
class CsvLayout:
    """What is where in a table."""

    separator: str
    names: tuple[str, ...] | None  # of the columns, from the first line; None: it is an image
    n_columns: int
    label: int | None  # None: the table has none, or it is not to be read
    unread: tuple[int, ...]  # numbers of rows
    pixels: PixelColumns
    notes: tuple[str, ...]


class CsvTables:
    """Tables in text, as `fmnist.data.arrays.parts.ArrayFiles`.

    Raises:
        UserError: A table is damaged, or has no label or not as many columns as a square image has pixels.
    """

    def __init__(self, tables: TableFiles) -> None:
        self.place = tables.place
        self._tables = tables
        self._layout = find_layout(tables.train[0])
        self._are_names = False  # whether labels name the classes though they are numbers; decided on training labels
        self._notes = [*tables.notes, *self._layout.notes]
        self._test: Path | None = None
        for path in tables.test:
            if _is_unlabelled(path, self._layout):
                self._notes.append(
                    f"{path.name} has no column of labels, so that no accuracy can be measured on it: it is left alone"
                )
            else:
                self._test = path

    @property
    def files(self) -> Sequence[Path]:
        """All files that are read."""
        tests = [] if self._test is None else [self._test]
        return [*self._tables.train, *self._tables.validation, *tests]

    @property
    def has_test(self) -> bool:
        """Whether there is a table to test on, with labels."""
        return self._test is not None

    @property
    def wanted_test(self) -> str:
        """What would have held the test images."""
        return "test table with labels" if self._tables.test else "test table"

    def read_train(self) -> list[Part]:
        """Read the table to train on, and that of validation images as a part behind it."""
        paths = [*self._tables.train, *self._tables.validation]
        parts = [read_rows(path, self._layout_like(path)) for path in paths]
        labels = [part.labels for part in parts]
        if not self._are_names and are_names(labels):
            self._are_names = True
            self._notes.append(note_names(labels, parts[0].labels_from))
        return [self._named(part) for part in parts]

    def read_test(self) -> Part:
        """Read the table to test on."""
        assert self._test is not None
        return self._named(read_rows(self._test, self._layout_like(self._test)))

    def class_names(self) -> None:
        """Return None: a table in text does not name its classes, unless by its labels."""

    def notes(self) -> list[str]:
        """Return sentences about columns, labels and files that nothing reads."""
        return list(self._notes)

    def _layout_like(self, path: Path) -> CsvLayout:
        return find_layout(path, self._layout)

    def _named(self, part: Part) -> Part:
        if not self._are_names:
            return part
        return Part(part.images, part.labels.astype(str), part.images_from, part.labels_from)


def find_layout(path: Path, training: CsvLayout | None = None, *, n_pixels: int | None = None) -> CsvLayout:
    """Find what is where in a table.

    Args:
        path: The table.
        training: What is where in the one to train on; None: this is it.
        n_pixels: How many numbers the images have where the table is not to train on, and may have no label; None: it
            must have one.

    Raises:
        UserError: The file cannot be read, or its columns are not those of images.
    """
    separator, names, n_columns = _first_line(path)
    if n_columns < MIN_PIXELS:
        raise UserError(
            f"{path} must have a label and the pixels of an image in each row, but the number of its columns is "
            f"{n_columns}; if they name pictures, pass the folder that holds these and the table, such as --dataset "
            f"{shlex.quote(str(_folder_around(path)))}"
        )
    labels = labels_by_name(names or ())
    label = labels[0] if len(labels) == 1 else None
    note = ""
    n_others = n_columns - len(indices_by_name(names or ()))
    is_unlabelled = not labels and n_pixels is not None and n_others != n_pixels + 1
    if label is None and training is not None and training.n_columns == n_columns:
        label = training.label
    elif label is None and not labels and training is None and not is_unlabelled:
        label = label_by_values(_ends(path, separator, has_names=names is not None))
        note = f"The {'first' if label == 0 else 'last'} column of {path} is read as the label, by its values"
    if label is None and not is_unlabelled:
        received = "columns without names" if names is None else in_words(names)
        if labels and names is not None:
            received = in_words([names[i] for i in labels])
        raise label_not_told(path, received)
    unread = [i for i in indices_by_name(names or ()) if i != label]
    pixels = find_pixels(names, [i for i in range(n_columns) if i != label and i not in unread], str(path))
    notes = [note, pixels.note]
    if names is not None and unread:
        notes.append(f"Columns that nothing reads: {in_words([names[i] for i in unread])}")
    return CsvLayout(
        separator, names, n_columns, label, tuple(unread), pixels, notes=tuple(note for note in notes if note)
    )


def _folder_around(table: Path) -> Path:
    """The folder of a table and the pictures that it names: its own, or the one around if it is alone there."""
    own = table.parent
    is_alone = all(path.is_file() and path.suffix.lower() not in picture_suffixes() for path in own.iterdir())
    return own.parent if is_alone else own


def _is_unlabelled(path: Path, training: CsvLayout) -> bool:
    """Tell whether a table lacks the label that the one to train on has."""
    _, names, n_columns = _first_line(path)
    if names is None or training.names is None:
        return n_columns == training.n_columns - 1
    assert training.label is not None
    return plain(training.names[training.label]) not in map(plain, names) and not labels_by_name(names)


def _first_line(path: Path) -> tuple[str, tuple[str, ...] | None, int]:
    """Read the separator, the names of the columns, if the first line has them, and the number of columns."""
    with _lines(path) as lines:
        first = next(lines, (0, ""))[1]
    separator = separator_of(first)
    fields = tuple(field.strip() for field in _fields(first, separator))
    return separator, fields if _are_names_of_columns(fields) else None, len(fields)


def _fields(line: str, separator: str) -> list[str]:
    """Return the fields of a line, without their quotation marks."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # of a field that is too long for one
        return line.split(separator)


def _are_names_of_columns(fields: Sequence[str]) -> bool:
    """Tell whether the fields of the first line are names: of words, among them a label, or counted as by pandas."""
    if labels_by_name(fields):
        return True
    inner = fields[1:-1]
    numbers = [field for field in inner if _is_decimal(field) or DECIMAL_COMMA.fullmatch(field)]
    if len(numbers) <= len(inner) / 2:
        return True
    return any(numbers == list(map(str, range(first, first + len(inner)))) for first in (0, 1, 2))


def _is_decimal(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _ends(path: Path, separator: str, has_names: bool) -> dict[int, list[str]]:
    """Read the first and the last column, by their numbers."""
    firsts, lasts, n_columns = [], [], 0
    with _lines(path) as lines:
        for _, line in itertools.islice(lines, int(has_names), None):
            n_columns = n_columns or line.count(separator) + 1
            firsts.append(_unquoted(line.split(separator, 1)[0]))
            lasts.append(_unquoted(line.rsplit(separator, 1)[-1]))
    return {0: firsts, n_columns - 1: lasts} if firsts else {}


def _unquoted(field: str) -> str:
    return field.strip().strip('"')


def read_rows(path: Path, layout: CsvLayout) -> Part:
    """Read the images, (n, side * side) or (n, side, side, 3) and uint8 or else float32, and the labels of a table.

    Raises:
        UserError: A line is wrong, or the file cannot be read.
    """
    images, labels = [], []
    n_images, lines_at_once = 0, max(1, FIELDS_AT_ONCE // layout.n_columns)
    with _lines(path) as lines:
        if layout.names is not None:
            next(lines, None)
        while numbered := list(itertools.islice(lines, lines_at_once)):
            values = _parsed(path, numbered, layout, labels)
            images.append(layout.pixels.take(values))
            n_images += len(values)
            check_memory(n_images, (len(layout.pixels.indices), 1, 1), values.itemsize)
    shape = (0, *layout.pixels.shape)
    together = np.concatenate(images) if images else np.empty(shape, np.uint8)
    return Part(together, _label_array(labels), f"{path}", f"{_label_column(layout)} in {path}")


def _label_column(layout: CsvLayout) -> str:
    """Name the column of labels, or what would be one."""
    if layout.label is None:
        return "column label"
    if layout.names is not None and layout.names[layout.label]:
        return layout.names[layout.label]
    return "the first column" if layout.label == 0 else f"column {layout.label + 1}"


def _parsed(path: Path, numbered: Sequence[tuple[int, str]], layout: CsvLayout, labels: list[str]) -> np.ndarray:
    """Parse lines to numbers, (n, n_columns), the label and other columns that are none as 0. Appends the labels."""
    n_before = len(labels)

    def keep_label(field: str) -> int:
        labels.append(field.strip())
        return 0

    converters: dict[int | str, Callable[[str], int]] = dict.fromkeys(layout.unread, lambda field: 0)
    if layout.label is not None:
        converters[layout.label] = keep_label
    for dtype in (np.uint8, np.float32):
        del labels[n_before:]
        try:
            values = np.loadtxt(
                [line for _, line in numbered],
                dtype=dtype,
                comments=None,
                delimiter=layout.separator,
                converters=converters,
                quotechar='"',
                ndmin=2,
            )
        except ValueError:
            continue
        if values.shape == (len(numbered), layout.n_columns) and all(labels[n_before:]):
            return values
    raise _wrong_line(path, numbered, layout)


def _wrong_line(path: Path, numbered: Sequence[tuple[int, str]], layout: CsvLayout) -> UserError:
    """Build the error that names the first wrong one of some lines, and what is wrong with it."""
    found = ((number, line, _fault(line, layout)) for number, line in numbered)
    number, line, fault = next((each for each in found if each[2]), (*numbered[0], "cannot be read"))
    fields = _fields(line, layout.separator)
    if len(fields) == layout.n_columns:
        commas = [fields[i].strip() for i in layout.pixels.indices if DECIMAL_COMMA.fullmatch(fields[i])]
        if commas:
            return UserError(
                f"{path} must have numbers with decimal points, but line {number:,} has {commas[0][:20]!r}; write "
                "points instead of commas"
            )
    return UserError(
        f"{path} must be a whole table of numbers, but line {number:,} {fault}; fix it, or fetch the file again"
    )


def _fault(line: str, layout: CsvLayout) -> str:
    """Say what is wrong with a line, such as `has no label`; nothing if it is right."""
    fields = _fields(line, layout.separator)
    if len(fields) != layout.n_columns:
        return f"has {len(fields):,} fields instead of {layout.n_columns:,}"
    if layout.label is not None and not fields[layout.label].strip():
        return "has no label"
    for i in layout.pixels.indices:
        if not _is_decimal(fields[i]):
            return f"has {fields[i][:20]!r} as field {i + 1}"
    return ""


def _label_array(labels: Sequence[str]) -> np.ndarray:
    """Return labels as int64 (n,) if all are whole numbers, as float64 if they are numbers, or else as texts."""
    texts = np.array(labels, dtype=str)
    for dtype in (np.int64, np.float64):
        try:
            numbers = texts.astype(dtype)
        except (ValueError, OverflowError):
            continue
        if not (np.abs(numbers) > LARGEST_WHOLE).any():
            return numbers
    return texts


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[tuple[int, str]]]:
    """Open a table and give its lines, each with its number from 1, without those that are empty.

    Raises:
        UserError: The file cannot be read, is no text, or has a line that is too long.
    """
    try:
        with open_table(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
            yield _numbered(path, text)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be a text file in UTF-8, but: {error.reason}; save it so") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} must be a whole gzip file, but is cut or damaged ({error}); fetch it again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _numbered(path: Path, text: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    number = 0
    while line := text.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise UserError(
                f"{path} must have an image in each line, but line {number:,} is longer than {MAX_LINE:,} characters; "
                "write each image as a line of its own"
            )
        if line.strip():
            yield number, line
