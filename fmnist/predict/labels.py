"""Which of a model's classes do labels mean? Names of folders, texts of a table, and arrays -> numbers of classes."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.data.arrays.labels import find_label_form, texts_of
from fmnist.data.image_folder.names import loose
from fmnist.errors import UserError, first_few, unreadable
from fmnist.values import shown

TABLE_SUFFIXES = (".csv", ".tsv")
FILE_COLUMNS = ("file", "filename", "path", "image", "picture")
LABEL_COLUMNS = ("label", "class", "category", "target")
RENAME = "call them as the model does, or leave these images out"
NAME_AROUND = "call them as the model does, or name the folder right around the class folders"
N_CLASSES_NAMED = 40  # of the model's, in a message


@dataclass(frozen=True)
class Row:
    """A line of a table of pictures."""

    path: str  # of the picture: as written, from the table's folder on
    label: str | None  # None: the table has no labels


class ClassFinder:
    """Finds a model's classes by their names, in any case, or by their numbers from 0."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._exact = {name: number for number, name in enumerate(names)}
        self._loose: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            self._loose.setdefault(loose_name(name), []).append(number)

    def find_all(self, labels: Sequence[str], where: str, remedy: str = RENAME) -> np.ndarray:
        """Return the number of the class that each text names: int64 (n,).

        Numbers count as such where no text is a class' name.

        Raises:
            UserError: A text is the name of no class. where: what the texts are, for the message; remedy: its end.
        """
        found = {label: self._find(label) for label in dict.fromkeys(labels)}
        unknown = [label for label, number in found.items() if number is None]
        if len(unknown) == len(found) and all(re.fullmatch(r"\d{1,9}", label) for label in unknown):
            return self.find_numbers(np.array(labels, np.int64), where)
        self._refuse_unknown([repr(label) for label in unknown], where, remedy)
        return np.array([found[label] for label in labels], np.int64)

    def find_numbers(
        self, numbers: np.ndarray, where: str, say: Callable[[str], None] = lambda text: None
    ) -> np.ndarray:
        """Return the classes of labels that are whole numbers: int64 (n,).

        They number the classes from 0. Where the model's classes are called by numbers they are these names, and where
        they are 1 to the number of classes and none is 0, they number the classes from 1.

        Raises:
            UserError: A number is that of no class. where: as for `find_all`.
        """
        present = np.unique(numbers)
        if all(re.fullmatch(r"\d+", name) for name in self._names):
            number_of = {int(name): number for number, name in enumerate(self._names)}
        elif present.size and present[0] >= 1 and present[-1] == len(self._names):
            say(f"{where} number the classes from 1 to {len(self._names)}: 1 is {self._names[0]}")
            number_of = {number + 1: number for number in range(len(self._names))}
        else:
            number_of = {number: number for number in range(len(self._names))}
        self._refuse_unknown([number for number in present.tolist() if number not in number_of], where)
        return np.array([number_of[number] for number in numbers.tolist()], np.int64)

    def find_in_array(
        self, labels: np.ndarray, own_names: Sequence[str] | None, where: str, say: Callable[[str], None]
    ) -> np.ndarray:
        """Return the classes of labels in any of the forms of `fmnist.data.arrays.labels`.

        Args:
            labels: (n,) whole numbers or texts, or (n, n_classes) one-hot rows.
            own_names: What their file calls the classes that it numbers; None: it does not say.
            where: What the labels are called in messages.
            say: Hears what had to be decided.

        Returns:
            int64 (n,).

        Raises:
            UserError: They have another form, or are of other classes than the model's.
        """
        form = find_label_form([labels], None, where)
        if form.texts is not None:
            return self.find_all(texts_of(labels), where)
        numbers = form.apply(labels, where)
        if form.n_columns == len(self._names):
            return numbers
        if form.n_columns:
            raise UserError(
                f"{where} must have a column for each of the model's {len(self._names)} classes, but got "
                f"{form.n_columns} columns; number the classes instead, by labels.argmax(axis=1) where the columns are "
                "the model's first"
            )
        numbers = numbers + form.first  # from 0 or from 1: that the model's classes decide, as some may be missing here
        if own_names is not None and numbers.size:
            first = 0
            if numbers.min() >= 1 and numbers.max() == len(own_names):  # as MATLAB counts
                say(f"{where} number the classes from 1 to {len(own_names)}: 1 is {own_names[0]}")
                first = 1
            if numbers.max() - first < len(own_names):
                return self.find_all([str(own_names[int(number) - first]) for number in numbers], where)
        return self.find_numbers(numbers, where, say)

    def _find(self, label: str) -> int | None:
        if label in self._exact:
            return self._exact[label]
        alike = self._loose.get(loose_name(label), [])
        return alike[0] if len(alike) == 1 else None

    def _refuse_unknown(self, unknown: Sequence[object], where: str, remedy: str = RENAME) -> None:
        if not unknown:
            return
        classes = ", ".join(self._names[:N_CLASSES_NAMED])
        if len(self._names) > N_CLASSES_NAMED:
            classes += f" and {len(self._names) - N_CLASSES_NAMED:,} more"
        raise UserError(f"{where} must be classes of the model ({classes}), but got {first_few(unknown)}; {remedy}")


def loose_name(name: str) -> str:
    """Make a key by which names are alike in any case, and `T-shirt/top` and the folder `T-shirt_top` are."""
    return loose(re.sub(r"[/\\]", " ", name))


def labels_of_caller(labels: object, n_images: int, classes: ClassFinder, say: Callable[[str], None]) -> np.ndarray:
    """Return the classes of labels that a caller gives beside images: int64 (n_images,).

    Raises:
        UserError: They are no labels, of other classes than the model's, or not as many as there are images.
    """
    is_collection = not isinstance(labels, str | bytes | Path)
    try:
        array = np.asarray(labels) if is_collection else np.zeros(())
    except ValueError:  # lists of several lengths
        array = np.zeros(())
    if array.ndim == 0 or array.dtype.kind == "O" or len(array) != n_images:
        received = f"{len(array):,} labels" if array.ndim else shown(labels)
        raise UserError(
            f"labels must be one number or name for each of the {n_images:,} images, in their order, but got {received}"
            "; pass as many, or leave them out where a data set, class folders or a table name them"
        )
    return classes.find_in_array(array, None, "labels", say)


def is_table(path: str) -> bool:
    """Tell whether a path is that of a table of pictures, by its name."""
    return Path(path).suffix.lower() in TABLE_SUFFIXES


def read_table(path: str, *, labelled: bool) -> list[Row]:
    """Read a table of picture files, and of their labels.

    Its first line names the columns, in any order; others than these two are passed over.

    Args:
        path: Of the table, columns divided by commas, semicolons or tabs.
        labelled: Whether there must be labels.

    Raises:
        UserError: It is no such table, or a line lacks something.
    """
    lines = _read_lines(Path(path))
    _, columns = lines[0] if lines else (0, [])
    columns = [column.strip() for column in columns]
    file_at, label_at = _place_of(FILE_COLUMNS, columns), _place_of(LABEL_COLUMNS, columns)
    if file_at is None or (labelled and label_at is None):
        raise UserError(
            f"{path} must be a table whose first line names its columns, one of them file and one label, but got "
            f"{first_few(columns) or 'an empty file'}; rename them"
        )
    rows = []
    for number, cells in lines[1:]:
        file, label = _cell(cells, file_at), _cell(cells, label_at)
        if not file or (labelled and not label):
            raise UserError(
                f"{path} must name a file and its label in every line, but line {number} lacks one; add it, or delete "
                "the line"
            )
        rows.append(Row(os.path.join(os.path.dirname(path), file), label))
    return rows


def _read_lines(table: Path) -> list[tuple[int, list[str]]]:
    """The cells of each line that is not empty, with its number from 1."""
    try:
        text = table.read_text(encoding="utf-8-sig")
        head = text.partition("\n")[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        raise unreadable(table, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error
        raise UserError(f"{table} must be a table in UTF-8, but: {reason}; save it so") from error


def _place_of(names: Sequence[str], columns: Sequence[str]) -> int | None:
    return next((i for i, column in enumerate(columns) if column.casefold() in names), None)


def _cell(cells: Sequence[str], place: int | None) -> str | None:
    if place is None or place >= len(cells):
        return None
    return cells[place].strip()
