"""Whose trials are whose: a supervisor signs the trials that it takes and keeps them alive; what a dead one has left
waits to run again, under its own number, with its own parameters and so its own seed.

On SQLite a run has the study for itself, so whatever runs at its start is lost. On PostgreSQL a trial is lost when
nobody has spoken for it for a while (`storage.GRACE_SECONDS`, in Optuna's heartbeat table, by the database's clock),
or when its owner was a process of this machine that is gone.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from search.study.retry import passing_cause
from search.study.storage import BudgetSpent, StudyStorage

MAX_LOSSES = 3  # a trial that was running at so many deaths of a run is taken for their cause


def this_process() -> dict[str, Any]:
    """The signature of this process. Plain JSON."""
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


class TrialLeases:
    """What this process has of a study. Thread-safe."""

    def __init__(self, study: optuna.Study, storage: StudyStorage) -> None:
        self._study = study
        self._storage = storage
        self._me = this_process()
        self._lock = threading.Lock()
        self._taking = threading.Lock()  # else a sibling thread takes a trial for lost that is taken, not yet noted
        self._mine: dict[int, int] = {}  # trial id -> number, of the trials under way here
        self._unsigned_since: dict[int, float] = {}  # trial id -> time.monotonic, of running trials without an owner

    def take(self) -> optuna.Trial | None:
        """The next trial, waiting or new, signed; None where none waits and the budget is spent."""
        while True:
            try:
                return self._take()
            except BudgetSpent:
                return None
            except UpdateFinishedTrialError:  # this machine stood still before it had signed; others ran the trial
                continue

    def _take(self) -> optuna.Trial:
        with self._taking:
            trial = self._study.ask()
            with self._lock:
                self._mine[trial._trial_id] = trial.number
        if self._storage.is_shared:
            self._beat(trial._trial_id)
        try:
            trial.set_user_attr("owner", self._me)
        except UpdateFinishedTrialError:
            self.forget(trial)
            raise
        return trial

    def finish(self, trial: optuna.Trial, state: TrialState, value: float | None) -> bool:
        """Tell how a trial ended. One that was taken for lost meanwhile, and waits or runs again, ends by this: work
        that is done counts. Returns False where another supervisor has ended it before."""
        try:
            while True:
                try:
                    self._study.tell(trial, value, state)
                    return True
                except UpdateFinishedTrialError:
                    return False
                except ValueError:
                    now = self._storage.get_trial(trial._trial_id).state
                    if now.is_finished():
                        return False
                    if now != TrialState.WAITING:
                        raise
                    self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        finally:
            self.forget(trial)

    def forget(self, trial: optuna.Trial) -> None:
        with self._lock:
            self._mine.pop(trial._trial_id, None)

    def release(self) -> list[int]:
        """Let the trials that are under way here wait for another run. Returns their numbers."""
        with self._lock:
            mine = dict(self._mine)
            self._mine.clear()
        return [number for trial_id, number in mine.items() if self._requeue(self._storage.get_trial(trial_id), 0)]

    def someone_else_runs(self) -> bool:
        """Whether a trial runs that is not of this process."""
        with self._taking, self._lock:
            return any(trial._trial_id not in self._mine for trial in self._running())

    def requeue_lost(self) -> list[int]:
        """Let trials run again whose supervisor is dead. Returns their numbers. One that was lost MAX_LOSSES times has
        likely killed the runs itself: it is failed, with the reason."""
        with self._taking:
            with self._lock:
                mine = set(self._mine)
            running = [trial for trial in self._running() if trial._trial_id not in mine]
            ids_of_lost = self._ids_of_lost(running)
            return [trial.number for trial in running if trial._trial_id in ids_of_lost and self._requeue(trial, 1)]

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Speak for the trials under way here, every now and then, while the block runs."""
        interval = self._storage.get_heartbeat_interval()
        if interval is None:
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._beat_on, args=(ended, interval), daemon=True, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _ids_of_lost(self, running: list[FrozenTrial]) -> set[int]:
        if not self._storage.is_shared:
            return {trial._trial_id for trial in running}
        lost = {trial._trial_id for trial in running if _is_of_dead_process(trial.user_attrs.get("owner"))}
        lost |= self._unsigned_for_long(running)
        # After an outage of the database nobody has spoken for a while: everyone gets the time to.
        if self._storage.patience.seconds_since_return() > self._storage.grace_period:
            lost |= set(self._storage._get_stale_trial_ids(self._study._study_id))
        return lost

    def _unsigned_for_long(self, running: list[FrozenTrial]) -> set[int]:
        """Trials whose supervisor has died, or lost its connection, between taking and signing them."""
        now = time.monotonic()
        unsigned = {trial._trial_id for trial in running if trial.user_attrs.get("owner") is None}
        with self._lock:
            self._unsigned_since = {each: self._unsigned_since.get(each, now) for each in unsigned}
            return {each for each, since in self._unsigned_since.items() if now - since > self._storage.grace_period}

    def _requeue(self, trial: FrozenTrial, n_more_losses: int) -> bool:
        owner = trial.user_attrs.get("owner")
        n_losses = trial.user_attrs.get("n_losses", 0) + n_more_losses
        if n_losses < MAX_LOSSES:
            return self._storage.requeue(trial._trial_id, owner, n_losses)
        try:
            self._storage.set_trial_user_attr(trial._trial_id, "n_losses", n_losses)
            reason = f"failed (lost): it was running at {n_losses} deaths of a run"
            self._storage.set_trial_user_attr(trial._trial_id, "reason", reason)
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False
        return True

    def _beat_on(self, ended: threading.Event, interval: float) -> None:
        while not ended.wait(interval):
            with self._lock:
                mine = list(self._mine)
            for trial_id in mine:
                self._beat(trial_id)

    def _beat(self, trial_id: int) -> None:
        """A heartbeat that fails because the database is away is made up for by the next: Optuna's own thread would end
        there, and another machine would take a live trial for dead."""
        try:
            self._storage.record_heartbeat(trial_id)
        except Exception as error:
            if passing_cause(error) is None:
                raise


def _is_of_dead_process(owner: dict[str, Any] | None) -> bool:
    """Whether the owner was a process of this machine that is gone."""
    if owner is None or owner["host"] != socket.gethostname():
        return False
    if owner["pid"] == os.getpid():
        return owner != this_process()
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) > 1
    except psutil.NoSuchProcess:
        return True
