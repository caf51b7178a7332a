"""A network's twin for learning: the same layers and weights, each batch normalization one operation of TensorFlow.

Keras computes a batch normalization by some twenty operations, several of which read and write whole maps; in networks
of few channels that takes as long as a convolution.
"""

from __future__ import annotations

import keras
import tensorflow as tf


def with_fused_normalization(network: keras.Model) -> keras.Model:
    """For learning only: call it with training=True. It shares every weight with `network`."""
    return keras.models.clone_model(network, clone_function=_stand_in)


def _stand_in(layer: keras.layers.Layer) -> keras.layers.Layer:
    is_of_maps = isinstance(layer, keras.layers.BatchNormalization) and len(layer.output.shape) == 4
    return _FusedNormalization(layer) if is_of_maps else layer


class _FusedNormalization(keras.layers.Layer):
    """Does what a BatchNormalization of maps, (n, height, width, channels), does in training, with its weights."""

    def __init__(self, original: keras.layers.BatchNormalization) -> None:
        super().__init__(name=original.name)
        self._original = original

    def call(self, maps: tf.Tensor, mask: None = None) -> tf.Tensor:  # the cloned call names a mask; maps have none
        original = self._original
        normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=maps,
            scale=original.gamma.value,
            offset=original.beta.value,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=original.epsilon,
            is_training=True,
        )
        n = tf.cast(tf.size(maps) / tf.size(mean), tf.float32)
        self._follow(original.moving_mean, mean)
        self._follow(original.moving_variance, variance * (n - 1) / n)  # the operation divides by n - 1, Keras by n
        return normalized

    def _follow(self, moving: keras.Variable, value: tf.Tensor) -> None:
        momentum = self._original.momentum
        moving.assign(moving * momentum + value * (1 - momentum))
