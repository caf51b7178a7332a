"""The study: what it was made with, what continues it, what waits at its start."""

from __future__ import annotations

import json

import pytest

from fmnist.errors import UserError
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.space.space import SearchSpace
from search.study.study import check_identity
from search.study.trials import read_trials
from tests.support.training.trainers import (
    by_filters,
    objective_of,
    open_study,
    run_trials,
)

pytestmark = pytest.mark.studies


def test_portfolio_comes_first_and_default_is_trial_0(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=3)
    assert [trial.origin for trial in read_trials(study)] == ["default", "notebook, shallow", "sampler"]


def test_resumed_study_does_not_repeat_the_draws_of_the_first_run(config: StudyConfig, space: SearchSpace) -> None:
    for n_trials in (5, 10):
        run_trials(open_study(config, space), objective_of(space, by_filters), n_trials=n_trials)
    sampled = [
        json.dumps(trial.params) for trial in read_trials(open_study(config, space)) if trial.origin == "sampler"
    ]
    assert len(set(sampled)) == len(sampled) == 8


def test_changed_study_is_refused_by_the_name_of_the_change(config: StudyConfig) -> None:
    files = StudyFiles(config.folder)
    check_identity(files, {"seed": 0, "space": {"training": {"n_epochs": 8}}})
    check_identity(files, {"seed": 0, "space": {"training": {"n_epochs": 8}}})
    with pytest.raises(UserError, match=r"space\.training\.n_epochs = 8, but now it is 9"):
        check_identity(files, {"seed": 0, "space": {"training": {"n_epochs": 9}}})


def test_sqlite_storage_is_in_write_ahead_mode(config: StudyConfig, space: SearchSpace) -> None:
    import sqlite3

    open_study(config, space)
    with sqlite3.connect(StudyFiles(config.folder).storage) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_study_from_before_there_was_a_choice_of_metric_is_one_by_accuracy(config: StudyConfig) -> None:
    files = StudyFiles(config.folder)
    check_identity(files, {"seed": 0})
    check_identity(files, {"seed": 0, "metric": "accuracy", "class_weights": "none"})
    changed = {"seed": 0, "metric": "macro_f1", "class_weights": "balanced"}
    with pytest.raises(UserError, match=r"metric = accuracy, but now it is macro_f1; pass --metric accuracy, or"):
        check_identity(files, changed)


def test_metric_is_named_before_the_weights_that_follow_from_it(config: StudyConfig) -> None:
    files = StudyFiles(config.folder)
    check_identity(files, {"metric": "balanced_accuracy", "class_weights": "balanced"})
    with pytest.raises(UserError, match=r"but now it is accuracy; pass --metric balanced_accuracy, or"):
        check_identity(files, {})
    with pytest.raises(UserError, match=r"class_weights = balanced, but now it is none; pass --class-weights balanced"):
        check_identity(files, {"metric": "balanced_accuracy"})
