"""How do several models become one? A model of Keras' own layers that averages what they predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras


def average_models(paths: Sequence[Path], weights: Sequence[float], *, mirrored: bool = False) -> keras.Model:
    """Build the model whose probabilities are the weighted mean of those of saved models.

    It holds all of them and nothing but Keras' own layers, so that its file needs no other code.

    Args:
        paths: .keras files of models that take the same pixels and tell the same classes apart.
        weights: one for each model, summing to 1.
        mirrored: each model predicts an image and its mirror image (left-right), and both count the same.

    Returns:
        A model that takes float32 (n, height, width, channels), raw pixels from 0 to 255, and gives probabilities,
        float32 (n, n_classes).

    Raises:
        ValueError: there is no model, or not a weight for each.
    """
    if not paths or len(paths) != len(weights):
        raise ValueError(f"one or more models with a weight each are needed, but got {len(paths)} and {len(weights)}")
    pixels: Any = None
    mirror_image: Any = None
    shares = []
    for i, (path, weight) in enumerate(zip(paths, weights, strict=True)):
        loaded: Any = keras.saving.load_model(path, compile=False)
        member = keras.Model(loaded.inputs[0], loaded.outputs[0], name=f"member{i}")
        if pixels is None:
            pixels = keras.Input(loaded.input_shape[1:], dtype="float32", name="pixels")
            mirror_image = keras.ops.flip(pixels, axis=2) if mirrored else None
        predicted, share = member(pixels), weight
        if mirrored:
            predicted, share = keras.layers.Add(name=f"views{i}")([predicted, member(mirror_image)]), weight / 2
        shares.append(keras.layers.Rescaling(share, name=f"share{i}")(predicted))
    mean = shares[0] if len(shares) == 1 else keras.layers.Add(name="mean")(shares)
    return keras.Model(pixels, mean, name="ensemble")
