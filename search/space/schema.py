"""What may a space file say? Its tables, each key with the values that the recipe's field takes; reading and checking.

A key of a table is a field of `fmnist.recipe`, so a field that is added there can be searched without a change here.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import pydantic

from fmnist.errors import UserError
from fmnist.recipe import OPTIMIZERS, Architecture, Between, Block, TrainingPlan, max_blocks
from fmnist.values import require
from search.space.parameters import Fixed, Parameter, Table, parameter_type, shown
from search.space.refusals import example_space, refusal
from search.space.space import BY_OPTIMIZER, DEFAULT_NAME, SAMPLER_NAME, Fidelity, Limits, PortfolioEntry, SearchSpace

# What a file may leave out, and what then holds: keys that came after the first files were written.
OFF = {"residual": False, "averaging": 0.0, "border": "black"}


def space_of(text: str, where: object, image_shape: tuple[int, int, int], n_classes: int) -> SearchSpace:
    """Check the text of a space file for images of this shape.

    Args:
        text: As `read_space_text` or `search.space.default.own_space` give it.
        where: The file's name, for errors.
        image_shape: Height, width and channels.
        n_classes: Number of classes of the images.

    Raises:
        UserError: Something in the file could not be built or trained. It names file, key, requirement and what stands
            there.
    """
    table = parse_toml(text, where)
    try:
        return build_space(table, image_shape, n_classes)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def read_space_text(path: str | os.PathLike[str]) -> str:
    """Read a space file. Raises UserError where there is none, or it is no text."""
    path = require(Path, path, "--space")
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte-order mark
    except FileNotFoundError:
        raise UserError(f"no search-space file at {path}; name one with --space, such as {example_space()}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path}: a search space must be a readable TOML text file, but got: {reason}; name another "
            f"with --space, such as {example_space()}"
        ) from None


def parse_toml(text: str, where: object) -> dict[str, Any]:
    """Return the tables of a TOML text. Raises UserError, naming `where`, for what is none or cannot be held."""
    try:
        table = tomllib.loads(text)
        check_numbers(table)
        return table
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise UserError(f"{where}: not valid TOML: {error}; compare with {example_space()}") from None
    except RecursionError:
        raise UserError(f"{where}: tables are nested too deep; compare with {example_space()}") from None


def check_numbers(value: Any) -> None:
    """Raise ValueError for a whole number beyond the 64 bits that TOML promises.

    Python would read it, and fail later, where it becomes a float or a text.
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number must fit into 64 bits, but one is longer")
    children: Any = ()
    if isinstance(value, dict):
        children = value.values()
    elif isinstance(value, list):
        children = value
    for child in children:
        check_numbers(child)


def table_of(name: str, hints: dict[str, Any], **others: Any) -> type[Table]:
    """Return the class of a table.

    Args:
        name: Of the class.
        hints: The types of the parameters' values, by key.
        others: Fields that are no parameters, as `pydantic.create_model` takes them.
    """
    fields: dict[str, Any] = {}
    for key, hint in hints.items():
        fields[key] = (parameter_type(hint), ...)
        if key in OFF:
            fields[key] = (parameter_type(hint), Fixed(value=OFF[key]))
    return pydantic.create_model(name, __base__=Table, **fields, **others)


def by_optimizer(key: str) -> type[Table]:
    """Return the class of the table that has a parameter of this name for each optimizer.

    One range would be wrong for all of them. Which optimizers need a line follows from those that are searched.
    """
    parameter = parameter_type(PLAN[key])
    fields: dict[str, Any] = {optimizer: (parameter, None) for optimizer in OPTIMIZERS}
    return pydantic.create_model(key, __base__=Table, **fields)


BLOCK = get_type_hints(Block, include_extras=True)
PLAN = get_type_hints(TrainingPlan, include_extras=True)
NETWORK = get_type_hints(Architecture, include_extras=True)
FILTERS = parameter_type(BLOCK.pop("filters"))
BlockTable = table_of("BlockTable", BLOCK, filters=(Annotated[tuple[FILTERS, ...], pydantic.Strict(False)], ...))
ArchitectureTable = table_of(
    "ArchitectureTable",
    {
        "n_blocks": Annotated[int, Between(1, 16)],
        "n_dense": Annotated[int, Between(0, 8)],
        "dense_units": get_args(NETWORK["dense_units"])[0],
        **{key: NETWORK[key] for key in ("pooling", "batch_normalization", "activation", "head", "head_dropout")},
    },
    block=(BlockTable, ...),
)
TrainingTable = table_of(
    "TrainingTable",
    {key: hint for key, hint in PLAN.items() if key not in BY_OPTIMIZER},
    **{key: (by_optimizer(key), ...) for key in BY_OPTIMIZER},
)


def read_portfolio(entries: Any) -> tuple[PortfolioEntry, ...]:
    """Return the configurations of a file, the default first. Raises ValueError where one cannot be told by its name.

    Their parameters are checked against the space, which is known only when the whole file is read.
    """
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"must be a list of tables, but got {shown(entries)}; begin each with [[portfolio]]")
    portfolio: list[PortfolioEntry] = []
    for entry in entries:
        params = dict(entry)
        name = params.pop("name", None)
        received = "nothing" if name is None else shown(name)
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or name == SAMPLER_NAME:
            raise ValueError(
                f'every configuration needs a name of one line in quotes, other than "{SAMPLER_NAME}", but got '
                f"{received}; give it one"
            )
        portfolio.append(PortfolioEntry(name, params))
    names = [entry.name for entry in portfolio]
    if len(set(names)) < len(names):
        raise ValueError(f"names must differ from each other, but got {', '.join(names)}; rename one")
    if DEFAULT_NAME not in names:
        raise ValueError(
            f'must hold a configuration with name = "{DEFAULT_NAME}", which the search has to beat, but got '
            f"{', '.join(names) or 'none'}; add one, as in {example_space()}, with each parameter that varies"
        )
    return tuple(sorted(portfolio, key=lambda entry: entry.name != DEFAULT_NAME))  # the default is trial 0


Portfolio = Annotated[tuple[PortfolioEntry, ...], pydantic.PlainValidator(read_portfolio)]
SpaceTable = pydantic.create_model(
    "SpaceTable",
    __base__=Table,
    architecture=(ArchitectureTable, ...),
    training=(TrainingTable, ...),
    fidelity=(Fidelity, ...),
    limits=(Limits, Limits()),
    portfolio=(Portfolio, pydantic.Field(default=[], validate_default=True)),
)


def build_space(table: dict[str, Any], image_shape: tuple[int, int, int], n_classes: int) -> SearchSpace:
    """Return the space of a file's tables for images of this shape.

    First each table is checked by itself, then what they say together: rates for every optimizer, depth, filters for
    every block, and that the portfolio lies in the space.

    Raises:
        UserError: Something could not be built or trained; the file's name is not in the message.
    """
    try:
        tables = dict(SpaceTable.model_validate(table))
    except pydantic.ValidationError as error:
        raise refusal(error) from None
    network, plan = dict(tables["architecture"]), dict(tables["training"])
    block = dict(network.pop("block"))
    filters = block.pop("filters")
    parameters: dict[str, Parameter] = network
    parameters.update({f"block.{key}": parameter for key, parameter in block.items()})
    for key in BY_OPTIMIZER:
        parameters.update(optimizer_parameters(key, dict(plan.pop(key)), plan["optimizer"].values))
    parameters.update(plan)
    if parameters.get("weight_decay.adam", Fixed(value=0.0)) != Fixed(value=0.0):
        received = shown(table["training"]["weight_decay"]["adam"])
        raise UserError(f"training.weight_decay.adam must be 0.0, but got {received}; for weight decay there is adamw")
    check_depth(network["n_blocks"].highest, network["head"].values, image_shape)  # first: no line would fix it
    if len(filters) < network["n_blocks"].highest:
        raise UserError(
            "architecture.block.filters must be a list with one line for each of up to "
            f"{network['n_blocks'].highest} blocks, but got {len(filters)} lines; add lines or lower n_blocks"
        )
    space = SearchSpace(
        image_shape=image_shape,
        n_classes=n_classes,
        limits=tables["limits"],
        fidelity=tables["fidelity"],
        portfolio=tables["portfolio"],
        parameters=parameters,
        filters=filters,
        table=table,
    )
    for entry in space.portfolio:
        space.recipe_of(entry.params, where=f"portfolio {entry.name!r}")
    return space


def optimizer_parameters(
    key: str, by_name: dict[str, Parameter | None], optimizers: tuple[str, ...]
) -> dict[str, Parameter]:
    """Return the parameters of this key by optimizer, such as `weight_decay.sgd`.

    Args:
        key: One of BY_OPTIMIZER.
        by_name: What the file says, by optimizer; None where it says nothing.
        optimizers: Those that are searched. Raises UserError where the file says nothing of one.
    """
    parameters: dict[str, Parameter] = {}
    for optimizer, parameter in by_name.items():
        if parameter is not None:
            parameters[f"{key}.{optimizer}"] = parameter
        elif optimizer in optimizers:
            raise UserError(f"training.{key}.{optimizer} is missing; add it, {example_space()} shows every key")
    return parameters


def check_depth(n_blocks: int, heads: Sequence[str], image_shape: tuple[int, int, int]) -> None:
    """Raise UserError where a network of so many blocks would pool images of this shape away, with any of the heads."""
    deepest = min(max_blocks(image_shape, head) for head in heads)
    if n_blocks > deepest:
        height, width, _ = image_shape
        raise UserError(
            f"architecture.n_blocks: images of {height} x {width} pixels carry at most {deepest} blocks with these "
            f"heads, but got {n_blocks}; lower it, or pass another --space"
        )
