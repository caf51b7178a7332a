"""Trial ownership: which supervisor runs a trial, and what becomes of the trials of a dead one.

A supervisor records itself on the trials it runs and, on PostgreSQL, sends heartbeats for them. Trials of a dead
supervisor are queued again under their own number, with their own parameters and so their own seed. On SQLite a run
has the study for itself, so whatever is running at its start is lost. On PostgreSQL a trial is lost when its heartbeat
is older than `storage.GRACE_SECONDS` by the database's clock, or when its owner was a process of this machine that is
gone.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from search.study.attributes import Owner, attributes_of, set_attributes
from search.study.optuna_private import ask, id_of
from search.study.retry import passing_cause
from search.study.storage import BudgetSpent, StudyStorage
from search.worker.tasks import MAX_LOSSES


def this_process() -> Owner:
    """Describe this process, as the owner of trials."""
    process = psutil.Process()
    return Owner(host=socket.gethostname(), pid=process.pid, started=process.create_time())


def has_ended(owner: Owner | None) -> bool:
    """Whether the owner was a process of this machine that is gone. Nobody can tell of other machines."""
    if owner is None or owner["host"] != socket.gethostname():
        return False
    if owner["pid"] == os.getpid():
        return owner != this_process()
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) > 1
    except psutil.NoSuchProcess:
        return True


class TrialLeases:
    """The trials that this process runs in a study. Thread-safe."""

    def __init__(self, study: optuna.Study, storage: StudyStorage) -> None:
        self._study = study
        self._storage = storage
        self._me = this_process()
        self._lock = threading.Lock()
        # Held from asking for a trial until it is noted here: another thread would take it for lost in between.
        self._acquiring = threading.Lock()
        self._numbers: dict[int, int] = {}  # of the trials that run here, by their key in the storage
        self._unowned_since: dict[int, float] = {}  # time.monotonic, of running trials without an owner, by key

    def acquire(self) -> optuna.Trial | None:
        """Take the next trial, waiting or new, as this process's own.

        Returns None when no trial waits and the budget is spent.
        """
        while True:
            with self._acquiring:
                try:
                    trial = ask(self._study)
                except BudgetSpent:
                    return None
                with self._lock:
                    self._numbers[id_of(trial)] = trial.number
            if self._storage.is_shared:
                self.send_heartbeat(id_of(trial))
            try:
                set_attributes(trial, owner=self._me)
            except UpdateFinishedTrialError:  # this machine stood still before it signed; others ran the trial
                self.forget(trial)
            else:
                return trial

    def finish(self, trial: optuna.Trial, state: TrialState, value: float | None) -> bool:
        """Store how a trial ended, also if it was taken for lost meanwhile and waits or runs again: done is done.

        Returns False if another supervisor has finished it first.
        """
        try:
            while True:
                try:
                    self._study.tell(trial, value, state)
                    return True
                except UpdateFinishedTrialError:
                    return False
                except ValueError:
                    now = self._storage.get_trial(id_of(trial)).state
                    if now.is_finished():
                        return False
                    if now != TrialState.WAITING:
                        raise
                    self._storage.set_trial_state_values(id_of(trial), TrialState.RUNNING)
        finally:
            self.forget(trial)

    def lose(self, trial: optuna.Trial) -> bool:
        """Queue a trial again that was lost with the node that trained it.

        Returns False where it was lost MAX_LOSSES times, and so has failed.
        """
        with self._acquiring:  # else another thread would take it for lost, and run it, in between
            self.forget(trial)
            self._requeue(self._storage.get_trial(id_of(trial)), n_more_losses=1)
        return self._storage.get_trial(id_of(trial)).state != TrialState.FAIL

    def forget(self, trial: optuna.Trial) -> None:
        """Give up a trial that another supervisor has."""
        with self._lock:
            self._numbers.pop(id_of(trial), None)

    def release(self) -> list[int]:
        """Queue all trials that still run here for another run. Returns their numbers."""
        with self._lock:
            numbers = dict(self._numbers)
            self._numbers.clear()
        released = []
        for trial_id, number in numbers.items():
            if self._requeue(self._storage.get_trial(trial_id), n_more_losses=0):
                released.append(number)
        return released

    def someone_else_runs(self) -> bool:
        """Whether a trial is running that is not this process's own."""
        with self._acquiring:
            return bool(self._running_elsewhere())

    def requeue_lost(self) -> list[int]:
        """Queue the trials of dead supervisors again. Returns their numbers.

        A trial that was lost MAX_LOSSES times has probably killed the runs itself: it fails, with the reason.
        """
        requeued = []
        with self._acquiring:
            running = self._running_elsewhere()
            lost_ids = self._find_lost(running)
            for trial in running:
                if id_of(trial) in lost_ids and self._requeue(trial, n_more_losses=1):
                    requeued.append(trial.number)
        return requeued

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Send heartbeats for the trials that run here, from a thread, while the block runs."""
        interval = self._storage.get_heartbeat_interval()
        if interval is None:
            yield
            return
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(interval):
                with self._lock:
                    trial_ids = list(self._numbers)
                for trial_id in trial_ids:
                    self.send_heartbeat(trial_id)

        thread = threading.Thread(target=beat, daemon=True, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def send_heartbeat(self, trial_id: int) -> None:
        """Tell the other supervisors that a trial is alive, unless the database is away: the next heartbeat makes up.

        Optuna's own thread ends at a failed write, and another machine would take a live trial for dead.
        """
        try:
            self._storage.record_heartbeat(trial_id)
        except Exception as error:
            if passing_cause(error) is None:
                raise

    def _running_elsewhere(self) -> list[FrozenTrial]:
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        with self._lock:
            return [trial for trial in running if id_of(trial) not in self._numbers]

    def _find_lost(self, running: list[FrozenTrial]) -> set[int]:
        """Keys of trials whose supervisor is dead, among those that run elsewhere."""
        if not self._storage.is_shared:
            return {id_of(trial) for trial in running}
        now = time.monotonic()
        lost: set[int] = set()
        unowned_since: dict[int, float] = {}
        for trial in running:
            trial_id, owner = id_of(trial), attributes_of(trial).get("owner")
            if has_ended(owner):
                lost.add(trial_id)
            if owner is None:  # its supervisor has not signed yet, or died between taking and signing
                since = self._unowned_since.get(trial_id, now)
                unowned_since[trial_id] = since
                if now - since > self._grace_seconds:
                    lost.add(trial_id)
        self._unowned_since = unowned_since
        # After an outage of the database nobody has sent a heartbeat for a while: everyone gets the time to.
        if self._storage.retry_policy.seconds_since_return() > self._grace_seconds:
            lost.update(self._storage.stale_trial_ids(self._study))
        return lost

    @property
    def _grace_seconds(self) -> float:
        return self._storage.grace_period or 0.0

    def _requeue(self, trial: FrozenTrial, n_more_losses: int) -> bool:
        attributes = attributes_of(trial)
        trial_id, n_losses = id_of(trial), attributes.get("n_losses", 0) + n_more_losses
        if n_losses < MAX_LOSSES:
            return self._storage.requeue(trial_id, attributes.get("owner"), n_losses)
        try:
            self._storage.set_trial_user_attr(trial_id, "n_losses", n_losses)
            reason = f"failed (lost): it was running at {n_losses} deaths of a run or a node"
            self._storage.set_trial_user_attr(trial_id, "reason", reason)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False
        return True
