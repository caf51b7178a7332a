"""Which small networks are tried first where small ones are asked for? The portfolio's strongest, narrower."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Architecture, Recipe
from search.space.space import DEFAULT_NAME, PortfolioEntry, SearchSpace
from search.space.transfer import transfer


@dataclass(frozen=True)
class Narrowing:
    """A way to make a network smaller."""

    name: str
    divisor: int  # of every width
    has_dense: bool  # whether hidden dense layers stay, which have most of a small network's weights


NARROWINGS = (
    Narrowing("half width", 2, has_dense=True),
    Narrowing("quarter width", 4, has_dense=True),
    Narrowing("quarter width, no dense layer", 4, has_dense=False),
)


def with_smaller(space: SearchSpace) -> SearchSpace:
    """Return the space with smaller networks in its portfolio, right after the default, as far as it has such.

    They are the default and the configuration after it, which is the strongest of the others, each in half and a
    quarter of its widths: what makes a network good makes a narrow one good as well. Of Fashion-MNIST's, trained on
    1.28 million images, n = 1 each: "residual first" in half its widths 94.0 % with 52,000 weights, the default in half
    of its own 93.5 % with 61,000. Widths are the nearest that the space has; what comes out as costly as the default,
    or twice, is left out.
    """
    default = next(entry for entry in space.portfolio if entry.name == DEFAULT_NAME)
    others = [entry for entry in space.portfolio if entry is not default]
    of_default = count_multiply_adds(space.recipe_of(default.params).architecture)
    strongest = [entry for entry in others if not is_narrowed(entry)][:1]
    networks = {space.recipe_of(entry.params).architecture for entry in space.portfolio}
    smaller = []
    for narrowing in NARROWINGS:
        for entry in (*strongest, default):
            recipe = space.recipe_of(entry.params)
            params = transfer(Recipe(narrowed(recipe.architecture, narrowing), recipe.plan), space).params
            architecture = space.recipe_of(params).architecture
            if count_multiply_adds(architecture) < of_default and architecture not in networks:
                networks.add(architecture)
                smaller.append(PortfolioEntry(f"{entry.name}, {narrowing.name}", params))
    return dataclasses.replace(space, portfolio=(default, *smaller, *others))


def is_narrowed(entry: PortfolioEntry) -> bool:
    """Whether a configuration is one that `with_smaller` has added."""
    return any(entry.name.endswith(f", {narrowing.name}") for narrowing in NARROWINGS)


def narrowed(architecture: Architecture, narrowing: Narrowing) -> Architecture:
    """Return a narrower network, which need not lie in any space. It has no dropout: it is too small to overfit."""
    blocks = []
    for block in architecture.blocks:
        blocks.append(dataclasses.replace(block, filters=max(1, block.filters // narrowing.divisor)))
    dense_units: tuple[int, ...] = ()
    if narrowing.has_dense:
        dense_units = tuple(max(1, units // narrowing.divisor) for units in architecture.dense_units)
    return dataclasses.replace(architecture, blocks=tuple(blocks), dense_units=dense_units, head_dropout=0.0)


def is_default_over(space: SearchSpace) -> bool:
    """Whether the space's limits exclude the network of its own default recipe."""
    default = next(entry for entry in space.portfolio if entry.name == DEFAULT_NAME)
    return any(cost.is_over for cost in space.limited_costs(space.recipe_of(default.params).architecture))
