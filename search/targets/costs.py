"""What will a network's file weigh, and how long will it predict? A linear model of its layers, fitted to a few."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from fmnist.model.layers import LayerSummary, describe_layers
from fmnist.recipe import Architecture

# Operations of a file that a layer becomes, where it does not become one of its own: a normalization is folded into the
# convolution or dense layer right before it, and is a product and a sum elsewhere; relu is a part of what comes before.
N_OPERATIONS = {"BatchNormalization": 2, "Rescaling": 2, "Flatten": 4, "Dropout": 0, "SpatialDropout2D": 0}
N_OPERATIONS_OF_ACTIVATION = {"relu": 0, "silu": 2}
WEIGHED = ("Conv2D", "Dense")  # layers with a kernel


@dataclass(frozen=True)
class CostModel:
    """A cost as a sum over what a network is made of, each with a weight that is not negative.

    It is fitted by least squares to relative differences, so that small networks count as much as large ones.
    """

    weights: tuple[float, ...]  # of the features
    error: float  # relative, of networks that the model was not fitted to: root mean square over all but the extremes

    def predict(self, features: Sequence[float]) -> float:
        """Return the cost of a network with these features."""
        return float(np.dot(self.weights, features))


def fit(features: Sequence[Sequence[float]], costs: Sequence[float]) -> CostModel:
    """Fit a model to networks of which the cost is known.

    Args:
        features: Of each network, see `size_features` and `time_features`.
        costs: Measured, above 0, of three networks or more.
    """
    table, measured = np.asarray(features, float), np.asarray(costs, float)
    between = np.argsort(measured)[1:-1]  # a model errs more beyond what it was fitted to, where few networks are
    errors = []
    for left_out in between:
        others = np.arange(len(measured)) != left_out
        predicted = table[left_out] @ _weights(table[others], measured[others])
        errors.append(predicted / measured[left_out] - 1)
    return CostModel(tuple(_weights(table, measured).tolist()), float(np.sqrt(np.mean(np.square(errors)))))


def _weights(table: np.ndarray, measured: np.ndarray) -> np.ndarray:
    scale = table.max(axis=0)
    scale[scale == 0] = 1
    solution, _ = nnls(table / scale / measured[:, np.newaxis], np.ones(len(measured)))
    return solution / scale


@dataclass
class Contents:
    """What a network's file holds and computes, counted over its layers."""

    n_weights: int = 0  # of kernels
    n_channels: int = 0  # that kernels give, each with an offset and, in 8 bits, a scale
    n_operations: int = 1  # with the softmax
    n_gelu: int = 0  # activations that take several operations more
    multiply_adds: int = 0
    n_read: int = 0  # numbers that convolutions read, each once for every kernel's place that covers it
    n_numbers: int = 0  # that flow between layers
    n_silu: int = 0  # of these, out of silu
    n_smooth: int = 0  # and out of other activations but relu, for which some runtimes have no fast kernels
    n_averaged: int = 0  # and out of average pooling, which is slow in 8 bits

    @classmethod
    def of(cls, architecture: Architecture) -> Contents:
        """Count over the layers of a network."""
        contents, before = cls(), ""
        for layer in describe_layers(architecture)[:-1]:
            contents._add(layer, before, architecture.activation)
            if "Dropout" not in layer.kind:
                before = layer.kind
        return contents

    def _add(self, layer: LayerSummary, before: str, activation: str) -> None:
        """Add a layer. before: kind of the layer whose output it takes."""
        size = math.prod(layer.output_shape)
        n_operations = N_OPERATIONS.get(layer.kind, 1)
        if layer.kind == "BatchNormalization" and before in WEIGHED:
            return
        if layer.kind == "Activation":
            n_operations = N_OPERATIONS_OF_ACTIVATION.get(activation, 1)
            self.n_gelu += activation == "gelu"
            if activation == "silu":
                self.n_silu += size
            elif activation != "relu":
                self.n_smooth += size
        elif layer.kind == "AveragePooling2D":
            self.n_averaged += size
        elif layer.kind in WEIGHED:
            offsets = layer.output_shape[-1] if layer.arguments["use_bias"] else 0
            self.n_weights += layer.n_parameters - offsets
            self.n_channels += layer.output_shape[-1]
            self.multiply_adds += layer.multiply_adds
            if layer.kind == "Conv2D":
                self.n_read += layer.multiply_adds // layer.output_shape[-1]
        self.n_operations += n_operations
        self.n_numbers += size if n_operations else 0


def size_features(architecture: Architecture) -> list[float]:
    """Return what the bytes of a file depend on, the file itself last. Chosen as `time_features` are."""
    contents = Contents.of(architecture)
    return [contents.n_weights, contents.n_channels, contents.n_operations, contents.n_gelu, 1]


def time_features(architecture: Architecture) -> list[float]:
    """Return what a prediction's time depends on, the call itself last.

    Chosen by 24 networks of Fashion-MNIST's space, of which a half predicts the other: of three formats they err least.
    """
    contents = Contents.of(architecture)
    slow = [contents.n_silu, contents.n_smooth, contents.n_averaged]
    return [contents.multiply_adds, contents.n_read, contents.n_numbers, *slow, 1]
