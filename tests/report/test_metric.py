"""A study by another metric than accuracy shows it wherever something was decided, beside accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist.scoring import Metric
from search.format import METRIC_WORDS, in_metric
from search.records.files import StudyFiles
from search.records.models import TrialRecord
from search.report.comparison.data import Comparison
from search.report.comparison.page import write_comparison
from search.results.reading import read_finished_study
from search.results.result import FinishedStudy
from tests.support.made_metric import BIRDS, decided_by
from tests.support.made_study import make_study, write_made_report

pytestmark = pytest.mark.renders

METRICS = ("balanced_accuracy", "macro_f1", "log_loss")


def read(files: StudyFiles, trials: list[TrialRecord]) -> FinishedStudy:
    return read_finished_study(files, trials, command="python -m search.run", importances=None)


@pytest.mark.parametrize("metric", METRICS)
def test_pages_show_what_decided_beside_accuracy(metric: Metric, tmp_path: Path) -> None:
    files, trials = decided_by(metric, tmp_path / "birds")
    report = write_made_report(files, trials)
    study, words = read(files, trials), METRIC_WORDS[metric]
    score = in_metric(metric, study.test_score)
    winner = in_metric(metric, study.winner.confirm_score)
    for path in (files.report_html, files.report_markdown):
        text = path.read_text()
        assert f"{score} test {words}" in text and f"Test {words}, which decided" in text
        assert f"The best selection {words} of the search" in text and winner in text
        assert f"By {words}, which chose the winner" in text
        assert f"Trials, finalists and students were compared by {words}" in text
        assert "test accuracy" in text.lower()
    card = files.model_card.read_text()
    assert f"{words} of this model, which decided | {in_metric(metric, study.test_scores[0])}".lower() in card.lower()
    assert report["metric"]["name"] == metric
    low, high = report["metric"]["test"]["delivered_95"]
    assert low <= report["metric"]["test"]["values"][0] <= high
    assert [row["confirm_score"] for row in report["finalists"]] == [record.score for record in study.confirmed]
    assert sorted(study.confirmed, key=lambda record: -record.score) == list(study.confirmed)
    assert "nan" not in files.report_markdown.read_text().lower()


def test_log_loss_is_shown_as_people_know_it(tmp_path: Path) -> None:
    files, trials = decided_by("log_loss", tmp_path / "birds")
    write_made_report(files, trials)
    study, text = read(files, trials), files.report_markdown.read_text()
    assert study.test_score < 0 and f"{-study.test_score:.4f} test log loss" in text
    best = max(trial.value for trial in trials if trial.value is not None)
    assert f"The best selection log loss of the search, {-best:.4f}, came" in text
    assert "-0." not in text.partition("## Where it errs")[0].replace("(-", "("), "differences have a true minus sign"


def test_study_by_accuracy_says_nothing_of_metrics(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "birds", BIRDS)
    report = write_made_report(files, trials)
    text = files.report_html.read_text()
    assert "which decided" not in text and ", accuracy</th>" not in text and "metric" not in report
    assert read(files, trials).metric == "accuracy"


def test_studies_are_compared_by_the_metric_that_both_were_decided_by(tmp_path: Path) -> None:
    both = [read(*decided_by("balanced_accuracy", tmp_path / name)) for name in ("a", "b")]
    assert Comparison(*both).metric == "balanced_accuracy"
    text = write_comparison(*both, tmp_path).read_text()
    assert "Test balanced accuracy, mean over seeds" in text and "By balanced accuracy, which decided in both" in text
    assert "Best selection balanced accuracy" in text


def test_searches_by_different_metrics_are_not_set_against_each_other(tmp_path: Path) -> None:
    by_loss = read(*decided_by("log_loss", tmp_path / "a"))
    by_accuracy = read(*make_study(tmp_path / "b", BIRDS))
    comparison = Comparison(by_loss, by_accuracy)
    assert comparison.metric is None and not comparison.has_comparable_curves
    text = write_comparison(by_loss, by_accuracy, tmp_path).read_text()
    assert "a was decided by log loss, b by accuracy" in text and "Best selection" not in text
