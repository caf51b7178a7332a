"""Retries: what passes is waited for, what does not is raised at once."""

from __future__ import annotations

import sqlite3
import threading

import optuna
import pytest
import sqlalchemy

from fmnist.errors import UserError
from search.study.storage.retry import RetryPolicy, passing_cause
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
    monkeypatch.setattr("search.study.storage.retry.RETRY_SECONDS", (0.01, 0.02))


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


def test_connection_that_the_server_has_cut_passes() -> None:
    cut = sqlalchemy.exc.DBAPIError("SELECT", {}, Exception("terminating connection"), connection_invalidated=True)
    assert passing_cause(wrapped(cut)) == "terminating connection"


def test_session_whose_connection_was_cut_is_tried_again() -> None:
    pending = wrapped(sqlalchemy.exc.PendingRollbackError("Can't reconnect"))
    assert RetryPolicy().call(Flaky(2, pending)) == "done"
