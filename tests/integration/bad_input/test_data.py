"""Images that cannot be used: one line on standard error, exit code 2, no study begun."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.idx import IDX_NAMES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from search.system.shipped import SHIPPED_SPACES
from tests.support.made_images import idx
from tests.support.messages import assert_says


@pytest.fixture
def refused_shoes(refused: Callable[..., str], shoes: Path, studies: Path) -> Callable[[], str]:
    def run() -> str:
        message = refused("--dataset", shoes, "--space", SHIPPED_SPACES / "digits.toml")
        assert not studies.exists()
        return message

    return run


def test_unknown_data_set(refused: Callable[..., str], studies: Path) -> None:
    message = refused("--dataset", "fashion-mnits")
    assert_says(
        message, "must be fashion-mnist, digits, mnist", "or a folder", "got 'fashion-mnits'", "spelling of --dataset"
    )
    assert not studies.exists()


def test_empty_folder_as_data_set(refused: Callable[..., str], tmp_path: Path, studies: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_says(
        refused("--dataset", tmp_path / "empty"),
        "empty must hold a folder of pictures for each class",
        "no folder",
        "sort",
    )
    assert not studies.exists()


@pytest.mark.parametrize("name", IDX_NAMES)
def test_cut_file(refused_shoes: Callable[[], str], shoes: Path, name: str) -> None:
    path = shoes / f"{name}.gz"
    path.write_bytes(path.read_bytes()[:-12])
    assert_says(refused_shoes(), str(path), "whole gzip file", "cut or damaged", "fetch it again")


def test_file_that_ends_before_its_header_says(refused_shoes: Callable[[], str], shoes: Path) -> None:
    path = shoes / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-64]))
    assert_says(refused_shoes(), str(path), "is cut", "40 x 8 x 8 = 2,560 bytes", "got 2,496", "fetch it again")


def test_image_and_label_files_that_are_swapped(refused_shoes: Callable[[], str], shoes: Path) -> None:
    images, labels = shoes / f"{TRAIN_IMAGES}.gz", shoes / f"{TRAIN_LABELS}.gz"
    swapped = images.read_bytes(), labels.read_bytes()
    labels.write_bytes(swapped[0])
    images.write_bytes(swapped[1])
    assert_says(refused_shoes(), "holds images where labels are expected", "swapped?")


def test_text_with_the_name_of_a_gzip_file(refused_shoes: Callable[[], str], shoes: Path) -> None:
    (shoes / f"{TEST_LABELS}.gz").write_text("<html>404</html>")
    assert_says(refused_shoes(), TEST_LABELS, "whole gzip file", "fetch it again")


def test_images_without_any_difference(refused_shoes: Callable[[], str], shoes: Path) -> None:
    (shoes / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(idx(np.full((40, 8, 8), 7))))
    assert_says(refused_shoes(), "images must differ somewhere", "every pixel is 7", "check the image files")


def test_images_too_small_for_the_space(refused: Callable[..., str], shoes: Path, studies: Path) -> None:
    options = ("--dataset", shoes, "--space", SHIPPED_SPACES / "fashion-mnist.toml")
    assert_says(refused(*options), "fashion-mnist.toml", "8 x 8 pixels carry at most 3 blocks", "another --space")
    assert not studies.exists()


def test_data_dir_without_files(refused: Callable[..., str], tmp_path: Path, studies: Path) -> None:
    assert_says(
        refused("--data-dir", tmp_path), "four files", "missing train-images", str(tmp_path), "leave --data-dir out"
    )
    assert_says(refused("--data-dir", tmp_path / "none"), "four files", "none, which is not a folder")
    assert not studies.exists()


def test_data_dir_beside_another_data_set(refused: Callable[..., str], tmp_path: Path) -> None:
    assert_says(
        refused("--dataset", "digits", "--data-dir", tmp_path),
        "--data-dir is for",
        "got 'digits'",
        "leave --data-dir out",
    )
