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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, dataclass_transform, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from fmnist.cli import OneLineParser
from fmnist.errors import UserError
from fmnist.option_fields import (
    Presentation,
    bounds_of,
    fields_of,
    flag_of,
    presentation_of,
    takes_none,
    value_type_of,
)
from fmnist.paths import as_word
from fmnist.values import (
    KINDS,
    SMALLEST_INT,
    convert,
    did_you_mean,
    is_too_long,
    remedy_for,
    scalar,
    short_repr,
    shown,
    to_items,
    to_place,
)

T = TypeVar("T")
OUT_OF_BOUNDS = ("greater", "less", "finite")  # how pydantic's names of such errors begin


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

    Its constructor takes what `fmnist.values` takes for the type of a field, and holds Python's own types afterwards: a
    text for a path becomes a Path, NumPy's numbers become Python's, a list becomes a tuple. It raises UserError for a
    value that cannot be used, with the requirement, what was received and the remedy in one line, and TypeError for an
    argument that there is not. Its repr names what differs from the defaults.

    A dataclass derived from it may add fields of its own; those it inherits are checked all the same.
    """
    made: Any = pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))(cls)
    validated_init = made.__init__

    @functools.wraps(validated_init)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        given = arguments_by_name(made, args, kwargs)
        plain = {name: converted(name, fields_of(made)[name], value) for name, value in given.items()}
        try:
            validated_init(self, **plain)
        except pydantic.ValidationError as error:
            raise refusal(made, error, given) from None

    for name, field in fields_of(made).items():
        if presentation_of(field).without_secret is not None:
            made.__dataclass_fields__[name].repr = False  # in the repr that `dataclass` gives a derived class
    made.__init__ = init
    made.__post_init__ = checked_in_derived_ones(made)
    made.__repr__ = repr_of_options
    return made


def checked_in_derived_ones(made: type[Any]) -> Callable[[Any], None]:
    """Return the `__post_init__` of an `options` class, which checks its fields also where a derived class sets them.

    `dataclasses.dataclass` gives a derived class a constructor of its own, which sets fields unchecked, and takes the
    declaration of an option for its default.
    """
    own: Callable[[Any], None] = getattr(made, "__post_init__", lambda self: None)

    def post_init(self: Any) -> None:
        if type(self).__dataclass_fields__ is made.__dataclass_fields__:
            own(self)
            return
        values = {name: getattr(self, name) for name in fields_of(made)}
        checked = made(**{name: value for name, value in values.items() if not isinstance(value, FieldInfo)})
        for name in values:
            object.__setattr__(self, name, getattr(checked, name))

    return post_init


def arguments_by_name(cls: type[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an `options` class by field. Raises TypeError where they do not fit its fields."""
    fields = fields_of(cls)
    if len(args) > len(fields):
        raise TypeError(f"{cls.__name__} takes at most {len(fields)} arguments, but got {len(args)}; pass them by name")
    given = dict(zip(fields, args, strict=False))
    for name, value in kwargs.items():
        if name not in fields:
            remedy = did_you_mean(name, list(fields)) or f"; it has {', '.join(fields)}"
            raise TypeError(f"{cls.__name__} has no option {name}{remedy}")
        if name in given:
            raise TypeError(f"{cls.__name__} got {name} twice, by its place and by its name; pass it by name alone")
        given[name] = value
    for name, field in fields.items():
        if field.is_required() and name not in given:
            raise TypeError(f"{cls.__name__} needs {name}, which has no default; pass {name}=...")
    return given


def converted(name: str, field: FieldInfo, value: Any) -> Any:
    """Return a value in the type that its field is annotated with. Raises UserError for a value of another kind."""
    value_type, is_many = value_type_of(field)
    if value is None and takes_none(field):
        return None
    kind = str if get_origin(value_type) is Literal else value_type
    convert_one = to_place if presentation_of(field).takes_path else functools.partial(convert, kind)
    if isinstance(value, str):
        value = usual_spelling(value, field)
        reads = presentation_of(field).reads
        value = value if reads is None else reads(value)
    try:
        if is_many:
            return tuple(convert_one(item) for item in to_items(value))
        return convert_one(value)
    except ValueError:
        bounds = bounds_of(field)
        if kind is int and "le" in bounds and is_too_long(value):
            raise refused(name, field, OUT_OF_BOUNDS[0], short_repr(scalar(value)), "") from None
        remedy = remedy_for(kind, value, lowest=bounds.get("ge", SMALLEST_INT))
    received = shown(value)
    if presentation_of(field).without_secret is not None:
        received = f"a value of type {type(value).__name__}"
    raise refused(name, field, "type", received, remedy)


def usual_spelling(word: str, field: FieldInfo) -> str:
    """Return the choice that a word is another spelling of, capital letters included; the word itself if of none."""
    spellings = presentation_of(field).spellings or {}
    return spellings.get(word.lower(), word)


def repr_of_options(options: Any) -> str:
    """Return the options that differ from their defaults, as Python would be given them, without any password."""
    parts: list[str] = []
    for name, field in fields_of(type(options)).items():
        value, without_secret = getattr(options, name), presentation_of(field).without_secret
        if not field.is_required() and value == field.get_default(call_default_factory=True):
            continue
        if without_secret is not None:
            value = without_secret(value)
        parts.append(f"{name}={value!r}")
    return f"{type(options).__name__}({', '.join(parts)})"


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
            flags = [flag_of(name, field)]
            if shown.also is not None:
                flags.append(shown.also)
            container.add_argument(*flags, **argument_of(name, field))


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
        elif isinstance(value, Path) or presentation_of(field).takes_path:
            words += [flag, as_word(value)]
        else:
            words += [flag, str(value)]
    return words


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
        argument["type"] = functools.partial(usual_spelling, field=field)
        return argument
    is_text = value_type is Path or shown.reads is not None  # not Path: it would make a dot of an empty text
    argument["type"] = str if is_text else value_type
    argument["metavar"] = shown.metavar
    if is_many and shown.positional:
        argument["nargs"] = "+"
    elif is_many:
        argument["action"] = "append"
    return argument


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


def refusal(cls: type[Any], error: pydantic.ValidationError, given: Mapping[str, Any]) -> UserError:
    """Return the first of pydantic's errors in words: the option, its requirement, what was received, the remedy.

    given: the caller's values by field.
    """
    first = error.errors()[0]
    name = str(first["loc"][0])
    field = fields_of(cls)[name]
    remedy = ""
    value_type, _ = value_type_of(field)
    if get_origin(value_type) is Literal:
        remedy = did_you_mean(str(first["input"]), get_args(value_type))
    return refused(name, field, first["type"], short_repr(given[name]), remedy)


def refused(name: str, field: FieldInfo, error_type: str, received: str, remedy: str) -> UserError:
    """Return the error that says what a field takes and what it was given.

    Args:
        name: Of the field.
        field: The field.
        error_type: As for `requirement_of`.
        received: The value in words.
        remedy: The end of the message, where the field has no remedy of its own.
    """
    presentation = presentation_of(field)
    what = flag_of(name, field)
    if presentation.positional:
        what = presentation.metavar or name
    message = f"{what} must be {presentation.requirement or requirement_of(field, error_type)}, but got {received}"
    if presentation.remedy is not None:
        remedy = f"; {presentation.remedy}"
    return UserError(f"{message}{remedy}")


def requirement_of(field: FieldInfo, error_type: str) -> str:
    """Return what the field takes, such as `at least 1`: its bounds where they were missed, else its type.

    error_type: pydantic's name of what is wrong, such as greater_than_equal.
    """
    value_type, is_many = value_type_of(field)
    if get_origin(value_type) is Literal:
        return f"one of {', '.join(get_args(value_type))}"
    bounds = bounds_of(field)
    if "ge" not in bounds or not error_type.startswith(OUT_OF_BOUNDS):
        kind = "a name or a path" if presentation_of(field).takes_path else KINDS[value_type]
        return f"{kind}, or a list of such" if is_many else kind
    if "le" not in bounds:
        return f"at least {bounds['ge']}"
    return f"between {bounds['ge']} and {bounds['le']}"
