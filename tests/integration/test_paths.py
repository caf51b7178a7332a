"""A study in folders of any name, and in a current folder that changes or goes; nothing is left anywhere else."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fmnist.cli import EXIT_USER_ERROR
from fmnist.errors import UserError
from fmnist.recipe import Recipe
from search import Callback, StudyConfig, run_study
from search.run import main
from tests.support.made_images import write_divided
from tests.support.spaces import QUICK
from tests.support.training.fakes import fake_workers

ROOT = Path(__file__).parents[2]
NASTY = "-a?b%41#[x] {y}&'\"\\c`d\n ~ e\u0301😀"
LEFT_BY_LIBRARIES = {".cache", ".config", ".keras"}  # of matplotlib and Keras, in the home folder


class Moving(Callback):
    """Goes to another folder with the first training, and deletes it."""

    def __init__(self, there: Path) -> None:
        self.there = there

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        if self.there.exists():
            os.chdir(self.there)
            self.there.rmdir()


@pytest.mark.process
def test_run_in_a_folder_that_is_left_and_deleted_meanwhile_stays_where_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "begun")
    config = StudyConfig("mine", dataset="digits", trials=2, workers=1)
    study = run_study(config, search_only=True, callbacks=[Moving(tmp_path / "gone")], worker_processes=fake_workers)
    assert len(study.trials) == 2
    assert study.files.root == tmp_path / "begun" / "studies" / "mine"
    assert study.files.history.is_file()
    assert os.listdir(tmp_path) == ["begun"]
    with pytest.raises(UserError, match="the current folder has been deleted; change to one that is there"):
        run_study(config, search_only=True, worker_processes=fake_workers)
    os.chdir(tmp_path / "begun")
    assert run_study(config, search_only=True, worker_processes=fake_workers).trials == study.trials


@pytest.mark.process
def test_two_data_sets_whose_studies_would_have_one_name_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_divided(tmp_path / "my shoes!")
    second = write_divided(tmp_path / "my-shoes", make=lambda images: 255 - images)
    words = ["--studies-dir", str(tmp_path / "studies"), "--trials", "1", "--workers", "1", "--search-only"]
    assert main([*words, "--dataset", str(first)], worker_processes=fake_workers) == 0
    assert "the study is called my-shoes, after 'my shoes!'" in capsys.readouterr().out
    again = [*words, "--dataset", str(second)]
    assert main(again, worker_processes=fake_workers) == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert f"these are not its images, which are those of {first}; restore it, or start" in said
    assert main([*again, *said.split()[-2:]], worker_processes=fake_workers) == 0
    assert sorted(os.listdir(tmp_path / "studies")) == ["my-shoes", "my-shoes-2"]


@pytest.mark.parametrize("option", ["--studies-dir", "--space", "--dataset", "--storage"])
def test_path_that_records_cannot_hold_is_refused_before_anything(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused_in: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    value = "sqlite:///caf\udce9.db" if option == "--storage" else "caf\udce9"
    words = [] if option == "--dataset" else ["--dataset", "digits"]
    said = refused_in("--study", "mine", *words, option, value)
    assert f"the path of {option} must be UTF-8, but got b'" in said and "rename what is not" in said
    assert os.listdir(tmp_path) == []


@pytest.fixture
def refused_in(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str) -> str:
        assert main(words) == EXIT_USER_ERROR
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.trains
def test_study_in_folders_of_odd_names_works_to_the_end_and_leaves_nothing_elsewhere(tmp_path: Path) -> None:
    here, home, temporary = tmp_path / NASTY, tmp_path / "home", tmp_path / "temporary"
    for folder in (here, home, temporary):
        folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home), "TMPDIR": str(temporary)}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        environment.pop(name, None)

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    python = (sys.executable, "-m")
    places = ("--dataset", "digits", "--space", str(QUICK), f"--studies-dir={NASTY}")
    out = run(*python, "search.run", *places, "--trials", "2")
    assert os.listdir(here) == [NASTY]
    assert os.listdir(here / NASTY) == ["digits"]
    assert set(os.listdir(home)) <= LEFT_BY_LIBRARIES
    assert os.listdir(temporary) == []
    study = here / NASTY / "digits"
    assert not [name for name in tree(study) if ".writing-" in name]

    command = shlex.split((study / "command.txt").read_bytes().decode())
    assert command[:3] == ["python", "-m", "search.run"]
    run(sys.executable, *command[1:])  # as it is recorded
    predict = shlex.split(out[out.index("python -m fmnist.predict") :])
    Image.new("L", (8, 8), 255).save(here / "-~[x]?\n.png")
    assert "./-~[x]?" in run(sys.executable, *predict[1:4], "./-~[x]?\n.png")
    assert set(os.listdir(home)) <= LEFT_BY_LIBRARIES and os.listdir(temporary) == []
