"""Numbers and recipes in words."""

from __future__ import annotations

import math
from typing import Any

from fmnist.metrics.intervals import Interval
from fmnist.recipe import TrainingPlan

UNITS_OF_SIZE = ("bytes", "kB", "MB", "GB")


def percent(share: float | None, digits: int = 2) -> str:
    return "not known" if share is None else f"{100 * share:.{digits}f} %"


def points(difference: float) -> str:
    return f"{100 * abs(difference):.2f} points"


def between(interval: Interval) -> str:
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f} %"


def count(n: int | None, noun: str = "") -> str:
    """`1,234`, or with a noun `1 trial`, `2 trials`."""
    if n is None:
        return "not known"
    return f"{n:,} {noun}{'' if n == 1 else 's'}" if noun else f"{n:,}"


def millions(n: int | None) -> str:
    """Three significant figures: `850`, `12.3 k`, `280 k`, `3.21 M`."""
    if n is None:
        return "not known"
    for factor, unit in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if n >= factor:
            return f"{_three_figures(n / factor)}{unit}"
    return str(n)


def file_size(n_bytes: int) -> str:
    power = min(int(math.log(max(n_bytes, 1), 1000)), len(UNITS_OF_SIZE) - 1)
    return f"{_three_figures(n_bytes / 1000**power)} {UNITS_OF_SIZE[power]}"


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    shown = [f"{n} {unit}" for n, unit in parts if n]
    return " ".join(shown[:2])


def parameter_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _three_figures(number: float) -> str:
    digits = max(0, 2 - int(math.log10(max(number, 1))))
    return f"{number:.{digits}f}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def plan_in_words(plan: TrainingPlan) -> list[str]:
    return [_optimizer(plan), _schedule(plan), _targets(plan), _augmentation(plan), _length(plan)]


def _optimizer(plan: TrainingPlan) -> str:
    rule = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD with Nesterov momentum 0.9"}[plan.optimizer]
    decay = f"decoupled weight decay {plan.weight_decay:.2g}" if plan.weight_decay else "no weight decay"
    return f"Optimizer: {rule}, {decay}, batches of {plan.batch_size} images."


def _schedule(plan: TrainingPlan) -> str:
    rate = f"{plan.peak_learning_rate:.3g}"
    if plan.schedule == "constant":
        return f"Learning rate: {rate} throughout."
    shape = {"cosine": "cosine", "one_cycle": "one-cycle"}[plan.schedule]
    return (
        f"Learning rate: {shape} schedule, up to {rate} over the first {percent(plan.warmup_fraction, 0)} of the steps."
    )


def _targets(plan: TrainingPlan) -> str:
    smoothing = f"label smoothing {plan.label_smoothing:g}" if plan.label_smoothing else "no label smoothing"
    return f"Loss: cross-entropy, {smoothing}."


_BORDER_WORDS = {"black": "", "edge": ", its border repeated"}


def _augmentation(plan: TrainingPlan) -> str:
    kinds = [
        "every image mirrored left-right in every second epoch" if plan.flip else "",
        f"shifted by up to {count(plan.shift, 'pixel')} each way{_BORDER_WORDS[plan.border]}" if plan.shift else "",
        f"a random rectangle erased with probability {plan.erasing:.2g} (in shorter trainings less)"
        if plan.erasing
        else "",
    ]
    return f"Augmentation: {', '.join(kind for kind in kinds if kind) or 'none'}."


def _length(plan: TrainingPlan) -> str:
    return f"Length: {count(plan.n_epochs, 'epoch')} in a full training."


def milliseconds(value: float) -> str:
    digits = 3 if value < 0.1 else 2 if value < 10 else 0
    return f"{value:.{digits}f} ms"
