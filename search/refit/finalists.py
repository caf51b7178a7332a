"""Choose the finalists among the trials of a search."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from search.records.models import FINISHED_STATES, TrialRecord
from search.space.space import DEFAULT_NAME
from search.study.strategy import cost_adjusted_accuracy

N_FINALISTS = 5  # the default recipe always among them: five epochs, which chose them, tell good recipes apart badly
N_FINALISTS_AGAINST_TIME = 3  # under a timeout, where each takes time from the retraining


@dataclass(frozen=True)
class Finalist:
    """A recipe that has reached the final round."""

    trial: int  # number
    origin: str  # "sampler", or the portfolio's name for it
    recipe: Recipe
    search_accuracy: float | None  # on the selection split; None if the trial did not complete
    searched_images: int = 0  # length of the longest rung that its trial was trained on to the end


def choose_finalists(
    trials: Sequence[TrialRecord],
    accuracy_per_doubling: float = 0.0,
    n_finalists: int = N_FINALISTS,
    *,
    against_time: bool = False,
) -> list[Finalist]:
    """The best complete trials by selection accuracy, n_finalists at most, the default recipe always among them: also
    where its own trial failed (a process may be killed for reasons that are not the recipe's), unless it is infeasible.
    Places that are left over go to trials that the clock alone kept from the last rung, the highest rung first.
    against_time: to pruned trials too, for in a search that a timeout ended early the pruner has judged by few others,
    and let the default pass whatever it was worth.

    accuracy_per_doubling: the price of multiply-adds, see `strategy.cost_adjusted_accuracy`. Equal recipes count once. Raises UserError
    if there is none.
    """
    complete = [(math.inf, trial.value, trial) for trial in trials if trial.state == "complete"]
    unfinished = [
        (trial.rung_images, trial.rung_accuracy, trial)
        for trial in trials
        if trial.rung_images and (trial.out_of_time or (against_time and trial.state == "pruned"))
    ]
    ranked = sorted(
        [*complete, *unfinished],
        key=lambda entry: (-entry[0], -cost_adjusted_accuracy(entry[1], entry[2].multiply_adds, accuracy_per_doubling)),
    )
    by_recipe: dict[str, TrialRecord] = {}
    for *_, trial in ranked:  # best first: the first of equal recipes stays, in its place
        by_recipe.setdefault(json.dumps(trial.recipe), trial)
    distinct = list(by_recipe.values())
    default = next((trial for trial in trials if trial.origin == DEFAULT_NAME and trial.state != "infeasible"), None)
    chosen = distinct[:n_finalists]
    if default is not None and default.recipe is not None and all(default.recipe != t.recipe for t in chosen):
        chosen = [*distinct[: n_finalists - 1], default]
    if not chosen:
        raise UserError(
            "no trial of this study was trained to its end, so there is nothing to confirm; raise --trials or --timeout"
        )
    return [Finalist(t.number, t.origin, Recipe.from_dict(t.recipe), t.value, t.rung_images) for t in chosen]


def sure_finalists(
    trials: Sequence[TrialRecord], accuracy_per_doubling: float, n_finalists: int = N_FINALISTS
) -> list[Finalist]:
    """Those that will be among the finalists however well the trials do that still run: each of them can push out one,
    but never the default recipe."""
    finished = [trial for trial in trials if trial.state in FINISHED_STATES]
    n_sure = n_finalists - sum(trial.state == "running" for trial in trials)
    if n_sure < 1 or not any(trial.state == "complete" for trial in finished):
        return []
    return choose_finalists(finished, accuracy_per_doubling, n_sure)


def training_cost(finalist: Finalist) -> int:
    """Multiply-adds of a full training, about. The longest goes first, so that no worker waits for it at the end."""
    return finalist.recipe.plan.n_epochs * count_multiply_adds(finalist.recipe.architecture)
