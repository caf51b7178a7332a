"""The storage: patience with what passes, a budget that holds, network file systems refused, passwords kept."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from fmnist.errors import UserError
from search.cli import without_password
from search.machine import network_file_system
from search.study.locks import hold_storage
from search.study.retry import RetryPolicy, passing_cause
from search.study.storage import AlreadyQueued, BudgetSpent, open_storage
from search.worker.tasks import Interrupted


def sqlite_error(message: str) -> Exception:
    return sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError(message))


def wrapped(error: Exception) -> Exception:
    """As Optuna raises it."""
    outer = optuna.exceptions.StorageInternalError("during the commit")
    outer.__cause__ = error
    return outer


class Flaky:
    """Fails so many times, then gives "done"."""

    def __init__(self, n_failures: int, error: Exception) -> None:
        self.n_failures, self.error = n_failures, error

    def __call__(self) -> str:
        self.n_failures -= 1
        if self.n_failures >= 0:
            raise self.error
        return "done"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.study.retry.RETRY_SECONDS", (0.01, 0.02))


@pytest.mark.parametrize("message", ["database is locked", "database or disk is full", "disk I/O error"])
def test_what_passes_is_waited_for_and_said_once(said: list[str], message: str) -> None:
    assert RetryPolicy(said.append).call(Flaky(3, wrapped(sqlite_error(message)))) == "done"
    assert len(said) == 2
    assert message in said[0]


@pytest.mark.parametrize("error", [wrapped(sqlite_error("no such table: trials")), KeyError("a bug")])
def test_what_does_not_pass_is_raised_at_once(said: list[str], error: Exception) -> None:
    with pytest.raises(type(error)):
        RetryPolicy(said.append).call(Flaky(1, error))
    assert said == []


def test_patience_has_an_end_and_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"database is locked.*the same command goes on from here"):
        RetryPolicy(seconds=0.05).call(Flaky(1000, sqlite_error("database is locked")))


def test_a_stop_ends_the_waiting() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        RetryPolicy(stop=stop).call(Flaky(1000, sqlite_error("database is locked")))


def test_time_since_the_last_outage_is_known() -> None:
    patience = RetryPolicy()
    assert patience.seconds_since_return() == float("inf")
    patience.call(Flaky(1, sqlite_error("database is locked")))
    assert 0 <= patience.seconds_since_return() < 10


def test_connection_that_the_server_has_cut_passes() -> None:
    cut = sqlalchemy.exc.DBAPIError("SELECT", {}, Exception("terminating connection"), connection_invalidated=True)
    assert passing_cause(wrapped(cut)) == "terminating connection"


def test_session_whose_connection_was_cut_is_tried_again() -> None:
    pending = wrapped(sqlalchemy.exc.PendingRollbackError("Can't reconnect"))
    assert RetryPolicy().call(Flaky(2, pending)) == "done"


def test_budget_holds_in_one_file(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    study = optuna.create_study(storage=storage)
    storage.budget = 2
    study.enqueue_trial({}, user_attrs={"origin": "default"})
    with pytest.raises(AlreadyQueued):
        study.enqueue_trial({}, user_attrs={"origin": "default"})
    study.ask(), study.ask()
    with pytest.raises(BudgetSpent):
        study.ask()
    assert len(study.trials) == 2


def test_trial_is_requeued_only_from_the_owner_it_had(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    trial.set_user_attr("owner", {"pid": 1})
    assert not storage.requeue(trial._trial_id, {"pid": 2}, 1)
    assert storage.requeue(trial._trial_id, {"pid": 1}, 1)
    assert (study.trials[0].state, study.trials[0].user_attrs["n_losses"]) == (TrialState.WAITING, 1)


def test_sqlite_file_takes_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = (open_storage(f"sqlite:///{tmp_path}/s.db") for _ in range(2))
    with hold_storage(first), pytest.raises(UserError, match="in use by another run"), hold_storage(second):
        pass


def mounts(*pairs: tuple[str, str]) -> list[SimpleNamespace]:
    return [SimpleNamespace(mountpoint=mountpoint, fstype=fstype) for mountpoint, fstype in pairs]


@pytest.mark.parametrize("fstype", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"])
def test_network_file_system_is_noticed(fstype: str) -> None:
    partitions = mounts(("/", "ext4"), ("/mnt/team", fstype))
    assert network_file_system(Path("/mnt/team/studies/s.db"), partitions) == fstype
    assert network_file_system(Path("/mnt/teammates/s.db"), partitions) is None


def test_local_disk_within_a_network_file_system_is_local() -> None:
    partitions = mounts(("/", "nfs4"), ("/tmp", "tmpfs"))
    assert network_file_system(Path("/tmp/s.db"), partitions) is None


def test_study_on_a_network_file_system_is_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.machine.psutil.disk_partitions", lambda all: mounts(("/", "nfs4")))
    with pytest.raises(UserError, match=r"network file system.*nfs4.*--studies-dir, or use --storage postgresql"):
        open_storage(f"sqlite:///{tmp_path}/s.db")


@pytest.mark.parametrize(
    ("word", "url", "password"),
    [
        ("postgresql://u:a%40b@h/d", "postgresql://u@h/d", "a@b"),
        ("--storage=postgresql+psycopg://u:p@h:1/d?x=1", "--storage=postgresql+psycopg://u@h:1/d?x=1", "p"),
        ("postgresql://u@h/d", "postgresql://u@h/d", None),
        ("postgresql://h/d", "postgresql://h/d", None),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db", None),
        ("--trials", "--trials", None),
    ],
)
def test_password_is_taken_out_of_a_word(word: str, url: str, password: str | None) -> None:
    assert without_password(word) == (url, password)
