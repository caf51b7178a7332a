"""The report of a study without test images: figures of the confirmation split, and no others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.scoring import Metric
from search.dashboard.notes import result_in_words
from search.format import METRIC_WORDS, in_metric, percent, shown_score
from search.messages import confirmed_in_figures
from search.records.files import StudyFiles
from search.records.models import TrialRecord
from search.report.__main__ import main
from search.results.reading import read_finished_study, read_trained_study
from search.results.result import FinishedStudy, TrainedStudy
from tests.support.made_metric import decided_by
from tests.support.made_study import make_study, write_made_report
from tests.support.made_trials import Made, store_trials
from tests.support.remedies import needs_remedy

pytestmark = pytest.mark.renders

Study = tuple[StudyFiles, list[TrialRecord], dict]


def made(folder: Path, **more: bool) -> Study:
    files, trials = make_study(folder / "untested", Made(n_trials=12, n_train=1000, has_test=False, **more))
    return files, trials, write_made_report(files, trials, importances={"n_blocks": 1.0})


@pytest.fixture(scope="module")
def untested(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return made(tmp_path_factory.mktemp("studies"))


def result(study: Study) -> TrainedStudy:
    files, trials, _ = study
    return read_trained_study(files, trials, command="", importances=None)


def test_figure_of_the_delivered_model_is_that_of_its_predictions_on_the_confirmation_split(untested: Study) -> None:
    files, _, report = untested
    arrays = files.read_arrays(files.student_arrays(0))
    accuracy = float(np.mean(arrays["probabilities"].argmax(axis=1) == arrays["labels"]))
    assert report["test"] is None
    assert report["delivered"]["confirm_accuracy"] == result(untested).confirm_accuracy == pytest.approx(accuracy)
    shown = f"{100 * accuracy:.2f} %"
    for text in (files.report_markdown.read_text(), files.report_html.read_text().replace("\xa0", " ")):
        assert shown in text and "No test images were given" in text
        assert "it is the best of 5 networks that were compared there" in text.lower()


@pytest.mark.parametrize("form", ["report_markdown", "report_html"])
def test_report_speaks_of_no_test_set_and_has_every_other_part(untested: Study, form: str) -> None:
    text = getattr(untested[0], form).read_text()
    for gone in ("Where it errs", "test set was opened", "Confusion matrix", "None", "nan"):
        assert gone not in text, gone
    for there in ("What was found", "How sure that is", "The search", "Finalists", "The ensemble", "Time and"):
        assert there in text, there


def test_sections_are_numbered_without_a_gap(untested: Study) -> None:
    page = untested[0].report_html.read_text()
    headings = [line.split(">")[1].split(".")[0] for line in page.splitlines() if line.startswith("<h2")]
    assert headings == [str(number) for number in range(1, 10)]


def test_ensemble_and_plain_finalist_are_told(untested: Study, tmp_path: Path) -> None:
    report = untested[2]
    assert report["ensemble"]["confirm_accuracy"] == 0.95
    assert [member["weight"] for member in report["ensemble"]["members"]] == [0.65, 0.35]
    plain = made(tmp_path, student_is_delivered=False, with_ensemble=False)
    assert plain[2]["ensemble"] is None and plain[2]["delivered"]["kind"] == "training as a finalist"
    assert "The ensemble" not in plain[0].report_html.read_text()


def test_temperature_is_left_beside_the_model_without_test_figures(untested: Study) -> None:
    note = json.loads(untested[0].temperature.read_text())
    assert set(note["temperatures"]) == {"best.keras", "ensemble.keras"}
    assert note["temperatures"]["best.keras"] == note["temperature"] > 0 and not [key for key in note if "test" in key]


def test_terminal_and_dashboard_give_the_confirmation_accuracy(untested: Study) -> None:
    study = result(untested)
    said, figures = confirmed_in_figures(study)
    assert f"confirmation accuracy {study.confirm_accuracy:.2%} of 100 images" in said
    assert figures["confirm_accuracy"] == study.confirm_accuracy
    assert "no test images" in result_in_words(study)[0]


def test_card_in_a_notebook_says_that_nothing_was_tested(untested: Study) -> None:
    study = dataclasses.replace(result(untested), config={"dataset": "arrays in memory"})
    card = study._repr_html_()
    assert "a study without test images of" in card and "not measured: no test images were given" in card
    assert percent(study.confirm_accuracy) in card and "best.keras" in card and "unfinished" not in card


@pytest.mark.parametrize("metric", ["balanced_accuracy", "log_loss"])
def test_metric_that_decided_is_shown_beside_the_confirmation_accuracy(tmp_path: Path, metric: Metric) -> None:
    made_without = Made(n_trials=12, n_train=1000, has_test=False)
    files, trials = decided_by(metric, tmp_path / "untested", made_without)
    report = write_made_report(files, trials)
    study, words = read_trained_study(files, trials, command="", importances=None), METRIC_WORDS[metric]
    shown = in_metric(metric, study.confirm_score)
    assert report["metric"]["name"] == metric and "test" not in report["metric"]
    for text in (files.report_markdown.read_text(), files.report_html.read_text()):
        assert f"{shown} confirmation {words}, " in text and f"Confirmation {words}, which decided" in text
        assert f"By {words}, which chose the winner" in text
        assert f"the delivered model has {percent(study.confirm_accuracy)} accuracy" in text.replace("\xa0", " ")
        assert f"Trials, finalists and students were compared by {words}" in text
    said, figures = confirmed_in_figures(study)
    assert f"confirmation {words} {shown_score(metric, study.confirm_score)}, accuracy" in said
    assert figures["confirm_score"] == study.confirm_score
    assert result_in_words(study)[0] == f"**Confirmation {words} {shown}**, which decided"


def test_test_figures_come_from_other_images(untested: Study) -> None:
    study = result(untested)
    assert not study.is_finished and "no test images" in repr(study)
    with needs_remedy("{} needs test images, but {} was made without; score the model on some of your", RuntimeError):
        _ = study.test_accuracies
    with pytest.raises(AttributeError, match="arrays needs test images"):
        _ = study.arrays  # pyright: ignore[reportAttributeAccessIssue]


def test_two_studies_are_compared_on_test_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, has_test in (("alpha", True), ("beta", True), ("untested", False)):
        store_trials(*make_study(tmp_path / name, Made(n_trials=8, n_train=1000, n_test=200, has_test=has_test)))
    place = ["--studies-dir", str(tmp_path)]
    with needs_remedy("test figures need a study with test images, but {} was made without; name one"):
        read_finished_study(StudyFiles(tmp_path / "untested"), [], command="", importances=None)
    assert main(["alpha", "untested", *place]) == 2
    assert "untested was made without; name one that was made with some" in capsys.readouterr().err
    assert main(["alpha", "beta", *place]) == 0
    assert main(["untested", *place]) == 0


def test_lost_model_is_missed(untested: Study, tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "s", Made(n_trials=8, has_test=False))
    files.model.unlink()
    with pytest.raises(UserError, match=r"no best.keras; run the study on"):
        read_trained_study(files, trials, command="", importances=None)
    assert not isinstance(result(untested), FinishedStudy)
