"""Sampler, pruner, rungs and seeds: what each of a study's draws and decisions depends on."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.space.space import Fidelity, SearchSpace
from search.study.optuna_private import stored
from search.study.strategy import (
    BoundedTPESampler,
    build_pruner,
    build_rungs,
    build_sampler,
    evenly_spaced,
    one_of_each_space,
    seed_of,
)
from search.system.shipped import SHIPPED_SPACES
from tests.support.spaces import space_from

FIDELITY = Fidelity(
    search_images=16_000,
    report_every_images=1_000,
    first_rung_images=2_000,
    reduction_factor=4,
    patience_images=8_000,
    accuracy_per_doubling=0.0,
)


@pytest.fixture(scope="module")
def digits_space() -> SearchSpace:
    return space_from(Path(SHIPPED_SPACES) / "digits.toml", (8, 8, 1), 10)


def drawn(space: SearchSpace, sampler_name: str, seed: int, n_trials_before: int, n_trials: int = 4) -> list[dict]:
    study = optuna.create_study(direction="maximize", sampler=build_sampler(sampler_name, seed, n_trials_before))
    for _ in range(n_trials):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, 0.5)
    return [trial.params for trial in study.trials]


def test_same_use_gives_same_seed() -> None:
    assert seed_of(7, "trial", 3) == seed_of(7, "trial", 3)


def test_seed_zero_is_a_seed_like_any_other() -> None:
    assert seed_of(0, "trial", 0) == seed_of(0, "trial", 0)
    assert seed_of(0, "trial", 0) != seed_of(1, "trial", 0)


def test_every_use_has_a_seed_of_its_own() -> None:
    purposes = ("sampler", "trial", "confirm", "refit")
    uses = [(seed, purpose, number) for seed in range(3) for purpose in purposes for number in range(100)]
    assert len({seed_of(*use) for use in uses}) == len(uses)


def test_seeds_fit_into_32_bits() -> None:
    assert all(0 <= seed_of(2**32 - 1, "refit", number) < 2**32 for number in range(100))


def test_unknown_purpose_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        seed_of(0, "coffee", 0)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_same_seed_draws_the_same_configurations(digits_space: SearchSpace, name: str) -> None:
    assert drawn(digits_space, name, 0, 0) == drawn(digits_space, name, 0, 0)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_other_seed_draws_other_configurations(digits_space: SearchSpace, name: str) -> None:
    assert drawn(digits_space, name, 0, 0) != drawn(digits_space, name, 1, 0)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_resumed_run_draws_other_configurations_than_the_first(digits_space: SearchSpace, name: str) -> None:
    first, resumed = drawn(digits_space, name, 0, 0), drawn(digits_space, name, 0, 4)
    assert all(params not in first for params in resumed)


def test_tpe_samples_the_parameters_of_deeper_layers_jointly(digits_space: SearchSpace) -> None:
    sampler = build_sampler("tpe", 0, 0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(12):
        trial = study.ask()
        digits_space.suggest(trial)
        study.tell(trial, 0.5)
    running = study.ask()
    joint = sampler.infer_relative_search_space(study, stored(running))
    assert {"n_blocks", "block1_filters", "block2_filters", "dense1_units"} <= joint.keys()


# --- the trials that TPE learns from

LARGE = 320  # trials; from 250 on Optuna's sampler calls 25 good


@pytest.fixture(scope="module")
def ended_trials() -> list[FrozenTrial]:
    """Trials of all kinds that end, with conditional parameters and equal values."""
    rng = np.random.default_rng(0)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(LARGE):
        trial = study.ask()
        suggest_some(trial)
        trial.set_constraint("size", float(rng.choice([-0.5, -0.1, 0.0, 0.7])))
        if number % 7:
            trial.report(float(rng.choice([0.3, 0.5, math.nan])), int(rng.choice([10, 40])))
        kind = rng.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL], p=[0.08, 0.82, 0.1])
        state = TrialState(int(kind))
        study.tell(trial, round(rng.random(), 1) if state == TrialState.COMPLETE else None, state)
    return study.trials


def suggest_some(trial: optuna.Trial) -> dict:
    trial.suggest_float("rate", 1e-3, 1.0, log=True)
    if trial.suggest_categorical("kind", ["a", "b"]) == "b":
        trial.suggest_int("units", 8, 64, step=8)
    return trial.params


def study_of(trials: list[FrozenTrial], sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    return study


def bounded_to(history: int) -> BoundedTPESampler:
    sampler = build_sampler("tpe", 0, 0)
    assert isinstance(sampler, BoundedTPESampler)
    sampler.HISTORY = history
    return sampler


def optunas_own() -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed_of(0, "sampler", 0))


def learned_from(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> tuple[set[int], set[int]]:
    """Numbers of the trials that one draw takes for good, and of the others."""
    good, others = set(), set()
    known = optuna.samplers.TPESampler._build_parzen_estimator

    def noting(sampler: Any, study: Any, search_space: Any, trials: list[FrozenTrial], handle_below: bool) -> Any:
        (good if handle_below else others).update(trial.number for trial in trials)
        return known(sampler, study, search_space, trials, handle_below)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.samplers.TPESampler, "_build_parzen_estimator", noting)
        suggest_some(study.ask())
    return good, others


@pytest.mark.parametrize("n_trials", [0, 5, 40, LARGE])
def test_up_to_the_bound_every_draw_is_that_of_optuna(ended_trials: list[FrozenTrial], n_trials: int) -> None:
    drawn_by = []
    n_ended = sum(trial.state != TrialState.FAIL for trial in ended_trials[:n_trials])
    for sampler in (bounded_to(n_ended + 3), optunas_own()):
        study = study_of(ended_trials[:n_trials], sampler)
        study.ask()  # it runs beside the others, without parameters
        rows = []
        for value in (0.5, 0.9, 0.1, 0.2):  # before the last of them there are as many as the bound
            trial = study.ask()
            rows.append(suggest_some(trial))
            study.tell(trial, value)
        drawn_by.append(rows)
    assert drawn_by[0] == drawn_by[1]


def test_beyond_the_bound_the_good_trials_are_those_of_optuna(
    ended_trials: list[FrozenTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, others = learned_from(study_of(ended_trials, bounded_to(260)), monkeypatch)
    all_good, all_others = learned_from(study_of(ended_trials, optunas_own()), monkeypatch)
    assert good == all_good
    assert len(good) == BoundedTPESampler.N_GOOD
    assert others < all_others


def test_no_more_trials_are_learned_from_than_the_bound_and_the_running_ones(
    ended_trials: list[FrozenTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(ended_trials, bounded_to(260))
    suggest_some(study.ask())
    good, others = learned_from(study, monkeypatch)
    assert len(good | others) == 260 + 1
    assert LARGE in others  # the running one


def test_beyond_the_bound_the_same_trials_and_seed_draw_the_same(ended_trials: list[FrozenTrial]) -> None:
    first, again = (suggest_some(study_of(ended_trials, bounded_to(260)).ask()) for _ in range(2))
    assert first == again


def test_other_trials_are_selected_evenly_and_the_last_of_them_always() -> None:
    assert evenly_spaced([3, 4, 6, 7, 9, 12], 6) == [3, 4, 6, 7, 9, 12]
    assert evenly_spaced([3, 4, 6, 7, 9, 12], 3) == [4, 7, 12]
    assert np.ptp(np.diff(evenly_spaced(range(9_975), 475))) == 0


def pruned_at(pruner: optuna.pruners.BasePruner, curves: list[list[float]]) -> list[int | None]:
    """The step at which each curve is pruned, run one after the other; a value per 1,000 images."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    return [_first_pruned(study, curve) for curve in curves]


def _first_pruned(study: optuna.Study, curve: list[float]) -> int | None:
    trial = study.ask()
    for i, value in enumerate(curve, start=1):
        trial.report(value, i * FIDELITY.report_every_images)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return i * FIDELITY.report_every_images
    study.tell(trial, curve[-1])
    return None


def went_on(values: list[float], reduction_factor: int = 4, *, against_time: bool = False) -> list[bool]:
    """Whether each trial passed its one rung, run one after the other; who passes trains on, and reports once more."""
    fidelity = FIDELITY.model_copy(update={"reduction_factor": reduction_factor})
    pruner = build_pruner("asha", fidelity, against_time=against_time)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    passed = []
    for value in values:
        trial = study.ask()
        trial.report(value, 2_000)
        passed.append(not trial.should_prune())
        if passed[-1]:
            trial.report(value, 10_000)
        study.tell(trial, value if passed[-1] else None, state=None if passed[-1] else TrialState.PRUNED)
    return passed


def test_asha_lets_the_best_quarter_go_on() -> None:
    #         one of up to 4        two of up to 8         three of up to 12
    values = [0.5, 0.4, 0.6, 0.3, 0.55, 0.59, 0.7, 0.8, 0.81]
    assert went_on(values) == [True, False, False, False, False, False, True, False, True]


def test_against_time_nobody_goes_on_before_there_is_a_quarter_to_be_the_best_of() -> None:
    #         none of up to 3  one of up to 7        two of 8
    values = [0.9, 0.4, 0.6, 0.95, 0.55, 0.99, 0.7, 0.96]
    assert went_on(values, against_time=True) == [False, False, False, True, False, False, False, True]


def test_asha_lets_no_more_go_on_however_fast_the_sampler_learns() -> None:
    """A stream that gets better and better: nearly everyone is better than most of those before."""
    rng = np.random.default_rng(0)
    improving = [0.5 + 0.002 * i + rng.normal(0, 0.02) for i in range(200)]
    assert sum(went_on(improving)) <= 50


def test_asha_compares_with_the_last_trials_only() -> None:
    """What was good once does not keep out what is good now."""
    worse_from_here_on = [0.9] * 40 + [0.5] * 40 + [0.6]
    assert went_on(worse_from_here_on)[-1]


def test_costly_trial_must_be_better_than_a_cheap_one_to_go_on() -> None:
    study = optuna.create_study(
        direction="maximize", pruner=build_pruner("asha", FIDELITY.model_copy(update={"accuracy_per_doubling": 0.01}))
    )

    def goes_on(accuracy: float, multiply_adds: int) -> bool:
        trial = study.ask()
        trial.set_user_attr("multiply_adds", multiply_adds)
        trial.report(accuracy, 2_000)
        is_pruned = trial.should_prune()
        study.tell(trial, state=TrialState.PRUNED)
        return not is_pruned

    assert goes_on(0.900, 1_000_000)
    assert not goes_on(0.915, 4_000_000)
    assert goes_on(0.925, 4_000_000)
    assert goes_on(0.910, 1_000_000)


def test_median_waits_for_five_trials_and_the_first_rung() -> None:
    good, bad = [0.9] * 16, [0.1] * 16
    assert pruned_at(build_pruner("median", FIDELITY), [bad, good, good, good, good, bad]) == [
        *[None] * 5,
        2_000,
    ]


def test_without_a_pruner_nothing_is_pruned() -> None:
    assert pruned_at(build_pruner("none", FIDELITY), [[0.9] * 16] * 4 + [[0.0] * 16]) == [None] * 5


def test_rungs_rise_by_the_reduction_factor_up_to_the_last() -> None:
    assert build_rungs("asha", FIDELITY) == (2_000, 8_000, 16_000)
    assert build_rungs("median", FIDELITY.model_copy(update={"first_rung_images": 4_000})) == (4_000, 16_000)


def test_without_a_pruner_there_is_one_rung() -> None:
    assert build_rungs("none", FIDELITY) == (16_000,)


def test_one_trial_of_each_space_makes_the_groups_of_all(ended_trials: list[FrozenTrial]) -> None:
    def space_of_groups(trials: list[FrozenTrial]) -> list[str]:
        study = study_of(trials, optunas_own())
        return list(study.sampler.infer_relative_search_space(study, stored(study.ask())))

    few = one_of_each_space(ended_trials)
    assert len(few) == 2, "with units, and without"
    assert space_of_groups(few) == space_of_groups(ended_trials)


def test_running_trials_count_as_in_optuna(ended_trials: list[FrozenTrial]) -> None:
    """With all that was drawn for them, though they have asked for one parameter only."""
    drawn_by = []
    for sampler in (bounded_to(500), optunas_own()):
        study = study_of(ended_trials[:60], sampler)
        running = [study.ask() for _ in range(4)]
        for trial in running:
            trial.suggest_float("rate", 1e-3, 1.0, log=True)
        running[0].report(0.5, 10)
        drawn_by.append([*[suggest_some(study.ask()) for _ in range(3)], *[trial.params for trial in running]])
    assert drawn_by[0] == drawn_by[1]
