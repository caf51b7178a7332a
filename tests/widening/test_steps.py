"""A kill at any moment of the widening leaves the old study or the widened one, and the next run goes on with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.config import StudyConfig
from search.records.checksums import Checksums
from search.records.files import StudyFiles
from search.space.schema import parse_toml
from search.study.optuna_private import RelationalStorage
from search.study.study import open_finished
from search.study.trials import read_trials
from search.widening import steps
from search.widening.steps import finish_widening, refuse_half_widened
from tests.support.remedies import needs_remedy
from tests.support.spaces import DIGITS_TEXT
from tests.support.widening import close, config_of, search, trials_of, widen_to
from tests.support.wider import WIDER_TEXT

pytestmark = pytest.mark.studies
DIGITS_TABLE, WIDER_TABLE = parse_toml(DIGITS_TEXT, ""), parse_toml(WIDER_TEXT, "")


class Killed(BaseException):
    """Stands for the end of the process."""


class Steps:
    """Counts what a widening writes, and kills it before the write of a number.

    Args:
        last: How many writes happen. None: all.
    """

    def __init__(self, last: int | None) -> None:
        self.n_done = 0
        self._last = last

    def counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **more: Any) -> Any:
            if self.n_done == self._last:
                raise Killed
            self.n_done += 1
            return write(*arguments, **more)

        return counting


def widen_until(config: StudyConfig, last: int | None) -> int:
    """Widen the study, and kill it after so many writes. Returns how many there were."""
    counter = Steps(last)
    with pytest.MonkeyPatch.context() as patch:
        for place, name in (
            (steps, "write_json"),
            (steps, "copy_database"),
            (steps, "keep_trials"),
            (Checksums, "keep_trials"),
            (RelationalStorage, "rewrite_trials"),
            (RelationalStorage, "_rewrite_trial"),
            (StudyFiles, "write_text"),
            (StudyFiles, "write_json"),
            (Path, "unlink"),
        ):
            patch.setattr(place, name, counter.counted(getattr(place, name)))
        try:
            widen_to(config, WIDER_TEXT)
        except Killed:
            assert last is not None
    return counter.n_done


def state_of(config: StudyConfig) -> str:
    """Which of the two studies it is: all of the folder and the storage have to say the same."""
    files = StudyFiles(config.folder)
    study = open_finished(files)
    identity = study.user_attrs["identity"]
    close(study)
    table = identity["space"]
    assert files.read_plain(files.config)["space"] == table
    assert parse_toml(files.space.read_text(encoding="utf-8"), "") == table
    varies = {"averaging" in trial.params for trial in trials_of(config)}
    if table == DIGITS_TABLE:
        assert varies == {False} and files.read_spaces() == () and not list(files.old_spaces.glob("*.db"))
        return "old"
    assert table == WIDER_TABLE and varies == {True} and len(files.read_spaces()) == 2
    assert (files.old_spaces / "1.toml").read_text(encoding="utf-8") == DIGITS_TEXT
    return "widened"


def without_dates(config: StudyConfig) -> list[Any]:
    return [(trial.number, trial.params, trial.distributions, trial.user_attrs) for trial in trials_of(config)]


def test_kill_at_a_write_leaves_the_old_study_or_the_widened_one(
    searched: Path, tmp_path: Path, fresh: Callable[[], StudyConfig]
) -> None:
    whole = fresh()
    n_writes = widen_until(whole, None)
    assert state_of(whole) == "widened" and n_writes > 15
    found = []
    for last in (*range(0, n_writes, 3), n_writes - 1):  # each third, as each takes seconds
        config = fresh()
        widen_until(config, last)
        files = StudyFiles(config.folder)
        said: list[str] = []
        files.checksums.say = said.append
        study = open_finished(files)  # as a report or a dashboard does: nothing looks damaged
        assert len(read_trials(study)) == 12
        close(study)
        finish_widening(config, files)  # as the next run does
        files.remove_half_written()
        assert said == [] and not files.widening.exists()
        found.append(state_of(config))
        if found[-1] == "old":
            widen_to(config, WIDER_TEXT)
        assert state_of(config) == "widened" and without_dates(config) == without_dates(whole)
    assert found == sorted(found) and set(found) == {"old", "widened"}


def test_widened_study_is_restored_from_its_copy_as_it_is_now(config: StudyConfig) -> None:
    widen_to(config, WIDER_TEXT)
    before = trials_of(config)
    files = StudyFiles(config.folder)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{files.storage}{suffix}").unlink(missing_ok=True)
    assert len(read_trials(open_finished(StudyFiles(config.folder)))) == 12
    assert [trial.distributions for trial in trials_of(config)] == [trial.distributions for trial in before]


def test_database_is_kept_as_it_was(config: StudyConfig) -> None:
    before = trials_of(config)
    said = widen_to(config, WIDER_TEXT)
    backup = StudyFiles(config.folder).old_spaces / "1.db"
    assert said == f"the study goes on with 12 trials; {backup} keeps the database as it was"
    assert trials_of(replace(config, storage=f"sqlite:///{backup}")) == before


def test_study_grows_again(config: StudyConfig) -> None:
    widen_to(config, WIDER_TEXT)
    search(config, 14, WIDER_TEXT)
    widest = WIDER_TEXT.replace("max_parameters = 400_000\n", "")
    widen_to(config, widest)
    files = StudyFiles(config.folder)
    spaces = files.read_spaces()
    assert [record.file for record in spaces] == ["spaces/1.toml", "spaces/2.toml", "spaces/3.toml"]
    assert [record.first_trial for record in spaces] == [0, 12, 14]
    assert spaces[2].grown == ("limits.max_parameters: 400,000 -> no limit",)
    texts = [(files.root / record.file).read_text(encoding="utf-8") for record in spaces]
    assert texts == [DIGITS_TEXT, WIDER_TEXT, widest]
    assert len(list(files.old_spaces.glob("*.db"))) == 2


def test_study_in_a_storage_of_its_own_grows_and_leaves_the_others_there_alone(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/shared.db"
    config = config_of(tmp_path, storage=storage)
    other = replace(config_of(tmp_path, storage=storage), study="other")
    for each in (config, other):
        search(each, 4)
    untouched = trials_of(other)
    widen_to(config, WIDER_TEXT)
    search(config, 6, WIDER_TEXT)
    assert len(trials_of(config)) == 6 and all("averaging" in trial.params for trial in trials_of(config))
    assert trials_of(other) == untouched
    assert json.loads(StudyFiles(other.folder).config.read_text())["space"] == DIGITS_TABLE


def test_check_leaves_a_half_widened_study_to_a_run(config: StudyConfig) -> None:
    widen_until(config, 3)
    files = StudyFiles(config.folder)
    with needs_remedy("--check needs a study as a run has left it, but one was killed while it widened {}; run the"):
        refuse_half_widened(config, files)
    finish_widening(config, files)
    refuse_half_widened(config, files)


def test_file_of_the_old_space_must_be_there(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    files = search(config, 3)
    for path in (files.space, files.checksums.copies / "space.toml"):
        path.unlink()
    with needs_remedy("--widen keeps the file of the old space, but {} is missing; restore it, or run"):
        widen_to(config, WIDER_TEXT)
    files.write_text(files.space, DIGITS_TEXT)  # as a run in the old space does
    assert state_of(config) == "old"
    widen_to(config, WIDER_TEXT)
    assert state_of(config) == "widened"
