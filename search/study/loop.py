"""How a search runs its trials: one after the other on each worker, until the budget or the time is spent."""

from __future__ import annotations

import contextlib
import operator
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from search.records.models import FINISHED_STATES
from search.study.attributes import attributes_of
from search.study.objective import Values
from search.study.optuna_private import id_of
from search.study.requeue import requeue, requeue_running
from search.study.storage.opening import StudyStorage
from search.study.trials import count_by_state
from search.worker.tasks import Interrupted, TrainingFailed, WorkerLost

MAX_EQUAL_FAILURES = 3
AfterTrial = Callable[[optuna.Study, FrozenTrial], None]


class SearchStopped(Exception):
    """Trials fail one after the other for the same reason: the search would only burn its budget."""


def run_trials(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], Values],
    storage: StudyStorage,
    *,
    n_trials: int,
    n_jobs: int = 1,
    stop: threading.Event | None = None,
    timeout: Callable[[], bool] = lambda: False,
    after_trial: AfterTrial = lambda study, trial: None,
    when_idle: Callable[[], None] = lambda: None,
    room: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Run trials until the study has `n_trials` that have ended. This run must hold the study.

    A trial whose objective raises TrainingFailed has failed. Any other error ends the run: `stop` is set, so that the
    trials beside it end too, and what was running waits to run again.

    Args:
        study: Where trials are asked for and told.
        objective: Trains a trial and returns its value, or its values.
        storage: The study's storage.
        n_trials: Trials that the study shall have.
        n_jobs: Trials at a time, each in a thread of this process.
        stop: Set it to end the run.
        timeout: Says, after each trial, whether the search's time is over.
        after_trial: Called with each trial that ended here, from its thread.
        when_idle: Called by each of the n_jobs threads that finds no trial left, the last one included; the end of
            the search waits for its return.
        room: Makes a context that waits until another training may begin, and keeps its room while it lasts.
        say: Called with messages for the user.

    Raises:
        SearchStopped: MAX_EQUAL_FAILURES trials in a row failed for the same reason.
        Interrupted: `stop` was set from outside.
    """
    loop = TrialLoop(
        study, storage, objective, n_trials, stop or threading.Event(), timeout, after_trial, when_idle, room, say
    )
    try:
        with ThreadPoolExecutor(n_jobs) as executor:
            try:
                for future in [executor.submit(loop.work) for _ in range(n_jobs)]:
                    future.result()
            except BaseException:  # raised here from outside: the executor would wait until the search is over
                loop.stop.set()
                raise
    finally:
        with contextlib.suppress(Interrupted):  # the storage is away too; the next start of a run finds what is lost
            requeue_running(study, storage, are_losses=False)
    if loop.error is not None:
        raise loop.error
    if loop.stop.is_set():
        raise Interrupted


class TrialLoop:
    """What the threads of one `run_trials` share: the wish to stop, and the first error that ends the run."""

    def __init__(
        self,
        study: optuna.Study,
        storage: StudyStorage,
        objective: Callable[[optuna.Trial], Values],
        n_trials: int,
        stop: threading.Event,
        timeout: Callable[[], bool],
        after_trial: AfterTrial,
        when_idle: Callable[[], None],
        room: Callable[[], AbstractContextManager[None]],
        say: Callable[[str], None],
    ) -> None:
        self.stop = stop
        self.error: BaseException | None = None
        self._study = study
        self._storage = storage
        self._objective = objective
        self._n_trials = n_trials
        self._timeout = timeout
        self._after_trial = after_trial
        self._when_idle = when_idle
        self._room = room
        self._say = say
        self._is_out_of_time = threading.Event()
        self._taking = threading.Lock()  # held while a trial begins to run here, or ends to
        self._running_ids: set[int] = set()  # of the trials that run here

    def work(self) -> None:
        """Run trial after trial, as one of the threads. Never raises: the first error is kept in `error`."""
        try:
            while not self.stop.is_set() and not self._is_out_of_time.is_set():
                with self._room():
                    trial = self._next_trial()
                    if trial is None:
                        break
                    self._run(trial)
            if not self.stop.is_set():
                self._when_idle()
        except Interrupted:
            self.stop.set()
        except BaseException as error:
            self.error = self.error or error
            self.stop.set()

    def _next_trial(self) -> optuna.Trial | None:
        """Take the next trial, waiting or new; None when the budget is spent or the run is stopping."""
        with self._taking:
            if self.stop.is_set():  # it may have been set while this waited for room
                return None
            n_ended = 0
            for trial in self._study.get_trials(deepcopy=False):
                n_ended += trial.state.is_finished()
                # The database went away after it had begun this trial for us, and before it said so.
                if trial.state == TrialState.RUNNING and id_of(trial) not in self._running_ids:
                    requeue(trial, self._storage, is_loss=False)
            # A study may hold more waiting trials than were asked for now.
            if n_ended + len(self._running_ids) >= self._n_trials:
                return None
            taken = self._study.ask()
            self._running_ids.add(id_of(taken))
            return taken

    def _run(self, trial: optuna.Trial) -> None:
        state, value = TrialState.COMPLETE, None
        try:
            value = self._objective(trial)
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except WorkerLost as lost:
            self._lose(trial, lost)
            return
        except TrainingFailed:
            state = TrialState.FAIL
        # The database may have stored the end of the trial, and gone away before it said so.
        with self._taking, contextlib.suppress(UpdateFinishedTrialError):
            self._running_ids.discard(id_of(trial))
            self._study.tell(trial, value, state)
        self._after_trial(self._study, trial.storage.get_trial(id_of(trial)))
        if state == TrialState.FAIL:
            stop_at_equal_failures(self._study)
        if self._timeout():
            self._is_out_of_time.set()

    def _lose(self, trial: optuna.Trial, lost: WorkerLost) -> None:
        """Queue a trial again whose node has died; one that has lost too many has failed."""
        with self._taking:
            self._running_ids.discard(id_of(trial))
            runs_again = requeue(self._storage.get_trial(id_of(trial)), self._storage, is_loss=True)
        lost.concerns(f"trial {trial.number}", runs_again=runs_again)
        if runs_again:
            return
        self._say(f"trial {trial.number} has failed: every node that ran it was lost, the last time as {lost.reason}")
        self._after_trial(self._study, trial.storage.get_trial(id_of(trial)))


def stop_at_equal_failures(study: optuna.Study) -> None:
    """Raise SearchStopped if the last MAX_EQUAL_FAILURES trials that ended failed for the same reason.

    Diverged trials do not count: the sampler moves away from them.
    """
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    latest = sorted(ended, key=operator.attrgetter("datetime_complete"))[-MAX_EQUAL_FAILURES:]
    if len(latest) < MAX_EQUAL_FAILURES or any(trial.state != TrialState.FAIL for trial in latest):
        return
    reasons = {attributes_of(trial).get("reason", "") for trial in latest}
    if not _has_trained(ended):  # each network takes another amount of memory
        reasons = {re.sub(r"used \d+ MB", "used more memory", reason) for reason in reasons}
    if len(reasons) > 1:
        return
    reason = reasons.pop()
    if "(diverged)" in reason:
        return
    trace = attributes_of(latest[-1]).get("trace", "")
    raise SearchStopped(f"{len(latest)} trials in a row {reason}\n{trace}".rstrip())


def require_a_trial(study: optuna.Study) -> None:
    """Raise SearchStopped if trials of the study have failed and none has been trained: it has found nothing."""
    counts = count_by_state(study)
    if not counts["failed"] or counts["complete"] or counts["pruned"]:
        return
    last = attributes_of(study.get_trials(deepcopy=False, states=(TrialState.FAIL,))[-1])
    n_ended = sum(counts[state] for state in FINISHED_STATES)
    raise SearchStopped(
        f"no trial of study {study.study_name} could be trained: {counts['failed']} of {n_ended} failed, the last as "
        f"{last.get('reason', 'nobody recorded why')}; remove the cause, then the same command with --trials above "
        f"{n_ended} tries more, or start a new study with --study NAME\n{last.get('trace', '')}".rstrip()
    )


def _has_trained(ended: list[FrozenTrial]) -> bool:
    """Whether a trial has trained without failing. Infeasible ones have not."""
    return any(trial.state != TrialState.FAIL and attributes_of(trial).get("n_images") for trial in ended)
