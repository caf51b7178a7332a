"""How images lie in their frame: their background, how much of it their object fills, their contrast. NumPy only.

This is measured once on the training images and again on every photograph that is to look like them
(`fmnist.predict.preprocess`), in the same way. images: (n, height, width, channels), pixels from 0 to 255, of any
numeric type.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_DIFFERENCE = 16.0  # of 255: what differs less from the background is taken for it (JPEG's noise at edges)
N_DEVIATIONS = 5.0  # of the background's own noise, that an object's pixel differs from it by
SD_OF_MAD = 1.4826  # standard deviation of normal noise, in median absolute deviations
PLAIN_LIMIT = 80.0  # a background that varies by more than that hides its object
N_MEASURED = 2000  # images for a median: more would take seconds and not change it


@dataclass(frozen=True)
class Framing:
    """What a set of images has in common, beside what they show."""

    background: float  # mean border pixel, 0 to 255
    object_share: float  # of the frame's side that an object takes up, on its longer side: the median image's
    contrast: float  # between an image's darkest and lightest pixel: the median image's


@dataclass(frozen=True, eq=False)
class Objects:
    """Where the object of each image is, and what is behind it. The whole frame if none stands out."""

    top: np.ndarray  # int (n,): first row
    bottom: np.ndarray  # int (n,): behind the last row
    left: np.ndarray  # int (n,): first column
    right: np.ndarray  # int (n,): behind the last column
    is_found: np.ndarray  # bool (n,): something stands out from a plain background
    backgrounds: np.ndarray  # float32 (n, height, width, channels): the images without their objects
    noise: np.ndarray  # float (n,): the standard deviation of the border around its background


def measure_framing(images: np.ndarray) -> Framing:
    """Measure what training images have in common.

    The background is that of all images; the rest is of N_MEASURED of them at most, evenly spread.

    Args:
        images: (n, height, width, channels), at least one.
    """
    if len(images) == 0:
        raise ValueError("images must be at least one, but got none")
    some = images[:: -(-len(images) // N_MEASURED)]
    found = find_objects(some)
    height, width = images.shape[1:3]
    longer_shares = np.maximum((found.bottom - found.top) / height, (found.right - found.left) / width)
    return Framing(
        background=float(border(images).mean()),
        object_share=float(np.median(longer_shares)),
        contrast=float(np.median(np.ptp(some, axis=(1, 2, 3)))),
    )


def border(images: np.ndarray) -> np.ndarray:
    """Collect the outermost pixels of each image: (n, n_border_pixels, channels)."""
    return np.concatenate([images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]], axis=1)


def border_level(images: np.ndarray) -> np.ndarray:
    """Compute the median of each border, which an object that touches less than half of it does not change.

    Returns:
        float (n, channels).
    """
    return np.median(border(images), axis=1)


def find_objects(images: np.ndarray) -> Objects:
    """Find the box around everything that stands out from each image's background."""
    backgrounds, noise = find_backgrounds(images)
    threshold = np.maximum(MIN_DIFFERENCE, N_DEVIATIONS * noise)
    stands_out = np.abs(images - backgrounds).max(axis=3) > threshold[:, np.newaxis, np.newaxis]
    is_found = stands_out.any(axis=(1, 2)) & (threshold <= PLAIN_LIMIT)
    stands_out[~is_found] = True
    top, bottom = _extent(stands_out.any(axis=2))
    left, right = _extent(stands_out.any(axis=1))
    return Objects(top, bottom, left, right, is_found, backgrounds, noise)


def find_backgrounds(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Judge by the border what is behind the object of each image, and how noisy that is.

    A background has one level, or, where that fits the border at least twice as well, is lit from one side: a plane
    through the medians of opposite edges.

    Returns:
        Backgrounds, float32 of the shape of images, and the standard deviation of the noise around them, float (n,).
    """
    flat = np.broadcast_to(_column(border_level(images)), images.shape).astype(np.float32)
    height, width = images.shape[1:3]
    down = _column(np.median(images[:, -1], axis=1) - np.median(images[:, 0], axis=1))
    right = _column(np.median(images[:, :, -1], axis=1) - np.median(images[:, :, 0], axis=1))
    rows, columns = np.linspace(-0.5, 0.5, height), np.linspace(-0.5, 0.5, width)
    slope = (down * rows[:, np.newaxis, np.newaxis] + right * columns[:, np.newaxis]).astype(np.float32)
    sloped = slope + _column(border_level(images - slope))
    noise, sloped_noise = _noise(images - flat), _noise(images - sloped)
    is_sloped = sloped_noise < noise / 2
    return np.where(_column(is_sloped[:, np.newaxis]), sloped, flat), np.where(is_sloped, sloped_noise, noise)


def _noise(differences: np.ndarray) -> np.ndarray:
    """The border's standard deviation around 0, as robust as its median: float (n,), of the noisiest channel."""
    return SD_OF_MAD * np.median(np.abs(border(differences)), axis=1).max(axis=1)


def _column(values: np.ndarray) -> np.ndarray:
    """(n, channels) -> (n, 1, 1, channels)"""
    return values[:, np.newaxis, np.newaxis]


def _extent(is_lit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first True of each row, and behind the last. is_lit: bool (n, length), some True in each."""
    return is_lit.argmax(axis=1), is_lit.shape[1] - is_lit[:, ::-1].argmax(axis=1)
