"""The search space: a TOML file, checked whole before anything runs, that turns a trial into a Recipe.

`SearchSpace.suggest` is the one way from parameters to a Recipe: the search calls it with an `optuna.Trial`, everything
else with a `FixedTrial` of stored parameters or with the portfolio's.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from fmnist.errors import UserError
from fmnist.recipe import (
    ACTIVATIONS,
    BORDERS,
    HEADS,
    OPTIMIZERS,
    POOLINGS,
    SCHEDULES,
    Architecture,
    Block,
    Recipe,
    TrainingPlan,
    max_blocks,
)

DEFAULT_NAME = "default"  # the portfolio's configuration that always reaches the final round
SAMPLER_NAME = "sampler"  # the origin of every trial that is not the portfolio's


class SuggestingTrial(Protocol):
    """What `suggest` needs of a trial: `optuna.Trial`, `optuna.trial.FixedTrial` and `GivenParameters` have it."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True)
class Kind:
    """What a key accepts, whatever the file says."""

    type: type  # int, float, str or bool
    low: float = 0
    high: float = math.inf
    accepted: tuple[Any, ...] = ()  # names that the code knows; empty: any number in [low, high]

    def check(self, value: Any, where: str) -> Any:
        """The value, an int made a float where floats are meant. Raises UserError."""
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.type:
            requirement, remedy = _TYPE_NAMES[self.type]
            raise UserError(f"{where} must be {requirement}, but got {_shown(value)}; {remedy}")
        if self.accepted and value not in self.accepted:
            raise UserError(
                f"{where} must be one of {_listed(self.accepted)}, but got {_shown(value)}; other values have no layer"
            )
        if self.type in (int, float) and not self.accepted and not self.low <= value <= self.high:
            allowed = f"between {self.low:g} and {self.high:g}" if self.high < math.inf else f"at least {self.low:g}"
            raise UserError(f"{where} must be {allowed}, but got {_shown(value)}; bring it into that range")
        return value


_TYPE_NAMES = {
    int: ("a whole number", "write it without quotes, point or exponent, such as 3"),
    float: ("a number", "write it without quotes, such as 0.5 or 3e-4"),
    str: ("a text in quotes", 'write it such as "max"'),
    bool: ("true or false", "write it in small letters, without quotes"),
}

LIMIT_KINDS = {"max_parameters": Kind(int, 1), "max_multiply_adds": Kind(int, 1)}
FIDELITY_KINDS = {
    "search_images": Kind(int, 1),
    "report_every_images": Kind(int, 1),
    "first_rung_images": Kind(int, 1),
    "reduction_factor": Kind(int, 2, 16),
    "patience_images": Kind(int, 1),
    "accuracy_per_doubling": Kind(float, 0, 0.1),
}
ARCHITECTURE_KINDS = {
    "n_blocks": Kind(int, 1, 16),
    "pooling": Kind(str, accepted=POOLINGS),
    "batch_normalization": Kind(bool),
    "activation": Kind(str, accepted=ACTIVATIONS),
    "head": Kind(str, accepted=HEADS),
    "n_dense": Kind(int, 0, 8),
    "dense_units": Kind(int, 1, 8192),
    "head_dropout": Kind(float, 0, 0.95),
}
BLOCK_KINDS = {
    "filters": Kind(int, 1, 2048),
    "n_convolutions": Kind(int, 1, 3),
    "kernel_size": Kind(int, accepted=(1, 3, 5, 7, 9, 11)),
    "dropout": Kind(float, 0, 0.95),
    "residual": Kind(bool),
}
TRAINING_KINDS = {
    "optimizer": Kind(str, accepted=OPTIMIZERS),
    "schedule": Kind(str, accepted=SCHEDULES),
    "warmup_fraction": Kind(float, 0, 0.95),
    "batch_size": Kind(int, 1, 65536),
    "label_smoothing": Kind(float, 0, 0.95),
    "flip": Kind(bool),
    "shift": Kind(int, 0, 64),
    "border": Kind(str, accepted=BORDERS),
    "erasing": Kind(float, 0, 1),
    "averaging": Kind(float, 0, 0.95),
    "n_epochs": Kind(int, 1, 10_000),
}
# What a file may leave out, and what then holds: keys that came after the first files were written.
OFF = {"residual": False, "averaging": 0.0, "accuracy_per_doubling": 0.0, "border": "black"}
OPTIMIZER_KINDS = {"peak_learning_rate": Kind(float, 1e-9, 10), "weight_decay": Kind(float, 0, 1)}


@dataclass(frozen=True)
class Fixed:
    """A value that is not searched; the trial never hears of it."""

    value: Any

    @property
    def highest(self) -> Any:
        return self.value

    @property
    def values(self) -> tuple[Any, ...]:
        return (self.value,)

    def suggest(self, trial: SuggestingTrial, name: str) -> Any:
        return self.value


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included."""

    low: float
    high: float
    step: float | None
    log: bool

    @property
    def highest(self) -> float:
        return self.high

    def suggest(self, trial: SuggestingTrial, name: str) -> float:
        if isinstance(self.low, int):
            return trial.suggest_int(name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)


@dataclass(frozen=True)
class Choices:
    """One of these values."""

    values: tuple[Any, ...]

    @property
    def highest(self) -> Any:
        return max(self.values)

    def suggest(self, trial: SuggestingTrial, name: str) -> Any:
        return trial.suggest_categorical(name, self.values)


Parameter = Fixed | Range | Choices


class GivenParameters:
    """A trial whose parameters are given: strict where `optuna.trial.FixedTrial` only warns.

    Raises UserError for a parameter that is missing or outside its range; `unused` names what nothing asked for.
    """

    def __init__(self, params: Mapping[str, Any], where: str) -> None:
        self._params = params
        self._where = where
        self._used: set[str] = set()

    @property
    def unused(self) -> list[str]:
        return [name for name in self._params if name not in self._used]

    @property
    def used(self) -> set[str]:
        return self._used

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        value = self._take(name)
        on_grid = type(value) is int and low <= value <= high and (value - low) % step == 0
        in_steps = "" if step == 1 else f" in steps of {step}"
        return self._accept(name, value, on_grid, f"a whole number from {low} to {high}{in_steps}")

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        value = self._take(name)
        is_number = type(value) in (int, float)
        in_range = is_number and low <= value <= high
        on_grid = in_range and (step is None or abs((value - low) / step - round((value - low) / step)) < 1e-8)
        in_steps = "" if step is None else f" in steps of {step:g}"
        return float(self._accept(name, value, on_grid, f"a number from {low:g} to {high:g}{in_steps}"))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        value = self._take(name)
        matches = any(type(value) is type(choice) and value == choice for choice in choices)
        return self._accept(name, value, matches, f"one of {_listed(choices)}")

    def _take(self, name: str) -> Any:
        if name not in self._params:
            raise UserError(f"{self._where}: {name} is missing; add it, or take the whole configuration out")
        self._used.add(name)
        return self._params[name]

    def _accept(self, name: str, value: Any, accepted: bool, requirement: str) -> Any:
        if not accepted:
            raise UserError(
                f"{self._where}: {name} must be {requirement} to lie in the space, but got {_shown(value)}; "
                f"change it or widen the space"
            )
        return value


@dataclass(frozen=True)
class Limits:
    """What a network may cost; None: no limit."""

    max_parameters: int | None
    max_multiply_adds: int | None  # per image, forward


@dataclass(frozen=True)
class Fidelity:
    """How much of a training a trial gets, in training images seen. Rungs are trainings of their own."""

    search_images: int  # length of the last rung
    report_every_images: int
    first_rung_images: int  # length of the first rung; each further one has reduction_factor times the images
    reduction_factor: int  # one in so many goes on to the next rung
    patience_images: int  # early stopping: no higher accuracy for so long
    accuracy_per_doubling: float  # what twice the multiply-adds must bring, where trials are compared: see `worth`


@dataclass(frozen=True)
class PortfolioEntry:
    """A configuration that every study tries first."""

    name: str
    params: dict[str, Any]  # as `SearchSpace.suggest` names them


@dataclass(frozen=True)
class SearchSpace:
    """A validated space for images of one shape."""

    image_shape: tuple[int, int, int]  # height, width, channels
    n_classes: int
    limits: Limits
    fidelity: Fidelity
    portfolio: tuple[PortfolioEntry, ...]
    parameters: dict[str, Parameter]  # by key of the file, without its table: "n_blocks", "block.dropout", ...
    filters: tuple[Parameter, ...]  # by block
    table: dict[str, Any]  # the file as read, to be compared when a study is resumed

    @property
    def longest_training(self) -> int:
        """Epochs of the longest full training that the space allows."""
        return self.parameters["n_epochs"].highest

    def suggest(self, trial: SuggestingTrial) -> Recipe:
        """Ask the trial for every parameter that its network has, and no other."""
        return Recipe(self._suggest_architecture(trial), self._suggest_plan(trial))

    def recipe_of(self, params: Mapping[str, Any], where: str = "parameters") -> Recipe:
        """The Recipe of exactly these parameters. Raises UserError where one is missing, unknown or out of range."""
        given = GivenParameters(params, where)
        recipe = self.suggest(given)
        if given.unused:
            unknown = given.unused[0]
            raise UserError(
                f"{where}: {unknown} matches no parameter of this configuration{_hint(unknown, given.used)}"
            )
        return recipe

    def _suggest_architecture(self, trial: SuggestingTrial) -> Architecture:
        n_blocks = self._suggest(trial, "n_blocks")
        blocks = tuple(self._suggest_block(trial, index) for index in range(n_blocks))
        n_dense = self._suggest(trial, "n_dense")
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
        values = {
            key: self._suggest(trial, f"block.{key}", f"{name}_{key}")
            for key in ("n_convolutions", "kernel_size", "dropout")
        }
        has_branch = values["n_convolutions"] > 1  # with one convolution there is nothing to add to it
        residual = self._suggest(trial, "block.residual", f"{name}_residual") if has_branch else False
        return Block(filters, **values, residual=residual)

    def _suggest_plan(self, trial: SuggestingTrial) -> TrainingPlan:
        optimizer = self._suggest(trial, "optimizer")
        by_optimizer = {
            key: self._suggest(trial, f"{key}.{optimizer}", f"{key}_{optimizer}") for key in OPTIMIZER_KINDS
        }
        others = {key: self._suggest(trial, key) for key in TRAINING_KINDS if key != "optimizer"}
        return TrainingPlan(optimizer=optimizer, **by_optimizer, **others)

    def _suggest(self, trial: SuggestingTrial, key: str, name: str | None = None) -> Any:
        return self.parameters[key].suggest(trial, name or key)


def read_space(path: Path, image_shape: tuple[int, int, int], n_classes: int) -> SearchSpace:
    """Read and check a space file for images of this shape.

    Raises UserError (file, key, requirement, received) for whatever could not be built or trained.
    """
    return space_of(read_space_text(path), path, image_shape, n_classes)


def space_of(text: str, where: object, image_shape: tuple[int, int, int], n_classes: int) -> SearchSpace:
    """The same from the text of such a file. where: its name, for errors."""
    table = _parsed(text, where)
    try:
        return _space_of(table, image_shape, n_classes)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def read_space_text(path: Path) -> str:
    """Raises UserError where there is no such file, or it is no text."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte-order mark
    except FileNotFoundError:
        raise UserError(f"no search-space file at {path}; see --space, or copy studies/fashion-mnist.toml") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path}: a search space must be a readable TOML text file, but got: {reason}; see --space"
        ) from None


def _parsed(text: str, where: object) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
        _check_numbers(table)
        return table
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise UserError(f"{where}: not valid TOML: {error}; compare with studies/fashion-mnist.toml") from None
    except RecursionError:
        raise UserError(f"{where}: tables are nested too deep; compare with studies/fashion-mnist.toml") from None


def _check_numbers(value: Any) -> None:
    """TOML promises 64 bits; Python would read more, and fail later, where a number becomes a float or a text."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number must fit into 64 bits, but one is longer")
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_numbers(child)


def _space_of(table: dict[str, Any], image_shape: tuple[int, int, int], n_classes: int) -> SearchSpace:
    _check_keys(table, {"limits", "fidelity", "architecture", "training", "portfolio"}, {"limits", "portfolio"}, "")
    architecture, training = _table(table, "architecture"), _table(table, "training")
    parameters = {
        **_parameters(architecture, ARCHITECTURE_KINDS, "architecture", besides={"block"}),
        **_block_parameters(_table(architecture, "block", "architecture.")),
        **_parameters(training, TRAINING_KINDS, "training", besides=set(OPTIMIZER_KINDS)),
        **_optimizer_parameters(training),
    }
    _check_depth(parameters, image_shape)  # first: no line of filters would mend it
    filters = _filters(architecture["block"], parameters["n_blocks"].highest)
    space = SearchSpace(
        image_shape=image_shape,
        n_classes=n_classes,
        limits=_limits(table),
        fidelity=_fidelity(_table(table, "fidelity")),
        portfolio=_portfolio(table.get("portfolio", [])),
        parameters=parameters,
        filters=filters,
        table=table,
    )
    for entry in space.portfolio:
        space.recipe_of(entry.params, where=f"portfolio {entry.name!r}")
    return space


def _parameters(table: dict[str, Any], kinds: dict[str, Kind], where: str, besides: set[str]) -> dict[str, Parameter]:
    _check_keys(table, kinds.keys() | besides, set(OFF), f"{where}.")
    table = OFF | table
    return {key: _parameter(table[key], kind, f"{where}.{key}") for key, kind in kinds.items()}


def _block_parameters(table: dict[str, Any]) -> dict[str, Parameter]:
    _check_keys(table, set(BLOCK_KINDS), set(OFF), "architecture.block.")
    table = OFF | table
    searched = {key: kind for key, kind in BLOCK_KINDS.items() if key != "filters"}
    return {f"block.{key}": _parameter(table[key], kind, f"architecture.block.{key}") for key, kind in searched.items()}


def _optimizer_parameters(training: dict[str, Any]) -> dict[str, Parameter]:
    """Learning rate and weight decay have a range per optimizer: one range would be wrong for all of them."""
    parameters: dict[str, Parameter] = {}
    optimizers = _parameter(training["optimizer"], TRAINING_KINDS["optimizer"], "training.optimizer").values
    for key, kind in OPTIMIZER_KINDS.items():
        by_optimizer = _table(training, key, "training.")
        _check_keys(by_optimizer, set(OPTIMIZERS), set(OPTIMIZERS) - set(optimizers), f"training.{key}.")
        for name, value in by_optimizer.items():
            parameters[f"{key}.{name}"] = _parameter(value, kind, f"training.{key}.{name}")
    decay = parameters.get("weight_decay.adam")
    if decay is not None and decay != Fixed(0.0):
        received = _shown(training["weight_decay"]["adam"])
        raise UserError(f"training.weight_decay.adam must be 0.0, but got {received}; for weight decay there is adamw")
    return parameters


def _filters(block: dict[str, Any], n_blocks: int) -> tuple[Parameter, ...]:
    where = "architecture.block.filters"
    lines = block["filters"]
    if not isinstance(lines, list) or len(lines) < n_blocks:
        received = f"{len(lines)} lines" if isinstance(lines, list) else _shown(lines)
        raise UserError(
            f"{where} must be a list with one line for each of up to {n_blocks} blocks, but got {received}; "
            f"add lines or lower n_blocks"
        )
    return tuple(_parameter(line, BLOCK_KINDS["filters"], f"{where}[{i}]") for i, line in enumerate(lines))


def _parameter(spec: Any, kind: Kind, where: str) -> Parameter:
    if not isinstance(spec, dict):
        return Fixed(kind.check(spec, where))
    if "choices" in spec:
        _check_keys(spec, {"choices"}, set(), f"{where}.")
        return _choices(spec["choices"], kind, where)
    if kind.type not in (int, float) or kind.accepted:
        raise UserError(
            f"{where} must be a single value or {{ choices = [...] }}, but got {_shown(spec)}; list them as choices"
        )
    return _range(spec, kind, where)


def _choices(values: Any, kind: Kind, where: str) -> Choices:
    if not isinstance(values, list) or not values:
        raise UserError(f"{where}.choices must be a list of at least one value, but got {_shown(values)}; add one")
    checked = tuple(kind.check(value, f"{where}.choices") for value in values)
    if len(set(checked)) < len(checked):
        raise UserError(
            f"{where}.choices must differ from each other, but got {_shown(values)}; take the repeated one out"
        )
    return Choices(checked)


def _range(spec: dict[str, Any], kind: Kind, where: str) -> Range:
    _check_keys(spec, {"low", "high", "step", "log"}, {"step", "log"}, f"{where}.")
    low, high = kind.check(spec["low"], f"{where}.low"), kind.check(spec["high"], f"{where}.high")
    log = Kind(bool).check(spec.get("log", False), f"{where}.log")
    if low > high:
        raise UserError(f"{where}: low must not be above high, but got low = {low}, high = {high}; swap them")
    if log and low <= 0:
        raise UserError(f"{where}: log = true needs low above 0, but got low = {low}; raise low or leave log out")
    step = spec.get("step")
    if step is not None:
        step = Kind(kind.type).check(step, f"{where}.step")
        _check_step(low, high, step, log, where)
    return Range(low, high, step, log)


def _check_step(low: float, high: float, step: float, log: bool, where: str) -> None:
    """Optuna would move high to the last step, with a warning a trial. Decimal: 0.3 is not three binary 0.1."""
    if log:
        raise UserError(f"{where}: step goes without log = true, but got both; leave one of them out")
    if step <= 0 or step > high - low:
        raise UserError(
            f"{where}: step must be above 0 and at most high - low, but got low = {low}, high = {high}, step = {step}; "
            f"correct it or leave it out"
        )
    if (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) != 0:
        raise UserError(
            f"{where}: high must be low plus whole steps, but got low = {low}, high = {high}, step = {step}; move high"
        )


def _check_depth(parameters: dict[str, Parameter], image_shape: tuple[int, int, int]) -> None:
    heads = parameters["head"].values
    deepest = min(max_blocks(image_shape, head) for head in heads)
    if parameters["n_blocks"].highest > deepest:
        height, width, _ = image_shape
        raise UserError(
            f"architecture.n_blocks: images of {height} x {width} pixels carry at most {deepest} blocks with these "
            f"heads, but got {parameters['n_blocks'].highest}; lower it, or pass another --space"
        )


def _limits(table: dict[str, Any]) -> Limits:
    limits = _table(table, "limits") if "limits" in table else {}
    _check_keys(limits, set(LIMIT_KINDS), set(LIMIT_KINDS), "limits.")
    return Limits(
        **{
            key: kind.check(limits[key], f"limits.{key}") if key in limits else None
            for key, kind in LIMIT_KINDS.items()
        }
    )


def _fidelity(table: dict[str, Any]) -> Fidelity:
    _check_keys(table, set(FIDELITY_KINDS), set(OFF), "fidelity.")
    table = OFF | table
    values = {key: kind.check(table[key], f"fidelity.{key}") for key, kind in FIDELITY_KINDS.items()}
    if values["search_images"] < values["first_rung_images"]:
        raise UserError(
            f"fidelity.search_images must be at least first_rung_images = {values['first_rung_images']}, but got "
            f"{values['search_images']}; raise it, or lower first_rung_images"
        )
    return Fidelity(**values)


def _portfolio(entries: Any) -> tuple[PortfolioEntry, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"portfolio must be a list of tables, but got {_shown(entries)}; begin each with [[portfolio]]")
    for entry in entries:
        _check_name(entry.get("name"))
    names = [entry["name"] for entry in entries]
    if len(set(names)) < len(names):
        raise UserError(f"portfolio: names must differ from each other, but got {_listed(names)}; rename one")
    if DEFAULT_NAME not in names:
        raise UserError(
            f'portfolio must hold a configuration with name = "{DEFAULT_NAME}", which the search has to beat, but got '
            f"{_listed(names) or 'none'}; copy the one in studies/fashion-mnist.toml"
        )
    ordered = sorted(entries, key=lambda entry: entry["name"] != DEFAULT_NAME)  # the default is trial 0
    return tuple(PortfolioEntry(entry["name"], _without(entry, "name")) for entry in ordered)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or name == SAMPLER_NAME:
        received = "nothing" if name is None else _shown(name)
        raise UserError(
            f'portfolio: every configuration needs a name of one line in quotes, other than "{SAMPLER_NAME}", but got '
            f"{received}; give it one"
        )


def _table(parent: dict[str, Any], key: str, where: str = "") -> dict[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise UserError(
            f"{where}{key} must be a table, but got {'nothing' if value is None else _shown(value)}; "
            f"begin it with [{where}{key}]"
        )
    return value


def _check_keys(table: dict[str, Any], known: set[str], optional: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            shown = key if key.isprintable() else repr(key)
            raise UserError(f"{where}{shown} is not a key of a search space{_hint(key, known)}")
    missing = sorted(known - optional - table.keys())
    if missing:
        raise UserError(f"{where}{missing[0]} is missing; studies/fashion-mnist.toml shows every key")


def _hint(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {_listed(sorted(known))}"


def _shown(value: Any) -> str:
    """On one line and never long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in values)


def _without(table: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}
