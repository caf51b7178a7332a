"""Sentences of the report, each from figures that are given here: what is said at the edges of a figure's range."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.data.duplicates import Duplicates
from fmnist.metrics.evaluation import RejectionCurvePoint
from fmnist.metrics.intervals import Interval
from search.records.models import TrialRecord
from search.report.text.certainty import from_selection_to_test
from search.report.text.data import capitalized, describe_duplicates
from search.report.text.model import abstaining
from search.report.text.search import endings
from search.results.reading import read_finished_study
from tests.support.made_study import Made, make_study


def test_duplicates_are_told_by_where_they_are() -> None:
    assert describe_duplicates(Duplicates(3, 1, 1, 1, 2)) == [
        "3 training images repeat another one",
        "2 images are in two of the splits that learn, select and confirm",
        "1 image bears the labels of several classes",
        "2 test images are among the training images too, so the test accuracy flatters",
    ]
    assert describe_duplicates(Duplicates(0, 0, 0, 0, 0)) == ["No image occurs twice, pixel by pixel"]


def test_capital_begins_a_sentence_and_changes_no_name_in_it() -> None:
    assert capitalized("the class T-shirt") == "The class T-shirt"
    assert capitalized("") == ""


@pytest.mark.parametrize(
    ("accuracy_kept", "accuracy_left", "said"),
    [
        (0.92, 0.5, "raises accuracy: 90.00 % on all, 92.00 % on the rest"),
        (0.9, 0.9, "does not raise accuracy: 90.00 % on all, 90.00 % on the rest"),
        (0.9, None, "too few test images"),
    ],
)
def test_what_leaving_images_out_brings_is_said_as_it_is(
    accuracy_kept: float, accuracy_left: float | None, said: str
) -> None:
    whole = RejectionCurvePoint(0.0, 100, 0.9, Interval(0, 1), None)
    rest = RejectionCurvePoint(0.05, 95, accuracy_kept, Interval(0, 1), accuracy_left)
    assert said in abstaining([whole, rest])


def test_trials_that_ended_alike_are_one_row() -> None:
    trial = TrialRecord(0, "pruned", None, {}, "sampler", "pruned after 25,000 images")
    reasons = [
        "infeasible: 2,000,000 is over max_parameters = 1,000,000",
        "infeasible: 3,000 is over max_parameters = 100",
    ]
    trials = [trial, trial, *(replace(trial, state="infeasible", reason=reason) for reason in reasons)]
    assert endings(trials) == [
        ("pruned", "pruned after 25,000 images", 2),
        ("infeasible", "infeasible: … is over max_parameters = …", 2),
    ]


@pytest.mark.parametrize(
    ("step", "said"),
    [(0.012, "it is 1.20 points more."), (-0.003, "it is 0.30 points less."), (0.00001, "it is the same.")],
)
def test_step_from_confirmation_to_test_is_said_as_it_is(tmp_path: Path, step: float, said: str) -> None:
    files, trials = make_study(tmp_path / "s", Made(n_trials=3, n_finalists=2, n_test=50, n_train=500))
    study = read_finished_study(files, trials, command="", importances=None)
    winner = replace(study.winner, confirm_accuracy=study.test_mean - step)
    changed = replace(study, confirmed=tuple(winner if it is study.winner else it for it in study.confirmed))
    assert from_selection_to_test(changed).endswith(said)
