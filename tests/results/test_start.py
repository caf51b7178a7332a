"""A study begins with the best of an older one."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest

from search.config import StudyConfig
from search.pipeline import run_study
from search.records.files import StudyFiles
from search.results.result import StudyResult
from search.results.start import N_TAKEN, best_trials
from search.run import main
from tests.support.remedies import needs_remedy
from tests.support.training import fakes

pytestmark = pytest.mark.studies


def search(folder: Path, study: str, trials: int, **more: object) -> StudyResult:
    config = StudyConfig(study=study, dataset="digits", studies_dir=folder, trials=trials, workers=1, **more)
    return run_study(config, search_only=True, worker_processes=fakes.fake_workers)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with one, whose search has ended."""
    folder = tmp_path_factory.mktemp("studies")
    search(folder, "old", 10)
    return folder


@pytest.fixture
def studies(old: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(old, tmp_path / "studies"))


def test_best_of_the_old_study_is_tried_first_in_the_new_one(studies: Path) -> None:
    result = search(studies, "new", 14, start_from="old")
    taken = [trial for trial in result.trials if trial.origin.startswith("old, trial ")]
    assert 1 <= len(taken) <= N_TAKEN
    sampled = [trial.number for trial in result.trials if trial.origin == "sampler"]
    assert max(trial.number for trial in taken) < min(sampled)
    old_trials = {trial.number: trial for trial in search(studies, "old", 10).trials}
    for trial in taken:
        assert trial.params == old_trials[int(trial.origin.rpartition(" ")[2])].params


def test_new_study_goes_on_without_the_old_one(studies: Path) -> None:
    begun = search(studies, "new", 8, start_from="old")
    shutil.rmtree(studies / "old")
    result = search(studies, "new", 10, start_from="old")
    assert len(result.trials) == 10
    assert [trial.params for trial in result.trials[:8]] == [trial.params for trial in begun.trials]


def test_new_study_without_the_option_is_told_what_it_was_made_with(
    studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(studies, "new", 8, start_from="old")
    words = ["--dataset", "digits", "--study", "new", "--studies-dir", str(studies), "--trials", "9", "--search-only"]
    assert main(words, worker_processes=fakes.fake_workers) == 2
    assert "pass the --space that it was made with, such as space.toml in its folder" in capsys.readouterr().err
    words += ["--space", str(studies / "new" / "space.toml")]
    assert main(words, worker_processes=fakes.fake_workers) == 0


def test_old_study_must_be_there(studies: Path) -> None:
    with needs_remedy("{} needs a study of {}, but got {}, which it has not; {}"):
        search(studies, "new", 8, start_from="elder")
    search(studies, "new", 8, start_from="old")


def test_study_does_not_start_from_itself(studies: Path) -> None:
    with needs_remedy("--start-from must be another study, but got {} itself; pass the older one's name, and"):
        search(studies, "old", 12, start_from="old")
    search(studies, "new", 8, start_from="old")


def test_study_without_a_trained_trial_gives_nothing_to_start_from(studies: Path) -> None:
    empty = StudyFiles(Path(shutil.copytree(studies / "old", studies / "empty")))
    config = empty.config.read_text(encoding="utf-8").replace('"study": "old"', '"study": "empty"')
    empty.config.write_text(config, encoding="utf-8")
    for path in (empty.storage, empty.root / "checksums.json"):
        path.unlink()
    shutil.rmtree(empty.root / "copies", ignore_errors=True)
    optuna.create_study(study_name="empty", storage=f"sqlite:///{empty.storage}", direction="maximize")
    with needs_remedy("--start-from needs a study with a trial that was trained, but {} has none; let it run, or"):
        search(studies, "new", 8, start_from="empty")
    search(studies, "new", 8)


def test_finalists_come_before_trials_and_the_default_is_left_out(studies: Path) -> None:
    result = search(studies, "old", 10)
    ordered = best_trials(StudyFiles(studies / "old"), list(result.trials))
    assert "default" not in {trial.origin for trial in ordered}
    reached = [(trial.rung_images, trial.rung_accuracy) for trial in ordered]
    assert reached == sorted(reached, reverse=True)
