"""The study itself: what it was made with, where its trials are, how it is created, resumed and opened.

A study outlives the versions of this tool. It is refused by its format, and by what would make its trials incomparable
(data, space, seed, sampler, pruner), never by the version that made it; the versions that worked on it are recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import IntegrityError

from fmnist.errors import UserError
from fmnist.option_fields import fields_of, flag_of
from fmnist.paths import require_lengths, shown_path
from fmnist.scoring import BEFORE_THE_CHOICE, Metric
from search import __version__
from search.cli import LONGEST_NAME, shown_url
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.records.io import flat
from search.records.models import DataRecord
from search.space.space import SearchSpace
from search.study.attributes import attributes_of
from search.study.backup import repair_own_storage, require_same_trials
from search.study.requeue import requeue_running
from search.study.storage.opening import StudyStorage, open_storage
from search.study.storage.supervisor import Claim, claim_nothing
from search.study.strategy import build_pruner, build_sampler, directions_of
from search.system.sqlite import require_sqlite_path, sqlite_url

STUDY_FORMAT = 1  # of what a study's folder and storage hold
READABLE_FORMATS = (1,)  # formats of studies that this version continues
OWN_STORAGE = "the study's folder"  # what a study's configuration calls an SQLite file in it
NOT_COMPARED = ("format", "version")  # of an identity: each has a rule of its own
OWN_TO_A_MACHINE = ("storage",)  # of an identity: each machine may reach the database by another address


def check_identity(files: StudyFiles, identity: dict[str, Any]) -> None:
    """Write what a new study is made with to its folder; refuse to continue an old one with anything else.

    Args:
        files: The study's folder.
        identity: What must not change between the runs of a study, as plain JSON (see `provenance.study_identity`).

    Raises:
        UserError: The study was made with something else, named in the message, or has an unreadable format.
    """
    if files.has(files.config):
        _refuse_difference(files.root.name, files.read_plain(files.config), identity, files)
    else:
        files.write_text(files.config, json.dumps({"format": STUDY_FORMAT, **identity}, indent=2) + "\n")


def check_shared_identity(study: optuna.Study, identity: dict[str, Any]) -> None:
    """Store with the trials what a new study is made with; refuse a machine that has anything else.

    Raises:
        UserError: The study was made with something else, named in the message, or has an unreadable format.
    """
    shared = shared_identity(identity)
    stored = study.user_attrs.get("identity")
    if stored is None:
        study.set_user_attr("identity", shared)
    else:
        _refuse_difference(study.study_name, stored, shared)


def require_identity(files: StudyFiles, study: optuna.Study | None, identity: dict[str, Any]) -> None:
    """Refuse what `check_identity` and `check_shared_identity` would refuse, and store nothing.

    Args:
        files: The study's folder, which need not exist.
        study: The study in its storage; None if it has not begun.
        identity: As for `check_identity`.

    Raises:
        UserError: The study was made with something else, named in the message, or has an unreadable format.
    """
    if files.has(files.config):
        _refuse_difference(files.root.name, files.read_plain(files.config), identity, files)
    if study is not None and "identity" in study.user_attrs:
        _refuse_difference(study.study_name, study.user_attrs["identity"], shared_identity(identity))


def shared_identity(identity: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if key not in OWN_TO_A_MACHINE}


def _refuse_difference(
    name: str, stored: dict[str, Any], identity: dict[str, Any], files: StudyFiles | None = None
) -> None:
    study_format = stored.get("format", STUDY_FORMAT)
    if study_format not in READABLE_FORMATS:
        maker = f"version {stored['version']}, which" if "version" in stored else "the version that"
        raise UserError(
            f"study {name} has format {study_format}, but version {__version__} continues format "
            f"{' and '.join(map(str, READABLE_FORMATS))} only; use {maker} made it, or start a new "
            f"study with --study NAME"
        )
    before, now = _compared(stored), _compared(json.loads(json.dumps(identity)))
    for key in sorted(before.keys() | now.keys(), key=lambda key: (key != "metric", key)):  # weights follow from it
        if before.get(key) != now.get(key):
            made_with = f"study {name} was made {_difference(key, before.get(key), now.get(key))}"
            if key.startswith("data_checksums."):  # two folders of one name are two data sets, but name one study
                raise UserError(
                    f"{made_with}: these are not its images{_place_of(files)}; restore it, or start a new study with "
                    f"--study {name[: LONGEST_NAME - 2]}-2"
                )
            raise UserError(f"{made_with}; {_way_back(key, before.get(key))}, or start a new study with --study NAME")


def _difference(key: str, before: Any, now: Any) -> str:
    """Say how a part of the identity was, and how it is now."""
    was, is_now = f"with {key} = {before}", f"it is {now}"
    if before is None:
        was = f"without {key}"
    elif before is True:
        was = f"with {key}"
    if now is None:
        is_now = "without it"
    elif now is True:
        is_now = "with it"
    return f"{was}, but now {is_now}"


def _place_of(files: StudyFiles | None) -> str:
    if files is None or not files.has(files.data):
        return ""
    return f", which are those of {files.read_json(DataRecord, files.data).source}"


def _way_back(key: str, before: Any) -> str:
    """Return what makes a part of the identity as it was before: an option, where one does."""
    fields = fields_of(StudyConfig)
    if key.startswith("space."):
        return "pass the --space that it was made with, such as space.toml in its folder"
    if key not in fields or key in ("study", "dataset") or ":***@" in str(before):
        return "restore it"
    option = flag_of(key, fields[key])
    if before in (None, OWN_STORAGE):
        return f"leave {option} out"
    if before is True:
        return f"pass {option}"
    return f"pass {option} {before}"


def _compared(identity: dict[str, Any]) -> dict[str, Any]:
    return BEFORE_THE_CHOICE | {key: value for key, value in flat(identity).items() if key not in NOT_COMPARED}


def metric_of(study: optuna.Study) -> Metric:
    """What decides in a study, by the identity that is stored with its trials."""
    return (BEFORE_THE_CHOICE | study.user_attrs.get("identity", {}))["metric"]


def versions_of(study: optuna.Study) -> list[str]:
    """Versions of this tool that have worked on the study, in the order of their first run."""
    versions = list(study.user_attrs.get("versions", []))
    maker = study.user_attrs.get("identity", {}).get("version")
    if maker is not None and maker not in versions:  # studies from before 0.6.0 record their maker only
        versions.insert(0, maker)
    return versions


def record_version(study: optuna.Study) -> None:
    """Add this version to those that have worked on the study."""
    versions = versions_of(study)
    if __version__ not in versions:
        versions.append(__version__)
    if versions != study.user_attrs.get("versions"):
        study.set_user_attr("versions", versions)


def storage_url(config: StudyConfig, files: StudyFiles) -> str:
    """Where a run of this configuration keeps its trials: the database it names, or a file in the study's folder."""
    return config.storage or sqlite_url(files.storage)


def require_place(config: StudyConfig, files: StudyFiles) -> None:
    """Refuse a folder whose path leaves no room for a study's files, before anything is read, computed or written.

    Raises:
        UserError: A name or the whole path is too long, for the file system or for SQLite; or there is no study to
            widen.
    """
    require_lengths(files.root, "choose a shorter --studies-dir")
    if config.storage is None:
        require_sqlite_path(files.storage, "choose a shorter --studies-dir")
    if config.widen and not files.has(files.config):
        raise UserError(
            f"--widen needs a study to go on with, but there is none in {shown_path(files.root)}; leave --widen "
            f"out, or pass the study's name with --study"
        )


def find_study(name: str, storage: StudyStorage) -> optuna.Study | None:
    """Load the study of this name; None if the storage has none."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


@contextmanager
def noticing_deletion(name: str, storage: StudyStorage) -> Iterator[None]:
    """Run the block, in which a study is read and written.

    Raises:
        UserError: What went wrong in the block is that the study was deleted from its storage.
    """
    try:
        yield
    # By Optuna for a trial or study that is not there, and by databases for what would belong to one.
    except (KeyError, StorageInternalError, IntegrityError) as error:
        if find_study(name, storage) is not None:
            raise
        raise UserError(
            f"study {name} was deleted from its storage while this run had it, perhaps in a dashboard; restore its "
            f"trials, or start a new study with --study NAME"
        ) from error


def open_finished(files: StudyFiles, storage: str | None = None) -> optuna.Study:
    """Open a study to read it: no trial is queued again, so a run may use it at the same time.

    The SQLite file of its folder is restored from its copy if it is lost or damaged.

    Args:
        files: The study's folder.
        storage: URL of the storage with its trials; None takes the one of the study's configuration.

    Raises:
        UserError: The trials are not there.
    """
    config = files.read_plain(files.config)
    if storage is None and config["storage"] == OWN_STORAGE:
        repair_own_storage(files, config["study"])
    study = open_by_name(config["study"], storage or _stored_url(files, config["storage"]))
    require_same_trials(files, study)
    return study


def open_by_name(name: str, url: str) -> optuna.Study:
    """Open a study to read it, which may have no folder on this machine.

    Raises:
        UserError: The storage has no study of this name.
    """
    try:
        return optuna.load_study(study_name=name, storage=open_storage(url, must_exist=True))
    except KeyError:
        raise UserError(f"{shown_url(url)} holds no study {name}; pass the --storage that has its trials") from None


def _stored_url(files: StudyFiles, stored: str) -> str:
    if stored == OWN_STORAGE:
        return sqlite_url(files.storage)
    if ":***@" in stored:
        raise UserError(
            f"the trials of {files.root.name} are at {stored}, whose password is not stored; pass the address without "
            f"it as --storage, and the password in ~/.pgpass or $PGPASSWORD"
        )
    return stored


def create_or_resume(
    config: StudyConfig,
    space: SearchSpace,
    storage: StudyStorage,
    identity: dict[str, Any] | None = None,
    claim: Claim = claim_nothing,
) -> optuna.Study:
    """Open the study to run it: lost trials are queued again, and the portfolio waits before the sampler's trials.

    Args:
        config: Name, seed, sampler, pruner and number of trials.
        space: Portfolio and fidelity.
        storage: Where the trials are, or will be. This run must hold the study.
        identity: See `check_shared_identity`; None compares nothing.
        claim: See `locks.hold_storage`.

    Raises:
        UserError: The study was made with something else.
    """
    directions = directions_of(front=config.front)
    study = optuna.create_study(study_name=config.study, storage=storage, directions=directions, load_if_exists=True)
    claim(study)
    if identity is not None:
        check_shared_identity(study, identity)
        record_version(study)
    requeue_running(study, storage, are_losses=True)
    trials = study.get_trials(deepcopy=False)
    study.sampler = build_sampler(config.sampler, config.seed, len(trials))  # it draws otherwise than the runs before
    against_time = config.timeout is not None
    study.pruner = build_pruner(config.pruner, space.fidelity, front=config.front, against_time=against_time)
    queued = {attributes_of(trial).get("origin") for trial in trials}
    missing = [entry for entry in space.portfolio if entry.name not in queued]
    for entry in missing[: max(0, config.trials - len(trials))]:
        study.enqueue_trial(entry.params, user_attrs={"origin": entry.name})
    return study
