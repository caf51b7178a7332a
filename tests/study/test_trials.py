"""Trials read back: speeds and importances."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.config import StudyConfig
from search.space.space import SearchSpace
from search.study.trials import importances
from tests.support.training.trainers import (
    by_filters,
    objective_of,
    open_study,
    run_trials,
)

pytestmark = pytest.mark.studies


def test_importances_are_withheld_until_four_trials_completed(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(replace(config, pruner="none"), space)
    run_trials(study, objective_of(space, by_filters), n_trials=3)
    assert importances(study) is None
    run_trials(study, objective_of(space, by_filters), n_trials=12)
    assert importances(study)
