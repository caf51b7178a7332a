"""Images are held out by class, by a seed, without overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fmnist.data import checks
from fmnist.data.find import find_data
from fmnist.data.split import Split, load_train, open_split, pixel_statistics, save_split, split_indices
from fmnist.errors import UserError
from tests.support.data_sets import labels_of, write_folder


def test_same_seed_gives_same_split_and_zero_is_a_seed_like_any_other() -> None:
    source = find_data("digits")
    first, second, other = load_train(source, 0), load_train(source, 0), load_train(source, 1)
    assert first.checksum == second.checksum != other.checksum
    np.testing.assert_array_equal(first.selection.images, second.selection.images)
    assert first.seed == 0 and other.seed == 1


def test_split_of_a_small_set_gives_a_sixth_each_and_loses_nothing(digits_split: Split) -> None:
    n = len(digits_split.together())
    assert len(digits_split.selection) == len(digits_split.confirmation) == n // 6
    assert len(digits_split.train) == n - 2 * (n // 6)


def test_split_of_a_large_set_gives_a_twelfth_each(tmp_path: Path) -> None:
    source = find_data(str(write_folder(tmp_path, n_train=12_000, side=4)))
    split = load_train(source, 5)
    assert (len(split.train), len(split.selection), len(split.confirmation)) == (10_000, 1_000, 1_000)


def test_split_indices_are_disjoint_sorted_and_stratified() -> None:
    labels = labels_of(12_000)
    parts = split_indices(labels, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(12_000))
    for part in parts:
        assert (np.diff(part) > 0).all()
        assert np.ptp(np.bincount(labels[part])) <= 1


def test_split_survives_the_rarest_class_allowed() -> None:
    labels = np.zeros(12_000, np.uint8)
    labels[: checks.MIN_IMAGES_PER_CLASS] = 1
    assert all(1 in labels[part] for part in split_indices(labels, 0))


def test_saved_split_opens_as_equal_memory_maps(digits_split: Split, tmp_path: Path) -> None:
    save_split(digits_split, tmp_path / "split")
    opened = open_split(tmp_path / "split")
    assert (opened.checksum, opened.seed) == (digits_split.checksum, digits_split.seed)
    for name in ("train", "selection", "confirmation"):
        ours, theirs = getattr(digits_split, name), getattr(opened, name)
        assert isinstance(theirs.images, np.memmap) and not theirs.images.flags.writeable
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_pixel_statistics_agree_with_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2_345, 5, 5, 1), dtype=np.uint8)
    assert pixel_statistics(images) == pytest.approx((images.mean(), images.std()))


def test_constant_images_have_no_statistics() -> None:
    with pytest.raises(UserError, match="every pixel is 7"):
        pixel_statistics(np.full((3, 4, 4, 1), 7, np.uint8))


def test_pixel_statistics_want_bytes() -> None:
    with pytest.raises(ValueError, match="images must be uint8 and not empty, but got float64"):
        pixel_statistics(np.zeros((1, 4, 4, 1)))
