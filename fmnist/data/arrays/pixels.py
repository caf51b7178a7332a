"""Which of the usual forms do the images of an array have, and how do they become bytes, channels last?

    (n, height, width)            grey
    (n, height, width, 1 or 3)    channels last
    (n, 1 or 3, height, width)    channels first, as PyTorch has them
    (n, side * side)              grey images in rows, as in tables

    whole numbers from 0 to 255   of any type, decimal numbers that are all whole among them
    decimal numbers from 0 to 1   and truth values: 255 is white

The form is decided on all training images at once, and the test images must have the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fmnist.data.images import Shape
from fmnist.errors import UserError

CHANNELS = (1, 3)
AS_BYTES = "save them as uint8, from 0 to 255"
FROM_SIGNED = "of numbers from -1 to 1: np.round(127.5 * (x + 1)).astype('uint8')"
FROM_HIGH = "of 16 bits: (x // 257).astype('uint8')"
WHITE, HALF = 255, 127  # images of which no pixel is above half of white may be numbers of another range
MUCH_DARKER = 4  # times, from which on training and test images are not of one range
MIN_OF_RANGE = 10  # images that tell their range; fewer may all be dark


@dataclass(frozen=True)
class Layout:
    """Where an array has the rows, columns and channels of its images."""

    shape: Shape  # of an image: height, width, channels
    note: str = ""  # what was decided, in words; empty where nothing had to be
    is_channels_first: bool = False

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the values as (n, height, width, channels)."""
        if self.is_channels_first:
            return np.moveaxis(values, 1, -1)
        return values.reshape(len(values), *self.shape)


def find_layout(shape: tuple[int, ...], where: str) -> Layout:
    """Find the layout of images from the shape of their array. where: the array and its file, for the message.

    Raises:
        UserError: It is none of the usual ones, or could be two.
    """
    if len(shape) == 3:
        return Layout((shape[1], shape[2], 1))
    if len(shape) == 4:
        is_last, is_first = shape[3] in CHANNELS, shape[1] in CHANNELS
        if is_last and is_first and shape[1:] != (shape[1], 1, 1):
            raise UserError(
                f"{where} must have its channels at the end, or else at the beginning, but {shape} can be read both "
                "ways; make it uint8 (n, height, width), or cut or enlarge the images to sides of more than 3 pixels"
            )
        if is_last:
            return Layout((shape[1], shape[2], shape[3]))
        if is_first:
            note = f"The images of {where} have their channels first: {shape[1:]} is read as {(*shape[2:], shape[1])}"
            return Layout((shape[2], shape[3], shape[1]), note, is_channels_first=True)
    if len(shape) == 2 and shape[1] > 0 and math.isqrt(shape[1]) ** 2 == shape[1]:
        side = math.isqrt(shape[1])
        note = f"The {shape[1]:,} numbers of each row of {where} are read as {side} x {side} grey pixels, row by row"
        return Layout((side, side, 1), note)
    remedy = "reshape or transpose it"
    if len(shape) == 4 and 4 in (shape[1], shape[3]):
        remedy = "leave out the fourth channel, which says what is transparent"
    raise UserError(
        f"{where} must have the shape (n, height, width), with 1 or 3 channels at the end or in front, or rows of as "
        f"many pixels as a square has, but got {shape}; {remedy}"
    )


@dataclass(frozen=True)
class PixelForm:
    """How the numbers of images become bytes: `find_pixel_form` decides."""

    is_scaled: bool  # from 0...1 to 0...255
    note: str = ""  # what was decided, in words; empty where nothing had to be

    def apply(self, values: np.ndarray, where: str) -> np.ndarray:
        """Return the values as uint8.

        Raises:
            UserError: They are not of this form. where: the array and its file, for the message.
        """
        _require_finite(values, where)
        if self.is_scaled:
            if values.size and (values.min() < 0 or values.max() > 1):
                raise UserError(
                    f"{where} must be numbers from 0 to 1 as the training images are, but got {_range_of(values)}; "
                    "divide by the same number"
                )
            return np.round(np.multiply(values, 255, dtype=np.float64)).astype(np.uint8)
        if not _are_bytes(values):
            raise UserError(
                f"{where} must be whole numbers from 0 to 255 as the training images are, but got {_range_of(values)}; "
                "multiply by the same number"
            )
        return values.astype(np.uint8, copy=False)


def find_pixel_form(arrays: Sequence[np.ndarray], where: str) -> PixelForm:
    """Find how the numbers of images become bytes, from all of them.

    Args:
        arrays: The images of each part, training and validation.
        where: The first array and its file, for messages.

    Raises:
        UserError: The values are none of the forms above, or could be several.
    """
    for values in arrays:
        if values.dtype.kind not in "biuf":
            raise UserError(
                f"{where} must be numbers, whole from 0 to 255 or decimal from 0 to 1, but got {values.dtype}; "
                f"{AS_BYTES}"
            )
        _require_finite(values, where)
    filled = [values for values in arrays if values.size]
    kinds = {values.dtype.kind for values in filled}
    if all(map(_are_bytes, filled)) and kinds.isdisjoint("bf"):
        return PixelForm(is_scaled=False)
    low, high = (float(bound([bound(values) for values in filled])) for bound in (np.min, np.max))
    if low >= 0 and high <= 1 and kinds <= {"b", "f"}:
        return PixelForm(True, f"{where} goes from 0 to 1, so it is multiplied by 255: 1 is white")
    if all(map(_are_bytes, filled)) and kinds.isdisjoint("b"):
        return PixelForm(False, f"{where} has decimal numbers that are all whole, {low:g} to {high:g}: they are pixels")
    remedy = AS_BYTES
    if "f" in kinds and low >= -1 and high <= 1:
        remedy += f"; {FROM_SIGNED}"
    elif kinds.isdisjoint("f") and low >= 0 and high > 255:
        remedy += f"; {FROM_HIGH}"
    raise UserError(
        f"{where} must be whole numbers from 0 to 255, or decimal numbers from 0 to 1, but got "
        f"{_range_of(filled[0], low, high)}; {remedy}"
    )


@dataclass(frozen=True)
class Brightness:
    """How bright images are, all together, by which those of another range are told."""

    where: str  # the array and its file, for messages
    brightest: int  # pixel of all, of 255
    n_images: int
    is_scaled: bool  # whether the numbers in the file are decimal ones, from 0 to 1
    is_of_one_colour: bool  # all pixels of all images are the same

    @property
    def factor(self) -> str:
        """What makes the brightest pixel white, in words: by what to multiply. Not for images that are all black."""
        if WHITE % self.brightest == 0:
            return str(WHITE // self.brightest)
        return f"{WHITE} / {self.brightest}" + ("" if self.is_scaled else " and round")


def brightness_of(arrays: Sequence[np.ndarray], form: PixelForm, where: str) -> Brightness:
    """Find the brightest pixel of arrays of images that are of this form."""
    highest = max((float(values.max()) for values in arrays if values.size), default=0.0)
    brightest = round(highest * WHITE) if form.is_scaled else int(highest)
    lowest = min((float(values.min()) for values in arrays if values.size), default=0.0)
    return Brightness(where, brightest, sum(map(len, arrays)), form.is_scaled, lowest == highest)


def note_dark(training: Brightness) -> str:
    """Write a sentence about images that are dark, perhaps because their numbers are not from 0 to 255; or nothing."""
    brightest = training.brightest
    if not 0 < brightest <= HALF:
        return ""
    return (
        f"The brightest pixel of {training.where} is {brightest} of {WHITE}: the model takes pixels in this range, so "
        f"pictures would have to be as dark; if {brightest} is white, multiply by {training.factor}"
    )


def require_one_range(training: Brightness, test: Brightness) -> None:
    """Raise UserError if training or test images are so much darker that their numbers are of another range."""
    dark, bright = sorted((training, test), key=lambda each: each.brightest)
    if min(dark.n_images, bright.n_images) < MIN_OF_RANGE or bright.brightest <= HALF:
        return
    if MUCH_DARKER * dark.brightest > bright.brightest:
        return
    if training.is_of_one_colour:  # which is refused by itself, as nothing could be learned from them
        return
    remedy = f"multiply by {dark.factor}" if dark.brightest else "write the pixels again"
    raise UserError(
        f"training and test images must have one range of pixels, but the brightest in {dark.where} is "
        f"{dark.brightest}, and {bright.brightest} in {bright.where}; in the darker ones, {remedy}"
    )


def require_range_of_training(values: np.ndarray, form: PixelForm, training: Brightness, where: str) -> None:
    """Raise UserError if the numbers of images are of another range than those of the training images, beyond doubt.

    Images much darker than those may just be dark, so they are taken. So are bright ones after training images that
    were nearly as bright, or reached beyond half of white.

    Args:
        values: Images that `form` takes.
        form: That of the training images.
        training: Their brightness.
        where: What `values` is called, for the message.
    """
    if values.dtype.kind == "b" and not form.is_scaled and training.brightest > 1:
        raise UserError(
            f"{where} must be numbers as the training images are, whole ones from 0 to {training.brightest}, but got "
            "truth values; pass the pixels before they were compared with anything"
        )
    given = brightness_of([values], form, where)
    if training.brightest <= HALF < given.brightest and given.brightest >= MUCH_DARKER * training.brightest:
        raise UserError(
            f"{where} must have pixels on the scale of the training images, whose brightest is {training.brightest} of "
            f"{WHITE}, but its brightest is {given.brightest}; scale the pixels as those were"
        )


def note_darker(given: Brightness, training: Brightness) -> str:
    """Write a sentence about images that are much darker than the training images, perhaps by their scale; or nothing.

    It is nothing for a few images, too, which may all be dark.
    """
    if given.n_images < MIN_OF_RANGE or training.brightest <= HALF:
        return ""
    if MUCH_DARKER * given.brightest > training.brightest:
        return ""
    return (
        f"The brightest pixel of {given.where} is {given.brightest} of {WHITE}, but {training.brightest} in the "
        "training images: unless these are dark pictures, scale the pixels as those were"
    )


def _are_bytes(values: np.ndarray) -> bool:
    """Tell whether all values are whole numbers from 0 to 255."""
    if values.dtype == np.uint8 or values.size == 0:
        return True
    if values.min() < 0 or values.max() > 255:
        return False
    return values.dtype.kind in "biu" or _everywhere(values, lambda part: part == np.round(part))


def _require_finite(values: np.ndarray, where: str) -> None:
    if values.dtype.kind != "f" or _everywhere(values, np.isfinite):
        return
    n_bad = values.size - int(np.isfinite(values).sum())
    raise UserError(
        f"{where} must be numbers, but {n_bad:,} of its values are NaN or infinite; fix them, then {AS_BYTES}"
    )


def _everywhere(values: np.ndarray, condition: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Tell whether a condition holds of all values, a thousand images at a time, for memory's sake."""
    return all(condition(values[start : start + 1000]).all() for start in range(0, len(values), 1000))


def _range_of(values: np.ndarray, low: float | None = None, high: float | None = None) -> str:
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    decimal = ""
    if values.dtype.kind == "f" and low >= 0 and 1 < high <= 255:
        decimal = ", not all of them whole"
    return f"{values.dtype}, {low:g} to {high:g}{decimal}"
