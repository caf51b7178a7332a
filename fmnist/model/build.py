"""How does an architecture become a Keras model? One layer after another, as `layers.describe_layers` lists them."""

from __future__ import annotations

from typing import Any

import keras

from fmnist.model.layers import LayerSummary, describe_layers
from fmnist.recipe import Architecture


def build_model(architecture: Architecture, pixel_mean: float, pixel_std: float) -> keras.Model:
    """Build a new network with random weights, drawn from Keras' global seed.

    The model standardizes pixels itself and holds nothing but Keras' own layers, so that its file needs no other code.

    Args:
        architecture: what to build.
        pixel_mean: mean of the training images' pixels, 0 to 255.
        pixel_std: their standard deviation.

    Returns:
        A model that takes float32 (n, height, width, channels), raw pixels from 0 to 255, and gives probabilities,
        float32 (n, n_classes).

    Raises:
        ValueError: pixel_std is not positive.
    """
    if not pixel_std > 0:
        raise ValueError(f"pixel_std must be positive, but got {pixel_std=}; are all images of one colour?")
    standardization = {"scale": 1 / pixel_std, "offset": -pixel_mean / pixel_std}
    pixels = keras.Input(architecture.image_shape, dtype="float32", name="pixels")
    x: Any = pixels
    outputs = {}  # by the layer's name
    for layer in describe_layers(architecture):
        if layer.name == "standardize":
            x = keras.layers.Rescaling(name=layer.name, **standardization)(x)
        elif layer.shortcut_from is not None:
            x = keras.layers.Add(name=layer.name)([outputs[layer.shortcut_from], x])
        else:
            x = _apply(layer, x)
        outputs[layer.name] = x
    return keras.Model(pixels, x, name="classifier")


def _apply(layer: LayerSummary, x: Any) -> Any:
    if layer.arguments.get("activation") == "gelu":
        # Activation("gelu") is the exact form, which makes invalid ONNX files; Activation(keras.ops.gelu) is
        # approximate here but exact once saved and loaded. An operation of the graph keeps its argument.
        return keras.ops.gelu(x, approximate=True)
    return getattr(keras.layers, layer.kind)(name=layer.name, **layer.arguments)(x)
