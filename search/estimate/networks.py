"""Which networks of the space `--check` trains for a moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle, islice

import numpy as np

from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds, describe_layers
from fmnist.recipe import Recipe
from search.estimate.prepare import Prepared
from search.estimate.simulation import draw_networks
from search.space.space import DEFAULT_NAME
from search.worker.tasks import TrainingSite

N_DRAWS = 200  # of the space, to find its smallest and largest network
N_PROBES = 10  # at least

NamedRecipe = tuple[str, Recipe]


def choose_networks(prepared: Prepared, site: TrainingSite) -> list[NamedRecipe]:
    """Return what to train for a moment, by name, the most important first.

    They are the default, once for each worker; of N_DRAWS random networks within the limits the largest, the smallest
    and the one that takes most memory; the rest of the portfolio; random ones in between.

    Raises:
        UserError: All networks are over the limits.
    """
    config = prepared.config
    draws = draw_networks(prepared.space, prepared.objective_with(site), N_DRAWS, config.seed)
    portfolio = portfolio_within_limits(prepared)
    if not portfolio and not draws:
        raise UserError(
            f"some network must be within the limits, but of {N_DRAWS} random ones and the portfolio all are over "
            f"them; raise these, by their options or in the space file"
        )
    again = [each for each in portfolio if each[0] == DEFAULT_NAME] * (prepared.resources.workers - 1)
    some = spread_out(draws, max(3, N_PROBES - len(again) - len(portfolio)))
    extremes, between = some[:3], some[3:]
    chosen = portfolio[:1] + extremes + again + portfolio[1:] + between  # the last of them may have to be left out
    n_missing = -len(chosen) % prepared.resources.workers  # else some workers have no company at the end
    chosen += list(islice(cycle(chosen), n_missing))
    numbered = []
    for number, (name, recipe) in enumerate(chosen, 1):
        numbered.append((f"{number}: {name}", recipe))
    return numbered


def portfolio_within_limits(prepared: Prepared) -> list[NamedRecipe]:
    """Return the portfolio's recipes whose networks are within the limits of the run."""
    space = prepared.space
    portfolio = []
    for entry in space.portfolio:
        recipe = space.recipe_of(entry.params)
        if not any(each.is_over for each in space.limited_costs(recipe.architecture)):
            portfolio.append((entry.name, recipe))
    return portfolio


def spread_out(recipes: Sequence[Recipe], n: int) -> list[NamedRecipe]:
    """Return the largest, the smallest, the one that takes most memory, and n - 3 at even distances in between.

    The list is empty if there are no recipes. Large is what takes many multiply-adds.
    """
    if not recipes:
        return []
    ordered = sorted(recipes, key=lambda recipe: count_multiply_adds(recipe.architecture))
    most_memory = max(recipes, key=n_values_of_step)
    chosen = [("largest", ordered[-1]), ("smallest", ordered[0]), ("most memory", most_memory)]
    # n - 1 places from the smallest to the largest, less these two, are the n - 3 in between.
    places = np.linspace(0, len(ordered) - 1, n - 1)[1:-1].round().astype(int)
    for place in places:
        chosen.append(("between", ordered[place]))
    return chosen


def n_values_of_step(recipe: Recipe) -> int:
    """Return how many values a training step keeps for backpropagation."""
    n_values = 0
    for layer in describe_layers(recipe.architecture):
        n_values += math.prod(layer.output_shape)
    return recipe.plan.batch_size * n_values
