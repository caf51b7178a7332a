"""Labelled images in memory, and what their pixels alone can tell. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and what they show, in the file's order."""

    images: np.ndarray  # uint8 (n, height, width, channels), 0 to 255
    labels: np.ndarray  # uint8 (n,), 0 to n_classes - 1

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 (n, h, w, c), but got {self.images.dtype} {self.images.shape}")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.uint8:
            raise ValueError(
                f"labels must be uint8 ({len(self.images)},), but got {self.labels.dtype} {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, indices: np.ndarray) -> LabelledImages:
        return LabelledImages(self.images[indices], self.labels[indices])


def joined(*parts: LabelledImages) -> LabelledImages:
    """One after the other."""
    return LabelledImages(
        np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts])
    )


def is_constant(images: np.ndarray) -> np.ndarray:
    """Which images have one colour only: bool (n,)."""
    return np.array([(image == image[0, 0]).all() for image in images], bool)
