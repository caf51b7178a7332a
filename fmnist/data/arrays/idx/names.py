"""Which files of a folder are the four IDX files of a data set? By the names that they have in the wild.

    train-images-idx3-ubyte.gz                         as published; also unpacked
    train-images.idx3-ubyte                            as on Kaggle and on Windows
    train-images-idx3-ubyte/train-images-idx3-ubyte    unpacked into a folder of its own
    emnist-letters-test-images-idx3-ubyte              with the data set in front, and `test` for `t10k`

Capitals and small letters are the same. Colour images have idx4 for idx3.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from fmnist.data.idx import IDX_NAMES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from fmnist.errors import UserError, first_few
from fmnist.reading import DATASETS

NAME = re.compile(
    r"(?P<prefix>.*?)[-_. ]*(?P<part>train|training|t10k|test|testing)[-_. ]+(?P<content>images|labels)[-_. ]+"
    r"idx(?P<rank>[134])[-_. ]+ubyte(?P<packed>\.gz)?",
    re.IGNORECASE,
)
ROLES = {
    ("train", "images"): TRAIN_IMAGES,
    ("train", "labels"): TRAIN_LABELS,
    ("test", "images"): TEST_IMAGES,
    ("test", "labels"): TEST_LABELS,
}
EMNIST = "emnist"  # begins the names of all its files


@dataclass(frozen=True)
class IdxName:
    """What the name of an IDX file says."""

    prefix: str  # what stands in front, in small letters; mostly nothing
    role: str  # one of IDX_NAMES
    is_colour: bool
    is_gzipped: bool


@dataclass(frozen=True)
class IdxSet:
    """The IDX files of one data set in a folder; some may be missing."""

    folder: Path
    prefix: str  # of their names, in small letters; mostly empty
    candidates: dict[str, tuple[Path, ...]]  # one of IDX_NAMES -> files that may be it, the one that is read first

    @property
    def missing(self) -> list[str]:
        """The names of the files that are not there, as published."""
        return [name for name in IDX_NAMES if name not in self.candidates]

    @property
    def paths(self) -> dict[str, Path]:
        """The file that is read for each of IDX_NAMES that is there."""
        return {name: paths[0] for name, paths in self.candidates.items()}

    @property
    def unread(self) -> list[Path]:
        """Files that are not read, since another one holds the same by its name."""
        return [path for paths in self.candidates.values() for path in paths[1:]]

    @property
    def is_emnist(self) -> bool:
        """Whether these are files of EMNIST, by their names."""
        return self.prefix.startswith(EMNIST)


def parse_idx_name(name: str) -> IdxName | None:
    """Read what a file's name says; None for one that no IDX file has."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    part = "train" if match["part"].lower().startswith("train") else "test"
    content = match["content"].lower()
    if (content == "labels") != (match["rank"] == "1"):
        return None
    prefix = re.sub(r"[-_. ]+", "-", match["prefix"]).lower()
    return IdxName(prefix, ROLES[part, content], match["rank"] == "4", match["packed"] is not None)


def find_idx_sets(folder: Path) -> dict[str, IdxSet]:
    """Find the data sets whose IDX files a folder holds, by the prefix of their names.

    An empty dict if the folder holds no such file, does not exist or may not be looked into.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    found: dict[str, dict[str, list[tuple[tuple[bool, bool, bool], Path]]]] = {}
    for name in names:
        parsed = parse_idx_name(name)
        if parsed is None:
            continue
        path = _file_at(folder / name, parsed)
        if path is not None:
            order = (parsed.is_colour, path.suffix.lower() != ".gz", path.parent != folder)
            found.setdefault(parsed.prefix, {}).setdefault(parsed.role, []).append((order, path))
    sets = {}
    for prefix, roles in found.items():
        candidates = {}
        for role in IDX_NAMES:
            if role in roles:
                candidates[role] = tuple(path for _, path in sorted(roles[role]))
        sets[prefix] = IdxSet(folder, prefix, candidates)
    return sets


def has_idx_files(folder: Path) -> bool:
    """Tell whether a folder holds at least one of the four files of a data set."""
    return bool(find_idx_sets(folder))


def the_idx_set(folder: Path) -> IdxSet:
    """Find the data set whose IDX files a folder holds.

    Raises:
        UserError: There are several, or some of the four files are missing.
    """
    sets = find_idx_sets(folder)
    if len(sets) > 1:
        names = sorted(prefix or "one without a name" for prefix in sets)
        remedy = "move the files of all but one elsewhere"
        known = [name for name in names if name in DATASETS]
        if known:
            remedy = f"choose one by its name, such as --dataset {known[0]} --data-dir {shlex.quote(str(folder))}"
        raise UserError(
            f"a folder of IDX files must hold one data set, but {folder} holds {len(sets)} ({first_few(names)}); "
            f"{remedy}"
        )
    (found,) = sets.values()
    require_all_four(found)
    return found


def require_all_four(found: IdxSet) -> None:
    """Raise UserError if some of the four files are missing."""
    missing = [f"{_as_others_here(found, name)}[.gz]" for name in found.missing]
    if missing:
        raise UserError(
            f"a folder of IDX files must hold all four, but {found.folder} lacks {', '.join(missing)}; add them"
        )


def _as_others_here(found: IdxSet, name: str) -> str:
    """Name a file as the others of its data set are: with their prefix, and with `test` for `t10k` behind one."""
    if not found.prefix:
        return name
    return f"{found.prefix}-{name.replace('t10k', 'test')}"


def _file_at(path: Path, parsed: IdxName) -> Path | None:
    """Find the file at a path: itself, or the one of the same role in a folder of that name."""
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        return None
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return None
    for name in names:
        inner = parse_idx_name(name)
        if inner is not None and inner.role == parsed.role and os.path.isfile(path / name):
            return path / name
    return None
