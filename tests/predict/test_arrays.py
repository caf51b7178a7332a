"""Images in arrays, files of them and memory give the model the very pixels that they hold. No Keras."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fmnist.errors import UserError
from fmnist.model.metadata import ModelMetadata
from fmnist.predict.items import Item, open_inputs, read_inputs
from tests.support.made_images import idx, write_idx

N, HEIGHT, WIDTH = 5, 8, 6
GREY = ModelMetadata(("ant", "bee", "cat"), (HEIGHT, WIDTH, 1), background=0.0, contrast=255.0)
COLOUR = ModelMetadata(("ant", "bee", "cat"), (HEIGHT, WIDTH, 3), background=0.0)
LIGHT = np.random.default_rng(0).integers(200, 256, (N, HEIGHT, WIDTH), np.uint8)  # which a photograph is inverted for
RGB = np.random.default_rng(1).integers(0, 256, (N, HEIGHT, WIDTH, 3), np.uint8)


def items_of(images: Any, metadata: ModelMetadata = GREY, say: Any = pytest.fail, **how: Any) -> list[Item]:
    return list(open_inputs(read_inputs(images), metadata, say, **how))


def pixels_of(images: Any, metadata: ModelMetadata = GREY, say: Any = pytest.fail) -> np.ndarray:
    """What the model is given: uint8 (n, height, width, channels)."""
    return np.stack([item.prepare(metadata, may_invert=True).image for item in items_of(images, metadata, say)])


@pytest.mark.parametrize(
    "images",
    [
        LIGHT,
        LIGHT[..., np.newaxis],
        LIGHT[:, np.newaxis],
        LIGHT.reshape(N, -1),
        LIGHT.astype(np.int64),
        list(LIGHT),
        [LIGHT[:2], LIGHT[2], LIGHT[3:, :, :, np.newaxis]],
    ],
    ids=["grey", "channels last", "channels first", "rows", "other numbers", "a list", "a list of one and several"],
)
def test_grey_arrays_of_any_shape_are_taken_pixel_by_pixel(images: Any) -> None:
    np.testing.assert_array_equal(pixels_of(images), LIGHT[..., np.newaxis])


@pytest.mark.parametrize("images", [RGB, np.moveaxis(RGB, 3, 1), list(RGB)], ids=["last", "first", "a list"])
def test_colour_arrays_of_any_shape_are_taken_pixel_by_pixel(images: Any) -> None:
    np.testing.assert_array_equal(pixels_of(images, COLOUR), RGB)


@pytest.mark.parametrize(
    "image", [LIGHT[0], LIGHT[0][..., np.newaxis], LIGHT[0][np.newaxis], LIGHT[0].ravel()], ids=str
)
def test_one_image_is_one(image: np.ndarray) -> None:
    (item,) = items_of(image)
    assert item.path == "images"
    np.testing.assert_array_equal(item.prepare(GREY, may_invert=True).image, LIGHT[0][..., np.newaxis])


def test_arrays_are_never_inverted_and_pictures_of_the_same_size_are() -> None:
    (of_array,), (of_picture,) = items_of(LIGHT[0]), items_of(Image.fromarray(LIGHT[0]))
    assert not of_array.prepare(GREY, may_invert=True).inverted
    assert of_picture.prepare(GREY, may_invert=True).inverted
    dark = Image.fromarray(255 - LIGHT[0])
    np.testing.assert_array_equal(pixels_of(dark), pixels_of(255 - LIGHT[0]))


def test_decimal_numbers_are_read_by_all_arrays_together_and_that_is_said() -> None:
    said: list[str] = []
    np.testing.assert_array_equal(pixels_of(LIGHT / 255, say=said.append), LIGHT[..., np.newaxis])
    (note,) = said
    assert note == "an array of images goes from 0 to 1, so it is multiplied by 255: 1 is white"
    dark = np.zeros((HEIGHT, WIDTH))
    dark[0, 0] = 1  # of 255, as the other image tells
    assert pixels_of([dark, LIGHT[0].astype(float)], say=said.append).max() > 1
    np.testing.assert_array_equal(pixels_of([dark, LIGHT[0].astype(float)], say=said.append)[0, 0, 0], [1])
    np.testing.assert_array_equal(pixels_of([LIGHT[0] / 255, LIGHT[1]], say=said.append), LIGHT[:2, ..., np.newaxis])


def test_picture_in_memory_is_read_as_its_file_and_stays_as_it_is(tmp_path: Path) -> None:
    for mode, suffix in (("L", "png"), ("RGB", "jpg"), ("RGBA", "png"), ("P", "gif"), ("I;16", "png")):
        picture = Image.fromarray(np.arange(60 * 50, dtype=np.uint16).reshape(60, 50) * 20)
        if mode != "I;16":
            picture = Image.fromarray(np.arange(60 * 50, dtype=np.uint8).reshape(60, 50)).convert(mode)
        path = tmp_path / f"{mode.replace(';', '')}.{suffix}"
        picture.save(path)
        with Image.open(path) as opened:
            size = opened.size
            np.testing.assert_array_equal(pixels_of(opened), pixels_of(path), err_msg=mode)
            assert opened.size == size


def test_picture_in_memory_is_turned_upright(tmp_path: Path) -> None:
    picture, exif = Image.fromarray(255 - LIGHT[0]).rotate(90, expand=True), Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        np.testing.assert_array_equal(pixels_of(opened)[0, ..., 0], 255 - LIGHT[0])


def test_files_of_arrays_give_what_they_hold(tmp_path: Path) -> None:
    np.savez(tmp_path / "alone.npz", x=LIGHT)
    np.savez(tmp_path / "other.npz", shoes=LIGHT, sizes=np.arange(N))
    np.savez_compressed(tmp_path / "packed.npz", LIGHT, np.zeros(N))
    np.save(tmp_path / "x.npy", LIGHT)
    (tmp_path / "shoes").write_bytes(idx(LIGHT))
    (tmp_path / "shoes.gz").write_bytes(gzip.compress(idx(LIGHT)))
    for name in ("alone.npz", "other.npz", "packed.npz", "x.npy", "shoes", "shoes.gz"):
        path = str(tmp_path / name)
        np.testing.assert_array_equal(pixels_of(path), LIGHT[..., np.newaxis], err_msg=name)
        assert [item.path for item in items_of(path)] == [f"{path}[{i}]" for i in range(N)]
    np.save(tmp_path / "one.npy", LIGHT[0])
    assert [item.path for item in items_of(tmp_path / "one.npy")] == [str(tmp_path / "one.npy")]
    colour = tmp_path / "colour-idx4-ubyte"
    colour.write_bytes(idx(RGB))
    np.testing.assert_array_equal(pixels_of(colour, COLOUR), RGB)


def test_of_several_parts_the_test_images_are_taken_and_that_is_said(tmp_path: Path) -> None:
    others = 255 - LIGHT[:3]
    np.savez(tmp_path / "named.npz", train_images=others, test_images=LIGHT, train_labels=[0] * 3, test_labels=[1] * N)
    np.savez(tmp_path / "plain.npz", others, [0] * 3, LIGHT, [0] * N)
    (tmp_path / "npy").mkdir()
    for name, values in (("x_train", others), ("x_test", LIGHT), ("y_test", np.zeros(N))):
        np.save(tmp_path / "npy" / f"{name}.npy", values)
    write_idx(tmp_path / "idx", (others, np.zeros(3)), (LIGHT, np.ones(N)))
    for name, note in (
        ("named.npz", "test_images is taken, and not train_images"),
        ("plain.npz", "arr_2 is taken, and not arr_0"),
        ("npy", "x_test is taken, and not x_train"),
        ("idx", "t10k-images-idx3-ubyte is taken, and not train-images-idx3-ubyte"),
    ):
        said: list[str] = []
        np.testing.assert_array_equal(pixels_of(tmp_path / name, say=said.append), LIGHT[..., np.newaxis])
        assert said == [f"{tmp_path / name}: {note}"]


def test_arrays_are_refused_before_any_picture_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=RGB)
    with pytest.raises(UserError, match=r"x in .*a\.npz must hold images of the model's size"):
        open_inputs(["missing.png", str(tmp_path / "a.npz")], GREY, pytest.fail)


@pytest.mark.parametrize("name", ["missing.npz", "missing.npy", "missing.csv", "missing-images-idx3-ubyte.gz"])
def test_missing_files_are_missing_pictures(name: str, tmp_path: Path) -> None:
    assert [item.path for item in items_of(tmp_path / name)] == [str(tmp_path / name)]


def test_folder_of_pictures_with_an_array_beside_them_is_one_of_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", LIGHT)
    Image.fromarray(LIGHT[0]).save(tmp_path / "a.png")
    said: list[str] = []
    assert [Path(item.path).name for item in items_of(tmp_path, say=said.append)] == ["a.png"]
    assert said == [f"{tmp_path}: skipped 1 that is no picture file: x.npy"]
