"""How does a network compute in training? By TensorFlow's own operations on its weights, layer after layer.

Keras would compute the same, but takes longer to begin with and for each step:

- tracing a Keras layer takes several times as long as tracing its operations, which is most of what a short trial
  takes beside its steps;
- a batch normalization of maps is some twenty operations in Keras, several of which read and write whole maps; in
  networks of few channels that takes as long as a convolution. Here it is one operation (images/s of one thread, one
  probe each: 1.22 to 1.26 times as fast a step with bfloat16, 1.04 to 1.05 with float32);
- Keras' gelu takes a power and a derivative by TensorFlow's rules; here both are written out.

The Keras model stays what is saved and handed over, and predicts what this predicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fmnist.model.layers import LayerSummary, describe_layers
from fmnist.recipe import Architecture

GELU_SLOPE = 2 * math.sqrt(2 / math.pi)  # of the approximation by tanh (Hendrycks and Gimpel 2016), as a sigmoid
GELU_CUBIC = 0.044715 * GELU_SLOPE


class ForwardPass:
    """Computes a network's logits by operations of TensorFlow, with the weights of its Keras model.

    Args:
        model: As `fmnist.model.build.build_model` makes it.
        architecture: What it was built from.
    """

    def __init__(self, model: keras.Model, architecture: Architecture) -> None:
        self._model = model
        self._layers = [layer for layer in describe_layers(architecture) if layer.name != "probabilities"]

    def __call__(self, pixels: tf.Tensor, training: bool) -> tf.Tensor:
        """Compute logits, float32 (n, n_classes).

        Args:
            pixels: float32 (n, height, width, channels), 0 to 255.
            training: Whether it drops out, and normalizes by the batch's own statistics, which the moving ones follow.
        """
        x, outputs = pixels, {}  # outputs: by the layer's name
        for layer in self._layers:
            if layer.shortcut_from is not None:
                x = x + outputs[layer.shortcut_from]
            elif layer.kind == "Activation":
                x = ACTIVATIONS[layer.arguments["activation"]](x)
            else:
                x = self._apply(layer, x, training)
            outputs[layer.name] = x
        return x

    def _apply(self, layer: LayerSummary, x: tf.Tensor, training: bool) -> tf.Tensor:
        own: Any = self._model.get_layer(layer.name)
        match layer.kind:
            case "Rescaling":
                return x * own.scale + own.offset
            case "Conv2D":
                return _with_bias(tf.nn.conv2d(x, own.kernel.value, 1, "SAME"), own)
            case "Dense":
                return _with_bias(tf.matmul(x, own.kernel.value), own)
            case "BatchNormalization":
                return _normalized(own, x, training)
            case "MaxPooling2D":
                return tf.nn.max_pool2d(x, 2, 2, "VALID")
            case "AveragePooling2D":
                return tf.nn.avg_pool2d(x, 2, 2, "VALID")
            case "Flatten":
                return tf.reshape(x, (-1, *layer.output_shape))
            case "GlobalAveragePooling2D":
                return tf.reduce_mean(x, axis=(1, 2))
            case "GlobalMaxPooling2D":
                return tf.reduce_max(x, axis=(1, 2))
            case "Dropout" | "SpatialDropout2D":  # by Keras' own draws, which belong to the layer
                return own(x, training=training)
        raise ValueError(f"the kind of a layer must be one that is built, but got {layer.kind!r}")


def _with_bias(x: tf.Tensor, layer: Any) -> tf.Tensor:
    return tf.nn.bias_add(x, layer.bias.value) if layer.use_bias else x


def _normalized(layer: Any, x: tf.Tensor, training: bool) -> tf.Tensor:
    """Normalize maps, (n, height, width, channels), or vectors, (n, channels), as a BatchNormalization does."""
    scale, offset, epsilon = layer.gamma.value, layer.beta.value, layer.epsilon
    if not training:
        return tf.nn.batch_normalization(
            x, layer.moving_mean.value, layer.moving_variance.value, offset, scale, epsilon
        )
    if len(x.shape) == 2:
        mean, variance = tf.nn.moments(x, axes=[0])
        normalized = tf.nn.batch_normalization(x, mean, variance, offset, scale, epsilon)
    else:
        nothing = tf.zeros([0])
        normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=nothing, variance=nothing, epsilon=epsilon, is_training=True
        )
        n = tf.cast(tf.size(x) / tf.size(mean), tf.float32)
        variance = variance * (n - 1) / n  # the operation divides by n - 1, Keras by n
    for moving, value in ((layer.moving_mean.value, mean), (layer.moving_variance.value, variance)):
        moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    return normalized


@tf.custom_gradient
def gelu(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Compute the approximate gelu, x / 2 * (1 + tanh(u)), as x * sigmoid(2 u), which is equal."""
    square = x * x
    share = tf.sigmoid(x * (GELU_SLOPE + GELU_CUBIC * square))

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * (share + x * share * (1 - share) * (GELU_SLOPE + 3 * GELU_CUBIC * square))

    return x * share, gradient


ACTIVATIONS: dict[str, Callable[[tf.Tensor], Any]] = {
    "relu": tf.nn.relu,
    "elu": tf.nn.elu,
    "silu": tf.nn.silu,
    "gelu": gelu,
}
