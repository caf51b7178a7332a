"""Trials as runs of MLflow, in a database of its own: `mlflow ui --backend-store-uri sqlite:///DIR/mlflow.db`.

By MLflow's client alone: its fluent functions (`mlflow.start_run` and the like) would set the tracking address for the
whole process, and in the environment. MLflow keeps no more runs as plain files, so its database is SQLite here.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from fmnist.errors import UserError
from fmnist.paths import absolute
from fmnist.scoring import Metric, shown_value
from search.system.extras import require_writable
from search.system.machine import network_file_system
from search.system.sqlite import sqlite_url

NO_TELEMETRY = "MLFLOW_DISABLE_TELEMETRY"  # read on import: nothing of a search goes over the network

_telemetry_before = os.environ.get(NO_TELEMETRY)
os.environ.setdefault(NO_TELEMETRY, "true")
try:
    from mlflow import MlflowClient
    from mlflow.entities import Metric as MetricEntry
    from mlflow.entities import Param, RunTag, ViewType
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.context.registry import resolve_tags
    from mlflow.utils.validation import MAX_TAG_VAL_LENGTH
finally:
    if _telemetry_before is None:
        del os.environ[NO_TELEMETRY]

DATABASE = "mlflow.db"
TAGS = (  # user attributes of a trial: the others, its history and recipe, are longer than what a tag takes
    *("reason", "origin", "n_images", "seconds", "n_parameters", "multiply_adds", "peak_memory_mb"),
    *("rung_images", "rung_accuracy", "rung_score"),
)
COSTS = ("multiply_adds", "n_parameters")  # also metrics, against which MLflow's charts can show the score
LOGGERS = ("mlflow", "alembic")  # tell of every step of making the database


class MLflowRuns:
    """One experiment of MLflow, named after the study, with a run for each finished trial. Thread-safe.

    A run has the trial's parameters, its value if it is complete, and as tags its state, its reason and what it cost.
    Making the database takes some seconds.

    Args:
        folder: where the database is, or is made.
        study_name: names the experiment.
        metric: of the study, which a trial's value is by; it is entered as people know it, so a log loss is positive.

    Raises:
        UserError: the database cannot be made or opened.
    """

    def __init__(self, folder: Path, study_name: str, metric: Metric = "accuracy") -> None:
        self._metric: Metric = metric
        with quiet_loggers():
            self._client = MlflowClient(make_database(folder))
            self._experiment_id = open_experiment(self._client, folder, study_name)
            self._there = self._find_trials()
        self._source = resolve_tags()  # who runs what, and of which commit
        self._lock = threading.Lock()

    def add(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Add a finished trial, unless it is there."""
        key = trial_key(trial.number, trial.datetime_start)
        with self._lock, quiet_loggers():
            if key not in self._there:
                self._write(study, trial)
                self._there.add(key)

    def add_missing(self, study: optuna.Study, stop: threading.Event | None = None) -> None:
        """Add the finished trials that are not there: of runs without MLflow, of other machines, of a killed run.

        stop: once it is set, the others are left to the next run.
        """
        for trial in study.get_trials(deepcopy=False):
            if stop is not None and stop.is_set():
                return
            if trial.state.is_finished():
                self.add(study, trial)

    def _write(self, study: optuna.Study, trial: FrozenTrial) -> None:
        tags = {
            "number": str(trial.number),
            "datetime_start": str(trial.datetime_start),
            "datetime_complete": str(trial.datetime_complete),
            "state": trial.state.name,
            "direction": "MINIMIZE" if self._metric == "log_loss" else study.directions[0].name,
        }
        for name, distribution in trial.distributions.items():
            tags[f"{name}_distribution"] = str(distribution)
        for name in TAGS:
            if name in trial.user_attrs:
                tags[name] = str(trial.user_attrs[name])
        values = {name: float(trial.user_attrs[name]) for name in COSTS if name in trial.user_attrs}
        if trial.values is not None:
            values[f"selection_{self._metric}"] = shown_value(self._metric, trial.values[0])
        now = time.time_ns() // 10**6
        metrics = [MetricEntry(name, value, timestamp=now, step=0) for name, value in values.items()]
        run = self._client.create_run(self._experiment_id, tags=self._source, run_name=str(trial.number))
        self._client.log_batch(
            run.info.run_id,
            metrics=metrics,
            params=[Param(name, str(value)) for name, value in trial.params.items()],
            tags=[RunTag(name, shortened(value)) for name, value in tags.items()],
        )
        self._client.set_terminated(run.info.run_id)

    def _find_trials(self) -> set[tuple[str, str]]:
        there: set[tuple[str, str]] = set()
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], run_view_type=ViewType.ALL, page_token=token)
            for run in page:
                there.add(trial_key(run.data.tags.get("number"), run.data.tags.get("datetime_start")))
            token = page.token
            if not token:
                return there


@contextmanager
def quiet_loggers() -> Iterator[None]:
    """Keep LOGGERS to their warnings while the block runs."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def trial_key(number: int | str | None, started: datetime | str | None) -> tuple[str, str]:
    """What tells a trial from others of its number: an experiment may hold those of an earlier study of its name."""
    return str(number), str(started)


def shortened(value: str) -> str:
    """Cut a tag's value to what MLflow takes."""
    if len(value) <= MAX_TAG_VAL_LENGTH:
        return value
    return f"{value[: MAX_TAG_VAL_LENGTH - 3]}..."


def make_database(folder: Path) -> str:
    """Make the folder and, in it, a database that readers such as MLflow's page do not lock. Returns its address.

    Raises:
        UserError: the folder cannot be written, or is on a network file system.
    """
    require_writable("mlflow", folder)
    path = absolute(folder) / DATABASE
    file_system = network_file_system(path)
    if file_system is not None:
        raise UserError(
            f"--mlflow must name a folder on a local disk, since SQLite loses data on a network file system, but "
            f"{folder} is on one ({file_system}); choose another"
        )
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise unusable(folder, error) from None
    return sqlite_url(path)


def open_experiment(client: MlflowClient, folder: Path, study_name: str) -> str:
    """Find or create the study's experiment; its artifacts go into the folder, too. Returns its id.

    Raises:
        UserError: the database cannot be read, or the experiment was deleted.
    """
    try:
        found = client.get_experiment_by_name(study_name)
    except MlflowException as error:
        raise unusable(folder, error) from None
    if found is None:
        return client.create_experiment(study_name, artifact_location=(absolute(folder) / "artifacts").as_uri())
    if found.lifecycle_stage != "active":
        raise UserError(
            f"--mlflow needs the experiment {study_name}, but it was deleted in {folder}; restore it there, or choose "
            f"another folder"
        )
    return found.experiment_id


def unusable(folder: Path, error: Exception) -> UserError:
    """The error of a database that MLflow cannot open."""
    reason = " ".join(str(error).split())
    return UserError(
        f"--mlflow must name a folder whose {DATABASE} MLflow can open, but {folder}: {reason}; choose another"
    )
