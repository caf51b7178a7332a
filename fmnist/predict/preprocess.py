"""From a picture file to an image like those that a model was trained on. Pillow and NumPy, no Keras.

`read_photograph` turns a file upright, in colour or grey as the model wants it; `prepare` lays it on a background where
it is transparent, inverts it where its background is light and theirs was dark, trims it to its object and fits that
into the model's frame, as Fashion-MNIST was made from photographs of a shop: trimmed, scaled to the frame, centred,
negated, its background black and its contrast full.

Does not cover: finding one object among several, backgrounds with a pattern (the whole picture is then fitted),
colour profiles.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fmnist.data.decode import bits_of_tiff
from fmnist.data.framing import Objects, border_level, find_objects
from fmnist.model.metadata import ModelNotes

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # others are less safe, or call programs (EPS)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 100_000_000  # a file of a few bytes may promise more than fits the memory
MAX_BYTES = 500_000_000  # of a file: 100 million pixels, stored plainly
STDIN = "-"
OVERSIZE = 4  # a photograph is looked at in about so many times the model's size: enough for the object's box
N_NAMED = 3  # of the files that are skipped in a folder

DARK, LIGHT = 64.0, 191.0  # a mean border pixel up to the one, or from the other on, is of a black or a white ground
LEAST_GAIN = 64.0  # by which the border comes nearer to the training images' one, for it alone to decide
NEARLY_WHITE = 240.0  # a transparent picture whose object is lighter would vanish on white
FULL_CONTRAST = 240.0  # training images from which on a photograph's contrast is stretched to all of 0 to 255


class Unreadable(Exception):
    """There is no picture to be had of a file. The message says why, in a few words of one line."""


@dataclass(frozen=True)
class Found:
    """A picture file that was named or found, or what stands in its place."""

    path: str
    error: str | None = None  # why there is nothing to open


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture as it was read: upright, its size reduced where it is many times the model's."""

    pixels: np.ndarray  # float32 (height, width, channels), 0 to 255
    opacity: np.ndarray | None  # float32 (height, width, 1), 0 to 1; None: nothing is transparent
    size: tuple[int, int]  # width and height of the file's picture, upright


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image for the model, and what was done to make it."""

    image: np.ndarray  # uint8 (height, width, channels)
    inverted: bool  # light and dark were exchanged
    fitted: bool  # trimmed and scaled; False: it had the model's size and was taken as it was


# --- finding files


def find_pictures(places: list[str], say: Callable[[str], None]) -> Iterator[Found]:
    """Every picture that is named, and all in the folders that are named, sorted, subfolders included.

    In folders, files count by their suffix; hidden ones and links to folders do not. `say` hears how many files of a
    folder are skipped, and the names of the first.
    """
    for place in places:
        if place == STDIN or not os.path.isdir(place):
            yield Found(place)
            continue
        skipped = _Skipped()
        n_found = 0
        for found in _in_folder(place, skipped):
            n_found += 1
            yield found
        if skipped.n:
            say(f"{place}: skipped {skipped.in_words()}")
        if n_found == 0:
            yield Found(place, "no picture in this folder")


@dataclass
class _Skipped:
    n: int = 0
    names: list[str] = field(default_factory=list)  # the first few

    def add(self, path: str) -> None:
        self.n += 1
        if len(self.names) < N_NAMED:
            self.names.append(os.path.basename(path))

    def in_words(self) -> str:
        more = f" and {self.n - len(self.names):,} more" if self.n > len(self.names) else ""
        return f"{self.n:,} that {'is' if self.n == 1 else 'are'} no picture file: {', '.join(self.names)}{more}"


def _in_folder(folder: str, skipped: _Skipped) -> Iterator[Found]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield Found(folder, _in_words(error))
        return
    for entry in entries:
        if entry.name.startswith("."):
            skipped.add(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            yield from _in_folder(entry.path, skipped)
        elif entry.name.lower().endswith(SUFFIXES) and _may_be_opened(entry):
            yield Found(entry.path)
        else:
            skipped.add(entry.path)


def _may_be_opened(entry: os.DirEntry) -> bool:
    """A file, or a link that leads nowhere, which opening will tell; no pipe, which would be waited for, and no link to
    a folder, which may lead back here."""
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))


# --- reading


def read_photograph(path: str, image_shape: tuple[int, int, int]) -> Photograph:
    """Read a picture for a model of this height, width and channels (1: grey, 3: RGB). "-" is standard input. Of
    animations it is the first frame. Raises Unreadable."""
    height, width, n_channels = image_shape
    try:
        with _opened(path) as file:
            return _read(file, OVERSIZE * max(height, width), n_channels)
    except OSError as error:  # Pillow's own have no number
        raise Unreadable(_in_words(error) if error.errno else f"damaged: {_first_line(error)}") from error


def _opened(path: str) -> IO[bytes]:
    if path == STDIN:
        return _in_memory(sys.stdin.buffer)
    try:
        file = open(path, "rb")  # noqa: SIM115  the caller closes it
    except ValueError as error:  # a null character in the name
        raise Unreadable(_first_line(error)) from error
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):  # a pipe, say: Pillow moves back and forth in a file
        with file:
            return _in_memory(file)
    if status.st_size > MAX_BYTES:
        file.close()
        raise Unreadable(f"larger than {MAX_BYTES:,} bytes")
    return file


def _in_memory(stream: IO[bytes]) -> IO[bytes]:
    content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise Unreadable(f"larger than {MAX_BYTES:,} bytes")
    return io.BytesIO(content)


def _read(file: IO[bytes], side: int, n_channels: int) -> Photograph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's doubts about metadata, and large pictures, which have a limit here
        image, size = _decoded(file, side)
        as_stored = image.size
        bits = bits_of_tiff(image)
        image = ImageOps.exif_transpose(image)
    size = size if image.size == as_stored else size[::-1]
    image = _in_simple_mode(image, bits, n_channels)
    image = image.reduce(max(1, max(image.size) // side))
    return _photograph(image, size, n_channels)


def _decoded(file: IO[bytes], side: int) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, and its full size: a large JPEG is decoded at a fraction of it."""
    try:
        image = Image.open(file, formats=FORMATS)
        size = image.size
        if size[0] * size[1] > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.draft(None, (side, side))
        is_drafted = image.size != size
        image.load()
    except UnidentifiedImageError as error:
        raise Unreadable(_why_unknown(file)) from error
    except Image.DecompressionBombError as error:
        raise Unreadable(f"refused: more than {MAX_PIXELS:,} pixels, which could fill the memory") from error
    except MemoryError as error:
        raise Unreadable("needs more memory than there is") from error
    except OSError:
        raise
    except Exception as error:  # what damage makes of the decoders: ValueError, SyntaxError, struct.error, ...
        raise Unreadable(f"damaged: {_first_line(error)}") from error
    return image, size if is_drafted else image.size  # a TIFF file is turned upright when it is loaded


def _why_unknown(file: IO[bytes]) -> str:
    file.seek(0)
    if not file.read(1):
        return "the file is empty"
    names = ", ".join(FORMATS[:-1]).replace("WEBP", "WebP")
    return f"not a picture that can be read ({names} or {FORMATS[-1]})"


def _in_simple_mode(image: Image.Image, bits: int, n_channels: int) -> Image.Image:
    """L or RGB, as the model wants, LA or RGBA where something is transparent, or F from 0 to 255."""
    if image.mode.startswith("I;16"):
        return _from_16_bits(image, bits)
    if image.mode in ("I", "F"):
        raise Unreadable("its pixels have 32 bits, and nothing says which of them is white; save it with 8 or 16")
    try:
        if image.has_transparency_data and image.mode not in ("LA", "RGBA"):
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        if image.mode not in ("L", "LA", "RGB", "RGBA"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        grey, colour = ("LA", "RGBA") if image.mode.endswith("A") else ("L", "RGB")
        return image.convert(grey if n_channels == 1 else colour)
    except ValueError as error:
        raise Unreadable(f"its colours cannot be read ({_first_line(error)}); save it as RGB") from error


def _from_16_bits(image: Image.Image, bits: int) -> Image.Image:
    values = np.asarray(image)
    transparent = image.info.get("transparency")  # of a PNG file: one value
    grey = Image.fromarray(np.multiply(values, np.float32(255 / (2**bits - 1)), dtype=np.float32))
    if transparent is None:
        return grey
    opaque = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey.convert("L"), opaque))


def _photograph(image: Image.Image, size: tuple[int, int], n_channels: int) -> Photograph:
    values = np.asarray(image, np.float32)
    values = values[..., np.newaxis] if values.ndim == 2 else values
    opacity = None
    if image.mode in ("LA", "RGBA"):
        values, alpha = values[..., :-1], values[..., -1:]
        opacity = alpha / 255 if alpha.min() < 255 else None
    if values.shape[-1] < n_channels:
        values = np.repeat(values, n_channels, axis=-1)
    return Photograph(values, opacity, size)


def _in_words(error: OSError) -> str:
    return error.strerror or str(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# --- making it look like a training image


def prepare(photograph: Photograph, notes: ModelNotes, *, may_invert: bool = True) -> Prepared:
    """An image for the model that these notes are of.

    A picture of exactly the model's size is taken as it is, but for its colours, and inverted if need be; its bytes
    stay the same where it is grey on a background like the training images'. may_invert: False keeps light light.
    """
    height, width, n_channels = notes.image_shape
    may_invert = may_invert and n_channels == 1  # a negative's colours are nobody's
    pixels = _opaque(photograph, notes, may_invert)
    is_fitted = photograph.size != (width, height)
    found = find_objects(pixels[np.newaxis]) if is_fitted else None
    inverted = may_invert and _is_to_be_inverted(pixels, found, notes)
    if found is not None:
        pixels = _fitted(pixels, found, notes, inverted)
    elif inverted:
        pixels = 255 - pixels
    return Prepared(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), inverted, is_fitted)


def _opaque(photograph: Photograph, notes: ModelNotes, may_invert: bool) -> np.ndarray:
    """On white, like a shop's photographs, or on black, if its object would vanish on white. Where it cannot be
    inverted later, on the training images' own background."""
    if photograph.opacity is None:
        return photograph.pixels
    ground = _ground(notes)
    if may_invert:
        weights = photograph.opacity if photograph.opacity.any() else None
        ground = 255.0 if np.average(photograph.pixels, weights=weights) < NEARLY_WHITE else 0.0
    return photograph.pixels * photograph.opacity + np.float32(ground) * (1 - photograph.opacity)


def _ground(notes: ModelNotes) -> float:
    """What is behind the objects of the training images, whose border also shows some of these."""
    if notes.background < DARK:
        return 0.0
    return 255.0 if notes.background > LIGHT else notes.background


def _is_to_be_inverted(pixels: np.ndarray, found: Objects | None, notes: ModelNotes) -> bool:
    """Whether its border says so; where that is neither light nor dark, whether the object, if one is found, is on the
    wrong side of its background."""
    level = float(border_level(pixels[np.newaxis])[0, 0])
    gain = abs(level - notes.background) - abs(255 - level - notes.background)
    if abs(gain) > LEAST_GAIN or found is None or not found.is_found[0] or _ground(notes) not in (0, 255):
        return gain > LEAST_GAIN
    return _is_lighter(pixels - found.backgrounds[0]) != (_ground(notes) == 0)


def _is_lighter(differences: np.ndarray) -> bool:
    """Than its background: the object, all in all."""
    return float(differences.sum()) > 0


def _fitted(pixels: np.ndarray, found: Objects, notes: ModelNotes, inverted: bool) -> np.ndarray:
    """Trimmed, scaled, and centred in the model's frame, on the training images' background where its own is plain."""
    background = found.backgrounds[0]
    if inverted:
        pixels, background = 255 - pixels, 255 - background
    ground = _ground(notes)
    is_light = ground == 0  # what the training images' objects are, against their background
    is_levelled = found.is_found[0] and pixels.shape[2] == 1 and ground in (0, 255)
    if not is_levelled or _is_lighter(pixels - background) != is_light:
        return _centred(_scaled(_trimmed(pixels, found), notes), border_level(pixels[np.newaxis])[0], notes)
    sign = 1 if is_light else -1
    contrast = _scaled(_trimmed(sign * (pixels - background), found), notes) - 2 * found.noise[0]
    most = contrast.max() if (notes.contrast or 0) >= FULL_CONTRAST else 255 - abs(float(background.mean()) - ground)
    levelled = ground + sign * 255 * np.clip(contrast / max(most, 1), 0, 1)
    return _centred(levelled, ground, notes)


def _trimmed(pixels: np.ndarray, found: Objects) -> np.ndarray:
    return pixels[found.top[0] : found.bottom[0], found.left[0] : found.right[0]]


def _scaled(pixels: np.ndarray, notes: ModelNotes) -> np.ndarray:
    """So that it takes up as much of the model's frame as the training images' objects did."""
    height, width, _ = notes.image_shape
    factor = notes.object_share * min(height / pixels.shape[0], width / pixels.shape[1])
    size = (max(1, round(factor * pixels.shape[1])), max(1, round(factor * pixels.shape[0])))
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels, 2, 0)]
    return np.stack([np.asarray(channel.resize(size, Image.Resampling.LANCZOS)) for channel in channels], axis=2)


def _centred(small: np.ndarray, around: np.ndarray | float, notes: ModelNotes) -> np.ndarray:
    frame = np.empty(notes.image_shape, np.float32)
    frame[...] = around
    top, left = ((frame.shape[axis] - small.shape[axis]) // 2 for axis in (0, 1))
    frame[top : top + small.shape[0], left : left + small.shape[1]] = small
    return frame
