from __future__ import annotations

import subprocess
import sys

import pytest

from fmnist.model.layers import count_multiply_adds, count_parameters, describe_layers
from fmnist.recipe import Architecture, Block

SMALL = Architecture((8, 8, 1), 10, (Block(4, 1, 3), Block(6, 2, 3, dropout=0.2)), dense_units=(5,))


def test_layers_come_in_the_order_in_which_they_are_built() -> None:
    assert [layer.name for layer in describe_layers(SMALL)] == [
        "standardize",
        *("block1_conv1", "block1_pool", "block1_norm1", "block1_act1"),
        *("block2_conv1", "block2_norm1", "block2_act1"),
        *("block2_conv2", "block2_norm2", "block2_act2", "block2_dropout"),
        *("global_max", "dense1", "dense1_norm", "dense1_act", "logits", "probabilities"),
    ]


def test_counts_are_those_worked_out_by_hand() -> None:
    kernels = (9 * 4, 9 * 4 * 6, 9 * 6 * 6, 6 * 5, 5 * 10)
    normalizations = 4 * (4 + 6 + 6 + 5)
    assert count_parameters(SMALL) == sum(kernels) + normalizations + 10  # the logits' offsets
    assert count_multiply_adds(SMALL) == 64 * 9 * 4 + 16 * (9 * 4 * 6 + 9 * 6 * 6) + 6 * 5 + 5 * 10


@pytest.mark.process
def test_costs_are_counted_without_keras() -> None:
    code = "import sys, fmnist.model.layers; sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
