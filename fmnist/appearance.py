"""How images lie in their frame: their background, how much of it their object fills, their contrast. NumPy only.

Measured once on the training images and again on every photograph that is to look like them (`fmnist.photographs`), so
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
class Appearance:
    """What a set of images has in common, beside what they show."""

    background: float  # mean border pixel, 0 to 255
    object_share: float  # of the frame's side that an object takes up, on its longer side: the median image's
    contrast: float  # between an image's darkest and lightest pixel: the median image's


@dataclass(frozen=True, eq=False)
class Objects:
    """Where the object of each image is: every array is (n,). The whole frame where none stands out."""

    top: np.ndarray  # int: first row
    bottom: np.ndarray  # int: behind the last row
    left: np.ndarray  # int: first column
    right: np.ndarray  # int: behind the last column
    is_found: np.ndarray  # bool: something stands out from a plain background


def measure_appearance(images: np.ndarray) -> Appearance:
    """Of training images: at least one. The background is that of all; the rest is of up to N_LOOKED_AT of them."""
    if len(images) == 0:
        raise ValueError("images must be at least one, but got none")
    some = images[:: -(-len(images) // N_LOOKED_AT)]
    return Appearance(
        background=float(border(images).mean()),
        object_share=float(np.median(_longer_share(some))),
        contrast=float(np.median(np.ptp(some, axis=(1, 2, 3)))),
    )


def border(images: np.ndarray) -> np.ndarray:
    """The outermost pixels: (n, n_border_pixels, channels)."""
    return np.concatenate([images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]], axis=1)


def border_level(images: np.ndarray) -> np.ndarray:
    """The background of each image, as far as its border shows it: the border's median, float (n, channels). An object
    that touches the border in less than half of its length does not change it."""
    return np.median(border(images), axis=1)


def border_noise(images: np.ndarray) -> np.ndarray:
    """The standard deviation of each image's background, robust in the same way: float (n, channels)."""
    deviations = np.abs(border(images) - border_level(images)[:, np.newaxis])
    return SD_OF_MAD * np.median(deviations, axis=1)


def find_objects(images: np.ndarray) -> Objects:
    """The box around everything that stands out from each image's background."""
    least = np.maximum(LEAST_DIFFERENCE, N_DEVIATIONS * border_noise(images).max(axis=1))
    differences = np.abs(images - border_level(images)[:, np.newaxis, np.newaxis]).max(axis=3)
    stands_out = differences > least[:, np.newaxis, np.newaxis]
    is_found = stands_out.any(axis=(1, 2)) & (least <= PLAIN_LIMIT)
    stands_out[~is_found] = True
    return Objects(*_extent(stands_out.any(axis=2)), *_extent(stands_out.any(axis=1)), is_found)


def _extent(is_lit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first True of each row, and behind the last. is_lit: bool (n, length), some True in each."""
    return is_lit.argmax(axis=1), is_lit.shape[1] - is_lit[:, ::-1].argmax(axis=1)


def _longer_share(images: np.ndarray) -> np.ndarray:
    found = find_objects(images)
    height, width = images.shape[1:3]
    return np.maximum((found.bottom - found.top) / height, (found.right - found.left) / width)
