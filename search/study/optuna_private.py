"""Every name of Optuna's and optuna-dashboard's that is not public, behind functions with plain names.

No other module uses one of them (`tests/integration/test_architecture.py`), each has a contract test
(`tests/study/test_optuna_private.py`), and the upper bounds of both packages in pyproject.toml follow from this
module: raise a bound when these tests pass with the new release.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.samplers._tpe.sampler import _RELATIVE_PARAMS_KEY
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from search.study.storage.retry import RetryPolicy, retried

NOTE_PIECE_CHARACTERS = 2045  # optuna_dashboard cuts a note into pieces of this length
ARTIFACT_PREFIX = "artifacts:"  # of the system attributes that describe an artifact


def id_of(trial: optuna.Trial | FrozenTrial) -> int:
    """The trial's key in the storage, which is not its number in the study."""
    return trial._trial_id


def study_id_of(study: optuna.Study) -> int:
    """The study's key in its storage."""
    return study._study_id


def uncached_storage_of(study: optuna.Study) -> BaseStorage:
    """The storage behind Optuna's cache, which never sees that a trial of another process has changed."""
    return getattr(study._storage, "_backend", study._storage)


class StudyExcerpt(optuna.Study):
    """A study as its sampler shall see it: of all trials, only those that `select` returns. All else is the study's.

    The trials are read once, not again for each group of parameters: make one excerpt for each of the sampler's calls.
    Where the sampler is content with what Optuna has read for this suggestion, and has not asked for more recent
    trials before, that is taken. is_recent: ask for them at once.
    """

    def __init__(
        self, study: optuna.Study, select: Callable[[list[FrozenTrial]], list[FrozenTrial]], *, is_recent: bool = False
    ) -> None:
        self.__dict__.update(study.__dict__)
        self._of_study = study
        self._select = select
        self._selected: dict[bool, list[FrozenTrial]] = {}  # by whether they are from Optuna's cache
        if is_recent:
            self._get_trials(deepcopy=False)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        use_cache = use_cache and False not in self._selected
        if use_cache not in self._selected:
            trials = self._of_study._get_trials(deepcopy=False, use_cache=use_cache)
            self._selected[use_cache] = self._select(trials)
        trials = [trial for trial in self._selected[use_cache] if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials


def queued_params(trial: FrozenTrial) -> dict[str, Any]:
    """Parameters that `Study.enqueue_trial` gave a trial which has not drawn its own yet."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def params_drawn_for(trial: FrozenTrial) -> dict[str, Any]:
    """A running trial's parameters, and those that its sampler has drawn for it though it has not asked for them."""
    pieces: list[str] = []
    while piece := trial.system_attrs.get(f"{_RELATIVE_PARAMS_KEY}:{len(pieces)}"):
        pieces.append(piece)
    try:
        return {**json.loads("".join(pieces) or "{}"), **trial.params}
    except json.JSONDecodeError:  # another process has stored the first pieces alone so far; Optuna does the same
        return dict(trial.params)


def stored(trial: optuna.Trial) -> FrozenTrial:
    """The trial as its storage has it now. One that runs again has the reports and constraints of its last run."""
    return trial.storage.get_trial(trial._trial_id)


def set_trial_system_attr(trial: optuna.Trial, key: str, value: Any) -> None:
    """Store something beside a trial that is neither shown nor drawn: what a chart is made from, an artifact."""
    trial.storage.set_trial_system_attr(trial._trial_id, key, value)


def together(trial: optuna.Trial) -> AbstractContextManager[None]:
    """Store all that this thread gives to a trial within the block in one transaction, at the block's end.

    Other threads see it before; a kill in between leaves nothing of it.
    In a storage to which others may write, each piece is stored at once.
    """
    storage = getattr(trial.storage, "_backend", trial.storage)
    return storage.together() if isinstance(storage, RelationalStorage) else nullcontext()


def study_system_attrs(study: optuna.Study) -> dict[str, Any]:
    """Read what is stored beside a study and not shown as its user attributes."""
    return study._storage.get_study_system_attrs(study._study_id)


def set_study_system_attr(study: optuna.Study, key: str, value: Any) -> None:
    """Store something beside a study that is not shown as its user attribute: a piece of a note, an artifact."""
    study._storage.set_study_system_attr(study._study_id, key, value)


def note_version_key(trial: optuna.Trial | None) -> str:
    """Where optuna_dashboard counts the versions of a note; of the study's own where `trial` is None.

    Its functions are not called: importing it takes 2.3 s of a core in each run of a search.
    """
    return "dashboard:note_ver" if trial is None else f"dashboard:{trial._trial_id}:note_ver"


def note_piece_prefix(trial: optuna.Trial | None) -> str:
    """Where optuna_dashboard keeps the pieces of a note: this prefix and the piece's index."""
    return "dashboard:note_str:" if trial is None else f"dashboard:{trial._trial_id}:note_str:"


def has_tables(connection: sqlalchemy.Connection) -> bool:
    """Whether Optuna has been in this database before."""
    return sqlalchemy.inspect(connection).has_table(models.StudyModel.__tablename__)


def read_study_user_attr(connection: sqlalchemy.Connection, study_name: str, key: str) -> Any:
    """Read a study's user attribute through a connection of one's own; None if there is no such study or attribute."""
    attribute, study = models.StudyUserAttributeModel, models.StudyModel
    query = sqlalchemy.select(attribute.value_json).join(study, study.study_id == attribute.study_id)
    value = connection.scalar(query.where(study.study_name == study_name, attribute.key == key))
    return None if value is None else json.loads(value)


@dataclass(frozen=True)
class Row:
    """What is to be stored in one row of a table of Optuna's, in place of a row of the same key."""

    table: sqlalchemy.Table
    columns: Mapping[str, Any]  # values by name, the two of the key first


def row_of_param(trial_id: int, name: str, internal_value: float, distribution: BaseDistribution) -> Row:
    """A trial's parameter, its value as its distribution represents it internally."""
    columns = {"trial_id": trial_id, "param_name": name, "param_value": internal_value}
    return Row(_table_of(models.TrialParamModel), columns | {"distribution_json": distribution_to_json(distribution)})


def row_of_report(trial_id: int, step: int, score: float) -> Row:
    """What a trial reported at a step."""
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(score)
    columns = {"trial_id": trial_id, "step": step, "intermediate_value": stored, "intermediate_value_type": kind}
    return Row(_table_of(models.TrialIntermediateValueModel), columns)


def row_of_user_attr(trial_id: int, key: str, value_json: str) -> Row:
    """A trial's user attribute."""
    columns = {"trial_id": trial_id, "key": key, "value_json": value_json}
    return Row(_table_of(models.TrialUserAttributeModel), columns)


def row_of_system_attr(trial_id: int, key: str, value_json: str) -> Row:
    """A trial's system attribute."""
    columns = {"trial_id": trial_id, "key": key, "value_json": value_json}
    return Row(_table_of(models.TrialSystemAttributeModel), columns)


def row_of_study_system_attr(study_id: int, key: str, value_json: str) -> Row:
    """A study's system attribute."""
    columns = {"study_id": study_id, "key": key, "value_json": value_json}
    return Row(_table_of(models.StudySystemAttributeModel), columns)


def _table_of(model: Any) -> sqlalchemy.Table:
    return model.__table__


@dataclass(frozen=True)
class RewrittenTrial:
    """What becomes of a trial whose space has changed. All else of it stays."""

    trial_id: int
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]  # of params, by name
    queued_params: Mapping[str, Any] | None  # given to it before it drew its own; None: none were
    constraints: Mapping[str, float]  # above 0 is infeasible
    waits_again: bool  # as if it had never run


class RelationalStorage(RDBStorage):
    """Optuna's relational storage with its private steps under plain names.

    retry_policy: how long every call waits for a database that is away. It must be set before `__init__` of Optuna's
    class runs, which reads the database.
    """

    retry_policy: RetryPolicy

    # With those below, all that Optuna calls while a study runs.
    create_new_study = retried(RDBStorage.create_new_study)
    set_study_user_attr = retried(RDBStorage.set_study_user_attr)
    set_study_system_attr = retried(RDBStorage.set_study_system_attr)
    get_study_id_from_name = retried(RDBStorage.get_study_id_from_name)
    get_study_name_from_id = retried(RDBStorage.get_study_name_from_id)
    get_study_directions = retried(RDBStorage.get_study_directions)
    get_study_user_attrs = retried(RDBStorage.get_study_user_attrs)
    get_study_system_attrs = retried(RDBStorage.get_study_system_attrs)
    get_all_studies = retried(RDBStorage.get_all_studies)
    get_trial_id_from_study_id_trial_number = retried(RDBStorage.get_trial_id_from_study_id_trial_number)
    set_trial_intermediate_value = retried(RDBStorage.set_trial_intermediate_value)
    set_trial_user_attr = retried(RDBStorage.set_trial_user_attr)
    set_trial_system_attr = retried(RDBStorage.set_trial_system_attr)
    get_trial = retried(RDBStorage.get_trial)
    get_all_trials = retried(RDBStorage.get_all_trials)
    set_trial_state_values = retried(RDBStorage.set_trial_state_values)
    _get_best_trial_id = retried(RDBStorage._get_best_trial_id)
    # What Optuna calls under private names, see below.
    set_param = retried(RDBStorage._set_trial_param)
    find_trials = retried(RDBStorage._get_trials)
    create_trial = retried(RDBStorage._create_new_trial)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        self.set_param(trial_id, param_name, param_value_internal, distribution, previous_distribution)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return self.find_trials(study_id, states, included_trial_ids, trial_id_greater_than)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        return self.create_trial(study_id, template_trial)

    def together(self) -> AbstractContextManager[None]:
        """See the function of this name. This storage stores each piece at once."""
        return nullcontext()

    def forget(self, trial_id: int) -> None:
        """Note that a trial was changed behind what Optuna calls, where trials are kept in memory."""

    def read_trials_of(self, study_id: int) -> dict[int, FrozenTrial]:
        """Read all trials of a study from the database, by their keys."""
        trials = RelationalStorage.find_trials(self, study_id, None, set(), -1)
        return {trial._trial_id: trial for trial in trials}

    def rewrite_trials(self, study_id: int, trials: Sequence[RewrittenTrial], user_attrs: Mapping[str, Any]) -> None:
        """Replace parameters of trials, finished ones too, and set attributes of their study, in one transaction.

        A kill leaves all as it was. A study that was loaded before still shows what it has cached.
        """
        with _create_scoped_session(self.scoped_session) as session:
            study: Any = models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            for each in trials:
                self._rewrite_trial(session, each)
            by_key = {row.key: row for row in study.user_attributes}
            for key, value in user_attrs.items():
                row = by_key.get(key) or models.StudyUserAttributeModel(study_id=study_id, key=key)
                row.value_json = json.dumps(value)
                session.add(row)
        for each in trials:
            self.forget(each.trial_id)

    def _rewrite_trial(self, session: Session, rewritten: RewrittenTrial) -> None:
        """Write the rows themselves: Optuna's own functions refuse a finished trial, and other choices of a name."""
        trial_id = rewritten.trial_id
        trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
        for row in trial.params:
            session.delete(row)
        for row in trial.system_attributes:
            if row.key == "fixed_params" or row.key.startswith(f"{_CONSTRAINTS_KEY}:"):
                session.delete(row)
        session.flush()  # a trial has one row of a name
        for name, value in rewritten.params.items():
            distribution = rewritten.distributions[name]
            row = models.TrialParamModel(trial_id=trial_id, param_name=name)
            row.param_value = distribution.to_internal_repr(value)
            row.distribution_json = distribution_to_json(distribution)
            session.add(row)
        attributes: dict[str, Any] = {
            f"{_CONSTRAINTS_KEY}:{key}": value for key, value in rewritten.constraints.items()
        }
        if rewritten.queued_params is not None:
            attributes["fixed_params"] = dict(rewritten.queued_params)
        for key, value in attributes.items():
            session.add(models.TrialSystemAttributeModel(trial_id=trial_id, key=key, value_json=json.dumps(value)))
        if rewritten.waits_again:
            for row in trial.user_attributes:
                if row.key == "reason":
                    session.delete(row)
            trial.state, trial.datetime_complete = TrialState.WAITING, None
