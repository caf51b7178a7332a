"""Class folders on disk: which file shows which class, for training and for testing. No picture is opened here.

    DIR/CLASS/...    or    DIR/train/CLASS/..., DIR/val/CLASS/..., DIR/test/CLASS/...    or    DIR/CLASS/train/...

A class is a folder of pictures, those in folders below it included. Links are followed, hidden files ignored. Where
there are no such folders, a table may say what pictures show, see `fmnist.data.image_folder.labels_table`.
`fmnist.data.image_folder.division` tells the kinds apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fmnist.data.image_folder.classes import Division, is_or_are
from fmnist.data.image_folder.division import find_division
from fmnist.data.image_folder.labels_table import (
    TableLabels,
    check_classes,
    goes_by_table,
    note_left_alone,
    read_table_labels,
    refuse_passing_over,
)
from fmnist.data.image_folder.names import TEST, TRAIN, VALIDATION, loose
from fmnist.data.image_folder.tree import Folder, read_tree
from fmnist.errors import UserError, first_few
from fmnist.output import printable


@dataclass(frozen=True)
class FilesOfClass:
    """The pictures of one class, in natural order."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Layout:
    """What a folder holds. Classes are in natural order, the same in every part; only validation may lack pictures."""

    parts: dict[str, tuple[FilesOfClass, ...]]  # TRAIN, and VALIDATION and TEST if there are such folders
    ignored: tuple[Path, ...]  # files that are no pictures, or belong to no class
    notes: tuple[str, ...] = ()  # sentences: how the folders were read
    has_unlabelled: bool = False  # whether there is a part without class folders
    tables: tuple[Path, ...] = ()  # that the labels are from; none: they are from folders

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the training classes, by label."""
        return tuple(each.name for each in self.parts[TRAIN])


def find_layout(folder: Path) -> Layout:
    """Find the parts, classes and picture files of a folder, by its class folders or by a table of labels.

    Raises:
        UserError: There is neither, one can be read in two ways, a class has no picture, or a part has other classes
            than training.
    """
    root = read_tree(folder)
    try:
        layout = layout_of_folders(root)
    except UserError:
        labels = read_table_labels(root)
        if labels is None:
            raise
        return layout_of_table(root, labels)
    by_folder = {path: each.name for classes in layout.parts.values() for each in classes for path in each.files}
    labels, fault = None, None
    try:
        labels = read_table_labels(root)
    except UserError as error:  # class folders need no table
        fault = error
    if labels is None:
        refuse_passing_over(root, by_folder, fault)
        return layout
    if goes_by_table(root, by_folder, labels, TEST in layout.parts):
        return layout_of_table(root, labels)
    return replace(layout, notes=(*layout.notes, *note_left_alone(by_folder, labels)))


def layout_of_table(root: Folder, labels: TableLabels) -> Layout:
    """Make a layout of the pictures that a table labels. Raises UserError if a part has other classes than training."""
    check_classes(root, labels)
    names = list(labels.files_of(TRAIN))
    parts = {}
    for part in (TRAIN, VALIDATION, TEST):
        found = labels.files_of(part)
        if found:
            parts[part] = tuple(FilesOfClass(name, found.get(name, ())) for name in names)
    notes = list(labels.notes)
    if VALIDATION in parts:
        notes.append(
            "The pictures to validate on join the training pictures, of which the run draws its own validation sets"
        )
    ignored = [path for path in root.others_below() if path not in labels.tables]
    return Layout(parts, tuple(ignored), tuple(notes), tables=labels.tables)


def layout_of_folders(root: Folder) -> Layout:
    """Make a layout of class folders.

    Raises:
        UserError: See `find_layout`.
    """
    division = find_division(root)
    parts = {part: _files_of(division, part) for part in division.parts}
    notes = list(division.notes)
    for part in (VALIDATION, TEST):
        if part in parts:
            parts[part], renamed = _as_in_training(root, division, part, parts)
            notes += renamed
    used = {each.folder for classes in division.parts.values() for each in classes}
    ignored, empty = _ignored(root, used | set(division.unlabelled))
    if empty:
        names = first_few([f"{printable(path.relative_to(root.path).as_posix())}/" for path in empty])
        notes.append(f"Passed over, being empty: {names}")
    return Layout(parts, tuple(ignored), tuple(notes), has_unlabelled=bool(division.unlabelled))


def _files_of(division: Division, part: str) -> tuple[FilesOfClass, ...]:
    return tuple(FilesOfClass(each.name, tuple(each.folder.pictures_below())) for each in division.parts[part])


def _as_in_training(
    root: Folder, division: Division, part: str, parts: dict[str, tuple[FilesOfClass, ...]]
) -> tuple[tuple[FilesOfClass, ...], list[str]]:
    """Put a part's classes in the order of training, under the names they have there, and tell names that differed.

    Raises:
        UserError: The part has a class more, or, to test on, one less.
    """
    found = {each.name: each.files for each in parts[part]}
    names = _matching_names([each.name for each in parts[TRAIN]], list(found))
    missing = [each.name for each in parts[TRAIN] if each.name not in names]
    lone = [name for name in found if name not in names.values()]
    if lone or (missing and part == TEST):
        raise _other_classes(root, division, part, missing, lone)
    renamed = [f"{division.names[part]}{name} is the class {own}" for own, name in names.items() if own != name]
    notes = []
    if renamed:
        notes.append(f"Names that differ in capitals, spaces or the like are one: {first_few(renamed)}")
    if missing:
        notes.append(f"There are no pictures of {first_few(missing)} in {division.names[part]}")
    classes = [FilesOfClass(each.name, found.get(names.get(each.name, ""), ())) for each in parts[TRAIN]]
    return tuple(classes), notes


def _matching_names(training: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """The name that each training class has in another part: the same, or else the only one alike in its letters."""
    names = {name: name for name in training if name in others}
    left = [name for name in training if name not in names]
    counts, other_counts = Counter(map(loose, training)), Counter(map(loose, others))
    by_key = {loose(name): name for name in others if name not in names}
    for name in left:
        key = loose(name)
        if key in by_key and counts[key] == other_counts[key] == 1:
            names[name] = by_key[key]
    return names


def _other_classes(
    root: Folder, division: Division, part: str, missing: Sequence[str], lone: Sequence[str]
) -> UserError:
    train, other = division.names[TRAIN], division.names[part]
    inside = {name for each in division.parts[TRAIN] for name in each.folder.content()}
    inside_other = {name for each in division.parts[part] for name in each.folder.content()}
    is_deeper = len(inside & (inside_other | set(map(loose, lone)))) > 1
    is_deeper = is_deeper or len(inside_other & set(map(loose, missing))) > 1
    differences, remedies = [], []
    if missing and part == TEST:
        names = first_few(missing)
        differences.append(f"{names} {is_or_are(missing)} in {train} only")
        remedies.append(f"add pictures of {names} to {other}, or delete {names} from {train} to leave them out")
    if lone:
        names = first_few(lone)
        differences.append(f"{names} {is_or_are(lone)} in {other} only")
        remedies.append(f"add pictures of {names} to {train}, or delete {names} from {other} to leave them out")
    remedy = "; and ".join(remedies)
    if is_deeper:
        remedy = (
            "if the classes are one folder deeper, bring their folders together in train/CLASS/ and test/CLASS/, else "
            + remedy
        )
    elif len(remedies) > 1:
        remedy = f"rename those that are the same class, else {remedy}"
    return UserError(
        f"{train} and {other} in {root.path} must hold the same classes, but {' and '.join(differences)}; {remedy}"
    )


def _ignored(folder: Folder, used: set[Folder]) -> tuple[list[Path], list[Path]]:
    """The files that are no pictures or of no class, and the empty folders; used: those of classes, and unlabelled."""
    if folder in used:
        return list(folder.others_below()), []
    ignored, empty = [*folder.pictures, *folder.others], []
    for subfolder in folder.folders:
        if subfolder.is_empty:
            empty.append(subfolder.path)
            continue
        ignored_there, empty_there = _ignored(subfolder, used)
        ignored += ignored_there
        empty += empty_there
    return ignored, empty
