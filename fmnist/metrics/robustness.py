"""What test images may look like elsewhere: moved, noisy, darker, mirrored. Arrays in, arrays out.

Images are uint8 (n, height, width, channels) and stay so. What is random is drawn from a seed, so that every model
sees the same images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    """All that are tried, each kind from little to much. border: of moved images, see `TrainingPlan.border`."""
    return (
        *(Change("shift", f"moved by {n} px, one of four ways", _shifted_by(n, border)) for n in (1, 2, 4)),
        *(Change("noise", f"noise of standard deviation {sd} (of 255)", _noisy_by(sd)) for sd in (10, 25, 50)),
        *(Change("brightness", f"brightness times {factor}", _brighter_by(factor)) for factor in (0.5, 0.75, 1.5)),
        Change("mirror", "mirrored left-right", lambda images, _: images[:, :, ::-1]),
        Change("mirror", "upside down", lambda images, _: images[:, ::-1]),
    )


def _shifted_by(n_pixels: int, border: str) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        ways = generator.integers(len(DIRECTIONS), size=len(images))
        moved = np.empty_like(images)
        for way, (rows, columns) in enumerate(DIRECTIONS):
            moved[ways == way] = _moved(images[ways == way], rows * n_pixels, columns * n_pixels, border)
        return moved

    return shifted


def _moved(images: np.ndarray, rows: int, columns: int, border: str) -> np.ndarray:
    """By so many rows down and columns to the right."""
    height, width = images.shape[1:3]
    n_pixels = max(abs(rows), abs(columns))
    padded = with_margin(images, n_pixels, border)
    return padded[:, n_pixels - rows : n_pixels - rows + height, n_pixels - columns : n_pixels - columns + width]


def _noisy_by(sd: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def noisy(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        noise = generator.standard_normal(images.shape, dtype=np.float32) * sd
        return _as_pixels(images + noise)

    return noisy


def _brighter_by(factor: float) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    return lambda images, _: _as_pixels(images * np.float32(factor))


def _as_pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
