"""The study: created or resumed, run to an exact number of trials, and read back as records.

Any callable that takes an `optuna.Trial` and returns a value to maximise serves as the objective.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import re
import threading
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter

from fmnist.cli import nearest_existing
from fmnist.errors import UserError
from fmnist.training.history import HistoryPoint
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.records.io import flat, read_plain, write_text
from search.records.models import TrialRecord
from search.space.space import SearchSpace
from search.study.heartbeat import Ownership, this_process
from search.study.storage import AlreadyQueued, BudgetSpent, StudyStorage, open_storage, shown_url
from search.study.strategy import build_pruner, build_sampler
from search.worker.tasks import Interrupted, TrainingFailed

STUDY_FORMAT = 1  # raised when a study of an older tool can no longer be resumed
OWN_STORAGE = "the study's folder"  # what a study's configuration calls an SQLite file in it
MAX_EQUAL_FAILURES = 3
POLL_SECONDS = 1.0  # how often a supervisor without work looks whether another's trial got lost

Callback = Callable[[optuna.Study, FrozenTrial], None]


class SearchStopped(Exception):
    """Trials fail one after the other for the same reason: the search would only burn its budget."""


# --- the study's folder and what it was made with


@contextmanager
def hold(files: StudyFiles) -> Iterator[None]:
    """Own the study's folder while the block runs. Raises UserError where it cannot be written or another run has
    it."""
    try:
        files.root.mkdir(parents=True, exist_ok=True)
        lock = _locked(files.lock)
    except filelock.Timeout:
        raise UserError(
            f"{files.root} is in use by another run; wait for its end, or choose another name with --study"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write to {files.root} ({error.strerror or error}); choose a folder of yours with --studies-dir"
        ) from None
    with lock:
        yield


@contextmanager
def hold_storage(storage: StudyStorage) -> Iterator[None]:
    """Be the only run that writes to an SQLite file while the block runs; PostgreSQL takes any number. Raises
    UserError."""
    if storage.is_shared:
        yield
        return
    with _hold_sqlite(Path(storage.engine.url.database)):
        yield


@contextmanager
def _hold_sqlite(path: Path) -> Iterator[None]:
    try:
        lock = _locked(_lock_beside(path))
    except filelock.Timeout:
        raise UserError(
            f"{path} is in use by another run, and SQLite takes one at a time; wait for its end, or use --storage "
            f"postgresql://..."
        ) from None
    with lock:
        yield


def _lock_beside(sqlite: Path) -> Path:
    return Path(f"{sqlite}.lock")


def require_free(files: StudyFiles, sqlite: Path | None) -> None:
    """That a run could hold the study's folder and this SQLite file. Nothing is made: where there is no lock, nobody
    holds it. Raises UserError."""
    if os.path.exists(files.lock):
        with hold(files):
            pass
    if sqlite is not None and os.path.exists(_lock_beside(sqlite)):
        with _hold_sqlite(sqlite):
            pass
    _require_writable(files.root)
    if sqlite is not None:
        _require_writable(sqlite.parent)


def _require_writable(folder: Path) -> None:
    """Of a folder that is not there, the nearest one above it."""
    nearest = nearest_existing(folder)
    if not os.path.isdir(nearest):
        raise UserError(f"cannot write to {folder} ({nearest} is no folder); choose a folder of yours")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to {folder} ({nearest} may not be written to); choose a folder of yours")


def _locked(path: Path) -> filelock.BaseFileLock:
    lock = filelock.FileLock(path, timeout=0)
    lock.acquire()
    return lock


def check_identity(files: StudyFiles, identity: dict[str, Any]) -> None:
    """Store what a new study is made with; of an old one, refuse to go on with anything else.

    identity: plain JSON. Raises UserError that names the first difference.
    """
    identity = _with_format(identity)
    if not files.config.exists():
        write_text(files.config, json.dumps(identity, indent=2) + "\n")
        return
    _refuse_difference(files.root.name, read_plain(files.config), identity)


def check_shared_identity(study: optuna.Study, identity: dict[str, Any]) -> None:
    """The same between machines: what a study is made with is stored with its trials too. Raises UserError."""
    identity = _shared(identity)
    stored = study.user_attrs.get("identity")
    if stored is None:
        study.set_user_attr("identity", identity)
    else:
        _refuse_difference(study.study_name, stored, identity)


def require_identity(files: StudyFiles, study: optuna.Study | None, identity: dict[str, Any]) -> None:
    """Refuse what both of these would refuse, and store nothing. study: None where there is none yet. Raises
    UserError."""
    if files.config.exists():
        _refuse_difference(files.root.name, read_plain(files.config), _with_format(identity))
    stored = None if study is None else study.user_attrs.get("identity")
    if stored is not None:
        _refuse_difference(study.study_name, stored, _shared(identity))


def _with_format(identity: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps({"format": STUDY_FORMAT, **identity}))


def _shared(identity: dict[str, Any]) -> dict[str, Any]:
    own_to_a_machine = ("storage",)  # each may reach the database by another address
    return json.loads(json.dumps({key: value for key, value in identity.items() if key not in own_to_a_machine}))


def _refuse_difference(name: str, stored: dict[str, Any], identity: dict[str, Any]) -> None:
    before, now = flat(stored), flat(identity)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise UserError(
                f"study {name} was made with {key} = {before.get(key)}, but now it is {now.get(key)}; "
                f"restore it, or start a new study with --study NAME"
            )


# --- storage


def storage_url(config: StudyConfig, files: StudyFiles) -> str:
    return config.storage or f"sqlite:///{files.storage.absolute()}"


def find_study(name: str, storage: StudyStorage) -> optuna.Study | None:
    """None where the storage has none of this name."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def open_finished(files: StudyFiles, storage: str | None = None) -> optuna.Study:
    """A study as it is, to be read: nothing is repaired or queued, so a run may use it at the same time.

    storage: URL; None: as the study's configuration says. Raises UserError where the trials are not there.
    """
    config = read_plain(files.config)
    return open_by_name(config["study"], storage or _stored_url(files, config["storage"]))


def open_by_name(name: str, url: str) -> optuna.Study:
    """The same of a study that may have no folder here."""
    try:
        return optuna.load_study(study_name=name, storage=open_storage(url, must_exist=True))
    except KeyError:
        raise UserError(f"{shown_url(url)} holds no study {name}; pass the --storage that has its trials") from None


def _stored_url(files: StudyFiles, stored: str) -> str:
    if stored == OWN_STORAGE:
        return f"sqlite:///{files.storage.absolute()}"
    if ":***@" in stored:
        raise UserError(
            f"the trials of {files.root.name} are at {stored}, whose password is not stored; pass the address without "
            f"it as --storage, and the password in ~/.pgpass or $PGPASSWORD"
        )
    return stored


# --- create or resume


def create_or_resume(
    config: StudyConfig, space: SearchSpace, storage: StudyStorage, identity: dict[str, Any] | None = None
) -> optuna.Study:
    """The study, repaired (see `Ownership.requeue_lost`) and with the portfolio waiting in front of the sampler's
    trials. identity: see `check_shared_identity`; None: it is not looked at."""
    study = optuna.create_study(study_name=config.study, storage=storage, direction="maximize", load_if_exists=True)
    if identity is not None:
        check_shared_identity(study, identity)
    storage.budget = max(config.trials, len(study.get_trials(deepcopy=False)))
    Ownership(study, storage).requeue_lost()
    study.sampler = build_sampler(config.sampler, config.seed, *_draws_before(study, storage))
    study.pruner = build_pruner(config.pruner, space.fidelity)
    for entry in space.portfolio:
        with contextlib.suppress(AlreadyQueued, BudgetSpent):
            study.enqueue_trial(entry.params, user_attrs={"origin": entry.name})
    return study


def _draws_before(study: optuna.Study, storage: StudyStorage) -> tuple[int, ...]:
    """What sets this run's draws apart from those of the runs before it and beside it."""
    n_before = len(study.get_trials(deepcopy=False))
    return (n_before, zlib.crc32(json.dumps(this_process()).encode())) if storage.is_shared else (n_before,)


# --- run


def run_trials(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    storage: StudyStorage,
    *,
    n_trials: int,
    n_jobs: int = 1,
    stop: threading.Event | None = None,
    timeout: Callable[[], bool] = lambda: False,
    after_trial: Callback = lambda study, trial: None,
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
    ownership = Ownership(study, storage)
    run = _Run(study, ownership, objective, n_trials, stop or threading.Event(), timeout, after_trial, when_idle, say)
    try:
        with ownership.kept_alive(), ThreadPoolExecutor(n_jobs) as executor:
            for future in [executor.submit(run.work) for _ in range(n_jobs)]:
                future.result()
    finally:
        with contextlib.suppress(Interrupted):  # the storage is away too; the next start of a run finds what is lost
            ownership.give_back()
    if run.error is not None:
        raise run.error
    if run.stop.is_set():
        raise Interrupted


class _Run:
    """What the threads of one `run_trials` share: the wish to stop, and the first error that ends the run."""

    def __init__(
        self,
        study: optuna.Study,
        ownership: Ownership,
        objective: Callable[[optuna.Trial], float],
        n_trials: int,
        stop: threading.Event,
        timeout: Callable[[], bool],
        after_trial: Callback,
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


# --- read


def read_trials(study: optuna.Study) -> list[TrialRecord]:
    """Every trial as a record, by number."""
    return [_record_of(trial) for trial in study.get_trials(deepcopy=False)]


def count_by_state(study: optuna.Study) -> dict[str, int]:
    """Trials by state. Made after each trial, so it reads no records: with 10,000 trials that would take seconds."""
    counts = Counter(_state_of(trial) for trial in study.get_trials(deepcopy=False))
    return {state: counts[state] for state in ("complete", "pruned", "failed", "infeasible", "running", "waiting")}


def read_best(study: optuna.Study, n: int) -> list[TrialRecord]:
    """The n complete trials with the highest values, best first."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [_record_of(trial) for trial in heapq.nlargest(n, complete, key=lambda trial: trial.value)]


def read_speeds(study: optuna.Study, n: int) -> list[float]:
    """Training images per second of one worker: of the n best complete trials, which would be finalists now; where none
    is complete, of those that came at least half as far as the furthest, running ones among them. What ended moments
    after its start is not slow: it was still setting up."""
    trials = read_best(study, n)
    if not trials:
        begun = [trial for trial in read_trials(study) if trial.n_images > 0]
        furthest = max((trial.n_images for trial in begun), default=0)
        trials = [trial for trial in begun if trial.n_images >= furthest / 2]
    return [trial.n_images / trial.seconds for trial in trials if trial.seconds > 0]


def importances(study: optuna.Study) -> dict[str, float] | None:
    """How much each parameter explains of the complete trials' accuracy (PED-ANOVA, Watanabe et al. 2023), most first;
    None where too few trials completed to say."""
    n_complete = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if n_complete < 4:
        return None
    with warnings.catch_warnings():  # one for each parameter of few trials; the report says it once, for all
        warnings.simplefilter("ignore", UserWarning)
        found = optuna.importance.get_param_importances(study)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))  # Optuna orders equals by chance


_HISTORY = TypeAdapter(tuple[HistoryPoint, ...])  # made once: making them took 97 % of reading many trials
_BEST = TypeAdapter(HistoryPoint | None)


def _record_of(trial: FrozenTrial) -> TrialRecord:
    attributes = trial.user_attrs
    state = _state_of(trial)
    return TrialRecord(
        number=trial.number,
        state=state,
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        params=dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {})),
        origin=attributes.get("origin", "sampler"),
        reason=attributes.get("reason", state),
        recipe=attributes.get("recipe"),
        history=_HISTORY.validate_python(attributes.get("history", ())),
        best=_BEST.validate_python(attributes.get("best")),
        seconds=attributes.get("seconds", 0.0),
        seconds_in_steps=attributes.get("seconds_in_steps", 0.0),
        n_images=attributes.get("n_images", 0),
        n_parameters=attributes.get("n_parameters"),
        multiply_adds=attributes.get("multiply_adds"),
        peak_memory_mb=attributes.get("peak_memory_mb"),
        rung_images=attributes.get("rung_images", 0),
        rung_accuracy=attributes.get("rung_accuracy"),
        out_of_time=attributes.get("out_of_time", False),
        started=_in_utc(trial.datetime_start),
        finished=_in_utc(trial.datetime_complete),
    )


def _in_utc(local: datetime | None) -> str | None:
    return local.astimezone(UTC).isoformat() if local else None


def _state_of(trial: FrozenTrial) -> str:
    if trial.state == TrialState.PRUNED and str(trial.user_attrs.get("reason", "")).startswith("infeasible"):
        return "infeasible"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
