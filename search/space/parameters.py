"""The kinds of parameters in a search space, and trials whose parameters are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fmnist.errors import UserError
from search.space.kinds import listed, shown


class SuggestingTrial(Protocol):
    """What `suggest` needs of a trial: `optuna.Trial`, `optuna.trial.FixedTrial` and `GivenParameters` have it."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True)
class Fixed:
    """A value that is not searched; the trial never hears of it."""

    value: Any

    @property
    def highest(self) -> Any:
        return self.value

    @property
    def values(self) -> tuple[Any, ...]:
        return (self.value,)

    def suggest(self, trial: SuggestingTrial, name: str) -> Any:
        return self.value


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included."""

    low: float
    high: float
    step: float | None
    log: bool

    @property
    def highest(self) -> float:
        return self.high

    def suggest(self, trial: SuggestingTrial, name: str) -> float:
        if isinstance(self.low, int):
            return trial.suggest_int(name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)


@dataclass(frozen=True)
class Choices:
    """One of these values."""

    values: tuple[Any, ...]

    @property
    def highest(self) -> Any:
        return max(self.values)

    def suggest(self, trial: SuggestingTrial, name: str) -> Any:
        return trial.suggest_categorical(name, self.values)


Parameter = Fixed | Range | Choices


class GivenParameters:
    """A trial whose parameters are given: strict where `optuna.trial.FixedTrial` only warns.

    Raises UserError for a parameter that is missing or outside its range; `unused` names what nothing asked for.
    """

    def __init__(self, params: Mapping[str, Any], where: str) -> None:
        self._params = params
        self._where = where
        self._used: set[str] = set()

    @property
    def unused(self) -> list[str]:
        return [name for name in self._params if name not in self._used]

    @property
    def used(self) -> set[str]:
        return self._used

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        value = self._take(name)
        on_grid = type(value) is int and low <= value <= high and (value - low) % step == 0
        in_steps = "" if step == 1 else f" in steps of {step}"
        return self._accept(name, value, on_grid, f"a whole number from {low} to {high}{in_steps}")

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        value = self._take(name)
        is_number = type(value) in (int, float)
        in_range = is_number and low <= value <= high
        on_grid = in_range and (step is None or abs((value - low) / step - round((value - low) / step)) < 1e-8)
        in_steps = "" if step is None else f" in steps of {step:g}"
        return float(self._accept(name, value, on_grid, f"a number from {low:g} to {high:g}{in_steps}"))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        value = self._take(name)
        matches = any(type(value) is type(choice) and value == choice for choice in choices)
        return self._accept(name, value, matches, f"one of {listed(choices)}")

    def _take(self, name: str) -> Any:
        if name not in self._params:
            raise UserError(f"{self._where}: {name} is missing; add it, or take the whole configuration out")
        self._used.add(name)
        return self._params[name]

    def _accept(self, name: str, value: Any, accepted: bool, requirement: str) -> Any:
        if not accepted:
            raise UserError(
                f"{self._where}: {name} must be {requirement} to lie in the space, but got {shown(value)}; "
                f"change it or widen the space"
            )
        return value
