"""Predict with a built network, and save it for users."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np


def in_chunks(predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, batch_size: int) -> np.ndarray:
    """Apply `predict` to equal chunks of at most batch_size images, the last one padded with zeros: one shape for the
    whole set. images: (n, ...), n > 0."""
    n_images = len(images)
    chunk_size = math.ceil(n_images / math.ceil(n_images / batch_size))
    padding = np.zeros((-n_images % chunk_size, *images.shape[1:]), images.dtype)
    padded = np.concatenate([images, padding]) if len(padding) else images
    chunks = [predict(padded[start : start + chunk_size]) for start in range(0, len(padded), chunk_size)]
    return np.concatenate(chunks)[:n_images]


def predict_probabilities(model: keras.Model, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """The probability of each class: float32 (n, n_classes). images: uint8 (n, height, width, channels), raw pixels."""
    if len(images) == 0:
        return np.zeros((0, model.output_shape[-1]), np.float32)
    return in_chunks(lambda chunk: model.predict_on_batch(chunk.astype(np.float32)), images, batch_size)


def save_for_users(model: keras.Model, path: Path) -> None:
    """Write a .keras file with the network alone: no optimizer, no loss, nothing that needs more than Keras to load.

    Raises ValueError unless the path ends in .keras.
    """
    keras.Model(model.inputs, model.outputs, name=model.name).save(path)  # the same layers, never compiled
