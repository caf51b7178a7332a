"""How is an option declared once? The help, the types, the checks and the command line follow from a class's fields.

    @options
    class ReportOptions:
        names: tuple[str, ...] = option("a study, or two to compare", positional=True, metavar="NAME")
        seed: int = option("of the training", default=0, ge=0, metavar="N")

`ReportOptions(...)` checks its values, `parse_options` reads them from a command line, `to_arguments` writes them back.
Not covered: subcommands, files of options, options whose default depends on another.
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
OUT_OF_BOUNDS = ("greater", "less", "finite")  # how pydantic's names of such errors begin
WRONG_CALL = ("missing", "missing_argument", "unexpected_keyword_argument", "unexpected_positional_argument")


@dataclass(frozen=True)
class Presentation:
    """How an option looks on the command line and in messages, beside what its type and bounds say."""

    metavar: str | None = None
    group: str | None = None  # heading in the help
    name: str | None = None  # without dashes; None: the field's, with dashes for underscores
    positional: bool = False
    default_shown: str | None = None  # in the help; None: the default itself
    requirement: str | None = None  # in the message that refuses a value; None: as type and bounds say
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
    """Declare a field of an `options` class.

    Args:
        description: What --help says of it, without its default.
        default: Its value when it is not given. A field without one is required, unless `default_shown` says what the
            command takes in its place.
        default_factory: Called for the default, where it depends on the machine.
        ge: Smallest number that is accepted.
        gt: The number that it must exceed.
        le: Largest number that is accepted.
        presentation: Fields of `Presentation`.
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
    """Make a frozen dataclass of a class whose fields are declared by `option`.

    Its constructor raises UserError for a value that cannot be used, with the requirement, what was received and the
    remedy in one line, and TypeError for an argument that there is not.
    """
    made: Any = pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))(cls)
    validated_init = made.__init__

    @functools.wraps(validated_init)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            validated_init(self, *args, **kwargs)
        except pydantic.ValidationError as error:
            raise refusal(made, error) from None

    made.__init__ = init
    return made


def parse_options(cls: type[T], argv: Sequence[str], **parser: Any) -> T:
    """Read options from a command line.

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

    Args:
        parser: Its groups are used where they have the title that a field names, so two classes may share one.
        cls: An `options` class.
    """
    groups: dict[str | None, Any] = {None: parser}
    groups.update({group.title: group for group in parser._action_groups})
    for name, field in fields_of(cls).items():
        shown = presentation_of(field)
        if shown.group not in groups:
            groups[shown.group] = parser.add_argument_group(shown.group)
        container = groups[shown.group]
        if shown.switches is not None:
            exclusive = container.add_mutually_exclusive_group()
            for value, help in shown.switches.items():
                switch = {"action": "store_const", "const": value, "dest": name, "default": argparse.SUPPRESS}
                exclusive.add_argument(f"--{value}", help=help, **switch)
        elif shown.positional:
            container.add_argument(name, **argument_of(name, field))
        else:
            container.add_argument(flag_of(name, field), **argument_of(name, field))


def to_arguments(options: Any) -> list[str]:
    """Return the options that differ from their defaults, as one would type them.

    A command that is given these words makes equal options. Passwords are written out: take them off first.
    """
    words: list[str] = []
    for name, field in fields_of(type(options)).items():
        value, flag = getattr(options, name), flag_of(name, field)
        if value == field.get_default(call_default_factory=True):
            continue
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
    """Return how the field's option looks; the usual look for a field that `option` has not declared."""
    extra = cast(dict[str, Any], field.json_schema_extra or {})
    return extra.get("presentation", Presentation())


def argument_of(name: str, field: FieldInfo) -> dict[str, Any]:
    """Return what argparse is told of a field, beside its flag: action, type, choices, help.

    A bool is a flag that turns the default round, a `Literal` has choices, a sequence takes its option again and again.
    """
    shown, (value_type, is_many) = presentation_of(field), value_type_of(field)
    argument: dict[str, Any] = {"help": help_of(field), "default": argparse.SUPPRESS}
    if not shown.positional:
        argument["dest"] = name
        argument["required"] = field.is_required() and shown.default_shown is None
    if value_type is bool:
        argument["action"] = "store_false" if field.default else "store_true"
        return argument
    if get_origin(value_type) is Literal:
        argument["choices"] = get_args(value_type)
        return argument
    argument["type"] = value_type
    argument["metavar"] = shown.metavar
    if is_many and shown.positional:
        argument["nargs"] = "+"
    elif is_many:
        argument["action"] = "append"
    return argument


def value_type_of(field: FieldInfo) -> tuple[Any, bool]:
    """Return the type of one value of the field, None apart, and whether the field may hold several."""
    value_type = field.annotation
    if get_origin(value_type) in (Union, types.UnionType):
        (value_type,) = set(get_args(value_type)) - {types.NoneType}
    origin = get_origin(value_type)
    if origin is not None and origin is not Literal and issubclass(origin, Sequence):
        return get_args(value_type)[0], True
    return value_type, False


def help_of(field: FieldInfo) -> str:
    """Return the option's line in --help: its description, and its default where it has one worth naming."""
    text, default = field.description or "", presentation_of(field).default_shown
    if default is None and not field.is_required():
        value = field.get_default(call_default_factory=True)
        if value is not None and not isinstance(value, bool | tuple):
            default = str(value)
    if default is not None:
        text = f"{text} (default: {default})"
    return text.replace("%", "%%")


def refusal(cls: type[Any], error: pydantic.ValidationError) -> Exception:
    """Return the first of pydantic's errors in words: the option, its requirement, what was received, the remedy."""
    first = error.errors()[0]
    if first["type"] in WRONG_CALL:
        return TypeError(f"{cls.__name__}: {first['msg']}: {first['loc'][0]}")
    name = str(first["loc"][0])
    field = fields_of(cls)[name]
    shown = presentation_of(field)
    what = flag_of(name, field)
    if shown.positional:
        what = shown.metavar or name
    message = f"{what} must be {shown.requirement or requirement_of(field, first['type'])}, but got {first['input']!r}"
    if shown.remedy is not None:
        message = f"{message}; {shown.remedy}"
    return UserError(message)


def requirement_of(field: FieldInfo, error_type: str) -> str:
    """Return what the field takes, such as `at least 1`: its bounds where they were missed, else its type.

    error_type: pydantic's name of what is wrong, such as greater_than_equal.
    """
    value_type, _ = value_type_of(field)
    if get_origin(value_type) is Literal:
        return f"one of {', '.join(get_args(value_type))}"
    bounds: dict[str, Any] = {}
    for constraint in field.metadata:
        for name in ("ge", "le"):
            if hasattr(constraint, name):
                bounds[name] = getattr(constraint, name)
    if "ge" not in bounds or not error_type.startswith(OUT_OF_BOUNDS):
        return TYPE_NAMES[value_type]
    if "le" not in bounds:
        return f"at least {bounds['ge']}"
    return f"between {bounds['ge']} and {bounds['le']}"
