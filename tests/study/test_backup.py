"""Trials and their copy: what happens to study.db from outside is found, and undone while its copy is left."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import optuna
import pytest

from fmnist.errors import UserError
from search import Callback, StudyConfig, StudyResult, run_study
from search.records.files import StudyFiles
from search.study.backup import keep_trials, repair_own_storage, require_same_trials
from search.study.storage.opening import open_storage
from search.study.study import open_finished
from search.study.trials import read_trials
from search.system.shipped import SHIPPED_SPACES
from search.system.sqlite import sqlite_url
from tests.support.damage import DAMAGES, damage
from tests.support.interrupts import standing_still
from tests.support.remedies import needs_remedy
from tests.support.spaces import space_from
from tests.support.training.trainers import by_filters, objective_of, open_study, run_trials, storage_of

N_TRIALS = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StudyFiles:
    """A study of three trials, in the state in which a run leaves it."""
    config = StudyConfig("made", studies_dir=tmp_path_factory.mktemp("studies"), trials=N_TRIALS)
    space = space_from(SHIPPED_SPACES / "digits.toml", (8, 8, 1), 10)
    files = StudyFiles(config.folder)
    study = open_study(config, space)
    run_trials(study, objective_of(space, by_filters), n_trials=N_TRIALS)
    files.begin_checksums()
    files.write_text(files.config, '{"study": "made", "storage": "the study\'s folder"}')
    keep_trials(files, study, is_own=True)
    storage_of(study).remove_session()
    storage_of(study).engine.dispose()
    return files


@pytest.fixture
def files(made: StudyFiles, tmp_path: Path) -> StudyFiles:
    shutil.copytree(made.root, tmp_path / "made")
    return StudyFiles(tmp_path / "made")


def change_a_value(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE trial_values SET value = value + 0.001 WHERE trial_id = 2")
    connection.close()


def lose_a_trial(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM trials WHERE number = 1")
    connection.close()


def fill_with_garbage(path: Path) -> None:
    path.write_bytes(b"no database at all " * 500)


HARM = {
    **{kind: lambda path, kind=kind: damage(path, kind) for kind in DAMAGES if kind != "flip"},
    "a value": change_a_value,
    "a trial less": lose_a_trial,
    "garbage": fill_with_garbage,
}


@pytest.mark.parametrize("harm", HARM)
def test_damaged_trials_are_restored_from_their_copy(files: StudyFiles, harm: str) -> None:
    study = open_finished(files)
    trials = read_trials(study)
    storage_of(study).engine.dispose()
    HARM[harm](files.storage)
    said: list[str] = []
    again = StudyFiles(files.root)
    again.checksums.say = said.append
    assert read_trials(open_finished(again)) == trials
    assert len(said) == 1 and "study.db " in said[0] and "with the 3 trials that had finished" in said[0]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.follows("{} {}, and no intact copy of it is left; restore it, or start a new study")
def test_trials_without_a_copy_are_named_and_restoring_them_helps(files: StudyFiles, harm: str) -> None:
    copy = files.checksums.copies / "study.db"
    good = copy.read_bytes()
    copy.unlink()
    HARM[harm](files.storage)
    with pytest.raises(UserError, match=r"study\.db .*no intact copy of it is left; restore it, or start a new study"):
        open_finished(StudyFiles(files.root))
    if files.storage.is_dir():
        files.storage.rmdir()
    files.storage.unlink(missing_ok=True)
    for suffix in ("-wal", "-shm"):
        Path(f"{files.storage}{suffix}").unlink(missing_ok=True)
    files.storage.write_bytes(good)
    assert len(read_trials(open_finished(StudyFiles(files.root)))) == N_TRIALS


def test_trials_are_restored_by_a_run_where_reading_must_change_nothing(files: StudyFiles) -> None:
    files.storage.unlink()
    reading = StudyFiles(files.root)
    reading.checksums.restores = False
    with needs_remedy("{} is missing; a run of the study restores it from {}"):
        open_finished(reading)
    assert len(read_trials(open_finished(StudyFiles(files.root)))) == N_TRIALS


def test_trials_that_are_not_those_of_the_search_are_restored(files: StudyFiles, tmp_path: Path) -> None:
    storage_of(open_finished(files)).engine.dispose()
    backup = shutil.copy(files.storage, tmp_path / "backup.db")
    change_a_value(files.storage)
    with needs_remedy("the trials of study {} are not those that its search wrote (their checksum differs); restore"):
        require_same_trials(files, study_in(files.storage))
    require_same_trials(files, study_in(backup))


def study_in(database: Path) -> optuna.Study:
    """The study as a file has it, whatever is wrong with it."""
    return optuna.load_study(study_name="made", storage=open_storage(sqlite_url(database)))


def test_trials_that_came_after_the_copy_are_no_damage(files: StudyFiles, space, tmp_path: Path) -> None:
    study = open_study(StudyConfig("made", studies_dir=tmp_path, trials=N_TRIALS + 1), space)
    run_trials(study, objective_of(space, by_filters), n_trials=N_TRIALS + 1)
    again = StudyFiles(files.root)
    again.checksums.say = lambda text: pytest.fail(text)
    repair_own_storage(again, "made")
    assert len(read_trials(open_finished(again))) == N_TRIALS + 1


class Deleting(Callback):
    """Deletes the study when a training of this run ends, as somebody may in a dashboard."""

    def __init__(self, study: str, database: Path) -> None:
        self._study, self._database = study, database

    def on_training_end(self, label: str, reason: str) -> None:
        with suppress(KeyError):  # another training ended, too
            optuna.delete_study(study_name=self._study, storage=sqlite_url(self._database))


@pytest.mark.studies
def test_study_that_is_deleted_while_it_is_searched_ends_the_run_in_one_line(tmp_path: Path) -> None:
    def search(n_trials: int, callback: Callback) -> StudyResult:
        config = StudyConfig("s", dataset="digits", studies_dir=tmp_path, trials=n_trials)
        return run_study(config, search_only=True, callbacks=[callback], worker_processes=standing_still(None))

    search(2, Callback())
    database, kept = tmp_path / "s" / "study.db", tmp_path / "kept.db"
    shutil.copyfile(database, kept)
    with needs_remedy("study {} was deleted from its storage while this run had it, perhaps in a dashboard; restore"):
        search(6, Deleting("s", database))
    shutil.copyfile(kept, database)
    assert len(search(6, Callback()).trials) == 6
