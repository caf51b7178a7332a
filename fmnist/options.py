"""Options declared once: the help, the types, the checks and the command line all follow from a class's fields.

    @options
    class ReportOptions:
        names: tuple[str, ...] = option("a study, or two to compare", positional=True, metavar="NAME")
        seed: int = option("of the training", default=0, ge=0, metavar="N")

`ReportOptions(...)` checks its values, `parse_options` reads them from a command line, `to_arguments` writes them back.
"""

from __future__ import annotations

import argparse
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, dataclass_transform, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from fmnist.cli import OneLineParser
from fmnist.errors import UserError

T = TypeVar("T")
TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}
WRONG_CALL = ("missing", "missing_argument", "unexpected_keyword_argument", "unexpected_positional_argument")


@dataclass(frozen=True)
class Presentation:
    """How an option looks on the command line and in messages, beside what its type and bounds say."""

    metavar: str | None = None
    group: str | None = None  # heading in the help
    name: str | None = None  # without dashes; None: the field's, with dashes for underscores
    positional: bool = False
    default_shown: str | None = None  # in the help; None: the default itself
    requirement: str | None = None  # in the message that refuses a value; None: as the bounds say
    remedy: str | None = None  # behind that
    switches: Mapping[str, str] | None = None  # value -> help: each a flag of its own that excludes the others


def option(
    description: str,
    *,
    default: Any = ...,
    default_factory: Callable[[], Any] | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    **presentation: Any,
) -> Any:
    """Declare a field of an `options` class: what --help says of it, its default, its bounds, its `Presentation`.

    A field without a default is required, unless `default_shown` says what a command takes in its place.
    """
    declared: dict[str, Any] = {
        "description": description,
        "ge": ge,
        "gt": gt,
        "le": le,
        "json_schema_extra": {"presentation": Presentation(**presentation)},
    }
    if (ge, gt, le) != (None, None, None):
        declared["allow_inf_nan"] = False
    if default_factory is not None:
        return pydantic.Field(default_factory=default_factory, **declared)
    return pydantic.Field(default, **declared)


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
def options(cls: type[T]) -> type[T]:
    """Make a frozen dataclass of options that raises UserError for values that cannot be used."""
    made: Any = pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))(cls)
    validated_init = made.__init__

    @functools.wraps(validated_init)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            validated_init(self, *args, **kwargs)
        except pydantic.ValidationError as error:
            raise _refusal(made, error) from None

    made.__init__ = init
    return made


def parse_options(cls: type[T], argv: Sequence[str], **parser: Any) -> T:
    """Read options from a command line's words.

    Args:
        cls: An `options` class.
        argv: The words behind the program's name.
        parser: Arguments of `argparse.ArgumentParser`, such as prog and description.

    Raises:
        UserError: The words or their values cannot be used.
    """
    made = OneLineParser(**parser, allow_abbrev=False)
    add_options(made, cls)
    return cls(**vars(made.parse_args(argv)))


def add_options(parser: argparse.ArgumentParser, cls: type[Any]) -> None:
    """Add an argument for each field of an `options` class.

    The namespace holds only what was given, so that defaults stand in the class alone.
    """
    groups = {group.title: group for group in parser._action_groups}
    for name, field in fields_of(cls).items():
        shown = presentation_of(field)
        if shown.group is not None and shown.group not in groups:
            groups[shown.group] = parser.add_argument_group(shown.group)
        container = parser if shown.group is None else groups[shown.group]
        if shown.switches is None:
            flags = [name] if shown.positional else [flag_of(name, field)]
            container.add_argument(*flags, **_argument(name, field))
            continue
        exclusive = container.add_mutually_exclusive_group()
        for value, help in shown.switches.items():
            exclusive.add_argument(
                f"--{value}", action="store_const", const=value, dest=name, help=help, default=argparse.SUPPRESS
            )


def to_arguments(options: Any) -> list[str]:
    """Write the options that differ from their defaults as one would type them."""
    words: list[str] = []
    for name, field in fields_of(type(options)).items():
        value = getattr(options, name)
        if value == field.get_default(call_default_factory=True):
            continue
        flag = flag_of(name, field)
        if isinstance(value, bool):
            words.append(flag)
        elif isinstance(value, tuple):
            words += [flag, ",".join(value)]
        else:
            words += [flag, str(value)]
    return words


def fields_of(cls: type[Any]) -> dict[str, FieldInfo]:
    """Return the fields of an `options` class by name, in their order."""
    return cls.__pydantic_fields__


def flag_of(name: str, field: FieldInfo) -> str:
    """Return what sets the field on a command line, such as `--memory-limit`."""
    return f"--{presentation_of(field).name or name.replace('_', '-')}"


def presentation_of(field: FieldInfo) -> Presentation:
    """Return how the field's option looks; as its name and type say where nothing else was declared."""
    extra = cast(dict[str, Any], field.json_schema_extra or {})
    return extra.get("presentation", Presentation())


def _argument(name: str, field: FieldInfo) -> dict[str, Any]:
    """What argparse is told of a field, beside its flag."""
    shown, (value_type, is_many) = presentation_of(field), value_type_of(field)
    argument: dict[str, Any] = {"help": _help(field), "default": argparse.SUPPRESS}
    if not shown.positional:
        argument["dest"] = name
        argument["required"] = field.is_required() and shown.default_shown is None
    if value_type is bool:
        return argument | {"action": "store_false" if field.default else "store_true"}
    if get_origin(value_type) is Literal:
        return argument | {"choices": get_args(value_type)}
    argument |= {"type": value_type, "metavar": shown.metavar}
    if is_many:
        argument |= {"nargs": "+"} if shown.positional else {"action": "append"}
    return argument


def value_type_of(field: FieldInfo) -> tuple[Any, bool]:
    """Return the type of the field's value when there is one, and whether it may hold several."""
    value_type = field.annotation
    if get_origin(value_type) in (Union, types.UnionType):
        (value_type,) = (each for each in get_args(value_type) if each is not types.NoneType)
    origin = get_origin(value_type)
    if origin is not None and origin is not Literal and issubclass(origin, Sequence):
        return get_args(value_type)[0], True
    return value_type, False


def _help(field: FieldInfo) -> str:
    text, default = field.description or "", presentation_of(field).default_shown
    value = field.get_default(call_default_factory=True)
    if default is None and not field.is_required() and value is not None and not isinstance(value, bool | tuple):
        default = str(value)
    if default is not None:
        text = f"{text} (default: {default})"
    return text.replace("%", "%%")


def _refusal(cls: type[Any], error: pydantic.ValidationError) -> Exception:
    """The first error in words: the option, its requirement, what was received, the remedy."""
    first = error.errors()[0]
    if first["type"] in WRONG_CALL:
        return TypeError(f"{cls.__name__}: {first['msg']}: {first['loc'][0]}")
    name = str(first["loc"][0])
    field = fields_of(cls)[name]
    shown = presentation_of(field)
    what = (shown.metavar or name) if shown.positional else flag_of(name, field)
    requirement = shown.requirement or _requirement(field, first["type"])
    remedy = "" if shown.remedy is None else f"; {shown.remedy}"
    return UserError(f"{what} must be {requirement}, but got {first['input']!r}{remedy}")


def _requirement(field: FieldInfo, error_type: str) -> str:
    value_type, _ = value_type_of(field)
    if get_origin(value_type) is Literal:
        return f"one of {', '.join(get_args(value_type))}"
    low, high = _bound(field, "ge"), _bound(field, "le")
    if low is None or error_type.partition("_")[0] not in ("greater", "less", "finite"):
        return TYPE_NAMES[value_type]
    return f"at least {low}" if high is None else f"between {low} and {high}"


def _bound(field: FieldInfo, name: str) -> float | None:
    return next((getattr(each, name) for each in field.metadata if hasattr(each, name)), None)
