"""What does a built network predict, and how is it saved for whoever uses it?"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np


def in_chunks(predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, batch_size: int) -> np.ndarray:
    """Apply `predict` to equal chunks of the images, the last one padded with zeros, so that it meets one shape only.

    Args:
        predict: takes (chunk, ...) and gives (chunk, n_classes).
        images: (n, ...), n > 0.
        batch_size: images in a chunk, at most.

    Returns:
        What predict gives for the n images, padding left out: (n, n_classes).
    """
    n_images = len(images)
    chunk_size = math.ceil(n_images / math.ceil(n_images / batch_size))
    predicted = []
    for start in range(0, n_images, chunk_size):
        chunk = images[start : start + chunk_size]
        n_missing = chunk_size - len(chunk)
        if n_missing:  # the chunk alone is copied: all images may be a memory map, larger than the memory that is left
            chunk = np.concatenate([chunk, np.zeros((n_missing, *images.shape[1:]), images.dtype)])
        predicted.append(predict(chunk))
    return np.concatenate(predicted)[:n_images]


def predict_probabilities(model: keras.Model, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Predict the probability of each class.

    Args:
        model: raw pixels -> probabilities.
        images: uint8 (n, height, width, channels), raw pixels; n may be 0.
        batch_size: images in a call of the model, at most.

    Returns:
        float32 (n, n_classes).
    """
    if len(images) == 0:
        return np.zeros((0, model.output_shape[-1]), np.float32)
    return in_chunks(lambda chunk: model.predict_on_batch(chunk.astype(np.float32)), images, batch_size)


def save_for_users(model: keras.Model, path: Path) -> None:
    """Write a .keras file with the network alone: no optimizer, no loss, nothing that needs more than Keras to load.

    Raises:
        ValueError: the path does not end in .keras.
    """
    keras.Model(model.inputs, model.outputs, name=model.name).save(path)  # the same layers, never compiled
