"""Images that occur twice are counted by where they do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from fmnist.data.checksums import digest_of
from fmnist.data.duplicates import Duplicates, count_duplicates
from fmnist.data.find import find_data
from fmnist.data.images import LabelledImages
from fmnist.data.split import Split, load_train
from tests.support.data_sets import found
from tests.support.made_images import NAMES, write_divided


def test_images_that_occur_twice_are_counted_by_where_they_do() -> None:
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    labels = np.zeros(40, np.uint8)
    images[1] = images[0]  # within train
    labels[1] = 1  # and with another label
    images[21] = images[2]  # selection, in train
    images[31] = images[22]  # confirmation, in selection
    parts = [LabelledImages(images[a:b], labels[a:b]) for a, b in ((0, 20), (20, 30), (30, 40))]
    split = Split(*parts, checksum="", seed=0)
    test = [digest_of(image) for image in (images[5], images[5], np.full((4, 4, 1), 99, np.uint8))]
    assert count_duplicates(split, test) == Duplicates(3, 1, 1, 1, 2)


def test_digits_do_not_occur_twice(digits_split: Split) -> None:
    counted = count_duplicates(digits_split, find_data("digits").test_digests)
    assert counted == Duplicates(0, 0, 0, 0, 0)


def test_test_pictures_that_are_training_pictures_are_found(tmp_path: Path) -> None:
    divided = write_divided(tmp_path / "painted")
    for path in sorted((divided / "train" / NAMES[0]).iterdir())[:2]:
        shutil.copy(path, divided / "test" / NAMES[1] / f"copy of {path.name}")
    twice = sorted((divided / "train" / NAMES[2]).iterdir())[0]
    shutil.copy(twice, twice.with_name("twice.png"))
    source = found(divided)
    counted = count_duplicates(load_train(source, 0), source.test_digests)
    assert (counted.test_in_training, counted.within_training) == (2, 1)
    in_training, in_test = source.notes
    assert in_training == f"Training pictures that occur twice: train/other/twice.png is train/other/{twice.name}"
    assert (
        in_test.startswith("Test pictures that are training pictures too: test/class 10/copy of ")
        and " is train/class 2/" in in_test
    )
