from __future__ import annotations

import numpy as np
import pytest

from fmnist.baselines.gradients import oriented_gradients


@pytest.mark.parametrize(
    ("image_shape", "n_blocks"),
    [((4, 4, 1), 1), ((8, 8, 1), 9), ((28, 28, 1), 36), ((64, 64, 3), 36), ((8, 12, 3), 15)],
    ids=str,
)
def test_blocks_of_four_cells_with_nine_orientations(image_shape: tuple[int, int, int], n_blocks: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *image_shape), dtype=np.uint8)
    features = oriented_gradients(images)
    assert (features.shape, features.dtype) == ((3, n_blocks * 4 * 9), np.float32)
    assert np.allclose(np.square(features.reshape(3, n_blocks, -1)).sum(axis=2), 1, atol=1e-3)


def test_edges_count_for_the_direction_across_them() -> None:
    standing = np.zeros((1, 28, 28, 1), np.uint8)
    standing[:, :, 14:] = 200
    lying = standing.transpose(0, 2, 1, 3)
    by_orientation = [oriented_gradients(image).reshape(-1, 9).sum(axis=0) for image in (standing, lying)]
    assert [int(sums.argmax()) for sums in by_orientation] == [0, 4]  # 0 to 20 and 80 to 100 degrees
    assert [np.count_nonzero(sums) for sums in by_orientation] == [1, 1]


def test_even_images_have_no_gradients_and_brightness_does_not_matter() -> None:
    assert not oriented_gradients(np.full((1, 28, 28, 1), 77, np.uint8)).any()
    image = np.random.default_rng(0).integers(0, 100, (1, 28, 28, 1), dtype=np.uint8)
    assert oriented_gradients(image) == pytest.approx(oriented_gradients(image * 2 + 20), abs=1e-5)
