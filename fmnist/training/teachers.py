"""What do the teachers of a student say of an image? The mean of what trained networks predict for it.

They are asked in training, for each image as the student sees it: flipped, shifted and erased alike. A teacher that saw
the images unchanged taught nothing that could be measured; one that sees the same views, called consistent by Beyer et
al. 2021, taught as much as longer training (docs/benchmarks).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class Teachers:
    """Trained networks whose weighted mean probabilities a student learns from.

    Same models, machine and number of threads: the same numbers, to the bit.

    Args:
        models: .keras files of networks for the same images and classes.
        weights: of each of them, summing to 1.
    """

    def __init__(self, models: Sequence[Path], weights: Sequence[float]) -> None:
        networks: list[Any] = [keras.saving.load_model(path, compile=False) for path in models]

        def predict(images: tf.Tensor) -> tf.Tensor:
            pixels = tf.cast(images, tf.float32)
            return tf.add_n(
                [weight * network(pixels, training=False) for network, weight in zip(networks, weights, strict=True)]
            )

        shape = networks[0].input_shape[1:]
        self._predict = tf.function(
            predict, input_signature=[tf.TensorSpec((None, *shape), tf.uint8)], autograph=False
        ).get_concrete_function()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Predict probabilities: float32 (n, n_classes). images: uint8 (n, height, width, channels)."""
        return self._predict(tf.constant(images)).numpy()
