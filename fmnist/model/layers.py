"""Which layers does an architecture have, and what do they cost? Told without building anything and without Keras.

`build.build_model` folds over `describe_layers`, so the layers counted here are the layers built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fmnist.recipe import Architecture

Shape = tuple[int, ...]  # without the batch
HEAD_KINDS = {"flatten": "Flatten", "global_average": "GlobalAveragePooling2D", "global_max": "GlobalMaxPooling2D"}
POOLING_KINDS = {"max": "MaxPooling2D", "average": "AveragePooling2D"}
NORMALIZATION_MOMENTUM = 0.9  # Keras' 0.99 needs hundreds of steps to forget its start: too slow for short trainings


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a network: its name, kind, output and cost."""

    name: str  # as in the model, such as block1_conv1 (in the model, Keras names an activation of gelu)
    kind: str  # Keras' class, such as Conv2D
    output_shape: tuple[int, ...]  # without the batch
    n_parameters: int = 0  # all weights, the moving statistics of batch normalization included
    multiply_adds: int = 0  # per image, forward; convolutions and dense layers only
    arguments: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # of Keras' class, without name
    shortcut_from: str | None = None  # of an Add: the layer whose output is added to that of the layer before


def count_parameters(architecture: Architecture) -> int:
    """Count all weights, the moving statistics of batch normalization included, as Keras' `count_params` does."""
    return sum(layer.n_parameters for layer in describe_layers(architecture))


def count_multiply_adds(architecture: Architecture) -> int:
    """Count the multiply-adds per image, forward, of convolutions and dense layers.

    A kernel counts in full at the borders.
    """
    return sum(layer.multiply_adds for layer in describe_layers(architecture))


def describe_layers(architecture: Architecture) -> tuple[LayerSummary, ...]:
    """List every layer after the input, from the image to the probabilities, in the order in which they are built."""
    layers = [LayerSummary("standardize", "Rescaling", architecture.image_shape)]
    for i in range(len(architecture.blocks)):
        layers.extend(_block_layers(architecture, i, layers[-1].output_shape))
    layers.extend(_head_layers(architecture, layers[-1].output_shape))
    return tuple(layers)


def _block_layers(architecture: Architecture, i: int, shape: Shape) -> Iterator[LayerSummary]:
    block, prefix = architecture.blocks[i], f"block{i + 1}"
    for j in range(1, block.n_convolutions + 1):
        height, width, channels = shape
        shape = (height, width, block.filters)
        n_weights = block.kernel_size**2 * channels * block.filters
        use_bias = not architecture.batch_normalization  # normalization has an offset of its own
        yield LayerSummary(
            f"{prefix}_conv{j}",
            "Conv2D",
            shape,
            n_parameters=n_weights + use_bias * block.filters,
            multiply_adds=height * width * n_weights,
            arguments={
                "filters": block.filters,
                "kernel_size": block.kernel_size,
                "padding": "same",
                "use_bias": use_bias,
                "kernel_initializer": "he_normal",
            },
        )
        if j == architecture.pools_after(i):  # before normalization: measured a fifth less time
            shape = (height // 2, width // 2, block.filters)
            yield LayerSummary(f"{prefix}_pool", POOLING_KINDS[architecture.pooling], shape, arguments={"pool_size": 2})
        if architecture.batch_normalization:
            yield _normalization(f"{prefix}_norm{j}", shape)
        if j == block.n_convolutions and block.residual:
            yield LayerSummary(f"{prefix}_add", "Add", shape, shortcut_from=f"{prefix}_act1")
        yield _activation(f"{prefix}_act{j}", architecture, shape)
    if block.dropout > 0:
        yield LayerSummary(f"{prefix}_dropout", "SpatialDropout2D", shape, arguments={"rate": block.dropout})


def _head_layers(architecture: Architecture, shape: Shape) -> Iterator[LayerSummary]:
    height, width, channels = shape
    n_features = height * width * channels if architecture.head == "flatten" else channels
    head_dropout = {"rate": architecture.head_dropout}
    yield LayerSummary(architecture.head, HEAD_KINDS[architecture.head], (n_features,))
    for i, units in enumerate(architecture.dense_units, start=1):
        if architecture.head_dropout > 0:
            yield LayerSummary(f"dense{i}_dropout", "Dropout", (n_features,), arguments=head_dropout)
        yield _dense(f"dense{i}", n_features, units, not architecture.batch_normalization, "he_normal")
        if architecture.batch_normalization:
            yield _normalization(f"dense{i}_norm", (units,))
        yield _activation(f"dense{i}_act", architecture, (units,))
        n_features = units
    if architecture.head_dropout > 0:
        yield LayerSummary("logits_dropout", "Dropout", (n_features,), arguments=head_dropout)
    # From zero, every class is equally likely at the start. With Keras' default weights, a globally pooled network
    # begins with large logits: the default recipe's mean loss over its first 25,000 images was 2.39 instead of 1.30,
    # its selection accuracy after two annealed epochs of Fashion-MNIST 88.1 instead of 90.3 % (one run each).
    yield _dense("logits", n_features, architecture.n_classes, True, "zeros")
    # Apart from the logits: Keras' loss looks behind a softmax for its logits, so that saturation costs no precision.
    softmax = {"activation": "softmax", "dtype": "float32"}
    yield LayerSummary("probabilities", "Activation", (architecture.n_classes,), arguments=softmax)


def _dense(name: str, n_features: int, units: int, use_bias: bool, kernel_initializer: str) -> LayerSummary:
    n_weights = n_features * units
    arguments = {"units": units, "use_bias": use_bias, "kernel_initializer": kernel_initializer}
    return LayerSummary(name, "Dense", (units,), n_weights + use_bias * units, n_weights, arguments)


def _normalization(name: str, shape: Shape) -> LayerSummary:
    n_parameters = 4 * shape[-1]  # scale, offset, moving mean and variance
    arguments = {"momentum": NORMALIZATION_MOMENTUM}
    return LayerSummary(name, "BatchNormalization", shape, n_parameters, arguments=arguments)


def _activation(name: str, architecture: Architecture, shape: Shape) -> LayerSummary:
    return LayerSummary(name, "Activation", shape, arguments={"activation": architecture.activation})
