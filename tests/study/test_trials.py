"""Trials read back: speeds and importances."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from search.config import StudyConfig
from search.space.space import SearchSpace
from search.study.trials import importances, read_speeds
from tests.support.training.trainers import (
    by_filters,
    objective_of,
    open_study,
    run_trials,
)

pytestmark = pytest.mark.studies


def ended(study: optuna.Study, n_images: int, seconds: float, value: float | None = None) -> None:
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    attributes = {"n_images": n_images, "seconds": seconds}
    study.add_trial(optuna.trial.create_trial(state=state, value=value, user_attrs=attributes))


def test_trial_that_the_clock_ended_while_it_was_setting_up_is_not_taken_for_slow() -> None:
    study = optuna.create_study(direction="maximize")
    assert read_speeds(study, 3) == []
    ended(study, 128, 3.0)
    assert read_speeds(study, 3) == [128 / 3], "nothing else is known"
    ended(study, 64_000, 64.0)
    ended(study, 80_000, 40.0)
    ended(study, 16_000, 8.0)
    assert read_speeds(study, 3) == [1_000, 2_000]
    ended(study, 256_000, 512.0, 0.9)
    assert read_speeds(study, 3) == [500], "of the complete one: it would be a finalist"


def test_importances_are_withheld_until_four_trials_completed(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(replace(config, pruner="none"), space)
    run_trials(study, objective_of(space, by_filters), n_trials=3)
    assert importances(study) is None
    run_trials(study, objective_of(space, by_filters), n_trials=12)
    assert importances(study)
