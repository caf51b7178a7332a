"""Labelled images in memory. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Shape = tuple[int, int, int]  # height, width, channels


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and the class that each of them shows, in the order of their file.

    Raises:
        ValueError: The arrays have another type or shape than the fields say, or differ in length.
    """

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

    @property
    def shape(self) -> Shape:
        """Height, width and channels of each image."""
        _, height, width, n_channels = self.images.shape
        return height, width, n_channels

    def rows(self, indices: np.ndarray) -> LabelledImages:
        """Copy the images and labels with these indices, an int array of any length, in its order."""
        return LabelledImages(self.images[indices], self.labels[indices])


def joined(*parts: LabelledImages) -> LabelledImages:
    """Copy several sets of images of one shape into one, in the order given."""
    return LabelledImages(
        np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts])
    )


def is_constant(images: np.ndarray) -> np.ndarray:
    """Tell which images have one colour only.

    Args:
        images: (n, height, width, channels).

    Returns:
        bool (n,).
    """
    return np.array([(image == image[0, 0]).all() for image in images], bool)
