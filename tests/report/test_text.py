"""Sentences of the report, each from figures that are given here: what is said at the edges of a figure's range."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.duplicates import Duplicates
from fmnist.metrics.evaluation import RejectionCurvePoint
from fmnist.metrics.intervals import Interval
from search.format import percent
from search.records.models import SpaceRecord, TrialRecord
from search.report.analysis.evidence import Evidence
from search.report.analysis.learning import learning_curve
from search.report.text.certainty import against_default, from_selection_to_test
from search.report.text.data import capitalized, describe_duplicates
from search.report.text.delivery import (
    RETRAININGS_LEARN,
    averages,
    delivered,
    ensemble,
    how_students_learn,
    kind_of_training,
    trainings,
)
from search.report.text.model import abstaining, learning, learning_note
from search.report.text.search import endings, spaces
from search.results.members import averaged_in_words
from search.results.reading import read_finished_study
from search.results.result import FinishedStudy
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


SMALL = Made(n_trials=3, n_finalists=2, n_test=50, n_train=500)


def study_of(folder: Path, made: Made) -> FinishedStudy:
    files, trials = make_study(folder / "s", made)
    return read_finished_study(files, trials, command="", importances=None)


@pytest.mark.parametrize(
    ("step", "said"),
    [(0.012, "it is 1.20 points more."), (-0.003, "it is 0.30 points less."), (0.00001, "it is the same.")],
)
def test_step_from_confirmation_to_test_is_said_as_it_is(tmp_path: Path, step: float, said: str) -> None:
    study = study_of(tmp_path, replace(SMALL, with_students=False))
    winner = replace(study.winner, confirm_accuracy=study.test_mean - step)
    changed = replace(study, confirmed=tuple(winner if it is study.winner else it for it in study.confirmed))
    assert from_selection_to_test(changed).endswith(said)


@pytest.mark.parametrize(
    ("step", "said"),
    [(0.012, "1.20 points more than"), (-0.003, "0.30 points less than"), (0.00001, "the same as")],
)
def test_step_from_confirmation_to_test_is_that_of_the_delivered_student(
    tmp_path: Path, step: float, said: str
) -> None:
    study = study_of(tmp_path, SMALL)
    first, *others = study.refits
    first = replace(first, confirm_accuracy=study.test_mean - step)
    assert from_selection_to_test(replace(study, refits=(first, *others))).endswith(
        f"{said} the first has on the confirmation split."
    )


def test_step_is_told_of_a_winner_that_the_search_did_not_train_to_its_end(tmp_path: Path) -> None:
    study = study_of(tmp_path, SMALL)
    confirmed = tuple(replace(record, search_accuracy=None) for record in study.confirmed)
    said = from_selection_to_test(replace(study, confirmed=confirmed))
    assert "in the search" not in said.lower() and "not known" not in said


@pytest.mark.parametrize(
    ("of_default", "said"),
    [
        (
            {16_000: 0.8, 64_000: 0.9057},
            ". After 64,000 images it had 90.57 % on the selection split in the search, the",
        ),
        ({1_000: 0.5}, ", so there is nothing to compare with."),
        ({}, ", so there is nothing to compare with."),
    ],
)
def test_default_that_was_no_finalist_is_compared_by_the_longest_training_that_both_had_in_the_search(
    tmp_path: Path, of_default: dict[int, float], said: str
) -> None:
    study = study_of(tmp_path, SMALL)
    winner = study.winner
    trials = []
    for trial in study.trials:
        if trial.number == winner.trial:
            scores = {16_000: 0.85, 64_000: 0.9179, 256_000: 0.93}
            trial = replace(trial, origin="sampler", rung_scores=scores)
        elif trial.origin == "default":
            trial = replace(trial, rung_scores=of_default)
        trials.append(trial)
    alone = replace(study, trials=tuple(trials), confirmed=(replace(winner, origin="sampler"),))
    text = against_default(alone)
    assert text.startswith("The default recipe was not among the finalists" + said)
    assert text.endswith("the winner's recipe 91.79 %.") == (len(of_default) > 1)


def test_student_is_delivered_with_its_teachers_and_the_figures_that_chose_it(tmp_path: Path) -> None:
    study = study_of(tmp_path, SMALL)
    said = delivered(study, Evidence(study))
    first, winner = study.students[0], study.winner
    assert said is not None and said.startswith(f"The delivered model is student 0: the recipe of trial {winner.trial}")
    names = [int(member.model[-10:-6]) for member in first.teachers]
    assert f"taught by trial {names[0]} (weight 0.65) and trial {names[1]} (0.35)" in said
    assert f"has {percent(first.confirm_accuracy)}, and" in said
    assert said.endswith(f"own training as a finalist {percent(winner.confirm_accuracy)}.")
    assert trainings(study) == "3 students"


def test_winner_that_no_student_reached_is_delivered_and_the_student_named(tmp_path: Path) -> None:
    study = study_of(tmp_path, replace(SMALL, student_is_delivered=False))
    said = delivered(study, Evidence(study))
    first, winner = study.students[0], study.winner
    assert said is not None and said.startswith(
        f"The delivered model is trial {winner.trial}'s own training as a finalist"
    )
    assert f"it has {percent(winner.confirm_accuracy)}, and student 0" in said
    assert said.endswith(f"only {percent(first.confirm_accuracy)}.")
    assert (trainings(study), study.test_sd) == ("1 training as a finalist", None)


def test_images_are_called_augmented_where_they_are(tmp_path: Path) -> None:
    curve = learning_curve(study_of(tmp_path, SMALL))
    assert ", on augmented images" in learning(curve) and "over augmented images" in learning_note(curve)
    plain = replace(curve, plan=replace(curve.plan, flip=False, shift=0, erasing=0.0))
    assert "augmented" not in learning(plain) + learning_note(plain)


def test_retraining_is_called_so_and_no_teacher_is_named(tmp_path: Path) -> None:
    better = study_of(tmp_path / "better", replace(SMALL, students_are_taught=False))
    winner = better.winner
    said = delivered(better, Evidence(better))
    assert said is not None and said.startswith(
        f"The delivered model is retraining 0: the recipe of trial {winner.trial}, with another seed. On"
    )
    assert said.endswith(f"own training as a finalist {percent(winner.confirm_accuracy)}.")
    assert (trainings(better), kind_of_training(better)) == ("3 retrainings", "retraining")
    assert how_students_learn(better) == RETRAININGS_LEARN
    worse = study_of(tmp_path / "worse", replace(SMALL, students_are_taught=False, student_is_delivered=False))
    said = delivered(worse, Evidence(worse))
    assert said is not None and "and retraining 0, of the same recipe and with another seed, only" in said
    assert kind_of_training(worse) == "training as a finalist"


def test_study_of_a_version_without_students_says_nothing_of_them(tmp_path: Path) -> None:
    study = study_of(tmp_path, replace(SMALL, with_students=False))
    assert delivered(study, Evidence(study)) is None
    assert trainings(study) == "3 retrainings"


@pytest.mark.parametrize(
    ("p_value", "said"), [(0.3, "don't settle which is better"), (0.01, "more than chance explains")]
)
def test_ensemble_is_better_where_the_images_settle_it(tmp_path: Path, p_value: float, said: str) -> None:
    study = study_of(tmp_path, SMALL)
    score = Evidence(study).ensemble
    assert score is not None
    text = ensemble(study, replace(score, rival=replace(score.rival, p_adjusted=p_value)))
    assert said in text and "student 0 (weight 0.65)" in text and percent(study.ensemble_accuracy) in text


def test_ensemble_of_one_network_is_that_of_two_views(tmp_path: Path) -> None:
    study = study_of(tmp_path, replace(SMALL, ensemble_is_mirrored=True))
    assert study.ensemble is not None
    alone = replace(study.ensemble, members=study.ensemble.members[:1], n_candidates=1)
    assert averaged_in_words(alone) == "one network on an image and its mirror image"
    assert averages(alone, Evidence(study).members[:1]) == (
        "The ensemble averages the probabilities of student 0 for an image and its mirror image, which is better on "
        "the confirmation split than the image alone."
    )


def test_ensemble_is_calibrated_by_what_it_says_of_both_views(tmp_path: Path) -> None:
    plain, mirrored = (
        Evidence(study_of(tmp_path / str(is_mirrored), replace(SMALL, ensemble_is_mirrored=is_mirrored)))
        for is_mirrored in (False, True)
    )
    sure, less_sure = plain.ensemble_confirmed[1], mirrored.ensemble_confirmed[1]
    np.testing.assert_allclose(less_sure, 0.75 * sure + 0.25 / sure.shape[1], atol=1e-6)


def test_trials_are_counted_by_the_space_that_they_were_drawn_in() -> None:
    trials = [TrialRecord(number, "complete", 0.9, {}, "sampler", "trained to the end") for number in range(9)]
    first, second = (
        SpaceRecord("spaces/1.toml", 0),
        SpaceRecord("spaces/2.toml", 4, ("limits.max_parameters: 9 -> 12",)),
    )
    assert spaces([first, second], trials) == (
        "The search drew 4 trials in its first space, and 5 after that was widened (limits.max_parameters: 9 -> 12)."
    )
    third = SpaceRecord("spaces/3.toml", 8, ("architecture.n_blocks: 1 to 2 -> 1 to 3", "training.shift: 0 -> 0 to 1"))
    assert spaces([first, second, third], trials) == (
        "The search drew 4 trials in its first space, and 4 after that was widened (limits.max_parameters: 9 -> 12), "
        "and 1 after that was widened again (architecture.n_blocks: 1 to 2 -> 1 to 3; training.shift: 0 -> 0 to 1)."
    )
