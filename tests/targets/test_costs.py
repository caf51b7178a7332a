"""What is predicted of a network's file, and how well."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist.recipe import Architecture, Block
from search.targets.costs import Contents, fit, size_features, time_features


def architecture(**more) -> Architecture:
    fields = {
        "image_shape": (8, 8, 1),
        "n_classes": 10,
        "blocks": (Block(filters=4, n_convolutions=1, kernel_size=3),),
        "dense_units": (),
        **more,
    }
    return Architecture(**fields)


def test_model_finds_the_weights_of_costs_that_are_sums() -> None:
    features = np.random.default_rng(0).uniform(1, 100, (10, 3))
    model = fit(features.tolist(), (features @ [2.0, 0.5, 7.0]).tolist())
    assert model.weights == pytest.approx([2.0, 0.5, 7.0])
    assert model.error < 1e-6
    assert model.predict([1, 2, 3]) == pytest.approx(24)


def test_no_part_of_a_network_makes_its_file_smaller() -> None:
    features = [[1, 10], [2, 8], [3, 6], [4, 4]]
    assert min(fit(features, [1.0, 2.0, 3.0, 4.0]).weights) >= 0


def test_error_is_what_networks_differ_by_that_the_model_was_not_fitted_to() -> None:
    sizes = np.arange(1.0, 13.0)
    noise = np.where(np.arange(12) % 2, 1.1, 0.9)
    model = fit([[size] for size in sizes], (sizes * noise).tolist())
    assert 0.08 < model.error < 0.14


def test_small_networks_count_as_much_as_large_ones() -> None:
    model = fit([[1.0], [2.0], [1000.0]], [2.0, 4.0, 1000.0])
    assert model.predict([1]) > 1.2  # by absolute differences the large one alone would decide, for 1.0


def test_what_a_file_holds_is_counted_over_its_layers() -> None:
    contents = Contents.of(architecture(activation="relu", batch_normalization=True, head="global_average"))
    assert contents.n_weights == 9 * 4 + 4 * 10
    assert contents.n_channels == 4 + 10
    assert contents.multiply_adds == 64 * 9 * 4 + 40


@pytest.mark.parametrize(
    ("changed", "more"),
    [
        ({"activation": "gelu"}, ["n_operations", "n_smooth", "n_numbers"]),
        ({"dense_units": (16,)}, ["n_weights", "n_channels", "n_operations", "multiply_adds"]),
        ({"head": "flatten"}, ["n_weights", "n_operations"]),
        (
            {"blocks": (Block(filters=8, n_convolutions=1, kernel_size=3),)},
            ["n_weights", "n_channels", "multiply_adds"],
        ),
    ],
    ids=str,
)
def test_larger_networks_cost_more_of_what_they_have_more_of(changed: dict, more: list[str]) -> None:
    usual = architecture(activation="relu", head="global_average")
    before, after = (
        Contents.of(each)
        for each in (usual, architecture(**{"activation": "relu", "head": "global_average"} | changed))
    )
    for name in more:
        assert getattr(after, name) > getattr(before, name), name
    assert len(size_features(usual)) == 5 and len(time_features(usual)) == 7
