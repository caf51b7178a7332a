"""python -m search.report: from a study's folder to its report, without TensorFlow; what it refuses, in one line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.cli import EXIT_USER_ERROR
from search.records.files import StudyFiles
from search.records.io import write_text
from search.records.models import TrialRecord
from search.report.__main__ import main
from search.study.locks import hold
from search.study.study import open_finished
from search.study.trials import importances, read_trials
from tests.support.made_study import make_study, write_made_report
from tests.support.made_trials import Made, store_trials

pytestmark = pytest.mark.renders

ROOT = Path(__file__).resolve().parents[2]
SMALL = Made(n_trials=12, n_test=200, n_train=1000)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrialRecord]]:
    folder = tmp_path_factory.mktemp("template")
    files, trials = make_study(folder / "alpha", SMALL)
    store_trials(files, trials)
    return folder, trials


@pytest.fixture
def studies(template: tuple[Path, list[TrialRecord]], tmp_path: Path) -> Path:
    """A folder with the study alpha, each test's own."""
    return shutil.copytree(template[0], tmp_path / "studies")


@pytest.fixture
def refused(studies: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command and give what follows `error: `. Nothing may be written."""

    def run(*words: str) -> str:
        before = files_of(studies)
        code = main([*words, "--studies-dir", str(studies)])
        output = capsys.readouterr()
        assert (code, output.out, output.err.count("\n")) == (EXIT_USER_ERROR, "", 1), output.err
        assert files_of(studies) == before
        return output.err.removeprefix("error: ").rstrip()

    return run


def files_of(folder: Path) -> list[Path]:
    """But for those of SQLite's while its file is open."""
    return sorted(path for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm")))


def run(studies: Path, *words: str) -> int:
    return main([*words, "--studies-dir", str(studies)])


def test_trials_come_back_from_the_storage_as_they_were(template: tuple[Path, list[TrialRecord]]) -> None:
    folder, trials = template
    read = read_trials(open_finished(StudyFiles(folder / "alpha")))
    assert read == [replace(trial, recipe=it.recipe) for trial, it in zip(trials, read, strict=True)]
    assert [it.recipe for it in read] == json.loads(json.dumps([trial.recipe for trial in trials]))


def test_report_is_the_one_of_the_records(
    studies: Path, template: tuple[Path, list[TrialRecord]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(studies, "alpha") == 0
    files = StudyFiles(studies / "alpha")
    assert capsys.readouterr().out == f"report: {files.report_html}\n"
    built = {path: path.read_bytes() for path in (files.report_html, files.report_markdown, files.report_json)}
    of_study = importances(open_finished(files))
    write_made_report(
        files, template[1], command="python -m search.run --study alpha --trials 12", importances=of_study
    )
    assert built == {path: path.read_bytes() for path in built}


def test_study_that_a_run_holds_can_be_read(studies: Path) -> None:
    with hold(StudyFiles(studies / "alpha")):
        assert run(studies, "alpha") == 0


@pytest.mark.process
def test_building_it_loads_no_tensorflow(studies: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "search.report", "alpha", "--studies-dir", str(studies)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    loaded = {line.rpartition("|")[2].strip() for line in child.stderr.splitlines() if line.startswith("import time:")}
    assert child.returncode == 0, child.stderr[-2000:]
    assert "optuna" in loaded
    assert not {"keras", "tensorflow"} & loaded


def test_command_of_a_study_from_before_is_that_of_its_report(studies: Path) -> None:
    files = StudyFiles(studies / "alpha")
    assert run(studies, "alpha") == 0
    first = files.report_json.read_text()
    files.command.unlink()
    assert run(studies, "alpha") == 0
    assert files.report_json.read_text() == first
    assert json.loads(first)["command"] == "python -m search.run --study alpha --trials 12"


def test_trials_are_read_where_the_study_keeps_them(studies: Path, tmp_path: Path) -> None:
    files = StudyFiles(studies / "alpha")
    url = f"sqlite:///{shutil.move(files.storage, tmp_path / 'elsewhere.db')}"
    edit(files.config, storage=url)
    assert run(studies, "alpha") == 0
    edit(files.config, storage="the study's folder")
    assert run(studies, "alpha", "--storage", url) == 0
    assert not files.storage.exists()


def edit(path: Path, **changes: object) -> None:
    write_text(path, json.dumps(json.loads(path.read_text()) | changes))


def test_comparison_lies_beside_the_studies(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store_trials(*make_study(studies / "beta", replace(SMALL, seed=1)))
    assert run(studies, "alpha", "beta") == 0
    assert capsys.readouterr().out == f"comparison: {studies / 'compare-alpha-beta.html'}\n"
    compared = json.loads((studies / "compare-alpha-beta.json").read_text())
    assert compared["studies"] == {"a": "alpha", "b": "beta"}
    assert not StudyFiles(studies / "beta").report_html.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: NAME"),
        (["beta"], "but got beta, which it has not; choose among alpha"),
        (["alpha", "beta"], "but got beta, which it has not; choose among alpha"),
        (["../alpha"], "the study's name must be .* but got '../alpha'; name a study's folder"),
        ([""], "the study's name must be .* but got ''"),
        (["al\npha"], "the study's name must be"),
        (["alpha", "alpha"], "two different ones, but got alpha alpha"),
        (["alpha", "beta", "gamma"], "one study, a comparison two different ones, but got alpha beta gamma"),
        (["alpha", "--trials", "3"], "unrecognized arguments: --trials 3; see python -m search.report --help"),
        (["alpha", "--storage", "nonsense"], "--storage must be a URL"),
        (["alpha", "--storage", "mysql://host/name"], "--storage must be SQLite or PostgreSQL"),
    ],
)
def test_words_that_name_no_study_are_refused(refused: Callable[..., str], words: list[str], message: str) -> None:
    assert re.search(message, refused(*words))


def test_folder_without_studies_says_how_to_name_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none", "alpha") == EXIT_USER_ERROR
    assert "pass the folder of your studies as --studies-dir" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["test.json", "test.npz", "best.keras", "refit/seed-0.json"])
def test_study_that_has_not_come_to_its_end_is_refused(
    refused: Callable[..., str], studies: Path, missing: str
) -> None:
    (studies / "alpha" / missing).unlink()
    message = refused("alpha")
    assert "needs a study that has come to its end" in message
    assert f"has no {missing}" in message


def test_study_under_way_is_refused_before_its_storage_is_sought(refused: Callable[..., str], studies: Path) -> None:
    (studies / "alpha" / "test.json").unlink()
    (studies / "alpha" / "study.db").unlink()
    assert "has no test.json" in refused("alpha")


def test_missing_trials_are_named_and_no_empty_storage_is_made(
    refused: Callable[..., str], studies: Path, tmp_path: Path
) -> None:
    (studies / "alpha" / "study.db").unlink()
    assert "study.db is missing, and the study's trials with it" in refused("alpha")
    assert "other.db is missing" in refused("alpha", "--storage", f"sqlite:///{tmp_path / 'other.db'}")
    assert not (tmp_path / "other.db").exists()


def test_storage_of_another_study_is_refused(refused: Callable[..., str], studies: Path) -> None:
    edit(studies / "alpha" / "config.json", study="another")
    assert "holds no study another; pass the --storage that has its trials" in refused("alpha")


def test_storage_whose_password_was_hidden_asks_for_it(refused: Callable[..., str], studies: Path) -> None:
    edit(studies / "alpha" / "config.json", storage="postgresql://searcher:***@host/name")
    message = refused("alpha")
    assert "the password in ~/.pgpass or $PGPASSWORD" in message


def test_study_without_any_command_says_what_is_missing(refused: Callable[..., str], studies: Path) -> None:
    (studies / "alpha" / "command.txt").unlink()
    assert "report.json cannot be read" in refused("alpha")


def test_damaged_record_is_named(refused: Callable[..., str], studies: Path) -> None:
    (studies / "alpha" / "test.json").write_text("{")
    assert "test.json cannot be read" in refused("alpha")
