"""The search, rehearsed: that it follows the rules of the real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from fmnist.model.layers import count_multiply_adds
from search.config import StudyConfig
from search.estimate.simulation import LONGEST, Rehearsal, draw_networks, rehearse
from search.space.space import SearchSpace
from search.study.objective import Objective
from search.study.strategy import build_rungs
from search.system.shipped import SHIPPED_SPACES
from search.worker.tasks import RecipeTrainer, TrainingSite
from tests.support.spaces import space_from

SPACE = space_from(SHIPPED_SPACES / "fashion-mnist.toml", (28, 28, 1), 10)
FIRST, SECOND, LAST = 16_000, 64_000, 256_000


def objective_with(config: StudyConfig, space: SearchSpace = SPACE) -> Callable[[RecipeTrainer], Objective]:
    site = TrainingSite(Path("nowhere"), 0.0, 1.0, 50_000, None)
    rungs = build_rungs(config.pruner, space.fidelity)
    return lambda trainer: Objective(space.with_limits(**config.limits), trainer, site, 0, rungs)


def rehearsals(**options: Any) -> list[Rehearsal]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    config = StudyConfig(study="s", sampler="random", **options)
    return rehearse(config, SPACE, objective_with(config))


def test_portfolio_and_sampler_climb_the_rungs_that_are_theirs() -> None:
    default, *portfolio = (trial.rungs for trial in rehearsals(trials=20)[0].trials[: len(SPACE.portfolio)])
    assert default == (LAST,)
    assert all(rungs in ((SECOND,), (SECOND, LAST)) for rungs in portfolio)
    for rehearsal in rehearsals(trials=40):
        sampled = [trial.rungs for trial in rehearsal.trials[len(SPACE.portfolio) :] if trial.rungs]
        n_on = sum(len(rungs) > 1 for rungs in sampled)
        assert {rungs[0] for rungs in sampled} == {FIRST}
        assert 1 <= n_on <= -(-len(sampled) // 4), "one in four goes on"


def test_without_a_pruner_all_that_is_feasible_is_trained_in_full() -> None:
    for rehearsal in rehearsals(trials=20, pruner="none"):
        assert {trial.rungs for trial in rehearsal.trials} == {(LAST,), ()}
        assert not all(trial.rungs for trial in rehearsal.trials), "some are infeasible"


def test_limits_leave_out_what_they_would_in_the_run() -> None:
    for rehearsal in rehearsals(trials=10, max_parameters=1):
        assert not rehearsal.finalists and not any(trial.rungs for trial in rehearsal.trials)


def test_default_is_among_three_or_more_finalists() -> None:
    for rehearsal in rehearsals(trials=20):
        assert [len(finalists) for finalists in rehearsal.finalists] == list(range(1, len(rehearsal.finalists) + 1))
        for finalists in rehearsal.finalists[2:]:
            assert SPACE.recipe_of(SPACE.portfolio[0].params) in finalists


def test_finalists_are_costlier_than_networks_are_on_average() -> None:
    trained, chosen = [], []  # multiply-adds, in all rehearsals: in one of them it is largely chance
    for rehearsal in rehearsals(trials=60):
        trained += [count_multiply_adds(trial.recipe.architecture) for trial in rehearsal.trials if trial.rungs]
        chosen += [count_multiply_adds(recipe.architecture) for recipe in rehearsal.finalists[-1]]
    assert np.mean(chosen) > 1.2 * np.mean(trained)


def test_long_search_has_all_its_trials_and_costs_in_proportion() -> None:
    (short, *_), (long, *_) = rehearsals(trials=LONGEST), rehearsals(trials=10 * LONGEST)
    assert len(long.trials) == 10 * LONGEST
    n_short, n_second_half, n_long = (
        sum(sum(trial.rungs) for trial in trials)
        for trials in (short.trials, short.trials[LONGEST // 2 :], long.trials)
    )
    assert n_long == n_short + 2 * 9 * n_second_half, "the portfolio comes once"


def test_same_seed_rehearses_the_same() -> None:
    assert rehearsals(trials=10) == rehearsals(trials=10)


@pytest.mark.parametrize(("max_parameters", "has_any"), [(None, True), (50_000, True), (1, False)])
def test_networks_are_drawn_within_the_limits(max_parameters: int | None, has_any: bool) -> None:
    config = StudyConfig(study="s", max_parameters=max_parameters)
    networks = draw_networks(SPACE, objective_with(config), 50, seed=0)
    assert bool(networks) == has_any
    assert len(networks) < 50
