"""Which column of a table names the picture, which its class, and which says whether it is to train or to test on?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fmnist.data.decode import picture_suffixes
from fmnist.data.image_folder.names import EVALUATION, TEST, TRAIN, UNLABELLED, VALIDATION, part_name
from fmnist.data.image_folder.tables import Table
from fmnist.data.image_folder.tree import Folder
from fmnist.errors import UserError, first_few

FILE_WORDS = (
    *("file", "files", "filename", "file name", "filepath", "file path", "fname", "path"),
    *(
        "image",
        "images",
        "image id",
        "imageid",
        "image name",
        "imagename",
        "image path",
        "image file",
        "image filename",
    ),
    *("img", "img id", "img name", "img path", "picture", "photo", "id"),
)
LABEL_WORDS = (
    *("label", "labels", "label name", "label id", "class", "classes", "class name", "classname", "class label"),
    *("class id", "classid", "target", "targets", "category", "category name", "category id", "categories"),
    *("breed", "species", "variety", "diagnosis", "dx", "tag", "y", "ground truth"),
)
PART_WORDS = ("split", "partition", "set", "subset", "data set", "dataset", "part", "phase", "usage")
INDEX_WORDS = ("", "index", "unnamed 0")  # of the numbers that pandas writes before each row
LABEL_TABLES = re.compile("label|annotation|class|target|truth|diagnos", re.IGNORECASE)  # what they are called


@dataclass(frozen=True)
class Columns:
    """The columns that are read, by their numbers."""

    file: int
    labels: tuple[int, ...]  # one with the class, or one for each class, with 1 in the column of a picture's own
    part: int | None  # None: nothing is divided
    names: tuple[str, ...]  # of all columns, for messages
    has_header: bool
    are_labels_named: bool  # by a word for classes; else they are in the one column that is left
    are_labels_likely: bool  # by that, the table's name or what else is in it
    are_pictures_sure: bool  # by a word for files, or as they are no mere numbers


class PictureIndex:
    """The pictures of a folder, found by how a table may name them."""

    def __init__(self, root: Folder) -> None:
        self._root = root.path
        self.n_pictures = root.n_pictures
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        self._by_plain_name: dict[str, list[Path]] = {}  # without leading zeros
        self._by_plain_stem: dict[str, list[Path]] = {}
        for path in root.pictures_below():
            name, stem = _key(path.name), _key(path.stem)
            self._by_name.setdefault(name, []).append(path)
            self._by_stem.setdefault(stem, []).append(path)
            self._by_plain_name.setdefault(_without_zeros(name), []).append(path)
            self._by_plain_stem.setdefault(_without_zeros(stem), []).append(path)

    def find(self, value: str, part: str | None = None, *, forgive_zeros: bool = False) -> Sequence[Path]:
        """Find the pictures that a value may stand for: a path from anywhere, a name, or a name without its suffix.

        Args:
            value: Of a table.
            part: Of the data set that the row belongs to; of several pictures those in a folder of that part count.
            forgive_zeros: Take 5 for 00005, and the other way round.
        """
        parts = _parts_of_path(value)
        if not parts:
            return ()
        key = _key(parts[-1])
        found = self._by_name.get(key) or self._by_stem.get(key) or []
        if forgive_zeros:
            key = _without_zeros(key)
            found = self._by_plain_name.get(key) or self._by_plain_stem.get(key) or []
        above = [_key(name) for name in parts[:-1]]
        found = [path for path in found if _agree(above, [_key(name) for name in self._folders(path)])]
        narrower = (
            [path for path in found if part is not None and self.part_of(path) == part],
            [path for path in found if list(self._folders(path)) == parts[:-1]],
            [path for path in found if parts[-1] in (path.name, path.stem)],
        )
        for fewer in narrower:
            if len(found) > 1 and fewer:
                found = [path for path in found if path in fewer]
        return found

    def resembling(self, value: str) -> Sequence[Path]:
        """Find the pictures that a value may be meant for, whatever its folders, its suffix and its leading zeros."""
        parts = _parts_of_path(value)
        if not parts:
            return ()
        key = _without_zeros(_key(parts[-1]))
        found = self._by_plain_stem.get(key)
        path = PurePosixPath(parts[-1])
        if found is None and path.suffix.lower() in picture_suffixes():
            found = self._by_plain_stem.get(_without_zeros(_key(path.stem)))
        return found or ()

    def part_of(self, path: Path) -> str | None:
        """Tell the part that a picture belongs to by the names of its folders."""
        for name in self._folders(path):
            found = part_name(name)
            if found is not None and found.part in (TRAIN, VALIDATION, TEST):
                return found.part
        return None

    def _folders(self, path: Path) -> tuple[str, ...]:
        return path.relative_to(self._root).parts[:-1]


def _key(name: str) -> str:
    """By which a name is looked up: systems differ in capitals and in Unicode's forms."""
    return unicodedata.normalize("NFC", name).casefold()


def _without_zeros(key: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", key)


def _parts_of_path(value: str) -> list[str]:
    return [name for name in PurePosixPath(value.replace("\\", "/")).parts if name not in ("/", ".", "..")]


def _agree(above: Sequence[str], folders: Sequence[str]) -> bool:
    """Whether the folders in a value are those of a picture, as far as both go: one may begin further up."""
    return all(name == other for name, other in zip(reversed(above), reversed(folders), strict=False))


def find_columns(table: Table, index: PictureIndex) -> Columns | None:
    """Find the columns of a table; None if it does not name pictures and classes.

    Raises:
        UserError: Several columns may be the one that is looked for, or a picture has several classes.
    """
    names = [_words(value) for value in table.rows[0]]
    has_header = _has_header(table, names, index)
    shown = tuple(table.rows[0]) if has_header else tuple(f"column {i + 1}" for i in range(len(names)))
    if not has_header:
        names = ["?"] * len(names)
    values = list(zip(*table.rows[has_header:], strict=True))
    if not values:
        return None
    file, same = _file_column(table, index, names, values, shown)
    if file is None:
        return None
    others = [i for i in range(len(names)) if i not in same and names[i] not in (*FILE_WORDS, *INDEX_WORDS)]
    part = _part_column(table, others, names, values)
    labels = _label_columns(table, [i for i in others if i != part], names, values, shown)
    if not labels:
        return None
    first = labels[0]
    is_named = names[first] in LABEL_WORDS
    is_likely = is_named or len(labels) > 1 or LABEL_TABLES.search(table.path.stem) is not None
    is_likely = is_likely or (not has_header and not all(map(_is_number, values[first])))
    is_sure = names[file] in FILE_WORDS or not all(map(_is_number, values[file]))
    return Columns(file, labels, part, shown, has_header, is_named, is_likely, is_sure)


def _has_header(table: Table, names: Sequence[str], index: PictureIndex) -> bool:
    """Whether the first row has names of columns, rather than that of a picture. names: its values as words."""
    if any(name in (*FILE_WORDS, *LABEL_WORDS, *PART_WORDS) for name in names):
        return True
    return not any(
        PurePosixPath(value).suffix.lower() in picture_suffixes() or index.find(value) or index.resembling(value)
        for value in table.rows[0]
    )


def _words(name: str) -> str:
    """In small letters with spaces: `imageId`, `image_id` and `Image ID` are one name."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return re.sub(r"[\W_]+", " ", spaced).strip().casefold()


def _file_column(
    table: Table, index: PictureIndex, names: Sequence[str], values: Sequence[Sequence[str]], shown: Sequence[str]
) -> tuple[int | None, list[int]]:
    """The column that names the pictures, and all that name the same ones; None if there is none."""
    named = [i for i, name in enumerate(names) if name in FILE_WORDS]
    others = [i for i, name in enumerate(names) if name not in (*FILE_WORDS, *LABEL_WORDS, *PART_WORDS, *INDEX_WORDS)]
    is_clear = len(names) == 2 or any(name in LABEL_WORDS for name in names)
    numeric = [i for i in others if all(map(_is_number, values[i]))]  # which may mean anything
    meant = [i for i in others if is_clear or i not in numeric]
    found: dict[int, list[tuple[Path, ...]]] = {}
    n_found: dict[int, int] = {}
    columns: list[int] = []
    for find, rest in ((index.find, others), (index.resembling, meant)):
        found = {i: [tuple(find(value)) for value in values[i]] for i in (*named, *rest)}
        n_found = {i: len({paths for paths in found[i] if paths}) for i in found}
        columns = [i for i in named if n_found[i]] or [i for i in rest if 2 * n_found[i] >= len(values[i])]
        if find == index.resembling:
            columns = [i for i in columns if i not in numeric or 2 * n_found[i] >= index.n_pictures]
        if columns:
            break
    else:
        first = min(named, key=lambda i: FILE_WORDS.index(names[i]), default=None)
        return first, named
    best = [i for i in columns if n_found[i] == max(n_found[i] for i in columns)]
    same = [i for i in columns if found[i] == found[best[0]]]
    different = [i for i in best if i not in same]
    if different:
        raise UserError(
            f"one column of {table.path} must name the pictures, but {shown[best[0]]} and {shown[different[0]]} both "
            "may; delete the one that does not"
        )
    return best[0], same


def _part_column(
    table: Table, others: Sequence[int], names: Sequence[str], values: Sequence[Sequence[str]]
) -> int | None:
    """The column that divides the pictures into parts, told by its name or, without a header, by its values."""
    for i in others:
        if names[i] not in (*PART_WORDS, "?"):
            continue
        unclear = sorted({value for value in values[i] if part_of_value(value) is None})
        if not unclear:
            return i
        if names[i] in PART_WORDS[:2]:
            raise UserError(
                f"the column {table.rows[0][i]} of {table.path} must say train, val or test in each row, but says "
                f"{first_few([value or 'nothing' for value in unclear])}; write one of these, or give the column "
                "another name if it means something else"
            )
    return None


def part_of_value(value: str) -> str | None:
    """Tell which part of a data set a value of a table means; None if it means none."""
    found = part_name(value)
    if found is None or found.rest or found.part == UNLABELLED:
        return None
    return TEST if found.part == EVALUATION else found.part


def _label_columns(
    table: Table, rest: Sequence[int], names: Sequence[str], values: Sequence[Sequence[str]], shown: Sequence[str]
) -> tuple[int, ...]:
    """The column of the classes, or one for each class; none if there is no such column."""
    named = [i for i in rest if names[i] in LABEL_WORDS]
    if named and all(_is_one_to_one(values[named[0]], values[i]) for i in named[1:]):
        texts = [i for i in named if not all(map(_is_number, values[i]))]
        return tuple((texts or named)[:1])
    if not named and len(rest) == 1:
        is_of_classes = 2 * len(set(values[rest[0]])) <= len(values[rest[0]])  # else of something else
        return tuple(rest) if is_of_classes else ()
    named = named or list(rest)
    if not named or names[named[0]] == "?":
        return ()
    numbers = [[_number(value) for value in values[i]] for i in named]
    if all(number in (0, 1) for column in numbers for number in column):
        wrong = [row for row, ones in enumerate(zip(*numbers, strict=True)) if sum(map(bool, ones)) != 1]
        if not wrong:
            return tuple(named)
        raise UserError(
            f"every picture must have one class, but in {table.path} {len(wrong):,} rows have several, or none, among "
            f"the columns {first_few([shown[i] for i in named])}; leave these rows out, or write one column label"
        )
    raise UserError(
        f"one column of {table.path} must hold the classes, but {first_few([shown[i] for i in named])} may; name it "
        "label and delete the others"
    )


def _is_number(value: str) -> bool:
    return _number(value) is not None


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _is_one_to_one(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two columns say the same in other words."""
    pairs = set(zip(first, second, strict=True))
    return len(pairs) == len(set(first)) == len(set(second))


def rough_claims(table: Table, index: PictureIndex) -> list[list[tuple[Sequence[Path], str]]]:
    """Tell what a table with faults says: for each column that may hold classes, the pictures and label of each row.

    Names of pictures count by what they resemble. Nothing if the table names few of them, less than half of all and in
    less than half of its rows, or if no column is likely to hold classes.
    """
    names = [_words(value) for value in table.rows[0]]
    has_header = _has_header(table, names, index)
    values = list(zip(*table.rows[has_header:], strict=True))
    if not has_header:
        names = ["?"] * len(names)
    meant: dict[int, list[Sequence[Path]]] = {}
    for i, column in enumerate(values):
        pictures = [index.find(value) or index.resembling(value) for value in column]
        n_values = len({value for value, found in zip(column, pictures, strict=True) if found})
        n_pictures = len({path for found in pictures for path in found})
        is_name = names[i] in FILE_WORDS or not all(map(_is_number, column))  # numbers may mean anything
        is_many = (is_name and 2 * n_values >= len(column)) or 2 * n_pictures >= index.n_pictures
        if n_pictures and is_many and names[i] not in (*LABEL_WORDS, *PART_WORDS, *INDEX_WORDS):
            meant[i] = pictures
    if not meant:
        return []
    file = max(meant, key=lambda i: (names[i] in FILE_WORDS, len({path for found in meant[i] for path in found})))
    rest = [i for i in range(len(names)) if i != file and names[i] not in (*FILE_WORDS, *PART_WORDS, *INDEX_WORDS)]
    labels = _rough_labels(table, rest, names, values)
    return [list(zip(meant[file], each, strict=True)) for each in labels]


def _rough_labels(
    table: Table, rest: Sequence[int], names: Sequence[str], values: Sequence[Sequence[str]]
) -> list[Sequence[str]]:
    """The columns that are likely to hold classes; several with a 1 in one of them are one column."""
    named = [values[i] for i in rest if names[i] in LABEL_WORDS]
    if named:
        return named
    rows = list(zip(*(values[i] for i in rest), strict=True))
    ones = [[i for i, value in zip(rest, row, strict=True) if _number(value) == 1] for row in rows]
    are_flags = all(_number(value) in (0, 1) for row in rows for value in row)
    if are_flags and len(rest) > 1 and 2 * sum(len(each) == 1 for each in ones) >= len(rows):
        return [[str(each[0]) if len(each) == 1 else "" for each in ones]]
    is_called_so = LABEL_TABLES.search(table.path.stem) is not None
    few = [values[i] for i in rest if 2 * len(set(values[i])) <= len(values[i])]
    return [each for each in few if is_called_so or ("?" in names and not all(map(_is_number, each)))]
