"""Who may write: one run at a time has a study's folder, and its trials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from fmnist.cli import nearest_existing
from fmnist.errors import UserError
from fmnist.paths import shown_path
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.study.storage.opening import StudyStorage
from search.study.storage.supervisor import Claim, claim_nothing, hold_in_postgresql
from search.system.sqlite import sqlite_path


@contextmanager
def hold(files: StudyFiles) -> Iterator[None]:
    """Own the study's folder while the block runs.

    Raises:
        UserError: Another run has it, or it cannot be written.
    """
    try:
        files.root.mkdir(parents=True, exist_ok=True)
        lock = _locked(files.lock)
    except filelock.Timeout:
        raise UserError(
            f"{shown_path(files.root)} is in use by another run; wait for its end, or choose another name with --study"
        ) from None
    except OSError as error:
        raise unwritable(files.root, error) from None
    with lock:
        yield


def unwritable(folder: Path, error: OSError) -> UserError:
    """Build the error to raise when a study's folder cannot be made or written. error: what the system said."""
    return UserError(
        f"cannot write to {shown_path(folder)} ({error.strerror or error}); choose a folder of yours with --studies-dir"
    )


@contextmanager
def hold_storage(storage: StudyStorage, config: StudyConfig) -> Iterator[Claim]:
    """Be the only run that writes to a study's trials while the block runs. The study's folder must be held.

    Yields:
        A function to call with the study once it is there, before anything else is written to it.

    Raises:
        UserError: Another run has the SQLite file, or the study in PostgreSQL.
    """
    if config.storage is None:  # it is in the folder
        yield claim_nothing
    elif config.storage.startswith("sqlite"):
        with _hold_sqlite(sqlite_path(storage.url)):
            yield claim_nothing
    else:
        with hold_in_postgresql(storage, config.study) as claim:
            yield claim


@contextmanager
def _hold_sqlite(path: Path) -> Iterator[None]:
    try:
        lock = _locked(_lock_beside(path))
    except filelock.Timeout:
        raise UserError(
            f"{path} is in use by another run, and SQLite takes one at a time; wait for its end, or use --storage "
            f"postgresql://..."
        ) from None
    with lock:
        yield


def _lock_beside(sqlite: Path) -> Path:
    return Path(f"{sqlite}.lock")


def _locked(path: Path) -> filelock.AcquireReturnProxy:
    """Take a lock that is free, or raise filelock.Timeout. A `with` block of what is returned releases it."""
    return filelock.FileLock(path, timeout=0).acquire()


def require_free(files: StudyFiles, sqlite: Path | None) -> None:
    """Check that a run could hold the study's folder and this SQLite file, without making anything.

    Raises:
        UserError: Another run has one of them, or it may not be written.
    """
    if os.path.exists(files.lock):  # without a lock file nobody holds it
        with hold(files):
            pass
    if sqlite is not None and os.path.exists(_lock_beside(sqlite)):
        with _hold_sqlite(sqlite):
            pass
    _require_writable(files.root)
    if sqlite is not None:
        _require_writable(sqlite.parent)


def _require_writable(folder: Path) -> None:
    """Refuse a folder that may not be written; of one that is missing, the nearest folder above counts."""
    nearest = nearest_existing(folder)
    if not os.path.isdir(nearest):
        raise UserError(f"cannot write to {folder} ({nearest} is no folder); choose a folder of yours")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to {folder} ({nearest} may not be written to); choose a folder of yours")
