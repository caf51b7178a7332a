"""`--widen` as a run has it: what it refuses with which remedy, and that the remedy works. Nothing is trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fmnist.errors import UserError
from search.callbacks.reporter import INFO, Reporter
from search.config import StudyConfig
from search.pipeline import run_study
from search.records.files import StudyFiles
from search.results.result import StudyResult
from search.run import main
from search.widening import steps
from tests.support.remedies import needs_remedy
from tests.support.spaces import DIGITS_TEXT
from tests.support.training import fakes
from tests.support.widening import digits_space, trials_of
from tests.support.wider import WIDER_TEXT

pytestmark = pytest.mark.studies


def search(folder: Path, space: str | None = None, trials: int = 8, study: str = "s", **more: object) -> StudyResult:
    """Search in the space of this text; None: the digits' own."""
    if space is not None:
        path = folder / "mine.toml"
        path.write_text(space, encoding="utf-8")
        more["space"] = path
    config = StudyConfig(study=study, dataset="digits", studies_dir=folder, trials=trials, workers=1, **more)
    return run_study(config, search_only=True, worker_processes=fakes.fake_workers)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with one of six trials."""
    folder = tmp_path_factory.mktemp("studies")
    search(folder, trials=6)
    return folder


@pytest.fixture
def studies(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "studies"))


def test_study_goes_on_in_the_larger_space_with_its_trials(studies: Path) -> None:
    before = search(studies, trials=6).trials
    result = search(studies, WIDER_TEXT, widen=True)
    assert len(result.trials) == 8
    for old, new in zip(before, result.trials, strict=False):
        assert (old.value, old.recipe, old.history, old.started) == (new.value, new.recipe, new.history, new.started)
    assert [record.first_trial for record in result.spaces] == [0, 6]
    space = digits_space(WIDER_TEXT)
    assert all(space.recipe_of(trial.params).to_dict() == trial.recipe for trial in result.trials)
    again = search(studies, WIDER_TEXT, trials=9)  # the option is for the step, not for what follows
    assert again.trials[:8] == result.trials and len(again.trials) == 9
    files = StudyFiles(studies / "s")
    assert "--widen" not in files.read_command()
    assert files.space.read_text(encoding="utf-8") == WIDER_TEXT


def test_larger_space_is_refused_without_the_option_which_helps(studies: Path) -> None:
    with needs_remedy("in a space that contains the study's; pass --widen to go on in it, or pass"):
        search(studies, WIDER_TEXT)
    search(studies, trials=7)
    search(studies, WIDER_TEXT, widen=True)


@pytest.mark.parametrize(
    ("name", "narrow", "own", "too_narrow"),
    [("max_parameters", 20_000, 200_000, 100_000), ("max_multiply_adds", 400_000, 5_000_000, 500_000)],
)
def test_narrower_limit_of_the_command_line_grows_too(
    tmp_path: Path, name: str, narrow: int, own: int, too_narrow: int
) -> None:
    search(tmp_path, trials=4, **{name: narrow})
    with needs_remedy("was made with {} = {}, but now it is {}, in a space that contains the study's; pass --widen"):
        search(tmp_path, trials=5)
    result = search(tmp_path, trials=5, widen=True)
    assert result.spaces[1].grown == (f"limits.{name}: {narrow:,} -> {own:,}",)
    with pytest.raises(UserError, match=rf"limits\.{name} was {own:,} and is {too_narrow:,}"):
        search(tmp_path, trials=6, widen=True, **{name: too_narrow})
    assert len(search(tmp_path, trials=6).trials) == 6


def test_space_that_does_not_contain_the_study_s_is_searched_in_another_study(studies: Path) -> None:
    before = trials_of(StudyConfig(study="s", dataset="digits", studies_dir=studies))
    other = DIGITS_TEXT.replace("n_epochs = 30", "n_epochs = 40")
    with needs_remedy("--widen needs a space that contains the study's, but {} was {} and is {}; let it") as caught:
        search(studies, other, widen=True)
    assert str(caught.value).endswith("in another study, with --start-from s --study NAME and without --widen")
    assert trials_of(StudyConfig(study="s", dataset="digits", studies_dir=studies)) == before
    result = search(studies, other, study="t", start_from="s", trials=3)
    assert len(result.trials) == 3


def test_copy_of_the_space_in_the_study_s_folder_is_edited_elsewhere(studies: Path) -> None:
    own = studies / "s" / "space.toml"
    own.write_text(WIDER_TEXT, encoding="utf-8")
    with needs_remedy("--widen needs the larger space in a file of its own, but {}, the study's copy of its old one"):
        search(studies, WIDER_TEXT, widen=True)
    own.rename(studies / "wider.toml")
    result = search(studies, (studies / "wider.toml").read_text(encoding="utf-8"), widen=True)
    assert len(result.spaces) == 2
    assert (studies / "s" / "spaces" / "1.toml").read_text(encoding="utf-8") == DIGITS_TEXT


class Killed(BaseException):
    """Stands for the end of the process."""


def killed(*_: object) -> None:
    raise Killed


def test_run_after_a_kill_goes_on_with_the_old_study_or_the_widened_one(
    studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in ("copy_database", "_write_folder"):  # before the trials are rewritten, and after it
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(steps, where, killed)
            search(studies, WIDER_TEXT, widen=True)
        if where == "copy_database":
            assert search(studies, trials=7).spaces == ()
    with pytest.raises(UserError, match=r"pass the --space that it was made with, such as space\.toml in its folder"):
        search(studies, trials=9)
    assert (studies / "s" / "space.toml").read_text(encoding="utf-8") == WIDER_TEXT
    result = search(studies, WIDER_TEXT, trials=9)
    assert len(result.trials) == 9 and [record.first_trial for record in result.spaces] == [0, 7]


class Notes(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str, level: str = INFO, *, wrap: bool = True) -> None:
        self.texts.append(text)


def test_nothing_happens_to_a_study_that_has_the_space(studies: Path) -> None:
    before = (studies / "s" / "config.json").read_bytes()
    said = Notes()
    config = StudyConfig(study="s", dataset="digits", studies_dir=studies, trials=7, workers=1, widen=True)
    result = run_study(config, said, search_only=True, worker_processes=fakes.fake_workers)
    assert "--widen: the study has this space already" in said.texts
    assert len(result.trials) == 7 and result.spaces == ()
    assert (studies / "s" / "config.json").read_bytes() == before
    assert not (studies / "s" / "spaces").exists()


def test_new_study_has_nothing_to_widen(studies: Path) -> None:
    with needs_remedy("--widen needs a study to go on with, but there is none in {}; leave --widen out, or pass"):
        search(studies, WIDER_TEXT, study="t", widen=True)
    assert not (studies / "t").exists()
    search(studies, WIDER_TEXT, study="t", trials=2)
    search(studies, WIDER_TEXT, study="s", widen=True)


def test_best_of_another_study_is_for_a_new_one(studies: Path) -> None:
    with needs_remedy("--widen goes on with the study's own trials, but got --start-from {}; leave --start-from out"):
        search(studies, WIDER_TEXT, widen=True, start_from="t")
    search(studies, WIDER_TEXT, widen=True)


@pytest.mark.parametrize("done", ["confirmed", "opened"])
def test_space_stays_once_finalists_were_confirmed(studies: Path, done: str) -> None:
    files = StudyFiles(studies / "s")
    files.confirm.mkdir()
    fixture = Path(__file__).parents[1] / "fixtures" / "stopped-study" / "confirm"
    record = json.loads(next(iter(sorted(fixture.glob("trial-*.json")))).read_text(encoding="utf-8"))
    files.write_json(files.confirm_record(0), {**record, "trial": 0})
    if done == "opened":
        test = {"opened": "2026-01-02T03:04:05+00:00", "n_images": 9, "accuracies": [0.9], "n_trials_asked": 6}
        files.write_json(files.test, {**test, "delivered_accuracy": 0.9, "seconds": 1.0})
    with needs_remedy("study {} {}, so its space must stay; {}") as caught:
        search(studies, WIDER_TEXT, trials=6, widen=True)
    assert ("opened its test set" if done == "opened" else "confirmed finalists") in str(caught.value)
    with pytest.raises(UserError, match="pass the --space that it was made with") as refused:
        search(studies, WIDER_TEXT, trials=6)
    assert "--widen" not in str(refused.value)
    result = search(studies, WIDER_TEXT, study="t", start_from="s", trials=3)
    assert len(result.trials) == 3


def test_command_line_says_what_grows_and_what_became_of_the_trials(
    studies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wider.toml").write_text(WIDER_TEXT, encoding="utf-8")
    words = ["--dataset", "digits", "--study", "s", "--studies-dir", str(studies), "--workers", "1", "--search-only"]
    words += ["--space", str(tmp_path / "wider.toml"), "--trials", "7"]
    assert main(words, worker_processes=fakes.fake_workers) == 2
    assert "pass --widen to go on in it" in capsys.readouterr().err
    assert main([*words, "--widen"], worker_processes=fakes.fake_workers) == 0
    said = capsys.readouterr().out
    assert "the space grows: training.shift: 0 to 1 -> one of 2, 1, 0" in said
    assert "the study goes on with 6 trials" in said
    assert len(trials_of(StudyConfig(study="s", dataset="digits", studies_dir=studies))) == 7


@pytest.mark.process
def test_check_says_what_grows_and_changes_nothing(
    studies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wider.toml").write_text(WIDER_TEXT, encoding="utf-8")
    before = {path: path.read_bytes() for path in (studies / "s").rglob("*") if path.is_file() and "-" not in path.name}
    words = ["--dataset", "digits", "--study", "s", "--studies-dir", str(studies), "--workers", "1", "--check"]
    words += ["--space", str(tmp_path / "wider.toml"), "--trials", "9", "--widen"]
    assert main(words, worker_processes=fakes.fake_workers) == 0
    said = capsys.readouterr().out
    assert "the space grows: training.shift: 0 to 1 -> one of 2, 1, 0" in said
    assert "The study has 6 finished trials; 3 are left." in said
    assert {path: path.read_bytes() for path in before} == before
