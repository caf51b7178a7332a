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


@dataclass(frozen=True)
class Columns:
    """The columns that are read, by their numbers."""

    file: int
    labels: tuple[int, ...]  # one with the class, or one for each class, with 1 in the column of a picture's own
    part: int | None  # None: nothing is divided
    names: tuple[str, ...]  # of all columns, for messages
    has_header: bool
    are_labels_named: bool  # by a word for classes; else they are in the one column that is left


class PictureIndex:
    """The pictures of a folder, found by how a table may name them."""

    def __init__(self, root: Folder) -> None:
        self._root = root.path
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for path in root.pictures_below():
            self._by_name.setdefault(_key(path.name), []).append(path)
            self._by_stem.setdefault(_key(path.stem), []).append(path)

    def find(self, value: str, part: str | None = None) -> Sequence[Path]:
        """Find the pictures that a value may stand for: a path from anywhere, a name, or a name without its suffix.

        Args:
            value: Of a table.
            part: Of the data set that the row belongs to; of several pictures those in a folder of that part count.
        """
        parts = [name for name in PurePosixPath(value.replace("\\", "/")).parts if name not in ("/", ".", "..")]
        if not parts:
            return ()
        key = _key(parts[-1])
        found = self._by_name.get(key) or self._by_stem.get(key) or []
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


def _agree(above: Sequence[str], folders: Sequence[str]) -> bool:
    """Whether the folders in a value are those of a picture, as far as both go: one may begin further up."""
    return all(name == other for name, other in zip(reversed(above), reversed(folders), strict=False))


def find_columns(table: Table, index: PictureIndex) -> Columns | None:
    """Find the columns of a table; None if it does not name pictures and classes.

    Raises:
        UserError: Several columns may be the one that is looked for, or a picture has several classes.
    """
    names = [_words(value) for value in table.rows[0]]
    known = {*FILE_WORDS, *LABEL_WORDS, *PART_WORDS}
    are_files = [PurePosixPath(value).suffix.lower() in picture_suffixes() for value in table.rows[0]]
    are_pictures = any(are_files) or any(index.find(value) for value in table.rows[0])
    has_header = any(name in known for name in names) or not are_pictures
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
    return Columns(file, labels, part, shown, has_header, names[labels[0]] in LABEL_WORDS)


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
    found = {i: [tuple(index.find(value)) for value in values[i]] for i in (*named, *others)}
    n_found = {i: len({paths for paths in found[i] if paths}) for i in found}
    columns = [i for i in named if n_found[i]] or [i for i in others if 2 * n_found[i] >= len(values[i])]
    if not columns:
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
