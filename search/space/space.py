"""What may a trial be? A search space suggests recipes, and knows its limits, its fidelity and its portfolio."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator

from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Architecture, Between, Block, Recipe, TrainingPlan
from search.space.parameters import GivenParameters, Parameter, SuggestingTrial, Table, accept
from search.space.refusals import hint

DEFAULT_NAME = "default"  # the portfolio's configuration that the search has to beat
SAMPLER_NAME = "sampler"  # the origin of every trial that is not the portfolio's


# Parameters of the training that have a range per optimizer: one range would be wrong for all of them.
BY_OPTIMIZER = ("peak_learning_rate", "weight_decay")
Positive = Annotated[int, AfterValidator(partial(accept, Between(1)))]


class Limits(Table):
    """What a network may cost; None: no limit.

    A network over a limit is not built: its trial is infeasible, and the sampler learns from it.
    """

    max_parameters: Positive | None = None
    max_multiply_adds: Positive | None = None  # per image, forward


class Fidelity(Table):
    """How much of a training a trial gets, in training images seen. Rungs are trainings of their own."""

    report_every_images: Positive
    first_rung_images: Positive  # length of the first rung; each further one has reduction_factor times the images
    search_images: Positive  # length of the last rung
    reduction_factor: Annotated[int, AfterValidator(partial(accept, Between(2, 16)))]  # one in so many goes on
    patience_images: Positive  # early stopping: no higher accuracy for so long
    # What twice the multiply-adds must bring, where trials are compared: see `search.study.strategy`.
    accuracy_per_doubling: Annotated[float, AfterValidator(partial(accept, Between(0, 0.1)))] = 0.0

    @pydantic.field_validator("search_images", mode="after")
    @classmethod
    def _reach_the_first_rung(cls, search_images: int, info: pydantic.ValidationInfo) -> int:
        first_rung_images = info.data.get("first_rung_images", 0)
        if search_images < first_rung_images:
            raise ValueError(
                f"must be at least first_rung_images = {first_rung_images}, but got {search_images}; raise it, or "
                "lower first_rung_images"
            )
        return search_images


@dataclass(frozen=True)
class PortfolioEntry:
    """A configuration that every study tries first."""

    name: str
    params: dict[str, Any]  # as `SearchSpace.suggest` names them


@dataclass(frozen=True)
class Target:
    """A limit of something that is not counted but predicted, such as the bytes of a file."""

    name: str  # as an option's, such as max_bytes
    limit: float
    predict: Callable[[Architecture], float]


@dataclass(frozen=True)
class LimitedCost:
    """What a network costs, where there is a limit to it."""

    name: str  # of the limit
    cost: float
    limit: float

    @property
    def is_over(self) -> bool:
        """Whether the network is infeasible."""
        return self.cost > self.limit

    def __str__(self) -> str:
        return f"{_in_figures(self.cost)} is over {self.name} = {_in_figures(self.limit)}"


def _in_figures(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:.3g}"


@dataclass(frozen=True)
class SearchSpace:
    """A validated space for images of one shape.

    `search.space.schema.space_of` makes it from a file. It holds no state: any number of threads may ask it.
    """

    image_shape: tuple[int, int, int]  # height, width, channels
    n_classes: int
    limits: Limits
    fidelity: Fidelity
    portfolio: tuple[PortfolioEntry, ...]
    parameters: dict[str, Parameter]  # by key of the file, without its table: "n_blocks", "block.dropout", ...
    filters: tuple[Parameter, ...]  # by block
    table: dict[str, Any]  # the file as read, to be compared when a study is resumed
    targets: tuple[Target, ...] = ()

    def with_limits(self, **limits: int | None) -> SearchSpace:
        """Return the space with these limits in place of its own.

        limits: By their names in `Limits`; None leaves the space's own.
        """
        given = {name: limit for name, limit in limits.items() if limit is not None}
        return dataclasses.replace(self, limits=self.limits.model_copy(update=given)) if given else self

    def limited_costs(self, architecture: Architecture) -> list[LimitedCost]:
        """Return what a network costs of everything that the space limits, targets included."""
        costs: list[LimitedCost] = []
        for name, count in (("max_parameters", count_parameters), ("max_multiply_adds", count_multiply_adds)):
            limit = getattr(self.limits, name)
            if limit is not None:
                costs.append(LimitedCost(name, count(architecture), limit))
        costs += [LimitedCost(each.name, each.predict(architecture), each.limit) for each in self.targets]
        return costs

    def suggest(self, trial: SuggestingTrial) -> Recipe:
        """Ask the trial for every parameter that its network has, and no other, and return what they make.

        This is the one way from parameters to a Recipe: the search calls it with an `optuna.Trial`, everything else
        with given parameters (see `recipe_of`). A parameter of a layer that the network lacks is not asked for.
        """
        return Recipe(self._suggest_architecture(trial), self._suggest_plan(trial))

    def recipe_of(self, params: Mapping[str, Any], where: str = "parameters") -> Recipe:
        """Return the Recipe of exactly these parameters.

        Args:
            params: Values by name, as a trial has them.
            where: What they are the parameters of, for errors.

        Raises:
            UserError: One is missing, unknown or out of range.
        """
        given = GivenParameters(params, where)
        recipe = self.suggest(given)
        if given.unused:
            unknown = given.unused[0]
            raise UserError(
                f"{where}: {unknown} matches no parameter of this configuration; take it out or correct it; "
                f"{hint(unknown, given.used)}"
            )
        return recipe

    def _suggest_architecture(self, trial: SuggestingTrial) -> Architecture:
        n_blocks = self._suggest(trial, "n_blocks")
        blocks = tuple(self._suggest_block(trial, index) for index in range(n_blocks))
        n_dense = self._suggest(trial, "n_dense")
        # Every order of questions is as good, but another one would draw other parameters from the same seed.
        return Architecture(
            image_shape=self.image_shape,
            n_classes=self.n_classes,
            blocks=blocks,
            pooling=self._suggest(trial, "pooling"),
            batch_normalization=self._suggest(trial, "batch_normalization"),
            activation=self._suggest(trial, "activation"),
            head=self._suggest(trial, "head"),
            dense_units=tuple(self._suggest(trial, "dense_units", f"dense{i + 1}_units") for i in range(n_dense)),
            head_dropout=self._suggest(trial, "head_dropout"),
        )

    def _suggest_block(self, trial: SuggestingTrial, index: int) -> Block:
        name = f"block{index + 1}"
        filters = self.filters[index].suggest(trial, f"{name}_filters")
        values = {}
        for key in ("n_convolutions", "kernel_size", "dropout"):
            values[key] = self._suggest(trial, f"block.{key}", f"{name}_{key}")
        has_branch = values["n_convolutions"] > 1  # with one convolution there is nothing to add to it
        residual = False
        if has_branch:
            residual = self._suggest(trial, "block.residual", f"{name}_residual")
        return Block(filters, **values, residual=residual)

    def _suggest_plan(self, trial: SuggestingTrial) -> TrainingPlan:
        optimizer = self._suggest(trial, "optimizer")
        values: dict[str, Any] = {}
        for key in BY_OPTIMIZER:
            values[key] = self._suggest(trial, f"{key}.{optimizer}", f"{key}_{optimizer}")
        for field in fields(TrainingPlan):
            if field.name not in ("optimizer", *BY_OPTIMIZER):
                values[field.name] = self._suggest(trial, field.name)
        return TrainingPlan(optimizer=optimizer, **values)

    def _suggest(self, trial: SuggestingTrial, key: str, name: str | None = None) -> Any:
        return self.parameters[key].suggest(trial, name or key)
