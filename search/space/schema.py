"""The search space: a TOML file, checked whole before anything runs, that turns a trial into a Recipe.

`SearchSpace.suggest` is the one way from parameters to a Recipe: the search calls it with an `optuna.Trial`, everything
else with a `FixedTrial` of stored parameters or with the portfolio's.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from fmnist.errors import UserError
from fmnist.recipe import (
    OPTIMIZERS,
    max_blocks,
)
from search.space.kinds import (
    ARCHITECTURE_KINDS,
    BLOCK_KINDS,
    FIDELITY_KINDS,
    LIMIT_KINDS,
    OFF,
    OPTIMIZER_KINDS,
    TRAINING_KINDS,
    Kind,
    hint,
    listed,
    shown,
)
from search.space.parameters import Choices, Fixed, Parameter, Range
from search.space.space import DEFAULT_NAME, SAMPLER_NAME, Fidelity, Limits, PortfolioEntry, SearchSpace


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
        received = shown(training["weight_decay"]["adam"])
        raise UserError(f"training.weight_decay.adam must be 0.0, but got {received}; for weight decay there is adamw")
    return parameters


def _filters(block: dict[str, Any], n_blocks: int) -> tuple[Parameter, ...]:
    where = "architecture.block.filters"
    lines = block["filters"]
    if not isinstance(lines, list) or len(lines) < n_blocks:
        received = f"{len(lines)} lines" if isinstance(lines, list) else shown(lines)
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
            f"{where} must be a single value or {{ choices = [...] }}, but got {shown(spec)}; list them as choices"
        )
    return _range(spec, kind, where)


def _choices(values: Any, kind: Kind, where: str) -> Choices:
    if not isinstance(values, list) or not values:
        raise UserError(f"{where}.choices must be a list of at least one value, but got {shown(values)}; add one")
    checked = tuple(kind.check(value, f"{where}.choices") for value in values)
    if len(set(checked)) < len(checked):
        raise UserError(
            f"{where}.choices must differ from each other, but got {shown(values)}; take the repeated one out"
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
        raise UserError(f"portfolio must be a list of tables, but got {shown(entries)}; begin each with [[portfolio]]")
    for entry in entries:
        _check_name(entry.get("name"))
    names = [entry["name"] for entry in entries]
    if len(set(names)) < len(names):
        raise UserError(f"portfolio: names must differ from each other, but got {listed(names)}; rename one")
    if DEFAULT_NAME not in names:
        raise UserError(
            f'portfolio must hold a configuration with name = "{DEFAULT_NAME}", which the search has to beat, but got '
            f"{listed(names) or 'none'}; copy the one in studies/fashion-mnist.toml"
        )
    ordered = sorted(entries, key=lambda entry: entry["name"] != DEFAULT_NAME)  # the default is trial 0
    return tuple(PortfolioEntry(entry["name"], _without(entry, "name")) for entry in ordered)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or name == SAMPLER_NAME:
        received = "nothing" if name is None else shown(name)
        raise UserError(
            f'portfolio: every configuration needs a name of one line in quotes, other than "{SAMPLER_NAME}", but got '
            f"{received}; give it one"
        )


def _table(parent: dict[str, Any], key: str, where: str = "") -> dict[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise UserError(
            f"{where}{key} must be a table, but got {'nothing' if value is None else shown(value)}; "
            f"begin it with [{where}{key}]"
        )
    return value


def _check_keys(table: dict[str, Any], known: set[str], optional: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            shown = key if key.isprintable() else repr(key)
            raise UserError(f"{where}{shown} is not a key of a search space{hint(key, known)}")
    missing = sorted(known - optional - table.keys())
    if missing:
        raise UserError(f"{where}{missing[0]} is missing; studies/fashion-mnist.toml shows every key")


def _without(table: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}
