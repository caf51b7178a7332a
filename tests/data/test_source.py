"""Images that change while a study runs are noticed, whatever files they are in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.split import load_test, load_train
from tests.support.data_sets import found
from tests.support.made_images import digits_of_each
from tests.support.remedies import needs_remedy

TRAIN, TEST = digits_of_each([12] * 3), digits_of_each([3] * 3, first=12)


def as_npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def as_npy(folder: Path, **arrays: np.ndarray) -> Path:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.mark.parametrize("write", [as_npz, as_npy])
@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("changed", ["images", "labels"])
def test_images_and_labels_that_changed_are_refused_until_they_are_restored(
    tmp_path: Path, write: Callable[..., Path], part: str, changed: str
) -> None:
    good = {"x_train": TRAIN[0], "y_train": TRAIN[1], "x_test": TEST[0], "y_test": TEST[1]}
    source = found(write(tmp_path, **good))
    load_train(source, 0)
    name = f"{'x' if changed == 'images' else 'y'}_{part}"
    write(tmp_path, **{**good, name: good[name][::-1]})
    with needs_remedy("images and labels must stay as they were when the run began, but those in {} have changed"):
        source.read_train() if part == "train" else load_test(source)
    write(tmp_path, **good)
    source.read_train()
    assert len(load_test(source)) == 9
