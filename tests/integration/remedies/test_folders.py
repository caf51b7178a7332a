"""What a refused folder of pictures says is done to it, and it is read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fmnist.data.find import find_data
from fmnist.data.image_folder.layout import find_layout
from fmnist.data.split import load_train
from fmnist.errors import UserError
from fmnist.reading import Reading
from tests.support.made_images import NAMES, digits_of_each, touch, write_divided, write_pictures
from tests.support.remedies import Remedy, needs_remedy

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


PICTURES = "{1,2}.png"


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy(
            "{} must hold a folder of pictures for each class, two at least",
            [PICTURES],
            ["{cats,dogs}/1.png"],
        ),
        Remedy(
            "{} must hold a folder of pictures for each class, two at least",
            ["cats/1.png"],
            ["{cats,dogs}/1.png"],
        ),
        Remedy(
            "every class folder must hold pictures, but in {} there is none in {}",
            ["train/{cats,dogs}/1.png", "train/empty/1.txt"],
            ["train/{cats,dogs,empty}/1.png"],
        ),
    ],
    ids=lambda remedy: " ".join(remedy.refused + remedy.followed),
)
def test_folders_are_read_once_they_lie_as_the_message_says(tmp_path: Path, remedy: Remedy) -> None:
    with needs_remedy(remedy.says):
        find_layout(touch(tmp_path / "refused", *remedy.refused))
    find_layout(touch(tmp_path / "followed", *remedy.followed))


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("folders must not contain themselves, but {} is a link", link_back, delete_the_link),
        Remedy("a class is named by its folder, so the name must be printable", name_it_strangely, rename_it),
        Remedy("every picture must be readable, but in {} {} not: {}; fix", break_a_picture, delete_the_picture),
        Remedy("every picture must be readable, but in {} {} not: {}; fix", break_a_picture, fix_the_picture),
    ],
    ids=str,
)
def test_folder_is_read_once_it_is_put_right(folder: Path, remedy: Remedy) -> None:
    remedy.refused(folder)
    with needs_remedy(remedy.says):
        read(folder)
    remedy.followed(folder)
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
    with pytest.raises(UserError, match="pass --image-size"):
        read(path)
    read(path, image_size=16)


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
    with needs_remedy(
        "are for picture files, in folders, archives or Parquet, but {} holds pixels as numbers; leave them out"
    ):
        read(path, colour="grey")
    read(path)
