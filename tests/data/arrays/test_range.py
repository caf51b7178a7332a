"""Images that are far darker than pixels from 0 to 255 are told, and training and test images have one range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.split import load_test
from tests.support.data_sets import found
from tests.support.made_images import digits_of_each
from tests.support.remedies import needs_remedy

X, Y = digits_of_each([15] * 3, side=8)
X_TEST, Y_TEST = digits_of_each([5] * 3, side=8, first=15)
DARK = "The brightest pixel of "


def scaled(images: np.ndarray, highest: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.round(images / images.max() * highest).astype(dtype)


def save(path: Path, train: np.ndarray, test: np.ndarray | None = None) -> Path:
    """As an archive, or as a table in text."""
    if path.suffix == ".csv":
        np.savetxt(path, np.column_stack([Y, train.reshape(45, -1)]), "%g", ",")
        return path
    arrays = {} if test is None else {"x_test": test, "y_test": Y_TEST[: len(test)]}
    np.savez(path, x_train=train, y_train=Y, **arrays)
    return path


@pytest.mark.parametrize("name", ["a.npz", "a.csv"])
@pytest.mark.parametrize(
    ("highest", "factor"),
    [(1, "255"), (15, "17"), (16, "255 / 16 and round"), (100, "255 / 100 and round"), (127, "255 / 127 and round")],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_dark_images_are_told_with_what_makes_them_bright(
    tmp_path: Path, name: str, highest: int, factor: str, dtype: Any
) -> None:
    dark = scaled(X, highest, dtype)
    if highest == 1 and (dtype is np.float32):
        return  # decimal numbers from 0 to 1
    (note,) = (note for note in found(save(tmp_path / name, dark)).notes if note.startswith(DARK))
    assert f" is {highest} of 255: " in note and note.endswith(f"; if {highest} is white, multiply by {factor}")
    bright = np.round(dark * (255 / highest)).astype(np.uint8)
    assert not any(note.startswith(DARK) for note in found(save(tmp_path / name, bright)).notes)


def test_decimal_images_that_are_dark_are_told(tmp_path: Path) -> None:
    (note,) = (note for note in found(save(tmp_path / "a.npz", X / 2550)).notes if note.startswith(DARK))
    assert " is 26 of 255: " in note and note.endswith("multiply by 255 / 26")


@pytest.mark.parametrize("images", [X, scaled(X, 128), X / 255, X > 100])
def test_images_that_are_bright_enough_need_no_note(tmp_path: Path, images: np.ndarray) -> None:
    assert not any(note.startswith(DARK) for note in found(save(tmp_path / "a.npz", images)).notes)


@pytest.mark.parametrize(
    ("train", "test", "followed"),
    [
        (X, scaled(X_TEST, 15), {"test": scaled(X_TEST, 15) * 17}),
        (X, scaled(X_TEST, 16), {"test": np.round(scaled(X_TEST, 16) * (255 / 16))}),
        (X, scaled(X_TEST, 1, bool).astype(np.float32), {"test": scaled(X_TEST, 1) * 255}),
        (X, X_TEST // 4, {"test": X_TEST}),
        (X / 255, X_TEST / 255 / 10, {"test": X_TEST / 255 / 10 * (255 / 26)}),
        (scaled(X, 15), X_TEST, {"train": scaled(X, 15) * 17}),
        (X, X_TEST * 0, {"test": X_TEST}),
    ],
    ids=["15", "16", "1", "a quarter", "decimal", "training", "black"],
)
def test_training_and_test_images_have_one_range(
    tmp_path: Path, train: np.ndarray, test: np.ndarray, followed: dict[str, np.ndarray]
) -> None:
    path = save(tmp_path / "a.npz", train, test)
    with needs_remedy("training and test images must have one range of pixels, but the brightest in {} is {}, and {}"):
        found(path)
    both = {"train": train, "test": test, **followed}
    assert len(load_test(found(save(path, both["train"], both["test"])))) == len(Y_TEST)


@pytest.mark.parametrize(
    ("train", "test"),
    [(X, X_TEST // 3), (X, scaled(X_TEST, 15)[:9]), (scaled(X, 127), scaled(X_TEST, 15)), (scaled(X, 15), X_TEST // 3)],
    ids=["a third", "few images", "all dark", "none above half"],
)
def test_images_that_are_somewhat_darker_are_read(tmp_path: Path, train: np.ndarray, test: np.ndarray) -> None:
    assert len(load_test(found(save(tmp_path / "a.npz", train, test)))) == len(test)
