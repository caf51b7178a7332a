"""From an architecture to a Keras model. The layers and their names are those of `cost.describe_layers`."""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from fmnist.recipe import Architecture, Block

NORMALIZATION_MOMENTUM = 0.9  # Keras' 0.99 needs hundreds of steps to forget its start: too slow for short trainings


def build_model(architecture: Architecture, pixel_mean: float, pixel_std: float) -> keras.Model:
    """A new network with random weights. It takes float32 (n, height, width, channels), raw pixels from 0 to 255, and
    gives probabilities, float32 (n, n_classes).

    The model standardizes pixels itself and holds nothing but Keras' own layers, so that its file needs no other code.
    Raises ValueError if pixel_std is not positive.
    """
    if not pixel_std > 0:
        raise ValueError(f"pixel_std must be positive, but got {pixel_std=}; are all images of one colour?")
    pixels = keras.Input(architecture.image_shape, dtype="float32", name="pixels")
    x = layers.Rescaling(1 / pixel_std, offset=-pixel_mean / pixel_std, name="standardize")(pixels)
    for i, block in enumerate(architecture.blocks):
        x = _apply_block(architecture, i, block, x)
    x = _apply_head(architecture, x)
    # Apart from the logits: Keras' loss looks behind a softmax for its logits, so that saturation costs no precision.
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(pixels, probabilities, name="classifier")


def _apply_block(architecture: Architecture, i: int, block: Block, x: KerasTensor) -> KerasTensor:
    prefix = f"block{i + 1}"
    shortcut = None
    for j in range(1, block.n_convolutions + 1):
        x = _convolution(architecture, block, f"{prefix}_conv{j}")(x)
        if j == architecture.pools_after(i):
            x = _pooling(architecture, f"{prefix}_pool")(x)  # before normalization: measured a fifth less time
        x = _normalize(architecture, x, f"{prefix}_norm{j}")
        if j == block.n_convolutions and block.residual:
            x = layers.Add(name=f"{prefix}_add")([shortcut, x])
        x = _activate(architecture, x, f"{prefix}_act{j}")
        shortcut = x if j == 1 else shortcut
    return layers.SpatialDropout2D(block.dropout, name=f"{prefix}_dropout")(x) if block.dropout > 0 else x


def _apply_head(architecture: Architecture, x: KerasTensor) -> KerasTensor:
    """Everything behind the blocks, up to the logits."""
    x = _flattening(architecture)(x)
    for i, units in enumerate(architecture.dense_units, start=1):
        x = _drop(architecture, x, f"dense{i}_dropout")
        use_bias = not architecture.batch_normalization
        x = layers.Dense(units, use_bias=use_bias, kernel_initializer="he_normal", name=f"dense{i}")(x)
        x = _activate(architecture, _normalize(architecture, x, f"dense{i}_norm"), f"dense{i}_act")
    x = _drop(architecture, x, "logits_dropout")
    # From zero, every class is equally likely at the start. With Keras' default weights, a globally pooled network
    # begins with large logits: the default recipe's mean loss over its first 25,000 images was 2.39 instead of 1.30,
    # its selection accuracy after two annealed epochs of Fashion-MNIST 88.1 instead of 90.3 % (one run each).
    return layers.Dense(architecture.n_classes, kernel_initializer="zeros", name="logits")(x)


def _convolution(architecture: Architecture, block: Block, name: str) -> layers.Layer:
    return layers.Conv2D(
        block.filters,
        block.kernel_size,
        padding="same",
        use_bias=not architecture.batch_normalization,  # normalization has an offset of its own
        kernel_initializer="he_normal",
        name=name,
    )


def _pooling(architecture: Architecture, name: str) -> layers.Layer:
    kinds = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
    return kinds[architecture.pooling](pool_size=2, name=name)


def _flattening(architecture: Architecture) -> layers.Layer:
    kinds = {
        "flatten": layers.Flatten,
        "global_average": layers.GlobalAveragePooling2D,
        "global_max": layers.GlobalMaxPooling2D,
    }
    return kinds[architecture.head](name=architecture.head)


def _normalize(architecture: Architecture, x: KerasTensor, name: str) -> KerasTensor:
    if not architecture.batch_normalization:
        return x
    return layers.BatchNormalization(momentum=NORMALIZATION_MOMENTUM, name=name)(x)


def _activate(architecture: Architecture, x: KerasTensor, name: str) -> KerasTensor:
    if architecture.activation == "gelu":
        # Activation("gelu") is the exact form, which makes invalid ONNX files; Activation(keras.ops.gelu) is
        # approximate here but exact once saved and loaded. An operation of the graph keeps its argument.
        return keras.ops.gelu(x, approximate=True)
    return layers.Activation(architecture.activation, name=name)(x)


def _drop(architecture: Architecture, x: KerasTensor, name: str) -> KerasTensor:
    return layers.Dropout(architecture.head_dropout, name=name)(x) if architecture.head_dropout > 0 else x
