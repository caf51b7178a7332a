"""A picture file becomes the pixels that a viewer would show."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from fmnist.data.decode import ORIENTATION, Form, UnreadablePicture, decode, fit, fit_all
from tests.support.made_images import encoded, white_tiff_of_12_bits

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([GREY, 255 - GREY, np.full_like(GREY, 7)], axis=-1)
generated = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def decoded(picture: Image.Image, format: str = "PNG", form: Form | None = None, **options: object) -> np.ndarray:
    return decode(encoded(picture, format, **options), form or Form()).pixels


@generated
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)), st.booleans())
def test_pixels_of_a_plain_picture_come_back_as_they_were(grey, has_colour) -> None:
    image = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1) if has_colour else grey[..., np.newaxis]
    plain = image if has_colour else grey
    np.testing.assert_array_equal(decoded(Image.fromarray(plain)), image)


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_formats_without_loss_give_the_same_pixels(format) -> None:
    np.testing.assert_array_equal(decoded(Image.fromarray(GREY), format), GREY[..., np.newaxis])


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_formats_with_loss_give_near_pixels(format) -> None:
    near = decoded(Image.fromarray(COLOUR).resize((64, 48)), format, quality=95)
    assert near.shape == (48, 64, 3)
    assert np.abs(near.astype(int) - np.asarray(Image.fromarray(COLOUR).resize((64, 48)))).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_turned_upright(orientation) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turn = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.T, 6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].T, 8: lambda a: np.rot90(a),
    }[orientation]  # fmt: skip
    content = encoded(Image.fromarray(GREY), exif=exif)
    picture = decode(content, Form())
    np.testing.assert_array_equal(picture.pixels[..., 0], turn(GREY))
    assert picture.own_size == turn(GREY).shape
    assert decode(content, Form(side=8)).own_size == picture.own_size


def test_black_and_white_becomes_0_and_255() -> None:
    np.testing.assert_array_equal(np.unique(decoded(Image.fromarray(GREY > 100))), [0, 255])


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_16_bits_are_scaled_to_8(mode) -> None:
    values = np.array([[0, 128, 257, 25_700, 65_535]], np.uint16)
    picture = Image.fromarray(values) if mode == "I;16" else Image.fromarray(values.astype(np.int32))
    np.testing.assert_array_equal(decoded(picture, "TIFF")[..., 0], [[0, 0, 1, 100, 255]])


def test_12_bits_are_scaled_to_8() -> None:
    assert set(decode(white_tiff_of_12_bits(4), Form()).pixels.ravel()) == {255}


@generated
@given(arrays(np.uint16, (3, 4)))
def test_16_bits_lose_no_more_than_half_a_step_of_8(values) -> None:
    eight = decoded(Image.fromarray(values))[..., 0].astype(float)
    assert np.abs(eight - values / 257).max() <= 0.5


def test_values_beyond_16_bits_are_no_pixels() -> None:
    with pytest.raises(UnreadablePicture, match="values from -1 to 7, beyond the 65,535"):
        decoded(Image.fromarray(np.array([[-1, 7]], np.int32)), "TIFF")


def test_decimal_numbers_are_no_pixels() -> None:
    with pytest.raises(UnreadablePicture, match="holds decimal numbers"):
        decoded(Image.fromarray(GREY.astype(np.float32)), "TIFF")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(mode) -> None:
    picture = Image.fromarray(COLOUR).convert(mode)
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:3] = 0
    picture.putalpha(Image.fromarray(alpha))
    pixels = decoded(picture)
    opaque = np.asarray(Image.fromarray(COLOUR).convert("L" if mode == "LA" else "RGB")).reshape(6, 8, -1)
    assert (pixels[:3] == 255).all()
    np.testing.assert_array_equal(pixels[3:], opaque[3:])


def test_what_is_half_transparent_is_half_white() -> None:
    picture = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert decoded(picture).tolist() == np.full((2, 2, 3), 127).tolist()


@pytest.mark.parametrize(("has_colour", "channels"), [(False, 1), (True, 3)])
def test_palette_is_looked_up_and_grey_where_all_its_colours_are(has_colour, channels) -> None:
    picture = Image.fromarray(GREY % 4).convert("P")
    palette = [0, 0, 0, 10, 10, 10, 200, 200, 200, *((255, 0, 0) if has_colour else (9, 9, 9))]
    picture.putpalette(palette)
    pixels = decoded(picture)
    expected = np.array(palette, np.uint8).reshape(-1, 3)[GREY % 4]
    np.testing.assert_array_equal(pixels, expected[..., :channels])


def test_transparent_colour_of_a_palette_is_white() -> None:
    picture = Image.fromarray(GREY % 2).convert("P")
    picture.putpalette([0, 0, 0, 90, 90, 90])
    np.testing.assert_array_equal(decoded(picture, transparency=0)[..., 0], np.where(GREY % 2, 90, 255))


def test_printing_colours_become_red_green_and_blue() -> None:
    pixels = decoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")
    assert pixels.shape == (8, 8, 3)
    assert pixels[0, 0].tolist() == [255, 0, 0]


def test_first_of_several_frames_counts() -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    pixels = decoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(pixels, GREY[..., np.newaxis])


@pytest.mark.parametrize(("source", "channels"), [(GREY, 3), (COLOUR, 1), (GREY, 1), (COLOUR, 3)])
def test_picture_is_turned_into_the_channels_asked_for(source, channels) -> None:
    assert decoded(Image.fromarray(source), form=Form(channels=channels)).shape == (6, 8, channels)


def test_grey_in_colour_has_three_equal_channels() -> None:
    pixels = decoded(Image.fromarray(GREY), form=Form(channels=3))
    np.testing.assert_array_equal(pixels, np.repeat(GREY[..., np.newaxis], 3, axis=2))


@generated
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(8, 24))
def test_fitted_picture_is_square_and_none_of_it_is_cut(height, width, channels, side) -> None:
    image = np.full((height, width, channels), 50, np.uint8)
    image[0], image[-1], image[:, 0], image[:, -1] = 200, 200, 200, 200  # its border
    fitted = fit(Image.fromarray(image[..., 0] if channels == 1 else image), side)
    assert fitted.shape == (side, side, channels) and fitted.dtype == np.uint8
    if min(height, width) > 2 and max(height, width) <= side:
        assert fitted[0].min() > 90 and fitted[:, 0].min() > 90  # the border is repeated outwards


def test_fitted_picture_keeps_its_aspect_with_its_border_repeated() -> None:
    image = np.zeros((16, 32), np.uint8)
    image[:8] = 255
    fitted = fit(Image.fromarray(image), 16)[..., 0]
    assert fitted[:7].min() > 230 and fitted[9:].max() < 25  # but for what sharpening leaves
    assert (fitted[:5] == fitted[0]).all() and (fitted[11:] == fitted[-1]).all()


def test_picture_of_the_right_size_stays_as_it_is() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(fit(Image.fromarray(image), 8)[..., 0], image)
    stack = image.reshape(1, 8, 8, 1)
    assert fit_all(stack, 8) is stack


@pytest.mark.parametrize("channels", [1, 3])
def test_images_in_an_array_are_fitted_as_pictures_are(channels) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 10, channels), dtype=np.uint8)
    plain = images[..., 0] if channels == 1 else images
    expected = [decoded(Image.fromarray(image), form=Form(side=16)) for image in plain]
    np.testing.assert_array_equal(fit_all(images, 16), expected)


def test_large_jpeg_is_decoded_small_and_looks_the_same() -> None:
    picture = Image.fromarray(COLOUR).resize((1600, 1200), Image.Resampling.BICUBIC)
    small = decode(encoded(picture, "JPEG", quality=95), Form(side=32))
    whole = fit(Image.open(io.BytesIO(encoded(picture, "JPEG", quality=95))), 32)
    assert small.own_size == (1200, 1600)
    assert np.abs(small.pixels.astype(int) - whole).mean() < 2
