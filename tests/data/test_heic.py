"""Pictures of telephones, in HEIC, are read like any others where the extra is installed, and named where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist.data.decode import ORIENTATION, Form, HeicUnreadable, UnreadablePicture, decode, picture_suffixes
from fmnist.data.split import load_test, load_train
from tests.support.data_sets import found
from tests.support.made_images import digits_of_each, encoded, in_colour, write_pictures
from tests.support.remedies import assert_message

pillow_heif = pytest.importorskip("pillow_heif")
WITHOUT = "import sys; sys.modules['pillow_heif'] = None  # as if it were not installed\n"


def as_heic(folder: Path, suffix: str = "heic") -> Path:
    """The pictures of a folder, losslessly, by the module's own writer."""
    for path in list(folder.rglob("*.png")):
        with Image.open(path) as picture:
            pillow_heif.from_pillow(picture).save(path.with_suffix(f".{suffix}"), quality=-1, chroma=444)
        path.unlink()
    return folder


def run_without(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT + script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()})


@pytest.mark.parametrize("suffix", ["heic", "HEIF", "hif"])
def test_pictures_in_heic_are_those_in_png(tmp_path: Path, suffix: str) -> None:
    images, labels = digits_of_each([15] * 3)
    plain = found(write_pictures(tmp_path / "png", images, labels))
    heic = found(as_heic(write_pictures(tmp_path / "heic", images, labels), suffix))
    assert heic.class_names == plain.class_names and heic.image_shape == plain.image_shape
    split, other = load_train(heic, 0), load_train(plain, 0)
    assert split.checksum == other.checksum
    np.testing.assert_array_equal(split.together().images, other.together().images)
    np.testing.assert_array_equal(load_test(heic).images, load_test(plain).images)


def test_pictures_in_colour_are_nearly_those_in_png(tmp_path: Path) -> None:
    images, labels = digits_of_each([15] * 3)
    plain = found(write_pictures(tmp_path / "png", in_colour(images), labels)).read_train().images
    heic = found(as_heic(write_pictures(tmp_path / "heic", in_colour(images), labels))).read_train().images
    assert heic.shape == plain.shape
    assert np.abs(heic.astype(int) - plain).mean() < 2  # its colours are stored as others than red, green and blue


@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_turned_upright_as_a_jpeg_is(orientation: int) -> None:
    picture = Image.fromarray(np.add.outer(np.arange(0, 160, 5), np.arange(0, 96, 4)).astype(np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    jpeg = decode(encoded(picture, "JPEG", exif=exif.tobytes(), quality=95), Form())
    heic = decode(encoded(picture, "HEIF", exif=exif.tobytes(), quality=95), Form())
    assert heic.own_size == jpeg.own_size and heic.pixels.shape == jpeg.pixels.shape
    assert np.abs(heic.pixels.astype(int) - jpeg.pixels).mean() < 4


def test_picture_is_told_by_its_content(tmp_path: Path) -> None:
    folder = as_heic(write_pictures(tmp_path / "set", *digits_of_each([15] * 3)))
    for path in folder.rglob("*.heic"):
        path.rename(path.with_suffix(".jpg"))
    assert len(found(folder).class_names) == 3


def test_damaged_picture_is_unreadable() -> None:
    content = encoded(Image.new("RGB", (30, 30), "red"), "HEIF")
    with pytest.raises(UnreadablePicture, match=r"damaged|no picture"):
        decode(content[: len(content) // 2], Form())


@pytest.mark.process
@pytest.mark.parametrize("suffix", [".heic", ".jpg"])
def test_without_the_extra_pictures_are_named_and_with_it_they_are_read(tmp_path: Path, suffix: str) -> None:
    folder = as_heic(write_pictures(tmp_path / "set", *digits_of_each([15] * 3)))
    for path in folder.rglob("*.heic"):
        path.rename(path.with_suffix(suffix))
    script = "from fmnist.data.find import find_data\nfind_data(sys.argv[1])"
    message = run_without(script, folder).stderr.splitlines()[-1]
    assert_message("HEIC pictures need pillow-heif, which is not installed, but {} holds {}; run pip install", message)
    assert f"{suffix}, class 2/00" in message and message.count("HEIC") == 1
    found(folder)  # here it is installed


@pytest.mark.process
def test_without_the_extra_pictures_can_be_left_out(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "set", *digits_of_each([16] * 3))
    first = next(folder.rglob("*.png"))
    with Image.open(first) as picture:
        pillow_heif.from_pillow(picture).save(first.with_suffix(".heic"))
    script = (
        "from fmnist.data.find import find_data; from fmnist.reading import Reading\n"
        "print(find_data(sys.argv[1], reading=Reading(skip_unreadable=True)).notes)"
    )
    said = run_without(script, folder).stdout
    assert f"Left out, as 1 picture is unreadable: {first.parent.name}/{first.stem}.heic (HEIC, which needs" in said


@pytest.mark.process
def test_without_the_extra_a_prediction_says_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    path.write_bytes(encoded(Image.new("RGB", (30, 30), "red"), "HEIF"))
    script = (
        "from fmnist.data.decode import Form, HeicUnreadable, decode, picture_suffixes\n"
        "assert '.heic' in picture_suffixes()\n"
        "try: decode(open(sys.argv[1], 'rb').read(), Form())\n"
        "except HeicUnreadable as error: print(error)"
    )
    assert run_without(script, path).stdout.strip() == str(HeicUnreadable())
    assert "pip install 'fmnist-search[heic]'" in str(HeicUnreadable())


def test_suffixes_are_known() -> None:
    assert {".heic", ".heif", ".hif"} <= picture_suffixes()
