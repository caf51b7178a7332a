"""How is a study widened so that a kill at any moment leaves the old study or the widened one?

`widening.json` is written first: it has all that the folder gets. Then the database is copied, and its trials are
rewritten with the study's identity in one transaction, which decides. What follows only writes to the folder what was
announced; after a kill the next run does it, or removes the announcement where the transaction did not happen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna

from fmnist.errors import UserError
from fmnist.paths import shown_path
from search.config import StudyConfig
from search.format import with_noun
from search.records.files import StudyFiles
from search.records.io import atomic_write, read_json, write_json
from search.records.models import SpaceRecord, SpacesRecord
from search.study.backup import copy_database, keep_trials
from search.study.optuna_private import study_id_of
from search.study.storage.opening import StudyStorage, open_storage
from search.study.strategy import directions_of
from search.study.study import find_study, shared_identity, storage_url
from search.system.sqlite import sqlite_path
from search.widening.plan import OF_THE_SPACE, Widening, with_space_of
from search.widening.trials import rewritten


@dataclass(frozen=True)
class Announcement:
    """What `widening.json` says: how the study's folder will be."""

    config: dict[str, Any]  # content of config.json
    texts: tuple[str, ...]  # of all space files, the study's last
    spaces: SpacesRecord


def widen(config: StudyConfig, files: StudyFiles, storage: StudyStorage, widening: Widening, space_text: str) -> str:
    """Let a study go on in a larger space, with its trials. This run must hold the study, and nobody else its storage.

    Args:
        config: The study's options.
        files: Its folder.
        storage: Its trials, in an SQLite file.
        widening: How its space grows.
        space_text: The file of the larger space.

    Returns:
        What was done, for the user.
    """
    directions = directions_of(front=config.front)
    study = optuna.create_study(study_name=config.study, storage=storage, directions=directions, load_if_exists=True)
    trials = [rewritten(trial, widening.before, widening.after) for trial in study.get_trials(deepcopy=False)]
    announced = _announcement(config, files, widening, space_text, len(trials))
    write_json(files.widening, announced)
    backup = _backup_of(files, announced)
    with atomic_write(backup) as temporary:
        copy_database(sqlite_path(storage_url(config, files)), temporary)
    files.checksums.keep_trials(None)
    identity = with_space_of(study.user_attrs.get("identity", shared_identity(announced.config)), announced.config)
    study_id = study_id_of(study)
    storage.retry_policy.call(lambda: storage.rewrite_trials(study_id, trials, {"identity": identity}))
    _write_folder(config, files, storage, announced)
    again = sum(trial.waits_again for trial in trials)
    text = (
        f"the study goes on with {with_noun(len(trials), 'trial')}; {shown_path(backup)} keeps the database as it was"
    )
    if again:
        text += f"; {with_noun(again, 'trial')} that a limit had kept from training will be trained"
    return text


def finish_widening(config: StudyConfig, files: StudyFiles) -> None:
    """Do what a run that was killed while it widened the study had not done, or undo what it had begun.

    This run must hold the study.
    """
    if not files.widening.exists():
        return
    announced = read_json(Announcement, files.widening)
    storage = open_storage(storage_url(config, files), must_exist=True)
    try:
        study = find_study(config.study, storage)
        if study is None:  # another storage than the study's, which is refused later
            return
        if _is_widened(study, announced):
            _write_folder(config, files, storage, announced)
            return
        _backup_of(files, announced).unlink(missing_ok=True)
        keep_trials(files, study, is_own=config.storage is None)
        files.widening.unlink()
    finally:
        storage.remove_session()
        storage.engine.dispose()


def refuse_half_widened(config: StudyConfig, files: StudyFiles) -> None:
    """Raise UserError where a run was killed while it widened the study, for what must not finish that."""
    if files.widening.exists():
        raise UserError(
            f"--check needs a study as a run has left it, but one was killed while it widened {config.study}; run the "
            f"same command without --check, which finishes that"
        )


def _announcement(
    config: StudyConfig, files: StudyFiles, widening: Widening, space_text: str, n_trials: int
) -> Announcement:
    grown = {"space": widening.after.table, **config.limits}
    made_with = with_space_of(files.read_plain(files.config), grown)
    if not files.checksums.is_whole(files.space):
        raise UserError(
            f"--widen keeps the file of the old space, but {shown_path(files.space)} is missing; restore it, or run "
            f"the study in its old space once more, which writes it"
        )
    known = files.read_spaces() or (SpaceRecord(_name_of(1), first_trial=0),)
    texts = [files.checksums.intact(files.root / record.file).read_text(encoding="utf-8") for record in known[:-1]]
    texts += [files.space.read_text(encoding="utf-8"), space_text]
    added = SpaceRecord(_name_of(len(texts)), n_trials, widening.grown, datetime.now(UTC).isoformat(timespec="seconds"))
    return Announcement(made_with, tuple(texts), SpacesRecord((*known, added)))


def _name_of(number: int) -> str:
    return f"spaces/{number}.toml"


def _backup_of(files: StudyFiles, announced: Announcement) -> Path:
    return files.old_spaces / f"{len(announced.texts) - 1}.db"


def _is_widened(study: optuna.Study, announced: Announcement) -> bool:
    identity = study.user_attrs.get("identity", {})
    return all(identity.get(key) == announced.config.get(key) for key in OF_THE_SPACE)


def _write_folder(config: StudyConfig, files: StudyFiles, storage: StudyStorage, announced: Announcement) -> None:
    """Write what was announced; to do it twice does no harm."""
    for record, text in zip(announced.spaces.spaces, announced.texts, strict=True):
        files.write_text(files.root / record.file, text)
    files.write_text(files.space, announced.texts[-1])
    files.write_text(files.config, json.dumps(announced.config, indent=2) + "\n")
    files.write_json(files.spaces, announced.spaces)
    study = find_study(config.study, storage)  # read anew: what was loaded before has the old trials
    assert study is not None
    keep_trials(files, study, is_own=config.storage is None)
    files.widening.unlink()
