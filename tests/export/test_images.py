from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.export.images import read_images

PIXELS = np.full((5, 4, 4), 200, np.uint8)


def arrays(**named: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **named)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "--images must be an .npz file of arrays, but .*images.npz: .*No such file"),
        (lambda path: path.write_text("text"), "--images must be an .npz file of arrays"),
        (arrays(pixels=PIXELS), r".*images.npz must hold images as x, but it has no x; write it with numpy.savez"),
        (arrays(x=PIXELS[0]), r"x of .* must be an array of images, .* but got an array of uint8 \(4, 4\)"),
        (arrays(x=PIXELS[:0]), r"x of .* must be an array of images, .* but got an array of uint8 \(0, 4, 4\)"),
        (arrays(x=PIXELS / 255), "must be raw pixels from 0 to 255, as the model takes them, but got 0.78"),
        (arrays(x=PIXELS - 250.0), "must be raw pixels from 0 to 255, .* but got -50 to -50"),
        (arrays(x=PIXELS * np.nan), "must be raw pixels from 0 to 255, .* but got nan to nan"),
        (
            arrays(x=PIXELS, y=np.zeros(4, int)),
            r"y of .* must be 5 whole numbers, one for each image, but got an array of int64 \(4,\)",
        ),
        (arrays(x=PIXELS, y=np.zeros((5, 3))), "y of .* must be 5 whole numbers"),
        (arrays(x=np.array([object()])), "--images must be an .npz file of arrays"),
    ],
)
def test_images_that_cannot_be_used_are_named(tmp_path: Path, write, message) -> None:
    write(tmp_path / "images.npz")
    with pytest.raises(UserError, match=message):
        read_images(tmp_path / "images.npz")


def test_images_without_channels_are_grey(tmp_path: Path) -> None:
    np.savez(tmp_path / "grey.npz", x=PIXELS)
    x, y = read_images(tmp_path / "grey.npz")
    assert x.shape == (5, 4, 4, 1) and y is None
