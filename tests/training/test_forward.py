"""What learns in training computes what the Keras model that is handed over does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fmnist.model.build import build_model
from fmnist.recipe import ACTIVATIONS, Architecture, Block
from fmnist.training.forward import ForwardPass, gelu

pytestmark = pytest.mark.trains

RESIDUAL = (Block(4, 2, 3, residual=True), Block(6, 1, 3))
IMAGES = np.random.default_rng(0).uniform(0, 255, (24, 8, 8, 1)).astype(np.float32)
ARCHITECTURES: dict[str, dict[str, Any]] = {
    **{activation: {"activation": activation, "dense_units": (5,), "head": "flatten"} for activation in ACTIVATIONS},
    "average pooling": {"pooling": "average", "head": "global_average"},
    "no normalization": {"batch_normalization": False, "head": "global_max", "dense_units": (5, 7)},
    "plain": {"blocks": (Block(4, 3, 5), Block(6, 2, 1)), "head": "global_average"},
}


def logits_of(model: keras.Model) -> keras.Model:
    return keras.Model(model.inputs, model.get_layer("logits").output)


def with_other_weights(model: keras.Model) -> keras.Model:
    """Give a network random weights: its logits' are all zero in the beginning."""
    draws = np.random.default_rng(1)
    model.set_weights([draws.uniform(0.1, 0.5, weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


def built(**changes: Any) -> tuple[keras.Model, Architecture]:
    architecture = Architecture((8, 8, 1), 10, **{"blocks": RESIDUAL, **changes})
    keras.utils.set_random_seed(0)
    return with_other_weights(build_model(architecture, 80.0, 90.0)), architecture


def assert_close(ours: Any, theirs: Any, message: str = "") -> None:
    ours, theirs = keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
    atol = 1e-5 * max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=atol, err_msg=message)


@pytest.mark.parametrize("changes", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_forward_pass_computes_what_keras_does_in_training_and_after_it(changes: dict[str, Any]) -> None:
    (theirs, architecture), (ours, _) = built(**changes), built(**changes)
    forward = ForwardPass(ours, architecture)
    for _ in range(2):
        assert_close(forward(tf.constant(IMAGES), training=True), logits_of(theirs)(IMAGES, training=True))
    for ours_weight, their_weight in zip(ours.weights, theirs.weights, strict=True):
        assert_close(ours_weight, their_weight, ours_weight.path)
    assert_close(forward(tf.constant(IMAGES), training=False), logits_of(theirs)(IMAGES, training=False))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_those_of_keras(activation: str) -> None:
    (theirs, architecture), (ours, _) = (built(activation=activation, dense_units=(5,)) for _ in range(2))
    found = []
    for network, model in ((ForwardPass(ours, architecture), ours), (logits_of(theirs), theirs)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network(tf.constant(IMAGES), training=True) ** 2)
        found.append(tape.gradient(loss, [variable.value for variable in model.trainable_variables]))
    for ours_gradient, their_gradient in zip(*found, strict=True):
        assert_close(ours_gradient, their_gradient)


def test_dropout_draws_what_keras_draws_and_leaves_predictions_alone() -> None:
    changes = {"blocks": (Block(4, 1, 3, dropout=0.5),), "head": "flatten", "head_dropout": 0.3}
    (theirs, architecture), (ours, _) = built(**changes), built(**changes)
    forward = ForwardPass(ours, architecture)
    for _ in range(2):  # the draws go on
        assert_close(forward(tf.constant(IMAGES), training=True), logits_of(theirs)(IMAGES, training=True))
    assert_close(forward(tf.constant(IMAGES), training=False), logits_of(theirs)(IMAGES, training=False))


def test_gelu_is_keras_own_far_from_0_too() -> None:
    x = tf.constant([-1e4, -30.0, -5.0, -1.0, -0.0, 0.0, 1e-3, 1.0, 5.0, 30.0, 1e4])
    np.testing.assert_allclose(gelu(x), keras.ops.gelu(x, approximate=True), atol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = gelu(x)
    assert np.isfinite(tape.gradient(y, x)).all()
