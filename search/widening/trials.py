"""What are old trials in a larger space? The same recipes, with all the parameters and ranges that the space has.

Optuna stores each parameter with the range it was drawn from, and a choice as its place among the choices. Left as they
are, old trials would be wrong in a larger space: an inserted choice changes what a place means, other choices are
refused, and the multivariate sampler leaves out every trial that lacks a parameter, so all of them where a fixed value
begins to vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from fmnist.errors import UserError
from fmnist.recipe import Recipe
from search.space.space import Limits, SearchSpace
from search.space.transfer import transfer
from search.study.attributes import attributes_of
from search.study.optuna_private import RewrittenTrial, id_of, queued_params
from search.study.trials import state_of


def rewritten(trial: FrozenTrial, before: SearchSpace, after: SearchSpace) -> RewrittenTrial:
    """Return what a trial of one space is in a larger one.

    A trial that was over a limit which has grown waits again: it was never trained, and the sampler would go on
    avoiding what may be built now. One whose parameters were drawn in part only, since its run was killed, draws anew.

    Args:
        trial: As it is in the storage.
        before: The space that it was drawn in, with the limits that held.
        after: A space that contains it.

    Raises:
        UserError: The trial was queued by somebody else and lies in neither space.
    """
    params: dict[str, Any] = {}
    queued = queued_params(trial) or None
    recipe = _recipe_of(trial, before)
    if recipe is not None:
        params = _params_in(after, recipe, trial.number)
    given = DrawnParameters(params)
    if params:
        after.suggest(given)
        queued = params if queued else None
    is_drawn = bool(trial.params)
    costs = _costs_of(trial)
    constraints = _constraints(costs, after)
    for name, excess in trial.constraints.items():
        if name not in Limits.model_fields:  # a target of size or speed, which no space changes
            constraints[name] = excess
    is_over_limit = any(excess > 0 for excess in constraints.values())
    return RewrittenTrial(
        trial_id=id_of(trial),
        params=params if is_drawn else {},
        distributions=given.distributions,
        queued_params=queued,
        constraints=constraints,
        waits_again=state_of(trial) == "infeasible" and bool(costs) and not is_over_limit,
    )


def _recipe_of(trial: FrozenTrial, space: SearchSpace) -> Recipe | None:
    """Return what the trial trains; None where its parameters do not say all of it yet."""
    stored = attributes_of(trial).get("recipe")
    if stored is not None:
        return Recipe.from_dict(stored)
    try:
        return space.recipe_of(trial.params or queued_params(trial))
    except UserError:
        return None


def _params_in(space: SearchSpace, recipe: Recipe, number: int) -> dict[str, Any]:
    transferred = transfer(recipe, space)
    if transferred.changes:
        raise UserError(
            f"--widen keeps each trial as it is, so the space must contain it, but trial {number} would change "
            f"({transferred.changes[0]}); let the space contain what it was, too"
        )
    return transferred.params


def _costs_of(trial: FrozenTrial) -> dict[str, int]:
    """Return what the trial's network costs, by the limit's name; empty where it is not known."""
    attributes = attributes_of(trial)
    costs = {
        "max_parameters": attributes.get("n_parameters"),
        "max_multiply_adds": attributes.get("multiply_adds"),
    }
    return {name: cost for name, cost in costs.items() if cost is not None}


def _constraints(costs: Mapping[str, int], space: SearchSpace) -> dict[str, float]:
    """Return what `Objective` would have set, by the limit's name."""
    limits = dict(space.limits)
    return {name: cost / limits[name] - 1 for name, cost in costs.items() if limits[name] is not None}


class DrawnParameters:
    """A trial whose parameters are known: it notes of each the distribution that Optuna would have drawn it from.

    Args:
        params: Values by name: all that the space asks for.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return the known whole number."""
        return self._note(name, IntDistribution(low, high, log=log, step=step))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return the known number."""
        return self._note(name, FloatDistribution(low, high, log=log, step=step))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return the known choice."""
        return self._note(name, CategoricalDistribution(choices))

    def _note(self, name: str, distribution: BaseDistribution) -> Any:
        self.distributions[name] = distribution
        return self._params[name]
