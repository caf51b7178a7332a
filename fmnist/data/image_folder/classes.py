"""Class folders, and the errors of folders that hold none."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fmnist.data.image_folder.names import is_annotation_name
from fmnist.data.image_folder.tree import Folder
from fmnist.errors import UserError, first_few

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".xlsx", ".parquet")  # of files that may hold labels


@dataclass(frozen=True)
class ClassFolder:
    """A class of one part."""

    name: str
    folder: Folder


@dataclass(frozen=True)
class Division:
    """Where the classes of each part lie."""

    parts: dict[str, tuple[ClassFolder, ...]]  # TRAIN, and VALIDATION and TEST if there are such parts
    names: dict[str, str]  # part -> its folder as messages name it, such as `test_set/`; none if nothing is divided
    unlabelled: tuple[Folder, ...] = ()  # parts whose pictures lie in no class folder
    notes: list[str] = field(default_factory=list)  # sentences: how the folders were read


def class_folders(base: Folder) -> tuple[ClassFolder, ...]:
    """The classes in a folder. Raises UserError if one has files without a picture, or no name that can be printed."""
    for folder in base.folders:
        if not folder.name.isprintable():
            raise UserError(
                f"a class is named by its folder, so the name must be printable, but got {folder.name!r}; rename it"
            )
    without = [
        folder.name
        for folder in base.folders
        if not (folder.n_pictures or folder.is_empty or is_annotation_name(folder.name))
    ]
    if without and base.filled:
        raise UserError(
            f"every class folder must hold pictures, but in {base.path} there is none in {first_few(without)}; add "
            "some, or delete the folder"
        )
    return tuple(ClassFolder(folder.name, folder) for folder in base.filled)


def grid_of(folders: Sequence[Folder]) -> list[Folder]:
    """Select the folders that hold folders of the same names as others do, if most names are so; else none."""
    outer = [folder for folder in folders if folder.n_pictures >= 2 * len(folder.pictures)]
    counts = Counter(name for folder in outer for name in folder.content())
    n_repeated = sum(n > 1 for n in counts.values())
    if len(counts) < 2 or 2 * n_repeated < len(counts):
        return []
    return [folder for folder in outer if any(counts[name] > 1 for name in folder.content())]


def no_classes(folder: Folder, around: Folder | None = None, otherwise: str = "") -> UserError:
    """Build the error to raise when a folder does not hold two class folders.

    Args:
        folder: Where they should be.
        around: The data set if it is another folder, which may hold tables of labels.
        otherwise: More of the remedy.
    """
    n, lone = len(folder.pictures), folder.filled[:1]
    received = "no folder"
    if lone:
        received = f"only the folder {lone[0].name}/ with {lone[0].n_pictures:,} of them"
    elif folder.folders and not n:
        received = f"no picture in {first_few([f'{each.name}/' for each in folder.folders])}"
    elif n == 1:
        received = "1 picture and no folder"
    elif n > 1:
        received = f"{n:,} pictures and no folder"
    files = [*folder.others, *(around.others if around else ())]
    tables = [path.name for path in files if path.suffix.lower() in TABLE_SUFFIXES]
    if tables:
        received += f", and {first_few(tables)}, from which no labels are read"
        otherwise += ", or label them in a table labels.csv with the columns file and label"
    return UserError(
        f"{folder.path} must hold a folder of pictures for each class, two at least (or be one of four IDX files), but "
        f"got {received}; sort the pictures into folders named by what they show{otherwise}"
    )


def dataset_option(folder: Folder) -> str:
    return f"--dataset {shlex.quote(str(folder.path))}"


def is_or_are(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"
