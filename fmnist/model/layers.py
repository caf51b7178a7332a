"""What a network costs, told from its architecture alone: nothing is built and Keras is not needed.

`model.build_model` builds exactly the layers listed here, under these names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fmnist.recipe import Architecture, Block

Shape = tuple[int, ...]  # without the batch
HEAD_KINDS = {"flatten": "Flatten", "global_average": "GlobalAveragePooling2D", "global_max": "GlobalMaxPooling2D"}
POOLING_KINDS = {"max": "MaxPooling2D", "average": "AveragePooling2D"}


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a network."""

    name: str  # as in the model, such as block1_conv1 (in the model, an activation of gelu bears a name of its own)
    kind: str  # Keras' class, such as Conv2D
    output_shape: tuple[int, ...]  # without the batch
    n_parameters: int = 0  # all weights, the moving statistics of batch normalization included
    multiply_adds: int = 0  # per image, forward; convolutions and dense layers only


def count_parameters(architecture: Architecture) -> int:
    """All weights, the moving statistics of batch normalization included: what Keras' `count_params` says."""
    return sum(layer.n_parameters for layer in describe_layers(architecture))


def count_multiply_adds(architecture: Architecture) -> int:
    """Multiply-adds per image, forward, of convolutions and dense layers. A kernel counts in full at the borders."""
    return sum(layer.multiply_adds for layer in describe_layers(architecture))


def describe_layers(architecture: Architecture) -> tuple[LayerSummary, ...]:
    """Every layer after the input, from the image to the probabilities."""
    shape: Shape = architecture.image_shape
    layers = [LayerSummary("standardize", "Rescaling", shape)]
    for i, block in enumerate(architecture.blocks):
        layers.extend(_block_layers(architecture, i, block, layers[-1].output_shape))
    layers.extend(_head_layers(architecture, layers[-1].output_shape))
    return tuple(layers)


def _block_layers(architecture: Architecture, i: int, block: Block, shape: Shape) -> Iterator[LayerSummary]:
    prefix = f"block{i + 1}"
    for j in range(1, block.n_convolutions + 1):
        yield (convolution := _convolution(f"{prefix}_conv{j}", block, shape, not architecture.batch_normalization))
        shape = convolution.output_shape
        if j == architecture.pools_after(i):
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
            yield LayerSummary(f"{prefix}_pool", POOLING_KINDS[architecture.pooling], shape)
        if architecture.batch_normalization:
            yield _normalization(f"{prefix}_norm{j}", shape)
        if j == block.n_convolutions and block.residual:
            yield LayerSummary(f"{prefix}_add", "Add", shape)
        yield LayerSummary(f"{prefix}_act{j}", "Activation", shape)
    if block.dropout > 0:
        yield LayerSummary(f"{prefix}_dropout", "SpatialDropout2D", shape)


def _head_layers(architecture: Architecture, shape: Shape) -> Iterator[LayerSummary]:
    height, width, channels = shape
    n_features = height * width * channels if architecture.head == "flatten" else channels
    yield LayerSummary(architecture.head, HEAD_KINDS[architecture.head], (n_features,))
    for i, units in enumerate(architecture.dense_units, start=1):
        if architecture.head_dropout > 0:
            yield LayerSummary(f"dense{i}_dropout", "Dropout", (n_features,))
        yield _dense(f"dense{i}", n_features, units, use_bias=not architecture.batch_normalization)
        if architecture.batch_normalization:
            yield _normalization(f"dense{i}_norm", (units,))
        yield LayerSummary(f"dense{i}_act", "Activation", (units,))
        n_features = units
    if architecture.head_dropout > 0:
        yield LayerSummary("logits_dropout", "Dropout", (n_features,))
    yield _dense("logits", n_features, architecture.n_classes, use_bias=True)
    yield LayerSummary("probabilities", "Activation", (architecture.n_classes,))


def _convolution(name: str, block: Block, shape: Shape, use_bias: bool) -> LayerSummary:
    height, width, channels = shape
    n_weights = block.kernel_size**2 * channels * block.filters
    n_parameters = n_weights + use_bias * block.filters
    return LayerSummary(name, "Conv2D", (height, width, block.filters), n_parameters, height * width * n_weights)


def _dense(name: str, n_features: int, units: int, use_bias: bool) -> LayerSummary:
    n_weights = n_features * units
    return LayerSummary(name, "Dense", (units,), n_weights + use_bias * units, n_weights)


def _normalization(name: str, shape: Shape) -> LayerSummary:
    return LayerSummary(name, "BatchNormalization", shape, 4 * shape[-1])  # scale, offset, moving mean and variance
