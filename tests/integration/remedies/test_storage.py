"""What refused places of a study say is done, and the study has a place."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import filelock
import optuna
import psutil
import pytest
import sqlalchemy
from sqlalchemy import exc

from search.config import StudyConfig
from search.records.files import StudyFiles
from search.records.io import read_json, write_text
from search.records.models import EvaluationRecord
from search.study.locks import hold, hold_storage, require_free
from search.study.storage.opening import look_into_storage, open_storage
from search.study.storage.retry import RetryPolicy
from search.study.study import OWN_STORAGE, open_by_name, open_finished
from tests.support.remedies import Remedy, needs_remedy


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which sqlite:///study.db lies."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("--storage must be a URL such as", "nonsense", "sqlite:///study.db"),
        Remedy("--storage must be SQLite or PostgreSQL", "mysql://host/name", "sqlite:///study.db"),
        Remedy("--storage must be a file for SQLite", "sqlite://", "sqlite:///study.db"),
        Remedy(
            "--storage {} needs a database driver ({}); begin it", "postgresql+other://host/name", "sqlite:///study.db"
        ),
        Remedy(
            "--storage {} does not answer ({}); check that it runs", "sqlite:///none/study.db", "sqlite:///study.db"
        ),
    ],
    ids=lambda remedy: remedy.refused,
)
def test_storage_is_opened_once_written_as_the_message_says(remedy: Remedy) -> None:
    with needs_remedy(remedy.says):
        open_storage(remedy.refused)
    open_storage(remedy.followed).engine.dispose()


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy(
            "write special characters of a password as %XX",
            "postgresql://me:a/b@host:x/name",
            "postgresql://me:a%2Fb@host/name",
        ),
        Remedy(
            "must have one @, before the host; write one in a password as %40",
            "postgresql://me:a@b@c@host/name",
            "postgresql://me:a%40b%40c@host/name",
        ),
    ],
    ids=lambda remedy: remedy.refused,
)
def test_password_is_read_once_written_as_the_message_says(remedy: Remedy, monkeypatch: pytest.MonkeyPatch) -> None:
    with needs_remedy(remedy.says):
        open_storage(remedy.refused)
    opened = []
    monkeypatch.setattr("search.study.storage.opening._open_postgresql", opened.append)  # no database answers there
    open_storage(remedy.followed)
    password = sqlalchemy.make_url(opened[0]).password
    assert password in ("a/b", "a@b@c")


def test_missing_database_is_restored_or_another_one_named(here: Path) -> None:
    optuna.create_study(study_name="a", storage="sqlite:///study.db")
    (here / "study.db").rename("other.db")
    with needs_remedy("{} is missing, and the study's trials with it; restore it, or pass the --storage that has them"):
        open_by_name("a", "sqlite:///study.db")
    open_by_name("a", "sqlite:///other.db")
    (here / "other.db").rename("study.db")
    open_by_name("a", "sqlite:///study.db")


def test_study_is_in_the_storage_that_has_it() -> None:
    for name, url in (("a", "sqlite:///a.db"), ("b", "sqlite:///b.db")):
        optuna.create_study(study_name=name, storage=url)
    with needs_remedy("{} holds no study {}; pass the --storage that has its trials"):
        open_by_name("a", "sqlite:///b.db")
    open_by_name("a", "sqlite:///a.db")


def test_password_that_is_not_stored_is_left_to_the_environment(here: Path) -> None:
    (here / "config.json").write_text('{"study": "a", "storage": "postgresql://me:***@host/name"}')
    with needs_remedy("whose password is not stored; pass the address without it as --storage"):
        open_finished(StudyFiles(here))
    optuna.create_study(study_name="a", storage="sqlite:///study.db")
    open_finished(StudyFiles(here), "sqlite:///study.db")  # stands for the address without the password
    assert OWN_STORAGE != "postgresql://me:***@host/name"


def test_sqlite_on_a_network_disk_is_moved_to_a_local_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "shared").mkdir()
    (here / "local").mkdir()
    mounts = [SimpleNamespace(mountpoint=str(here / "shared"), fstype="nfs4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    with needs_remedy("name a local disk with --storage if it was given, else with --studies-dir"):
        open_storage("sqlite:///shared/study.db")
    open_storage("sqlite:///local/study.db").engine.dispose()


def test_database_that_may_not_be_written_is_another(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine.db", "theirs.db"):
        sqlite3.connect(here / name).close()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "theirs" not in str(path) and may(path, mode))
    with needs_remedy("{} must be a file that may be written to, but it is not; choose another --storage"):
        look_into_storage("sqlite:///theirs.db", here)
    assert look_into_storage("sqlite:///mine.db", here) is not None


def test_folder_is_one_that_may_be_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file").touch()
    with needs_remedy("cannot write to {} ({}); choose a folder of yours with --studies-dir"):
        hold(StudyFiles(here / "file" / "study")).__enter__()
    with needs_remedy("cannot write to {} ({} is no folder); choose a folder of yours"):
        require_free(StudyFiles(here / "file" / "study"), None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        with needs_remedy("cannot write to {} ({} may not be written to); choose a folder of yours"):
            require_free(StudyFiles(here / "theirs" / "study"), None)
    require_free(StudyFiles(here / "mine" / "study"), None)
    with hold(StudyFiles(here / "mine" / "study")):
        pass


def test_path_too_long_for_sqlite_is_a_shorter_one() -> None:
    with needs_remedy("the path of an SQLite file must be {} bytes at most, from the root on"):
        open_storage(f"sqlite:///{'/'.join(['x' * 99] * 9)}/study.db")
    open_storage("sqlite:///study.db").engine.dispose()


def test_study_in_use_is_waited_for_or_left_for_another(here: Path) -> None:
    with hold(StudyFiles(here / "a")):
        with needs_remedy("{} is in use by another run; wait for its end, or choose another name with --study"):
            hold(StudyFiles(here / "a")).__enter__()
        with hold(StudyFiles(here / "b")):
            pass
    with hold(StudyFiles(here / "a")):
        pass


def test_damaged_database_is_restored_or_another_is_taken(here: Path) -> None:
    open_storage("sqlite:///study.db").engine.dispose()
    (here / "study.db").rename(here / "backup.db")
    (here / "study.db").write_bytes(b"no database at all " * 500)
    with needs_remedy("{} must be an SQLite database that is whole, but SQLite says: {}; restore it, or start another"):
        open_storage("sqlite:///study.db")
    open_storage("sqlite:///other.db").engine.dispose()
    (here / "backup.db").rename(here / "study.db")
    open_storage("sqlite:///study.db").engine.dispose()


def test_database_in_use_is_waited_for() -> None:
    storage = open_storage("sqlite:///study.db")
    config = StudyConfig("a", storage="sqlite:///study.db")
    lock = filelock.FileLock("study.db.lock")
    with lock, needs_remedy("{} is in use by another run, and SQLite takes one at a time; wait for its end, or"):
        hold_storage(storage, config).__enter__()
    with hold_storage(storage, config):
        pass
    storage.engine.dispose()


def test_storage_that_answers_again_is_used_again() -> None:
    cut = exc.OperationalError("SELECT", {}, sqlite3.OperationalError("database is locked"))
    answers: list[Exception] = [cut]

    def ask() -> str:
        if answers:
            raise answers[0]
        return "done"

    with needs_remedy("the study's storage has not answered for {} s ({}); fix it, then the same command goes on"):
        RetryPolicy(seconds=0.0).call(ask)
    answers.clear()
    assert RetryPolicy(seconds=0.0).call(ask) == "done"


def test_what_is_in_the_place_of_a_record_is_moved_away(here: Path) -> None:
    (here / "confirm").touch()
    (here / "a.json").mkdir()
    with needs_remedy("{} must be a folder, but something else is in its place; move it away"):
        write_text(here / "confirm" / "a.json", "1")
    with needs_remedy("{} must be a file, but a folder is in its place; move it away"):
        write_text(here / "a.json", "1")
    (here / "confirm").rename("elsewhere")
    (here / "a.json").rename("away")
    write_text(here / "confirm" / "a.json", "1")
    write_text(here / "a.json", "1")


def test_damaged_record_is_restored(here: Path) -> None:
    path = here / "test.json"
    path.write_text("{")
    with needs_remedy("{} cannot be read ({}); restore it, or start a new study with --study NAME"):
        read_json(EvaluationRecord, path)
    path.write_text(
        '{"opened": "2026-01-02", "n_images": 1, "accuracies": [1.0], "delivered_accuracy": 1.0, "seconds": 1.0}'
    )
    read_json(EvaluationRecord, path)
