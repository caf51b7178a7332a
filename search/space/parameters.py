"""What is a parameter of a search space? A fixed value, a range or some choices, asked of a trial or given."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar, get_args, get_origin

import pydantic
from pydantic import AfterValidator, BaseModel, Discriminator, Strict, Tag
from pydantic_core import PydanticCustomError

from fmnist.errors import UserError
from fmnist.recipe import Between, OneOf

Value = TypeVar("Value")  # with its bounds
Step = TypeVar("Step")  # the same type without bounds


class SuggestingTrial(Protocol):
    """What `suggest` needs of a trial: `optuna.Trial`, `optuna.trial.FixedTrial` and `GivenParameters` have it."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return a whole number from low to high, both included."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number from low to high, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return one of the choices."""
        ...


class Table(BaseModel):
    """A table of a space file: no other keys than its fields, no value of another type than theirs."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, table: Any) -> Any:
        """Refuse an unknown key before a missing one: a key that is spelt wrong is both."""
        if not isinstance(table, dict):
            return table
        for key in table:
            if key not in cls.model_fields:
                raise PydanticCustomError("unknown_key", "unknown key", {"key": key, "known": set(cls.model_fields)})
        return table


class Fixed(BaseModel):
    """A value that is not searched: a trial is never asked for it."""

    model_config = pydantic.ConfigDict(frozen=True)
    value: Any

    @property
    def highest(self) -> Any:
        """The value."""
        return self.value

    @property
    def values(self) -> tuple[Any, ...]:
        """The value alone."""
        return (self.value,)

    def suggest(self, trial: SuggestingTrial, name: str) -> Any:
        """Return the value without asking the trial."""
        return self.value


class Choices(Table, Generic[Value]):
    """One of the values that a file lists, as in `pooling = { choices = ["max", "average"] }`."""

    choices: Annotated[tuple[Value, ...], Strict(False), pydantic.Field(min_length=1)]

    @pydantic.field_validator("choices", mode="after")
    @classmethod
    def _differ(cls, choices: tuple[Value, ...]) -> tuple[Value, ...]:
        if len(set(choices)) < len(choices):
            raise ValueError(f"must differ from each other, but got {shown(list(choices))}; take the repeated one out")
        return choices

    @property
    def highest(self) -> Any:
        """The largest of the values."""
        return max(self.choices)  # type: ignore[type-var]  # only numbers are asked for it

    @property
    def values(self) -> tuple[Any, ...]:
        """The values, in the order of the file."""
        return self.choices

    def suggest(self, trial: SuggestingTrial, name: str) -> Any:
        """Ask the trial for one of the values."""
        return trial.suggest_categorical(name, self.choices)


class Range(Table, Generic[Value, Step]):
    """Numbers from low to high, both included, as in `filters = { low = 8, high = 32, step = 8 }`.

    Whole numbers where low is one. With log, small numbers are as likely as large ones.
    """

    low: Value
    high: Value
    step: Step | None = None
    log: bool = False

    @pydantic.model_validator(mode="after")
    def _fit_together(self) -> Self:
        low, high, step = self._numbers()
        received = f"low = {low}, high = {high}"
        if low > high:
            raise ValueError(f"low must not be above high, but got {received}; swap them")
        if self.log and low <= 0:
            raise ValueError(f"log = true needs low above 0, but got low = {low}; raise low or leave log out")
        if step is None:
            return self
        if self.log:
            raise ValueError("step goes without log = true, but got both; leave one of them out")
        received = f"{received}, step = {step}"
        span = Decimal(str(high)) - Decimal(str(low))  # 0.15 - 0.1 is not binary 0.05
        if step <= 0 or Decimal(str(step)) > span:
            raise ValueError(
                f"step must be above 0 and at most high - low, but got {received}; correct it or leave it out"
            )
        # Optuna would move high to the last step, with a warning a trial.
        if span % Decimal(str(step)) != 0:
            raise ValueError(f"high must be low plus whole steps, but got {received}; move high")
        return self

    @property
    def highest(self) -> Any:
        """The upper end."""
        return self.high

    def suggest(self, trial: SuggestingTrial, name: str) -> Any:
        """Ask the trial for a number of the range."""
        low, high, step = self._numbers()
        if isinstance(low, int):
            return trial.suggest_int(name, low, high, step=step or 1, log=self.log)
        return trial.suggest_float(name, low, high, step=step, log=self.log)

    def _numbers(self) -> tuple[Any, Any, Any]:
        return self.low, self.high, self.step


Parameter = Fixed | Range[Any, Any] | Choices[Any]


def parameter_type(hint: Any) -> Any:
    """Return the type by which pydantic reads a parameter from a space file.

    Args:
        hint: The type of its values, such as `Annotated[int, Between(1, 3)]` or bool. Only numbers between two others
            may be a range.
    """
    value_type, accepted = hint, None
    if get_origin(hint) is Annotated:
        value_type, accepted = get_args(hint)
    plain: Any = Annotated[value_type, Strict()]
    value = plain
    if accepted is not None:
        value = Annotated[plain, AfterValidator(functools.partial(accept, accepted))]
    fixed: Any = Annotated[value, AfterValidator(lambda value: Fixed(value=value)), Tag("<fixed>")]
    choices: Any = Annotated[Choices[value], Tag("<choices>")]
    forms = fixed | choices
    if isinstance(accepted, Between):
        forms = forms | Annotated[Range[value, plain], Tag("<range>")]
    return Annotated[forms, Discriminator(form_of)]


def form_of(written: Any) -> str:
    """Return which form of a parameter stands in a file, as `parameter_type` tags them."""
    if not isinstance(written, dict):
        return "<fixed>"
    if "choices" in written:
        return "<choices>"
    return "<range>"


def accept(accepted: Between | OneOf, value: Any) -> Any:
    """Return the value. Raises ValueError, with the remedy, where it is not among the accepted ones."""
    if value in accepted:
        return value
    remedy = "bring it into that range"
    if isinstance(accepted, OneOf):
        remedy = "other values have no layer"
    raise ValueError(f"must be {accepted}, but got {shown(value)}; {remedy}")


def shown(value: Any) -> str:
    """Return the value as Python writes it, on one line of at most 80 characters."""
    text = repr(value)
    if len(text) > 80:
        text = f"{text[:77]}..."
    return text


class GivenParameters:
    """A trial whose parameters are given: strict where `optuna.trial.FixedTrial` only warns.

    Its suggestions raise UserError for a parameter that is missing or outside its range. `used` names what was asked
    for, `unused` what nothing asked for.

    Args:
        params: Values by name.
        where: What they are the parameters of, for errors.
    """

    def __init__(self, params: Mapping[str, Any], where: str) -> None:
        self._params = params
        self._where = where
        self.used: set[str] = set()

    @property
    def unused(self) -> list[str]:
        """The names of the parameters that nothing asked for, in their order."""
        return [name for name in self._params if name not in self.used]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return the given whole number, which must be low plus whole steps, and at most high."""
        requirement = f"a whole number from {low} to {high}"
        if step != 1:
            requirement += f" in steps of {step}"
        value = self._take(name, requirement)
        if type(value) is not int or not low <= value <= high or (value - low) % step != 0:
            raise self._refusal(name, requirement)
        return value

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return the given number, which must be low plus whole steps, if there are any, and at most high."""
        requirement = f"a number from {low:g} to {high:g}"
        if step is not None:
            requirement += f" in steps of {step:g}"
        value = self._take(name, requirement)
        if type(value) not in (int, float) or not low <= value <= high:
            raise self._refusal(name, requirement)
        if step is not None and abs((value - low) / step - round((value - low) / step)) >= 1e-8:
            raise self._refusal(name, requirement)
        return float(value)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return the given one of the choices; True is not 1."""
        requirement = f"one of {', '.join(map(json.dumps, choices))}"  # as they stand in a file: true, "max"
        value = self._take(name, requirement)
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return value
        raise self._refusal(name, requirement)

    def _take(self, name: str, requirement: str) -> Any:
        if name not in self._params:
            raise UserError(f"{self._where}: {name} is missing; add it, {requirement}")
        self.used.add(name)
        return self._params[name]

    def _refusal(self, name: str, requirement: str) -> UserError:
        return UserError(
            f"{self._where}: {name} must be {requirement} to lie in the space, but got {shown(self._params[name])}; "
            f"change it or widen the space"
        )
