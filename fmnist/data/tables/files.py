"""Which files of a path are tables of images, of which kind and part? By their content first, then by their names.

FILE                                              one table, from which a test set is drawn
DIR/train.csv, DIR/test.csv                       as Kaggle has them, with any addition to the names
DIR/data/train-00000-of-00002.parquet, ...        as the Hugging Face hub has them, at most two folders down
"""

from __future__ import annotations

import gzip
import os
import re
import shlex
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from fmnist.data.image_folder.names import EVALUATION, TEST, TRAIN, VALIDATION, is_passed_over, part_name
from fmnist.data.image_folder.tables import is_utf16
from fmnist.data.image_folder.tree import read_tree
from fmnist.data.tables.columns import MIN_PIXELS
from fmnist.errors import UserError, first_few, unreadable

Kind = Literal["csv", "parquet"]
CSV_SUFFIXES, PARQUET_SUFFIX = (".csv", ".tsv", ".csv.gz", ".tsv.gz"), ".parquet"
GZIP_MAGIC, PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"
SEPARATORS = ("\t", ";", ",")
DEPTH = 2  # of folders in which Parquet files are looked for
HEAD_BYTES = 65_536  # of a file, by which its kind is told: more than a line of 28 x 28 pixels takes
OTHER_CONTENT = {  # how files begin that are often found in the place of others
    b"PK": "a zip archive, as .npz files are",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a pointer of Git LFS, in place of the file",
    b"<": "a web page",
}
SHARD = re.compile(r"(\d+)-of-(\d+)")


@dataclass(frozen=True)
class TableFiles:
    """The tables that make up a data set."""

    place: Path  # the file or folder that the user named
    kind: Kind
    train: tuple[Path, ...]
    validation: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()
    notes: list[str] = field(default_factory=list)  # sentences: how the files were read

    @property
    def files(self) -> list[Path]:
        """All tables, those to test on at the end."""
        return [*self.train, *self.validation, *self.test]


def open_table(path: Path) -> BinaryIO | gzip.GzipFile:
    """Open a table in text, unpacked where it is gzipped, whatever its name says."""
    with path.open("rb") as file:
        is_gzipped = file.read(2) == GZIP_MAGIC
    return gzip.GzipFile(path) if is_gzipped else path.open("rb")


def stem_of(table: Path) -> str:
    """Return the name of a table without its suffixes, that of gzip included."""
    return Path(table.name.removesuffix(".gz")).stem


def find_tables(path: Path, *, to_train: bool = True) -> TableFiles | None:
    """Find the tables of a file or folder; None if it is none, or a folder of something else.

    Args:
        path: Of the file or folder.
        to_train: Whether there must be a table to train on.

    Raises:
        UserError: A file is not what its name says, or files do not go together.
    """
    try:
        if os.path.isfile(path):
            own = _kind_of(path)
            return None if own is None else TableFiles(path, own, (path,))
        if not os.path.isdir(path):
            return None
        found = candidates(path)
        if not found or len(read_tree(path).unwrapped().filled) > 1:  # class folders, of which tables say more
            return None
        kinds = {table: _kind_of(table) for table in found}
        tables = [table for table in found if kinds[table] == "parquet" or _is_meant(table)]
    except OSError as error:
        raise unreadable(path, error) from error
    if not tables:
        return None
    kind: Kind = "parquet" if kinds[tables[0]] == "parquet" else "csv"
    foreign = [table for table in tables if kinds[table] != kind]
    if foreign:
        raise UserError(
            f"{path} must hold tables of one kind, but got {tables[0].name} and {foreign[0].name}; move those of one "
            "kind away"
        )
    others = [table for table in found if table not in tables]
    return _divided(path, kind, _of_one_data_set(path, tables), others, to_train=to_train)


def candidates(folder: Path) -> list[Path]:
    """The files of a folder that are called like tables; those of Parquet down to two folders below too."""
    found = []
    for place, below, names in os.walk(folder, followlinks=True):
        depth = len(Path(place).relative_to(folder).parts)
        below[:] = sorted(name for name in below if depth < DEPTH and not is_passed_over(name))
        suffixes = (PARQUET_SUFFIX,) if depth else (PARQUET_SUFFIX, *CSV_SUFFIXES)
        for name in sorted(names):
            path = Path(place, name)
            if name.lower().endswith(suffixes) and not is_passed_over(name) and os.path.isfile(path):
                found.append(path)
    return found


def _head(path: Path) -> bytes:
    """The beginning of a file's content; nothing of one whose gzip is damaged, which its reader says."""
    try:
        with open_table(path) as file:
            return file.read(HEAD_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""


def _kind_of(path: Path) -> Kind | None:
    """The kind of a table by its content; None for a file that is none and is not called so.

    Raises:
        UserError: It is called like a table and is something else.
    """
    head, name = _head(path), path.name.lower()
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    other = next((words for magic, words in OTHER_CONTENT.items() if head.startswith(magic)), None)
    if is_utf16(head) and name.endswith(CSV_SUFFIXES):
        raise UserError(f"{path} must be a table in UTF-8, but is in UTF-16, as Unicode Text is; save it as CSV UTF-8")
    if other is None and b"\0" in head:
        other = "bytes that are no text"
    if other is None and (name.endswith(CSV_SUFFIXES) or _has_pixels(path)):
        return "csv"
    if name.endswith((PARQUET_SUFFIX, *CSV_SUFFIXES)):
        expected = "a Parquet file" if name.endswith(PARQUET_SUFFIX) else "a table in text"
        raise UserError(
            f"{path} must be {expected}, as its name says, but holds {other or 'something else'}; fetch it again, or "
            "give it the name of what it is"
        )
    return None


def separator_of(line: str) -> str:
    """Find what separates the fields of a line: tabs or semicolons if there are as many as pixels, or else commas."""
    return next((separator for separator in SEPARATORS if line.count(separator) >= MIN_PIXELS - 1), ",")


def has_columns_of_pixels(path: Path) -> bool:
    """Tell whether the first line of a text has as many fields as the smallest image has pixels.

    Raises:
        OSError: The file cannot be read.
    """
    line = _head(path).decode("utf-8", errors="replace").partition("\n")[0]
    return line.count(separator_of(line)) >= MIN_PIXELS - 1


def _has_pixels(path: Path) -> bool:
    """Tell whether a text is a table with as many numbers in its second line as the smallest image has pixels."""
    lines = _head(path).decode("utf-8", errors="replace").splitlines()[:2]
    if len(lines) < 2:
        return False
    fields = lines[1].split(separator_of(lines[1]))[:-1]  # the last may be cut here
    return sum(bool(re.fullmatch(r'\s*"?[-+.,\deE]+"?\s*', each)) for each in fields) >= MIN_PIXELS - 2


def _is_meant(table: Path) -> bool:
    """Tell whether a text is a table of images, or damaged and called like one to train or test on."""
    return _has_pixels(table) or (not _head(table) and part_name(stem_of(table)) is not None)


def _of_one_data_set(folder: Path, tables: Sequence[Path]) -> list[Path]:
    """Return the tables if they are in one folder, or in folders that are its parts, such as `default/train/`."""
    homes: dict[Path, list[Path]] = {}
    for table in tables:
        home = table.parent
        if home != folder and part_name(home.name) is not None and part_name(stem_of(table)) is None:
            home = home.parent
        homes.setdefault(home, []).append(table)
    if len(homes) > 1:
        names = first_few([f"{os.path.relpath(home, folder)}/" for home in homes])
        raise UserError(
            f"{folder} must hold the tables of one data set, but got {names}; pass --dataset "
            f"{shlex.quote(str(next(reversed(homes))))}"
        )
    return list(tables)


def _divided(folder: Path, kind: Kind, tables: Sequence[Path], others: Sequence[Path], *, to_train: bool) -> TableFiles:
    """Tell the parts by the names of tables, or of the folders that they are in."""
    by_part: dict[str | None, list[Path]] = {}
    for table in tables:
        name = part_name(stem_of(table))
        if name is None and table.parent != folder:
            name = part_name(table.parent.name)
        by_part.setdefault(None if name is None else name.part, []).append(table)
    if EVALUATION in by_part:
        by_part.setdefault(VALIDATION if TEST in by_part else TEST, []).extend(by_part.pop(EVALUATION))
    if TRAIN not in by_part:
        by_part[TRAIN] = by_part.pop(None, [])
    train, validation, test = (by_part.pop(part, []) for part in (TRAIN, VALIDATION, TEST))
    if not train and to_train:
        raise UserError(
            f"{folder} must hold a table to train on, but got {first_few([table.name for table in tables])}; rename it "
            "to train, or pass the table itself"
        )
    for part in (train, validation, test):
        _require_whole(folder, kind, part)
    notes = []
    unread = [*(table for rest in by_part.values() for table in rest), *others]
    if validation:
        names = first_few([table.name for table in validation])
        notes.append(f"The images of {names} join the training images, of which the run draws its own validation sets")
    if unread:
        notes.append(f"Tables that nothing reads: {first_few([os.path.relpath(table, folder) for table in unread])}")
    return TableFiles(folder, kind, tuple(train), tuple(validation), tuple(test), notes)


def _require_whole(folder: Path, kind: Kind, part: Sequence[Path]) -> None:
    """Raise UserError if a part has several tables in text, or lacks one of the files that their names count."""
    if kind == "csv" and len(part) > 1:
        raise UserError(
            f"{folder} must hold one table to train on and one to test on, but got "
            f"{first_few([table.name for table in part])}; name them "
            "train and test, and move others away"
        )
    found: dict[int, set[int]] = {}  # of how many files -> which of them there are
    for table in part:
        shard = SHARD.search(table.name)
        if shard is not None:
            found.setdefault(int(shard[2]), set()).add(int(shard[1]))
    for n, numbers in found.items():
        if len(numbers) < n:
            raise UserError(
                f"{folder} must hold all {n:,} files of {SHARD.sub('...', part[0].name)}, but got {len(numbers):,}; "
                "fetch the others too"
            )
