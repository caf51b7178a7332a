"""What do the trials of a search say in numbers: how fast it rose, where trials ended, what a parameter did?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from scipy import stats

from search.records.models import TrialRecord

FEWEST_VALUES = 4  # of a parameter, for a plane of two of them to show anything
FEWEST_CORRELATED = 5  # trials; of fewer, a rank correlation says nothing
# Which part of the trials the axis of accuracies has to show, and how much room it leaves below them.
SHOWN_OF_COMPLETE, SHOWN_OF_STOPPED = 0.75, 0.5
ROOM_BELOW = 1.25  # times the height of the trials that are to be seen
LEAST_HEIGHT = 0.005  # of the trials that are to be seen, so that equal ones have an axis too


@dataclass(frozen=True)
class BestSoFar:
    """The state of a search when some of its trials had ended."""

    n_trials: int  # that had ended
    n_images: int  # training images that these had seen
    selection_accuracy: float  # the best of the trials trained to their end: accuracy, or the score by another metric


@dataclass(frozen=True)
class Rung:
    """A length of training at which trials ended."""

    n_images: int  # training images seen in all
    n_reached: int  # trials that were trained for so long or longer
    n_ended: int  # of these, trials that went no further


@dataclass(frozen=True)
class DepthScore:
    """The trials whose networks have the same number of blocks."""

    n_blocks: int
    n_trials: int
    n_complete: int  # trained to their end
    best: float | None  # selection score; None if none is complete
    median: float | None


def score(trial: TrialRecord) -> float | None:
    """Selection score of a trial by the study's metric, however it ended.

    Returns:
        The value of a complete trial, the best so far of a stopped one; None for those that have neither.
    """
    if trial.state == "complete":
        return trial.value
    if trial.state == "pruned" and trial.best is not None:
        return trial.best.score
    return None


def values_of(trials: Sequence[TrialRecord]) -> list[float]:
    """Selection scores of the trials that were trained to their end, in their order."""
    return [trial.value for trial in trials if trial.value is not None]


def scored(trials: Sequence[TrialRecord]) -> list[tuple[TrialRecord, float]]:
    """The trials that have a score, each with it, in their order."""
    found = []
    for trial in trials:
        accuracy = score(trial)
        if accuracy is not None:
            found.append((trial, accuracy))
    return found


def accuracy_floor(trials: Sequence[TrialRecord]) -> float:
    """Where the axis of scores of a search begins; a log loss is negative there, and larger is better.

    Far enough down for the better three quarters of the complete trials and the better half of the stopped ones. A few
    very bad trials would otherwise press all others into one line.
    """
    shares = {"complete": SHOWN_OF_COMPLETE, "pruned": SHOWN_OF_STOPPED}
    wanted, top = [], -np.inf
    for state, share in shares.items():
        accuracies = [accuracy for trial, accuracy in scored(trials) if trial.state == state]
        if accuracies:
            wanted.append(float(np.quantile(accuracies, 1 - share)))
            top = max(top, *accuracies)
    if not wanted:
        return 0.0
    floor = float(top - ROOM_BELOW * max(top - min(wanted), LEAST_HEIGHT))
    return floor if top < 0 else max(0.0, floor)


def running_best(trials: Sequence[TrialRecord]) -> list[tuple[TrialRecord, BestSoFar]]:
    """The best selection accuracy after each trial, in the order given.

    Args:
        trials: in the order in which they are to count.

    Returns:
        Each trial with the state of the search after it; without those before the first complete one.
    """
    states: list[tuple[TrialRecord, BestSoFar]] = []
    best: float | None = None
    n_images = 0
    for n_trials, trial in enumerate(trials, start=1):
        n_images += trial.n_images
        if trial.value is not None and (best is None or trial.value > best):
            best = trial.value
        if best is not None:
            states.append((trial, BestSoFar(n_trials, n_images, best)))
    return states


def improvements(trials: Sequence[TrialRecord]) -> tuple[BestSoFar, ...]:
    """Each new best of a search, in the order in which its trials ended.

    Returns:
        The state of the search at each; empty where no trial was trained to its end.
    """
    points: list[BestSoFar] = []
    for _, state in running_best(_as_they_ended(trials)):
        if not points or state.selection_accuracy > points[-1].selection_accuracy:
            points.append(state)
    return tuple(points)


def best_so_far(trials: Sequence[TrialRecord]) -> tuple[BestSoFar, ...]:
    """Each new best of a search, and its end.

    Trials count in the order in which they ended, as they ran side by side.

    Returns:
        The state of the search at each; empty where no trial was trained to its end.
    """
    points = list(improvements(trials))
    if points and points[-1].n_trials < len(trials):
        points.append(running_best(_as_they_ended(trials))[-1][1])
    return tuple(points)


def reached(curve: Sequence[BestSoFar], accuracy: float) -> BestSoFar:
    """Where a search first had an accuracy.

    Args:
        curve: how its best trial rose.
        accuracy: one that it had.
    """
    return next(point for point in curve if point.selection_accuracy >= accuracy)


def _as_they_ended(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    def moment(trial: TrialRecord) -> tuple[float, int]:
        if trial.finished is None:
            return 0.0, trial.number
        return datetime.fromisoformat(trial.finished).timestamp(), trial.number

    return sorted(trials, key=moment)


def rungs(trials: Sequence[TrialRecord]) -> tuple[Rung, ...]:
    """The lengths at which trained trials ended, shortest first."""
    lengths = np.array([trial.n_images for trial in trials if trial.n_images > 0], int)
    distinct, n_ended = np.unique(lengths, return_counts=True)
    n_reached = len(lengths) - np.cumsum(n_ended) + n_ended
    rows = zip(distinct.tolist(), n_reached.tolist(), n_ended.tolist(), strict=True)
    return tuple(Rung(*row) for row in rows)


def depths(trials: Sequence[TrialRecord]) -> list[DepthScore]:
    """Trials by the number of their network's blocks.

    Returns:
        A row for each depth, fewest blocks first; trials that got no network are in none.
    """
    by_depth: dict[int, list[TrialRecord]] = {}
    for trial in trials:
        if trial.recipe is not None:
            by_depth.setdefault(len(trial.recipe["architecture"]["blocks"]), []).append(trial)
    rows = []
    for n_blocks, found in sorted(by_depth.items()):
        values = values_of(found)
        best, median = None, None
        if values:
            best, median = max(values), float(np.median(values))
        rows.append(DepthScore(n_blocks, len(found), len(values), best, median))
    return rows


def is_number(value: Any) -> bool:
    """Whether a parameter's value is a number; truth values are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def varied_parameters(trials: Sequence[TrialRecord]) -> list[str]:
    """The parameters that took more than one value among the trials with a score.

    Returns:
        Their names, those of most trials first: a parameter of the third block is absent from shallower networks.
    """
    values: dict[str, list[str]] = {}
    for trial, _ in scored(trials):
        for name, value in trial.params.items():
            values.setdefault(name, []).append(str(value))
    varied = []
    for name, found in values.items():
        if len(set(found)) > 1:
            varied.append(name)
    return sorted(varied, key=lambda name: -len(values[name]))


def numeric_pair(trials: Sequence[TrialRecord], importances: Mapping[str, float] | None) -> tuple[str, str] | None:
    """The two most important numeric parameters that took FEWEST_VALUES values or more.

    Args:
        trials: of the search.
        importances: parameter -> share; None if not to be had.

    Returns:
        Their names, the more important first; None where there are no two.
    """
    if importances is None:
        return None
    found: list[str] = []
    for name in sorted(importances, key=importances.__getitem__, reverse=True):
        values = set()
        for trial, _ in scored(trials):
            if is_number(trial.params.get(name)):
                values.add(trial.params[name])
        if len(values) >= FEWEST_VALUES:
            found.append(name)
    if len(found) < 2:
        return None
    return found[0], found[1]


def rank_correlations(trials: Sequence[TrialRecord], names: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Spearman's rank correlation of each numeric parameter with selection accuracy.

    Args:
        trials: of the search; those that were trained to their end count.
        names: of the parameters.

    Returns:
        Parameter -> correlation and number of trials; without parameters of too few trials or of one value.
    """
    found = {}
    for name in names:
        pairs = []
        for trial in trials:
            if trial.value is not None and is_number(trial.params.get(name)):
                pairs.append((trial.params[name], trial.value))
        if len(pairs) < FEWEST_CORRELATED:
            continue
        values, accuracies = zip(*pairs, strict=True)
        if len(set(values)) > 1 and len(set(accuracies)) > 1:
            result = stats.spearmanr(values, accuracies)
            # SciPy makes the result's class at run time, with attributes that its stubs don't know
            rho = float(result.statistic)  # pyright: ignore[reportAttributeAccessIssue]
            found[name] = (rho, len(pairs))
    return found
