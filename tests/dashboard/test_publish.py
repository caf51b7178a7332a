"""The study's own note, and the pictures of its report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import optuna_dashboard
import pytest
from optuna.artifacts import get_all_artifact_meta

from search.dashboard.artifacts import DrawnArtifacts
from search.dashboard.notes import StudySummary, read_note, save_note, search_in_words, trial_note
from search.dashboard.publish import DashboardPublisher, mark_finished, publish_report, value_in_words
from search.records.files import StudyFiles
from search.report.page import report_study
from search.study.study import open_finished
from tests.support.made_study import make_study
from tests.support.made_trials import Made, store_trials
from tests.support.outcomes import FAR, RUNGS


def test_shorter_note_leaves_nothing_of_the_longer_one(study: optuna.Study) -> None:
    save_note(study, "long " * 1000)
    save_note(study, "short")
    assert optuna_dashboard.get_note(study) == read_note(study) == "short"


def test_note_says_what_became_of_a_run(study: optuna.Study, files: StudyFiles) -> None:
    files.command.write_text("python -m search.run --study mine\n")
    with DashboardPublisher(study, files, 5, RUNGS).open():
        assert read_note(study).startswith("## mine: running: searching\n")
        assert "`python -m search.run --study mine`" in read_note(study)
    assert read_note(study).startswith("## mine: interrupted\n")


def test_note_of_a_killed_run_is_set_right(study: optuna.Study, files: StudyFiles) -> None:
    DashboardPublisher(study, files, 5, RUNGS).set_phase("searching")
    mark_finished(study, files)
    assert read_note(study).startswith("## mine: interrupted\n")


def test_note_that_its_owner_has_written_is_left_alone(study: optuna.Study, files: StudyFiles) -> None:
    save_note(study, "mine: don't touch")
    mark_finished(study, files)
    assert read_note(study) == "mine: don't touch"


@pytest.mark.renders
def test_finished_study_shows_key_figures_and_pictures_of_its_report(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(n_trials=12))
    store_trials(files, trials)
    study = open_finished(files)
    for _ in range(2):  # built again, it has them once
        study_result = report_study(files, study)
        publish_report(study, study_result)
    note = optuna_dashboard.get_note(study)
    assert f"Test accuracy {100 * study_result.test_mean:.2f} %** (mean of {len(study_result.students)} student" in note
    assert f"**Ensemble of 2 networks: {100 * study_result.ensemble_accuracy:.2f} %**" in note
    assert f"Winner: trial {study_result.winner.trial}" in note
    found = get_all_artifact_meta(study)
    assert {"search-history.png", "finalists.png", "confusion-matrix.png"} <= {it.filename for it in found}
    assert len({it.filename for it in found}) == len(found)
    store = DrawnArtifacts(files.artifacts, study._storage, None)
    assert all(store.open_reader(it.artifact_id).read().startswith(b"\x89PNG") for it in found)


def test_notes_of_a_study_by_another_metric_name_it() -> None:
    note = trial_note(3, None, replace(FAR, score=-0.25, metric="log_loss"))
    assert "pruned after 4,000 images; 0.2500 selection log loss; 12 s." in note
    summary = StudySummary("s", "running", 4, {"complete": 1}, (3, -0.25), None, "s", None, None, "log_loss")
    assert "Best: trial 3, 0.2500 log loss on the selection split." in search_in_words(summary)
    assert "Best: trial 3, 75.00 % on the selection split." in search_in_words(
        replace(summary, best=(3, 0.75), metric="accuracy")
    )


def test_value_that_optuna_draws_is_named_as_it_is() -> None:
    names = {metric: value_in_words(metric) for metric in ("accuracy", "balanced_accuracy", "log_loss")}
    assert names == {
        "accuracy": "selection accuracy",
        "balanced_accuracy": "selection balanced accuracy",
        "log_loss": "negative selection log loss",
    }
