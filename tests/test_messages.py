"""What is said before hours go by."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from search.callbacks.terminal import Terminal
from search.config import StudyConfig
from search.estimate.prepare import prepare
from search.messages import ensemble_in_words
from search.results.reading import read_finished_study
from search.worker.resources import local_resources
from tests.support.made_images import write_divided
from tests.support.made_study import make_study
from tests.support.made_trials import Made


def test_first_line_about_own_images_names_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for a run and for --check, which begins as a run would."""
    folder = write_divided(tmp_path / "painted", parts=("training_set", "test_set"))
    config = StudyConfig(study="s", dataset=str(folder), studies_dir=tmp_path / "studies")
    prepare(config, Terminal(), threading.Event(), tmp_path, local_resources(config))
    said = capsys.readouterr().out
    assert "painted: 3 classes (class 2, class 10, other), 36 training images and 9 test images of 16 x 16" in said
    assert "Training pictures are those in training_set/, test pictures those in test_set/" in said


def test_line_break_in_the_name_of_the_images_breaks_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_divided(tmp_path / "two\nlines", parts=("train", "test"))
    config = StudyConfig(study="s", dataset=str(folder), studies_dir=tmp_path / "studies")
    prepare(config, Terminal(), threading.Event(), tmp_path, local_resources(config))
    assert r"two\nlines: 3 classes (class 2, class 10, other), 36 training images" in capsys.readouterr().out


@pytest.mark.parametrize("with_ensemble", [True, False])
def test_ensemble_is_told_beside_the_single_model_where_there_is_one(tmp_path: Path, with_ensemble: bool) -> None:
    made = Made(n_trials=6, n_seeds=1, n_finalists=2, n_test=200, n_train=1000, with_ensemble=with_ensemble)
    study = read_finished_study(*make_study(tmp_path / "made", made), command="", importances=None)
    said = ensemble_in_words(study)
    if not with_ensemble:
        assert said == ""
        return
    assert study.ensemble_interval is not None
    low = f"{study.ensemble_interval.low:.2%}"
    assert said.startswith(f"; ensemble of 2 networks {study.ensemble_accuracy:.2%}, 95 % interval {low} to ")
