"""Which of the usual forms do labels have, and how do they become numbers from 0?

    whole numbers from 0          also in a column, (n, 1), and as decimal numbers that are all whole
    whole numbers from 1          none is 0 and none is left out: 1 becomes 0
    one-hot rows                  (n, n_classes), a single 1 in each
    texts                         the names of the classes, in natural order; Even, even and EVEN are one

The form is decided on the training and validation labels, and the test labels must have the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnist.data.checks import MAX_CLASSES, check_names
from fmnist.data.image_folder.names import common_spellings, natural, note_spellings, spelling_key
from fmnist.errors import UserError, first_few

TEXT_KINDS = "US"


@dataclass(frozen=True)
class LabelForm:
    """How the labels of a data set become numbers from 0: `find_label_form` decides."""

    first: int = 0  # the label of the first class
    n_columns: int = 0  # of one-hot rows; 0: labels are not in rows
    texts: tuple[str, ...] | None = None  # the names that labels are; None: they are numbers
    class_names: tuple[str, ...] | None = None  # None: nobody named the classes, and they are called by numbers
    notes: tuple[str, ...] = ()  # what was decided, in words

    def apply(self, labels: np.ndarray, where: str) -> np.ndarray:
        """Return the labels as numbers from 0: int64 (n,). They may be of classes that there are not.

        Raises:
            UserError: They are not of this form. where: the array and its file, for the message.
        """
        labels = _flat(labels)
        if self.texts is not None:
            return self._numbers_of_texts(labels, where)
        if self.n_columns:
            if not _are_one_hot(labels) or labels.shape[1] != self.n_columns:
                raise UserError(
                    f"{where} must have {self.n_columns} columns with a single 1 in each row, as the training labels "
                    f"have, but got {labels.dtype} {labels.shape}; write them as those"
                )
            return labels.argmax(axis=1)
        return _whole(labels, where) - self.first

    def _numbers_of_texts(self, labels: np.ndarray, where: str) -> np.ndarray:
        assert self.texts is not None
        if labels.ndim != 1 or labels.dtype.kind not in TEXT_KINDS:
            raise UserError(
                f"{where} must be texts as the training labels are, but got {labels.dtype} {labels.shape}; write the "
                "names of the classes"
            )
        number_of = {text: number for number, text in enumerate(self.texts)}
        found = texts_of(labels)
        keys = Counter(map(spelling_key, self.texts))
        by_key = {spelling_key(text): number for text, number in number_of.items() if keys[spelling_key(text)] == 1}
        for text in set(found) - number_of.keys():
            if spelling_key(text) in by_key:
                number_of[text] = by_key[spelling_key(text)]
        unknown = sorted({text for text in found if text not in number_of}, key=natural)
        if unknown:
            raise UserError(
                f"test labels must be classes of the training labels, but in {where} there is {first_few(unknown)}; "
                "leave these images out, or add training images of the class"
            )
        return np.array([number_of[text] for text in found], np.int64)


def find_label_form(arrays: Sequence[np.ndarray], names: tuple[str, ...] | None, where: str) -> LabelForm:
    """Find how labels become numbers from 0, from all training and validation labels.

    Args:
        arrays: The labels of each part.
        names: What the file calls the classes, by label; None: it does not.
        where: The first array and its file, for messages.

    Raises:
        UserError: The labels are in none of the forms above.
    """
    arrays = [_flat(labels) for labels in arrays]
    first = arrays[0]
    if all(labels.ndim == 1 and labels.dtype.kind in TEXT_KINDS for labels in arrays):
        return _form_of_texts([text for labels in arrays for text in texts_of(labels)], names, where)
    if all(map(_are_one_hot, arrays)) and len({labels.shape[1] for labels in arrays}) == 1:
        n_columns = first.shape[1]
        note = f"{where} has {n_columns} columns with a single 1 in each row: its place is the class"
        return LabelForm(n_columns=n_columns, class_names=names, notes=(note,))
    numbers = np.concatenate([_whole(labels, where) for labels in arrays])
    notes = []
    if any(labels.dtype.kind == "f" for labels in arrays):
        notes.append(f"{where} has decimal numbers that are all whole: they number the classes")
    present = np.unique(numbers)
    is_from_1 = len(present) >= 2 and present[0] == 1 and present[-1] == len(present)
    if is_from_1 and (names is None or len(names) == len(present)):
        order = "they keep these numbers as their names" if names is None else "in the order of their names"
        notes.append(f"{where} numbers the classes from 1 to {len(present)}: {order}")
        called = names or tuple(map(str, present))
        return LabelForm(first=1, class_names=called, notes=tuple(notes))
    _require_range(numbers, MAX_CLASSES - 1, where)
    return LabelForm(class_names=names, notes=tuple(notes))


def _form_of_texts(texts: Sequence[str], names: tuple[str, ...] | None, where: str) -> LabelForm:
    """The form of labels that are texts: classes are called as the file names them, or else as most labels do."""
    if names is not None and set(texts) <= set(names):
        check_names(names, where)
        return LabelForm(texts=names, class_names=names)
    common = common_spellings(texts)
    ordered = tuple(sorted(common.values(), key=natural))
    named = {spelling_key(name): name for name in names or ()}
    if names is not None and len(named) == len(names) and common.keys() <= named.keys():
        common, ordered = named, names
    check_names(ordered, where)
    others = note_spellings(common, texts)
    note = f"Labels in {where} that differ in capitals or spaces alone are one class: {first_few(others)}"
    return LabelForm(texts=ordered, class_names=ordered, notes=(note,) if others else ())


def _flat(labels: np.ndarray) -> np.ndarray:
    """Return labels in a column, (n, 1), as (n,); others as they are."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    return labels


def _are_one_hot(labels: np.ndarray) -> bool:
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "biuf":
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def texts_of(labels: np.ndarray) -> list[str]:
    """Return labels that are texts or bytes, (n,) or in a column, without spaces around."""
    return [
        (label.decode("utf-8", errors="backslashreplace") if isinstance(label, bytes) else str(label)).strip()
        for label in _flat(labels)
    ]


def _whole(labels: np.ndarray, where: str) -> np.ndarray:
    """Return labels that are whole numbers as int64 (n,). Raises UserError for others."""
    received = f"{labels.dtype} {labels.shape}"
    is_whole = labels.ndim == 1 and labels.dtype.kind in "biu"
    if labels.ndim == 1 and labels.dtype.kind == "f":
        is_whole = bool((np.isfinite(labels) & (labels == np.round(labels))).all())
        received += ", not all of them whole"
    if not is_whole:
        remedy = "number them"
        if labels.ndim == 2:
            remedy = f"{where.split()[0]}.argmax(axis=1) turns rows into the place of their largest number"
        raise UserError(
            f"{where} must be the class of each image, (n,), as whole numbers or texts, or one-hot rows, but got "
            f"{received}; {remedy}"
        )
    numbers = labels.astype(np.int64)
    _require_range(numbers, MAX_CLASSES, where)  # where they begin with 1, the last is as many as there are
    return numbers


def _require_range(numbers: np.ndarray, highest: int, where: str) -> None:
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() <= highest:
        raise UserError(
            f"{where} must number the classes from 0 to {MAX_CLASSES - 1} at most, but got {numbers.min()} to "
            f"{numbers.max()}; number them from 0"
        )
