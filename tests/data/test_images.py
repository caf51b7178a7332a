"""Labelled images are of one type and length."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist.data.images import LabelledImages


def test_labelled_images_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels must be uint8 \(2,\)"):
        LabelledImages(np.zeros((2, 4, 4, 1), np.uint8), np.zeros(3, np.uint8))


def test_labelled_images_of_wrong_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images must be uint8 \(n, h, w, c\), but got float64"):
        LabelledImages(np.zeros((2, 4, 4, 1)), np.zeros(2, np.uint8))
