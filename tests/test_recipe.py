"""A recipe takes the values that its fields are annotated with, and no others."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from fmnist.recipe import Architecture, Between, Block, OneOf, Recipe, TrainingPlan, max_blocks, short_form

BLOCK = Block(filters=32, n_convolutions=2, kernel_size=3, residual=True)
ARCHITECTURE = Architecture((28, 28, 1), 10, (BLOCK, Block(64, 1, 5)), head="flatten", dense_units=(128,))
PLAN = TrainingPlan()


@pytest.mark.parametrize(
    ("fields", "change", "message"),
    [
        (BLOCK, {"filters": 0}, "filters must be between 1 and 2048, but got filters=0"),
        (BLOCK, {"n_convolutions": 4}, "n_convolutions must be between 1 and 3"),
        (BLOCK, {"n_convolutions": 1}, "a residual block needs at least 2 convolutions, but got n_convolutions=1"),
        (BLOCK, {"kernel_size": 4}, "kernel_size must be one of 1, 3, 5, 7, 9, 11, but got kernel_size=4"),
        (BLOCK, {"dropout": 1.0}, "dropout must be between 0 and 0.95"),
        (ARCHITECTURE, {"head": "global"}, "head must be one of flatten, global_average, global_max, but got head='gl"),
        (ARCHITECTURE, {"n_classes": 1}, "n_classes must be at least 2"),
        (ARCHITECTURE, {"blocks": ()}, "a network needs at least 1 block"),
        (ARCHITECTURE, {"blocks": (BLOCK,) * 5}, "28 x 28 pixels carry at most 4 blocks with head 'flatten'"),
        (PLAN, {"peak_learning_rate": 0.0}, "peak_learning_rate must be between 1e-09 and 10"),
        (PLAN, {"warmup_fraction": float("nan")}, "warmup_fraction must be between 0 and 0.95, but got .*nan"),
        (PLAN, {"optimizer": "adam"}, r"adam has no weight decay \(adamw does\), but got weight_decay=0.05"),
        (PLAN, {"border": "white"}, "border must be one of black, edge"),
    ],
)
def test_field_outside_its_values_is_refused(fields: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(fields, **change)


def test_recipe_goes_to_json_and_back() -> None:
    recipe = Recipe(ARCHITECTURE, PLAN)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_short_form_says_where_blocks_pool_and_branch() -> None:
    assert short_form(Recipe(ARCHITECTURE, PLAN)) == "c32-p-+(c32) | c64k5-p | flat | d128 | adamw 6e-03"


@pytest.mark.parametrize(("side", "flatten", "other"), [(8, 3, 4), (28, 4, 5), (32, 5, 6)])
def test_global_head_carries_one_block_more(side: int, flatten: int, other: int) -> None:
    assert [max_blocks((side, side + 9, 1), head) for head in ("flatten", "global_max")] == [flatten, other]


def test_values_say_what_they_are() -> None:
    assert [str(Between(1)), str(Between(0, 0.95)), str(OneOf((1, "a")))] == [
        "at least 1",
        "between 0 and 0.95",
        "one of 1, a",
    ]
