"""A picture file gives the model the pixels that it gave training, whatever its format, size and transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from fmnist.data.find import find_data
from fmnist.data.framing import measure_framing
from fmnist.data.source import DataSource
from fmnist.model.metadata import ModelMetadata
from fmnist.predict.files import find_picture_files
from fmnist.predict.preprocess import Prepared, prepare
from fmnist.reading import Reading

SUFFIXES = ("avif", "ppm", "jp2", "png", "jpg", "webp", "gif", "bmp", "tif", "heic")
FRAME = (24, 18)  # width and height

register_heif_opener()  # which writes as well


def write_set(folder: Path, mode: str, same_size: bool) -> Path:
    """Class folders with pictures of every format, light ones on dark grounds and the other way round."""
    generator = np.random.default_rng(0)
    for name in ("ant", "bee"):
        for part, n in (("train", 18), ("test", 9)):
            (folder / part / name).mkdir(parents=True)
            for i in range(n):
                suffix = SUFFIXES[i % len(SUFFIXES)]
                size = FRAME
                if not same_size:
                    size = tuple(generator.integers(10, 90, 2).tolist())
                picture = picture_of(generator, size, mode, suffix)
                picture.save(folder / part / name / f"{i:02}.{suffix}")
    return folder


def picture_of(generator: np.random.Generator, size: tuple[int, int], mode: str, suffix: str) -> Image.Image:
    """A box on a ground of another colour, in PNG partly transparent."""
    ground, ink = (tuple(generator.integers(0, 256, 3).tolist()) for _ in range(2))
    picture = Image.new("RGB", size, ground)
    width, height = size
    picture.paste(ink, (width // 4, height // 5, width // 2, height // 2))
    if suffix == "png":
        alpha = np.zeros((height, width), np.uint8)
        alpha[height // 6 :, width // 6 :] = generator.integers(1, 256)
        picture.putalpha(Image.fromarray(alpha))
    if mode == "L":
        picture = picture.convert("LA" if suffix == "png" else "L")
    return picture


def metadata_of(source: DataSource) -> ModelMetadata:
    """What a model that was trained on this data set says about itself."""
    framing = measure_framing(source.read_train().images)
    return ModelMetadata(
        source.class_names,
        source.image_shape,
        framing.background,
        framing.object_share,
        framing.contrast,
        source.picture_form,
    )


def prepared_files(folder: Path, metadata: ModelMetadata) -> list[Prepared]:
    """Every picture below a folder, as a prediction prepares it."""
    files = find_picture_files([str(folder)], pytest.fail)
    return [prepare(Path(file.path).read_bytes(), metadata) for file in files]


@pytest.mark.parametrize("colour", ["rgb", "grey"])
@pytest.mark.parametrize("same_size", [False, True])
def test_files_are_read_for_prediction_as_they_were_for_training(tmp_path: Path, colour: str, same_size: bool) -> None:
    """Fitted into 32 x 32 pixels; and with the size that all pictures have."""
    folder = write_set(tmp_path / "insects", "RGB", same_size)
    image_size = 32
    if same_size:
        image_size = None
    source = find_data(str(folder), reading=Reading(image_size=image_size, colour=colour))
    metadata = metadata_of(source)
    for part, images in (("train", source.read_train()), ("test", source.read_test())):
        prepared = prepared_files(folder / part, metadata)
        np.testing.assert_array_equal(np.stack([each.image for each in prepared]), images.images)
        assert not any(each.inverted for each in prepared)
        assert {each.fitted for each in prepared} == {not same_size}


def test_grey_pictures_stay_grey_without_being_told(tmp_path: Path) -> None:
    """Not AVIF, WebP and JPEG 2000 files, some of which keep grey pictures in colour."""
    folder = write_set(tmp_path / "insects", "L", same_size=True)
    for suffix in ("avif", "webp"):
        for path in folder.rglob(f"*.{suffix}"):
            path.unlink()
    source = find_data(str(folder))
    assert source.picture_form is not None and source.picture_form.channels == 1
    images = source.read_train().images
    again = [each.image for each in prepared_files(folder / "train", metadata_of(find_data(str(folder))))]
    np.testing.assert_array_equal(np.stack(again), images)


def test_new_pictures_take_the_colour_of_the_training_pictures(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "insects", "RGB", same_size=False)
    source = find_data(str(folder), reading=Reading(image_size=32, colour="grey"))
    path = tmp_path / "new.png"
    Image.new("RGB", (50, 40), "yellow").save(path)
    assert prepare(path.read_bytes(), metadata_of(source)).image.shape == (32, 32, 1)


def test_picture_of_another_size_than_all_training_pictures_is_taken_for_a_photograph(tmp_path: Path) -> None:
    """Training would have refused it, so there is no rule of training's to follow."""
    source = find_data(str(write_set(tmp_path / "insects", "RGB", same_size=True)))
    photograph = Image.new("RGB", (200, 100), "white")
    photograph.paste("navy", (20, 20, 60, 80))
    photograph.save(tmp_path / "photo.png")
    prepared = prepare((tmp_path / "photo.png").read_bytes(), metadata_of(source))
    assert prepared.fitted and prepared.image.shape == source.image_shape
    assert prepared.own_size == (100, 200)


def test_data_that_are_no_picture_files_have_no_form(tmp_path: Path) -> None:
    assert find_data("digits").picture_form is None
    images, labels = np.arange(36 * 64, dtype=np.uint8).reshape(36, 8, 8), np.arange(36) % 3
    np.savez(tmp_path / "shapes.npz", x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9])
    assert find_data(str(tmp_path / "shapes.npz"), reading=Reading(image_size=16)).picture_form is None
