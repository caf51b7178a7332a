"""How does a recipe of one space look in another? Its parameters, each as near to what it was as the other space has.

A network that was good on some images is a good first guess on others, and in a space that was changed. So a study can
begin with the best of an old one: see `search.results.start`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fmnist.recipe import Recipe
from search.space.space import BY_OPTIMIZER, PortfolioEntry, SearchSpace


@dataclass(frozen=True)
class Transferred:
    """A recipe's parameters in another space."""

    params: dict[str, Any]  # as `SearchSpace.suggest` names them
    changes: tuple[str, ...]  # what the space does not have as it was, such as "optimizer sgd -> adamw"


def transfer(recipe: Recipe, space: SearchSpace) -> Transferred:
    """Return the recipe's parameters in the space, each the nearest value that it has.

    Numbers go to the nearest of a range, on a logarithmic scale where the range has one. Choices that the space does
    not offer become the first that it does. What the recipe cannot say, such as a learning rate of an optimizer that it
    does not have, is in the middle of its range.
    """
    trial = _NearestParameters(known_params(recipe))
    space.suggest(trial)
    return Transferred(trial.params, tuple(trial.changes))


def known_params(recipe: Recipe) -> dict[str, Any]:
    """Return everything that a recipe says, by the names that `SearchSpace.suggest` asks for."""
    architecture, plan = asdict(recipe.architecture), asdict(recipe.plan)
    known: dict[str, Any] = {"n_blocks": len(architecture["blocks"]), "n_dense": len(architecture["dense_units"])}
    for index, block in enumerate(architecture["blocks"], start=1):
        known.update({f"block{index}_{key}": value for key, value in block.items()})
    for index, units in enumerate(architecture["dense_units"], start=1):
        known[f"dense{index}_units"] = units
    for key in ("pooling", "batch_normalization", "activation", "head", "head_dropout"):
        known[key] = architecture[key]
    for key, value in plan.items():
        known[f"{key}_{plan['optimizer']}" if key in BY_OPTIMIZER else key] = value
    return known


def portfolio_text(entries: Sequence[PortfolioEntry]) -> str:
    """Write configurations as tables of a space file."""
    lines = []
    for entry in entries:
        lines.append("\n[[portfolio]]")
        lines.append(f"name = {json.dumps(entry.name, ensure_ascii=False)}")
        lines.extend(f"{name} = {json.dumps(value)}" for name, value in entry.params.items())
    return "\n".join(lines) + "\n"


class _NearestParameters:
    """A trial whose suggestions are as near to known values as they can be.

    Args:
        known: Values by name.

    Attributes:
        params: What was suggested so far.
        changes: What could not be as it was.
    """

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.params: dict[str, Any] = {}
        self.changes: list[str] = []
        self._known = known

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return the nearest whole number that is low plus whole steps."""
        middle = round(math.sqrt(low * high)) if log else (low + high) // 2
        wanted = self._known.get(name, middle)
        nearest = low + step * round((min(max(wanted, low), high) - low) / step)
        return self._keep(name, nearest)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return the nearest number that is low plus whole steps, if there are any."""
        middle = math.sqrt(low * high) if log else (low + high) / 2
        within = min(max(float(self._known.get(name, middle)), low), high)
        if step is None:
            return self._keep(name, within)
        nearest = min(high, low + step * round((within - low) / step))
        return self._keep(name, within if math.isclose(within, nearest) else nearest)  # 0.3 is not three binary 0.1

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return the known choice, the nearest where the choices are numbers, or the first."""
        wanted = self._known.get(name)
        chosen = choices[0]
        if any(type(choice) is type(wanted) and choice == wanted for choice in choices):
            chosen = wanted
        elif _are_numbers([*choices, wanted]):
            chosen = min(choices, key=lambda choice: abs(choice - wanted))
        return self._keep(name, chosen)

    def _keep(self, name: str, value: Any) -> Any:
        if name in self._known and self._known[name] != value:
            self.changes.append(f"{name} {_shown(self._known[name])} -> {_shown(value)}")
        elif name not in self._known:
            self.changes.append(f"{name} = {_shown(value)}")
        self.params[name] = value
        return value


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower()
