"""The objective: rungs, reports and pruning, limits, and the end of the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from fmnist.errors import UserError
from fmnist.training.history import HistoryPoint, best_point
from search.callbacks.base import Callback
from search.config import StudyConfig
from search.refit.finalists import choose_finalists
from search.space.space import SearchSpace
from search.study.objective import Objective
from search.study.storage.opening import open_storage
from search.study.strategy import build_rungs
from search.study.trials import read_trials
from search.worker.tasks import Interrupted, TrainMessage, TrainResult, TrainTask
from tests.support.training.trainers import (
    SITE,
    by_filters,
    fake_trainer,
    noting,
    objective_of,
    open_study,
    point,
    run_trials,
)

pytestmark = pytest.mark.studies


def test_default_recipe_is_never_pruned(config: StudyConfig, space: SearchSpace) -> None:
    worst_default = fake_trainer(lambda task: 0.1 if task.seed == default_seed else 0.9)
    tasks: list[TrainTask] = []
    run_trials(open_study(config, space), objective_of(space, noting(tasks)), n_trials=1)
    default_seed = tasks[0].seed
    fresh = replace(config, study="fresh")
    study = open_study(fresh, space)
    run_trials(study, objective_of(space, worst_default), n_trials=12, n_jobs=1)
    assert read_trials(study)[0].state == "complete"


def test_bad_trials_are_pruned_and_say_where(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=30)
    pruned = [trial for trial in read_trials(study) if trial.state == "pruned"]
    assert pruned
    assert all(trial.reason == "pruned after 4,000 images" for trial in pruned)
    assert all(trial.best is not None and trial.n_images == 4_000 for trial in pruned)


def test_rung_is_a_training_of_its_own_with_its_own_schedule(config: StudyConfig, space: SearchSpace) -> None:
    tasks: list[TrainTask] = []

    study = open_study(config, space)
    run_trials(study, objective_of(space, noting(tasks)), n_trials=8)
    assert [(task.n_planned_images, *task.further_lengths) for task in tasks[2:]] == [(4_000, 16_000)] * 6
    climbed = next(trial for trial in read_trials(study)[2:] if trial.state == "complete")
    trial = study.trials[climbed.number]
    assert trial.last_step == 20_000
    assert climbed.n_images == 20_000
    assert trial.value == trial.intermediate_values[20_000]


@pytest.mark.parametrize(("attributes", "state"), [({"passed_step": 4_000}, "complete"), ({}, "pruned")])
def test_trial_that_runs_again_is_not_asked_at_rungs_it_had_passed(
    tmp_path: Path, space: SearchSpace, attributes: dict[str, int], state: str
) -> None:
    class Strict(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, direction="maximize", pruner=Strict())
    study.enqueue_trial(space.portfolio[1].params, user_attrs=attributes)  # no origin: it starts at the first rung
    run_trials(study, objective_of(space, by_filters), n_trials=1)
    assert read_trials(study)[0].state == state


def test_default_recipe_trains_on_the_last_rung_at_once_and_reports_the_same_steps(
    config: StudyConfig, space: SearchSpace
) -> None:
    tasks: list[TrainTask] = []

    study = open_study(config, space)
    run_trials(study, objective_of(space, noting(tasks)), n_trials=1)
    assert [(task.n_planned_images, task.further_lengths) for task in tasks] == [(16_000, ())]
    assert study.trials[0].last_step == 20_000
    assert read_trials(study)[0].n_images == 16_000


def test_rest_of_the_portfolio_is_spared_the_first_rung_and_no_other(config: StudyConfig, space: SearchSpace) -> None:
    tasks: list[TrainTask] = []

    fidelity = space.fidelity.model_copy(update={"first_rung_images": 1_000})
    study = open_study(config, space)
    run_trials(study, objective_of(replace(space, fidelity=fidelity), noting(tasks)), n_trials=3)
    lengths = [(task.n_planned_images, *task.further_lengths) for task in tasks]
    assert lengths == [(16_000,), (4_000, 16_000), (1_000, 4_000, 16_000)]
    assert study.trials[1].last_step in (5_000, 21_000)


def test_default_recipe_is_pruned_like_any_other_where_a_timeout_ends_the_search(
    config: StudyConfig, space: SearchSpace
) -> None:
    """Its last rung would take a good part of a short search, and one trial alone does not say that it earns that."""
    fidelity = space.fidelity.model_copy(update={"first_rung_images": 1_000})
    shorter = replace(space, fidelity=fidelity)
    study = open_study(replace(config, timeout=100.0), shorter)
    run_trials(study, objective_of(shorter, by_filters, seconds_left=lambda: 100.0), n_trials=1)
    (default, *_) = read_trials(study)
    assert (default.state, default.reason, default.rung_images) == ("pruned", "pruned after 4,000 images", 4_000)


def test_scores_of_all_rungs_are_recorded_by_their_lengths(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=12)
    for trial in read_trials(study):
        lengths = {"complete": (4_000, 16_000), "pruned": (4_000,)}[trial.state]
        assert tuple(trial.rung_scores) == (lengths if trial.origin == "sampler" else (16_000,))
        assert trial.rung_scores[max(trial.rung_scores)] == trial.score_at_rung


def test_value_is_the_best_point_not_the_last(config: StudyConfig, space: SearchSpace) -> None:
    def falling(task: TrainTask) -> Generator[TrainMessage, None, None]:
        for end in (task.n_planned_images, *task.further_lengths):
            history = (point(1000, 0.5), point(2000, 0.9), point(end, 0.4))
            yield from history
            yield TrainResult(history, history[1], end, 0.1, 0.1, "end", 100.0)

    study = open_study(config, space)
    run_trials(study, objective_of(space, falling), n_trials=1)
    record = read_trials(study)[0]
    assert record.value == 0.9
    assert record.best.n_images == 2000


def test_network_over_the_limit_is_infeasible_and_never_trained(config: StudyConfig, space: SearchSpace) -> None:
    def refuse(task: TrainTask) -> Generator[TrainMessage, None, None]:
        raise AssertionError("trained")
        yield

    study = open_study(config, space)
    run_trials(study, objective_of(space.with_limits(max_parameters=10), refuse), n_trials=4)
    assert {trial.state for trial in read_trials(study)} == {"infeasible"}
    assert all("over max_parameters = 10" in trial.reason for trial in read_trials(study))
    assert all(max(trial.constraints.values()) > 0 for trial in study.trials)


def test_training_cut_by_the_clock_is_not_a_complete_trial(config: StudyConfig, space: SearchSpace) -> None:
    def cut(task: TrainTask) -> Generator[TrainMessage, None, None]:
        yield point(1000, 0.9)
        yield TrainResult((point(1000, 0.9),), point(1000, 0.9), 1000, 0.1, 0.1, "time limit", 100.0)

    study = open_study(config, space)
    run_trials(study, objective_of(space, cut), n_trials=9, timeout=lambda: True)
    assert [record.state for record in read_trials(study) if record.state != "waiting"] == ["pruned"]


def test_rung_that_the_clock_would_cut_is_not_begun_and_the_trial_stays_a_candidate(
    config: StudyConfig, space: SearchSpace
) -> None:
    """Its last rung is four times the first, which took a tenth of a second: there is no time for that."""

    def slow(task: TrainTask) -> Generator[TrainMessage, None, None]:
        for message in by_filters(task):
            time.sleep(0.02)
            yield message

    study = open_study(config, space)
    run_trials(study, objective_of(space, slow, seconds_left=lambda: 0.05), n_trials=8)
    ended = [record for record in read_trials(study) if record.out_of_time]
    assert ended and all(record.reason == "no time was left for 16,000 images more" for record in ended)
    assert all(record.n_images == record.rung_images == 4_000 for record in ended)
    assert all(record.rung_accuracy == record.best.validation_accuracy for record in ended)
    assert choose_finalists(read_trials(study))[0].trial in {0, 1}  # the portfolio has the last rung only, here


def test_speed_is_known_before_a_trial_has_ended(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    running = []

    def seconds_left() -> float:
        running.extend(trial for trial in read_trials(study) if trial.state == "running")
        return 1000.0

    run_trials(study, objective_of(space, by_filters, seconds_left=seconds_left), n_trials=9)
    assert {trial.n_images for trial in running} == {0, 4_000}
    assert all(trial.seconds > 0 for trial in running if trial.n_images)


@pytest.mark.parametrize(
    ("made_with", "received"),
    [
        ({}, "minimize"),
        ({"direction": "minimize"}, "minimize"),
        ({"directions": ["maximize", "maximize"]}, "maximize and maximize"),
        ({"directions": ["minimize", "maximize"]}, "minimize and maximize"),
    ],
)
@pytest.mark.follows("the objective's value is larger the better, so its study must maximize {}, but got {}; make")
def test_study_that_does_not_maximize_one_value_is_refused_and_its_remedy_works(
    space: SearchSpace, made_with: dict, received: str
) -> None:
    study = optuna.create_study(**made_with)
    remedy = r'make it by optuna.create_study\(direction="maximize"\)'
    with pytest.raises(UserError, match=f"must maximize one value, but got {received}; {remedy}"):
        study.optimize(objective_of(space, by_filters), n_trials=1)
    study = optuna.create_study(direction="maximize")
    study.optimize(objective_of(space, by_filters), n_trials=1)
    assert study.best_value > 0.5


def test_refusal_is_noted_in_a_trial_whose_study_catches_everything(space: SearchSpace) -> None:
    study = optuna.create_study()
    study.optimize(objective_of(space, by_filters), n_trials=1, catch=(Exception,))
    assert "must maximize one value, but got minimize" in study.trials[0].user_attrs["reason"]


@pytest.mark.follows("the objective trains inside its `with open_objective(...)` block")
def test_objective_that_was_closed_says_so(space: SearchSpace) -> None:
    objective = objective_of(space, by_filters)
    optuna.create_study(direction="maximize").optimize(objective, n_trials=1)
    objective.close()
    with pytest.raises(UserError, match=r"the block has ended; call study.optimize inside it"):
        optuna.create_study(direction="maximize").optimize(objective, n_trials=1)


@pytest.mark.follows("the objective must be called with a trial of a study")
def test_objective_takes_trials_of_studies_and_the_remedy_takes_fixed_parameters(space: SearchSpace) -> None:
    objective, params = objective_of(space, by_filters), space.portfolio[0].params
    study = optuna.create_study(direction="maximize")
    for wrong in (optuna.trial.FixedTrial(params), optuna.trial.create_trial(value=1.0), study, params, 5):
        with pytest.raises(UserError, match=r"with a trial of a study, but got .*study.enqueue_trial\(params\)"):
            objective(wrong)
    study.enqueue_trial(params)
    study.optimize(objective, n_trials=1)
    assert study.trials[0].params == {name: study.trials[0].params[name] for name in params}
    trial = study.ask()
    study.tell(trial, objective(trial))
    assert len(study.trials) == 2


@pytest.mark.parametrize(
    "sampler", [optuna.samplers.RandomSampler, optuna.samplers.NSGAIISampler, optuna.samplers.QMCSampler]
)
@pytest.mark.filterwarnings("ignore")
def test_objective_works_with_other_samplers_in_memory_and_in_threads(
    space: SearchSpace, sampler: Callable[..., optuna.samplers.BaseSampler]
) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler(seed=0))
    study.optimize(objective_of(space, by_filters), n_trials=6, n_jobs=2)
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "PRUNED"}
    assert len(study.trials) == 6


@pytest.mark.parametrize("metric", ["balanced_accuracy", "log_loss"])
def test_value_reports_and_best_point_are_by_the_metric_of_the_site(
    config: StudyConfig, space: SearchSpace, metric: str
) -> None:
    sign = -1 if metric == "log_loss" else 1
    scores = [sign * score for score in (0.5, 0.25, 0.375)]

    def scored(task: TrainTask) -> Generator[TrainMessage, None, None]:
        assert task.metric == metric and task.class_weights == "balanced"
        for end in (task.n_planned_images, *task.further_lengths):
            ends = zip((1000, 2000, end), (0.7, 0.8, 0.9), scores, strict=True)
            history = tuple(replace(point(n, accuracy), validation_score=score) for n, accuracy, score in ends)
            yield from history
            yield TrainResult(history, best_point(history), end, 0.1, 0.1, "end", 100.0)

    seen: list[HistoryPoint] = []

    class Seeing(Callback):
        def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
            seen.append(point)

    site = replace(SITE, metric=metric, class_weights="balanced")
    objective = Objective(space, scored, site, 0, build_rungs("asha", space.fidelity), callback=Seeing())
    study = open_study(config, space)
    run_trials(study, objective, n_trials=1)
    found = read_trials(study)[0]
    accuracy = 0.8 if metric == "log_loss" else 0.7
    assert found.value == max(scores) == found.score_at_rung == found.best.score
    assert found.rung_accuracy == found.best.validation_accuracy == accuracy
    assert study.trials[0].intermediate_values[study.trials[0].last_step] == max(scores)
    assert [point.validation_score for point in seen] == scores
    finalist = choose_finalists([found])[0]
    assert (finalist.search_accuracy, finalist.search_score) == (accuracy, max(scores))


def test_trial_by_accuracy_stores_what_it_did_before_there_was_a_choice(
    config: StudyConfig, space: SearchSpace
) -> None:
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=1)
    attributes = study.trials[0].user_attrs
    assert "rung_score" not in attributes
    assert not any("validation_score" in each for each in (attributes["best"], *attributes["history"]))


def test_trial_that_has_not_begun_to_train_when_the_run_is_stopped_is_interrupted(space: SearchSpace) -> None:
    stop = threading.Event()
    study = optuna.create_study(direction="maximize")
    objective = objective_of(space, by_filters, stop=stop)
    objective(study.ask())
    stop.set()
    trial = study.ask()
    with pytest.raises(Interrupted):
        objective(trial)
    assert trial.params == {}


def test_one_thread_suggests_at_a_time(space: SearchSpace) -> None:
    """Python computes for one of them, and those that wait for its lock cost more than those that wait for ours."""
    most, under_way, lock = 0, 0, threading.Lock()

    class WatchedSampler(optuna.samplers.RandomSampler):
        def sample_independent(self, *arguments: Any) -> Any:
            nonlocal most, under_way
            with lock:
                under_way += 1
                most = max(most, under_way)
            time.sleep(0.001)  # lets the others run
            with lock:
                under_way -= 1
            return super().sample_independent(*arguments)

    study = optuna.create_study(direction="maximize", sampler=WatchedSampler(seed=0))
    study.optimize(objective_of(space, by_filters), n_trials=8, n_jobs=4)
    assert most == 1
