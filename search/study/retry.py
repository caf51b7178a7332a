"""Retry what fails for reasons that pass: a database that is away, a full disk."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy

from fmnist.errors import UserError
from search.worker.tasks import Interrupted

PATIENCE_SECONDS = 900.0  # how long a run waits for a database that has gone away, or for space on a full disk
RETRY_SECONDS = (0.2, 5.0)  # first and longest pause between two tries
# What SQLite says of things that pass. Its other errors, such as a missing table, do not.
PASSING_SQLITE = ("locked", "busy", "disk is full", "disk I/O error")
# What SQLAlchemy raises for a session whose connection was cut under it; the next try has a new one.
AFTER_A_CUT = (
    sqlalchemy.exc.PendingRollbackError,
    sqlalchemy.exc.ResourceClosedError,
    sqlalchemy.exc.TimeoutError,
)
T = TypeVar("T")


class RetryPolicy:
    """Calls again what fails because the database is away. Thread-safe.

    say: hears once that it is away, and once that it is back. stop: set it to end the waiting with Interrupted.
    """

    def __init__(
        self,
        say: Callable[[str], None] = lambda text: None,
        stop: threading.Event | None = None,
        seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._say = say
        self._stop = stop or threading.Event()
        self._seconds = seconds
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._returned = -math.inf

    def call(self, function: Callable[[], T]) -> T:
        """The function's result. Raises UserError after `seconds` without an answer."""
        pause, longest = RETRY_SECONDS
        started = time.monotonic()
        while True:
            try:
                result = function()
            except Exception as error:
                if (cause := passing_cause(error)) is None:
                    raise
                if time.monotonic() - started > self._seconds:
                    raise UserError(
                        f"the study's storage has not answered for {self._seconds:.0f} s ({cause}); mend it, then the "
                        f"same command goes on from here"
                    ) from error
                self._is_away(cause)
                if self._stop.wait(pause):
                    raise Interrupted from error
                pause = min(2 * pause, longest)
            else:
                self._is_back()
                return result

    def seconds_since_return(self) -> float:
        """How long it has been there without a break, as far as seen: inf if it never was away, 0 if it is away."""
        with self._lock:
            return time.monotonic() - self._returned if self._away_since is None else 0.0

    def _is_away(self, cause: str) -> None:
        with self._lock:
            if self._away_since is not None:
                return
            self._away_since = time.monotonic()
        self._say(f"the study's storage does not answer ({cause}): waiting for it")

    def _is_back(self) -> None:
        with self._lock:
            if self._away_since is None:
                return
            seconds, self._away_since = time.monotonic() - self._away_since, None
            self._returned = time.monotonic()
        self._say(f"the study's storage answers again after {seconds:.0f} s")


def passing_cause(error: BaseException | None) -> str | None:
    """In words, why the database did not answer, if that is a thing that passes; else None. Optuna wraps its errors."""
    if error is None:
        return None
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        cause = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        if isinstance(error.orig, sqlite3.Error):
            return cause if any(word in cause for word in PASSING_SQLITE) else None
        is_passing = error.connection_invalidated or isinstance(
            error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError
        )
        return cause if is_passing else None
    if isinstance(error, AFTER_A_CUT):
        return str(error).splitlines()[0]
    return passing_cause(error.__cause__)
