from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fmnist.baselines.catalog import BASELINES, find_baseline
from fmnist.baselines.networks import NETWORKS, build_network, fit_network
from fmnist.data.images import LabelledImages
from fmnist.data.split import Split
from tests.support.rare_class import rare_class

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


@pytest.mark.parametrize("name", ["conv-pool-dense", "conv-pool-dense-plateau"])  # labels as numbers, and one-hot
def test_balanced_weights_find_a_rare_class_that_is_given_up_without(name: str) -> None:
    split = Split(*(LabelledImages(*rare_class(160, 6, seed)) for seed in range(3)), checksum="", seed=0)
    images, labels = rare_class(160, 100, seed=3)
    recalls = []
    for weights in ("none", "balanced"):
        baseline = replace(find_baseline(name), n_epochs=3)
        fitted, _, _ = fit_network(baseline, split.together(), split.selection, 0, 1, lambda point: None, weights)
        recalls.append(np.mean(fitted.predict_classes(images)[labels == 1] == 1))
    assert recalls[0] < 0.3 < 0.6 < recalls[1]
