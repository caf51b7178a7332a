"""What a study's trials came to: read back as records."""

from __future__ import annotations

import heapq
import warnings
from collections import Counter
from datetime import UTC, datetime

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter

from fmnist.training.history import HistoryPoint
from search.records.models import TrialRecord
from search.study.attributes import attributes_of
from search.study.optuna_private import queued_params

STATES = ("complete", "pruned", "failed", "infeasible", "running", "waiting")
MIN_TRIALS_FOR_IMPORTANCES = 4
_HISTORY = TypeAdapter(tuple[HistoryPoint, ...])  # made once: making them took 97 % of reading many trials
_BEST = TypeAdapter(HistoryPoint | None)


def read_trials(study: optuna.Study) -> list[TrialRecord]:
    """Read every trial as a record, by number."""
    return [record_of(trial) for trial in study.get_trials(deepcopy=False)]


def read_best(study: optuna.Study, n: int) -> list[TrialRecord]:
    """Read the n complete trials with the highest scores, best first."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = heapq.nlargest(n, complete, key=lambda trial: trial.values[0])
    return [record_of(trial) for trial in best]


def count_by_state(study: optuna.Study) -> dict[str, int]:
    """Count the trials in each of STATES.

    It runs after every trial, so it reads no records: with 10,000 trials that would take seconds.
    """
    counts = Counter(state_of(trial) for trial in study.get_trials(deepcopy=False))
    return {state: counts[state] for state in STATES}


def count_begun(study: optuna.Study) -> int:
    """Count the trials that have ended, are running, or were running when their run was stopped or killed."""
    return sum(trial.datetime_start is not None for trial in study.get_trials(deepcopy=False))


def importances(study: optuna.Study) -> dict[str, float] | None:
    """Share of the complete trials' scores that each parameter explains, largest first.

    By PED-ANOVA (Watanabe et al. 2023). None where fewer than MIN_TRIALS_FOR_IMPORTANCES trials are complete.
    """
    n_complete = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if n_complete < MIN_TRIALS_FOR_IMPORTANCES:
        return None
    with warnings.catch_warnings():  # one for each parameter of few trials; the report says it once, for all
        warnings.simplefilter("ignore", UserWarning)
        found = optuna.importance.get_param_importances(study, target=lambda trial: trial.values[0])
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))  # Optuna orders equals by chance


def record_of(trial: FrozenTrial) -> TrialRecord:
    """Read one trial as a record; what it did not get far enough to store has the record's default."""
    attributes = attributes_of(trial)
    state = state_of(trial)
    is_complete = trial.state == TrialState.COMPLETE
    return TrialRecord(
        number=trial.number,
        state=state,
        value=trial.values[0] if is_complete else None,
        params=dict(trial.params) or queued_params(trial),
        origin=attributes.get("origin", "sampler"),
        reason=attributes.get("reason", state),
        recipe=attributes.get("recipe"),
        history=_HISTORY.validate_python(attributes.get("history", ())),
        best=_BEST.validate_python(attributes.get("best")),
        seconds=attributes.get("seconds", 0.0),
        seconds_in_steps=attributes.get("seconds_in_steps", 0.0),
        n_images=attributes.get("n_images", 0),
        n_parameters=attributes.get("n_parameters"),
        multiply_adds=attributes.get("multiply_adds"),
        peak_memory_mb=attributes.get("peak_memory_mb"),
        rung_images=attributes.get("rung_images", 0),
        rung_accuracy=attributes.get("rung_accuracy"),
        rung_score=attributes.get("rung_score"),
        rung_scores={int(length): score for length, score in attributes.get("rung_scores", {}).items()},
        out_of_time=attributes.get("out_of_time", False),
        started=in_utc(trial.datetime_start),
        finished=in_utc(trial.datetime_complete),
    )


def state_of(trial: FrozenTrial) -> str:
    """Name the trial's state, one of STATES. Optuna knows infeasible trials as pruned ones."""
    if trial.state == TrialState.FAIL:
        return "failed"
    reason = attributes_of(trial).get("reason", "")
    if trial.state == TrialState.PRUNED and reason.startswith("infeasible"):
        return "infeasible"
    return trial.state.name.lower()


def in_utc(local: datetime | None) -> str | None:
    """Write a time of this machine's clock, as Optuna has it, as ISO 8601 in UTC."""
    return None if local is None else local.astimezone(UTC).isoformat()
