"""Search spaces from their files, checked as a run checks them."""

from __future__ import annotations

from pathlib import Path

from search.config import SHIPPED_SPACES
from search.space.schema import read_space_text, space_of
from search.space.space import SearchSpace

DIGITS = SHIPPED_SPACES / "digits.toml"
FASHION_MNIST = SHIPPED_SPACES / "fashion-mnist.toml"


def space_from(path: Path, image_shape: tuple[int, ...], n_classes: int = 10) -> SearchSpace:
    """Read and check a space file for images of this shape."""
    height, width, channels = image_shape
    return space_of(read_space_text(path), path, (height, width, channels), n_classes)


def digits_space() -> SearchSpace:
    """The space that ships for scikit-learn's digits."""
    return space_from(DIGITS, (8, 8, 1))
