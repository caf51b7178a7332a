"""How images lie in their frame: their background, how much of it their object fills, their contrast. NumPy only.

Measured once on the training images and again on every photograph that is to look like them (`fmnist.predict.preprocess`), so
both are measured in the same way. images: (n, height, width, channels), pixels from 0 to 255, of any numeric type.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_DIFFERENCE = 16.0  # of 255: what differs less from the background is taken for it (JPEG's noise at edges)
N_DEVIATIONS = 5.0  # of the background's own noise, that an object's pixel differs from it by
SD_OF_MAD = 1.4826  # standard deviation of normal noise, in median absolute deviations
PLAIN_LIMIT = 80.0  # a background that varies by more than that hides its object
N_LOOKED_AT = 2000  # images for a median: more would take seconds and not change it


@dataclass(frozen=True)
class Framing:
    """What a set of images has in common, beside what they show."""

    background: float  # mean border pixel, 0 to 255
    object_share: float  # of the frame's side that an object takes up, on its longer side: the median image's
    contrast: float  # between an image's darkest and lightest pixel: the median image's


@dataclass(frozen=True, eq=False)
class Objects:
    """Where the object of each image is, and what is behind it. The whole frame where none stands out."""

    top: np.ndarray  # int (n,): first row
    bottom: np.ndarray  # int (n,): behind the last row
    left: np.ndarray  # int (n,): first column
    right: np.ndarray  # int (n,): behind the last column
    is_found: np.ndarray  # bool (n,): something stands out from a plain background
    backgrounds: np.ndarray  # float32 (n, height, width, channels): the images without their objects
    noise: np.ndarray  # float (n,): the standard deviation of the border around its background


def measure_framing(images: np.ndarray) -> Framing:
    """Of training images: at least one. The background is that of all; the rest is of up to N_LOOKED_AT of them."""
    if len(images) == 0:
        raise ValueError("images must be at least one, but got none")
    some = images[:: -(-len(images) // N_LOOKED_AT)]
    return Framing(
        background=float(border(images).mean()),
        object_share=float(np.median(_longer_share(some))),
        contrast=float(np.median(np.ptp(some, axis=(1, 2, 3)))),
    )


def border(images: np.ndarray) -> np.ndarray:
    """The outermost pixels: (n, n_border_pixels, channels)."""
    return np.concatenate([images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]], axis=1)


def border_level(images: np.ndarray) -> np.ndarray:
    """The border's median, float (n, channels): an object that touches the border in less than half of its length does
    not change it."""
    return np.median(border(images), axis=1)


def find_objects(images: np.ndarray) -> Objects:
    """The box around everything that stands out from each image's background."""
    backgrounds, noise = _backgrounds(images)
    least = np.maximum(LEAST_DIFFERENCE, N_DEVIATIONS * noise)
    stands_out = np.abs(images - backgrounds).max(axis=3) > least[:, np.newaxis, np.newaxis]
    is_found = stands_out.any(axis=(1, 2)) & (least <= PLAIN_LIMIT)
    stands_out[~is_found] = True
    extents = *_extent(stands_out.any(axis=2)), *_extent(stands_out.any(axis=1))
    return Objects(*extents, is_found, backgrounds, noise)


def _backgrounds(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Judged by the border: of one level, or, where that fits it at least twice as well, lit from one side. And the
    noise around it."""
    flat = np.broadcast_to(_column(border_level(images)), images.shape).astype(np.float32)
    slope = _slope(images)
    sloped = slope + _column(border_level(images - slope))
    noise, sloped_noise = _noise(images - flat), _noise(images - sloped)
    is_sloped = sloped_noise < noise / 2
    return np.where(_column(is_sloped[:, np.newaxis]), sloped, flat), np.where(is_sloped, sloped_noise, noise)


def _slope(images: np.ndarray) -> np.ndarray:
    """A plane through the medians of opposite edges, 0 in the middle: float32 (n, height, width, channels)."""
    height, width = images.shape[1:3]
    down = _column(np.median(images[:, -1], axis=1) - np.median(images[:, 0], axis=1))
    right = _column(np.median(images[:, :, -1], axis=1) - np.median(images[:, :, 0], axis=1))
    rows, columns = np.linspace(-0.5, 0.5, height), np.linspace(-0.5, 0.5, width)
    return (down * rows[:, np.newaxis, np.newaxis] + right * columns[:, np.newaxis]).astype(np.float32)


def _noise(differences: np.ndarray) -> np.ndarray:
    """The border's standard deviation around 0, as robust as its median: float (n,), of the noisiest channel."""
    return SD_OF_MAD * np.median(np.abs(border(differences)), axis=1).max(axis=1)


def _column(values: np.ndarray) -> np.ndarray:
    """(n, channels) -> (n, 1, 1, channels)"""
    return values[:, np.newaxis, np.newaxis]


def _extent(is_lit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first True of each row, and behind the last. is_lit: bool (n, length), some True in each."""
    return is_lit.argmax(axis=1), is_lit.shape[1] - is_lit[:, ::-1].argmax(axis=1)


def _longer_share(images: np.ndarray) -> np.ndarray:
    found = find_objects(images)
    height, width = images.shape[1:3]
    return np.maximum((found.bottom - found.top) / height, (found.right - found.left) / width)
