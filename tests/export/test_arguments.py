"""What `export_model` takes, and what it says of anything else before it exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.export.export import export_model
from fmnist.export.formats import read_formats
from fmnist.export.images import check_images

IMAGES = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), (3, 1, 1))


@pytest.mark.parametrize("names", ["onnx,keras", ["onnx", "keras"], ("keras", "onnx"), {"keras", "onnx"}])
def test_formats_may_come_in_any_collection(names: Any) -> None:
    assert read_formats(names, "names") == ("keras", "onnx")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"names": "coreml"}, "names must be all or some of keras, .*, but got 'coreml'"),
        ({"names": 5}, r"names must be all or some of keras, .*, but got 5 \(int\)"),
        ({"names": [None]}, r"names must be all or some of keras, .*, but got \[None\] \(list\)"),
        ({"model": 5}, r"model must be a path, but got 5 \(int\)"),
        ({"folder": None}, "folder must be a path, but got None"),
        ({"n_threads": 0}, "n_threads must be 1 or more, but got 0"),
        ({"n_threads": "all"}, r"n_threads must be a whole number, but got 'all' \(str\)"),
        ({"images": IMAGES[0]}, r"images must be an array of images, .*, but got an array of uint8 \(16, 16\)"),
        ({"images": IMAGES[:0]}, r"images must be an array of images, .*, but got an array of uint8 \(0, 16, 16\)"),
        ({"images": "images.npy"}, r"images must be an array of images, .*, but got 'images.npy' \(str\)"),
        ({"images": [IMAGES, IMAGES[0]]}, r"images must be an array of images, .*, but got .* \(list\)"),
        ({"images": IMAGES / 255}, "images must be raw pixels from 0 to 255, .*, but got 0 to 1; multiply .* by 255"),
        ({"images": IMAGES.astype(bool)}, r"images must be an array of images, .*, but got an array of bool"),
        ({"images": IMAGES, "labels": [1, 2]}, r"labels must be 3 whole numbers, .*, but got an array of int64 \(2,\)"),
        (
            {"images": IMAGES, "labels": [1.0, 2.0, 3.0]},
            "labels must be 3 whole numbers, .* got an array of float",
        ),
        ({"labels": [1, 2]}, "labels must be those of images, but got labels without images; pass both"),
    ],
)
def test_arguments_of_another_kind_are_refused_by_the_call(
    arguments: dict[str, Any], said: str, tmp_path: Path
) -> None:
    usual: dict[str, Any] = {"model": tmp_path / "m.keras", "names": "keras", "folder": tmp_path / "out"}
    with pytest.raises(UserError, match=f"^{said}"):
        export_model(**usual | arguments)
    assert list(tmp_path.iterdir()) == []


def test_refused_images_are_accepted_as_the_refusal_says() -> None:
    for images in (IMAGES[0][np.newaxis], np.stack([IMAGES[0]]), IMAGES[:1] / 255 * 255, [IMAGES[0]]):
        x, y = check_images(images, None, "images")
        assert x.shape == (1, 16, 16, 1) and y is None
    assert check_images(IMAGES, (0, 1, 2), "images")[1].tolist() == [0, 1, 2]
