"""The storage of the one process that writes to it: it reads trials from memory, and stores together what belongs so.

Optuna reads all running trials anew for whoever asks for trials, several times a trial, and makes a transaction of each
parameter and attribute. With 64 trials running, the two took nine tenths of a supervisor's time.
"""

from __future__ import annotations

import bisect
import copy
import json
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.dialects import postgresql, sqlite

from search.study.optuna_private import (
    RelationalStorage,
    Row,
    id_of,
    row_of_param,
    row_of_report,
    row_of_study_system_attr,
    row_of_system_attr,
    row_of_user_attr,
)


class TrialMirror:
    """Trials by their key in the storage. Thread-safe; a trial that was given out never changes.

    Whoever changes the storage says so here afterwards. What is not known here is read from the storage under the
    lock, so that no change is lost between reading and keeping.

    Args:
        read_trial: Reads one trial by its key.
        read_study: Reads all trials of a study by the study's key; trials by their keys, in their order.
    """

    def __init__(
        self, read_trial: Callable[[int], FrozenTrial], read_study: Callable[[int], Mapping[int, FrozenTrial]]
    ) -> None:
        self._read_trial = read_trial
        self._read_study = read_study
        self._lock = threading.RLock()
        self._trials: dict[int, FrozenTrial] = {}
        self._keys: dict[int, list[int]] = {}  # of each study's trials, rising

    def trial(self, key: int) -> FrozenTrial:
        """Return a trial. It is shared: do not change it."""
        with self._lock:
            if key not in self._trials:
                self._trials[key] = self._read_trial(key)
            return self._trials[key]

    def trials(self, study_key: int, keys: Iterable[int], above: int) -> list[FrozenTrial]:
        """Return a study's trials of these keys, and all whose keys are above one, in the order of the keys."""
        with self._lock:
            known = self._keys_of(study_key)
            wanted = sorted(key for key in keys if key <= above)
            return [self.trial(key) for key in [*wanted, *known[bisect.bisect_right(known, above) :]]]

    def add(self, study_key: int, key: int, trial: FrozenTrial | None) -> None:
        """Note a new trial, younger than all others. None: read it when it is asked for."""
        with self._lock:
            keys = self._keys_of(study_key)
            if key not in keys[-1:]:  # else it was read with its study just now
                keys.append(key)
            if trial is not None:
                self._trials[key] = trial

    def change(self, key: int, **changes: Mapping[Any, Any]) -> None:
        """Note new items of a trial's dictionaries, by the names of these, such as `user_attrs={"reason": "..."}`."""
        with self._lock:
            changed = copy.copy(self.trial(key))
            for field, items in changes.items():
                setattr(changed, field, {**getattr(changed, field), **items})
            self._trials[key] = changed

    def forget(self, key: int) -> None:
        """Note that the storage knows better what became of a trial."""
        with self._lock:
            self._trials.pop(key, None)

    def forget_which(self, study_key: int) -> None:
        """Note that a study may have trials that nobody has told of."""
        with self._lock:
            self._keys.pop(study_key, None)

    def _keys_of(self, study_key: int) -> list[int]:
        if study_key not in self._keys:
            found = self._read_study(study_key)
            self._keys[study_key] = sorted(found)
            self._trials = {**found, **self._trials}
        return self._keys[study_key]


def own_copy(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy whose dictionaries may be written to."""
    copied = copy.copy(trial)
    for field in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values"):
        setattr(copied, field, dict(getattr(copied, field)))
    return copied


class HeldStorage(RelationalStorage):
    """A relational storage to whose trials one process alone writes, once it has said so by `hold_trials`.

    Until then it is as any other. What it stores is what Optuna stores, and it is read back as such.
    """

    _mirror: TrialMirror | None = None

    def hold_trials(self) -> None:
        """Rely from now on upon this process alone writing to the storage's trials."""
        self._creating = threading.RLock()  # a trial is in the mirror before a later one is
        self._of_thread = threading.local()
        self._mirror = TrialMirror(super().get_trial, super().read_trials_of)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Store what this thread writes within the block at its end, in one transaction."""
        if self._mirror is None or self._batch is not None:
            yield
            return
        self._of_thread.batch = []
        try:
            yield
        finally:
            self._store_batch()
            self._of_thread.batch = None

    @property
    def _batch(self) -> list[Row] | None:
        """What this thread is to store together; None outside `together`."""
        return getattr(self._of_thread, "batch", None)

    def _store_batch(self) -> None:
        """Store what waits, before something that is to come after it."""
        batch = self._batch
        if batch:
            self._of_thread.batch = []
            self._store(batch)

    def _write(self, row: Row) -> None:
        """Store a row at once, or with the batch."""
        batch = self._batch
        if batch is None:
            self._store([row])
        else:
            batch.append(row)

    def _store(self, rows: Sequence[Row]) -> None:
        """Store rows in one transaction, those of a table in their order."""
        of_tables: dict[sqlalchemy.Table, list[Mapping[str, Any]]] = {}
        for row in rows:
            of_tables.setdefault(row.table, []).append(row.columns)

        def store() -> None:
            with self.engine.begin() as connection:
                for table, its_rows in of_tables.items():
                    connection.execute(_upsert(self.engine.name, table, tuple(its_rows[0])), its_rows)

        try:
            self.retry_policy.call(store)
        except BaseException:  # what is in memory is not in the database
            for row in rows:
                self.forget(row.columns.get("trial_id", -1))
            raise

    def forget(self, trial_id: int) -> None:
        """Read a trial from the database when it is asked for again."""
        if self._mirror is not None:
            self._mirror.forget(trial_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Read a trial, from memory where the storage is held."""
        if self._mirror is None:
            return super().get_trial(trial_id)
        trial = self._mirror.trial(trial_id)
        return trial if trial.state.is_finished() else own_copy(trial)

    def find_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Read trials of a study, from memory where the storage is held and all states are asked for."""
        if self._mirror is None or states is not None:
            return super().find_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        return self._mirror.trials(study_id, included_trial_ids, trial_id_greater_than)

    def create_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        """Store a new trial."""
        if self._mirror is None:
            return super().create_trial(study_id, template_trial)
        with self._creating:
            n_retries = self.retry_policy.n_retries
            trial = super().create_trial(study_id, template_trial)
            self._mirror.add(study_id, id_of(trial), None if template_trial else own_copy(trial))
            if self.retry_policy.n_retries != n_retries:  # the database may have made one, and gone before it said so
                self._mirror.forget_which(study_id)
        return trial

    def set_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        """Store a trial's parameter."""
        mirror = self._mirror
        if mirror is None:
            super().set_param(trial_id, param_name, param_value_internal, distribution, previous_distribution)
            return
        if previous_distribution is None:  # the first of its name in this run: Optuna compares it with stored ones
            self._store_batch()
            super().set_param(trial_id, param_name, param_value_internal, distribution, previous_distribution)
        else:
            self._require_running(trial_id, mirror)
            check_distribution_compatibility(previous_distribution, distribution)
            self._write(row_of_param(trial_id, param_name, param_value_internal, distribution))
        stored = _as_stored(distribution_to_json(distribution))
        value = stored.to_external_repr(param_value_internal)
        mirror.change(trial_id, params={param_name: value}, distributions={param_name: stored})

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Store a report."""
        if self._mirror is None:
            super().set_trial_intermediate_value(trial_id, step, intermediate_value)
            return
        self._require_running(trial_id, self._mirror)
        self._write(row_of_report(trial_id, step, intermediate_value))
        self._mirror.change(trial_id, intermediate_values={step: intermediate_value})

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store a trial's user attribute."""
        if self._mirror is None:
            super().set_trial_user_attr(trial_id, key, value)
            return
        self._require_running(trial_id, self._mirror)
        value_json = json.dumps(value)
        self._write(row_of_user_attr(trial_id, key, value_json))
        self._mirror.change(trial_id, user_attrs={key: json.loads(value_json)})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store a trial's system attribute."""
        if self._mirror is None:
            super().set_trial_system_attr(trial_id, key, value)
            return
        self._require_running(trial_id, self._mirror)
        value_json = json.dumps(value)
        self._write(row_of_system_attr(trial_id, key, value_json))
        self._mirror.change(trial_id, system_attrs={key: json.loads(value_json)})

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Store a study's system attribute, such as a piece of a trial's note."""
        if self._mirror is None:
            super().set_study_system_attr(study_id, key, value)
        else:
            self._write(row_of_study_system_attr(study_id, key, json.dumps(value)))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Change a trial's state, after all that was to be stored before."""
        if self._mirror is None:
            return super().set_trial_state_values(trial_id, state, values)
        self._store_batch()
        try:
            return super().set_trial_state_values(trial_id, state, values)
        finally:
            self.forget(trial_id)

    def _require_running(self, trial_id: int, mirror: TrialMirror) -> None:
        self.check_trial_is_updatable(trial_id, mirror.trial(trial_id).state)


@lru_cache(maxsize=1024)
def _as_stored(distribution_json: str) -> BaseDistribution:
    """The distribution that a trial has when it is read back: its choices have been JSON."""
    return json_to_distribution(distribution_json)


@lru_cache(maxsize=64)
def _upsert(dialect: str, table: sqlalchemy.Table, columns: tuple[str, ...]) -> sqlalchemy.Executable:
    """Insert a row of these columns, the first two of which are the key, or change the others of the row it has."""
    insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect](table)
    changed = {name: insert.excluded[name] for name in columns[2:]}
    return insert.on_conflict_do_update(index_elements=columns[:2], set_=changed)
