"""Which trials of a search with --front are trained in full? Up to seven networks, spread over the front."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.scoring import Metric
from search.records.models import FrontPointRecord, TrialRecord
from search.refit.finalists import Finalist, best_first, feasible_default, finalist_of
from search.study.domination import fronts

MOST_POINTS = 6  # beside the default recipe, which is always compared
POINTS_TO_FILL = 5  # as many as there are with dominated ones, which take time from the others' trainings
LEAST_RATIO = 1.25  # between two of them, of multiply-adds or of weights: nearer ones are one choice
MOST_ERRORS = 3.0  # times those of the best: a network beyond is small, but of no use, unless it has as few as here:
FEW_ERRORS, FEW_NATS = 0.1, 0.5  # as a share of the images, and of log loss


def choose_points(trials: Sequence[TrialRecord], metric: Metric) -> list[Finalist]:
    """Choose the networks that are trained in full, by the cost of an image, the cheapest first.

    The rule: a trial counts if its errors at its rung are few, or at most MOST_ERRORS times those of the best there.
    Of the trials that no cheaper one is as good as, the most accurate is in, and each next one whose size differs by
    LEAST_RATIO from those of all better ones: of networks of nearly one size, the best. Where these are more than
    MOST_POINTS, the best stays, and then always the one that is furthest, in proportion, from all that stay. Where they
    are fewer than POINTS_TO_FILL, trials that only these are better than fill the places likewise, and so on.

    Cheaper has fewer multiply-adds; how far two sizes are apart is what multiply-adds or weights say, whichever differ
    more, since a dense layer has many weights and hardly a multiply-add. Who came further counts as better; but a trial
    that was pruned is in where nothing as cheap came as far. The default recipe is always in, as what the search has to
    beat.

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
    most = MOST_POINTS
    for front in fronts(places, costs):
        best_of_each_size = _apart([ordered[i] for i in sorted(front)], chosen)
        chosen += _spread(best_of_each_size, chosen, most - len(chosen))
        most = POINTS_TO_FILL  # by trials that are dominated
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


def _apart(trials: Sequence[TrialRecord], chosen: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials whose sizes differ from those of all better ones and of all chosen; trials: the best first."""
    found: list[TrialRecord] = []
    for trial in trials:
        if _nearest(trial, (*chosen, *found)) >= math.log(LEAST_RATIO):
            found.append(trial)
    return found


def _spread(trials: Sequence[TrialRecord], chosen: Sequence[TrialRecord], most: int) -> list[TrialRecord]:
    """Choose no more than so many trials, always the one that is furthest from all so far; the first one to begin."""
    found, left = [], list(trials)
    while left and len(found) < most:
        nearest = [_nearest(trial, (*chosen, *found)) for trial in left]
        found.append(left.pop(nearest.index(max(nearest))))
    return found


def _nearest(trial: TrialRecord, others: Sequence[TrialRecord]) -> float:
    """Return the distance to the nearest of the others; infinite where there is none."""
    return min((_distance(trial, other) for other in others), default=math.inf)


def _distance(trial: TrialRecord, other: TrialRecord) -> float:
    """Return how far the sizes of two networks are apart, as a natural logarithm: by what differs more."""
    multiply_adds = math.log((trial.multiply_adds or 1) / (other.multiply_adds or 1))
    weights = math.log((trial.n_parameters or 1) / (other.n_parameters or 1))
    return max(abs(multiply_adds), abs(weights))


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
