"""Trials in MLflow's database, read by its own client. Needs the extra `mlflow`."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import optuna
import psutil
import pytest
from optuna.trial import TrialState

pytest.importorskip("mlflow", reason="needs the extra mlflow: pip install 'fmnist-search[mlflow]'")

from mlflow import MlflowClient
from mlflow.entities import Run

from fmnist.errors import UserError
from search.callbacks.mlflow import DATABASE, MLflowRuns
from tests.support.remedies import needs_remedy

pytestmark = pytest.mark.process  # MLflow asks git which commit it is
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its database is made once: that takes seconds."""
    folder = tmp_path_factory.mktemp("shown")
    MLflowRuns(folder, "first")
    return folder


def study_of(name: str) -> optuna.Study:
    """One trial that completed, one pruned, one failed, one that waits."""
    study = optuna.create_study(study_name=name, direction="maximize")
    for state, value in [(TrialState.COMPLETE, 0.875), (TrialState.PRUNED, None), (TrialState.FAIL, None)]:
        trial = study.ask({"filters": optuna.distributions.IntDistribution(8, 64)})
        trial.set_user_attr("reason", f"it is {state.name}")
        if state != TrialState.FAIL:
            trial.set_user_attr("multiply_adds", 7_600_000)
        trial.set_user_attr("history", [{"n_images": i} for i in range(1000)])
        study.tell(trial, value, state=state)
    study.enqueue_trial({"filters": 8})
    return study


def runs_of(folder: Path, study: optuna.Study) -> list[Run]:
    """By the trials' numbers."""
    client = MlflowClient(f"sqlite:///{folder / DATABASE}")
    experiment = client.get_experiment_by_name(study.study_name)
    runs = client.search_runs([experiment.experiment_id])
    return sorted(runs, key=lambda run: int(run.data.tags["number"]))


def test_every_finished_trial_is_a_run_with_its_parameters_value_cost_state_and_reason(folder: Path) -> None:
    study = study_of("all")
    MLflowRuns(folder, "all").add_missing(study)
    runs = runs_of(folder, study)
    cost = {"multiply_adds": 7.6e6}
    assert [run.data.metrics for run in runs] == [{"selection_accuracy": 0.875, **cost}, cost, {}]
    assert [run.data.tags["state"] for run in runs] == ["COMPLETE", "PRUNED", "FAIL"]
    for run, trial in zip(runs, study.trials, strict=False):
        assert run.data.params == {"filters": str(trial.params["filters"])}
        assert run.data.tags["reason"] == f"it is {trial.state.name}"
        assert "history" not in run.data.tags


def test_trial_is_entered_once_however_often_a_run_starts(folder: Path) -> None:
    study = study_of("again")
    first = MLflowRuns(folder, "again")
    first.add(study, study.trials[1])
    first.add(study, study.trials[1])
    for _ in range(2):
        MLflowRuns(folder, "again").add_missing(study)
    assert [int(run.data.tags["number"]) for run in runs_of(folder, study)] == [0, 1, 2]


def test_reader_does_not_hold_up_the_search(folder: Path) -> None:
    study, runs = study_of("read"), MLflowRuns(folder, "read")
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()  # holds its lock until the end
        runs.add_missing(study)
    assert len(runs_of(folder, study)) == 3


def test_new_study_of_an_old_name_is_entered_too(folder: Path) -> None:
    for study in (study_of("anew"), study_of("anew")):
        MLflowRuns(folder, "anew").add_missing(study)
    assert [int(run.data.tags["number"]) for run in runs_of(folder, study)] == [0, 0, 1, 1, 2, 2]


def make_file(path: Path) -> None:
    path.write_text("a file")


def make_damaged(path: Path) -> None:
    path.mkdir()
    (path / DATABASE).write_text("not a database, but long enough to be taken for one, or so it says " * 20)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_file, r"^--mlflow must name a folder that can be written, but .*; choose another$"),
        (make_damaged, r"^--mlflow must name a folder whose mlflow.db MLflow can open, but .*not a database"),
    ],
)
def test_folder_that_cannot_be_used_is_refused(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    make(tmp_path / "place")
    with pytest.raises(UserError, match=said):
        MLflowRuns(tmp_path / "place", "s")


def test_deleted_experiment_is_named_and_used_once_it_is_restored(folder: Path) -> None:
    MLflowRuns(folder, "gone")
    client = MlflowClient(f"sqlite:///{folder / DATABASE}")
    number = client.get_experiment_by_name("gone").experiment_id
    client.delete_experiment(number)
    with needs_remedy("--mlflow needs the experiment {}, but it was deleted in {}; restore it there, or"):
        MLflowRuns(folder, "gone")
    client.restore_experiment(number)
    MLflowRuns(folder, "gone")


def test_database_that_cannot_be_opened_is_left_for_one_in_another_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("no database, but long enough to be read as one" * 20)
    with needs_remedy("--mlflow must name a folder whose {} MLflow can open, but {}: {}; choose another"):
        MLflowRuns(tmp_path, "s")
    MLflowRuns(folder, "s")


def test_network_disk_is_left_for_a_local_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    with needs_remedy("--mlflow must name a folder on a local disk, since SQLite loses data on a network file system"):
        MLflowRuns(tmp_path / "shared", "local")
    MLflowRuns(folder, "local")


SCRIPT = """
import sys
called = []
def note(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.connect" and isinstance(arguments[1], tuple):
        called.append(arguments)  # an address of a socket between processes is a path
sys.addaudithook(note)
from search.run import main
from tests.support.training.fakes import fake_workers
code = main(sys.argv[1:], worker_processes=fake_workers)
sys.exit(code or (f"called {called}" if called else None) or "tensorflow" in sys.modules)
"""
NO_TELEMETRY_ANYWAY = ("PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")


@pytest.mark.slow
def test_search_enters_its_trials_without_tensorflow_or_network(folder: Path, tmp_path: Path) -> None:
    options = ["--dataset", "digits", "--trials", "4", "--study", "s", "--search-only"]
    options += ["--studies-dir", str(tmp_path), "--mlflow", str(folder)]
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT, *options],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in NO_TELEMETRY_ANYWAY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, child.stderr) == (0, "")
    client = MlflowClient(f"sqlite:///{folder / DATABASE}")
    experiment = client.get_experiment_by_name("s")
    assert len(client.search_runs([experiment.experiment_id])) == 4


STATE = """
import logging, os, sys, tempfile
from pathlib import Path
import optuna
before = dict(os.environ)
from search.callbacks.mlflow import MLflowRuns
levels = {name: logging.getLogger(name).level for name in ("mlflow", "alembic")}
study = optuna.create_study(direction="maximize")
study.tell(study.ask(), 0.5)
MLflowRuns(Path(sys.argv[1]), "s").add_missing(study)
assert dict(os.environ) == before
assert levels == {name: logging.getLogger(name).level for name in levels}
import mlflow
assert sys.argv[1] not in mlflow.get_tracking_uri()
"""


def test_nothing_of_the_caller_s_process_is_changed(folder: Path) -> None:
    """Its environment, its loggers' levels, the address that it tracks its own runs at."""
    environment = {name: value for name, value in os.environ.items() if name not in NO_TELEMETRY_ANYWAY}
    command = [sys.executable, "-c", STATE, str(folder)]
    child = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
