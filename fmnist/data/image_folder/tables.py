"""Tables in text, beside pictures that they may label: which are there, and what are their rows?"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fmnist.data.image_folder.tree import Folder
from fmnist.errors import UserError, unreadable

TEXT_TABLES = (".csv", ".tsv")
DELIMITERS = (",", ";", "\t")
MAX_COLUMNS = 1000  # a table with more holds pixels rather than labels
START = 1 << 16  # characters that are looked at before the rest is read: tables of pixels are large
N_TRIED = 20  # rows by which the delimiter is found
SUBMISSION = re.compile("submission", re.IGNORECASE)  # Kaggle's samples of what is to be handed in: no labels


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a table, all with as many values; the first may hold the columns' names."""

    path: Path
    rows: list[list[str]]


def tables_near(root: Folder) -> list[Path]:
    """List the tables in a folder, in those that hold all its pictures, and in folders beside without pictures."""
    found = []
    folder: Folder | None = root
    while folder is not None:
        inside = [each for each in folder.folders if not each.n_pictures]
        for each in (folder, *inside):
            found += [path for path in each.others if path.suffix.lower() in TEXT_TABLES]
        folder = folder.filled[0] if len(folder.filled) == 1 else None
    return [path for path in found if path.is_file() and not SUBMISSION.search(path.name)]


def read_table(path: Path) -> Table | None:
    """Read a table; None if it is empty, or too wide to hold labels.

    Raises:
        UserError: It is no UTF-8, or its rows have different numbers of values.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            start = file.read(START)
            beginning = "\n".join(start.split("\n")[:N_TRIED])
            if len(start) == START and beginning == start:  # the last line may be cut
                beginning = start.rpartition("\n")[0] or start
            delimiter = find_delimiter(beginning)
            width = len(next(rows_of(beginning, delimiter), []))
            if not 1 < width <= MAX_COLUMNS:
                return None
            text = start + file.read()
    except UnicodeDecodeError as error:
        reason = "it is in UTF-16" if is_utf16(error.object) else error.reason
        raise UserError(f"{path} must be a table in UTF-8, but: {reason}; save it as CSV UTF-8") from error
    except OSError as error:
        raise unreadable(path, error) from error
    rows = []
    try:
        for row in rows_of(text, delimiter):
            if len(row) != width:
                raise UserError(
                    f"every row of a table must have as many values, but in {path} row {len(rows) + 1:,} has "
                    f"{len(row)} instead of {width}; fix it, and put values that contain {delimiter!r} in quotes"
                )
            rows.append(row)
    except csv.Error as error:
        raise UserError(f"{path} must be a table of text, but: {error}; save it again as CSV") from error
    return Table(path, rows)


def is_utf16(content: bytes) -> bool:
    """Tell whether a text begins as Excel's "Unicode Text" does."""
    return content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def read_roughly(path: Path) -> Table | None:
    """Read what can be read of a table that may have faults: rows of the commonest width; None if it has no labels."""
    try:
        with path.open("rb") as file:
            start = file.read(START)
            encoding = "utf-16" if is_utf16(start) else "utf-8-sig"
            beginning = "\n".join(start.decode(encoding, "replace").splitlines()[:N_TRIED])
            delimiter = find_delimiter(beginning)
            if beginning.partition("\n")[0].count(delimiter) >= MAX_COLUMNS:
                return None
            text = (start + file.read()).decode(encoding, "replace")
    except OSError:
        return None
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # rows before it count
        rows.extend(rows_of(text, delimiter))
    widths = Counter(map(len, rows))
    width = max(widths, key=lambda width: widths[width], default=0)
    return Table(path, [row for row in rows if len(row) == width]) if width > 1 else None


def rows_of(text: str, delimiter: str) -> Iterator[list[str]]:
    """Read the rows that are not blank, their values without spaces around. Raises csv.Error."""
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        values = [value.strip() for value in row]
        if any(values):
            yield values


def find_delimiter(start: str) -> str:
    """Find what separates the values: what gives several, and as many in each row."""
    for delimiter in DELIMITERS:
        try:
            widths = {len(row) for row in rows_of(start, delimiter)}
        except csv.Error:
            continue
        if len(widths) == 1 and widths.pop() > 1:
            return delimiter
    return max(DELIMITERS, key=start.count)
