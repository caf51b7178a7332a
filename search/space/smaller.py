"""Which small networks are tried first where small ones are asked for? The default recipe's network, narrower."""

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

    name: str  # of the configuration
    divisor: int  # of every width
    is_pooled: bool  # whether a global maximum takes the place of dense layers, and two convolutions that of one


NARROWINGS = (
    Narrowing("half width", 2, is_pooled=False),
    Narrowing("half width, pooled", 2, is_pooled=True),
    Narrowing("quarter width", 4, is_pooled=False),
    Narrowing("quarter width, pooled", 4, is_pooled=True),
)


def with_smaller(space: SearchSpace) -> SearchSpace:
    """Return the space with smaller networks in its portfolio, right after the default, as far as it has such.

    Flattened maps into a dense layer cost few multiply-adds and many weights, two convolutions and a global maximum the
    other way round: which is better depends on what is short. Widths are the nearest that the space has; what comes out
    as large as the default, or twice, is left out.
    """
    default = next(entry for entry in space.portfolio if entry.name == DEFAULT_NAME)
    recipe = space.recipe_of(default.params)
    known = {entry.name for entry in space.portfolio}
    networks = {space.recipe_of(entry.params).architecture for entry in space.portfolio}
    smaller = []
    for narrowing in NARROWINGS:
        wanted = Recipe(narrowed(recipe.architecture, narrowing), recipe.plan)
        params = transfer(wanted, space).params
        architecture = space.recipe_of(params).architecture
        is_smaller = count_multiply_adds(architecture) < count_multiply_adds(recipe.architecture)
        if is_smaller and architecture not in networks and narrowing.name not in known:
            networks.add(architecture)
            smaller.append(PortfolioEntry(narrowing.name, params))
    others = [entry for entry in space.portfolio if entry is not default]
    return dataclasses.replace(space, portfolio=(default, *smaller, *others))


def narrowed(architecture: Architecture, narrowing: Narrowing) -> Architecture:
    """Return a narrower network, which need not lie in any space. It has no dropout: it is too small to overfit."""
    blocks = []
    for index, block in enumerate(architecture.blocks):
        n_convolutions = block.n_convolutions
        if narrowing.is_pooled and index > 0:  # on the whole image, a second convolution would cost most of all
            n_convolutions = max(2, n_convolutions)
        filters = max(1, block.filters // narrowing.divisor)
        blocks.append(dataclasses.replace(block, filters=filters, n_convolutions=n_convolutions))
    head, dense_units = architecture.head, architecture.dense_units
    if narrowing.is_pooled:
        head, dense_units = "global_max", ()
    return dataclasses.replace(
        architecture,
        blocks=tuple(blocks),
        head=head,
        dense_units=tuple(max(1, units // narrowing.divisor) for units in dense_units),
        head_dropout=0.0,
    )


def is_default_over(space: SearchSpace) -> bool:
    """Whether the space's limits exclude the network of its own default recipe."""
    default = next(entry for entry in space.portfolio if entry.name == DEFAULT_NAME)
    return any(cost.is_over for cost in space.limited_costs(space.recipe_of(default.params).architecture))
