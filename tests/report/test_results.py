"""What a report is made from, read back from made-up studies: here the baselines."""

from __future__ import annotations

import copy
import json
import pickle
import re
import shutil
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
    for name in ("confirmed", "refits", "arrays", "data", "baselines", "winner_trial", "balance", "mistakes"):
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
