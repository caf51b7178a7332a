"""Old trials in a larger space: what they were, with all that the sampler needs to learn from them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from fmnist.model.layers import count_parameters
from search.config import StudyConfig
from search.space.space import Target
from search.study.attributes import attributes_of
from search.study.strategy import build_sampler
from search.study.trials import importances, state_of
from tests.support.remedies import needs_remedy
from tests.support.spaces import DIGITS_TEXT
from tests.support.widening import close, config_of, digits_space, open_in_space, search, trials_of, widen_to
from tests.support.wider import WIDER_TEXT, replaced

pytestmark = pytest.mark.studies
SMALL_TEXT = DIGITS_TEXT.replace("max_parameters = 200_000", "max_parameters = 20_000")
SMALLER_DEFAULT = {"block1_filters = 32": "block1_filters = 8", "block2_filters = 64": "block2_filters = 16"}


def what_stays(trial: FrozenTrial) -> list[Any]:
    return [
        trial.number,
        trial.state,
        trial.values,
        trial.intermediate_values,
        trial.user_attrs,
        trial.datetime_start,
        trial.datetime_complete,
    ]


def test_trials_keep_what_they_came_to(config: StudyConfig) -> None:
    before = trials_of(config)
    widen_to(config, WIDER_TEXT)
    after = trials_of(config)
    assert list(map(what_stays, after)) == list(map(what_stays, before))
    for old, new in zip(before, after, strict=True):
        assert old.params.items() <= new.params.items()


def test_parameters_make_the_recipe_that_was_trained_whatever_was_inserted_before_a_choice(config: StudyConfig) -> None:
    widen_to(config, WIDER_TEXT)
    space = digits_space(WIDER_TEXT)
    trials = trials_of(config)
    assert len({trial.params["activation"] for trial in trials}) > 1
    for trial in trials:
        assert space.recipe_of(trial.params).to_dict() == attributes_of(trial)["recipe"]
        assert trial.distributions["activation"] == CategoricalDistribution(("gelu", "silu", "elu", "relu"))
        assert trial.distributions["block1_filters"] == IntDistribution(8, 64, step=4)


def observed(config: StudyConfig, text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many trials the sampler learns from, by parameter, when it draws the next one."""
    counts: dict[str, int] = {}
    known = optuna.samplers.TPESampler._get_internal_repr

    def counting(sampler: Any, trials: Any, search_space: Any, study: Any) -> Any:
        observations = known(sampler, trials, search_space, study)
        for name, values in observations.items():
            counts[name] = counts.get(name, 0) + len(values)
        return observations

    study = open_in_space(config, text)
    study.sampler = build_sampler("tpe", 0)
    monkeypatch.setattr(optuna.samplers.TPESampler, "_get_internal_repr", counting)
    digits_space(text).suggest(study.ask())
    close(study)
    return counts


def test_sampler_learns_from_every_old_trial_of_the_larger_space(
    config: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_trials = len(trials_of(config))
    widen_to(config, WIDER_TEXT)
    counts = observed(config, WIDER_TEXT, monkeypatch)
    of_every_trial = {
        "activation",
        "averaging",
        "block1_kernel_size",
        "block1_filters",
        "batch_size",
        "shift",
        "n_blocks",
    }
    assert {counts[name] for name in of_every_trial} == {n_trials}


def test_resumed_study_draws_on_in_the_larger_space(config: StudyConfig) -> None:
    widen_to(config, WIDER_TEXT)
    for n_trials in (40, 60):
        search(config, n_trials, WIDER_TEXT)
    trials = trials_of(config)
    assert len(trials) == 60
    drawn = trials[12:]
    assert {trial.params["activation"] for trial in drawn} > {"gelu"}
    assert {trial.params["block1_kernel_size"] for trial in drawn} == {3, 5}
    assert {trial.params["averaging"] > 0 for trial in drawn} == {True}
    assert len({str(sorted(trial.params.items())) for trial in trials}) == 60
    study = open_in_space(config, WIDER_TEXT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares = importances(study)
    close(study)
    assert shares is not None and {"averaging", "activation", "block1_kernel_size"} <= shares.keys()


def test_trial_over_a_limit_that_has_grown_is_trained_and_one_still_over_it_is_measured_by_it(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    small = replaced(SMALL_TEXT, SMALLER_DEFAULT)
    search(config, 20, small)
    before = trials_of(config)
    over = [trial for trial in before if state_of(trial) == "infeasible"]
    sizes = sorted(attributes_of(trial)["n_parameters"] for trial in over)
    assert len(sizes) >= 3
    limit = sizes[-2]
    said = widen_to(config, small.replace("max_parameters = 20_000", f"max_parameters = {limit}"))
    assert f"{len(over) - 1} trials that a limit had kept from training will be trained" in said
    waiting = [trial.number for trial in trials_of(config) if trial.state == TrialState.WAITING]
    assert waiting == [trial.number for trial in over if attributes_of(trial)["n_parameters"] <= limit]
    search(config, 20, small.replace("max_parameters = 20_000", f"max_parameters = {limit}"))
    after = trials_of(config)
    assert len(after) == 20
    assert [state_of(after[number]) for number in waiting].count("infeasible") == 0
    assert all(after[number].intermediate_values for number in waiting)
    for old, new in zip(before, after, strict=True):
        assert old.params == new.params
        assert new.constraints["max_parameters"] == pytest.approx(attributes_of(new)["n_parameters"] / limit - 1)


def test_trial_over_a_target_stays_infeasible_in_a_larger_space(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    search(config, 12, targets=(Target("max_bytes", 20_000, count_parameters),))
    over = [trial.number for trial in trials_of(config) if state_of(trial) == "infeasible"]
    assert over
    widen_to(config, WIDER_TEXT)
    after = trials_of(config)
    assert [trial.number for trial in after if state_of(trial) == "infeasible"] == over
    for trial in after:
        excess = attributes_of(trial)["n_parameters"] / 20_000 - 1
        assert trial.constraints["max_bytes"] == pytest.approx(excess)


def test_what_waits_or_was_interrupted_is_trained_as_it_was_queued(tmp_path: Path) -> None:
    config = config_of(tmp_path, trials=4)
    study = open_in_space(config, DIGITS_TEXT)  # two configurations of the portfolio wait
    study.enqueue_trial({"n_blocks": 1})  # and one that somebody queued in part
    default = study.ask()
    recipe = digits_space(DIGITS_TEXT).suggest(default)  # it runs when the power goes
    default.set_user_attr("recipe", recipe.to_dict())
    assert study.trials[1].state == TrialState.WAITING
    close(study)
    widen_to(config, WIDER_TEXT)
    search(config, 4, WIDER_TEXT)
    old, new = digits_space(DIGITS_TEXT), digits_space(WIDER_TEXT)
    trials = trials_of(config)
    for number, entry in enumerate(old.portfolio):
        assert attributes_of(trials[number])["recipe"] == old.recipe_of(entry.params).to_dict()
        assert new.recipe_of(trials[number].params) == old.recipe_of(entry.params)
    assert trials[2].params["n_blocks"] == 1
    assert all(trial.state.is_finished() for trial in trials)


def test_trial_whose_run_was_killed_while_it_drew_draws_anew(tmp_path: Path) -> None:
    config = config_of(tmp_path, trials=3)
    study = open_in_space(config, DIGITS_TEXT)
    for _ in range(2):
        study.tell(study.ask(), state=TrialState.FAIL)
    half = study.ask()
    half.suggest_categorical("activation", ["relu", "elu", "silu"])
    close(study)
    widen_to(config, WIDER_TEXT)
    assert trials_of(config)[2].params == {}
    search(config, 3, WIDER_TEXT)
    trial = trials_of(config)[2]
    assert trial.state.is_finished() and digits_space(WIDER_TEXT).recipe_of(trial.params)


def test_new_configuration_of_the_portfolio_is_tried_before_the_sampler_draws(config: StudyConfig) -> None:
    shallow = WIDER_TEXT[WIDER_TEXT.index('[[portfolio]]\nname = "notebook, shallow"') :]
    added = shallow.replace("notebook, shallow", "smooth").replace('activation = "relu"', 'activation = "gelu"')
    widen_to(config, WIDER_TEXT + added)
    search(config, 15, WIDER_TEXT + added)
    origins = [attributes_of(trial).get("origin") for trial in trials_of(config)]
    assert origins[12:] == ["smooth", None, None]


def test_trial_outside_its_own_space_must_lie_in_the_larger_one(config: StudyConfig) -> None:
    study = open_in_space(config, DIGITS_TEXT)
    params = dict(digits_space(DIGITS_TEXT).portfolio[0].params, shift=2)
    study.enqueue_trial(params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's, for a value outside its range
        trial = study.ask()
        trial.set_user_attr("recipe", digits_space(DIGITS_TEXT).suggest(trial).to_dict())
    study.tell(trial, 0.5)
    close(study)
    narrow = WIDER_TEXT.replace("shift = { choices = [2, 1, 0] }", "shift = { choices = [1, 0] }")
    with needs_remedy(
        "--widen keeps each trial as it is, so the space must contain it, but trial {} would change ({})"
    ):
        widen_to(config, narrow)
    widen_to(config, WIDER_TEXT)
    assert trials_of(config)[-1].params["shift"] == 2
