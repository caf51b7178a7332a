"""The card of a study in a notebook, of made-up studies."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from search.records.io import write_json
from search.results.reading import read_finished_study, read_study
from search.results.result import FinishedStudy, StudyResult
from tests.support.made_study import make_study
from tests.support.made_trials import Made

SMALL = Made(n_trials=6, n_seeds=2, n_finalists=2, n_test=200, n_train=1000)


def searched_and_finished(folder: Path, made: Made = SMALL) -> tuple[StudyResult, FinishedStudy]:
    """The same study, read as after its search and as at its end."""
    files, trials = make_study(folder, made)
    write_json(files.config, {"dataset": "a <b>set</b>"})
    return read_study(files, trials), read_finished_study(files, trials, command="", importances=None)


def words(study: StudyResult) -> str:
    return " ".join(re.sub("<[^>]*>", " ", study._repr_html_()).split())


def test_card_of_a_finished_study_has_its_figures_and_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, study = searched_and_finished(tmp_path / "made")
    interval, card = study.test_interval, words(study)
    assert card.startswith("made : a finished study of a &lt;b&gt;set&lt;/b&gt;")
    assert (
        f"test accuracy {study.test_mean:.2%}".replace("%", " %")
        + f" (95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f} %, n = 200 test images), "
        "mean of 2 trainings"
    ) in card
    assert f"ensemble {100 * study.ensemble_accuracy:.2f} %" in card and "2 networks" in card
    assert f"best recipe {study.recipe}" in card and f"found by trial {study.winner.trial}" in card
    assert "model made/best.keras report made/report.html" in card


def test_card_of_a_study_without_an_ensemble_names_none(tmp_path: Path) -> None:
    made = replace(SMALL, n_seeds=1, with_ensemble=False)
    _, study = searched_and_finished(tmp_path / "made", made)
    assert "ensemble" not in words(study) and "mean of" not in words(study)


def test_card_of_a_searched_study_has_its_best_trial_and_no_test_accuracy(tmp_path: Path) -> None:
    study, _ = searched_and_finished(tmp_path / "made")
    best = study.best_trial
    assert best is not None
    assert f"best in the search {100 * best.value:.2f} % selection accuracy, trial {best.number}" in words(study)
    assert "trials 6 (" in words(study) and "test accuracy not known" in words(study)


def test_card_of_a_study_without_a_trial_says_so(tmp_path: Path) -> None:
    study, _ = searched_and_finished(tmp_path / "made")
    assert "trials none has ended yet" in words(replace(study, trials=()))


def test_names_in_a_card_are_text(tmp_path: Path) -> None:
    for study in searched_and_finished(tmp_path / "<script>\x1b[31m"):
        assert "<script" not in study._repr_html_() and "\x1b" not in study._repr_html_()
        assert r"&lt;script&gt;\x1b[31m" in study._repr_html_()
