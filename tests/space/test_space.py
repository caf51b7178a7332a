"""From parameters to a recipe: each exists where its layer does, and stored ones give the same recipe again."""

from __future__ import annotations

import json
import math
import tomllib
from typing import Any

import optuna
import pytest

from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds, count_parameters
from search.space.space import SearchSpace
from tests.support.spaces import (
    DIGITS,
    DIGITS_TEXT,
    FASHION_MNIST,
    SHAPES,
    random_trials,
    space_from,
    space_from_table,
)


@pytest.fixture(scope="module")
def fashion() -> SearchSpace:
    return space_from(FASHION_MNIST, (28, 28, 1), 10)


@pytest.fixture(scope="module")
def digits() -> SearchSpace:
    return space_from(DIGITS, (8, 8, 1), 10)


def with_fixed(space: SearchSpace, **params: Any) -> dict[str, Any]:
    """The parameters of a trial of which some are fixed beforehand."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(params)
    trial = study.ask()
    space.suggest(trial)
    return trial.params


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_shipped_file_is_valid_for_its_images(path) -> None:
    space = space_from(path, SHAPES[path], 10)
    assert space.image_shape == SHAPES[path] and len(space.portfolio) >= 2


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_every_portfolio_network_is_within_the_limits(path) -> None:
    space = space_from(path, SHAPES[path], 10)
    for entry in space.portfolio:
        architecture = space.recipe_of(entry.params).architecture
        assert count_parameters(architecture) <= space.limits.max_parameters, entry.name
        assert count_multiply_adds(architecture) <= space.limits.max_multiply_adds, entry.name


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_rungs_lie_within_a_trial(path) -> None:
    fidelity = space_from(path, SHAPES[path], 10).fidelity
    assert fidelity.first_rung_images < fidelity.search_images
    assert fidelity.patience_images <= fidelity.search_images


def test_default_is_the_first_trial_wherever_the_file_has_it(tmp_path) -> None:
    table = tomllib.loads(DIGITS_TEXT)
    table["portfolio"].reverse()
    assert [entry["name"] for entry in table["portfolio"]][-1] == "default"
    assert space_from_table(tmp_path, table).portfolio[0].name == "default"


def test_portfolio_holds_varied_networks(fashion) -> None:
    architectures = [fashion.recipe_of(entry.params).architecture for entry in fashion.portfolio]
    assert fashion.portfolio[0].name == "default"
    assert len(set(architectures)) == len(architectures) >= 4
    assert {architecture.head for architecture in architectures} > {"flatten"}
    assert any(block.residual for architecture in architectures for block in architecture.blocks)


def test_file_from_before_a_key_existed_has_it_off(tmp_path) -> None:
    table = tomllib.loads(DIGITS_TEXT)
    del table["architecture"]["block"]["residual"], table["training"]["averaging"]
    del table["fidelity"]["accuracy_per_doubling"]
    space = space_from_table(tmp_path, table)
    plan = space.recipe_of(space.portfolio[0].params).plan
    assert (plan.averaging, plan.border, space.fidelity.accuracy_per_doubling) == (0.0, "black", 0.0)


@pytest.mark.parametrize("n_blocks", [2, 4])
def test_blocks_have_parameters_only_where_they_exist(fashion, n_blocks) -> None:
    names = with_fixed(fashion, n_blocks=n_blocks)
    for index in range(1, 5):
        expected = {f"block{index}_{key}" for key in ("filters", "n_convolutions")}
        present = {name for name in names if name.startswith(f"block{index}_")} - {f"block{index}_residual"}
        assert present == (expected if index <= n_blocks else set())


@pytest.mark.parametrize(("n_convolutions", "is_asked"), [(1, False), (2, True), (3, True)])
def test_block_is_asked_for_a_branch_only_where_it_has_a_second_convolution(fashion, n_convolutions, is_asked) -> None:
    names = with_fixed(fashion, n_blocks=2, block1_n_convolutions=n_convolutions)
    assert ("block1_residual" in names) == is_asked


@pytest.mark.parametrize(
    ("n_dense", "expected"), [(0, set()), (1, {"dense1_units"}), (2, {"dense1_units", "dense2_units"})]
)
def test_dense_layers_have_parameters_only_where_they_exist(fashion, n_dense, expected) -> None:
    assert {name for name in with_fixed(fashion, n_dense=n_dense) if name.endswith("_units")} == expected


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adam", {"peak_learning_rate_adam"}),
        ("adamw", {"peak_learning_rate_adamw", "weight_decay_adamw"}),
        ("sgd", {"peak_learning_rate_sgd", "weight_decay_sgd"}),
    ],
)
def test_each_optimizer_has_parameters_of_its_own(digits, optimizer, expected) -> None:
    names = with_fixed(digits, optimizer=optimizer)
    assert {name for name in names if name.startswith(("peak_learning_rate", "weight_decay"))} == expected


def test_fixed_values_are_not_parameters(digits) -> None:
    params, recipe = random_trials(digits, 1)[0]
    assert not {"flip", "n_epochs", "warmup_fraction"} & params.keys()
    assert (recipe.plan.flip, recipe.plan.n_epochs, recipe.plan.warmup_fraction) == (False, 30, 0.2)


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_stored_parameters_give_the_same_recipe_again(path) -> None:
    space = space_from(path, SHAPES[path], 10)
    for params, recipe in random_trials(space, 50):
        assert space.suggest(optuna.trial.FixedTrial(params)) == recipe
        assert space.recipe_of(json.loads(json.dumps(params))) == recipe


def test_random_trials_differ_from_each_other_and_stay_in_the_space(fashion) -> None:
    recipes = [recipe for _, recipe in random_trials(fashion, 50)]
    assert len(set(map(repr, recipes))) == 50
    assert {len(recipe.architecture.blocks) for recipe in recipes} == {2, 3, 4}
    assert {block.residual for recipe in recipes for block in recipe.architecture.blocks} == {True, False}


def test_optuna_finds_nothing_to_warn_of(recwarn) -> None:
    for path, shape in SHAPES.items():
        random_trials(space_from(path, shape, 10), 20)
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block9_filters": 8}, r"block9_filters matches no parameter .* did you mean block"),
        ({"n_blocks": None}, "n_blocks is missing; add it"),
        ({"n_blocks": 4}, "n_blocks must be a whole number from 1 to 3 .* but got 4"),
        ({"n_blocks": True}, "n_blocks must be a whole number .* but got True"),
        ({"n_blocks": 2.0}, r"n_blocks must be a whole number .* but got 2\.0"),
        ({"block1_filters": 31}, "block1_filters must be a whole number from 8 to 32 in steps of 8 .* but got 31"),
        ({"label_smoothing": 0.07}, r"label_smoothing must be a number from 0 to 0\.2 in steps of 0\.05 .* got 0\.07"),
        ({"label_smoothing": math.nan}, "label_smoothing must be a number .* but got nan"),
        ({"peak_learning_rate_adamw": math.inf}, "peak_learning_rate_adamw must be a number .* but got inf"),
        ({"batch_normalization": 1}, "batch_normalization must be one of true, false .* but got 1"),
        ({"pooling": "mean"}, 'pooling must be one of "max", "average" .* but got \'mean\''),
        ({"flip": False}, "flip matches no parameter"),
    ],
)
def test_parameters_outside_the_space_are_refused(digits, change, message) -> None:
    params = {**digits.portfolio[0].params, **change}
    with pytest.raises(UserError, match=message):
        digits.recipe_of({name: value for name, value in params.items() if value is not None})
