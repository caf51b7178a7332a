"""Is a folder divided into parts to train and to test on, and what are its classes?

Whatever has two plausible readings is refused with the choice; a reading that is not the plain one is told.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from fmnist.data.image_folder.classes import Division, class_folders, dataset_option, grid_of, is_or_are, no_classes
from fmnist.data.image_folder.names import TEST, TRAIN, VALIDATION, are_shares, is_wrapper_name, loose, part_name
from fmnist.data.image_folder.parts import divided_inside, divided_into_parts, is_data_set, named_parts, needs_train
from fmnist.data.image_folder.tree import Folder
from fmnist.errors import UserError, first_few
from fmnist.output import printable

N_PARTS = 3  # train, test and val


def find_division(root: Folder) -> Division:
    """Find parts and classes.

    Raises:
        UserError: There are none, or more than one plausible reading of what there is.
    """
    base = _go_down(root)
    division = divided_into_parts(base)
    if division is None:
        _refuse_data_sets(base)
        division = divided_inside(base) or _undivided(base)
    _refuse_parts_inside_classes(division)
    classes = [each.folder for each in division.parts[TRAIN]]
    if division.parts[TRAIN][0].name != classes[0].name:
        classes = list(base.filled)  # they hold the parts
    _refuse_copy(classes)
    _refuse_shares(classes)
    if base is not root:
        n_down = len(base.path.relative_to(root.path).parts)
        down = "one folder down"
        if n_down > 1:
            down = f"{n_down} folders down"
        where = printable(base.path.relative_to(root.path.parent).as_posix())
        division.notes.append(f"Classes are read {down}, in {where}/, which holds all pictures")
    _note_parts(division)
    _note_inner_folders(division)
    return division


def _go_down(root: Folder) -> Folder:
    """Go down through folders that hold one folder alone, to the first that could be a data set."""
    base = root
    while len(base.filled) == 1 and base.filled[0].filled:
        child = base.filled[0]
        name = part_name(child.name)
        if name is not None and not is_data_set(child):
            if name.part == TRAIN:
                return base
            raise needs_train(base, child)
        base = child
    return base


def _undivided(base: Folder) -> Division:
    """The reading as `CLASS/...`. Raises UserError if something else is as plausible."""
    classes = class_folders(base)
    if len(classes) == 1 and part_name(classes[0].name) is not None:
        raise no_classes(classes[0].folder, base)
    if len(classes) < 2:
        raise no_classes(base)
    _refuse_unlabelled_parts(base)
    _refuse_copy(base.filled)
    _refuse_wrapper(base)
    _refuse_grid(base)
    division = Division({TRAIN: classes}, {})
    for each in classes:
        name = part_name(each.name)
        if name is not None and name.is_word_alone:
            division.notes.append(f"The folder {each.name}/ is taken for a class, not for a part of the data set")
    return division


def _refuse_data_sets(base: Folder) -> None:
    data_sets = [folder for folder in base.filled if is_data_set(folder)]
    if data_sets:
        names = first_few([f"{folder.name}/" for folder in data_sets])
        raise UserError(
            f"{base.path} must be one data set, but {names} in it {is_or_are(data_sets)} divided into parts to train "
            f"and to test on; pass one, such as {dataset_option(data_sets[0])}"
        )


def _refuse_unlabelled_parts(base: Folder) -> None:
    """Raise UserError if pictures lie in `train/` and `test/` themselves, or in a `test/` beside class folders."""
    named = named_parts(base.filled)
    for train, train_name in named.items():
        for other, name in named.items():
            is_same_set = name.rest == train_name.rest
            if len(named) == len(base.filled):  # no other folder that might be a class
                is_same_set = name.fits(train_name)
            if train_name.part == TRAIN != name.part and is_same_set:
                if train_name.rest:
                    _refuse_classes_in_names(base, train, other)
                example = f"{train.name}/CLASS/ and {other.name}/CLASS/"
                raise no_classes(train, base, f", as in {example}, or rename these two if they are classes")
    certain = [folder.name for folder, name in named.items() if name.is_certain]
    others = [folder.name for folder in base.filled if folder.name not in certain]
    if certain:
        beside = ""
        if others:
            beside = f" beside {first_few(others)}"
        raise UserError(
            f"class folders must be named by what they show, but {first_few(certain)}{beside} in {base.path} "
            f"{is_or_are(certain)} named like a part of a data set; move unlabelled pictures elsewhere, divide "
            "labelled ones into train/CLASS/ and test/CLASS/, or give a class another name"
        )


def _refuse_classes_in_names(base: Folder, train: Folder, other: Folder) -> None:
    """Raise UserError if there are several folders to train on, `train_cats` and `train_dogs`."""
    named = named_parts(base.filled)
    if sum(name.part == TRAIN for name in named.values()) > 1:
        name = " ".join(named[train].rest)
        raise UserError(
            f"{base.path} must hold train/ and test/ with the classes' folders in them, but got {train.name}, "
            f"{other.name} and others, named like both; move {train.name} to train/{name}, {other.name} to "
            f"{named[other].part}/{name}, and so on"
        )


def _refuse_copy(folders: Sequence[Folder]) -> None:
    """Raise UserError if a folder holds its neighbours once more, as careless archives do."""
    names = {loose(folder.name) for folder in folders}
    for folder in folders:
        if not folder.filled:
            continue
        others, inside = names - {loose(folder.name)}, folder.content()
        is_part = part_name(folder.name) is not None and inside <= others
        if is_part or len(others & inside) >= min(2, len(others)):
            raise UserError(
                f"class folders must lie side by side, but {folder.path} holds folders of the same names as those "
                f"beside it; move it away, or pass {dataset_option(folder)}"
            )


def _refuse_shares(folders: Sequence[Folder]) -> None:
    """Raise UserError if the folders are called `fold1` and `fold2`, or `images` and `masks`, and so no classes."""
    if not are_shares([folder.name for folder in folders]):
        return
    remedy = "sort their pictures into folders named by what they show"
    with_classes = [folder for folder in folders if len(folder.content()) > 1 and not named_parts(folder.filled)]
    if with_classes:
        remedy = f"bring the class folders in them together in one folder, or pass {dataset_option(with_classes[0])}"
    raise UserError(
        f"class folders must be named by what they show, but {first_few([folder.name for folder in folders])} in "
        f"{folders[0].path.parent} are named like shares of a data set, or kinds of files; {remedy}; if they are the "
        "classes, give them other names"
    )


def _refuse_wrapper(base: Folder) -> None:
    """Raise UserError if the class folders are in a folder such as `images/`, beside which are other pictures."""
    for folder in base.filled:
        if is_wrapper_name(folder.name) and len(folder.content()) > 1:
            raise UserError(
                f"class folders must lie side by side, but in {base.path} some are in {folder.name}/ and beside it are "
                f"other pictures; pass {dataset_option(folder)}, or rename {folder.name}/ if it is a class"
            )


def _refuse_grid(base: Folder) -> None:
    """Raise UserError if folders hold mostly folders of the same names: which of the two levels are the classes?"""
    outer = grid_of(base.filled)
    if not outer:
        return
    names = first_few([f"{folder.name}/" for folder in outer])
    inner = first_few([folder.name for folder in outer[0].unwrapped().filled])
    remedy = f"rename {names} to train, test or val"
    if len(outer) > N_PARTS:
        remedy = "bring their pictures together in train/CLASS/ and test/CLASS/"
    raise UserError(
        f"it must be clear what the classes are, but in {base.path} both {names} and what they hold ({inner}) may be; "
        f"if {inner} are the classes, {remedy}, or pass {dataset_option(outer[0])}; if the outer folders are the "
        f"classes, move them into {shlex.quote(str(base.path / TRAIN))}"
    )


def _refuse_parts_inside_classes(division: Division) -> None:
    """Raise UserError if pictures to test on could lie in a class, or be one, to be trained on."""
    for classes in division.parts.values():
        for each in classes:
            folders = list(each.folder.folders_below())
            if each.folder.name == each.name:  # else it is a part, `CLASS/train`
                folders.append(each.folder)
            for folder in folders:
                name = part_name(folder.name)
                if name is not None and name.is_certain:
                    raise UserError(
                        f"class folders and those inside must not be parts of a data set, but {folder.path} is named "
                        "like one; divide the pictures into train/CLASS/ and test/CLASS/, or give it another name"
                    )


def _note_parts(division: Division) -> None:
    """Tell which folder was taken for which part, unless the names are the plain ones, and what is left alone."""
    named = {part: name for part, name in division.names.items() if part != VALIDATION}
    if any(name != f"{part}/" for part, name in named.items()):
        text = f"Training pictures are those in {named[TRAIN]}"
        if TEST in named:
            text += f", test pictures those in {named[TEST]}"
        division.notes.append(text)
    for folder in division.unlabelled:
        lone = folder
        while not lone.pictures and lone.filled:
            lone = lone.filled[0]
        where = printable(lone.path.relative_to(folder.path.parent).as_posix())
        division.notes.append(
            f"The pictures in {where}/ are unlabelled ({folder.n_pictures:,}, in no folder of a class), so that no "
            "accuracy can be measured on them: they are left alone, and python -m fmnist.predict classifies them "
            "afterwards"
        )
    if VALIDATION in division.names:
        name = division.names[VALIDATION]
        text = f"The pictures in {name} join the training pictures, of which the run draws its own validation sets"
        if TEST not in division.parts:
            text += f" (to test on {name} instead, rename it to test)"
        division.notes.append(text)


def _note_inner_folders(division: Division) -> None:
    """Tell that folders inside class folders make no classes of their own."""
    inner = []
    for each in division.parts[TRAIN]:
        inner += [f"{each.name}/{printable(folder.name)}/" for folder in each.folder.filled]
    if not inner:
        return
    note = f"Folders inside a class folder are of that class: {first_few(inner)}"
    outer = grid_of([each.folder for each in division.parts[TRAIN]])
    if outer:
        first = outer[0].unwrapped()
        names = [printable(folder.name) for folder in first.filled]
        where = printable((first.filled[0].path).relative_to(outer[0].path.parent).as_posix())
        note += (
            f" (if {first_few(names)} are the classes instead, bring their folders together: {where}/ and its like "
            f"into train/{names[0]}/)"
        )
    division.notes.append(note)
