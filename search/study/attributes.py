"""What a search stores with each trial beside Optuna's own fields: the trial's user attributes, as one record."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack, cast

import optuna
from optuna.trial import FrozenTrial

from search.study.optuna_private import together


class TrialAttributes(TypedDict, total=False):
    """A trial's user attributes by name, as plain JSON. A trial has those that it got far enough to set."""

    origin: str  # name of the portfolio's configuration; absent where the sampler drew the parameters
    n_losses: int  # how often the trial was running when its run or its node died
    recipe: dict[str, Any]  # Recipe.to_dict()
    n_parameters: int
    multiply_adds: int  # per image, forward
    reason: str  # why it ended, in words
    trace: str  # of a failed training process, where it could send one
    history: list[dict[str, Any]]  # HistoryPoints of the last rung begun, as dicts
    best: dict[str, Any] | None  # the HistoryPoint of them with the highest selection score
    n_images: int  # training images seen, in all rungs
    seconds: float  # wall time
    seconds_in_steps: float  # of these, in steps of learning and validation, of rungs that ended
    peak_memory_mb: float  # of the training process
    rung_images: int  # length of the longest rung that was trained to its end; 0: none
    rung_accuracy: float | None  # selection accuracy there, at the best point
    rung_score: float  # by the study's metric, likewise; absent where that is accuracy
    rung_scores: dict[str, float]  # the score at the end of each rung, by its length in images
    passed_step: int  # the last step at which the pruner let it go on
    out_of_time: bool  # stopped by --timeout, not by the pruner


def attributes_of(trial: optuna.Trial | FrozenTrial) -> TrialAttributes:
    """Read a trial's attributes. A view of Optuna's dictionary, free of any cost; do not write to it."""
    return cast(TrialAttributes, trial.user_attrs)


def set_attributes(trial: optuna.Trial, **attributes: Unpack[TrialAttributes]) -> None:
    """Store attributes of a running trial, in the order given; those of a study that this process holds, at once."""
    with together(trial):
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
