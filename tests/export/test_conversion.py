"""Networks are exported in fewer operations than they are trained with, and compute the same."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from fmnist.export.conversion import find_chains, simplified
from fmnist.model.build import build_model
from fmnist.recipe import Architecture, Block

pytestmark = pytest.mark.trains

IMAGES = np.random.default_rng(0).integers(0, 256, (32, 12, 12, 1)).astype(np.float32)
BLOCKS = (Block(4, 1, 3), Block(6, 2, 3, residual=True), Block(4, 2, 3))


def network(pooling: str, activation: str, head: str = "flatten") -> keras.Model:
    """A network whose normalizations all do something."""
    architecture = Architecture(
        (12, 12, 1), 3, BLOCKS, pooling=pooling, activation=activation, head=head, dense_units=(5,)
    )
    keras.utils.set_random_seed(0)
    model, rng = build_model(architecture, pixel_mean=100.0, pixel_std=50.0), np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + rng.uniform(0.1, 0.5, weight.shape))
    return model


def turned(model: keras.Model) -> list[list[str]]:
    return [[layer.name for layer in chain] for chain in find_chains(model).values()]


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.operations]


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("head", ["flatten", "global_max"])
def test_fewer_operations_compute_the_same(pooling: str, activation: str, head: str) -> None:
    model = network(pooling, activation, head)
    simple = simplified(model)
    limit = 0.0 if pooling == "max" else 1e-5
    assert np.abs(simple.predict(IMAGES, verbose=0) - model.predict(IMAGES, verbose=0)).max() <= limit
    assert kinds(model).index("BatchNormalization") > kinds(model).index(f"{pooling.title()}Pooling2D")
    assert kinds(simple).index("BatchNormalization") < kinds(simple).index(f"{pooling.title()}Pooling2D")
    assert "Flatten" not in kinds(simple)


def test_relu_stays_behind_a_mean_which_it_would_change() -> None:
    assert turned(network("max", "relu"))[0] == ["block1_pool", "block1_norm1", "block1_act1"]
    assert turned(network("average", "relu"))[0] == ["block1_pool", "block1_norm1"]
    assert turned(network("max", "silu"))[0] == ["block1_pool", "block1_norm1"]


def test_maximum_stays_before_what_would_make_a_minimum_of_it() -> None:
    model = network("max", "relu")
    norm: Any = model.get_layer("block1_norm1")
    norm.gamma.assign(-norm.gamma)
    assert [chain[0] for chain in turned(model)] == ["block2_pool", "block3_pool"]
    assert np.abs(simplified(model).predict(IMAGES, verbose=0) - model.predict(IMAGES, verbose=0)).max() == 0


def test_pooling_that_others_use_too_stays_where_it_is() -> None:
    pixels = keras.Input((12, 12, 1))
    pooled = keras.layers.MaxPooling2D()(keras.layers.Conv2D(4, 3)(pixels))
    both = keras.layers.Add()([pooled, keras.layers.BatchNormalization()(pooled)])
    model = keras.Model(pixels, keras.layers.GlobalMaxPooling2D()(both))
    assert turned(model) == []
    assert np.abs(simplified(model).predict(IMAGES, verbose=0) - model.predict(IMAGES, verbose=0)).max() == 0


def test_members_of_an_ensemble_compute_the_same_in_fewer_operations_too() -> None:
    first, second, pixels = network("max", "relu"), network("max", "silu", "global_max"), keras.Input((12, 12, 1))
    members = [first, keras.Model(second.input, second.output, name="second")]
    mean = keras.layers.Average()([member(pixels) for member in members])
    model = keras.Model(pixels, mean)
    simple = simplified(model)
    assert np.abs(simple.predict(IMAGES, verbose=0) - model.predict(IMAGES, verbose=0)).max() == 0
    inside = [kinds(member) for member in simple.operations if isinstance(member, keras.Model)]
    assert len(inside) == 2
    assert all(each.index("BatchNormalization") < each.index("MaxPooling2D") for each in inside)


def test_layer_or_member_that_is_used_twice_stays_one() -> None:
    pixels = keras.Input((12, 12, 1))
    convolution, flatten, member = keras.layers.Conv2D(4, 3), keras.layers.Flatten(), network("max", "relu")
    parts = []
    for layer in (keras.layers.Rescaling(0.01), keras.layers.Rescaling(0.02)):
        x = layer(pixels)
        maps = keras.layers.BatchNormalization()(keras.layers.MaxPooling2D()(convolution(x)))
        parts += [flatten(maps), member(x)]
    model = keras.Model(pixels, keras.layers.Concatenate()(parts))
    simple = simplified(model)
    assert np.abs(simple.predict(IMAGES, verbose=0) - model.predict(IMAGES, verbose=0)).max() == 0
    assert turned(model) == []


def test_sequential_network_is_left_as_it_is() -> None:
    model = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    assert simplified(model) is model
