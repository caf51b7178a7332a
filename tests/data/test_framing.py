from __future__ import annotations

import numpy as np
import pytest

from fmnist.data.framing import border_level, find_objects, measure_framing
from fmnist.data.split import Split


def images_of(*boxes: tuple[int, int, int, int], ground: int = 0, ink: int = 200) -> np.ndarray:
    """uint8 (n, 20, 20, 1), each with one filled box: top, bottom, left, right."""
    images = np.full((len(boxes), 20, 20, 1), ground, np.uint8)
    for image, (top, bottom, left, right) in zip(images, boxes, strict=True):
        image[top:bottom, left:right] = ink
    return images


def test_background_is_the_mean_border_pixel_and_share_and_contrast_are_the_median_images() -> None:
    images = images_of((0, 20, 5, 15), (5, 15, 8, 12), (6, 16, 6, 12), ground=10)
    found = measure_framing(images)
    assert found.background == pytest.approx(10 + 190 * 20 / (3 * 76))
    assert (found.object_share, found.contrast) == (0.5, 190)


def test_digits_reach_from_edge_to_edge_in_full_contrast(digits_split: Split) -> None:
    found = measure_framing(digits_split.train.images)
    assert (found.object_share, found.contrast) == (1.0, 255.0)
    assert 35 < found.background < 50


def test_object_that_touches_the_border_does_not_change_its_level() -> None:
    images = images_of((0, 20, 2, 12), ground=30)
    assert border_level(images).tolist() == [[30]] and find_objects(images).noise.tolist() == [0]


@pytest.mark.parametrize(("ground", "ink"), [(0, 200), (255, 30), (120, 100)])
def test_object_is_found_on_any_plain_ground(ground: int, ink: int) -> None:
    found = find_objects(images_of((3, 9, 1, 19), (0, 20, 0, 4), ground=ground, ink=ink))
    assert found.is_found.all()
    assert np.stack([found.top, found.bottom, found.left, found.right]).T.tolist() == [[3, 9, 1, 19], [0, 20, 0, 4]]


def test_object_is_found_on_a_ground_that_is_lit_from_one_side() -> None:
    light = np.linspace(100, 160, 20)[:, np.newaxis, np.newaxis] + np.linspace(-20, 20, 20)[:, np.newaxis]
    found = find_objects(images_of((3, 9, 1, 12)) * 0.2 + light)
    assert (found.top[0], found.bottom[0], found.left[0], found.right[0]) == (3, 9, 1, 12)
    assert np.abs(found.backgrounds[0] - light).max() < 1


def test_where_nothing_stands_out_the_object_is_the_whole_frame() -> None:
    busy = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 1), np.uint8)
    found = find_objects(np.concatenate([images_of((0, 0, 0, 0)), busy]))
    assert not found.is_found.any()
    assert found.bottom.tolist() == found.right.tolist() == [20, 20]


def test_no_images_have_no_appearance() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure_framing(np.zeros((0, 8, 8, 1), np.uint8))
