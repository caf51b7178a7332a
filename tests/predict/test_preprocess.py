"""Pictures of every kind look like training images, by which quadrant of theirs has the most light."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fmnist.data.decode import MAX_PIXELS, UnreadablePicture
from fmnist.model.metadata import ModelMetadata
from fmnist.predict.preprocess import prepare
from tests.support.drawings import (
    IN_COLOUR,
    ON_BLACK,
    ON_WHITE,
    QUADRANTS,
    SIDE,
    brightest_quadrant,
    drawing,
    written,
)
from tests.support.made_images import white_tiff_of_12_bits


@dataclass(frozen=True)
class Seen:
    """What a model would see of a picture file."""

    class_name: str
    inverted: bool
    fitted: bool
    original_size: tuple[int, int]  # width and height


def see(path: Path, metadata: ModelMetadata = ON_BLACK, may_invert: bool = True) -> Seen:
    prepared = prepare(path.read_bytes(), metadata, may_invert=may_invert)
    height, width = prepared.own_size
    return Seen(brightest_quadrant(prepared.image), prepared.inverted, prepared.fitted, (width, height))


def pixels_of(paths: Sequence[Path], metadata: ModelMetadata = ON_BLACK, may_invert: bool = True) -> np.ndarray:
    """What the model is given: uint8 (n, height, width)."""
    prepared = [prepare(path.read_bytes(), metadata, may_invert=may_invert) for path in paths]
    return np.stack([each.image for each in prepared])[..., 0]


def test_dark_thing_on_white_is_inverted_trimmed_and_named(tmp_path: Path) -> None:
    found = see(written(tmp_path / "a.png", drawing()))
    assert (found.class_name, found.inverted, found.fitted) == ("top left", True, True)
    assert found.original_size == (90, 60)


def test_light_thing_on_black_is_not_inverted(tmp_path: Path) -> None:
    found = see(written(tmp_path / "a.png", drawing(ground="black", ink="white")))
    assert (found.class_name, found.inverted) == ("top left", False)


def test_without_inversion_the_ground_is_what_is_light(tmp_path: Path) -> None:
    found = see(written(tmp_path / "a.png", drawing()), may_invert=False)
    assert found.class_name != "top left" and not found.inverted


def test_model_of_light_images_takes_light_grounds_as_they_are_and_inverts_dark_ones(tmp_path: Path) -> None:
    light = see(written(tmp_path / "a.png", drawing()), ON_WHITE)
    dark = see(written(tmp_path / "b.png", drawing(ground="black", ink="white")), ON_WHITE)
    assert (light.inverted, dark.inverted) == (False, True)
    assert light.class_name == dark.class_name != "top left"


@pytest.mark.parametrize(("ground", "ink", "inverted"), [(110, 20, True), (140, 250, False), (60, 200, False)])
def test_on_a_grey_ground_the_thing_decides_what_is_inverted(
    tmp_path: Path, ground: int, ink: int, inverted: bool
) -> None:
    found = see(written(tmp_path / "a.png", drawing(ground=ground, ink=ink)))
    assert (found.class_name, found.inverted) == ("top left", inverted)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_picture_is_turned_upright_as_its_camera_says(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = drawing("RGB")
    back = {3: 180, 6: 90, 8: 270}[orientation]
    stored = upright.rotate(back, expand=True)
    exif = stored.getexif()
    exif[0x0112] = orientation
    found = see(written(tmp_path / f"a.{suffix}", stored, exif=exif))
    assert (found.class_name, found.original_size) == ("top left", upright.size)
    plain = see(written(tmp_path / f"b.{suffix}", stored))
    assert plain.class_name != "top left"


def transparent(ink: str) -> Image.Image:
    return drawing("RGBA", ground=(0, 0, 0, 0), ink=ink)


@pytest.mark.parametrize(("ink", "inverted"), [("black", True), ("navy", True), ("white", False), ("#f8f8ff", False)])
def test_transparent_picture_is_laid_where_its_thing_can_be_seen(tmp_path: Path, ink: str, inverted: bool) -> None:
    for suffix in ("png", "webp"):
        found = see(written(tmp_path / f"a.{suffix}", transparent(ink), lossless=True))
        assert (found.class_name, found.inverted) == ("top left", inverted), suffix


def test_transparent_picture_that_may_not_be_inverted_lies_on_the_models_own_ground(tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", transparent("white"))
    assert see(path, may_invert=False).class_name == "top left"
    dark = written(tmp_path / "b.png", transparent("black"))
    assert see(dark, ON_WHITE, may_invert=False).class_name == see(dark, ON_WHITE).class_name


def palette() -> Image.Image:
    return drawing("RGB", ground="yellow", ink="purple").quantize(8)


def transparent_palette() -> Image.Image:
    picture = drawing("RGB", ground="white", ink="purple").quantize(8)
    picture.info["transparency"] = picture.getpixel((0, 0))
    return picture


def sixteen_bits() -> Image.Image:
    """Everything above 255 would be white, were it clipped."""
    values = np.where(np.asarray(drawing(ground="black", ink="white")) > 0, 50_000, 2_000)
    return Image.fromarray(values.astype(np.uint16))


PICTURES = {
    "colour.png": lambda: drawing("RGB", ground="#ddeeff", ink="darkred"),
    "bits.png": lambda: drawing("1", ground=1, ink=0),
    "grey-alpha.png": lambda: transparent("black").convert("LA"),
    "palette.png": palette,
    "palette-transparent.png": transparent_palette,
    "palette.gif": palette,
    "sixteen.png": sixteen_bits,
    "sixteen.tif": sixteen_bits,
    "cmyk.jpg": lambda: drawing("RGB", ink="navy").convert("CMYK"),
    "cmyk.tif": lambda: drawing("RGB", ink="navy").convert("CMYK"),
    "photo.jpg": lambda: drawing("RGB", ink="navy"),
    "photo.JPEG": lambda: drawing("L"),
    "photo.webp": lambda: drawing("RGB", ink="navy"),
    "photo.bmp": lambda: drawing("RGB", ink="navy"),
    "large.jpg": lambda: drawing("RGB", (4000, 3000), ink="navy"),
    "large.png": lambda: drawing("L", (4000, 3000)),
    "narrow.png": lambda: drawing("L", (600, 40)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_kind_of_picture_gives_the_same_answer(tmp_path: Path, name: str) -> None:
    picture = PICTURES[name]()
    found = see(written(tmp_path / name, picture))
    assert (found.class_name, found.original_size) == ("top left", picture.size)


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [drawing("RGB").rotate(angle) for angle in (0, 90, 180)]
    for suffix in ("gif", "webp", "png", "tif"):
        path = written(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
        assert see(path).class_name == "top left", suffix


def test_single_pixel_and_empty_sheet_have_an_answer(tmp_path: Path) -> None:
    for size in ((1, 1), (1, 500), (300, 300)):
        found = see(written(tmp_path / "a.png", Image.new("L", size, 255)))
        assert (found.inverted, found.original_size) == (True, size)


def test_colour_model_gets_colours_that_are_never_inverted(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / "a.png", drawing("RGB", ground="navy", ink="yellow")),
        written(tmp_path / "b.png", drawing("L", ground="black", ink="white")),
        written(tmp_path / "c.png", drawing("RGB", ground="white", ink="navy")),
        written(tmp_path / "d.png", sixteen_bits()),
    ]
    found = [see(path, IN_COLOUR) for path in paths]
    assert [each.class_name == "top left" for each in found] == [True, True, False, True]
    assert not any(each.inverted for each in found)


@pytest.fixture
def training_like() -> np.ndarray:
    """uint8 (20, 16, 16): of every value, on black, some touching the border."""
    generator = np.random.default_rng(0)
    images = np.zeros((20, SIDE, SIDE), np.uint8)
    for image in images:
        left, right = sorted(generator.choice(SIDE + 1, 2, replace=False))
        image[2:14, left:right] = generator.integers(0, 256, (12, right - left))
    return images


def test_image_of_the_models_size_on_black_is_taken_bit_for_bit(tmp_path: Path, training_like: np.ndarray) -> None:
    paths = [written(tmp_path / f"{i}.png", Image.fromarray(image)) for i, image in enumerate(training_like)]
    paths += [
        written(tmp_path / f"{i}.bmp", Image.fromarray(image).convert("RGB")) for i, image in enumerate(training_like)
    ]
    paths += [
        written(tmp_path / f"{i}.tif", Image.fromarray(image * np.uint16(257))) for i, image in enumerate(training_like)
    ]
    seen = pixels_of(paths)
    assert (seen == np.concatenate([training_like] * 3)).all()


def test_image_of_the_models_size_on_white_is_inverted_and_nothing_else(
    tmp_path: Path, training_like: np.ndarray
) -> None:
    paths = [written(tmp_path / f"{i}.png", Image.fromarray(255 - image)) for i, image in enumerate(training_like)]
    assert (pixels_of(paths) == training_like).all()
    kept = pixels_of(paths, may_invert=False)
    assert (kept[-20:] == 255 - training_like).all()


def test_twelve_bits_are_scaled_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(white_tiff_of_12_bits(SIDE))
    assert set(pixels_of([path], may_invert=False).ravel()) == {255}


def test_thing_is_centred_fills_the_frame_and_has_full_contrast_on_a_black_ground(tmp_path: Path) -> None:
    picture = Image.new("L", (400, 300), 210)
    ImageDraw.Draw(picture).rectangle((20, 200, 219, 299), fill=90)
    (seen,) = pixels_of([written(tmp_path / "a.jpg", picture, quality=90)])
    lit = seen > 200
    assert lit.any(axis=0).all() and np.flatnonzero(lit.any(axis=1)).tolist() == list(range(4, 12))
    assert seen.max() == 255 and seen[:3].max() == seen[13:].max() == 0


def test_thing_takes_up_as_much_of_the_frame_as_those_in_training(tmp_path: Path) -> None:
    smaller = ModelMetadata(QUADRANTS, (SIDE, SIDE, 1), 0.0, object_share=0.5)
    (seen,) = pixels_of([written(tmp_path / "a.png", drawing(size=(300, 300)))], smaller)
    assert np.flatnonzero(seen.any(axis=0)).tolist() == list(range(4, 12))


def test_dust_noise_and_uneven_light_do_not_hide_the_thing(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = np.asarray(drawing(size=(900, 700)), float) * np.linspace(0.7, 0.9, 900)
    values += generator.normal(0, 6, values.shape)
    picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    assert see(written(tmp_path / "a.jpg", picture)).class_name == "top left"


def png_that_claims(width: int, height: int) -> bytes:
    """Its header says so; there is nothing behind it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
        + bytes(4)
        + b"IDAT"
    )


def test_more_pixels_than_the_limit_are_refused_unread(tmp_path: Path) -> None:
    paths = [tmp_path / f"{height}.png" for height in (5_001, 10_000, 2**31 - 1)]
    for path in paths:
        path.write_bytes(png_that_claims(20_000, int(path.stem)))
        with pytest.raises(UnreadablePicture, match=f"^refused: more than {MAX_PIXELS:,} pixels, which could fill"):
            see(path)


def test_pixels_of_unknown_scale_are_refused(tmp_path: Path) -> None:
    integers = written(tmp_path / "i.tif", Image.new("I", (30, 20), 70_000))
    decimals = written(tmp_path / "f.tif", Image.new("F", (30, 20)))
    with pytest.raises(UnreadablePicture, match="beyond the 65,535 of 16 bits"):
        see(integers)
    with pytest.raises(UnreadablePicture, match="decimal numbers"):
        see(decimals)


def test_format_that_cannot_be_read_is_told_with_those_that_can(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    readable = r"PNG, JPEG, BMP, GIF, TIFF, WebP, PPM, AVIF, JPEG 2000 or HEIC"
    with pytest.raises(UnreadablePicture, match=rf"^not a picture that can be read \({readable}\)$"):
        see(tmp_path / "text.png")
