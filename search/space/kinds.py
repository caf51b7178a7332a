"""What values each name in a space file takes."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Any

from fmnist.errors import UserError
from fmnist.recipe import ACTIVATIONS, BORDERS, HEADS, OPTIMIZERS, POOLINGS, SCHEDULES


@dataclass(frozen=True)
class Kind:
    """What a key accepts, whatever the file says."""

    type: type  # int, float, str or bool
    low: float = 0
    high: float = math.inf
    accepted: tuple[Any, ...] = ()  # names that the code knows; empty: any number in [low, high]

    def check(self, value: Any, where: str) -> Any:
        """The value, an int made a float where floats are meant. Raises UserError."""
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.type:
            requirement, remedy = _TYPE_NAMES[self.type]
            raise UserError(f"{where} must be {requirement}, but got {shown(value)}; {remedy}")
        if self.accepted and value not in self.accepted:
            raise UserError(
                f"{where} must be one of {listed(self.accepted)}, but got {shown(value)}; other values have no layer"
            )
        if self.type in (int, float) and not self.accepted and not self.low <= value <= self.high:
            allowed = f"between {self.low:g} and {self.high:g}" if self.high < math.inf else f"at least {self.low:g}"
            raise UserError(f"{where} must be {allowed}, but got {shown(value)}; bring it into that range")
        return value


_TYPE_NAMES = {
    int: ("a whole number", "write it without quotes, point or exponent, such as 3"),
    float: ("a number", "write it without quotes, such as 0.5 or 3e-4"),
    str: ("a text in quotes", 'write it such as "max"'),
    bool: ("true or false", "write it in small letters, without quotes"),
}
LIMIT_KINDS = {"max_parameters": Kind(int, 1), "max_multiply_adds": Kind(int, 1)}
FIDELITY_KINDS = {
    "search_images": Kind(int, 1),
    "report_every_images": Kind(int, 1),
    "first_rung_images": Kind(int, 1),
    "reduction_factor": Kind(int, 2, 16),
    "patience_images": Kind(int, 1),
    "accuracy_per_doubling": Kind(float, 0, 0.1),
}
ARCHITECTURE_KINDS = {
    "n_blocks": Kind(int, 1, 16),
    "pooling": Kind(str, accepted=POOLINGS),
    "batch_normalization": Kind(bool),
    "activation": Kind(str, accepted=ACTIVATIONS),
    "head": Kind(str, accepted=HEADS),
    "n_dense": Kind(int, 0, 8),
    "dense_units": Kind(int, 1, 8192),
    "head_dropout": Kind(float, 0, 0.95),
}
BLOCK_KINDS = {
    "filters": Kind(int, 1, 2048),
    "n_convolutions": Kind(int, 1, 3),
    "kernel_size": Kind(int, accepted=(1, 3, 5, 7, 9, 11)),
    "dropout": Kind(float, 0, 0.95),
    "residual": Kind(bool),
}
TRAINING_KINDS = {
    "optimizer": Kind(str, accepted=OPTIMIZERS),
    "schedule": Kind(str, accepted=SCHEDULES),
    "warmup_fraction": Kind(float, 0, 0.95),
    "batch_size": Kind(int, 1, 65536),
    "label_smoothing": Kind(float, 0, 0.95),
    "flip": Kind(bool),
    "shift": Kind(int, 0, 64),
    "border": Kind(str, accepted=BORDERS),
    "erasing": Kind(float, 0, 1),
    "averaging": Kind(float, 0, 0.95),
    "n_epochs": Kind(int, 1, 10_000),
}
# What a file may leave out, and what then holds: keys that came after the first files were written.
OFF = {"residual": False, "averaging": 0.0, "accuracy_per_doubling": 0.0, "border": "black"}
OPTIMIZER_KINDS = {"peak_learning_rate": Kind(float, 1e-9, 10), "weight_decay": Kind(float, 0, 1)}


def hint(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {listed(sorted(known))}"


def shown(value: Any) -> str:
    """On one line and never long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def listed(values: Any) -> str:
    return ", ".join(str(value) for value in values)
