"""Class folders on disk: which file shows which class, for training and for testing. No picture is opened here.

    DIR/CLASS/...                 or    DIR/train/CLASS/..., DIR/val/CLASS/..., DIR/test/CLASS/...

A class is a folder of pictures, those in folders below it included. `train` may be called `training`, `test` `testing`
and `val` `valid` or `validation`, in small or capital letters. Links are followed, hidden files and folders ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist.data.decode import picture_suffixes
from fmnist.errors import UserError, first_few, unreadable

TRAIN, VALIDATION, TEST = "train", "val", "test"
PART_NAMES = {TRAIN: ("train", "training"), VALIDATION: ("val", "valid", "validation"), TEST: ("test", "testing")}
IGNORED = ("__MACOSX",)  # beside hidden ones: what archives leave


@dataclass(frozen=True)
class FilesOfClass:
    """The pictures of one class, in natural order."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Layout:
    """What a folder holds. Classes are in natural order, the same in every part."""

    parts: dict[str, tuple[FilesOfClass, ...]]  # TRAIN, and VALIDATION and TEST if there are such folders
    ignored: tuple[Path, ...]  # files that are no pictures, or belong to no class

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the training classes, by label."""
        return tuple(each.name for each in self.parts[TRAIN])


def find_layout(folder: Path) -> Layout:
    """Find the parts, classes and picture files of a folder.

    Raises:
        UserError: There are no class folders, a class has no picture, or a part has other classes than training.
    """
    part_folders = find_parts(folder)
    parts: dict[str, tuple[FilesOfClass, ...]] = {}
    ignored: list[Path] = []
    for part, part_folder in part_folders.items():
        parts[part], ignored_there = find_classes(part_folder)
        ignored += ignored_there
    if part_folders != {TRAIN: folder}:
        ignored += files_in(folder)
    for part in parts.keys() - {TRAIN}:
        require_same_classes(part_folders[TRAIN], parts[TRAIN], part_folders[part], parts[part])
    return Layout(parts, tuple(ignored))


def natural(name: str) -> tuple[tuple[int | str, ...], str]:
    """Make a key to sort names by: `class 2` comes before `class 10`, small and capital letters are alike."""
    key: list[int | str] = []
    for i, part in enumerate(re.split("([0-9]+)", name)):  # every second part is a number
        if i % 2:
            key.append(int(part))
        else:
            key.append(part.casefold())
    return tuple(key), name


def find_parts(folder: Path) -> dict[str, Path]:
    """Find the folders of training, validation and testing; the folder itself if its classes are not so divided.

    A folder called `train` is a part if it holds folders, and else a class of that name.

    Raises:
        UserError: The parts are ambiguous or incomplete, or there are no folders at all.
    """
    subfolders = folders_in(folder)
    if not subfolders:
        raise _no_classes(folder)
    found: dict[str, list[Path]] = {part: [] for part in PART_NAMES}
    others = []
    for subfolder in subfolders:
        part = part_named(subfolder.name)
        if part is None:
            others.append(subfolder)
        else:
            found[part].append(subfolder)
    known = [path for path in subfolders if path not in others]
    if not any(map(folders_in, known)):  # a part holds folders, a class may be called like one
        if not others:
            raise _no_classes(subfolders[0])
        return {TRAIN: folder}
    require_parts(folder, found, others)
    return {part: paths[0] for part, paths in found.items() if paths}


def part_named(name: str) -> str | None:
    """Tell which part a folder of this name would be; None if it would be a class."""
    for part, names in PART_NAMES.items():
        if name.casefold() in names:
            return part
    return None


def require_parts(folder: Path, found: dict[str, list[Path]], others: Sequence[Path]) -> None:
    """Raise UserError unless there is one folder to train on, at most one of each other part, and nothing else.

    Args:
        folder: The data set, for the message.
        found: Part -> its folders, in the order of PART_NAMES.
        others: The folders that are no part.
    """
    for paths in found.values():
        if len(paths) > 1:
            raise UserError(
                f"{folder} must have one folder of each kind, but got {first_few([path.name for path in paths])}; "
                "move them together"
            )
    parts = [f"{path.name}/" for paths in found.values() for path in paths]
    names = first_few([path.name for path in others])
    if not found[TRAIN]:
        raise UserError(
            f"{folder} must hold train/ beside {parts[0]}, but got {names or 'no other folder'}; "
            "move the class folders to train there"
        )
    if others:
        raise UserError(
            f"{folder} must hold no other folder beside {first_few(parts)}, but got {names}; move it away, or into "
            "train/ if it is a class"
        )


def find_classes(folder: Path) -> tuple[tuple[FilesOfClass, ...], list[Path]]:
    """Find the classes of one part and their pictures, and list the files that were ignored.

    Raises:
        UserError: There is no class, one has no picture, or its name cannot be printed.
    """
    ignored = files_in(folder)
    classes = []
    for class_folder in folders_in(folder):
        if not class_folder.name.isprintable():
            raise UserError(
                f"a class is named by its folder, so the name must be printable, but got {class_folder.name!r}; "
                "rename it"
            )
        pictures = []
        for path in files_below(class_folder):
            if is_picture_name(path):
                pictures.append(path)
            else:
                ignored.append(path)
        classes.append(FilesOfClass(class_folder.name, tuple(pictures)))
    if not classes:
        raise _no_classes(folder)
    empty = [each.name for each in classes if not each.files]
    if empty:
        raise UserError(
            f"every class folder must hold pictures, but in {folder} there is none in {first_few(empty)}; add some, "
            "or delete the folder"
        )
    return tuple(classes), ignored


def files_below(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
    """List all files in a folder and in those below it, folder by folder, each in natural order.

    Args:
        folder: Where to begin.
        above: Device and inode of the folders on the way here, by which a link that leads back is recognised.

    Raises:
        UserError: A folder cannot be read or contains itself.
    """
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise UserError(f"folders must not contain themselves, but {folder} is a link back to one above it; delete it")
    yield from files_in(folder)
    for subfolder in folders_in(folder):
        yield from files_below(subfolder, (*above, identity))


def files_in(folder: Path) -> list[Path]:
    """List all that is no folder, in natural order, broken links included. Raises UserError."""
    return [path for path in _entries(folder) if not os.path.isdir(path)]


def folders_in(folder: Path) -> list[Path]:
    """List the folders in a folder, in natural order, links to folders included. Raises UserError."""
    return [path for path in _entries(folder) if os.path.isdir(path)]


def is_picture_name(path: Path) -> bool:
    """Tell by its name whether a file should be a picture."""
    return path.suffix.lower() in picture_suffixes()


def require_same_classes(
    train_folder: Path, train: Sequence[FilesOfClass], folder: Path, part: Sequence[FilesOfClass]
) -> None:
    """Raise UserError unless another part has the classes of the training part, naming those in one of them only."""
    differences = []
    for where, classes, others in ((train_folder, train, part), (folder, part, train)):
        lone = _names_missing_from(others, classes)
        if lone:
            verb = "are"
            if len(lone) == 1:
                verb = "is"
            differences.append(f"{first_few(lone)} {verb} in {where.name}/ only")
    if differences:
        raise UserError(
            f"{train_folder.name}/ and {folder.name}/ in {folder.parent} must hold the same classes, but "
            f"{' and '.join(differences)}; complete or delete these folders"
        )


def _names_missing_from(others: Sequence[FilesOfClass], classes: Sequence[FilesOfClass]) -> list[str]:
    known = {each.name for each in others}
    return [each.name for each in classes if each.name not in known]


def _entries(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
    entries = []
    for name in sorted(names, key=natural):
        if not name.startswith(".") and name not in IGNORED:
            entries.append(folder / name)
    return entries


def _no_classes(folder: Path) -> UserError:
    n = sum(map(is_picture_name, files_in(folder)))
    received = "no folder"
    if n == 1:
        received = "1 picture and no folder"
    elif n > 1:
        received = f"{n:,} pictures and no folder"
    return UserError(
        f"{folder} must hold a folder of pictures for each class (or be one of four IDX files), but got {received}; "
        "sort the pictures into folders named by what they show"
    )
