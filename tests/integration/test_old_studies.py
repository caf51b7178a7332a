"""Studies that earlier versions have left: each resumes, or is refused by the version's name and stays as it was.

`tests/fixtures/studies/VERSION/` is what a search of six trials of the digits left: its database as SQL, and no samples
for the report. Add one when the version changes.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from fmnist.cli import EXIT_USER_ERROR
from search import __version__
from search.run import main
from tests.support.fakes import fake_workers

STUDIES = sorted(path for path in (Path(__file__).parents[1] / "fixtures" / "studies").iterdir())


@pytest.fixture(params=STUDIES, ids=lambda path: path.name)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    shutil.copytree(request.param, folder)
    script = folder / "study.sql"
    with sqlite3.connect(folder / "study.db") as connection:
        connection.executescript(script.read_text())
    connection.close()
    script.unlink()
    return folder


def n_trials(folder: Path) -> int:
    with sqlite3.connect(folder / "study.db") as connection:
        (n,) = connection.execute("SELECT COUNT(*) FROM trials").fetchone()
    connection.close()
    return n


def test_old_study_goes_on_or_is_refused_by_name(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    version = json.loads((old / "config.json").read_text())["version"]
    options = ["--dataset", "digits", "--studies-dir", str(old.parent), "--trials", "8", "--search-only"]
    code = main(options, worker_processes=fake_workers)
    error = capsys.readouterr().err
    if version == __version__:
        assert (code, error) == (0, "")
        assert n_trials(old) == 8
    else:
        assert code == EXIT_USER_ERROR
        assert f"made with version = {version}, but now it is {__version__}" in error
        assert n_trials(old) == 6


def test_this_version_has_its_fixture() -> None:
    assert __version__ in {path.name for path in STUDIES}
