"""Class folders on disk: which file belongs to which class, for training and for testing. No picture is opened here.

    DIR/CLASS/...                 or    DIR/train/CLASS/..., DIR/val/CLASS/..., DIR/test/CLASS/...

A class is a folder of pictures, those in folders below it included. `train` may be called `training`, `test` `testing`
and `val` `valid` or `validation`, in small or capital letters. Links are followed. Hidden files and folders are not
looked at.
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
NOT_LOOKED_AT = ("__MACOSX",)  # beside hidden ones: what archives leave


@dataclass(frozen=True)
class FilesOfClass:
    """The pictures of one class, in natural order."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Layout:
    """What a folder holds. Classes are in natural order, the same in every part."""

    parts: dict[str, tuple[FilesOfClass, ...]]  # TRAIN, and VALIDATION and TEST where there are such folders
    passed_over: tuple[Path, ...]  # files that are no pictures, or belong to no class

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.parts[TRAIN])


def find_layout(folder: Path) -> Layout:
    """Raises UserError where the classes of a part differ from the training classes, one of them has no picture, or
    there are no class folders at all."""
    by_part = _part_folders(folder)
    passed_over: list[Path] = []
    parts = {part: _classes_in(path, passed_over) for part, path in by_part.items()}
    if by_part != {TRAIN: folder}:
        passed_over += _files_in(folder)
    for part in parts.keys() - {TRAIN}:
        _require_same_classes(by_part[TRAIN], parts[TRAIN], by_part[part], parts[part])
    return Layout(parts, tuple(passed_over))


def natural(name: str) -> tuple[tuple[int | str, ...], str]:
    """A key to sort names by: `class 2` before `class 10`, small and capital letters alike."""
    parts = re.split("([0-9]+)", name)
    return tuple(int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)), name


def _part_folders(folder: Path) -> dict[str, Path]:
    """The folders of training, validation and testing; the folder itself where its classes are not so divided."""
    subfolders = _folders_in(folder)
    if not subfolders:
        raise _no_classes(folder)
    found = {part: [path for path in subfolders if path.name.casefold() in PART_NAMES[part]] for part in PART_NAMES}
    divided = [path for paths in found.values() for path in paths if _folders_in(path)]
    if not divided:
        if all(path.name.casefold() in sum(PART_NAMES.values(), ()) for path in subfolders):
            raise _no_classes(subfolders[0])
        return {TRAIN: folder}  # class folders, though one of them may be called train
    _require_parts(folder, found, subfolders)
    return {part: paths[0] for part, paths in found.items() if paths}


def _require_parts(folder: Path, found: dict[str, list[Path]], subfolders: Sequence[Path]) -> None:
    known = [path for paths in found.values() for path in paths]
    for paths in found.values():
        if len(paths) > 1:
            raise UserError(
                f"{folder} must have one folder of each kind, but got {first_few([path.name for path in paths])}; "
                "move them together"
            )
    others = [path.name for path in subfolders if path not in known]
    if not found[TRAIN]:
        raise UserError(
            f"{folder} must hold train/ beside {known[0].name}/, but got {first_few(others) or 'no other folder'}; "
            "move the class folders to train there"
        )
    if others:
        raise UserError(
            f"{folder} must hold no other folder beside {first_few([f'{path.name}/' for path in known])}, but got "
            f"{first_few(others)}; move it away, or into train/ if it is a class"
        )


def _classes_in(folder: Path, passed_over: list[Path]) -> tuple[FilesOfClass, ...]:
    passed_over += _files_in(folder)
    classes = [_class_of(path, passed_over) for path in _folders_in(folder)]
    if not classes:
        raise _no_classes(folder)
    empty = [each.name for each in classes if not each.files]
    if empty:
        raise UserError(
            f"every class folder must hold pictures, but in {folder} there is none in {first_few(empty)}; add some, "
            "or delete the folder"
        )
    return tuple(classes)


def _class_of(folder: Path, passed_over: list[Path]) -> FilesOfClass:
    if not folder.name.isprintable():
        raise UserError(
            f"a class is named by its folder, so the name must be printable, but got {folder.name!r}; rename it"
        )
    files = list(_files_below(folder, ()))
    pictures = [path for path in files if path.suffix.lower() in picture_suffixes()]
    passed_over += [path for path in files if path.suffix.lower() not in picture_suffixes()]
    return FilesOfClass(folder.name, tuple(pictures))


def _files_below(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """In natural order, folder by folder. above: what identifies the folders on the way here."""
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise UserError(f"folders must not contain themselves, but {folder} is a link back to one above it; delete it")
    yield from _files_in(folder)
    for subfolder in _folders_in(folder):
        yield from _files_below(subfolder, (*above, identity))


def _files_in(folder: Path) -> list[Path]:
    """All that is no folder, broken links included."""
    return [path for path in _entries(folder) if not os.path.isdir(path)]


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if os.path.isdir(path)]


def _entries(folder: Path) -> list[Path]:
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".") and name not in NOT_LOOKED_AT]
    except OSError as error:
        raise unreadable(folder, error) from error
    return [folder / name for name in sorted(names, key=natural)]


def _no_classes(folder: Path) -> UserError:
    n = sum(path.suffix.lower() in picture_suffixes() for path in _files_in(folder))
    received = f"{n:,} {'picture' if n == 1 else 'pictures'} and no folder" if n else "no folder"
    return UserError(
        f"{folder} must hold a folder of pictures for each class (or be one of four IDX files), but got {received}; "
        "sort the pictures into folders named by what they show"
    )


def _require_same_classes(
    train_folder: Path, train: Sequence[FilesOfClass], folder: Path, part: Sequence[FilesOfClass]
) -> None:
    ours, theirs = ([each.name for each in classes] for classes in (train, part))
    missing, unknown = ([name for name in a if name not in b] for a, b in ((ours, theirs), (theirs, ours)))
    differences = [
        f"{first_few(names)} {'is' if len(names) == 1 else 'are'} in {where.name}/ only"
        for names, where in ((missing, train_folder), (unknown, folder))
        if names
    ]
    if differences:
        raise UserError(
            f"{train_folder.name}/ and {folder.name}/ in {folder.parent} must hold the same classes, but "
            f"{' and '.join(differences)}; complete or delete these folders"
        )
