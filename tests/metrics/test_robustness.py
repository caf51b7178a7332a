from __future__ import annotations

import numpy as np
import pytest

from fmnist.metrics.robustness import Change, changes

IMAGES = np.random.default_rng(0).integers(1, 256, (40, 12, 10, 3), dtype=np.uint8)  # never 0, which comes in


def changed(change: Change) -> np.ndarray:
    return change.apply(IMAGES, np.random.default_rng(1))


@pytest.mark.parametrize("change", changes(), ids=lambda change: change.name)
def test_every_change_keeps_shape_and_kind_and_leaves_its_input_alone(change: Change) -> None:
    before = IMAGES.copy()
    images = changed(change)
    assert (images.shape, images.dtype) == (IMAGES.shape, np.uint8)
    assert (images != IMAGES).any()
    np.testing.assert_array_equal(IMAGES, before)
    np.testing.assert_array_equal(changed(change), images)  # the same for every model


def of_kind(kind: str) -> list[Change]:
    return [change for change in changes() if change.kind == kind]


@pytest.mark.parametrize(("border", "mode"), [("black", "constant"), ("edge", "edge")])
@pytest.mark.parametrize(("i", "n_pixels"), list(enumerate((1, 2, 4))))
def test_shifted_image_is_the_image_moved_in_one_of_four_ways(i: int, n_pixels: int, border: str, mode: str) -> None:
    change = changes(border)[i]
    padded = np.pad(IMAGES, ((0, 0), (n_pixels, n_pixels), (n_pixels, n_pixels), (0, 0)), mode=mode)
    ways = set()
    for image, whole in zip(changed(change), padded, strict=True):
        starts = [(0, n_pixels), (2 * n_pixels, n_pixels), (n_pixels, 0), (n_pixels, 2 * n_pixels)]
        found = [at for at in starts if np.array_equal(image, whole[at[0] : at[0] + 12, at[1] : at[1] + 10])]
        assert len(found) == 1
        ways.update(found)
    assert len(ways) == 4


def test_noise_has_the_standard_deviation_it_says() -> None:
    grey = np.full((50, 20, 20, 1), 128, np.uint8)
    for change, sd in zip(of_kind("noise"), (10, 25, 50), strict=True):
        assert change.apply(grey, np.random.default_rng(0)).std() == pytest.approx(sd, rel=0.05)


def test_brightness_is_clipped_at_white() -> None:
    dim, _, bright = of_kind("brightness")
    np.testing.assert_array_equal(changed(dim), np.rint(IMAGES * 0.5).astype(np.uint8))
    np.testing.assert_array_equal(changed(bright), np.minimum(np.rint(IMAGES * 1.5), 255).astype(np.uint8))


def test_mirrors_are_their_own_inverse() -> None:
    for change in of_kind("mirror"):
        np.testing.assert_array_equal(change.apply(changed(change), np.random.default_rng(0)), IMAGES)
