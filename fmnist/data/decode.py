"""Picture files -> pixels: the one decoder, for training and for prediction.

`decode` gives what training learns from: upright, opaque, 8 bits a channel, grey or colour, fitted into a square if
asked for, as a `Form` says. `decode_layers` gives what a photograph's background can be judged by before it is made
opaque (see `fmnist.predict.preprocess`). Both take a file's content, or a picture that Pillow has opened already, and
raise `UnreadablePicture` with the reason.

Does not cover: colour profiles, which are not applied; all frames of an animation but the first.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Those that hold pictures of pixels. EPS and others that Pillow hands to another program are not among them.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "HEIF")
HEIC_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")  # of HEIF files, known where they cannot be read too
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # how their content begins
MAX_PIXELS = 100_000_000  # a file of a few bytes may promise more than fits the memory
DRAFT = 2  # a JPEG is decoded at no less than so many times the side it is fitted into, which saves most of the time
GREY_MODES = ("1", "L", "LA", "La")
Content = bytes | Image.Image  # of a file, or opened by the caller
ORIENTATION = 0x0112  # the EXIF tag; from 5 on, height and width change places
BITS_PER_SAMPLE = 258  # the TIFF tag


class UnreadablePicture(Exception):
    """A file cannot be decoded as a picture. The message says why, in a few words of one line."""


class UnknownFormat(UnreadablePicture):
    """A file has none of the formats that can be read."""


class HeicUnreadable(UnreadablePicture):
    """A HEIC picture cannot be read for lack of an optional module."""

    def __init__(self) -> None:
        super().__init__("HEIC, which needs pillow-heif: pip install 'fmnist-search[heic]', or convert it to JPEG")


@dataclass(frozen=True)
class Form:
    """How pictures come out, and by which rules. A model file records it, to have new pictures read by the same.

    The rules have one value each today. They are recorded all the same: a version that reads differently must be able
    to tell.
    """

    side: int | None = None  # pixels, of the square that each is fitted into; None: they keep their size
    channels: Literal[1, 3] | None = None  # 1: grey, 3: RGB; None: whichever the file has
    fitting: Literal["whole"] = "whole"  # into a square: nothing is cut, the border repeated along the shorter side
    transparency: Literal["white"] = "white"  # what transparent pixels lie on

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 1:
            raise ValueError(f"side must be at least 1 pixel, but got {self.side}")


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded file, as its Form asks."""

    pixels: np.ndarray  # uint8 (height, width, channels)
    own_size: tuple[int, int]  # height and width before it was fitted, upright


@dataclass(frozen=True, eq=False)
class Layers:
    """A decoded file whose transparency is still apart."""

    pixels: np.ndarray  # float32 (height, width, channels), 0 to 255
    opacity: np.ndarray | None  # float32 (height, width, 1), 0 to 1; None: nothing is transparent
    own_size: tuple[int, int]  # height and width of the file's picture, upright; the pixels may be fewer


@cache
def picture_suffixes() -> frozenset[str]:
    """List how the names of picture files end, in small letters, with the dot."""
    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    return frozenset(known | set(HEIC_SUFFIXES))


@cache
def readable_formats() -> tuple[str, ...]:
    """List those of FORMATS that this build of Pillow can read, HEIF by the module of an extra where that is there."""
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener  # here: few pictures need it, and it may be missing

        register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Pillow's warnings of odd metadata, which change no pixel, and of size, which has a limit here.

    Warnings are silenced for the whole process, so threads that decode share one such block around them all.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(content: Content, form: Form) -> Picture:
    """Decode a picture file as training does.

    The picture is turned upright by its EXIF tag; 16 bits are scaled to 8; what is transparent lies on white. Grey is
    what is stored as grey, a palette of greys included. Into a square it is fitted whole, see `fit`.

    Args:
        content: The file's bytes, or an opened picture, which stays as it is.
        form: How it is to come out.

    Raises:
        UnreadablePicture: The content is damaged, has no format in FORMATS, or holds values that are no pixels.
    """
    side = None
    if form.side is not None:
        side = DRAFT * form.side
    with _naming_damage(content), _opened(content) as picture:
        own_size = upright_size(picture)
        upright, bits = _upright(picture, side)
        plain = _in_channels(_opaque(_eight_bits(upright, bits)), form.channels)
        if form.side is not None:
            return Picture(fit(plain, form.side), own_size)
        return Picture(_as_array(plain), own_size)


def decode_layers(content: Content, n_channels: int, min_side: int) -> Layers:
    """Decode a picture file without deciding what its transparent pixels lie on.

    Args:
        content: The file's bytes, or an opened picture, which stays as it is.
        n_channels: 1 for grey, 3 for RGB.
        min_side: A larger picture is reduced by a whole number, to no less than this on its longer side.

    Raises:
        UnreadablePicture: As for `decode`.
    """
    with _naming_damage(content), _opened(content) as picture:
        own_size = upright_size(picture)
        upright, bits = _upright(picture, min_side)
        layers = _with_alpha(upright, bits, n_channels)
        reduced = layers.reduce(max(1, max(layers.size) // min_side))
        pixels = _as_array(reduced).astype(np.float32)
    opacity = None
    if reduced.mode in ("LA", "RGBA"):
        pixels, alpha = pixels[..., :-1], pixels[..., -1:]
        if alpha.min() < 255:
            opacity = alpha / 255
    if pixels.shape[-1] < n_channels:
        pixels = np.repeat(pixels, n_channels, axis=-1)
    return Layers(pixels, opacity, own_size)


def size_of(content: Content) -> tuple[int, int]:
    """Read the height and width of a picture file, upright, from its header. Raises UnreadablePicture."""
    with _naming_damage(content), _opened(content) as picture:
        return upright_size(picture)


def fit(picture: Image.Image, side: int) -> np.ndarray:
    """Fit a picture whole into the middle of a square, its border's pixels repeated along the shorter side.

    Args:
        picture: Of mode L or RGB.
        side: Of the square, in pixels.

    Returns:
        uint8 (side, side, channels).
    """
    scale = side / max(picture.size)
    width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    if picture.size != (width, height):
        method = Image.Resampling.BICUBIC
        if scale < 1:
            method = Image.Resampling.LANCZOS
        picture = picture.resize((width, height), method, reducing_gap=3.0)
    above, left = (side - height) // 2, (side - width) // 2
    margins = ((above, side - height - above), (left, side - width - left), (0, 0))
    return np.pad(_as_array(picture), margins, mode="edge")


def fit_all(images: np.ndarray, side: int) -> np.ndarray:
    """Fit images in an array into squares, as `fit` does with pictures.

    Args:
        images: uint8 (n, height, width, channels).
        side: Of the squares, in pixels.

    Returns:
        uint8 (n, side, side, channels); the array itself if its images have that size.
    """
    if images.shape[1:3] == (side, side):
        return images
    fitted = np.empty((len(images), side, side, images.shape[3]), np.uint8)
    for i, image in enumerate(images):
        if image.shape[-1] == 1:
            image = image[..., 0]
        fitted[i] = fit(Image.fromarray(image), side)
    return fitted


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Height and width that an opened picture will have once it is turned upright."""
    width, height = picture.size
    if picture.format != "TIFF" and picture.getexif().get(ORIENTATION, 1) >= 5:
        return width, height
    return height, width  # of a TIFF, Pillow gives the upright size from the start


def _is_heic(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS


@contextmanager
def _naming_damage(content: Content) -> Iterator[None]:
    """Turn whatever Pillow's decoders make of a damaged file into UnreadablePicture."""
    try:
        yield
    except UnreadablePicture:
        raise
    except UnidentifiedImageError as error:
        if not content:
            raise UnreadablePicture("the file is empty") from error
        if isinstance(content, bytes) and _is_heic(content) and "HEIF" not in readable_formats():
            raise HeicUnreadable from error
        raise UnknownFormat("no picture of a format that can be read") from error
    except Image.DecompressionBombError as error:
        raise UnreadablePicture(f"refused: more than {MAX_PIXELS:,} pixels, which could fill the memory") from error
    except MemoryError as error:
        raise UnreadablePicture("needs more memory than there is") from error
    except Exception as error:  # ValueError, SyntaxError, struct.error, ...: anything
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnreadablePicture(f"damaged: {first_line}") from error


@contextmanager
def _opened(content: Content) -> Iterator[Image.Image]:
    """The picture, of which nothing but the header has been read; a copy of one that the caller has opened."""
    if isinstance(content, Image.Image):
        _refuse_bomb(content)
        yield content.copy()  # decoding could reduce it or turn it upright
        return
    with Image.open(io.BytesIO(content), formats=readable_formats()) as picture:
        _refuse_bomb(picture)
        yield picture


def _refuse_bomb(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise Image.DecompressionBombError


def _upright(picture: Image.Image, min_side: int | None) -> tuple[Image.Image, int]:
    """The decoded picture, and its bits a channel. Of a JPEG a reduced size is decoded, no smaller than min_side."""
    if min_side is not None:
        picture.draft(None, (min_side, min_side))
    # Only a TIFF says so. Pillow widens 12 bits to 16 without scaling them, and a picture that was turned upright no
    # longer knows.
    bits = getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    return ImageOps.exif_transpose(picture), bits


def _eight_bits(picture: Image.Image, bits: int) -> Image.Image:
    """The picture with 8 bits a channel. Raises UnreadablePicture for values that have no known white."""
    if picture.mode == "F":
        raise UnreadablePicture("it holds decimal numbers, which have no largest value to be white")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).astype(np.int64)
    white = _white_of(picture.mode, bits, values)
    return Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))


def _white_of(mode: str, bits: int, values: np.ndarray) -> int:
    if values.min() < 0 or values.max() > 65_535:
        raise UnreadablePicture(f"it holds values from {values.min()} to {values.max()}, beyond the 65,535 of 16 bits")
    if mode.startswith("I;16"):
        return 2**bits - 1
    return 65_535


def _opaque(picture: Image.Image) -> Image.Image:
    """On white if it is transparent anywhere, as viewers and pages show it."""
    if not picture.has_transparency_data:
        return picture
    layers = picture.convert("RGBA")
    paper = Image.new("RGBA", layers.size, "white")
    paper.alpha_composite(layers)
    if _is_grey(picture):
        return paper.convert("L")
    return paper.convert("RGB")


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode == mode:
        return picture
    try:
        return picture.convert(mode)
    except ValueError as error:
        raise UnreadablePicture(f"its colours cannot be read ({error}); save it as RGB") from error


def _in_channels(picture: Image.Image, channels: int | None) -> Image.Image:
    """In mode L or RGB."""
    if channels == 1 or (channels is None and _is_grey(picture)):
        return _converted(picture, "L")
    return _converted(picture, "RGB")


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode not in ("P", "PA"):
        return picture.mode in GREY_MODES
    palette = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _with_alpha(picture: Image.Image, bits: int, n_channels: int) -> Image.Image:
    """In mode L or RGB, in LA or RGBA if something is transparent, or in F with the fractions of more than 8 bits."""
    if picture.mode.startswith("I;16"):
        return _from_16_bits(picture, bits)
    picture = _eight_bits(picture, bits)
    if picture.mode == "1":
        picture = _converted(picture, "L")
    elif picture.mode == "La":
        picture = _converted(picture, "LA")
    elif picture.has_transparency_data and picture.mode != "LA":
        picture = _converted(picture, "RGBA")
    elif picture.mode not in ("L", "LA"):
        picture = _converted(picture, "RGB")
    mode = {1: "L", 3: "RGB"}[n_channels]
    if picture.mode.endswith("A"):
        mode += "A"
    return _converted(picture, mode)


def _from_16_bits(picture: Image.Image, bits: int) -> Image.Image:
    values = np.asarray(picture)
    grey = Image.fromarray(np.multiply(values, np.float32(255 / (2**bits - 1)), dtype=np.float32))
    transparent = picture.info.get("transparency")  # of a PNG file: one value
    if transparent is None:
        return grey
    opaque = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey.convert("L"), opaque))


def _as_array(picture: Image.Image) -> np.ndarray:
    """(height, width, channels), of whichever type the picture's values have."""
    pixels = np.asarray(picture)
    if pixels.ndim == 2:
        return pixels[..., np.newaxis]
    return pixels
