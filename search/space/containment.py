"""Does a space contain another? Then every configuration of the smaller one is one of the larger, with the same recipe.

Parameters are compared one by one, and only those that a configuration of the smaller space can have: the width of a
block that it never builds may change. What makes trials comparable, their lengths and the price of cost, must stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from search.space.parameters import Choices, Fixed, Parameter, Range, shown
from search.space.schema import PLAN
from search.space.space import BY_OPTIMIZER, SearchSpace
from search.space.transfer import known_params

ABSENT = "absent"
TRIED_FIRST = "tried first"


@dataclass(frozen=True)
class Change:
    """Something that two spaces have differently."""

    key: str  # with its table, as in "architecture.n_blocks"
    before: str  # in words
    after: str
    grows: bool  # whether all that it was before is among what it is after

    def __str__(self) -> str:
        return f"{self.key}: {self.before} -> {self.after}"


def changes_between(before: SearchSpace, after: SearchSpace) -> list[Change]:
    """Return what a configuration of `before` meets otherwise in `after`.

    Where each of them grows, `after` contains `before`: the parameters of any configuration of `before`, completed by
    what was fixed in it, are parameters of `after` that yield the same Recipe.

    Args:
        before: A space for images of one shape.
        after: Another one for images of this shape.
    """
    return [
        *_changed_limits(before, after),
        *_changed_fidelity(before, after),
        *_changed_parameters(before, after),
        *_changed_portfolio(before, after),
    ]


def _changed_limits(before: SearchSpace, after: SearchSpace) -> Iterator[Change]:
    now = dict(after.limits)
    for name, old in before.limits:
        new = now[name]
        if new != old:
            grows = new is None or (old is not None and new > old)
            yield Change(f"limits.{name}", _limit_in_words(old), _limit_in_words(new), grows)


def _limit_in_words(limit: int | None) -> str:
    return "no limit" if limit is None else f"{limit:,}"


def _changed_fidelity(before: SearchSpace, after: SearchSpace) -> Iterator[Change]:
    now = dict(after.fidelity)
    for name, old in before.fidelity:
        if now[name] != old:
            yield Change(f"fidelity.{name}", f"{old:,}", f"{now[name]:,}", grows=False)


def _changed_parameters(before: SearchSpace, after: SearchSpace) -> Iterator[Change]:
    for key, old in before.parameters.items():
        if _can_be_asked(before, key):
            yield from _changed_parameter(_place_of(key), old, after.parameters.get(key))
    for index in range(before.parameters["n_blocks"].highest):
        new = after.filters[index] if index < len(after.filters) else None
        yield from _changed_parameter(f"architecture.block.filters[{index}]", before.filters[index], new)


def _can_be_asked(space: SearchSpace, key: str) -> bool:
    """Whether any configuration of the space has this parameter."""
    name, _, optimizer = key.partition(".")
    if name in BY_OPTIMIZER:
        return _holds(space.parameters["optimizer"], optimizer)
    if key == "dense_units":
        return space.parameters["n_dense"].highest > 0
    if key == "block.residual":
        return space.parameters["block.n_convolutions"].highest > 1
    return True


def _place_of(key: str) -> str:
    table = "training" if key.partition(".")[0] in PLAN else "architecture"
    return f"{table}.{key}"


def _changed_parameter(place: str, old: Parameter, new: Parameter | None) -> Iterator[Change]:
    if new is None:
        yield Change(place, in_words(old), ABSENT, grows=False)
    elif new != old:
        yield Change(place, in_words(old), in_words(new), contains(new, old))


def _changed_portfolio(before: SearchSpace, after: SearchSpace) -> Iterator[Change]:
    """A configuration is known by its name: what has a known name must be the same recipe."""
    now = {entry.name: entry.params for entry in after.portfolio}
    for entry in before.portfolio:
        place = f"portfolio {shown(entry.name)}"
        if entry.name not in now:
            yield Change(place, TRIED_FIRST, ABSENT, grows=True)  # it was tried
            continue
        old = known_params(before.recipe_of(entry.params))
        new = known_params(after.recipe_of(now[entry.name]))
        for name in [*old, *(name for name in new if name not in old)]:
            if old.get(name) != new.get(name):
                values = [f"{name} = {json.dumps(params.get(name))}" for params in (old, new)]
                yield Change(place, *values, grows=False)
                break
    known = {entry.name for entry in before.portfolio}
    for name in now:
        if name not in known:
            yield Change(f"portfolio {shown(name)}", ABSENT, TRIED_FIRST, grows=True)


def contains(larger: Parameter, smaller: Parameter) -> bool:
    """Whether every value of one parameter is a value of another."""
    if not isinstance(smaller, Range):
        return all(_holds(larger, value) for value in smaller.values)
    if smaller.low == smaller.high:
        return _holds(larger, smaller.low)
    step = _step_of(smaller)
    if isinstance(larger, Range):
        is_between = larger.low <= smaller.low and smaller.high <= larger.high
        wider = _step_of(larger)
        if wider is None:
            return is_between
        if step is None:
            return False
        return is_between and step % wider == 0 and _holds(larger, smaller.low)
    if step is None:
        return False
    n_values = int((_exact(smaller.high) - _exact(smaller.low)) / step) + 1
    if n_values > len(larger.values):
        return False
    kind = type(smaller.low)
    return all(_holds(larger, kind(_exact(smaller.low) + index * step)) for index in range(n_values))


def _holds(parameter: Parameter, value: Any) -> bool:
    if not isinstance(parameter, Range):
        return any(type(each) is type(value) and each == value for each in parameter.values)
    if isinstance(value, bool | str) or not parameter.low <= value <= parameter.high:
        return False
    step = _step_of(parameter)
    return step is None or (_exact(value) - _exact(parameter.low)) % step == 0


def _step_of(parameter: Range[Any, Any]) -> Decimal | None:
    """Return the distance of a range's values; None where they lie dense."""
    if parameter.step is not None:
        return _exact(parameter.step)
    return Decimal(1) if isinstance(parameter.low, int) else None


def _exact(number: float) -> Decimal:
    return Decimal(str(number))  # as it was written: 0.3 is not three binary 0.1


def in_words(parameter: Parameter) -> str:
    """Say what a parameter may be: "3", "one of 64, 128", "8 to 32 in steps of 8", "0.001 to 0.02, logarithmic"."""
    if isinstance(parameter, Fixed):
        return _value_in_words(parameter.value)
    if isinstance(parameter, Choices):
        return f"one of {', '.join(map(_value_in_words, parameter.choices))}"
    text = f"{parameter.low:g} to {parameter.high:g}"
    if parameter.step is not None:
        text += f" in steps of {parameter.step:g}"
    return f"{text}, logarithmic" if parameter.log else text


def _value_in_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
