"""An SQLite file is the one that its path names, whatever the path is made of."""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path

import optuna
import pytest
from hypothesis import given

from fmnist.errors import UserError
from search.config import StudyConfig
from search.pipeline import run_study
from search.records.files import StudyFiles
from search.study.locks import hold_storage
from search.study.storage.opening import open_sqlite, open_storage
from search.system.sqlite import LONGEST_SQLITE_PATH, sqlite_path, sqlite_url
from tests.support.paths import LEGAL_NAMES

NAMES_THAT_URLS_CHANGE = (
    *("a?b.c=1&d", "100%41", "a#b;c+d", "{0}", "{SCHEMA_VERSION}", ":memory:", "s3:", "file:x?mode=ro"),
    *("a\nb", "[x] \\", "~", "cafe\u0301 😀", "caf\udce9"),
)


@given(LEGAL_NAMES)
def test_url_of_any_path_leads_back_to_it(name: str) -> None:
    assert sqlite_path(sqlite_url(Path("/x", name, "s.db"))) == Path("/x", name, "s.db")


@pytest.mark.parametrize("name", NAMES_THAT_URLS_CHANGE)
def test_study_is_in_the_file_of_this_name_and_nowhere_else(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "s.db"
    path.parent.mkdir()
    for _ in range(2):
        storage = open_storage(sqlite_url(path))
        with hold_storage(storage, StudyConfig("mine", storage="sqlite:///named.db")):
            optuna.create_study(study_name="mine", storage=storage, load_if_exists=True)
        storage.engine.dispose()
    assert os.listdir(tmp_path) == [name]
    assert set(os.listdir(path.parent)) <= {"s.db", "s.db-wal", "s.db-shm", "s.db.lock"}
    assert open_storage(f"sqlite:///{urllib.parse.quote(os.fsencode(path))}", must_exist=True)


def test_database_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sqlite_path("sqlite:///~/s.db") == tmp_path / "s.db"


@pytest.mark.follows("--storage must name a file for SQLite and no more")
def test_what_a_url_would_cut_off_is_refused_and_its_remedy_works(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must name a file for SQLite and no more") as refusal:
        open_storage(f"sqlite:///{tmp_path}/really?.db")
    open_storage(str(refusal.value).rpartition(" as ")[2]).engine.dispose()
    assert (tmp_path / "really?.db").is_file()


def test_longest_path_that_sqlite_opens_is_accepted_and_a_longer_one_refused_before_anything(tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < LONGEST_SQLITE_PATH - 120:
        folder /= "x" * 99
    folder.mkdir(parents=True)
    longest = folder / ("y" * (LONGEST_SQLITE_PATH - len(str(folder)) - 1))
    optuna.create_study(storage=open_sqlite(longest))
    config = StudyConfig("mine", dataset="digits", studies_dir=longest.parent / ("z" * 120))
    with pytest.raises(UserError, match=r"504 bytes at most.*; choose a shorter --studies-dir$"):
        run_study(config)
    assert not StudyFiles(config.folder).root.parent.exists()
