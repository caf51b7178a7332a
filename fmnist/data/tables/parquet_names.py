"""What the classes are called in Parquet files that go together, each of which may number them in its own order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fmnist.data.checks import check_names
from fmnist.errors import UserError, first_few


@dataclass(frozen=True)
class ClassNames:
    """The names of the classes, by which numbers become names before files are put together."""

    together: tuple[str, ...]  # of all files, those of the first in front
    by_file: Mapping[Path, tuple[str, ...]]  # by the numbers that the file has
    note: str = ""  # what was decided, in words; empty where all files have the same names


def join_names(own: Mapping[Path, tuple[str, ...] | None], label: str) -> ClassNames | None:
    """Put the names of classes together that files with numbers as labels have; None if none has names.

    Args:
        own: The names that each file has, by number; None: it has none. Those to train on come first.
        label: The column of labels, for messages.

    Raises:
        UserError: Files have names in several orders, and some have no names.
    """
    named = {path: names for path, names in own.items() if names is not None}
    if not named:
        return None
    nameless = [path for path, names in own.items() if names is None]
    first, *others = dict.fromkeys(named.values())
    leading = next(iter(named))
    if others and nameless:
        other = next(path for path, names in named.items() if names != first)
        raise UserError(
            f"files that number the classes in different orders must all name them, but {leading.name} and "
            f"{other.name} differ, and {nameless[0]} has no names; write it with their names, or with texts as labels"
        )
    for path, names in named.items():
        if len(set(names)) < len(names):  # two classes would become one
            check_names(names, f"{label} in {path}")
    note = ""
    if others:
        differ = first_few([path.name for path, names in named.items() if names != first])
        note = f"The names of the classes, or their order, differ in {differ} from {leading.name}: classes go by names"
    elif nameless:
        names = first_few([path.name for path in nameless])
        note = f"Labels in {names}, which does not name the classes, are read as those in {leading.name}"
    together = tuple(dict.fromkeys(name for names in (first, *others) for name in names))
    return ClassNames(together, {path: own[path] or first for path in own}, note)
