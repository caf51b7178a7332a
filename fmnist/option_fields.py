"""What does a field of an `options` class say of itself: its name on the command line, type, bounds and look?"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic.fields import FieldInfo


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
    also: str | None = None  # another spelling of the name, with dashes: --color
    spellings: Mapping[str, str] | None = None  # of choices, in small letters -> the choice
    switches: Mapping[str, str] | None = None  # value -> help: each a flag of its own that excludes the others
    reads: Callable[[str], Any] | None = None  # a text into a value of the field's type, such as 96kB into 96000
    takes_path: bool = False  # a text that may name a file or folder: from Python also a path or bytes
    without_secret: Callable[[str], str] | None = None  # hides a password that the value may hold, in the repr


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


def value_type_of(field: FieldInfo) -> tuple[Any, bool]:
    """Return the type of one value of the field, None apart, and whether the field may hold several."""
    value_type = field.annotation
    if get_origin(value_type) in (Union, types.UnionType):
        (value_type,) = set(get_args(value_type)) - {types.NoneType}
    origin = get_origin(value_type)
    if origin is not None and origin is not Literal and issubclass(origin, Sequence):
        return get_args(value_type)[0], True
    return value_type, False


def takes_none(field: FieldInfo) -> bool:
    """Whether None is among the field's values."""
    return types.NoneType in get_args(field.annotation)


def bounds_of(field: FieldInfo) -> dict[str, Any]:
    """Return the smallest and the largest number that a field takes, by `ge` and `le`, as far as it has them."""
    names = ("ge", "le")
    return {name: getattr(bound, name) for bound in field.metadata for name in names if hasattr(bound, name)}
