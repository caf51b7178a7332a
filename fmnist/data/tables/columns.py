"""Which column of a table is the label, and which are pixels, in what order?

label,pixel1,...,pixel784     as Kaggle's tables have them; the label may be in any column that is called so
785 columns without names     the label is the first or the last, told by its values
r0,g0,b0,r1,... and a label   in colour, in any order that the names tell
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fmnist.data.arrays.names import LABEL_WORDS
from fmnist.data.checks import MAX_CLASSES, MIN_IMAGES_PER_CLASS, MIN_SIDE
from fmnist.errors import UserError, first_few

LABEL_NAMES = (*LABEL_WORDS, "class", "category")
INDEX_NAMES = ("", "id", "index", "image_id", "imageid", "row_id", "unnamed_0", "index_level_0")  # no pixel, no label
CHANNELS = {"r": 0, "red": 0, "g": 1, "green": 1, "b": 2, "blue": 2}
MIN_PIXELS = MIN_SIDE * MIN_SIDE  # of an image in a row of a table


@dataclass(frozen=True)
class PixelColumns:
    """The columns that are pixels, in the order of an image's rows, channels last."""

    indices: np.ndarray  # int (n_pixels,), of the table's columns
    shape: tuple[int, ...]  # of an image: (side * side,) if grey, (side, side, 3) in colour
    note: str = ""  # what was decided, in words; empty where the columns are in order

    def take(self, values: np.ndarray) -> np.ndarray:
        """Return the images of a table, (n, *shape). values: (n, n_columns)."""
        first, last = self.indices[0], self.indices[-1]
        if np.array_equal(self.indices, np.arange(first, last + 1)):
            return values[:, first : last + 1].reshape(len(values), *self.shape)  # which copies nothing
        return values[:, self.indices].reshape(len(values), *self.shape)


def plain(name: str) -> str:
    """Return the name of a column in small letters, with _ for everything that is no letter and no digit."""
    return re.sub(r"\W+", "_", name.casefold()).strip("_")


def labels_by_name(names: Sequence[str]) -> list[int]:
    """List the columns that are called like labels."""
    return [i for i, name in enumerate(names) if plain(name) in LABEL_NAMES]


def indices_by_name(names: Sequence[str]) -> list[int]:
    """List the columns that are called like numbers of rows."""
    return [i for i, name in enumerate(names) if plain(name) in INDEX_NAMES]


def label_by_values(columns: Mapping[int, Sequence[str]]) -> int | None:
    """Find the one column of several that is the label, from all its values; None if it could be two, or none.

    A label has words, or few different whole numbers, each of them many times. A pixel may look so too.
    """
    of_words = [i for i, values in columns.items() if not all(map(_is_number, values))]
    if of_words:
        return of_words[0] if len(of_words) == 1 else None
    likely, possible = [], []
    for i, values in columns.items():
        numbers, counts = np.unique(np.array(values, np.float64), return_counts=True)
        if len(numbers) < 2 or len(numbers) > MAX_CLASSES or numbers[0] < 0 or (numbers != np.round(numbers)).any():
            continue
        if counts.min() >= MIN_IMAGES_PER_CLASS:
            likely.append(i)
        elif numbers[0] <= 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
            possible.append(i)  # numbered without a gap, as labels are
    return likely[0] if len(likely) == 1 and not possible else None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def find_pixels(names: Sequence[str] | None, indices: Sequence[int], where: str) -> PixelColumns:
    """Find the order of the columns that are pixels.

    Args:
        names: Of all columns; None if they have none.
        indices: The columns that are pixels, without the label.
        where: The table, for messages.

    Raises:
        UserError: There are not as many as a square image has, or the names do not tell which colour each is.
    """
    n = len(indices)
    tokens = None
    if names is not None:
        tokens = [re.findall(r"[^\W\d_]+|\d+", plain(names[i])) for i in indices]
    if n >= MIN_PIXELS and math.isqrt(n) ** 2 == n:
        order, note = np.arange(n), ""
        if tokens is not None and not _are_in_order(tokens):
            order = np.array(sorted(range(n), key=lambda i: _numbers(tokens[i])))
            note = f"The columns of {where} are not in order: they are read by the numbers in their names"
        return PixelColumns(np.array(indices)[order], (n,), note)
    side = math.isqrt(n // 3)
    if n < 3 * MIN_PIXELS or 3 * side**2 != n:
        raise UserError(
            f"{where} must have as many columns of pixels as a square image, 784 for 28 x 28, but got {n:,}; leave out "
            "what is neither pixel nor label"
        )
    order = _by_colour(tokens, side)
    if order is None:
        raise UserError(
            f"{where} must tell which colour each of its {n:,} pixels is, but its columns are not named so; name them "
            "r0, g0, b0, r1, ... in the first line"
        )
    note = f"The {n:,} numbers of each row of {where} are read as {side} x {side} pixels in colour, by their names"
    return PixelColumns(np.array(indices)[order], (side, side, 3), note)


def _numbers(tokens: Sequence[str]) -> tuple[int, ...]:
    return tuple(int(token) for token in tokens if token.isdecimal())


def _are_in_order(tokens: Sequence[Sequence[str]]) -> bool:
    """Tell whether names go up by their numbers, or do not differ by numbers alone and so have no other order."""
    words = {tuple(token for token in each if not token.isdecimal()) for each in tokens}
    numbers = [_numbers(each) for each in tokens]
    differ_by_numbers = len(words) == 1 and len({len(each) for each in numbers}) == 1
    if not differ_by_numbers or len(set(numbers)) < len(numbers):
        return True
    return numbers == sorted(numbers)


def _by_colour(tokens: Sequence[Sequence[str]] | None, side: int) -> np.ndarray | None:
    """The order of pixels in colour, channels last: int (3 * side * side,). None if the names do not tell it."""
    places: dict[tuple[int, int], int] = {}  # (number, channel) -> which of the columns
    for i, each in enumerate(tokens or []):
        channels = [CHANNELS[token] for token in each if token in CHANNELS]
        numbers = [int(token) for token in each if token.isdecimal()]
        if len(channels) != 1 or len(numbers) != 1:
            return None
        places[numbers[0], channels[0]] = i
    numbers = {number for number, _ in places}
    if len(numbers) != side**2 or len(places) != 3 * side**2:
        return None
    return np.array([places[key] for key in sorted(places)])


def in_words(names: Sequence[str]) -> str:
    """List columns for a message, those of no name in quotation marks."""
    return first_few([name if name.strip() else repr(name) for name in names])


def are_names(labels: Sequence[np.ndarray]) -> bool:
    """Tell whether labels are whole numbers of which some are left out, so that they name classes and count nothing.

    A table of signs may have 0 to 24 without 9, for the letter that no picture shows.
    """
    if any(each.dtype.kind not in "iu" for each in labels):
        return False
    present = np.unique(np.concatenate(labels)).tolist()
    if len(present) < 2 or present[0] < 0:
        return False
    return not any(present == list(range(first, first + len(present))) for first in (0, 1))


def note_names(labels: Sequence[np.ndarray], where: str) -> str:
    """Write the sentence that tells of labels that `are_names`."""
    n = len(np.unique(np.concatenate(labels)))
    return f"{where} leaves numbers out: the {n} that occur are the classes, called by them"


def label_not_told(where: object, received: str) -> UserError:
    """Build the error to raise when no column, or more than one, may be the label. received: those columns."""
    return UserError(
        f"{where} must have one column of labels, but it is not told which, of {received}; name the columns, that one "
        "label"
    )
