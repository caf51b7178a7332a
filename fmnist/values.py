"""What may a Python caller pass for a number, a text, a path? Converted to Python's own types, or refused in one line.

Whatever is a number counts as one, of NumPy's types too, and 5.0 is a whole number; what comes out is an int, a float,
a bool, a str or a Path, so it can be written to JSON. Truth values are no numbers and numbers no truth values, and a
text is neither: `trials=True` and `seed="0"` are slips, and a guess at what they mean would be silent.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from fmnist.errors import UserError
from fmnist.paths import expanded_text

T = TypeVar("T")
SMALLEST_INT, LARGEST_INT = -(2**63), 2**63 - 1
LONGEST_SHOWN = 80  # characters of a value that a message quotes


def require(kind: type[T], value: object, name: str, *, at_least: float | None = None, remedy: str = "") -> T:
    """Return a value as int, float, bool, str or Path.

    Args:
        kind: One of these.
        value: As the caller passed it.
        name: What the value is for, in the message.
        at_least: The smallest number that is accepted.
        remedy: What to pass in place of a value of another kind.

    Raises:
        UserError: It is of another kind, or a smaller number.
    """
    try:
        converted = convert(kind, value)
    except ValueError:
        end = f"; {remedy}" if remedy else remedy_for(kind, value)
        raise UserError(f"{name} must be {KINDS[kind]}, but got {shown(value)}{end}") from None
    if at_least is not None and not cast(float, converted) >= at_least:
        raise UserError(f"{name} must be {at_least:g} or more, but got {converted}")
    return converted


def require_instance(kind: type[T] | tuple[type[T], ...], value: object, name: str, requirement: str, remedy: str) -> T:
    """Return the value if it is an instance of a class, or of one of several.

    Args:
        kind: The class or classes.
        value: As the caller passed it.
        name: What the value is for, in the message.
        requirement: What it must be, such as `a StudyConfig`.
        remedy: What to pass in its place.

    Raises:
        UserError: It is none.
    """
    if not isinstance(value, kind):
        raise UserError(f"{name} must be {requirement}, but got {shown(value)}; {remedy}")
    return value


def require_callable(value: T, name: str, signature: str) -> T:
    """Return the value if it can be called. Raises UserError, which shows the signature, if it cannot."""
    if not callable(value):
        raise UserError(f"{name} must be a function {signature}, but got {shown(value)}")
    return value


def convert(kind: type[T], value: object) -> T:
    """Return a value as int, float, bool, str or Path. Raises ValueError if it is of another kind."""
    return cast(T, CONVERSIONS[kind](value))


def to_int(value: object) -> int:
    """Return a whole number, 5.0 and NumPy's among them, as an int.

    Raises ValueError for anything else, and for what 64 bits do not hold, as databases and NumPy count with them.
    """
    number = to_number(value)
    try:
        whole = int(number)
    except (OverflowError, ValueError, ArithmeticError) as error:  # an infinity, nan
        raise ValueError(value) from error
    if whole != number or not SMALLEST_INT <= whole <= LARGEST_INT:
        raise ValueError(value)
    return whole


def to_float(value: object) -> float:
    """Return a number as a float. Raises ValueError for anything else, and for what no float holds."""
    try:
        return float(to_number(value))
    except (OverflowError, ArithmeticError) as error:
        raise ValueError(value) from error


def to_number(value: object) -> Any:
    """Return what is a real number in Python's own sense, unless it is one of NumPy's; ValueError for anything else.

    That is what turns into an int or a float: Decimal and Fraction too, but no text, no truth value, no array of one
    number.
    """
    value = scalar(value)
    if isinstance(value, bool | str | bytes | bytearray | type) or getattr(value, "shape", ()) != ():
        raise ValueError(value)
    if hasattr(value, "__index__"):
        return operator.index(cast(Any, value))
    if hasattr(value, "__float__"):
        return value
    raise ValueError(value)


def to_bool(value: object) -> bool:
    """Return a truth value, also NumPy's, as a bool. Raises ValueError for anything else, numbers included."""
    value = scalar(value)
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def to_text(value: object) -> str:
    """Return a text as a str and no subclass of it. Raises ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError(value)
    return str.__str__(value)  # not str(value): that is the name of a member of an enum


def to_path(value: object) -> Path:
    """Return a path, a text or bytes as a Path, a leading `~` replaced by the home folder.

    Raises ValueError for anything else, and for what names no file.
    """
    if not isinstance(value, str | bytes | os.PathLike):
        raise ValueError(value)
    name = os.fsdecode(value)
    if name == "" or "\0" in name:
        raise ValueError(value)
    return Path(expanded_text(name))


def to_place(value: object) -> str:
    """Return a text, a path or bytes as a text, a leading `~` replaced. Raises ValueError for anything else."""
    if isinstance(value, str):
        place = to_text(value)
    elif isinstance(value, bytes | os.PathLike):
        place = os.fsdecode(value)
    else:
        raise ValueError(value)
    if "\0" in place:
        raise ValueError(value)
    return expanded_text(place)


def to_items(value: object) -> tuple[Any, ...]:
    """Return a list, a tuple, a set or any other collection as a tuple, and a single text or path as a tuple of it.

    Raises ValueError for what holds no items, and for a mapping, whose values would be lost.
    """
    if isinstance(value, str | bytes | os.PathLike):
        return (value,)
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or getattr(value, "shape", None) == ():
        raise ValueError(value)
    return tuple(value)


def scalar(value: object) -> object:
    """Return a NumPy number, or an array of no dimensions, as Python's own; everything else as it is."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return cast(Any, value).item()
    return value


KINDS: dict[Any, str] = {  # in the message that refuses a value of another kind
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
}
CONVERSIONS: dict[Any, Callable[[object], object]] = {
    int: to_int,
    float: to_float,
    bool: to_bool,
    str: to_text,
    Path: to_path,
}


def is_too_long(value: object) -> bool:
    """Whether a value is a whole number, but one that `to_int` refuses as 64 bits do not hold it."""
    try:
        number = to_number(value)
        return int(number) == number and not SMALLEST_INT <= number <= LARGEST_INT
    except (OverflowError, ValueError, ArithmeticError):  # no number, an infinity, nan
        return False


def remedy_for(kind: Any, value: object, *, lowest: int = SMALLEST_INT) -> str:
    """Return the end of a message that refuses a value where a slip is plain: a number in quotes, or of many digits.

    lowest: the smallest whole number that would be accepted.
    """
    if kind is int and is_too_long(value):
        return f"; it must lie between {lowest} and {LARGEST_INT}"
    if kind in (int, float) and isinstance(value, str):
        try:
            number = float(value)
            convert(kind, number)
        except ValueError:
            return ""
        return "; leave out the quotes" if math.isfinite(number) else ""
    return ""


def shown(value: object) -> str:
    """Return a value and its type for a message, on one line and not too long, such as `'ten' (str)`."""
    if value is None:
        return "None"
    kind = type(value).__name__
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and shape != () and dtype is not None:
        return f"an array of {dtype} {tuple(shape)} ({kind})"
    return f"{short_repr(value)} ({kind})"


def short_repr(value: object) -> str:
    """Return the repr of a value on one line, its middle left out where it is long."""
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = shortener.maxlong = LONGEST_SHOWN
    try:
        text = shortener.repr(value)
    except Exception:  # a whole number of thousands of digits; whatever somebody's own class raises
        text = f"<{type(value).__name__}>"
    return " ".join(text.split())


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return the end of a message on a name that is none of those known: the closest of them, or nothing."""
    by_lower, lower = {each.lower(): each for each in known}, name.lower()
    close = difflib.get_close_matches(lower, list(by_lower), n=1, cutoff=0.6)
    if not close and len(lower) > 2:
        close = [each for each in by_lower if each.startswith(lower)]
    return f"; did you mean {by_lower[close[0]]}?" if close else ""
