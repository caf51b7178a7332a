from __future__ import annotations

import pytest

from fmnist.baselines.catalog import BASELINES
from fmnist.baselines.networks import NETWORKS, build_network

pytestmark = pytest.mark.trains


def test_every_baseline_of_that_kind_has_its_network_and_no_other_has_one() -> None:
    assert {baseline.name for baseline in BASELINES if baseline.kind == "network"} == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("image_shape", [(4, 4, 1), (8, 8, 1), (8, 33, 3), (28, 28, 1), (64, 64, 3)], ids=str)
def test_networks_take_images_of_any_size_and_colour(name: str, image_shape: tuple[int, int, int]) -> None:
    model = build_network(NETWORKS[name], image_shape, n_classes=7)
    assert model.input_shape == (None, *image_shape)
    assert model.output_shape == (None, 7)


def test_networks_for_fashion_mnist_are_those_of_keras_defaults() -> None:
    n_parameters = {name: build_network(NETWORKS[name], (28, 28, 1), 10).count_params() for name in NETWORKS}
    one_convolution = (9 + 1) * 32 + (13 * 13 * 32 + 1) * 100 + (100 + 1) * 10  # 28 - 2 = 26 pixels, pooled to 13
    three = (9 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128  # 13, 5 and 1 pixels after each pooling
    assert n_parameters.pop("three-convolutions") == three + (128 + 1) * 512 + (512 + 1) * 512 + (512 + 1) * 10
    assert set(n_parameters.values()) == {one_convolution}
