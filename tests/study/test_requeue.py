"""Trials that are lost: when they run again, and when they fail."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Generator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from search.config import StudyConfig
from search.records.files import StudyFiles
from search.space.space import SearchSpace
from search.study.requeue import requeue_running
from search.study.storage.opening import open_storage
from search.study.study import storage_url
from search.study.trials import read_trials
from search.worker.tasks import MAX_LOSSES, Interrupted, RecipeTrainer, TrainMessage, TrainTask
from tests.support.training.trainers import (
    by_filters,
    noting,
    objective_of,
    open_study,
    point,
    run_trials,
    storage_of,
)

pytestmark = pytest.mark.studies

KILLED_RUN = """
import os, signal, sys, threading
from pathlib import Path
import tests.support.training.trainers as t
from search.config import StudyConfig
from search.system.shipped import SHIPPED_SPACES
from search.space.schema import read_space_text, space_of
space = space_of(read_space_text(SHIPPED_SPACES / "digits.toml"), "digits", (8, 8, 1), 10)
config = StudyConfig(study="s", dataset="digits", studies_dir=Path(sys.argv[1]))
n_points = 0
def dying(task):
    for message in t.by_filters(task):
        global n_points
        n_points += 1
        if n_points > 60:
            os.kill(os.getpid(), signal.SIGKILL)
        yield message
t.run_trials(t.open_study(config, space), t.objective_of(space, dying), n_trials=20, n_jobs=2)
"""


def stopping(stop: threading.Event) -> RecipeTrainer:
    """Ends the run after a training's first evaluation, as Ctrl-C does."""

    def train(task: TrainTask) -> Generator[TrainMessage, None, None]:
        yield point(1000, 0.5)
        stop.set()
        raise Interrupted

    return train


@pytest.mark.process
@pytest.mark.faults
def test_killed_run_goes_on_to_exactly_n_trials_none_running_none_lost(
    config: StudyConfig, space: SearchSpace, tmp_path: Path
) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED_RUN, str(tmp_path)], cwd=Path(__file__).parents[2])
    assert died.returncode == -9
    left = open_storage(storage_url(config, StudyFiles(config.folder))).get_all_trials(1)
    running = [trial.number for trial in left if trial.state == TrialState.RUNNING]
    finished = {trial.number: trial.value for trial in left if trial.state.is_finished()}
    assert running

    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=20, n_jobs=2)
    after = study.trials
    assert len(after) == 20
    assert all(trial.state.is_finished() for trial in after)
    assert {number: after[number].value for number in finished} == finished
    params = {number: trial.params for number, trial in enumerate(left) if number in running}
    assert all(after[number].params.items() >= params[number].items() for number in running)


def test_lost_trial_repeats_its_number_its_parameters_and_its_seed(config: StudyConfig, space: SearchSpace) -> None:
    tasks: list[TrainTask] = []
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=4)
    stop = threading.Event()
    with pytest.raises(Interrupted):
        run_trials(study, objective_of(space, noting(tasks, stopping(stop))), n_trials=5, stop=stop)
    interrupted = study.trials[4]
    assert interrupted.state == TrialState.WAITING
    study = open_study(config, space)
    run_trials(study, objective_of(space, noting(tasks)), n_trials=5)
    assert study.trials[4].params == interrupted.params
    assert len({task.seed for task in tasks}) == 1


def test_trial_whose_beginning_was_lost_in_an_outage_is_the_next_to_run(
    config: StudyConfig, space: SearchSpace
) -> None:
    study = open_study(config, space)
    unheard = study.ask()  # begun in the database, but its answer never came
    ended: list[int] = []
    run_trials(
        study,
        objective_of(space, by_filters),
        n_trials=3,
        n_jobs=2,
        after_trial=lambda study, trial: ended.append(trial.number),
    )
    assert unheard.number in ended and len(ended) == 3
    assert all(trial.state.is_finished() for trial in study.trials[: len(ended)])
    assert "n_losses" not in study.trials[unheard.number].user_attrs


def test_trial_that_dies_with_the_run_again_and_again_is_failed(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    for _ in range(MAX_LOSSES):
        study.ask()
        requeue_running(study, storage_of(study), are_losses=True)
    assert study.trials[0].state == TrialState.FAIL
    assert "deaths of a run" in read_trials(study)[0].reason


@pytest.mark.filterwarnings("error")
def test_trial_that_runs_again_keeps_what_it_reported_and_warns_nobody(config: StudyConfig, space: SearchSpace) -> None:
    study = open_study(config, space)
    stop = threading.Event()
    with pytest.raises(Interrupted):
        run_trials(study, objective_of(space, stopping(stop)), n_trials=1, stop=stop)
    filters = list(warnings.filters)
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=1)
    (first, *others) = study.trials[0].intermediate_values.values()
    assert first == 0.5 and others
    assert warnings.filters == filters, "a search changes no filter of its caller"
