"""Pictures and a table, `labels.csv` or of another name -> which picture shows which class, and in which part."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fmnist.data.image_folder.columns import Columns, PictureIndex, find_columns, part_of_value, rough_claims
from fmnist.data.image_folder.names import (
    TEST,
    TRAIN,
    VALIDATION,
    common_spellings,
    loose,
    natural,
    note_spellings,
    part_name,
    spelling_key,
)
from fmnist.data.image_folder.tables import Table, read_roughly, read_table, tables_near
from fmnist.data.image_folder.tree import Folder
from fmnist.errors import UserError, first_few
from fmnist.output import printable

NEARLY_ALL = 0.9  # of the pictures, whose folder tells their label but for mistakes


@dataclass(frozen=True, eq=False)
class TableLabels:
    """What tables say of the pictures in a folder."""

    tables: tuple[Path, ...]
    classes: dict[Path, str]  # picture -> its class
    parts: dict[Path, str]  # picture -> TRAIN, VALIDATION or TEST
    is_certain: bool  # a column is called like one of classes
    is_likely: bool  # by that, by the name of the table, or by what else is in it
    is_sure: bool  # it names pictures, rather than that numbers happen to do
    notes: list[str] = field(default_factory=list)  # sentences: how the tables were read

    def files_of(self, part: str) -> dict[str, tuple[Path, ...]]:
        """The pictures of each class of a part, classes and pictures in natural order of their names."""
        by_class: dict[str, list[Path]] = {}
        for path, name in self.classes.items():
            if self.parts[path] == part:
                by_class.setdefault(name, []).append(path)
        ordered = sorted(by_class, key=natural)
        return {name: tuple(sorted(by_class[name], key=_by_name)) for name in ordered}


def _by_name(path: Path) -> tuple[object, object]:
    return natural(path.name), natural(str(path))


@dataclass(frozen=True)
class _Row:
    """What a row says."""

    value: str  # of the column with the pictures
    label: str
    part: str | None  # None: it says nothing of parts


def read_table_labels(root: Folder) -> TableLabels | None:
    """Read the labels of a folder's pictures from a table; None if there is none with pictures and classes.

    Raises:
        UserError: A table cannot be read in one way only, names pictures that are not there, or contradicts itself.
    """
    paths = tables_near(root)
    if not paths:
        return None
    index = PictureIndex(root)
    found: list[tuple[Table, Columns]] = []
    for path in paths:
        table = read_table(path)
        columns = find_columns(table, index) if table is not None else None
        if table is not None and columns is not None:
            found.append((table, columns))
    if not found:
        return None
    parts = _parts_of_tables([table.path for table, _ in found])
    classes: dict[Path, str] = {}
    divided: dict[Path, str | None] = {}
    notes = [_note_columns(table, columns) for table, columns in found]
    said, spellings = _in_one_spelling([_rows(table, columns, parts.get(table.path)) for table, columns in found])
    if spellings:
        notes.append(f"Labels that differ in capitals or spaces alone are one class: {first_few(spellings)}")
    for (table, _), rows in zip(found, said, strict=True):
        pictures, zeros = _pictures_of(root, table, rows, index)
        notes += zeros
        for row, picture in zip(rows, pictures, strict=True):
            if row.label:
                _require_same(table, root, picture, row.label, classes)
                _require_same(table, root, picture, row.part, divided)
                classes[picture], divided[picture] = row.label, row.part
        n_twice = sum(n - 1 for n in Counter(pictures).values())
        if n_twice:
            notes.append(f"Rows of {printable(table.path.name)} that say what others say too: {n_twice:,}")
    tables = tuple(table.path for table, _ in found)
    is_certain = all(columns.are_labels_named for _, columns in found)
    is_likely = all(columns.are_labels_likely for _, columns in found)
    notes += _note_unlabelled(root, classes, tables)
    is_sure = all(columns.are_pictures_sure for _, columns in found)
    return TableLabels(tables, classes, _resolved_parts(divided, index), is_certain, is_likely, is_sure, notes)


def _parts_of_tables(tables: Sequence[Path]) -> dict[Path, str]:
    """The part that each of several tables is for, by its name; a lone one says nothing of parts, unless for training.

    Raises:
        UserError: Several tables hold labels, and their names do not say which is for what.
    """
    parts = {}
    for path in tables:
        found = part_name(path.stem)
        if found is not None and found.part in (TRAIN, VALIDATION, TEST):
            parts[path] = found.part
    if len(tables) == 1:
        return {path: part for path, part in parts.items() if part == TRAIN}
    if len(set(parts.values())) < len(tables) or TRAIN not in parts.values():
        raise UserError(
            f"labels must be in one table, or in train.csv and test.csv, but "
            f"{first_few([path.name for path in tables])} in {tables[0].parent} all hold some; keep one and move the "
            "others away"
        )
    return parts


def _rows(table: Table, columns: Columns, part: str | None) -> list[_Row]:
    rows = []
    for values in table.rows[columns.has_header :]:
        if len(columns.labels) == 1:
            label = values[columns.labels[0]]
        else:
            label = next(columns.names[i] for i in columns.labels if float(values[i]))
        if not label.isprintable():
            raise UserError(
                f"a class is named by its label, so that must be printable, but {table.path} has {label!r}; rename it"
            )
        own = part_of_value(values[columns.part]) if columns.part is not None else part
        rows.append(_Row(values[columns.file], label, own))
    return rows


def _in_one_spelling(tables: Sequence[Sequence[_Row]]) -> tuple[list[list[_Row]], list[str]]:
    """Write every label as training rows mostly do; and which have been written in other ways too."""
    rows = [row for table in tables for row in table if row.label]
    labels = [row.label for row in rows]
    names = common_spellings(labels) | common_spellings(row.label for row in rows if row.part != TEST)
    said = [[replace(row, label=names.get(spelling_key(row.label), "")) for row in table] for table in tables]
    return said, note_spellings(names, labels)


def _note_columns(table: Table, columns: Columns) -> str:
    labels = first_few([columns.names[i] for i in columns.labels])
    text = f"Labels are read from {printable(table.path.name)}: pictures from {columns.names[columns.file]}, "
    text += f"classes from {labels}" if len(columns.labels) == 1 else f"a class from each of the columns {labels}"
    if columns.part is not None:
        text += f", what is to train and to test on from {columns.names[columns.part]}"
    return text


def _pictures_of(root: Folder, table: Table, rows: Sequence[_Row], index: PictureIndex) -> tuple[list[Path], list[str]]:
    """The picture of each row, and a sentence if leading zeros were forgiven. Raises UserError if not each has one."""
    found = [index.find(row.value, row.part or TRAIN) for row in rows]
    for row, pictures in zip(rows, found, strict=True):
        if len(pictures) > 1:
            names = first_few([_shown(root, path) for path in pictures])
            raise UserError(
                f"every row of {table.path} must stand for one picture, but {row.value!r} may be {names}; write the "
                "folder as well, as in the first of these"
            )
    missing = [row.value for row, pictures in zip(rows, found, strict=True) if not pictures]
    if not missing:
        return [pictures[0] for pictures in found], []
    found = [
        pictures or index.find(row.value, row.part or TRAIN, forgive_zeros=True)
        for row, pictures in zip(rows, found, strict=True)
    ]
    pairs = {(row.value, pictures[0]) for row, pictures in zip(rows, found, strict=True) if len(pictures) == 1}
    if all(len(pictures) == 1 for pictures in found) and len(pairs) == len({path for _, path in pairs}):
        first = next(_shown(root, path) for value, path in pairs if value == missing[0])
        note = f"Leading zeros do not count in {printable(table.path.name)}: {printable(missing[0])} is {first}"
        return [pictures[0] for pictures in found], [note]
    raise _missing_pictures(root, table, missing, len(rows), index)


def _missing_pictures(
    root: Folder, table: Table, missing: Sequence[str], n_rows: int, index: PictureIndex
) -> UserError:
    """Build the error to raise when rows name pictures that are not there, or that are called a little differently."""
    resembling = {value: index.resembling(value) for value in missing}
    has_folders = any(re.search(r"[/\\]", value) for value in missing)
    alike = []
    for value, paths in resembling.items():
        if paths:
            name = _shown(root, paths[0]) if has_folders else printable(paths[0].name)
            alike.append(f"{printable(value)} where there is {name}")
    if 2 * len(alike) >= len(resembling):
        zeros = any(index.find(value, forgive_zeros=True) for value in missing)
        differences = "leading zeros" if zeros else "folders and suffixes" if has_folders else "suffixes"
        return UserError(
            f"{table.path.name} must call the pictures in {root.path} as they are called, but {len(missing):,} of "
            f"{n_rows:,} rows do not: {first_few(alike)}; write the {differences} as the files have them"
        )
    names = first_few([printable(value) or "nothing" for value in missing])
    return UserError(
        f"every picture that {table.path.name} names must be in {root.path}, but {len(missing):,} of {n_rows:,} "
        f"are not: {names}; add them, or delete their rows"
    )


def _require_same(table: Table, root: Folder, picture: Path, value: str | None, said: Mapping[Path, object]) -> None:
    """Raise UserError if another row says something else of a picture."""
    if picture in said and said[picture] != value:
        raise UserError(
            f"a picture must have one class and be in one part, but in {table.path} {_shown(root, picture)} has both "
            f"{said[picture]} and {value}; delete the row that is wrong"
        )


def _resolved_parts(divided: Mapping[Path, str | None], index: PictureIndex) -> dict[Path, str]:
    """The part of each picture: as its row says, else as its folder does where that of others is `train/`."""
    by_folder = {path: index.part_of(path) for path in divided}
    if TRAIN not in by_folder.values():
        by_folder = {}
    return {path: part or by_folder.get(path) or TRAIN for path, part in divided.items()}


def _note_unlabelled(root: Folder, classes: Mapping[Path, str], tables: Sequence[Path]) -> list[str]:
    """Write a sentence about the pictures without a row, or without a label in it; none if there are none."""
    unlabelled = [_shown(root, path) for path in root.pictures_below() if path not in classes]
    if not unlabelled:
        return []
    where = " and ".join(printable(path.name) for path in tables)
    return [f"Left alone, having no label in {where}: {first_few(unlabelled)}"]


def check_classes(root: Folder, labels: TableLabels) -> None:
    """Check that there are two classes to train on, and the same ones to test on. Raises UserError."""
    where = " and ".join(path.name for path in labels.tables)
    train = labels.files_of(TRAIN)
    if len(train) < 2:
        raise UserError(
            f"{where} in {root.path} must name two classes at least to train on, but got "
            f"{first_few(list(train)) or 'none'}; add rows of others"
        )
    for part in (VALIDATION, TEST):
        found = labels.files_of(part)
        missing = [name for name in train if name not in found] if part == TEST and found else []
        lone = [name for name in found if name not in train]
        if missing or lone:
            names = first_few([*missing, *lone])
            raise UserError(
                f"the rows to train on and those of {part} must have the same classes, but in {where} of {root.path} "
                f"only one has {names}; add rows of {names} to the other, or delete them"
            )


def goes_by_table(root: Folder, by_folder: Mapping[Path, str], labels: TableLabels, has_test: bool) -> bool:
    """Tell whether a table, not class folders, says what pictures show.

    It does if it mixes the folders' pictures, or if it says the same and which pictures to test on besides.

    Args:
        root: The data set.
        by_folder: The class of each picture by its folder.
        labels: What the table says.
        has_test: Whether the folders have a test set.

    Raises:
        UserError: Either may be, as one has finer classes than the other.
    """
    both = [path for path in by_folder if path in labels.classes]
    are_many = 2 * len(both) >= len(by_folder)
    may_count = labels.is_likely and (labels.is_sure or are_many)
    if not both or not may_count or len(set(labels.classes.values())) < 2:
        return False
    pairs = Counter((by_folder[path], labels.classes[path]) for path in both)
    if _is_one_to_one(pairs):
        names_test = len(both) == len(by_folder) and TEST in labels.parts.values()
        return labels.is_certain and not has_test and names_test
    is_mixed = max(_share_told(pairs, 0), _share_told(pairs, 1)) < NEARLY_ALL
    if labels.is_certain and is_mixed and are_many:
        return True
    folders, table = _folders(by_folder), labels.tables[0]
    raise UserError(
        f"it must be clear what the classes are, but in {root.path} both the folders ({folders}) and the labels in "
        f"{table.name} ({first_few(sorted(set(labels.classes.values()), key=natural))}) may be; move {table.name} away "
        "to go by the folders, or all pictures into one folder to go by the table"
    )


def note_left_alone(by_folder: Mapping[Path, str], labels: TableLabels) -> list[str]:
    """Write a sentence about a table that says something else than the folders and is not gone by; none if it is."""
    pairs = {(by_folder[path], label) for path, label in labels.classes.items() if path in by_folder}
    if _is_one_to_one(pairs):
        return []
    names = " and ".join(printable(path.name) for path in labels.tables)
    return [f"The classes are the folders, as no column of {names} is called label and names two classes"]


def refuse_passing_over(root: Folder, by_folder: Mapping[Path, str], fault: UserError | None) -> None:
    """Raise UserError if a table that cannot be used names many pictures in class folders and says something else.

    Args:
        root: The data set.
        by_folder: The class of each picture by its folder.
        fault: Why it cannot be used; None: its columns are not clear.
    """
    paths = tables_near(root)
    index = PictureIndex(root) if paths else None
    found = []
    for path in paths:
        table = read_roughly(path)
        claims = rough_claims(table, index) if table is not None and index is not None else []
        if claims and all(_differs(each, by_folder) for each in claims):
            found.append(path.name)
    if not found:
        return
    names, folders = first_few(found), _folders(by_folder)
    if fault is None:
        raise UserError(
            f"a table beside pictures must tell which column names them and which their classes, but {names} in "
            f"{root.path} does not; call the columns file and label in its first line, or move {names} away to go by "
            f"the folders ({folders})"
        )
    raise UserError(f"{fault}, or move {names} away to go by the folders ({folders})") from fault


def _differs(claims: Sequence[tuple[Sequence[Path], str]], by_folder: Mapping[Path, str]) -> bool:
    """Whether labels of pictures are others than their folders, or it is not clear of which pictures."""
    pairs = set()
    for pictures, label in claims:
        folders = {by_folder[path] for path in pictures if path in by_folder}
        folders = {name for name in folders if loose(name) == loose(label)} or folders
        if label and len(folders) > 1:
            return True
        pairs.update((name, spelling_key(label)) for name in folders if label)
    return len({label for _, label in pairs}) > 1 and not _is_one_to_one(pairs)


def _is_one_to_one(pairs: Collection[tuple[str, str]]) -> bool:
    """Whether folders and labels say the same in other words."""
    return len(pairs) == len({folder for folder, _ in pairs}) == len({name for _, name in pairs})


def _folders(by_folder: Mapping[Path, str]) -> str:
    return first_few([f"{name}/" for name in dict.fromkeys(by_folder.values())])


def _share_told(pairs: Mapping[tuple[str, str], int], by: int) -> float:
    """The share of pictures for which one name of a pair tells the other, if it always stands for its commonest one."""
    commonest: dict[str, int] = {}
    for names, n in pairs.items():
        commonest[names[by]] = max(n, commonest.get(names[by], 0))
    return sum(commonest.values()) / sum(pairs.values())


def _shown(root: Folder, path: Path) -> str:
    return os.fsencode(path.relative_to(root.path).as_posix()).decode("utf-8", "backslashreplace")
