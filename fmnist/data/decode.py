"""Picture files -> pixels: upright, opaque, 8 bits a channel, grey or colour, fitted into a square where asked for.

`decode` reads one; `read_pictures` reads any number with threads, holding few files at a time. What of a file cannot be
read becomes a reason, so that one error can name them all. Of several frames the first counts.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fmnist.data.checksums import digest_of, md5

# Those that hold pictures of pixels. EPS and others that Pillow hands to another program are not among them.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000")
FILES_AT_ONCE = 64  # one thread's share: more would let an interruption wait, fewer would cost time
DRAFT = 2  # a JPEG is decoded at no less than so many times the side it is fitted into, which saves most of the time
GREY_MODES = ("1", "L", "LA", "La")
ORIENTATION = 0x0112  # the EXIF tag; from 5 on, height and width change places

Progress = Callable[[int, int], None]  # (files read, of how many); an exception from it ends the reading


@dataclass(frozen=True)
class Form:
    """How pictures are to come out; None: as they are."""

    side: int | None = None  # pixels, of the square that they are fitted into
    channels: int | None = None  # 1: grey, 3: colour


@dataclass(frozen=True, eq=False)
class Picture:
    """A file, decoded."""

    pixels: np.ndarray  # uint8 (height, width, channels)
    own_size: tuple[int, int]  # height and width before it was fitted, upright


@dataclass(eq=False)
class PictureFiles:
    """What reading many files gave, in their order."""

    files: Sequence[Path]
    images: np.ndarray | None  # uint8 (n, height, width, channels); None where they were not to be kept
    shapes: np.ndarray  # int32 (n, 3): height, width, channels as read; 0 where a file is unreadable
    own_sizes: np.ndarray  # int32 (n, 2): height, width before it was fitted
    is_constant: np.ndarray  # bool (n,): all its pixels are the same
    md5s: list[str]  # of the files' bytes; "" where a file is unreadable
    digests: list[bytes]  # of the pixels, where they were not kept
    failures: dict[int, str] = field(default_factory=dict)  # row -> why that file is unreadable

    def without_failures(self) -> PictureFiles:
        """Of the readable files alone."""
        if not self.failures:
            return self
        rows = [i for i in range(len(self.files)) if i not in self.failures]
        return PictureFiles(
            files=[self.files[i] for i in rows],
            images=None if self.images is None else self.images[rows],
            shapes=self.shapes[rows],
            own_sizes=self.own_sizes[rows],
            is_constant=self.is_constant[rows],
            md5s=[self.md5s[i] for i in rows],
            digests=[self.digests[i] for i in rows],
        )


@cache
def picture_suffixes() -> frozenset[str]:
    """How the names of picture files end, in small letters, with the dot."""
    Image.init()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)


@cache
def _formats() -> tuple[str, ...]:
    """Those that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


# --- many


def read_pictures(
    files: Sequence[Path],
    form: Form,
    *,
    keep: bool = True,
    check_shape: Callable[[tuple[int, int, int]], None] = lambda shape: None,
    on_progress: Progress = lambda n_read, n_files: None,
) -> PictureFiles:
    """Read them all. keep: hold the pixels, those of the shape that the first readable file has; else their digests.

    check_shape: called with that shape before memory is taken; what it raises passes through.
    """
    n = len(files)
    found = PictureFiles(
        files, None, np.zeros((n, 3), np.int32), np.zeros((n, 2), np.int32), np.zeros(n, bool), [""] * n, [b""] * n
    )
    with _warnings_told_apart():
        n_begun = _read_until_shape(found, form, keep, check_shape)
        on_progress(n_begun, n)
        for n_done in _in_threads(found, form, keep, n_begun):
            on_progress(n_done, n)
    return found


def _read_until_shape(
    found: PictureFiles, form: Form, keep: bool, check_shape: Callable[[tuple[int, int, int]], None]
) -> int:
    """Read up to the first readable file, which says what memory to take. Returns how many that were."""
    for i, path in enumerate(found.files):
        pixels = _read_one(found, i, path, form)
        if pixels is None:
            continue
        check_shape(pixels.shape)
        if keep:
            found.images = np.empty((len(found.files), *pixels.shape), np.uint8)
        _store(found, i, pixels)
        return i + 1
    return len(found.files)


def _in_threads(found: PictureFiles, form: Form, keep: bool, first: int) -> Iterator[int]:
    """Read the files from `first` on; gives after each share how many are read."""

    def read_share(start: int) -> int:
        rows = range(start, min(start + FILES_AT_ONCE, len(found.files)))
        for i in rows:
            pixels = _read_one(found, i, found.files[i], form)
            if pixels is not None:
                _store(found, i, pixels)
        return len(rows)

    executor = ThreadPoolExecutor(n_threads(), thread_name_prefix="pictures")
    try:
        shares: list[Future[int]] = [
            executor.submit(read_share, start) for start in range(first, len(found.files), FILES_AT_ONCE)
        ]
        n_done = first
        for share in shares:
            n_done += share.result()
            yield n_done
    finally:
        executor.shutdown(cancel_futures=True)


def n_threads() -> int:
    """That read pictures. Decoding leaves Python's lock, so that each core has work; one more waits for the disk."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return n_cores + 1


def _read_one(found: PictureFiles, i: int, path: Path, form: Form) -> np.ndarray | None:
    """The pixels; None where the file is unreadable, and why is noted."""
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            raise OSError("no file of that name" if not os.path.lexists(path) else "not a file")
        content = path.read_bytes()
        picture = decode(content, form)
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes of them
        found.failures[i] = _reason(error)
        return None
    found.md5s[i] = md5(content)
    found.shapes[i], found.own_sizes[i] = picture.pixels.shape, picture.own_size
    found.is_constant[i] = (picture.pixels == picture.pixels[0, 0]).all()
    return picture.pixels


def _store(found: PictureFiles, i: int, pixels: np.ndarray) -> None:
    if found.images is None:
        found.digests[i] = digest_of(pixels)
    elif pixels.shape == found.images.shape[1:]:
        found.images[i] = pixels


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "no picture of a format that can be read"
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).strip()
    return (text or type(error).__name__).splitlines()[0]


@contextmanager
def _warnings_told_apart() -> Iterator[None]:
    """Pillow warns of pictures too large to be safe, which become errors here, and of odd metadata, which changes no
    pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


# --- one


def decode(content: bytes, form: Form) -> Picture:
    """A picture file's bytes. Raises whatever Pillow does where they are damaged or of no format in FORMATS, ValueError
    where its values are no pixels.

    Turned upright by its EXIF tag; 16 bits scaled to 8; what is transparent lies on white. Grey is what is stored as
    grey, a palette of greys included. Into a square it is fitted whole, its border repeated along the shorter side.
    """
    with Image.open(io.BytesIO(content), formats=_formats()) as picture:
        own_size = _upright_size(picture)
        if form.side is not None:
            picture.draft(None, (DRAFT * form.side, DRAFT * form.side))  # of a JPEG; others stay as they are
        bits = bits_of_tiff(picture)  # turned upright, it no longer knows
        plain = _in_channels(_opaque(_eight_bits(ImageOps.exif_transpose(picture), bits)), form.channels)
    if form.side is not None:
        return Picture(fit(plain, form.side), own_size)
    return Picture(_pixels(plain), own_size)


def fit(picture: Image.Image, side: int) -> np.ndarray:
    """Fit a picture of mode L or RGB whole into a square, in its middle: uint8 (side, side, channels). The border's
    pixels are repeated along the shorter side."""
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    if picture.size != (width, height):
        method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
        picture = picture.resize((width, height), method, reducing_gap=3.0)
    above, left = (side - height) // 2, (side - width) // 2
    margins = ((above, side - height - above), (left, side - width - left), (0, 0))
    return np.pad(_pixels(picture), margins, mode="edge")


def fit_all(images: np.ndarray, side: int) -> np.ndarray:
    """The same for images in an array: uint8 (n, side, side, channels), for uint8 (n, height, width, channels)."""
    if images.shape[1:3] == (side, side):
        return images
    fitted = np.empty((len(images), side, side, images.shape[3]), np.uint8)
    for i, image in enumerate(images):
        fitted[i] = fit(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), side)
    return fitted


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    width, height = picture.size
    return (width, height) if picture.getexif().get(ORIENTATION, 1) >= 5 else (height, width)


def bits_of_tiff(picture: Image.Image) -> int:
    """For each channel; 16 of other formats. Pillow widens 12 bits to 16 without scaling them."""
    return getattr(picture, "tag_v2", {}).get(258, (16,))[0]  # BitsPerSample


def _eight_bits(picture: Image.Image, bits: int) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("it holds decimal numbers, which have no largest value to be white")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65_535:
        raise ValueError(f"it holds values from {values.min()} to {values.max()}, beyond the 65,535 of 16 bits")
    white = 2**bits - 1 if picture.mode.startswith("I;16") else 65_535
    return Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))


def _opaque(picture: Image.Image) -> Image.Image:
    """On white where it is transparent, as viewers and pages show it."""
    if not picture.has_transparency_data:
        return picture
    layers = picture.convert("RGBA")
    paper = Image.new("RGBA", layers.size, "white")
    paper.alpha_composite(layers)
    return paper.convert("L" if _is_grey(picture) else "RGB")


def _in_channels(picture: Image.Image, channels: int | None) -> Image.Image:
    """In mode L or RGB."""
    is_grey = _is_grey(picture) if channels is None else channels == 1
    mode = "L" if is_grey else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode in ("P", "PA"):
        palette = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return picture.mode in GREY_MODES


def _pixels(picture: Image.Image) -> np.ndarray:
    pixels = np.asarray(picture)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
