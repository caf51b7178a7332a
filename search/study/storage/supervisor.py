"""Who may write to a study in PostgreSQL? One run at a time, also after an outage of the database.

A run holds its study by an advisory lock, which the database takes back when the connections that have it end, whatever
ends them. Every connection that the run writes through shares in the lock, so no other run gets the study while one of
them lives. One that is made later, after an outage say, asks first whether another run has had the study meanwhile. So
of two runs that both believe to have the study, only one can write.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypedDict

import optuna
import sqlalchemy
from sqlalchemy import event, exc, func, select, text

from fmnist.errors import UserError
from search.cli import shown_url
from search.study.optuna_private import read_study_user_attr
from search.study.storage.opening import StudyStorage
from search.system.machine import name_of_this_process

Claim = Callable[[optuna.Study], None]
HOLDER = "supervisor"  # the study attribute that holds a Holder
SECONDS_TO_NOTICE = 5.0  # the database may take as long to see that a killed run's connections have ended
NO_HOLDER_KNOWN = "its connection has just ended"
# What the connections that have the lock are called.
HOLDERS = text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid::bigint = (hashtext(:kind)::bigint & 4294967295) "
    "AND objid::bigint = (hashtext(:name)::bigint & 4294967295)"
)


class Holder(TypedDict):
    """The run that has a study, or had it last; a study attribute, by its fields' names."""

    run: str  # machine and process
    since: str  # ISO 8601, in UTC
    token: str  # unique


def claim_nothing(study: optuna.Study) -> None:
    """Do nothing: the study is held by a lock of the file system."""


@contextmanager
def hold_in_postgresql(storage: StudyStorage, study_name: str) -> Iterator[Claim]:
    """Be the only run that writes to a study while the block runs.

    Yields:
        A function to call with the study once it is there, before anything else is written to it. From then on an
        outage of the database may pass; until then it ends the run.

    Raises:
        UserError: Another run has the study. After the claim, every call of the storage raises it where another run
            has taken the study over in an outage.
    """
    hold = _Hold(storage, study_name)
    try:
        yield hold.claim
    finally:
        hold.release()


def refuse_held(storage: StudyStorage, study_name: str) -> None:
    """Raise UserError if a run has this study in PostgreSQL."""
    _Hold(storage, study_name, patience=0.0).release()


class _Hold:
    """The lock, on a connection of its own outside the pool, and on each of the pool's once the study is claimed."""

    def __init__(self, storage: StudyStorage, study_name: str, patience: float = SECONDS_TO_NOTICE) -> None:
        self._storage = storage
        self._study_name = study_name
        self._lock = {"kind": "fmnist-search study", "name": study_name}
        self._token = uuid.uuid4().hex
        self._engine = sqlalchemy.create_engine(
            storage.url,
            connect_args=storage.connect_args,
            poolclass=sqlalchemy.NullPool,
            isolation_level="AUTOCOMMIT",
        )
        self._connection = storage.retry_policy.call(self._engine.connect)
        try:
            self._take(patience)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """End what holds the study."""
        if event.contains(self._storage.engine, "engine_connect", self._join):
            event.remove(self._storage.engine, "engine_connect", self._join)
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._connection.close()

    def claim(self, study: optuna.Study) -> None:
        """Record that this run has the study, and let its connections share in the lock from now on."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        study.set_user_attr(HOLDER, Holder(run=name_of_this_process(), since=since, token=self._token))
        try:
            self._call(self._connection, "pg_advisory_lock_shared")
            self._call(self._connection, "pg_advisory_unlock")
        except exc.DBAPIError as error:
            raise UserError(
                f"the connection to {shown_url(self._storage.url)} was cut while study {self._study_name} was opened; "
                f"run the same command again"
            ) from error
        self._storage.remove_session()
        self._storage.engine.dispose()  # connections without a share
        event.listen(self._storage.engine, "engine_connect", self._join)

    def _take(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while not self._call(self._connection, "pg_try_advisory_lock"):
            if time.monotonic() > deadline:
                raise self._refusal()
            time.sleep(0.2)

    def _refusal(self) -> UserError:
        holders = self._connection.execute(HOLDERS, self._lock).scalars().all()
        holder = next(iter(holders), NO_HOLDER_KNOWN)
        return UserError(
            f"study {self._study_name} is in use by another run ({holder}), and takes one at a time; wait for its end, "
            f"or choose another name with --study"
        )

    def _join(self, connection: sqlalchemy.Connection) -> None:
        """Let a connection share in the lock, unless another run has, or had, the study."""
        if self._token in connection.info:
            return
        has_share = self._call(connection, "pg_try_advisory_lock_shared")
        holder: Any = read_study_user_attr(connection, self._study_name, HOLDER)
        connection.commit()
        if not has_share or holder is None or holder["token"] != self._token:
            connection.close()
            who = NO_HOLDER_KNOWN if holder is None or holder["token"] == self._token else holder["run"]
            raise UserError(
                f"study {self._study_name} was taken over by another run ({who}) while its database was away, so this "
                f"one ends; wait for the other's end, then the same command goes on from there"
            )
        connection.info[self._token] = True

    def _call(self, connection: sqlalchemy.Connection, function: str) -> Any:
        key = (func.hashtext(self._lock["kind"]), func.hashtext(self._lock["name"]))
        return connection.scalar(select(getattr(func, function)(*key)))
