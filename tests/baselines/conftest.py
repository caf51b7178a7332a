"""A few hundred digits: what baselines learn from, and what they have not seen."""

from __future__ import annotations

import pytest

from fmnist.data.images import LabelledImages
from fmnist.data.split import Split


def some(labelled: LabelledImages, start: int, stop: int) -> LabelledImages:
    """The images from start to before stop."""
    return LabelledImages(labelled.images[start:stop], labelled.labels[start:stop])


@pytest.fixture(scope="module")
def split(digits_split: Split) -> Split:
    """400 images to train on, 150 and 100 to select and to confirm on."""
    parts = (some(digits_split.train, 0, 400), some(digits_split.selection, 0, 150))
    return Split(*parts, some(digits_split.confirmation, 0, 100), checksum="", seed=0)


@pytest.fixture(scope="module")
def unseen(digits_split: Split) -> LabelledImages:
    """559 images that are in none of the parts."""
    return some(digits_split.train, 400, 959)
