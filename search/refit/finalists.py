"""How many finalists a search has, and which trials they are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from search.records.models import FINISHED_STATES, TrialRecord
from search.refit.schedule import MOST_FINALISTS, N_FINALISTS
from search.space.space import DEFAULT_NAME
from search.study.strategy import cost_adjusted_score

# So many trials must have reached a rung before a search that a timeout ends compares by it.
FEWEST_COMPARED = 4
# Of fewer finalists, none is there for comparison alone: that would take half of the time.
FEWEST_WITH_DEFAULT = 3


@dataclass(frozen=True)
class Finalist:
    """A recipe that has reached the final round."""

    trial: int  # number
    origin: str  # "sampler", or the portfolio's name for it
    recipe: Recipe
    search_accuracy: float | None  # on the selection split; None if the trial did not complete
    images_per_second: float | None = None  # of its trial, evaluations included, on one worker; None if not trained
    search_score: float | None = None  # by the study's metric; None where that is accuracy, or search_accuracy is None
    # That a full training of each would have had on all cores, where they were compared by it; None without a timeout.
    seconds_compared: float | None = None

    @property
    def training_cost(self) -> int:
        """Multiply-adds of a full training, about. The costliest is trained first, so that no worker waits for it at
        the end."""
        return self.recipe.plan.n_epochs * count_multiply_adds(self.recipe.architecture)


def n_views_of(finalists: Sequence[Finalist]) -> int:
    """Return how many views of an image are predicted: itself, and its mirror image if any has learned from such."""
    return 2 if any(finalist.recipe.plan.flip for finalist in finalists) else 1


def choose_finalists(
    trials: Sequence[TrialRecord],
    accuracy_per_doubling: float = 0.0,
    n_finalists: int = N_FINALISTS,
    *,
    against_time: bool = False,
    lengths: Mapping[int, float] | None = None,
) -> list[Finalist]:
    """Choose the best complete trials by selection score, the default recipe always among them.

    The default is in even if its own trial failed (a process may be killed for reasons that are not the recipe's),
    unless it is infeasible. Places that are left over go to trials that the clock alone kept from the last rung, the
    highest rung first. Equal recipes count once.

    Args:
        trials: Every trial of the study.
        accuracy_per_doubling: Price of multiply-adds, see `strategy.cost_adjusted_score`.
        n_finalists: How many there are at most.
        against_time: Compare pruned trials with complete ones too, see `most_promising_first`.
        lengths: Of full trainings, see there.

    Returns:
        At most n_finalists; none where no trial came far enough to be confirmed.
    """
    if against_time:
        distinct = most_promising_first(trials, accuracy_per_doubling, lengths)
    else:
        distinct = best_first(trials, accuracy_per_doubling, against_time=False)
    chosen = distinct[:n_finalists]
    default = feasible_default(trials)
    if default is not None and all(default.recipe != trial.recipe for trial in chosen):
        chosen = [*distinct[: n_finalists - 1], default]
    return [finalist_of(trial) for trial in chosen]


def finalist_of(trial: TrialRecord) -> Finalist:
    """Return a trial that has a recipe as a finalist."""
    recipe = Recipe.from_dict(trial.recipe or {})
    seconds = trial.seconds
    if trial.state in ("complete", "pruned") and trial.seconds_in_steps > 0:
        seconds = trial.seconds_in_steps  # starting its process takes a good part of a short trial
    speed = trial.n_images / seconds if trial.n_images and seconds else None
    best = trial.best
    if trial.state == "complete" and best is not None and best.validation_score is not None:
        accuracy, score = best.validation_accuracy, trial.value
    else:
        accuracy, score = trial.value, None
    return Finalist(trial.number, trial.origin, recipe, accuracy, speed, score)


def finalists_by_number(
    trials: Sequence[TrialRecord],
    accuracy_per_doubling: float,
    *,
    against_time: bool,
    lengths: Mapping[int, float] | None = None,
) -> list[list[Finalist]]:
    """Return who the finalists are if there is one, if there are two, three and so on.

    One or two are the best, whatever they are; the default recipe is among FEWEST_WITH_DEFAULT or more. None where no
    trial came far enough; otherwise as many lists as there are trials that did, at most MOST_FINALISTS. For the
    arguments see `choose_finalists`.
    """
    by_number: list[list[Finalist]] = []
    for n in range(1, MOST_FINALISTS + 1):
        n_places = max(FEWEST_WITH_DEFAULT, n)
        chosen = choose_finalists(trials, accuracy_per_doubling, n_places, against_time=against_time, lengths=lengths)
        if len(chosen) < n:
            break
        by_number.append(chosen[:n])
    return by_number


def nothing_to_confirm(trials: Sequence[TrialRecord], n_trials: int, timeout: float | None) -> UserError:
    """Build the error of a search without finalists. Its remedy adds trials where the study has all that it may have.

    Args:
        trials: Every trial of the study.
        n_trials: How many this run was asked for.
        timeout: Seconds of this run; None without a limit.
    """
    finished = [trial for trial in trials if trial.state in FINISHED_STATES]
    if finished and all(trial.state == "infeasible" for trial in finished):
        smallest = min(finished, key=lambda trial: trial.n_parameters or math.inf)
        excess = smallest.reason.removeprefix("infeasible: ")
        remedy = "" if timeout is None else "raise --timeout, or "
        return UserError(
            f"some network must be within the limits, but of the study's {len(finished)} all are over them, the "
            f"smallest too: {excess}; {remedy}start another study with --study NAME and larger limits, by their "
            "options or in the space file"
        )
    raised = []
    if timeout is not None:
        raised.append("--timeout")
    if len(finished) >= n_trials or not raised:
        raised.append(f"--trials above {max(n_trials, len(finished))}")
    return UserError(
        f"some trial must come far enough to be confirmed, but none of {len(finished)} did; "
        f"raise {' and '.join(raised)}"
    )


def sure_finalists(
    trials: Sequence[TrialRecord], accuracy_per_doubling: float, n_finalists: int = N_FINALISTS
) -> list[Finalist]:
    """Return those that will be finalists however well the running trials do.

    Each running trial can push out one of them, but never the default recipe. For the arguments see
    `choose_finalists`.
    """
    finished = [trial for trial in trials if trial.state in FINISHED_STATES]
    states = [trial.state for trial in trials]
    n_running = states.count("running")
    if n_running >= n_finalists or "complete" not in states:
        return []
    return choose_finalists(finished, accuracy_per_doubling, n_finalists - n_running)


def best_first(trials: Sequence[TrialRecord], accuracy_per_doubling: float, *, against_time: bool) -> list[TrialRecord]:
    """Return the trials that can be finalists: complete ones first, then by rung, then by score less its price.

    Equal recipes count once.

    Args:
        trials: Every trial of the study.
        accuracy_per_doubling: See `choose_finalists`.
        against_time: Whether pruned trials can be finalists too.
    """
    rank: dict[int, tuple[float, float]] = {}  # by number
    candidates = possible_finalists(trials, against_time=against_time)
    for trial in candidates:
        rung, score = math.inf, trial.value
        if trial.state != "complete":
            rung, score = trial.rung_images, trial.score_at_rung
        assert score is not None, "candidates have scores"
        rank[trial.number] = rung, cost_adjusted_score(score, trial.multiply_adds, accuracy_per_doubling)
    return _distinct(sorted(candidates, key=lambda trial: rank[trial.number], reverse=True))


def most_promising_first(
    trials: Sequence[TrialRecord], accuracy_per_doubling: float, lengths: Mapping[int, float] | None = None
) -> list[TrialRecord]:
    """Return the trials that can be finalists, pruned ones too, by the score that each would have on the longest rung.

    If it is known how long a full training of each would be, they come by the score that each would have after that.

    In a short search few trials reach the last rung, and not all by merit: the first to come there has had nobody to be
    compared with. So what counts is the longest rung that FEWEST_COMPARED trials have reached. Who was there has its
    score of the last rung that it was on, and, for each longer one, what others gained by it on average. The others
    follow, in the same way. Equal recipes count once.

    Args:
        trials: Every trial of the study.
        accuracy_per_doubling: Price of multiply-adds, see `strategy.cost_adjusted_score`. It stands for the shorter
            training that a costlier network has in the same time, so that it counts only where lengths can't.
        lengths: Images that a full training of each would see, by the trial's number; None: not known.
    """
    candidates = possible_finalists(trials, against_time=True)
    scores = {trial.number: trial.known_rung_scores for trial in candidates}
    longest_first = sorted((max(of_one) for of_one in scores.values()), reverse=True)
    furthest = longest_first[:FEWEST_COMPARED]
    deciding = min(furthest, default=0)  # all of these have reached it
    gains = _gains(list(scores.values()))
    step = _last_step(gains)
    rank: dict[int, tuple[bool, float, float]] = {}  # by number
    for trial in candidates:
        rung = max(scores[trial.number])
        was_compared, score = rung >= deciding, scores[trial.number][rung]
        while rung in gains:
            rung, gain = gains[rung]
            score += gain
        if lengths is None or step is None:
            score = cost_adjusted_score(score, trial.multiply_adds, accuracy_per_doubling)
        else:
            score += step.gain_beyond(lengths[trial.number])
        rank[trial.number] = was_compared, rung, score
    return _distinct(sorted(candidates, key=lambda trial: rank[trial.number], reverse=True))


@dataclass(frozen=True)
class LastStep:
    """What the longest rung brought."""

    before: float  # images of a shorter rung
    longest: float  # images of the longest one
    gain: float  # of the longest over the other, on average; above 0

    def gain_beyond(self, length: float) -> float:
        """Return what a training of so many images brings over the longest rung; below 0 if it is shorter.

        What a score lacks is taken to fall with the square root of the images: learning curves follow power laws
        (Hestness et al. 2017). docs/benchmarks has how far networks of Fashion-MNIST follow this one.
        """
        brought = self.before**-0.5 - self.longest**-0.5
        return self.gain * (self.longest**-0.5 - length**-0.5) / brought


def _last_step(gains: Mapping[float, tuple[float, float]]) -> LastStep | None:
    """Return what the longest rung brought over the longest one of at most half its length; None where nothing.

    Rungs closer together tell chance from gain too badly to carry it on. gains: see `_gains`.
    """
    if not gains:
        return None
    longest = max(longer for longer, _ in gains.values())
    before = max((length for length in gains if length <= longest / 2), default=None)
    if before is None:
        return None
    rung, brought = before, 0.0
    while rung in gains:
        rung, gain = gains[rung]
        brought += gain
    return LastStep(before, longest, brought) if brought > 0 else None


def _gains(scores: Sequence[Mapping[float, float]]) -> dict[float, tuple[float, float]]:
    """Return what longer rungs bring: by length, the next one that can be told, and the mean gain from here to there.

    Next ones lead on to the longest of all, so that trials are compared there; none does where no trial was on both.

    Args:
        scores: Of each trial, by the length of the rung.
    """
    lengths = sorted({length for of_one in scores for length in of_one}, reverse=True)
    gains: dict[float, tuple[float, float]] = {}
    for i, length in enumerate(lengths):
        for longer in reversed(lengths[:i]):
            found = [of_one[longer] - of_one[length] for of_one in scores if length in of_one and longer in of_one]
            if found and (longer in gains or longer == lengths[0]):
                gains[length] = longer, sum(found) / len(found)
                break
    return gains


def possible_finalists(trials: Sequence[TrialRecord], *, against_time: bool) -> list[TrialRecord]:
    """Return the trials that came to the end of a rung and can be finalists. For against_time see `best_first`."""
    candidates = []
    for trial in trials:
        if trial.state == "complete":
            is_candidate = trial.value is not None
        else:
            is_eligible = trial.out_of_time or (against_time and trial.state == "pruned")
            is_candidate = is_eligible and trial.rung_images > 0 and trial.score_at_rung is not None
        if is_candidate and trial.recipe is not None:
            candidates.append(trial)
    return candidates


def _distinct(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials without those whose recipe an earlier one has."""
    by_recipe: dict[str, TrialRecord] = {}
    for trial in trials:
        by_recipe.setdefault(json.dumps(trial.recipe), trial)
    return list(by_recipe.values())


def feasible_default(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the trial of the default recipe, if it has one that is within the limits."""
    for trial in trials:
        if trial.origin == DEFAULT_NAME and trial.state != "infeasible":
            return trial if trial.recipe is not None else None
    return None
