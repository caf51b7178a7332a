from __future__ import annotations

import keras
import numpy as np
import pytest

from fmnist.model.build import build_model
from fmnist.recipe import Architecture, Block
from fmnist.training.fused import with_fused_normalization

pytestmark = pytest.mark.trains

BLOCKS = (Block(4, 2, 3, residual=True), Block(6, 1, 3))


def a_model(activation: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(Architecture((8, 8, 1), 10, BLOCKS, activation=activation, dense_units=(5,)), 80.0, 90.0)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_fused_network_computes_what_keras_does(activation) -> None:
    theirs, ours = a_model(activation), a_model(activation)
    twin = with_fused_normalization(ours)
    images = np.random.default_rng(0).uniform(0, 255, (24, 8, 8, 1)).astype(np.float32)
    for _ in range(2):
        np.testing.assert_allclose(twin(images, training=True), theirs(images, training=True), atol=1e-5)
    for ours_weight, their_weight in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(ours_weight, their_weight, rtol=1e-4, atol=1e-5, err_msg=ours_weight.path)


def test_normalizations_of_maps_are_fused_and_those_of_vectors_are_not() -> None:
    twin = with_fused_normalization(a_model("relu"))
    kinds = {layer.name: type(layer).__name__ for layer in twin.layers if "norm" in layer.name}
    of_maps = ["block1_norm1", "block1_norm2", "block2_norm1"]
    assert kinds == {**dict.fromkeys(of_maps, "_FusedNormalization"), "dense1_norm": "BatchNormalization"}


def test_a_fused_network_has_the_weights_of_its_model_and_leaves_its_layers_keras_own() -> None:
    model = a_model("silu")
    twin = with_fused_normalization(model)
    ids = {id(weight) for weight in model.weights}
    assert all(id(layer.kernel) in ids for layer in twin.layers if hasattr(layer, "kernel"))
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
