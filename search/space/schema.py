"""What may a space file say? Its tables, each key with the values that the recipe's field takes; reading and checking.

A key of a table is a field of `fmnist.recipe`, so a field that is added there can be searched without a change here.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import pydantic

from fmnist.errors import UserError
from fmnist.recipe import OPTIMIZERS, Architecture, Between, Block, TrainingPlan, max_blocks
from search.space.parameters import Choices, Fixed, Parameter, Table, parameter_type, shown
from search.space.refusals import refusal
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
    table = _parsed(text, where)
    try:
        return _space_of(table, image_shape, n_classes)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def read_space_text(path: Path) -> str:
    """Read a space file. Raises UserError where there is none, or it is no text."""
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
        check_numbers(table)
        return table
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise UserError(f"{where}: not valid TOML: {error}; compare with studies/fashion-mnist.toml") from None
    except RecursionError:
        raise UserError(f"{where}: tables are nested too deep; compare with studies/fashion-mnist.toml") from None


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
    """Return a table that has a parameter for each of the hints, by key, and fields of other kinds."""
    fields: dict[str, Any] = {}
    for key, hint in hints.items():
        fields[key] = (parameter_type(hint), Fixed(value=OFF[key]) if key in OFF else ...)
    return pydantic.create_model(name, __base__=Table, **fields, **others)


def by_optimizer(key: str) -> type[Table]:
    """Return the table that has a parameter of this name for each optimizer: one range would be wrong for all."""
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
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or name == SAMPLER_NAME:
            raise ValueError(
                f'every configuration needs a name of one line in quotes, other than "{SAMPLER_NAME}", but got '
                f"{'nothing' if name is None else shown(name)}; give it one"
            )
        portfolio.append(PortfolioEntry(name, params))
    names = [entry.name for entry in portfolio]
    if len(set(names)) < len(names):
        raise ValueError(f"names must differ from each other, but got {', '.join(names)}; rename one")
    if DEFAULT_NAME not in names:
        raise ValueError(
            f'must hold a configuration with name = "{DEFAULT_NAME}", which the search has to beat, but got '
            f"{', '.join(names) or 'none'}; copy the one in studies/fashion-mnist.toml"
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


def _space_of(table: dict[str, Any], image_shape: tuple[int, int, int], n_classes: int) -> SearchSpace:
    try:
        tables = dict(SpaceTable.model_validate(table))
    except pydantic.ValidationError as error:
        raise refusal(error) from None
    block, training = dict(tables["architecture"].block), dict(tables["training"])
    filters = block.pop("filters")
    rates = {key: training.pop(key) for key in BY_OPTIMIZER}
    parameters: dict[str, Parameter] = {
        **{key: parameter for key, parameter in tables["architecture"] if key != "block"},
        **{f"block.{key}": parameter for key, parameter in block.items()},
        **training,
        **_optimizer_parameters(rates, training["optimizer"].values, table["training"]),
    }
    _check_depth(parameters, image_shape)  # first: no line of filters would fix it
    if len(filters) < parameters["n_blocks"].highest:
        raise UserError(
            "architecture.block.filters must be a list with one line for each of up to "
            f"{parameters['n_blocks'].highest} blocks, but got {len(filters)} lines; add lines or lower n_blocks"
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


def _optimizer_parameters(
    tables: dict[str, Table], optimizers: tuple[str, ...], training: dict[str, Any]
) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for key, table in tables.items():
        for optimizer, parameter in table:
            if parameter is not None:
                parameters[f"{key}.{optimizer}"] = parameter
            elif optimizer in optimizers:
                raise UserError(f"training.{key}.{optimizer} is missing; studies/fashion-mnist.toml shows every key")
    decay = parameters.get("weight_decay.adam")
    if decay is not None and decay != Fixed(value=0.0):
        received = shown(training["weight_decay"]["adam"])
        raise UserError(f"training.weight_decay.adam must be 0.0, but got {received}; for weight decay there is adamw")
    return parameters


def _check_depth(parameters: dict[str, Parameter], image_shape: tuple[int, int, int]) -> None:
    n_blocks, head = parameters["n_blocks"], parameters["head"]
    assert isinstance(head, Fixed | Choices)  # names are no range
    deepest = min(max_blocks(image_shape, name) for name in head.values)
    if n_blocks.highest > deepest:
        height, width, _ = image_shape
        raise UserError(
            f"architecture.n_blocks: images of {height} x {width} pixels carry at most {deepest} blocks with these "
            f"heads, but got {n_blocks.highest}; lower it, or pass another --space"
        )
