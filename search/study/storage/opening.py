"""Where trials are stored: Optuna's relational storage, on SQLite or PostgreSQL, which waits for one that is away."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy import exc

from fmnist.errors import UserError
from fmnist.paths import shown_path
from search.cli import shown_url
from search.study.optuna_private import has_tables
from search.study.storage.held import HeldStorage
from search.study.storage.retry import RetryPolicy, T
from search.system.machine import name_of_this_process, network_file_system
from search.system.sqlite import BUSY_SECONDS, damage_of_sqlite, require_sqlite_path, sqlite_path, sqlite_url

CONNECT_SECONDS = 10
IDLE_SECONDS = 20  # a machine that stops in the middle of a transaction (a laptop's lid) holds its locks for so long
# The database sees within half a minute that a machine has died which could not say so: seconds of silence, seconds
# between two questions, questions without an answer.
KEEPALIVES = {"idle": 15, "interval": 5, "count": 3}


class StudyStorage(HeldStorage):
    """Optuna's relational storage, every call of which waits for a database that is away.

    Attributes:
        retry_policy: What to do when the database does not answer. At the start that is an error at once.
        connect_args: What a connection of one's own to the same database needs.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any]) -> None:
        self.retry_policy = RetryPolicy(seconds=0.0)
        self.connect_args: dict[str, Any] = engine_kwargs.get("connect_args", {})
        # Optuna takes the URL for a template.
        super().__init__(url.replace("{", "{{").replace("}", "}}"), engine_kwargs=engine_kwargs)


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
    except (exc.SQLAlchemyError, StorageInternalError, sqlite3.Error, OSError) as error:
        original = error.__cause__ if isinstance(error, StorageInternalError) else error  # Optuna's own says nothing
        cause = str(getattr(original, "orig", None) or original).strip().splitlines()[0]
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

    return StudyStorage(sqlite_url(path), {"creator": connect})


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
    """Several runs may start on an empty database: one of them makes the tables."""
    settings = {"idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s"}
    settings |= {f"tcp_keepalives_{name}": str(value) for name, value in KEEPALIVES.items()}
    connect_args = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": f"fmnist-search, {name_of_this_process()}",
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }
    connect_args |= {f"keepalives_{name}": value for name, value in KEEPALIVES.items()}  # as this side asks
    engine_kwargs = {
        "connect_args": connect_args,
        "pool_pre_ping": True,  # a connection that the server has dropped is opened anew
        "pool_size": 20,
    }
    engine = sqlalchemy.create_engine(url, connect_args=connect_args, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        key = sqlalchemy.func.hashtext("fmnist-search tables")
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(key)))
        _require_tables_or_right(connection, url)
        # psycopg logs a cut connection, which the run tells of itself; without a handler, Python would print that.
        logging.getLogger("psycopg").addHandler(logging.NullHandler())
        return StudyStorage(url, engine_kwargs)


def _open_postgresql_with_tables(url: str) -> StudyStorage | None:
    engine = sqlalchemy.create_engine(
        url, connect_args={"connect_timeout": CONNECT_SECONDS}, poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        _require_tables_or_right(connection, url)
        is_empty = not has_tables(connection)
    return None if is_empty else _open_postgresql(url)


def _require_tables_or_right(connection: sqlalchemy.Connection, url: str) -> None:
    """Raise UserError for a database without Optuna's tables whose user may not make them."""
    may_create = sqlalchemy.text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
    if not has_tables(connection) and not connection.scalar(may_create):
        raise UserError(
            f"--storage {shown_url(url)} is empty, and its user may not create tables there; grant that, or name "
            f"another database"
        )
