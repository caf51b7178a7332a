"""Optuna's storage as a search needs it: a budget that no number of supervisors exceeds, patience with a database that
goes away for a while, trials that change hands safely. SQLite serves one machine, PostgreSQL many.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import shutil
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState

from fmnist.errors import UserError
from search.machine import network_file_system
from search.study.retry import RetryPolicy, T

BUSY_SECONDS = 60  # how long SQLite waits for a reader such as the dashboard
CONNECT_SECONDS = 10
HEARTBEAT_SECONDS = 15  # how often a supervisor says that its trials live, where several share a study
IDLE_SECONDS = 20  # a machine that stops in the middle of a transaction (a laptop's lid) holds its locks for so long
GRACE_SECONDS = 150  # a trial of which nobody has spoken for so long is lost; more than a database takes to restart


class BudgetSpent(Exception):
    """The study has as many trials as were asked for."""


class AlreadyQueued(Exception):
    """The portfolio's configuration is in the study: another supervisor was faster."""


_PATIENT_CALLS = (  # all that Optuna calls on a storage while a study runs
    "create_new_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "_create_new_trial",
    "_set_trial_param",
    "get_trial_id_from_study_id_trial_number",
    "_get_best_trial_id",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    "get_all_trials",
    "_get_trials",
    "_get_stale_trial_ids",
)


class StudyStorage(optuna.storages.RDBStorage):
    """Optuna's relational storage, and what a search wants beside it.

    budget: no trial is added to a study that has so many; BudgetSpent is raised instead. is_shared: several supervisors
    may use it at a time.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any], *, is_shared: bool) -> None:
        self.budget: float = math.inf
        self.is_shared = is_shared
        self.patience = RetryPolicy(seconds=0.0)  # at the start a database that is not there is an error at once
        # SQLite knows no row locks, on which Optuna relies: two threads would take the same waiting trial (seen with
        # two). One lock is enough: a run holds the file for itself.
        self._taking = threading.RLock()
        with warnings.catch_warnings():  # heartbeats are marked experimental since 2.9; the pinned version has them
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(
                url,
                engine_kwargs=engine_kwargs,
                heartbeat_interval=HEARTBEAT_SECONDS if is_shared else None,
                grace_period=GRACE_SECONDS if is_shared else None,
            )

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return self._create_new_trial(study_id, template_trial)._trial_id

    def requeue(self, trial_id: int, owner: dict[str, Any] | None, n_losses: int) -> bool:
        """Let a trial wait again, with that many losses on its record, if it still runs under this owner (None: under
        nobody). Returns whether it did."""
        return self.patience.call(lambda: self._requeue(trial_id, owner, n_losses))

    def _requeue(self, trial_id: int, owner: dict[str, Any] | None, n_losses: int) -> bool:
        with self._taking, _create_scoped_session(self.scoped_session) as session:
            trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            attributes = {row.key: json.loads(row.value_json) for row in trial.user_attributes}
            if trial.state != TrialState.RUNNING or attributes.get("owner") != owner:
                return False
            for key, value in {"n_losses": n_losses, "owner": None}.items():
                self._set_trial_attr_without_commit(session, models.TrialUserAttributeModel, trial_id, key, value)
            for heartbeat in trial.heartbeats:  # else the next owner's trial is stale before its first heartbeat
                session.delete(heartbeat)
            trial.state = TrialState.WAITING
            return True

    def _get_prepared_new_trial(self, study_id: int, template_trial: FrozenTrial | None, session: Any) -> Any:
        """Optuna adds a trial in here, with the study's row locked: whatever is counted now holds until it is added."""
        trials = session.query(models.TrialModel).filter(models.TrialModel.study_id == study_id)
        if trials.count() >= self.budget:
            raise BudgetSpent
        origin = template_trial.user_attrs.get("origin") if template_trial is not None else None
        if origin is not None:
            known = trials.join(models.TrialUserAttributeModel).filter(
                models.TrialUserAttributeModel.key == "origin",
                models.TrialUserAttributeModel.value_json == json.dumps(origin),
            )
            if known.count():
                raise AlreadyQueued
        return super()._get_prepared_new_trial(study_id, template_trial, session)

    @contextmanager
    def leading(self, study_name: str) -> Iterator[Callable[[], bool]]:
        """Asked, it says whether this process is the one that confirms and retrains. It stays so while the block runs,
        unless an outage of the database lets another machine take over; so ask again before what may be done once."""
        if not self.is_shared:
            yield lambda: True
            return
        lead = _Lead(self, f"fmnist-search final round of {study_name}")
        try:
            yield lead.is_held
        finally:
            lead.release()


class _Lead:
    """A lock of PostgreSQL's on a connection of its own, not the pool's: it ends with that, whatever ends the process.
    So an outage ends it too, or a firewall that drops idle connections."""

    def __init__(self, storage: StudyStorage, name: str) -> None:
        self._patience = storage.patience
        self._engine = sqlalchemy.create_engine(
            storage.url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT"
        )
        self._take = sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(sqlalchemy.func.hashtext(name)))
        self._connection: sqlalchemy.Connection | None = None
        self._is_held = False

    def is_held(self) -> bool:
        """Where the connection has ended, the lock is taken again, unless another machine was faster."""
        if self._is_held:
            with suppress(sqlalchemy.exc.DBAPIError):
                self._connection.execute(sqlalchemy.select(1))
                return True
        self.release()
        self._connection = self._patience.call(self._engine.connect)
        self._is_held = bool(self._connection.execute(self._take).scalar())
        return self._is_held

    def release(self) -> None:
        self._is_held = False
        if self._connection is not None:
            with suppress(sqlalchemy.exc.DBAPIError):
                self._connection.close()


def _patient(name: str) -> Callable[..., Any]:
    method = getattr(optuna.storages.RDBStorage, name)

    @functools.wraps(method)
    def call(self: StudyStorage, *arguments: Any, **named: Any) -> Any:
        return self.patience.call(lambda: method(self, *arguments, **named))

    return call


def _one_at_a_time(name: str) -> Callable[..., Any]:
    method = _patient(name)

    @functools.wraps(method)
    def call(self: StudyStorage, *arguments: Any, **named: Any) -> Any:
        if self.is_shared:
            return method(self, *arguments, **named)
        with self._taking:
            return method(self, *arguments, **named)

    return call


# Ours are asked and told, with a heartbeat of our own.
warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with Study.optimize")

for _name in _PATIENT_CALLS:
    _takes = _name in ("_create_new_trial", "set_trial_state_values")
    setattr(StudyStorage, _name, _one_at_a_time(_name) if _takes else _patient(_name))


# --- open


def shown_url(url: str) -> str:
    """The URL with its password hidden, for messages: any text goes, as a URL with a slip in it has a password too."""
    if url.startswith("sqlite"):
        return url
    start = url.find("://") + 3 if "://" in url else 0
    rest = re.sub(r":.*@", ":***@", url[start:])
    return url[:start] + re.sub(r"(password|passwd|pwd)=[^&]*", r"\1=***", rest, flags=re.IGNORECASE)


def open_storage(url: str, *, must_exist: bool = False) -> StudyStorage:
    """Raises UserError for a URL that cannot be read, needs a driver that is not there, or does not answer, and for an
    SQLite file on a network file system. must_exist: also for an SQLite file that is not there; else it is made."""
    return _answering(
        url,
        lambda parsed: _open_sqlite(parsed, url, must_exist) if _is_sqlite(parsed) else _open_postgresql(url),
    )


def look_into_storage(url: str, scratch: Path) -> StudyStorage | None:
    """A storage as it is, to be read, with nothing in it changed: of an SQLite file a copy in the folder `scratch` is
    opened. None where a run would begin a new one. Raises UserError where a run could not use it."""
    return _answering(
        url, lambda parsed: _copy_of_sqlite(parsed, url, scratch) if _is_sqlite(parsed) else _look_into_postgresql(url)
    )


def _answering(url: str, opened: Callable[[sqlalchemy.URL], T]) -> T:
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise UserError(
            f"--storage must be a URL such as sqlite:///study.db or postgresql://user@host/name, but got "
            f"{shown_url(url)!r}; write special characters of a password as %XX"
        ) from None
    _check_parts(parsed, url)
    try:
        return opened(parsed)
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise UserError(
            f"--storage {shown_url(url)} needs a database driver ({error}); install it, e.g. psycopg[binary]"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(
            f"--storage {shown_url(url)} does not answer ({cause}); check that it runs and may be reached"
        ) from None


def _is_sqlite(parsed: sqlalchemy.URL) -> bool:
    return parsed.get_backend_name() == "sqlite"


def _check_parts(parsed: sqlalchemy.URL, url: str) -> None:
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise UserError(f"--storage must be SQLite or PostgreSQL, but got {shown_url(url)}; try sqlite:///study.db")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UserError(
            f"--storage must be a file for SQLite, or trials end with the run, but got {url}; try sqlite:///study.db"
        )
    if "@" in (parsed.host or ""):  # what a password with an @ leaves there must not reach a driver's message
        raise UserError(f"--storage {shown_url(url)} must have one @, before the host; write one in a password as %40")


def _open_sqlite(parsed: sqlalchemy.URL, url: str, must_exist: bool) -> StudyStorage:
    """In write-ahead mode, so that the dashboard reads while we write; Optuna sets neither that nor a timeout."""
    path = Path(parsed.database)
    if must_exist and not path.exists():
        raise UserError(
            f"{path} is missing, and the study's trials with it; restore it, or pass the --storage that has them"
        )
    _refuse_network_file_system(path)
    with sqlite3.connect(path, timeout=BUSY_SECONDS) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return StudyStorage(url, {"connect_args": {"timeout": BUSY_SECONDS}}, is_shared=False)


def _refuse_network_file_system(path: Path) -> None:
    if (file_system := network_file_system(path)) is not None:
        raise UserError(
            f"SQLite loses data on a network file system, but {path.parent.absolute()} is one ({file_system}); put the "
            f"study on a local disk with --studies-dir, or use --storage postgresql://..."
        )


def _copy_of_sqlite(parsed: sqlalchemy.URL, url: str, scratch: Path) -> StudyStorage | None:
    """What the last run had not yet written into the file itself lies beside it, and opening it would put it there."""
    path = Path(parsed.database)
    _refuse_network_file_system(path)
    if not path.exists():
        return None
    if not os.access(path, os.W_OK):
        raise UserError(f"{path} must be a file that may be written to, but it is not; choose another --storage")
    copy = scratch / "copy.db"
    for suffix in ("", "-wal"):
        if Path(f"{path}{suffix}").exists():
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    return _open_sqlite(parsed.set(database=str(copy)), f"sqlite:///{copy.absolute()}", must_exist=True)


def _look_into_postgresql(url: str) -> StudyStorage | None:
    engine = sqlalchemy.create_engine(
        url, connect_args={"connect_timeout": CONNECT_SECONDS}, poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        has_tables = sqlalchemy.inspect(connection).has_table(models.StudyModel.__tablename__)
        may_create = sqlalchemy.text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
        if not has_tables and not connection.execute(may_create).scalar():
            raise UserError(
                f"--storage {shown_url(url)} is empty, and its user may not create tables there; grant that, or name "
                f"another database"
            )
    return _open_postgresql(url) if has_tables else None


def _open_postgresql(url: str) -> StudyStorage:
    """Several supervisors may start on an empty database: the tables are made by one of them."""
    engine_kwargs = {
        "connect_args": {
            "connect_timeout": CONNECT_SECONDS,
            "options": f"-c idle_in_transaction_session_timeout={IDLE_SECONDS}s",
        },
        "pool_pre_ping": True,  # a connection that the server has dropped is opened anew
        "pool_size": 20,
    }
    engine = sqlalchemy.create_engine(url, connect_args=engine_kwargs["connect_args"], poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        key = sqlalchemy.func.hashtext("fmnist-search tables")
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(key)))
        return StudyStorage(url, engine_kwargs, is_shared=True)
