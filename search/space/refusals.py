"""What is wrong with a space file, in one line: the key, the requirement, what stands there, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydantic

from fmnist.errors import UserError
from search.space.parameters import shown
from search.system.shipped import SHIPPED_SPACES

TYPES = {  # by the beginning of pydantic's name of the error
    "int": ("a whole number", "write it without quotes, point or exponent, such as 3"),
    "float": ("a number", "write it without quotes, such as 0.5 or 3e-4"),
    "string": ("a text in quotes", 'write it such as "max"'),
    "bool": ("true or false", "write it in small letters, without quotes"),
}
FIRST = ("unknown_key", "missing")  # of several errors: the others may only follow from these
LIST_ERRORS = ("tuple_type", "too_short")


def refusal(error: pydantic.ValidationError) -> UserError:
    """Return what is wrong with a space file in words; of several errors, the one that the others may follow from."""
    first = error.errors()[0]
    for kind in FIRST:
        of_kind = [each for each in error.errors() if each["type"] == kind]
        if of_kind:
            first = of_kind[0]
            break
    return UserError(message_of(first["type"], place(first["loc"]), first["input"], first.get("ctx", {})))


def message_of(kind: str, where: str, received: Any, context: dict[str, Any]) -> str:
    """Return one of pydantic's errors in words.

    Args:
        kind: Pydantic's name of the error, or ours: unknown_key.
        where: The key, as `place` gives it.
        received: What stands in the file.
        context: What the error brings along: a ValueError as error; of an unknown key, the key and the known ones.
    """
    if kind == "unknown_key":
        return unknown_key(where, context["key"], context["known"])
    if kind == "missing":
        return f"{where} is missing; add it, {example_space()} shows every key"
    if kind == "value_error":
        message = str(context["error"])
        separator = ": "
        if message.startswith("must "):
            separator = " "
        return f"{where}{separator}{message}"
    if kind == "model_type":
        return f"{where} must be a table, but got {shown(received)}; begin it with [{where}]"
    if kind == "union_tag_invalid":
        return (
            f"{where} must be a single value or {{ choices = [...] }}, but got {shown(received)}; list them as choices"
        )
    if kind in LIST_ERRORS and where.endswith(".choices"):
        return f"{where} must be a list of at least one value, but got {shown(received)}; add one"
    if kind in LIST_ERRORS:
        return f"{where} must be a list with one line for each block, but got {shown(received)}; add lines"
    requirement, remedy = TYPES[kind.partition("_")[0]]
    return f"{where} must be {requirement}, but got {shown(received)}; {remedy}"


def example_space() -> str:
    """Return the path of a space file that ships with the tool and has every key, from here where it lies below."""
    path = SHIPPED_SPACES / "fashion-mnist.toml"
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return str(path)


def unknown_key(where: str, key: str, known: Iterable[str]) -> str:
    """Return the message for a key that no space file has, in the table `where`; "" is the whole file."""
    name = key
    if not key.isprintable():
        name = repr(key)
    if where:
        name = f"{where}.{name}"
    return f"{name} is not a key of a search space; {hint(key, known)}"


def place(location: tuple[str | int, ...]) -> str:
    """Return where in the file an error is, such as `architecture.block.filters[1].high`.

    location: Pydantic's, with the forms of parameters such as "<range>", which are no keys.
    """
    keys: list[str] = []
    for part in location:
        if isinstance(part, str):
            if not part.startswith("<"):
                keys.append(part)
        elif keys[-1] != "choices":  # which of the choices it is shows in what was received
            keys[-1] += f"[{part}]"
    return ".".join(keys)


def hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that refuses a name: the known one next to it, else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known here: {', '.join(names)}"
