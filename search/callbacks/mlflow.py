"""Trials as runs of MLflow, in a database of its own: `mlflow ui --backend-store-uri sqlite:///DIR/mlflow.db`.

By optuna-integration's callback. MLflow keeps no more runs as plain files: its database is SQLite here.
"""

from __future__ import annotations

import copy
import logging
import os
import sqlite3
import threading
import warnings
from contextlib import closing
from datetime import datetime
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from fmnist.errors import UserError
from search.extras import require_writable
from search.machine import network_file_system

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read on import: nothing of a search goes over the network

import mlflow
from mlflow.entities import ViewType
from optuna_integration import MLflowCallback

DATABASE = "mlflow.db"
METRIC = "selection_accuracy"
TAGS = (  # user attributes of a trial: the others, its history and recipe, are longer than what a tag takes
    *("reason", "origin", "n_images", "seconds", "n_parameters", "multiply_adds", "peak_memory_mb"),
    *("rung_images", "rung_accuracy"),
)


class MLflowRuns:
    """One experiment, named after the study, with a run for each finished trial: its parameters, its value if it is
    complete, and as tags its state, its reason and what it cost. Thread-safe.

    Making the database takes some seconds. Raises UserError where it cannot be made or opened.
    """

    def __init__(self, folder: Path, study_name: str) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        uri = _prepared(folder)
        self._client = mlflow.MlflowClient(uri)
        self._experiment_id = _open(self._client, folder, study_name)
        self._lock = threading.Lock()
        self._there = self._trials_there()
        with warnings.catch_warnings():  # it is to go with version 6, which pyproject.toml excludes
            warnings.simplefilter("ignore", FutureWarning)
            self._callback = MLflowCallback(tracking_uri=uri, metric_name=METRIC)

    def add(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """A finished trial, unless it is there."""
        with self._lock:
            if _key(trial.number, trial.datetime_start) in self._there:
                return
            slim = copy.copy(trial)
            slim.user_attrs = {name: trial.user_attrs[name] for name in TAGS if name in trial.user_attrs}
            self._callback(study, slim)
            self._there.add(_key(trial.number, trial.datetime_start))

    def add_missing(self, study: optuna.Study) -> None:
        """Those of runs without MLflow, of other machines, and of a run that was killed before it came to this."""
        for trial in study.get_trials(deepcopy=False):
            if trial.state.is_finished():
                self.add(study, trial)

    def _trials_there(self) -> set[tuple[str, str]]:
        there, token = set(), None
        while True:
            page = self._client.search_runs([self._experiment_id], run_view_type=ViewType.ALL, page_token=token)
            there |= {_key(run.data.tags.get("number"), run.data.tags.get("datetime_start")) for run in page}
            token = page.token
            if not token:
                return there


def _key(number: int | str | None, started: datetime | str | None) -> tuple[str, str]:
    """What tells a trial from others of its number: an experiment may hold those of an earlier study of its name."""
    return str(number), str(started)


def _prepared(folder: Path) -> str:
    """The database's address, its folder made. Readers such as MLflow's page do not hold up the search."""
    require_writable("mlflow", folder)
    path = folder.absolute() / DATABASE
    if (file_system := network_file_system(path)) is not None:
        raise UserError(
            f"--mlflow must name a folder on a local disk, since SQLite loses data on a network file system, but "
            f"{folder} is on one ({file_system}); choose another"
        )
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise _unusable(folder, error) from None
    return f"sqlite:///{path}"


def _open(client: mlflow.MlflowClient, folder: Path, study_name: str) -> str:
    """The experiment, made if need be; what is added to its runs by others goes into the folder, too."""
    try:
        found = client.get_experiment_by_name(study_name)
    except mlflow.exceptions.MlflowException as error:
        raise _unusable(folder, error) from None
    if found is None:
        return client.create_experiment(study_name, artifact_location=(folder.absolute() / "artifacts").as_uri())
    if found.lifecycle_stage != "active":
        raise UserError(
            f"--mlflow needs the experiment {study_name}, but it was deleted in {folder}; restore it there, or choose "
            f"another folder"
        )
    return found.experiment_id


def _unusable(folder: Path, error: Exception) -> UserError:
    return UserError(
        f"--mlflow must name a folder whose {DATABASE} MLflow can open, but {folder}: {error}; choose another"
    )
