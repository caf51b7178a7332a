"""Run trials until the budget is spent, the time is up or failures repeat."""

from __future__ import annotations

import contextlib
import re
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from search.study.heartbeat import TrialLeases
from search.study.storage import StudyStorage
from search.worker.tasks import Interrupted, TrainingFailed

MAX_EQUAL_FAILURES = 3
POLL_SECONDS = 1.0  # how often a supervisor without work looks whether another's trial got lost
AfterTrial = Callable[[optuna.Study, FrozenTrial], None]


class SearchStopped(Exception):
    """Trials fail one after the other for the same reason: the search would only burn its budget."""


def run_trials(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    storage: StudyStorage,
    *,
    n_trials: int,
    n_jobs: int = 1,
    stop: threading.Event | None = None,
    timeout: Callable[[], bool] = lambda: False,
    after_trial: AfterTrial = lambda study, trial: None,
    when_idle: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Run trials until the study has `n_trials` that have ended, whichever supervisor ran them, or `timeout()` says
    that time is over.

    A TrainingFailed of the objective is a failed trial; MAX_EQUAL_FAILURES equal ones in a row raise SearchStopped.
    Whatever else the objective raises ends the run: `stop` is set, so that the trials beside it end too, and what was
    running waits to run again. Raises Interrupted where `stop` was set from outside.

    when_idle: called by each of the n_jobs threads that finds no trial left, the last one included; the end of the
    search waits for its return.
    """
    storage.budget = n_trials
    # A trial that runs again repeats its first constraints and reports; Optuna keeps the old ones and warns each time.
    warnings.filterwarnings("ignore", message=".*(already set|already reported).*")
    ownership = TrialLeases(study, storage)
    run = _Run(study, ownership, objective, n_trials, stop or threading.Event(), timeout, after_trial, when_idle, say)
    try:
        with ownership.kept_alive(), ThreadPoolExecutor(n_jobs) as executor:
            for future in [executor.submit(run.work) for _ in range(n_jobs)]:
                future.result()
    finally:
        with contextlib.suppress(Interrupted):  # the storage is away too; the next start of a run finds what is lost
            ownership.release()
    if run.error is not None:
        raise run.error
    if run.stop.is_set():
        raise Interrupted


class _Run:
    """What the threads of one `run_trials` share: the wish to stop, and the first error that ends the run."""

    def __init__(
        self,
        study: optuna.Study,
        ownership: TrialLeases,
        objective: Callable[[optuna.Trial], float],
        n_trials: int,
        stop: threading.Event,
        timeout: Callable[[], bool],
        after_trial: AfterTrial,
        when_idle: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self.stop = stop
        self.error: BaseException | None = None
        self._study = study
        self._ownership = ownership
        self._objective = objective
        self._n_trials = n_trials
        self._timeout = timeout
        self._after_trial = after_trial
        self._when_idle = when_idle
        self._say = say
        self._is_over = threading.Event()  # the time, for all threads
        self._has_said_that_it_waits = threading.Event()

    def work(self) -> None:
        """One thread: trial after trial. Never raises; see `error`."""
        try:
            while not self.stop.is_set() and not self._is_over.is_set():
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
        """None where there is none and will be none, or the run is to stop. While others still run the last trials of
        the study, it waits: theirs may get lost."""
        while True:
            self._ownership.requeue_lost()
            trial = self._ownership.take() if self._n_open() > 0 else None
            if trial is not None or not self._ownership.someone_else_runs():
                return trial
            if not self._has_said_that_it_waits.is_set():
                self._has_said_that_it_waits.set()
                self._say("all trials are taken; waiting for those that other machines still run")
            if self.stop.wait(POLL_SECONDS) or self._timeout():
                return None

    def _n_open(self) -> int:
        """How many trials may still be taken. A study may hold more waiting ones than were asked for now."""
        trials = self._study.get_trials(deepcopy=False)
        return self._n_trials - sum(trial.state != TrialState.WAITING for trial in trials)

    def _run(self, trial: optuna.Trial) -> None:
        try:
            state, value = TrialState.COMPLETE, self._objective(trial)
        except optuna.TrialPruned:
            state, value = TrialState.PRUNED, None
        except TrainingFailed:
            state, value = TrialState.FAIL, None
        except UpdateFinishedTrialError:
            self._ownership.forget(trial)
            self._say(f"trial {trial.number} has been finished by another supervisor, which took ours for dead")
            return
        if self._ownership.finish(trial, state, value):
            self._after(trial)

    def _after(self, trial: optuna.Trial) -> None:
        finished = self._study._storage.get_trial(trial._trial_id)
        self._after_trial(self._study, finished)
        if finished.state == TrialState.FAIL:
            _stop_at_equal_failures(self._study)
        if self._timeout():
            self._is_over.set()


def _stop_at_equal_failures(study: optuna.Study) -> None:
    """Diverged trials are not counted: the sampler moves away from them."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    latest = sorted(finished, key=lambda trial: trial.datetime_complete)[-MAX_EQUAL_FAILURES:]
    failed = [trial for trial in latest if trial.state == TrialState.FAIL]
    reasons = {trial.user_attrs.get("reason", "") for trial in failed}
    has_trained = any(trial.user_attrs.get("n_images") for trial in finished if trial.state != TrialState.FAIL)
    if not has_trained:  # infeasible ones do not count; each network takes another amount of memory
        reasons = {re.sub(r"used \d+ MB", "used more memory", reason) for reason in reasons}
    if len(failed) == MAX_EQUAL_FAILURES and len(reasons) == 1 and "(diverged)" not in min(reasons):
        trace = latest[-1].user_attrs.get("trace", "")
        raise SearchStopped(f"{len(failed)} trials in a row {reasons.pop()}\n{trace}".rstrip())
