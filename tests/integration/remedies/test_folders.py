"""What a refused folder of pictures says is done to it, and it is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fmnist.data.find import find_data
from fmnist.data.split import load_train
from fmnist.reading import Reading
from tests.support.made_images import NAMES, digits_of_each, write_divided, write_pictures
from tests.support.remedies import needs_remedy

FIRST = NAMES[0]


def read(path: Path, **reading: Any) -> None:
    load_train(find_data(str(path), reading=Reading(**reading)), seed=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """train/ and test/, of three classes."""
    return write_divided(tmp_path / "mine")


def put(path: Path, side: int = 16, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.arange(side * side, dtype=np.uint8).reshape(side, side)
    Image.fromarray(values).convert(mode).save(path)


def add_another_train(folder: Path) -> None:
    shutil.copytree(folder / "train" / FIRST, folder / "training" / FIRST)


def move_it_to_train(folder: Path) -> None:
    shutil.rmtree(folder / "train" / FIRST)
    shutil.move(folder / "training" / FIRST, folder / "train" / FIRST)
    (folder / "training").rmdir()


def add_other_folder(folder: Path) -> None:
    (folder / "notes").mkdir()


def move_it_away(folder: Path) -> None:
    (folder / "notes").rmdir()


def leave_only_test(folder: Path) -> None:
    for each in NAMES:
        shutil.move(folder / "train" / each, folder / each)
    (folder / "train").rmdir()


def move_classes_to_train(folder: Path) -> None:
    (folder / "train").mkdir()
    for each in NAMES:
        shutil.move(folder / each, folder / "train" / each)


def empty_a_class(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / "empty").mkdir()


def fill_it(folder: Path) -> None:
    for part, n in (("train", 12), ("test", 3)):
        for i in range(n):
            put(folder / part / "empty" / f"{i}.png")


def delete_it(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / "empty").rmdir()


def drop_a_test_class(folder: Path) -> None:
    shutil.rmtree(folder / "test" / FIRST)


def drop_it_in_training(folder: Path) -> None:
    shutil.rmtree(folder / "train" / FIRST)


def link_back(folder: Path) -> None:
    (folder / "train" / FIRST / "loop").symlink_to(folder / "train" / FIRST)


def delete_the_link(folder: Path) -> None:
    (folder / "train" / FIRST / "loop").unlink()


def name_it_strangely(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / FIRST).rename(folder / part / "a\nb")


def rename_it(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / "a\nb").rename(folder / part / FIRST)


def break_a_picture(folder: Path) -> None:
    (folder / "train" / FIRST / "broken.png").write_bytes(b"no picture")


def delete_the_picture(folder: Path) -> None:
    (folder / "train" / FIRST / "broken.png").unlink()


def fix_the_picture(folder: Path) -> None:
    put(folder / "train" / FIRST / "broken.png")


@pytest.mark.parametrize(
    ("says", "damage", "repair"),
    [
        ("{} must have one folder of each kind, but got {}; move them together", add_another_train, move_it_to_train),
        ("{} must hold no other folder beside {}, but got {}; move it away", add_other_folder, move_it_away),
        ("{} must hold train/ beside {}, but got {}; move the class folders", leave_only_test, move_classes_to_train),
        ("every class folder must hold pictures, but in {} there is none in {}; add some, or", empty_a_class, fill_it),
        (
            "every class folder must hold pictures, but in {} there is none in {}; add some, or",
            empty_a_class,
            delete_it,
        ),
        ("must hold the same classes, but {}; complete or delete", drop_a_test_class, drop_it_in_training),
        ("folders must not contain themselves, but {} is a link", link_back, delete_the_link),
        ("a class is named by its folder, so the name must be printable", name_it_strangely, rename_it),
        ("every picture must be readable, but in {} {} not: {}; fix or delete", break_a_picture, delete_the_picture),
        ("every picture must be readable, but in {} {} not: {}; fix or delete", break_a_picture, fix_the_picture),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_folder_is_read_once_it_is_put_right(
    folder: Path, says: str, damage: Callable[[Path], None], repair: Callable[[Path], None]
) -> None:
    damage(folder)
    with needs_remedy(says):
        read(folder)
    repair(folder)
    read(folder)


def test_unreadable_picture_is_skipped_if_asked_for(folder: Path) -> None:
    break_a_picture(folder)
    with needs_remedy("or pass --skip-unreadable"):
        read(folder)
    read(folder, skip_unreadable=True)


def test_test_pictures_that_are_all_unreadable_are_fixed(folder: Path) -> None:
    paths = sorted((folder / "test").rglob("*.png"))
    contents = [path.read_bytes() for path in paths]
    for path in paths:
        path.write_bytes(b"no picture")
    with needs_remedy("some test pictures must be readable, but in {} none is; fix them"):
        read(folder, skip_unreadable=True)
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    read(folder, skip_unreadable=True)


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_mixed_pictures_are_turned_into_one_kind(folder: Path, colour: str) -> None:
    put(folder / "train" / FIRST / "colour.png", mode="RGB")
    with needs_remedy("pictures must be all grey or all in colour, but in {}"):
        read(folder)
    read(folder, colour=colour)


def test_sizes_are_fitted_into_one(folder: Path) -> None:
    put(folder / "train" / FIRST / "large.png", side=15)
    with needs_remedy("pictures must have one size, but in {} {}; pass --image-size N"):
        read(folder)
    read(folder, image_size=32)


@pytest.mark.parametrize("side", [2, 80])
def test_image_size_takes_pictures_that_are_too_small_or_too_large(tmp_path: Path, side: int) -> None:
    images, labels = digits_of_each([15] * 3, side)
    path = write_pictures(tmp_path / "mine", images, labels)
    with needs_remedy({2: "images need sides of {} pixels or more", 80: "may have sides of {} pixels at most"}[side]):
        read(path)
    read(path, image_size=16)


def test_pictures_in_no_folder_are_sorted_into_folders(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    images, labels = digits_of_each([15] * 3)
    write_pictures(folder, images, labels, names=(".", ".", "."))
    with needs_remedy("{} must hold a folder of pictures for each class (or be one of four IDX files)"):
        read(folder)
    for i, label in enumerate(labels):
        (folder / NAMES[label]).mkdir(exist_ok=True)
        (folder / f"{i:04}.png").rename(folder / NAMES[label] / f"{i:04}.png")
    read(folder)


def test_single_class_gets_another(tmp_path: Path) -> None:
    images, labels = digits_of_each([15] * 2)
    folder = write_pictures(tmp_path / "mine", images[:15], labels[:15])
    with needs_remedy("a data set must have two classes or more, but {} has {}; add another"):
        read(folder)
    read(write_pictures(folder, images, labels))


def test_classes_beyond_the_most_are_left_out(tmp_path: Path) -> None:
    from fmnist.data.checks import MAX_CLASSES, check_class_sizes

    counts, names = np.full(MAX_CLASSES + 1, 99), [str(i) for i in range(MAX_CLASSES + 1)]
    with needs_remedy("a data set may have {} classes at most, but {} has {}; leave some out"):
        check_class_sizes(names, counts, tmp_path, 1)
    check_class_sizes(names[:-1], counts[:-1], tmp_path, 1)


def test_too_small_a_class_is_left_out_or_gets_more(tmp_path: Path) -> None:
    images, labels = digits_of_each([15, 15, 5])
    folder = write_pictures(tmp_path / "mine", images, labels)
    with needs_remedy("{}, but in {} {}; add images or leave the class out"):
        read(folder)
    shutil.rmtree(folder / NAMES[2])
    read(folder)
    read(write_pictures(folder, *digits_of_each([15] * 3)))


def test_picture_that_changes_during_a_run_is_restored(folder: Path) -> None:
    source = find_data(str(folder))
    path = folder / "test" / FIRST / sorted(path.name for path in (folder / "test" / FIRST).iterdir())[0]
    content = path.read_bytes()
    put(path)
    with needs_remedy("pictures must stay as they were when the run began, but in {} {} changed or gone: {}; restore"):
        source.read_test()
    path.write_bytes(content)
    source.read_test()


def test_options_of_pictures_are_left_out_for_arrays(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    images, labels = digits_of_each([15] * 3)
    np.savez(path, x_train=images, y_train=labels)
    with needs_remedy("--colour and --skip-unreadable are for class folders of pictures, but got {}; leave them out"):
        read(path, colour="grey")
    read(path)
