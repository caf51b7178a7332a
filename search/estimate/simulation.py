"""Rehearse a search: real objective, sampler, pruner, portfolio and limits, with trainings that take no time.

So what a search costs is counted by the rules that it will follow. The one thing invented is the accuracy: it is drawn
for each trial, the same for every rung, and grows with the network's multiply-adds. Otherwise finalists would be as
cheap as any network, while real searches at a low price of multiply-adds tend to end among costly ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import optuna
from optuna.trial import TrialState

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.config import StudyConfig
from search.front.choice import choose_points
from search.records.models import TrialRecord
from search.refit.finalists import Finalist, finalists_by_number
from search.space.space import SearchSpace
from search.study.objective import Objective
from search.study.strategy import build_pruner, build_sampler, directions_of
from search.study.trials import read_trials
from search.worker.tasks import RecipeTrainer, TrainMessage, TrainResult, TrainTask

LONGEST = 120  # trials: the sampler takes longer for each, and those after them cost what the last of these do
N_TRIALS_IN_ALL = 200  # of all rehearsals together: five seconds
MOST_REHEARSALS = 8
# What twice the multiply-adds are taken to add to an accuracy, and the standard deviation of everything else: a guess,
# see docs/benchmarks.
ACCURACY_OF_DOUBLING = 0.005
ACCURACY_DEVIATION = 0.005


@dataclass(frozen=True)
class RehearsedTrial:
    """A trial and what was trained of it."""

    recipe: Recipe
    rungs: tuple[int, ...]  # lengths of its trainings, in images; empty: infeasible


@dataclass(frozen=True)
class Rehearsal:
    """A search that might be."""

    trials: tuple[RehearsedTrial, ...]  # by number
    finalists: tuple[tuple[Recipe, ...], ...]  # of one finalist, of two, three and so on


def rehearse(
    config: StudyConfig,
    space: SearchSpace,
    objective_with: Callable[[RecipeTrainer], Objective],
) -> list[Rehearsal]:
    """Rehearse the whole search several times; the rehearsals differ by chance.

    Args:
        config: The run's options.
        space: The search space.
        objective_with: Makes the run's objective around a trainer.
    """
    n_trials = min(config.trials, LONGEST)
    n_rehearsals = min(MOST_REHEARSALS, max(2, N_TRIALS_IN_ALL // n_trials))
    rehearsals = []
    for number in range(n_rehearsals):
        trainer = SimulatedTrainer(np.random.default_rng((config.seed, number)))
        study = begin_study(config, space, number)
        objective = objective_with(trainer)
        trials = [run_trial(study, objective, trainer) for _ in range(n_trials)]
        records = read_trials(study)
        finalists: list[tuple[Recipe, ...]] = []
        if any(record.rung_images > 0 for record in records):  # else the run will say what is wrong
            for chosen in _finalists(config, space, records):
                finalists.append(tuple(finalist.recipe for finalist in chosen))
        # More trials are like the second half of these: it has no portfolio, and a sampler that has learned the limits.
        further = islice(cycle(trials[n_trials // 2 :]), config.trials - n_trials)
        rehearsals.append(Rehearsal((*trials, *further), tuple(finalists)))
    return rehearsals


def _finalists(config: StudyConfig, space: SearchSpace, records: Sequence[TrialRecord]) -> list[list[Finalist]]:
    """Return who the finalists are if there is one, if there are two, and so on; with --front, who they are."""
    if config.front:
        return [choose_points(records, config.metric)]
    price = space.fidelity.accuracy_per_doubling
    return finalists_by_number(records, price, against_time=config.timeout is not None)


def begin_study(config: StudyConfig, space: SearchSpace, number: int) -> optuna.Study:
    """Begin a study in memory, with the sampler, the pruner and the portfolio of the run.

    number: tells the sampler of this rehearsal from those of others.
    """
    sampler = build_sampler(config.sampler, config.seed, number)
    against_time = config.timeout is not None
    pruner = build_pruner(config.pruner, space.fidelity, front=config.front, against_time=against_time)
    study = optuna.create_study(directions=directions_of(front=config.front), sampler=sampler, pruner=pruner)
    for entry in space.portfolio:
        study.enqueue_trial(entry.params, user_attrs={"origin": entry.name})
    return study


def draw_networks(
    space: SearchSpace, objective_with: Callable[[RecipeTrainer], Objective], n: int, seed: int
) -> list[Recipe]:
    """Draw n recipes of the space at random, and return those whose networks are within its limits.

    The list may be empty. For the arguments see `rehearse`.
    """
    sampler = build_sampler("random", seed)
    trainer = SimulatedTrainer(np.random.default_rng(seed))
    objective = objective_with(trainer)
    directions = directions_of(front=objective.front)
    study = optuna.create_study(directions=directions, sampler=sampler, pruner=build_pruner("none", space.fidelity))
    recipes = []
    for _ in range(n):
        trial = run_trial(study, objective, trainer)
        if trial.rungs:
            recipes.append(trial.recipe)
    return recipes


def run_trial(study: optuna.Study, objective: Objective, trainer: SimulatedTrainer) -> RehearsedTrial:
    """Run one trial, and return what would have been trained of it."""
    trial = study.ask()
    trainer.lengths = []
    try:
        study.tell(trial, objective(trial))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    recipe = study.get_trials(deepcopy=False)[trial.number].user_attrs["recipe"]
    return RehearsedTrial(Recipe.from_dict(recipe), tuple(trainer.lengths))


class SimulatedTrainer:
    """Trains nothing, and notes the lengths that it is asked for."""

    def __init__(self, draws: np.random.Generator) -> None:
        self._draws = draws
        self.lengths: list[int] = []

    def __call__(self, task: TrainTask) -> Generator[TrainMessage, None, None]:
        accuracy = self._draws.normal(0.5, ACCURACY_DEVIATION)
        accuracy += ACCURACY_OF_DOUBLING * math.log2(count_multiply_adds(task.recipe.architecture))
        for n_images in (task.n_planned_images, *task.further_lengths):
            self.lengths.append(n_images)
            point = HistoryPoint(n_images, 0.0, 0.0, 0.0, 0.0, 0.0, accuracy)
            yield point
            yield TrainResult((point,), point, n_images, 0.0, 0.0, "end", 0.0)
