"""A search for networks of every size: two values a trial, promotion by the front, a sampler that sees both."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from search.config import StudyConfig
from search.space.smaller import with_smaller
from search.space.space import SearchSpace
from search.study.attributes import attributes_of
from search.study.strategy import FRONT_DIRECTIONS, BoundedTPESampler, FrontHalvingPruner, build_sampler
from search.study.trials import importances, read_best, read_trials
from search.worker.tasks import TrainTask
from tests.support.spaces import DIGITS, space_from
from tests.support.training.trainers import fake_trainer, objective_of, open_study, run_trials


@pytest.fixture(scope="module")
def digits() -> SearchSpace:
    return space_from(DIGITS, (8, 8, 1), 10)


def by_size(task: TrainTask) -> float:
    """Twice the multiply-adds bring three points."""
    return 0.3 + 0.03 * math.log2(count_multiply_adds(task.recipe.architecture))


def finished(tmp_path: Path, space: SearchSpace, n_trials: int, **more) -> optuna.Study:
    config = StudyConfig(study="s", dataset="digits", studies_dir=tmp_path, trials=n_trials, front=True, **more)
    study = open_study(config, with_smaller(space))
    objective = objective_of(with_smaller(space), fake_trainer(by_size), front=True)
    run_trials(study, objective, n_trials=n_trials)
    return study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, digits: SearchSpace) -> optuna.Study:
    return finished(tmp_path_factory.mktemp("front"), digits, 60)


def test_complete_trial_has_its_score_and_the_logarithm_of_its_multiply_adds(study: optuna.Study) -> None:
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    assert complete
    for trial in complete:
        recipe = Recipe.from_dict(attributes_of(trial)["recipe"])
        score, cost = trial.values
        assert cost == math.log10(count_multiply_adds(recipe.architecture))
        assert 0 < score < 1
    assert tuple(direction.name.lower() for direction in study.directions) == FRONT_DIRECTIONS


def test_networks_of_every_size_get_to_the_last_rung(study: optuna.Study) -> None:
    costs = [trial.values[1] for trial in study.get_trials(states=(TrialState.COMPLETE,))]
    drawn = [math.log10(attributes_of(trial)["multiply_adds"]) for trial in study.trials if trial.user_attrs]
    span = max(drawn) - min(drawn)
    assert max(costs) - min(costs) > 0.6 * span
    assert len({round(3 * (cost - min(drawn)) / span) for cost in costs}) == 4, "in each third of the sizes"


def test_no_more_than_a_quarter_of_the_sampled_trials_goes_on_from_the_first_rung(study: optuna.Study) -> None:
    sampled = [trial for trial in read_trials(study) if trial.origin == "sampler" and trial.state != "infeasible"]
    went_on = [trial for trial in sampled if trial.rung_images > 4_000]
    assert 0 < len(went_on) <= math.ceil(len(sampled) / 4)


def test_records_importances_and_the_best_are_read_by_the_score(study: optuna.Study) -> None:
    best = read_best(study, 1)[0]
    assert best.value == max(trial.value for trial in read_trials(study) if trial.value is not None)
    assert importances(study)


def test_smaller_networks_of_the_portfolio_are_tried_first(study: optuna.Study) -> None:
    origins = [attributes_of(trial).get("origin") for trial in study.trials[:3]]
    assert origins == ["default", "notebook, shallow, half width", "default, half width"]


def test_study_goes_on_where_it_ended(tmp_path: Path, digits: SearchSpace) -> None:
    before = [trial.values for trial in finished(tmp_path, digits, 8).trials]
    after = [trial.values for trial in finished(tmp_path, digits, 16).trials]
    assert after[:8] == before
    assert len(after) == 16


def test_trial_that_runs_again_is_not_asked_twice(digits: SearchSpace) -> None:
    pruner = FrontHalvingPruner(4)
    study = optuna.create_study(directions=FRONT_DIRECTIONS, pruner=pruner)
    for _ in range(8):  # cheaper and better ones, against which it would be pruned now
        ended(study, 0.9, 10)
    trial = study.ask()
    trial.set_user_attr("passed_step", 4_000)
    score, _ = objective_of(digits, fake_trainer(lambda task: 0.1), front=True)(trial)
    assert score == pytest.approx(0.1)


@pytest.mark.parametrize("directions", [["maximize"], ["minimize", "maximize"]])
def test_study_with_other_directions_is_refused(digits: SearchSpace, directions: list[str]) -> None:
    objective = objective_of(digits, fake_trainer(by_size), front=True)
    study = optuna.create_study(directions=directions)
    with pytest.raises(UserError, match="must maximize it and minimize the second value, the cost, but got") as refused:
        objective(study.ask())
    made = re.search(r"optuna\.create_study\(directions=(.*)\)", str(refused.value))
    assert made is not None
    study = optuna.create_study(directions=ast.literal_eval(made[1]), pruner=objective.pruner)
    assert len(objective(study.ask())) == 2


# --- promotion


def ended(study: optuna.Study, score: float, multiply_adds: int) -> bool:
    """Whether a trial that reports this at the first rung is pruned."""
    trial = study.ask()
    trial.set_user_attr("multiply_adds", multiply_adds)
    trial.set_user_attr("rung_scores", {"4000": score})
    is_pruned = study.pruner.prune(study, study.get_trials()[trial.number])
    study.tell(trial, state=TrialState.PRUNED)
    return is_pruned


@pytest.fixture
def front_study() -> optuna.Study:
    return optuna.create_study(directions=FRONT_DIRECTIONS, pruner=FrontHalvingPruner(4))


def test_small_network_goes_on_though_larger_ones_score_more(front_study: optuna.Study) -> None:
    for n in range(8):
        ended(front_study, 0.9 - 0.001 * n, 1_000_000 + n)
    assert not ended(front_study, 0.5, 10_000)


def test_network_that_a_cheaper_one_beats_does_not(front_study: optuna.Study) -> None:
    for n in range(8):
        ended(front_study, 0.9 + 0.001 * n, 10_000)
    assert ended(front_study, 0.8, 1_000_000)


# --- the sampler's selection


def test_sampler_of_a_large_study_keeps_its_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedTPESampler, "HISTORY", 40)
    sampler = build_sampler("tpe", 0)
    assert isinstance(sampler, BoundedTPESampler)
    study = optuna.create_study(directions=FRONT_DIRECTIONS, sampler=sampler)
    for n in range(80):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        is_on_front = n % 8 == 0
        study.tell(trial, (n / 80 if is_on_front else 0.0, float(n if is_on_front else 100)))
    kept = {trial.number for trial in sampler._select(study.get_trials(deepcopy=False))}
    assert len(kept) == 40
    assert {trial.number for trial in study.best_trials} <= kept
