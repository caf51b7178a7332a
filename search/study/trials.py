"""Read a study's trials as records."""

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


def read_trials(study: optuna.Study) -> list[TrialRecord]:
    """Every trial as a record, by number."""
    return [_record_of(trial) for trial in study.get_trials(deepcopy=False)]


def count_by_state(study: optuna.Study) -> dict[str, int]:
    """Trials by state. Made after each trial, so it reads no records: with 10,000 trials that would take seconds."""
    counts = Counter(_state_of(trial) for trial in study.get_trials(deepcopy=False))
    return {state: counts[state] for state in ("complete", "pruned", "failed", "infeasible", "running", "waiting")}


def read_best(study: optuna.Study, n: int) -> list[TrialRecord]:
    """The n complete trials with the highest values, best first."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [_record_of(trial) for trial in heapq.nlargest(n, complete, key=lambda trial: trial.value)]


def read_speeds(study: optuna.Study, n: int) -> list[float]:
    """Training images per second of one worker: of the n best complete trials, which would be finalists now; where none
    is complete, of those that came at least half as far as the furthest, running ones among them. What ended moments
    after its start is not slow: it was still setting up."""
    trials = read_best(study, n)
    if not trials:
        begun = [trial for trial in read_trials(study) if trial.n_images > 0]
        furthest = max((trial.n_images for trial in begun), default=0)
        trials = [trial for trial in begun if trial.n_images >= furthest / 2]
    return [trial.n_images / trial.seconds for trial in trials if trial.seconds > 0]


def importances(study: optuna.Study) -> dict[str, float] | None:
    """How much each parameter explains of the complete trials' accuracy (PED-ANOVA, Watanabe et al. 2023), most first;
    None where too few trials completed to say."""
    n_complete = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if n_complete < 4:
        return None
    with warnings.catch_warnings():  # one for each parameter of few trials; the report says it once, for all
        warnings.simplefilter("ignore", UserWarning)
        found = optuna.importance.get_param_importances(study)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))  # Optuna orders equals by chance


_HISTORY = TypeAdapter(tuple[HistoryPoint, ...])  # made once: making them took 97 % of reading many trials
_BEST = TypeAdapter(HistoryPoint | None)


def _record_of(trial: FrozenTrial) -> TrialRecord:
    attributes = trial.user_attrs
    state = _state_of(trial)
    return TrialRecord(
        number=trial.number,
        state=state,
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        params=dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {})),
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
        out_of_time=attributes.get("out_of_time", False),
        started=_in_utc(trial.datetime_start),
        finished=_in_utc(trial.datetime_complete),
    )


def _in_utc(local: datetime | None) -> str | None:
    return local.astimezone(UTC).isoformat() if local else None


def _state_of(trial: FrozenTrial) -> str:
    if trial.state == TrialState.PRUNED and str(trial.user_attrs.get("reason", "")).startswith("infeasible"):
        return "infeasible"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
