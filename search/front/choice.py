"""Which trials of a search with --front are trained in full? Up to seven networks, spread over the front."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.scoring import Metric
from search.records.models import FrontPointRecord, TrialRecord
from search.refit.finalists import Finalist, best_first, feasible_default, finalist_of
from search.study.domination import fronts

MOST_POINTS = 6  # beside the default recipe, which is always compared
LEAST_RATIO = 1.25  # between two of them, of multiply-adds or of weights: nearer ones are one choice
MOST_ERRORS = 3.0  # times those of the best: a network beyond is small, but of no use, unless it has as few as here:
FEW_ERRORS, FEW_NATS = 0.1, 0.5  # as a share of the images, and of log loss


def choose_points(trials: Sequence[TrialRecord], metric: Metric) -> list[Finalist]:
    """Choose the networks that are trained in full, by the cost of an image, the cheapest first.

    The rule: a trial counts if its errors at its rung are few, or at most MOST_ERRORS times those of the best there.
    The most accurate is in. Then, as long as there are fewer than MOST_POINTS, comes the one whose size is furthest, in
    proportion, from those of all chosen so far, if that is at least by LEAST_RATIO: first among trials that no cheaper
    one is as good as, then among those that only these are better than, and so on. Cheaper has fewer multiply-adds; how
    far two sizes are apart is what multiply-adds or weights say, whichever differ more, since a dense layer has many
    weights and hardly a multiply-add. Who came further counts as better; but a trial that was pruned is in where
    nothing as cheap came as far. The default recipe is always in, as what the search has to beat.

    Args:
        trials: Every trial of the study.
        metric: The study's.

    Returns:
        At most MOST_POINTS and the default recipe; none where no trial came far enough to be confirmed.
    """
    ordered = _useful(best_first(trials, 0.0, against_time=True), metric)
    chosen: list[TrialRecord] = []
    places = [-place for place in range(len(ordered))]  # a score: they are in order, across the rungs too
    costs = [trial.multiply_adds or 1 for trial in ordered]
    for front in fronts(places, costs):
        chosen += _spread([ordered[i] for i in front], chosen)
    default = feasible_default(trials)
    if default is not None and all(default.recipe != trial.recipe for trial in chosen):
        chosen.append(default)
    points = [finalist_of(trial) for trial in chosen]
    return sorted(points, key=lambda point: count_multiply_adds(point.recipe.architecture))


def _useful(ordered: Sequence[TrialRecord], metric: Metric) -> list[TrialRecord]:
    """Leave out the trials that err too often, compared with the best of those that came as far."""
    fewest: dict[float, float] = {}  # errors of the best, by rung
    few = FEW_NATS if metric == "log_loss" else FEW_ERRORS
    useful = []
    for trial in ordered:
        rung = math.inf if trial.state == "complete" else trial.rung_images
        score = trial.value if trial.state == "complete" else trial.score_at_rung
        assert score is not None, "those that are in order have scores"
        errors = -score if metric == "log_loss" else 1 - score
        if errors <= max(few, MOST_ERRORS * fewest.setdefault(rung, errors)):
            useful.append(trial)
    return useful


def _spread(front: Sequence[TrialRecord], chosen: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Choose trials of a front that are far from each other and from those chosen before; the costliest goes first."""
    sizes = np.array([_size(trial) for trial in front])
    distances = np.full(len(front), np.inf)
    for trial in chosen:
        distances = np.minimum(distances, _distances(sizes, _size(trial)))
    found: list[TrialRecord] = []
    while len(chosen) + len(found) < MOST_POINTS:
        furthest = len(front) - 1 if not chosen and not found else int(np.argmax(distances))
        if distances[furthest] < math.log(LEAST_RATIO):
            break
        found.append(front[furthest])
        distances = np.minimum(distances, _distances(sizes, sizes[furthest]))
    return found


def _size(trial: TrialRecord) -> tuple[float, float]:
    """Return a network's size as natural logarithms: of its multiply-adds and of its weights."""
    return math.log(trial.multiply_adds or 1), math.log(trial.n_parameters or 1)


def _distances(sizes: np.ndarray, size: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return how far each of the sizes, float (n, 2), is from this one, by what differs more: float (n,)."""
    return np.abs(sizes - np.asarray(size)).max(axis=1)


def name_points(points: Sequence[Finalist]) -> tuple[FrontPointRecord, ...]:
    """Name the networks by their weights: "48k"; one that has as many as another gets its trial's number, too."""
    records: list[FrontPointRecord] = []
    for point in points:
        architecture = point.recipe.architecture
        n_parameters = count_parameters(architecture)
        name = _in_thousands(n_parameters)
        if any(record.name == name for record in records):
            name = f"{name}-trial-{point.trial}"
        records.append(FrontPointRecord(name, point.trial, n_parameters, count_multiply_adds(architecture)))
    return tuple(records)


def _in_thousands(n: int) -> str:
    if n < 1000:
        return str(n)
    if n < 10_000:
        return f"{n / 1000:.1f}k"
    return f"{round(n / 1000)}k"
