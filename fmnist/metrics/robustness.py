"""What may test images look like elsewhere? Moved, noisy, darker, mirrored. Arrays in, arrays out.

Images are uint8 (n, height, width, channels) and stay so. What is random is drawn from a seed, so that every model
sees the same images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from fmnist.training.augmentation import with_margin

DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # rows, columns


@dataclass(frozen=True)
class Change:
    """One way in which images are changed, by how much."""

    kind: str  # "shift", "noise", "brightness" or "mirror"
    name: str  # in words
    apply: Callable[[np.ndarray, np.random.Generator], np.ndarray]


def changes(border: str = "black") -> tuple[Change, ...]:
    """List all changes that are tried, each kind from little to much.

    Args:
        border: what comes in over the border of moved images, see `TrainingPlan.border`.
    """
    found = []
    for n in (1, 2, 4):
        move = partial(move_one_way, n_pixels=n, border=border)
        found.append(Change("shift", f"moved by {n} px, one of four ways", move))
    for sd in (10, 25, 50):
        found.append(Change("noise", f"noise of standard deviation {sd} (of 255)", partial(add_noise, sd=sd)))
    for factor in (0.5, 0.75, 1.5):
        found.append(Change("brightness", f"brightness times {factor}", partial(scale_brightness, factor=factor)))
    found.append(Change("mirror", "mirrored left-right", mirror_left_right))
    found.append(Change("mirror", "upside down", turn_upside_down))
    return tuple(found)


def move_one_way(images: np.ndarray, generator: np.random.Generator, n_pixels: int, border: str) -> np.ndarray:
    """Move every image by this many pixels up, down, left or right, all equally likely.

    Args:
        images: uint8 (n, height, width, channels).
        generator: draws the directions.
        n_pixels: at least 1.
        border: what comes in, see `TrainingPlan.border`.
    """
    height, width = images.shape[1:3]
    ways = generator.integers(len(DIRECTIONS), size=len(images))
    moved = np.empty_like(images)
    for way, (down, right) in enumerate(DIRECTIONS):
        padded = with_margin(images[ways == way], n_pixels, border)
        top, left = n_pixels * (1 - down), n_pixels * (1 - right)
        moved[ways == way] = padded[:, top : top + height, left : left + width]
    return moved


def add_noise(images: np.ndarray, generator: np.random.Generator, sd: float) -> np.ndarray:
    """Add Gaussian noise of this standard deviation, of 255, to every pixel and channel."""
    noise = generator.standard_normal(images.shape, dtype=np.float32) * sd
    return _as_pixels(images + noise)


def scale_brightness(images: np.ndarray, generator: np.random.Generator, factor: float) -> np.ndarray:
    """Multiply every pixel by the factor; nothing is random in it."""
    return _as_pixels(images * np.float32(factor))


def mirror_left_right(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Exchange left and right; nothing is random in it."""
    return images[:, :, ::-1]


def turn_upside_down(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Exchange top and bottom; nothing is random in it."""
    return images[:, ::-1]


def _as_pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
