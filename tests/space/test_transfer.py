"""A recipe of one space is as near to itself in another as that space allows."""

from __future__ import annotations

import tomllib

import pytest

from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from search.space.default import own_space
from search.space.schema import space_of
from search.space.space import PortfolioEntry, SearchSpace
from search.space.transfer import portfolio_text, transfer
from tests.support.spaces import DIGITS, FASHION_MNIST, random_trials, space_from


@pytest.fixture(scope="module")
def fashion() -> SearchSpace:
    return space_from(FASHION_MNIST, (28, 28, 1), 10)


@pytest.fixture(scope="module")
def digits() -> SearchSpace:
    return space_from(DIGITS, (8, 8, 1), 10)


def test_every_recipe_of_a_space_is_itself_there(fashion: SearchSpace, digits: SearchSpace) -> None:
    for space in (fashion, digits):
        for params, recipe in random_trials(space, 20):
            transferred = transfer(recipe, space)
            assert transferred.params == params
            assert transferred.changes == ()


def test_every_recipe_of_a_space_lies_in_any_other_one_afterwards(fashion: SearchSpace, digits: SearchSpace) -> None:
    own = space_of(own_space((32, 32, 3), 7, 900, flip=True), "own", (32, 32, 3), 7)
    spaces = (fashion, digits, own)
    for space in spaces:
        for _, recipe in random_trials(space, 10):
            for other in spaces:
                other.recipe_of(transfer(recipe, other).params)  # which refuses what does not lie there


def test_what_does_not_fit_is_the_nearest_and_is_told(digits: SearchSpace) -> None:
    blocks = tuple(Block(filters, 2, 3, residual=True) for filters in (30, 60, 120, 120))
    architecture = Architecture((28, 28, 1), 10, blocks, head="flatten", dense_units=(1000,))
    plan = TrainingPlan(peak_learning_rate=5.0, batch_size=100, n_epochs=40)
    transferred = transfer(Recipe(architecture, plan), digits)
    recipe = digits.recipe_of(transferred.params)
    assert len(recipe.architecture.blocks) == digits.parameters["n_blocks"].highest
    assert recipe.plan.batch_size in digits.parameters["batch_size"].values
    assert recipe.plan.peak_learning_rate == pytest.approx(digits.parameters["peak_learning_rate.adamw"].highest)
    assert "n_blocks 4 -> 3" in transferred.changes
    assert any(change.startswith("peak_learning_rate_adamw 5 -> ") for change in transferred.changes)


def test_rate_of_an_optimizer_that_the_recipe_lacks_is_in_the_middle_of_its_range(fashion: SearchSpace) -> None:
    architecture = Architecture((28, 28, 1), 10, (Block(16, 1, 3), Block(32, 1, 3)))
    recipe = Recipe(architecture, TrainingPlan(optimizer="adam", weight_decay=0.0, peak_learning_rate=1e-3))
    transferred = transfer(recipe, fashion)
    assert transferred.params["optimizer"] == "adamw"
    low, high = 1e-3, 2e-2  # of the file
    assert transferred.params["peak_learning_rate_adamw"] == pytest.approx((low * high) ** 0.5)
    assert "optimizer adam -> adamw" in transferred.changes


def test_configurations_written_into_a_space_file_are_read_from_it() -> None:
    text = DIGITS.read_text(encoding="utf-8")
    space = space_of(text, "digits", (8, 8, 1), 10)
    entries = [PortfolioEntry("other, trial 7 \N{SNOWMAN}", params) for params, _ in random_trials(space, 1)]
    again = space_of(f"{text}\n{portfolio_text(entries)}", "digits", (8, 8, 1), 10)
    assert again.portfolio == (*space.portfolio, *entries)
    assert tomllib.loads(portfolio_text(entries))["portfolio"][0]["name"] == "other, trial 7 \N{SNOWMAN}"
