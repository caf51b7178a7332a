"""Where trials are stored: Optuna's relational storage with what a search needs, on SQLite or PostgreSQL.

What it adds: a budget that no number of supervisors exceeds, retries while a database is away, trials that change
hands safely. SQLite serves one machine, PostgreSQL several.
"""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial
from sqlalchemy import exc

from fmnist.errors import UserError
from fmnist.paths import shown_path
from search.cli import shown_url
from search.study.attributes import Owner, TrialAttributes, attributes_of
from search.study.held import HeldStorage
from search.study.optuna_private import StudyTrials, has_tables
from search.study.retry import RetryPolicy, T
from search.system.machine import network_file_system
from search.system.sqlite import BUSY_SECONDS, damage_of_sqlite, require_sqlite_path, sqlite_path, sqlite_url

CONNECT_SECONDS = 10
HEARTBEAT_SECONDS = 15  # between two heartbeats of a trial, where several supervisors share a study
IDLE_SECONDS = 20  # a machine that stops in the middle of a transaction (a laptop's lid) holds its locks for so long
GRACE_SECONDS = 150  # seconds without a heartbeat before a trial counts as lost; longer than a database restart


class BudgetSpent(Exception):
    """The study has as many trials as were asked for."""


class AlreadyQueued(Exception):
    """The study has this configuration of the portfolio already: another supervisor was faster."""


class StudyStorage(HeldStorage):
    """Optuna's relational storage with the guarantees that a search needs.

    Every call waits for a database that is away, as `retry_policy` says; no study gets more trials than `budget`; and
    a configuration of the portfolio is queued once, whichever supervisor is first.

    Attributes:
        budget: Largest number of trials of a study; adding one more raises BudgetSpent.
        is_shared: Whether several supervisors may use the storage at a time.
        retry_policy: What to do when the database does not answer. At the start that is an error at once.
        grace_period: Seconds without a heartbeat before a trial counts as lost; None where nothing is shared.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any], *, is_shared: bool) -> None:
        self.budget: float = math.inf
        self.is_shared = is_shared
        self.retry_policy = RetryPolicy(seconds=0.0)
        # SQLite knows no row locks, on which Optuna relies: two threads would take the same waiting trial (seen with
        # two). One lock is enough: a run holds the file for itself.
        self.taking = nullcontext() if is_shared else threading.RLock()
        with warnings.catch_warnings():  # heartbeats are marked experimental since 2.9; the pinned version has them
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(
                url.replace("{", "{{").replace("}", "}}"),  # which Optuna takes for a template
                engine_kwargs=engine_kwargs,
                heartbeat_interval=HEARTBEAT_SECONDS if is_shared else None,
                grace_period=GRACE_SECONDS if is_shared else None,
            )

    def admit(self, trials: StudyTrials, template_trial: FrozenTrial | None) -> None:
        """Refuse a trial beyond the budget, and a configuration of the portfolio that the study has already.

        Raises:
            BudgetSpent: The study has `budget` trials.
            AlreadyQueued: The study has a trial of the same origin.
        """
        if trials.count() >= self.budget:
            raise BudgetSpent
        if template_trial is None:
            return
        origin = attributes_of(template_trial).get("origin")
        if origin is not None and trials.has_user_attr("origin", origin):
            raise AlreadyQueued

    def requeue(self, trial_id: int, owner: Owner | None, n_losses: int) -> bool:
        """Let a trial wait again, with `n_losses` on its record, if it still runs under this owner (None: nobody).

        Returns whether it did.
        """
        attributes = TrialAttributes(n_losses=n_losses, owner=None)
        return self.retry_policy.call(lambda: self.requeue_running(trial_id, owner, attributes))

    @contextmanager
    def leading(self, study_name: str) -> Iterator[Callable[[], bool]]:
        """Compete for the final round of a study while the block runs.

        Yields:
            A function that says whether this process is the one that confirms and retrains. It stays so unless an
            outage of the database lets another machine take over, so ask again before what may be done only once.
        """
        if not self.is_shared:
            yield lambda: True
            return
        lead = _Lead(self, f"fmnist-search final round of {study_name}")
        try:
            yield lead.is_held
        finally:
            lead.release()


class _Lead:
    """An advisory lock of PostgreSQL on a connection of its own, outside the pool.

    The lock ends with its connection, whatever ends the process; so an outage ends it too, or a firewall that drops
    idle connections.
    """

    def __init__(self, storage: StudyStorage, name: str) -> None:
        self._retry_policy = storage.retry_policy
        self._engine = sqlalchemy.create_engine(
            storage.url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT"
        )
        self._try_lock = sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(sqlalchemy.func.hashtext(name)))
        self._connection: sqlalchemy.Connection | None = None  # while the lock is held or was last tried for

    def is_held(self) -> bool:
        """Where the connection has ended, the lock is taken again, unless another machine was faster."""
        if self._connection is not None:
            with suppress(exc.DBAPIError):
                self._connection.execute(sqlalchemy.select(1))
                return True
        self.release()
        connection = self._retry_policy.call(self._engine.connect)
        self._connection = connection
        if connection.execute(self._try_lock).scalar():
            return True
        self.release()
        return False

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(exc.DBAPIError):
                connection.close()


def open_storage(url: str, *, must_exist: bool = False) -> StudyStorage:
    """Open a storage, and make its tables where it has none.

    Args:
        url: "sqlite:///path", with special characters as %XX, or "postgresql://user@host/name".
        must_exist: Refuse an SQLite file that is missing, which would be made otherwise.

    Raises:
        UserError: The URL cannot be read, its driver is missing, the database does not answer, or an SQLite file is
            on a network file system.
    """

    def opened(parsed: sqlalchemy.URL) -> StudyStorage:
        if _is_sqlite(parsed):
            return open_sqlite(sqlite_path(url), must_exist=must_exist)
        return _open_postgresql(url)

    return _answering(url, opened)


def look_into_storage(url: str, scratch: Path) -> StudyStorage | None:
    """Open a storage to read it, and change nothing in it; None where a run would begin a new one.

    Args:
        url: As for `open_storage`.
        scratch: Folder for a copy of an SQLite file, which is opened in its place.

    Raises:
        UserError: A run could not use the storage.
    """

    def opened(parsed: sqlalchemy.URL) -> StudyStorage | None:
        if _is_sqlite(parsed):
            return _open_copy_of_sqlite(sqlite_path(url), scratch)
        return _open_postgresql_with_tables(url)

    return _answering(url, opened)


def _answering(url: str, opened: Callable[[sqlalchemy.URL], T]) -> T:
    """Check the URL, and turn what goes wrong while it is opened into one line."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise UserError(
            f"--storage must be a URL such as sqlite:///study.db or postgresql://user@host/name, but got "
            f"{shown_url(url)!r}; write special characters of a password as %XX"
        ) from None
    _check_parts(parsed, url)
    try:
        return opened(parsed)
    except (ImportError, exc.NoSuchModuleError) as error:
        raise UserError(
            f"--storage {shown_url(url)} needs a database driver ({error}); begin it with sqlite:/// or postgresql:// "
            f"alone, for the latter after pip install 'fmnist-search[postgresql]'"
        ) from None
    except (exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(
            f"--storage {shown_url(url)} does not answer ({cause}); check that it runs and may be reached"
        ) from None


def _check_parts(parsed: sqlalchemy.URL, url: str) -> None:
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise UserError(f"--storage must be SQLite or PostgreSQL, but got {shown_url(url)}; try sqlite:///study.db")
    if _is_sqlite(parsed) and (parsed.query or "?" in url):
        quoted = url.replace("?", "%3F")
        raise UserError(
            f"--storage must name a file for SQLite and no more, but got {url}; write a ? in it as {quoted}"
        )
    if _is_sqlite(parsed) and parsed.database in (None, "", ":memory:"):
        raise UserError(
            f"--storage must be a file for SQLite, or trials end with the run, but got {url}; try sqlite:///study.db"
        )
    if "@" in (parsed.host or ""):  # what a password with an @ leaves there must not reach a driver's message
        raise UserError(f"--storage {shown_url(url)} must have one @, before the host; write one in a password as %40")


def _is_sqlite(parsed: sqlalchemy.URL) -> bool:
    return parsed.get_backend_name() == "sqlite"


def open_sqlite(path: Path, *, must_exist: bool = False) -> StudyStorage:
    """Open an SQLite file, and make its tables where it has none.

    In write-ahead mode, so that the dashboard reads while we write; Optuna sets neither that nor a timeout. The
    connection is given the path itself: in a URL, some legal paths mean another file.
    """
    require_sqlite_path(path, "choose a shorter one with --studies-dir or --storage")
    if must_exist and not path.exists():
        raise UserError(
            f"{path} is missing, and the study's trials with it; restore it, or pass the --storage that has them"
        )
    _refuse_network_file_system(path)
    _require_sound(path, path)
    if not path.exists():
        path.touch()  # with the permissions that the umask leaves: SQLite's own give a group no right to write
    with sqlite3.connect(path, timeout=BUSY_SECONDS) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)  # the pool lends it to any thread

    return StudyStorage(sqlite_url(path), {"creator": connect}, is_shared=False)


def _require_sound(path: Path, original: Path) -> None:
    """Raise UserError for an SQLite file that is damaged, or something else; original: what the message names."""
    damage = damage_of_sqlite(path) if path.is_file() else None
    if damage is not None:
        raise UserError(
            f"{shown_path(original)} must be an SQLite database that is whole, but SQLite says: {damage}; restore it, "
            f"or start another study, with --study NAME and, if it was given, another --storage"
        )


def _refuse_network_file_system(path: Path) -> None:
    file_system = network_file_system(path)
    if file_system is not None:
        raise UserError(
            f"SQLite loses data on a network file system, but {path.parent.absolute()} is one ({file_system}); name "
            f"a local disk with --storage if it was given, else with --studies-dir, or use --storage postgresql://..."
        )


def _open_copy_of_sqlite(path: Path, scratch: Path) -> StudyStorage | None:
    """Copy the write-ahead log too: it has what the last run had not yet moved into the file, and opening the original
    would move it."""
    _refuse_network_file_system(path)
    if not path.exists():
        return None
    if not os.access(path, os.W_OK):
        raise UserError(f"{path} must be a file that may be written to, but it is not; choose another --storage")
    copy = scratch / "copy.db"
    for suffix in ("", "-wal"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            shutil.copyfile(part, f"{copy}{suffix}")
    _require_sound(copy, path)
    return open_sqlite(copy, must_exist=True)


def _open_postgresql(url: str) -> StudyStorage:
    """Several supervisors may start on an empty database: one of them makes the tables."""
    connect_args = {
        "connect_timeout": CONNECT_SECONDS,
        "options": f"-c idle_in_transaction_session_timeout={IDLE_SECONDS}s",
    }
    engine_kwargs = {
        "connect_args": connect_args,
        "pool_pre_ping": True,  # a connection that the server has dropped is opened anew
        "pool_size": 20,
    }
    engine = sqlalchemy.create_engine(url, connect_args=connect_args, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        key = sqlalchemy.func.hashtext("fmnist-search tables")
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(key)))
        return StudyStorage(url, engine_kwargs, is_shared=True)


def _open_postgresql_with_tables(url: str) -> StudyStorage | None:
    engine = sqlalchemy.create_engine(
        url, connect_args={"connect_timeout": CONNECT_SECONDS}, poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        if has_tables(connection):
            return _open_postgresql(url)
        may_create = sqlalchemy.text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
        if not connection.execute(may_create).scalar():
            raise UserError(
                f"--storage {shown_url(url)} is empty, and its user may not create tables there; grant that, or name "
                f"another database"
            )
    return None
