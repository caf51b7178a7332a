"""What is wrong with a space file, in one line: the key, the requirement, what stands there, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import pydantic

from fmnist.errors import UserError
from search.space.parameters import shown

TYPES = {  # by the beginning of pydantic's name of the error
    "int": ("a whole number", "write it without quotes, point or exponent, such as 3"),
    "float": ("a number", "write it without quotes, such as 0.5 or 3e-4"),
    "string": ("a text in quotes", 'write it such as "max"'),
    "bool": ("true or false", "write it in small letters, without quotes"),
}
FIRST = ("unknown_key", "missing")  # of several errors: the others may only follow from these


def refusal(error: pydantic.ValidationError) -> UserError:
    """Return the first of the errors in words."""
    errors = error.errors()
    first = min(errors, key=lambda each: FIRST.index(each["type"]) if each["type"] in FIRST else len(FIRST))
    where, kind, received = place(first["loc"]), first["type"], shown(first["input"])
    context: dict[str, Any] = first.get("ctx", {})
    if kind == "unknown_key":
        key = context["key"] if context["key"].isprintable() else repr(context["key"])
        prefix = f"{where}." if where else ""
        return UserError(f"{prefix}{key} is not a key of a search space{hint(context['key'], context['known'])}")
    if kind == "missing":
        return UserError(f"{where} is missing; studies/fashion-mnist.toml shows every key")
    if kind == "value_error":
        message = str(context["error"])
        return UserError(f"{where} {message}" if message.startswith("must ") else f"{where}: {message}")
    if kind == "model_type":
        return UserError(f"{where} must be a table, but got {received}; begin it with [{where}]")
    if kind == "union_tag_invalid":
        return UserError(
            f"{where} must be a single value or {{ choices = [...] }}, but got {received}; list them as choices"
        )
    if where.endswith(".choices") and kind in ("tuple_type", "too_short"):
        return UserError(f"{where} must be a list of at least one value, but got {received}; add one")
    if kind == "tuple_type":
        return UserError(f"{where} must be a list with one line for each block, but got {received}; add lines")
    requirement, remedy = TYPES[kind.partition("_")[0]]
    return UserError(f"{where} must be {requirement}, but got {received}; {remedy}")


def place(location: tuple[str | int, ...]) -> str:
    """Return where in the file an error is, such as `architecture.block.filters[1].high`."""
    path, before = "", ""
    for part in location:
        if isinstance(part, int):
            path += "" if before == "choices" else f"[{part}]"  # which of the choices it is shows in what was received
        elif not part.startswith("<"):  # the form that a parameter has is no key
            path += f".{part}" if path else part
            before = part
    return path


def hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that refuses a name: the known one next to it, else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(names)}"
