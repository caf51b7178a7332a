"""What is done when the database does not answer: wait and try again, for how long, and what is said about it."""

from __future__ import annotations

import functools
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from sqlalchemy import exc

from fmnist.errors import UserError
from search.worker.tasks import Interrupted

LONGEST_OUTAGE_SECONDS = 900.0  # how long a run waits for a database that is away, or for space on a full disk
RETRY_SECONDS = (0.2, 5.0)  # first and longest pause between two tries
# SQLite's messages for errors that pass. Its other errors, such as a missing table, do not.
PASSING_SQLITE = ("locked", "busy", "disk is full", "disk I/O error")
# What SQLAlchemy raises for a session whose connection was cut; the next try opens a new one.
AFTER_A_CUT = (
    exc.PendingRollbackError,
    exc.ResourceClosedError,
    exc.TimeoutError,
)
T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])


class RetryPolicy:
    """Repeats calls that fail because the database is away, with growing pauses. Thread-safe.

    Args:
        say: Called once when the database is away, and once when it is back.
        stop: Set it to end the waiting with Interrupted.
        seconds: How long one call may go unanswered.
    """

    def __init__(
        self,
        say: Callable[[str], None] = lambda text: None,
        stop: threading.Event | None = None,
        seconds: float = LONGEST_OUTAGE_SECONDS,
    ) -> None:
        self._say = say
        self._stop = stop or threading.Event()
        self._seconds = seconds
        self.n_retries = 0  # so far, of all calls
        self._lock = threading.Lock()
        self._away_since: float | None = None

    def call(self, function: Callable[[], T]) -> T:
        """Call the function until the database answers, and return its result.

        Raises:
            UserError: The database has not answered for `seconds`.
            Interrupted: `stop` was set.
        """
        pause, longest = RETRY_SECONDS
        started = time.monotonic()
        while True:
            try:
                result = function()
            except Exception as error:
                cause = passing_cause(error)
                if cause is None:
                    raise
                if time.monotonic() - started > self._seconds:
                    raise UserError(
                        f"the study's storage has not answered for {self._seconds:.0f} s ({cause}); fix it, then the "
                        f"same command goes on from here"
                    ) from error
                self._note_outage(cause)
                if self._stop.wait(pause):
                    raise Interrupted from error
                pause = min(2 * pause, longest)
            else:
                self._note_answer()
                return result

    def _note_outage(self, cause: str) -> None:
        with self._lock:
            self.n_retries += 1
            if self._away_since is not None:
                return
            self._away_since = time.monotonic()
        self._say(f"the study's storage does not answer ({cause}): waiting for it")

    def _note_answer(self) -> None:
        with self._lock:
            if self._away_since is None:
                return
            seconds = time.monotonic() - self._away_since
            self._away_since = None
        self._say(f"the study's storage answers again after {seconds:.0f} s")


def retried(method: Method) -> Method:
    """Decorate a storage's method: its calls go through the storage's `retry_policy`."""

    @functools.wraps(method)
    def call(storage: Any, *arguments: Any, **named: Any) -> Any:
        return storage.retry_policy.call(lambda: method(storage, *arguments, **named))

    return cast(Method, call)


def passing_cause(error: BaseException | None) -> str | None:
    """Say why the database did not answer, if the cause is one that passes; None for any other error.

    Optuna raises its own errors from the database's, so the causes of an error count too.
    """
    if error is None:
        return None
    if isinstance(error, AFTER_A_CUT):
        return str(error).splitlines()[0]
    if not isinstance(error, exc.DBAPIError):
        return passing_cause(error.__cause__)
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    if isinstance(error.orig, sqlite3.Error):
        passes = any(message in lines[0] for message in PASSING_SQLITE)
    else:
        passes = error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)
    return lines[0] if passes else None
