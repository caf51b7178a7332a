"""The study: created or resumed, run to an exact number of trials, and read back as records.

Any callable that takes an `optuna.Trial` and returns a value to maximise serves as the objective.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from typing import Any

import optuna

from fmnist.errors import UserError
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.records.io import flat, read_plain, write_text
from search.space.space import SearchSpace
from search.study.heartbeat import TrialLeases, this_process
from search.study.storage import AlreadyQueued, BudgetSpent, StudyStorage, open_storage, shown_url
from search.study.strategy import build_pruner, build_sampler

STUDY_FORMAT = 1  # raised when a study of an older tool can no longer be resumed
OWN_STORAGE = "the study's folder"  # what a study's configuration calls an SQLite file in it


# --- the study's folder and what it was made with


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
    """The study, repaired (see `TrialLeases.requeue_lost`) and with the portfolio waiting in front of the sampler's
    trials. identity: see `check_shared_identity`; None: it is not looked at."""
    study = optuna.create_study(study_name=config.study, storage=storage, direction="maximize", load_if_exists=True)
    if identity is not None:
        check_shared_identity(study, identity)
    storage.budget = max(config.trials, len(study.get_trials(deepcopy=False)))
    TrialLeases(study, storage).requeue_lost()
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


# --- read
