"""Which folders are the parts of a data set: `train/CLASS` and `test/CLASS`, or `CLASS/train` and `CLASS/test`?

A folder is a part by its content, classes that others have too, or by a name that goes with the others' names.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from fmnist.data.image_folder.classes import ClassFolder, Division, class_folders, dataset_option, no_classes
from fmnist.data.image_folder.names import (
    EVALUATION,
    TEST,
    TRAIN,
    UNLABELLED,
    VALIDATION,
    PartName,
    loose,
    part_name,
    words_of,
)
from fmnist.data.image_folder.tree import Folder
from fmnist.errors import UserError, first_few
from fmnist.output import printable


def named_parts(folders: Sequence[Folder]) -> dict[Folder, PartName]:
    """Select the folders that could be parts by their names, with what these say."""
    names = {folder: part_name(folder.name) for folder in folders}
    return {folder: name for folder, name in names.items() if name is not None}


def _are_parts(train: Folder, other: Folder, named: dict[Folder, PartName]) -> bool:
    """Whether two folders are training and another part: by their content, or else by names that go together."""
    if named[train].part != TRAIN or named[other].part == TRAIN:
        return False
    return bool(train.filled) and (named[train].fits(named[other]) or _share_classes(train, other))


def _share_classes(first: Folder, second: Folder) -> bool:
    """Whether half of the folders in one are in the other too."""
    names, other_names = first.content(), second.content()
    n_shared = len(names & other_names)
    return n_shared > 0 and 2 * n_shared >= min(len(names), len(other_names))


def divided_into_parts(base: Folder) -> Division | None:
    """The reading as `train/CLASS`, `test/CLASS`; None if the folders are none of these."""
    named = named_parts(base.filled)
    trains = [folder for folder in named if named[folder].part == TRAIN and folder.filled]
    if any(_are_parts(train, other, named) for train in trains for other in named):
        return _with_parts(base, named)
    if trains and _is_train_alone(base, trains, named):
        return _with_parts(base, named)
    if not trains:
        _require_train(base, named)
    return None


def _is_train_alone(base: Folder, trains: Sequence[Folder], named: dict[Folder, PartName]) -> bool:
    """Whether folders called like training, with folders in them and no other part beside, are parts, not classes."""
    others = [folder for folder in base.filled if folder not in trains]
    for other in others:
        if any(_share_classes(train, other) for train in trains):
            raise UserError(
                f"the folders in {base.path} must tell what they are for, but {other.name}/ holds classes as "
                f"{trains[0].name}/ does; rename it to test or val, or pass {dataset_option(trains[0])}, for "
                "which a test set is drawn"
            )
    if any(named[train].is_certain for train in trains):
        return True
    # A train among other vehicles, or sorts of trains, with folders of their own, are classes.
    is_sort = all(named[train].rest for train in trains)
    if not others:
        return not is_sort or len(trains) == 1 or _share_classes(trains[0], trains[1])
    return not is_sort and len(others) < 2


def _require_train(base: Folder, named: dict[Folder, PartName]) -> None:
    """Raise UserError if there is a part to test on with classes in it, and nothing to train on."""
    beside = {loose(folder.name) for folder in base.filled}
    for folder, name in named.items():
        if not folder.filled or not (name.is_certain or folder.content() & beside):
            continue
        for train, train_name in named.items():
            if train_name.part == TRAIN and train_name.fits(name):
                raise no_classes(train, base)
        raise needs_train(base, folder)


def needs_train(base: Folder, part: Folder) -> UserError:
    """Build the error to raise when there is a part beside which nothing is to train on, but perhaps other folders."""
    others = [folder for folder in base.filled if folder is not part]
    names = first_few([folder.name for folder in others])
    with_classes = [folder for folder in others if len(folder.content()) > 1]
    remedy = "move the class folders to train there"
    if with_classes:
        remedy = f"rename {with_classes[0].name} to train, or pass {dataset_option(with_classes[0])}"
        if is_data_set(with_classes[0]):
            remedy = f"pass {dataset_option(with_classes[0])}, which is divided into parts itself"
    elif len(part.content()) > 1:
        remedy += f", or pass {dataset_option(part)}, to train on what it holds"
    return UserError(
        f"{base.path} must hold train/ beside {part.name}/, but got {names or 'no other folder'}; {remedy}"
    )


def _with_parts(base: Folder, named: dict[Folder, PartName]) -> Division:
    """Read folders as parts, of which one is to train on. Raises UserError if not all of them are clear."""
    has_test = any(name.part == TEST and folder.filled for folder, name in named.items())
    found: dict[str, list[Folder]] = {TRAIN: [], VALIDATION: [], TEST: [], UNLABELLED: []}
    others = [folder for folder in base.filled if folder not in named]
    for folder, name in named.items():
        has_classes = len(folder.content()) > 1
        if (name.part == UNLABELLED and has_classes) or (name.part == TRAIN and not folder.filled):
            others.append(folder)
        else:
            found[_resolved(name.part, has_test)].append(folder)
    _refuse_others(base, [folder for folders in found.values() for folder in folders], others)
    train = _one_of(base, found[TRAIN])
    classes = {TRAIN: _classes_of(train, ())}
    if len(classes[TRAIN]) < 2:
        raise no_classes(train, base)
    names, unlabelled = {TRAIN: f"{printable(train.name)}/"}, list(found[UNLABELLED])
    for part in (VALIDATION, TEST):
        labelled = []
        for folder in found[part]:
            if _classes_of(folder, classes[TRAIN]):
                labelled.append(folder)
            else:
                unlabelled.append(folder)
        if labelled:
            folder = _one_of(base, labelled)
            classes[part], names[part] = _classes_of(folder, classes[TRAIN]), f"{printable(folder.name)}/"
    _refuse_same_folder([folder for folders in found.values() for folder in folders])
    return Division(classes, names, tuple(unlabelled))


def _resolved(part: str, has_test: bool) -> str:
    """What an evaluation part is: for the test if there is no other, else for validation."""
    if part != EVALUATION:
        return part
    if has_test:
        return VALIDATION
    return TEST


def _refuse_others(base: Folder, parts: Sequence[Folder], others: Sequence[Folder]) -> None:
    if others:
        train = parts[0].name
        remedy = f"move it away, or into {train}/ if it is a class"
        if len(parts) == 1:
            remedy += f" like those in it, or rename {train}/ if that is a class itself"
        raise UserError(
            f"{base.path} must hold no other folder beside {first_few([f'{part.name}/' for part in parts])}, but got "
            f"{first_few([folder.name for folder in others])}; {remedy}"
        )


def _one_of(base: Folder, folders: Sequence[Folder]) -> Folder:
    if len(folders) > 1:
        raise UserError(
            f"{base.path} must have one folder of each kind, but got {first_few([each.name for each in folders])}; "
            "keep one and move the other away, or move them together if no picture is in both"
        )
    return folders[0]


def _refuse_same_folder(parts: Sequence[Folder]) -> None:
    """Raise UserError if two parts are links to one folder: a network would be tested on what it learned."""
    for first, second in itertools.combinations(parts, 2):
        if os.path.samefile(first.path, second.path):
            raise UserError(
                f"parts must hold different pictures, but {first.path} and {second.path} are the same folder; remove "
                "the link"
            )


def _classes_of(part: Folder, train: Sequence[ClassFolder]) -> tuple[ClassFolder, ...]:
    """The class folders of a part, wrappers aside; none if its pictures are unlabelled.

    Args:
        part: Its folder.
        train: The training classes; empty for the training part itself.
    """
    known = {loose(each.name) for each in train}
    base = part
    while len(base.filled) == 1 and base.filled[0].filled and loose(base.filled[0].name) not in known:
        base = base.filled[0]
    if len(base.filled) == 1 and known and loose(base.filled[0].name) not in known:
        return ()  # a folder for all, as in test/test/ or test/unknown/
    return class_folders(base)


def is_data_set(folder: Folder) -> bool:
    """Whether a folder, wrappers aside, is divided into parts with classes."""
    named = named_parts(folder.unwrapped().filled)
    return any(_are_parts(train, other, named) for train in named for other in named)


def divided_inside(base: Folder) -> Division | None:
    """The reading as `CLASS/train`, `CLASS/test`; None if the folders are none of these.

    Raises:
        UserError: Some class folders are divided and others are not, or not in the same way.
    """
    inner = {folder: _parts_inside(folder) for folder in base.filled}
    marked = [folder for folder in base.filled if inner[folder]]
    if not marked:
        return None
    has_test = any(name.part == TEST for names in inner.values() for name in names.values())
    classes: dict[str, list[ClassFolder]] = {TRAIN: [], VALIDATION: [], TEST: []}
    names: dict[str, str] = {}
    for folder in base.filled:
        parts = [_resolved(name.part, has_test) for name in inner[folder].values()]
        if not _is_clear(folder, inner[folder], parts):
            raise _unclear_inside(base, marked[0], folder)
        for part, each in zip(parts, inner[folder], strict=True):
            classes[part].append(ClassFolder(folder.name, each))
            names.setdefault(part, f"{printable(each.name)}/")
    division = Division({part: tuple(found) for part, found in classes.items() if found}, names)
    division.notes.append(f"Each class folder holds {' and '.join(names.values())}, which divide its pictures")
    return division


def _unclear_inside(base: Folder, marked: Folder, folder: Folder) -> UserError:
    """Build the error to raise when a class folder holds parts, and one, perhaps another, holds something else."""
    holds = []
    for each in dict.fromkeys((marked, folder)):
        inside = [f"{inner.name}/" for inner in each.filled]
        if each.pictures:
            inside.append("pictures")
        holds.append(f"{each.name}/ holds {first_few(inside)}")
    return UserError(
        "if class folders are divided, each must hold train/, perhaps test/ and val/, and nothing else, but in "
        f"{base.path} {' and '.join(holds)}; move the pictures to train/CLASS/ and test/CLASS/, or all up into their "
        "class folders"
    )


def _is_clear(folder: Folder, inner: Iterable[Folder], parts: Sequence[str]) -> bool:
    """Whether a class folder holds nothing but parts, one to train on and one at most of each other kind."""
    is_all = len(parts) == len(folder.filled) and not folder.pictures and not any(each.filled for each in inner)
    counts = Counter(parts)
    return is_all and counts[TRAIN] == 1 and UNLABELLED not in counts and max(counts.values()) == 1


def _parts_inside(folder: Folder) -> dict[Folder, PartName]:
    """The folders in a class folder that divide its pictures; none if they are just folders."""
    own = words_of(folder.name)
    named = named_parts(folder.filled)
    train_rests = {name.rest for name in named.values() if name.part == TRAIN}
    inner = {each: name for each, name in named.items() if name.rest in ((), own) or {name.rest} == train_rests}
    parts = {name.part for name in inner.values()}
    if (len(parts) > 1 and TRAIN in parts) or any(name.is_certain for name in inner.values()):
        return inner
    return {}
