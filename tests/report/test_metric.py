"""A study by another metric than accuracy shows it wherever something was decided, beside accuracy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.scoring import Metric, confusion_table, score_of_table
from search.format import METRIC_WORDS, in_metric
from search.records.files import StudyFiles
from search.records.io import write_json
from search.records.models import TrialRecord
from search.report.analysis.trials import scored
from search.report.comparison import text as comparison_text
from search.report.comparison.data import Comparison
from search.report.comparison.page import write_comparison
from search.results.reading import read_finished_study, read_study
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


def test_missing_settings_of_a_comparison_are_what_they_mean(tmp_path: Path) -> None:
    by_loss, by_accuracy = read(*decided_by("log_loss", tmp_path / "a")), read(*make_study(tmp_path / "b", BIRDS))
    said = {entry.name: (entry.a, entry.b) for entry in Comparison(by_loss, by_accuracy).settings}
    assert said["metric"] == ("log_loss", "accuracy") and said["class_weights"] == ("balanced", "none")


def test_better_delivered_model_is_so_by_accuracy_where_something_else_decided(tmp_path: Path) -> None:
    made = replace(BIRDS, mistake_share=BIRDS.mistake_share * 3)
    by_loss, by_accuracy = read(*decided_by("log_loss", tmp_path / "a")), read(*make_study(tmp_path / "b", made))
    verdict = comparison_text.delivered(Comparison(by_loss, by_accuracy))
    assert "so by accuracy the model of a is better on images like these" in verdict


@pytest.mark.parametrize("metric", METRICS)
def test_table_of_trials_has_the_score_beside_the_accuracy(metric: Metric, tmp_path: Path) -> None:
    files, trials = decided_by(metric, tmp_path / "birds")
    write_made_report(files, trials)
    table = table_with(files, "Trial", "Outcome")
    words = METRIC_WORDS[metric]
    assert [heading.lower() for heading in table[0][2:4]] == [words.lower(), "accuracy"]
    assert [heading.lower() for heading in table[0]].count("accuracy") == 1
    states = set()
    for row, trial in zip(table[1:], trials, strict=True):
        states.add(trial.state)
        so_far = " so far" if trial.state == "pruned" else ""
        if trial.best is None or trial.best.validation_accuracy is None:
            assert row[2:4] == ["\N{EN DASH}"] * 2
            continue
        score = trial.value if trial.value is not None else trial.best.score
        assert row[2:4] == [in_metric(metric, score) + so_far, f"{100 * trial.best.validation_accuracy:.2f} %{so_far}"]
    assert {"complete", "pruned"} <= states


def table_with(files: StudyFiles, *headings: str) -> list[list[str]]:
    """The cells of the page's table whose first headings these are, row by row."""
    for table in re.findall("<table.*?</table>", files.report_html.read_text(), flags=re.DOTALL):
        rows = []
        for row in re.findall("<tr.*?</tr>", table, flags=re.DOTALL):
            rows.append([re.sub("<[^>]*>", "", cell) for cell in re.findall("<t[hd].*?</t[hd]>", row)])
        if rows[0][: len(headings)] == list(headings):
            return rows
    raise AssertionError(f"no table begins with {headings}")


def test_trials_below_the_axis_of_log_loss_are_worse(tmp_path: Path) -> None:
    files, trials = decided_by("log_loss", tmp_path / "birds")
    complete = [i for i, trial in enumerate(trials) if trial.value is not None]
    trials[complete[0]] = replace(trials[complete[0]], value=-9.0)
    write_made_report(files, trials)
    caption = re.search(r"Trials without a figure, and (\d+) (.*?) (0\.\d{4}), lie", files.report_html.read_text())
    assert caption is not None and caption[2] == "worse than"
    n_worse = sum(score < -float(caption[3]) for _, score in scored(trials))
    assert int(caption[1]) == n_worse > 0


@pytest.mark.parametrize("metric", METRICS)
def test_baselines_are_shown_by_the_metric_that_decided(metric: Metric, tmp_path: Path) -> None:
    files, trials = decided_by(metric, tmp_path / "birds", replace(BIRDS, with_baselines=True))
    write_made_report(files, trials)
    study, table, text = read(files, trials), table_with(files, "Baseline"), files.report_markdown.read_text()
    assert "By accuracy: The delivered model is better than" in text
    by_accuracy_alone = "they are compared by accuracy" in text
    assert by_accuracy_alone == ("they are compared by accuracy" in files.report_html.read_text())
    if metric == "log_loss":
        assert by_accuracy_alone
        return
    assert not by_accuracy_alone
    heading = {"balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro F1"}[metric]
    column = table[0].index(heading)
    assert table[1][column] == in_metric(metric, study.test_scores[0]) and f"{heading} |" in text
    predicted = {outcome.record.name: outcome.predicted for outcome in study.baselines}
    for row in table[2:]:
        found = predicted[row[0]]
        assert found is not None
        confusion = confusion_table(study.arrays.labels, found, len(study.data.class_names))
        assert row[column] == in_metric(metric, score_of_table(metric, confusion))


def test_card_and_text_of_a_study_name_the_metric(tmp_path: Path) -> None:
    files, trials = decided_by("macro_f1", tmp_path / "birds")
    write_json(files.config, files.read_plain(files.config) | {"dataset": "birds"})
    study, unfinished = read(files, trials), read_study(files, trials)
    assert f"confirmed with {in_metric('macro_f1', study.winner.score)} macro F1" in study._repr_html_()
    assert unfinished.best_trial is not None and unfinished.best_trial.value is not None
    assert f"best macro F1 {in_metric('macro_f1', unfinished.best_trial.value)} in the search" in repr(unfinished)
