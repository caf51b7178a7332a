"""Studies that earlier versions have left: each goes on, and says which versions have worked on it.

`tests/fixtures/studies/VERSION/` is what a search of six trials of the digits left: its database as SQL, and no samples
for the report. Add one when the version changes. `tests/fixtures/stopped-study/` was stopped by version 0.5.0 in its
final round, with one of three finalists confirmed by a short training, whose network was not kept.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.cli import EXIT_USER_ERROR
from search import __version__
from search.records.files import StudyFiles
from search.run import main
from search.study.study import STUDY_FORMAT, open_finished, versions_of
from search.study.trials import read_trials
from tests.support.training.fakes import fake_workers
from tests.support.wider import WIDER_TEXT

pytestmark = pytest.mark.process
FIXTURES = Path(__file__).parents[1] / "fixtures"
STUDIES = sorted((FIXTURES / "studies").iterdir())


def copied(fixture: Path, folder: Path) -> Path:
    """The study in a folder of its own, its database made from SQL."""
    shutil.copytree(fixture, folder)
    script = folder / "study.sql"
    with sqlite3.connect(folder / "study.db") as connection:
        connection.executescript(script.read_text())
    connection.close()
    script.unlink()
    return folder


@pytest.fixture(params=STUDIES, ids=lambda path: path.name)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return copied(request.param, tmp_path / "digits")


def run(folder: Path, *more: str) -> int:
    options = ["--dataset", "digits", "--studies-dir", str(folder.parent), "--trials", "8", "--search-only"]
    return main([*options, *more], worker_processes=fake_workers)


def test_old_study_goes_on(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_by = json.loads((old / "config.json").read_text())["version"]
    before = read_trials(open_finished(StudyFiles(old)))
    code = run(old)
    assert (code, capsys.readouterr().err) == (0, "")
    study = open_finished(StudyFiles(old))
    assert len(read_trials(study)) == 8
    assert read_trials(study)[: len(before)] == before
    assert versions_of(study) == list(dict.fromkeys([made_by, __version__]))
    assert json.loads((old / "config.json").read_text())["version"] == made_by, "the version of its maker"


def test_old_study_grows_with_its_trials(old: Path, tmp_path: Path) -> None:
    before = read_trials(open_finished(StudyFiles(old)))
    (tmp_path / "wider.toml").write_text(WIDER_TEXT, encoding="utf-8")
    assert run(old, "--space", str(tmp_path / "wider.toml"), "--widen") == 0
    study = open_finished(StudyFiles(old))
    after = read_trials(study)
    assert len(after) == 8
    assert [replace(trial, params={}) for trial in after[:6]] == [replace(trial, params={}) for trial in before]
    assert {"averaging" in trial.params for trial in after} == {True}
    assert {trial.distributions["batch_size"].choices for trial in study.trials} == {(16, 32, 64)}


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (("--seed", "1"), "made with seed = 0, but now it is 1"),
        (("--sampler", "random"), "made with sampler = tpe, but now it is random"),
        (("--pruner", "median"), "made with pruner = asha, but now it is median"),
    ],
)
def test_old_study_does_not_go_on_with_anything_else(
    old: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], difference: str
) -> None:
    assert run(old, *options) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert difference in error or "split_checksum" in error  # another seed is another split
    assert len(read_trials(open_finished(StudyFiles(old)))) == 6


def test_study_of_an_unknown_format_is_refused_with_the_version_that_made_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(FIXTURES / "studies" / "0.5.0", tmp_path / "digits")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": STUDY_FORMAT + 1, "version": "9.0.0"}))
    assert run(folder) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert f"study digits has format {STUDY_FORMAT + 1}, but version {__version__} continues format" in error
    assert "use version 9.0.0, which made it, or start a new study with --study NAME" in error


@pytest.mark.slow
@pytest.mark.trains
def test_study_stopped_by_a_version_before_students_trains_its_finalists_in_full(tmp_path: Path) -> None:
    folder = copied(FIXTURES / "stopped-study", tmp_path / "part")
    files = StudyFiles(folder)
    trials = read_trials(open_finished(files))
    options = ["--dataset", "digits", "--study", "part", "--trials", "5", "--workers", "1"]
    assert main([*options, "--studies-dir", str(tmp_path)]) == 0
    assert read_trials(open_finished(files)) == trials
    finalists = files.read_confirm_records()
    assert {record.trial for record in finalists} == {0, 1, 2}
    assert {record.fit_on for record in finalists} == {"searched"}
    assert len(files.read_student_records()) == 1
    accuracies = json.loads(files.test.read_text())["accuracies"]
    assert min(accuracies) > 0.97  # version 0.5.0 scored 0.9917 to 0.9972 with its winner
    assert files.report_html.exists()


def test_this_version_has_its_fixture() -> None:
    assert __version__ in {path.name for path in STUDIES}
