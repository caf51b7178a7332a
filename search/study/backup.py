"""Are a study's trials those that its search wrote? Their checksum tells, and a damaged study.db is restored.

A finished trial never changes, so the trials that had finished when a run ended have one checksum for good. The SQLite
file in a study's folder has a copy beside the copies of its other files, as of the end of its last search. A database
named by `--storage` has its own keepers: of its trials only the checksum is compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy import exc

from fmnist.errors import UserError
from fmnist.paths import shown_path
from search.records.checksums import TrialsChecksum, move_aside
from search.records.files import StudyFiles
from search.records.io import atomic_write
from search.study.storage.opening import open_sqlite
from search.study.storage.retry import passing_cause
from search.system.sqlite import BUSY_SECONDS, damage_of_sqlite

# What Optuna raises where a value of a file that SQLite finds whole is none of its kind.
UNREADABLE = (optuna.exceptions.OptunaError, exc.SQLAlchemyError, ValueError, LookupError, TypeError, AssertionError)


def keep_trials(files: StudyFiles, study: optuna.Study, *, is_own: bool) -> None:
    """Enter the checksum of the trials that have finished, and copy the SQLite file that has them.

    Args:
        files: the study's folder.
        study: the study in its storage.
        is_own: whether that is the SQLite file in its folder.
    """
    numbers = [trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    kept = TrialsChecksum(tuple(numbers), digest_of_trials(study, numbers))
    copy = _copy_of(files)
    if kept == files.checksums.trials and (not is_own or copy.is_file()):
        return
    if is_own:
        with atomic_write(copy) as temporary:
            copy_database(files.storage, temporary)
    files.checksums.keep_trials(kept)


def digest_of_trials(study: optuna.Study, numbers: Sequence[int]) -> str | None:
    """Compute the SHA-256 of what finished trials came to; None if one of them is not there."""
    by_number = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    digest = hashlib.sha256()
    for number in numbers:
        trial = by_number.get(number)
        if trial is None:
            return None
        digest.update(json.dumps(_content_of(trial), sort_keys=True).encode())
    return digest.hexdigest()


def _content_of(trial: FrozenTrial) -> list[object]:
    """Return what is final of a trial. Its dates are left out: Optuna converts them to this machine's time zone."""
    evaluations = sorted(trial.intermediate_values.items())
    return [trial.number, trial.state.name, trial.values, trial.params, trial.user_attrs, evaluations]


def require_same_trials(files: StudyFiles, study: optuna.Study) -> None:
    """Raise UserError where trials that had finished are gone, or are not what they were."""
    kept = files.checksums.trials
    if kept is not None and digest_of_trials(study, kept.numbers) != kept.sha256:
        raise UserError(
            f"the trials of study {study.study_name} are not those that its search wrote (their checksum differs); "
            f"restore them, or start a new study with --study NAME"
        )


def repair_own_storage(files: StudyFiles, name: str) -> None:
    """Restore the SQLite file in a study's folder where it is lost or damaged, or has lost or changed its trials.

    Args:
        files: the study's folder. Nothing is done where it has no checksum of trials.
        name: of the study, in the file.

    Raises:
        UserError: it has to be restored, and its copy is lost or damaged, too.
    """
    kept = files.checksums.trials
    if kept is None:
        return
    copy, shown = _copy_of(files), shown_path(files.storage)
    if not files.checksums.restores or not os.access(files.root, os.W_OK):  # even to look into it would change it
        if copy.exists() and not files.storage.exists():
            raise UserError(f"{shown} is missing; a run of the study restores it from {shown_path(copy)}")
        return
    damage = _damage_of(files.storage, name, kept)
    if damage is None:
        return
    if _damage_of(copy, name, kept) is not None:
        raise UserError(
            f"{shown} {damage}, and no intact copy of it is left; restore it, or start a new study with --study NAME"
        )
    aside = move_aside(files.storage)
    for suffix in ("-wal", "-shm"):
        Path(f"{files.storage}{suffix}").unlink(missing_ok=True)  # they belong to what was there
    with atomic_write(files.storage) as temporary:
        copy_database(copy, temporary)
    files.checksums.say(
        f"{shown} {damage}: restored from {shown_path(copy)}, with the {len(kept.numbers)} trials that had finished "
        f"when it was copied{aside}"
    )


def _damage_of(path: Path, name: str, kept: TrialsChecksum) -> str | None:
    """Say what is wrong with an SQLite file, as the end of a sentence; None if nothing is."""
    if not os.path.exists(path):
        return "is missing"
    if path.is_file() and path.stat().st_size == 0:
        return "is empty"
    cause = damage_of_sqlite(path)
    if cause is not None:
        return f"is damaged ({cause})"
    try:
        storage = open_sqlite(path, must_exist=True)
    except (RuntimeError, exc.SQLAlchemyError) as error:  # RuntimeError: tables of a version that Optuna does not know
        if passing_cause(error) is not None:
            return None  # it is busy, which whoever opens it next will say
        return f"is damaged ({str(error).splitlines()[0]})"
    try:
        study = optuna.load_study(study_name=name, storage=storage)
        is_same = digest_of_trials(study, kept.numbers) == kept.sha256
    except KeyError:
        return f"holds no study {name}"
    except UNREADABLE as error:
        return f"is damaged ({str(error).splitlines()[0]})"
    finally:
        storage.remove_session()
        storage.engine.dispose()
    return None if is_same else "has other trials than the search wrote"


def _copy_of(files: StudyFiles) -> Path:
    return files.checksums.copies / files.storage.name


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite file with what its write-ahead log has, while others may use it."""
    origin, copy = sqlite3.connect(source, timeout=BUSY_SECONDS), sqlite3.connect(target)
    try:
        origin.backup(copy)
    finally:
        copy.close()
        origin.close()
