"""scikit-learn's handwritten digits as a data set, which every machine has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fmnist.data.checksums import md5
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource, build_source
from fmnist.data.split import stratified


def digits_source() -> DataSource:
    """Make scikit-learn's digits a data set. The fifth that is its test set never depends on a study's seed."""
    train, test = read_digits()
    arrays = (train.images, train.labels, test.images, test.labels)
    return build_source(
        dataset="digits",
        folder=None,
        checksums={"digits": md5(*(array.tobytes() for array in arrays))},
        class_names="0123456789",
        image_shape=(8, 8, 1),
        test=test,
        read_train=lambda: read_digits()[0],
        read_test=lambda: read_digits()[1],
    )


def read_digits() -> tuple[LabelledImages, LabelledImages]:
    """Read the training and the test images of scikit-learn's digits, their 17 greys spread over 0 to 255."""
    from sklearn.datasets import load_digits  # here: scikit-learn takes a second that readers of IDX files save

    digits: Any = load_digits()
    images = np.round(digits.images[..., np.newaxis] * 255 / 16).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    train, test = stratified(np.arange(len(labels)), labels, math.ceil(len(labels) / 5), seed=0)
    everything = LabelledImages(images, labels)
    return everything.rows(train), everything.rows(test)
