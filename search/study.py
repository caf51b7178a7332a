"""The study: created or resumed, run to an exact number of trials, and read back as records.

Any callable that takes an `optuna.Trial` and returns a value to maximise serves as the objective.
"""

from __future__ import annotations

import heapq
import json
import os
import re
import socket
import sqlite3
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import Any

import filelock
import optuna
import psutil
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter

from fmnist.errors import UserError
from fmnist.history import HistoryPoint
from search.config import StudyConfig
from search.records import StudyFiles, TrialRecord, read_plain, write_text
from search.space import SearchSpace
from search.strategy import build_pruner, build_sampler
from search.worker import Interrupted, TrainingFailed

STUDY_FORMAT = 1  # raised when a study of an older tool can no longer be resumed
BUSY_SECONDS = 60  # how long SQLite waits for a reader such as the dashboard
CONNECT_SECONDS = 10
MAX_LOSSES = 3  # a trial that was running at so many deaths of a run is taken for their cause
MAX_EQUAL_FAILURES = 3

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
        lock = filelock.FileLock(files.lock, timeout=0)
        lock.acquire()
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


def check_identity(files: StudyFiles, identity: dict[str, Any]) -> None:
    """Store what a new study is made with; of an old one, refuse to go on with anything else.

    identity: plain JSON. Raises UserError that names the first difference.
    """
    identity = json.loads(json.dumps({"format": STUDY_FORMAT, **identity}))
    if not files.config.exists():
        write_text(files.config, json.dumps(identity, indent=2) + "\n")
        return
    stored = read_plain(files.config)
    before, now = _flat(stored), _flat(identity)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise UserError(
                f"study {files.root.name} was made with {key} = {before.get(key)}, but now it is {now.get(key)}; "
                f"restore it, or start a new study with --study NAME"
            )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        children = ((str(item.get("name", index)), item) for index, item in enumerate(value))
    else:
        return {prefix: value}
    return {
        key: leaf
        for name, child in children
        for key, leaf in _flat(child, f"{prefix}.{name}" if prefix else name).items()
    }


# --- storage


def storage_url(config: StudyConfig, files: StudyFiles) -> str:
    return config.storage or f"sqlite:///{files.storage.absolute()}"


def shown_url(url: str) -> str:
    """The URL with its password hidden, for messages: any text goes, as a URL with a slip in it has a password too."""
    if url.startswith("sqlite"):
        return url
    start = url.find("://") + 3 if "://" in url else 0
    rest = re.sub(r":.*@", ":***@", url[start:])
    return url[:start] + re.sub(r"(password|passwd|pwd)=[^&]*", r"\1=***", rest, flags=re.IGNORECASE)


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Raises UserError for a URL that cannot be read, needs a driver that is not there, or does not answer."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise UserError(
            f"--storage must be a URL such as sqlite:///study.db or postgresql://user@host/name, but got "
            f"{shown_url(url)!r}; write special characters of a password as %XX"
        ) from None
    _check_parts(parsed, url)
    try:
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed, url)
        return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"connect_timeout": CONNECT_SECONDS}})
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise UserError(
            f"--storage {shown_url(url)} needs a database driver ({error}); install it, e.g. psycopg[binary]"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(
            f"--storage {shown_url(url)} does not answer ({cause}); check that it runs and may be reached"
        ) from None


def _check_parts(parsed: sqlalchemy.URL, url: str) -> None:
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UserError(
            f"--storage must be a file for SQLite, or trials end with the run, but got {url}; try sqlite:///study.db"
        )
    if "@" in (parsed.host or ""):  # what a password with an @ leaves there must not reach a driver's message
        raise UserError(f"--storage {shown_url(url)} must have one @, before the host; write one in a password as %40")


def _open_sqlite(parsed: sqlalchemy.URL, url: str) -> optuna.storages.RDBStorage:
    """SQLite in write-ahead mode, so that the dashboard reads while we write; Optuna itself sets neither."""
    if parsed.database:
        with sqlite3.connect(parsed.database, timeout=BUSY_SECONDS) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
    return _SqliteStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}})


class _SqliteStorage(optuna.storages.RDBStorage):
    """Takes and numbers trials one at a time. Optuna relies on row locks there, which SQLite ignores: two threads then
    take the same waiting trial (seen with two). One lock is enough: `hold` lets one process in."""

    _taking = threading.Lock()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        with self._taking:
            return super().create_new_trial(study_id, template_trial)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        with self._taking:
            return super().set_trial_state_values(trial_id, state, values)


# --- create or resume


def create_or_resume(config: StudyConfig, space: SearchSpace, storage: optuna.storages.RDBStorage) -> optuna.Study:
    """The study, repaired (see `requeue_lost`) and with the portfolio waiting in front of the sampler's trials."""
    study = optuna.create_study(study_name=config.study, storage=storage, direction="maximize", load_if_exists=True)
    requeue_lost(study, storage)
    n_before = len(study.get_trials(deepcopy=False))
    study.sampler = build_sampler(config.sampler, config.seed, n_before)
    study.pruner = build_pruner(config.pruner, space.fidelity)
    for entry in space.portfolio[: config.trials]:
        if not _is_known(study, entry.name):
            study.enqueue_trial(entry.params, user_attrs={"origin": entry.name})
    return study


def _is_known(study: optuna.Study, origin: str) -> bool:
    return any(trial.user_attrs.get("origin") == origin for trial in study.get_trials(deepcopy=False))


def requeue_lost(study: optuna.Study, storage: optuna.storages.RDBStorage, *, counts_as_loss: bool = True) -> list[int]:
    """Let trials run again that a dead or stopped run of this machine left RUNNING. Returns their numbers.

    Such a trial waits again under its own number, with its own parameters and so its own seed: it repeats what was
    lost, and the study's size stays exact. (A copy under a new number would count twice in a pruner's rungs.) One that
    was lost MAX_LOSSES times has likely killed the runs itself: it is failed, with the reason.
    """
    lost = [trial for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if _is_orphaned(trial)]
    for trial in lost:
        n_losses = trial.user_attrs.get("n_losses", 0) + counts_as_loss
        storage.set_trial_user_attr(trial._trial_id, "n_losses", n_losses)
        if n_losses >= MAX_LOSSES:
            reason = f"failed (lost): it was running at {n_losses} deaths of a run"
            storage.set_trial_user_attr(trial._trial_id, "reason", reason)
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    return [trial.number for trial in lost]


def _owner() -> dict[str, Any]:
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def _is_orphaned(trial: FrozenTrial) -> bool:
    """Whether its owner was a process of this machine that is gone (or this one, which has stopped working on it)."""
    owner = trial.user_attrs.get("owner")
    if owner is None:
        return True  # died between being taken and being signed
    if owner["host"] != socket.gethostname():
        return False
    return owner["pid"] == os.getpid() or not _is_alive(owner)


def _is_alive(owner: dict[str, Any]) -> bool:
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 1
    except psutil.NoSuchProcess:
        return False


# --- run


def run_trials(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    *,
    n_trials: int,
    n_jobs: int = 1,
    stop: threading.Event | None = None,
    timeout: Callable[[], bool] = lambda: False,
    after_trial: Callback = lambda study, trial: None,
) -> None:
    """Run trials until the study has `n_trials` that are not waiting, or `timeout()` says that time is over.

    A TrainingFailed of the objective is a failed trial; MAX_EQUAL_FAILURES equal ones in a row raise SearchStopped.
    Whatever else the objective raises ends the run: `stop` is set, so that the trials beside it end too, and what was
    running waits to run again. Raises Interrupted where `stop` was set from outside.
    """
    missing = n_trials - len(_taken(study))
    if missing <= 0:
        return
    # A trial that runs again repeats its first constraints and reports; Optuna keeps the old ones and warns each time.
    warnings.filterwarnings("ignore", message=".*(already set|already reported).*")
    run = _Run(objective, stop or threading.Event(), timeout, after_trial)
    try:
        study.optimize(run.objective, n_trials=missing, n_jobs=n_jobs, catch=(TrainingFailed,), callbacks=[run.after])
    except Interrupted:
        pass  # what interrupted it is raised below; Optuna itself passes on only some threads' exceptions
    finally:
        requeue_lost(study, study._storage, counts_as_loss=False)
    if run.error is not None:
        raise run.error
    if run.stop.is_set():
        raise Interrupted


class _Run:
    """What the threads of one `run_trials` share: the wish to stop, and the first error that ends the run."""

    def __init__(
        self,
        objective: Callable[[optuna.Trial], float],
        stop: threading.Event,
        timeout: Callable[[], bool],
        after_trial: Callback,
    ) -> None:
        self.stop = stop
        self.error: BaseException | None = None
        self._objective = objective
        self._timeout = timeout
        self._after_trial = after_trial

    def objective(self, trial: optuna.Trial) -> float:
        with self._ending_the_run_at_a_bug():
            if self.stop.is_set():
                raise Interrupted
            trial.set_user_attr("owner", _owner())
            return self._objective(trial)

    def after(self, study: optuna.Study, trial: FrozenTrial) -> None:
        with self._ending_the_run_at_a_bug():
            self._after_trial(study, trial)
            if trial.state == TrialState.FAIL:
                _stop_at_equal_failures(study)
            if self._timeout():
                study.stop()

    @contextmanager
    def _ending_the_run_at_a_bug(self) -> Iterator[None]:
        """A bug reaches Optuna as Interrupted: it would else fail the trial, which shall run again once mended."""
        try:
            yield
        except (optuna.TrialPruned, TrainingFailed, Interrupted):
            raise
        except BaseException as error:
            self.error = self.error or error
            self.stop.set()
            raise Interrupted from error


def _taken(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def _stop_at_equal_failures(study: optuna.Study) -> None:
    """Diverged trials are not counted: the sampler moves away from them."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    latest = sorted(finished, key=lambda trial: trial.datetime_complete)[-MAX_EQUAL_FAILURES:]
    reasons = {trial.user_attrs.get("reason", "") for trial in latest if trial.state == TrialState.FAIL}
    n_failed = sum(trial.state == TrialState.FAIL for trial in latest)
    if n_failed == MAX_EQUAL_FAILURES and len(reasons) == 1 and "(diverged)" not in min(reasons):
        trace = latest[-1].user_attrs.get("trace", "")
        raise SearchStopped(f"{n_failed} trials in a row {reasons.pop()}\n{trace}".rstrip())


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


def importances(study: optuna.Study) -> dict[str, float] | None:
    """How much each parameter explains of the complete trials' accuracy (PED-ANOVA, Watanabe et al. 2023), or None
    where too few trials completed to say."""
    n_complete = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if n_complete < 4:
        return None
    with warnings.catch_warnings():  # one for each parameter of few trials; the report says it once, for all
        warnings.simplefilter("ignore", UserWarning)
        return optuna.importance.get_param_importances(study)


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
        finished=trial.datetime_complete.astimezone(UTC).isoformat() if trial.datetime_complete else None,
    )


def _state_of(trial: FrozenTrial) -> str:
    if trial.state == TrialState.PRUNED and str(trial.user_attrs.get("reason", "")).startswith("infeasible"):
        return "infeasible"
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
