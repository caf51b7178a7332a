"""What may `fit` and `predict` be given? Arrays as scikit-learn has them become images, and any labels classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.multiclass import check_classification_targets

from fmnist.data.arrays.pixels import CHANNELS
from fmnist.data.images import Shape
from fmnist.values import shown
from search.classifier.errors import InvalidInput


def image_shape_of(image_shape: Any) -> tuple[int, ...] | None:
    """Return an `image_shape` as a tuple of 2 or 3 numbers; None: there is none.

    Raises:
        InvalidInput: It is something else.
    """
    if image_shape is None:
        return None
    sides = tuple(image_shape) if isinstance(image_shape, Sequence | np.ndarray) else ()
    is_number = [isinstance(side, int | np.integer) and not isinstance(side, bool) and side > 0 for side in sides]
    if len(sides) not in (2, 3) or not all(is_number) or not set(sides[2:]) <= set(CHANNELS):
        raise InvalidInput(
            f"image_shape must be (height, width) or (height, width, channels), but got {shown(image_shape)}; pass "
            "whole numbers above 0, the channels 1 or 3, or leave it out"
        )
    return tuple(int(side) for side in sides)


def as_images(values: np.ndarray, image_shape: tuple[int, ...] | None) -> np.ndarray:
    """Return rows of pixels as images, and images as they are.

    Args:
        values: Numbers, (n, height, width[, channels]), or (n, features).
        image_shape: Of the image in a row; None: rows are square grey images.

    Raises:
        InvalidInput: Rows are no images, images have another shape, or what should be pixels is below 0.
    """
    n_features = math.prod(values.shape[1:])
    if image_shape is not None and math.prod(image_shape) != n_features:
        raise InvalidInput(
            f"image_shape must have as many pixels as X has features, {n_features:,}, but got {image_shape}; pass the "
            "height, width and channels of the images in X"
        )
    if image_shape is None and values.ndim == 2 and math.isqrt(n_features) ** 2 != n_features:
        raise InvalidInput(
            f"X must have images, or rows of as many pixels as a square has, but got rows of {n_features:,} features; "
            "pass image_shape=(height, width) or (height, width, channels)"
        )
    if values.dtype.kind == "f" and values.min() < 0:
        raise InvalidInput(
            f"Negative values in data: X must have pixels, from 0 to 255 or from 0 to 1, but got {values.min():.3g} to "
            f"{values.max():.3g}; leave scalers out of the Pipeline, as the networks standardize pixels themselves"
        )
    if image_shape is not None and values.ndim == 2:
        return values.reshape(len(values), *image_shape)
    return values


def require_dense(X: Any) -> None:
    """Raise InvalidInput for a sparse array or matrix."""
    if issparse(X):
        raise InvalidInput("X must be a dense array, but got a sparse one; pass X.toarray()")


def require_image_shape(image_shape: tuple[int, ...] | None, shape: Shape) -> None:
    """Raise InvalidInput if images of this shape, which X has, contradict an `image_shape`; None: there is none."""
    if image_shape is not None and (*image_shape, 1)[:3] != shape:
        raise InvalidInput(
            f"image_shape must be that of the images in X, {shape}, but got {image_shape}; leave it out, as it is for "
            "rows of pixels"
        )


def classes_of(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes that labels have, sorted, and each label's place among them: int64 (n,).

    Args:
        y: Texts, whole numbers, truth values or objects of one such type, (n,).

    Raises:
        ValueError: They are no classes, or of several types.
    """
    try:
        classes, numbers = np.unique(y, return_inverse=True)
    except TypeError:  # they cannot be sorted
        names = " and ".join(sorted({type(label).__name__ for label in y.tolist()}))
        raise InvalidInput(
            f"y must have labels of one type, but got {names}; make them all texts, such as [str(label) for label in "
            "y], and leave out images without a label"
        ) from None
    if isinstance(classes.tolist()[0], bytes):
        raise InvalidInput(
            "y must have labels that are texts, numbers or truth values, but got bytes; pass [label.decode() for label "
            "in y]"
        )
    check_classification_targets(y)
    return classes, numbers.astype(np.int64)


def names_of_classes(classes: np.ndarray) -> list[str]:
    """Return what reports and the model file call the classes: as they print, or as Python writes them."""
    names = []
    for label in classes.tolist():
        name = str(label)
        names.append(name if name.strip() and name.isprintable() else repr(label))
    return names
