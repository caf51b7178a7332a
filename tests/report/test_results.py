"""What a report is made from, read back from made-up studies: baselines, students, ensemble, costs."""

from __future__ import annotations

import copy
import json
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist.baselines.catalog import BASELINES
from fmnist.errors import UserError
from search.records.files import StudyFiles
from search.records.io import write_arrays, write_json
from search.records.models import TrialRecord
from search.results.reading import read_finished_study, read_study
from search.results.result import FinishedStudy
from tests.support.made_study import make_study, write_made_report
from tests.support.made_trials import Made

SMALL = Made(n_trials=6, n_seeds=1, n_finalists=2, n_test=200, n_train=1000)
Study = tuple[StudyFiles, list[TrialRecord]]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "made", replace(SMALL, with_baselines=True))


def material_of(study: Study) -> FinishedStudy:
    return read_finished_study(*study, command="", importances=None)


def test_baselines_are_read_with_what_they_predicted(study: Study) -> None:
    study_result = material_of(study)
    assert [outcome.record.name for outcome in study_result.baselines] == [baseline.name for baseline in BASELINES]
    *fitted, failed = study_result.baselines
    assert all(0.5 < np.mean(each.predicted == study_result.arrays.labels) < 1 for each in fitted)
    assert (failed.record.failure, failed.predicted) == ("memory", None)


def test_search_is_not_charged_for_workers_that_began_with_the_confirmation(study: Study) -> None:
    files = study[0]
    study = files, [replace(trial, seconds_in_steps=0.9 * trial.seconds) for trial in study[1]]
    before = material_of(study)
    in_steps = sum(trial.seconds_in_steps for trial in before.trials)
    assert before.search_overhead == pytest.approx(1 - in_steps / before.worker_seconds)
    record = before.confirmed[0]
    write_json(files.confirm_record(record.trial), replace(record, seconds_beside_search=2.5))
    paid = before.worker_seconds - 2.5
    assert material_of(study).search_overhead == pytest.approx(1 - in_steps / paid)


def test_search_is_charged_for_the_workers_of_each_of_its_runs(study: Study) -> None:
    files, before = study[0], material_of(study)
    files.add_to_ledger("search", 10.0, n_workers=8)
    after = material_of(study)
    assert after.worker_seconds == pytest.approx(before.worker_seconds + 80)
    assert after.seconds["search"] == pytest.approx(before.seconds["search"] + 10)


def test_search_on_several_machines_has_no_overhead_that_one_of_them_could_know(study: Study) -> None:
    config = study[0].config
    config.write_text(json.dumps({**json.loads(config.read_text()), "storage": "postgresql://searcher@host/search"}))
    assert material_of(study).search_overhead is None


def test_study_without_baselines_has_none(tmp_path: Path) -> None:
    assert material_of(make_study(tmp_path / "made", SMALL)).baselines == ()


@pytest.mark.renders
def test_study_of_a_version_without_baselines_still_gets_its_report(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", SMALL)
    ledger = json.loads(files.ledger.read_text())
    files.ledger.write_text(json.dumps({phase: ledger[phase] for phase in ledger if phase != "baselines"}))
    write_made_report(files, trials)
    assert files.report_html.exists()


def test_predictions_for_other_images_than_the_test_set_are_refused(study: Study) -> None:
    name = BASELINES[2].name
    write_arrays(study[0].baseline_arrays(name), predicted=np.zeros(199, np.uint8))
    with pytest.raises(UserError, match=rf"{name}\.npz must predict 200 test images, but got 199; restore .*--study"):
        material_of(study)


def test_lost_predictions_are_named(study: Study) -> None:
    study[0].baseline_arrays(BASELINES[0].name).unlink()
    with pytest.raises(UserError, match=rf"{BASELINES[0].name}\.npz cannot be read"):
        material_of(study)
    shutil.rmtree(study[0].baselines)
    assert material_of(study).baselines == ()


def test_what_only_a_finished_study_has_is_said_of_an_unfinished_one(study: Study) -> None:
    files, trials = study
    unfinished, finished = read_study(files, trials), material_of(study)
    of_finished = ("confirmed", "refits", "arrays", "data", "baselines", "winner_trial", "balance", "mistakes")
    for name in (*of_finished, "students", "ensemble", "ensemble_bytes", "has_student"):
        assert hasattr(finished, name) and not hasattr(unfinished, name)
        with pytest.raises(AttributeError, match=rf"^{name} needs a finished study, but made has .*search_only=True"):
            getattr(unfinished, name)
    for result in (finished, unfinished):
        with pytest.raises(AttributeError, match=r"has no attribute test_acuracies; did you mean test_accuracies\?$"):
            result.test_acuracies  # noqa: B018


def test_results_are_shown_in_a_line_compared_and_kept(study: Study) -> None:
    finished, again, unfinished = material_of(study), material_of(study), read_study(*study)
    assert re.fullmatch(r"<study made: 6 trials, test accuracy .* %?.*, in .*made>", repr(finished))
    assert re.fullmatch(r"<study made: 6 trials, best .*% in the search, in .*made>", repr(unfinished))
    assert finished != again and len({finished, again, unfinished}) == 3
    for result in (finished, unfinished):
        kept = pickle.loads(pickle.dumps(result))
        assert kept.trials == copy.deepcopy(result).trials == result.trials
        assert repr(kept) == repr(result)


@pytest.mark.parametrize("figure", ["ensemble_accuracy", "ensemble_interval", "ensemble_evaluation", "test_mean"])
def test_figure_of_the_test_set_is_asked_of_a_finished_study_only(study: Study, figure: str) -> None:
    with pytest.raises(RuntimeError, match=f"^{figure} needs a finished study, but made has no opened test set"):
        getattr(read_study(*study), figure)


def test_students_and_ensemble_are_read_with_their_figures(study: Study) -> None:
    finished = material_of(study)
    averaged = finished.arrays.ensemble_probabilities
    assert averaged is not None and finished.ensemble is not None and finished.ensemble_interval is not None
    accuracy = float(np.mean(averaged.argmax(axis=1) == finished.arrays.labels))
    assert finished.ensemble_accuracy == accuracy == finished.test.ensemble_accuracy
    assert finished.ensemble_interval.low < accuracy < finished.ensemble_interval.high
    assert finished.ensemble_evaluation is not None and finished.ensemble_evaluation.accuracy == accuracy
    assert finished.ensemble_bytes == study[0].ensemble.stat().st_size
    assert [record.seed_index for record in finished.students] == [0]
    assert finished.has_student and finished.n_images_trained["refit"] == finished.students[0].n_images


def test_images_of_students_count_where_the_winner_itself_is_delivered(tmp_path: Path) -> None:
    made = replace(SMALL, n_seeds=2, student_is_delivered=False)
    finished = material_of(make_study(tmp_path / "made", made))
    assert not finished.has_student and (len(finished.refits), finished.test_sd) == (1, None)
    assert finished.n_images_trained["refit"] == sum(record.n_images for record in finished.students)


def test_study_where_no_student_could_be_trained_spent_no_images_on_any(tmp_path: Path) -> None:
    made = replace(SMALL, student_is_delivered=False, with_ensemble=False)
    files, trials = make_study(tmp_path / "made", made)
    for path in (files.student_record(0), files.student_arrays(0), files.student_model(0)):
        path.unlink()
    finished = material_of((files, trials))
    assert finished.students == () and finished.n_images_trained["refit"] == 0
    assert finished.n_images_trained["confirm"] > 0


def test_study_of_a_version_without_students_has_none_and_no_ensemble(tmp_path: Path) -> None:
    finished = material_of(make_study(tmp_path / "made", replace(SMALL, n_seeds=2, with_students=False)))
    assert (finished.students, finished.ensemble, finished.ensemble_evaluation) == ((), None, None)
    assert (finished.ensemble_accuracy, finished.ensemble_interval, finished.has_student) == (None, None, False)
    assert finished.n_images_trained["refit"] == sum(record.n_images for record in finished.refits)


def test_finalist_of_an_earlier_version_is_not_among_those_that_were_trained_in_full(study: Study) -> None:
    files, trials = study
    before = material_of(study)
    other = next(trial for trial in trials if trial.number not in {record.trial for record in before.confirmed})
    old = replace(before.confirmed[-1], trial=other.number, fit_on="train", confirm_accuracy=1.0)
    write_json(files.confirm_record(other.number), old)
    assert material_of(study).confirmed == before.confirmed


def without_predictions(study: Study) -> None:
    arrays = study[0].read_arrays(study[0].test_arrays)
    del arrays["ensemble_probabilities"]
    write_arrays(study[0].test_arrays, **arrays)


def with_other_predictions(study: Study) -> None:
    arrays = study[0].read_arrays(study[0].test_arrays)
    arrays["ensemble_probabilities"] = np.roll(arrays["ensemble_probabilities"], 1, axis=1)
    write_arrays(study[0].test_arrays, **arrays)


def with_a_stranger(study: Study) -> None:
    record = study[0].read_ensemble_record()
    assert record is not None
    members = (replace(record.members[0], model="confirm/trial-0099.keras"), *record.members[1:])
    write_json(study[0].ensemble_record, replace(record, members=members))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_predictions, r"its predictions in test\.npz .*, but some are missing"),
        (lambda study: study[0].ensemble_record.unlink(), r"its record, .*ensemble\.json, .*, but some are missing"),
        (with_other_predictions, r"test\.npz holds other predictions of the ensemble than were scored"),
        (with_a_stranger, r"has no record of confirm/trial-0099\.keras"),
    ],
)
def test_ensemble_whose_files_contradict_each_other_is_refused_until_they_are_restored(
    study: Study, tmp_path: Path, spoil: Callable[[Study], None], said: str
) -> None:
    shutil.copytree(study[0].root, tmp_path / "kept")
    spoil(study)
    with pytest.raises(UserError, match=rf"{said}; restore the study's files, or start a new one with --study NAME"):
        material_of(study)
    shutil.copytree(tmp_path / "kept", study[0].root, dirs_exist_ok=True)
    assert material_of(study).ensemble is not None
