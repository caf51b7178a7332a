"""Every figure against an independent way to get it, or against one worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fmnist.metrics.calibration import expected_calibration_error
from fmnist.metrics.evaluation import (
    evaluate,
    find_label_issues,
    least_confident_hits,
    most_confused,
    rejection_curve,
    top_mistakes,
)
from fmnist.metrics.intervals import Interval, wilson_95

NAMES = ("ant", "bee", "cat")
LABELS = np.array([0, 0, 0, 1, 1, 2], np.uint8)
PREDICTED = np.array([0, 0, 1, 1, 2, 2])


def sure(predicted: np.ndarray, confidence: float = 0.8) -> np.ndarray:
    """Probabilities with this much on the predicted class and the rest spread evenly."""
    probabilities = np.full((len(predicted), 3), (1 - confidence) / 2, np.float32)
    probabilities[np.arange(len(predicted)), predicted] = confidence
    return probabilities


def test_scores_of_a_small_case_are_those_worked_out_by_hand() -> None:
    evaluation = evaluate(LABELS, sure(PREDICTED), NAMES)
    assert evaluation.accuracy == pytest.approx(4 / 6)
    assert [score.recall for score in evaluation.per_class] == pytest.approx([2 / 3, 1 / 2, 1])
    assert [score.precision for score in evaluation.per_class] == pytest.approx([1, 1 / 2, 1 / 2])
    assert evaluation.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert evaluation.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert evaluation.confusion_matrix == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert evaluation.log_loss == pytest.approx(-(4 * math.log(0.8) + 2 * math.log(0.1)) / 6, rel=1e-5)


def test_model_that_is_never_right_is_scored_too() -> None:
    evaluation = evaluate(np.array([0, 0, 1]), sure(np.array([1, 2, 0])), NAMES)
    assert (evaluation.accuracy, evaluation.balanced_accuracy) == (0, 0)
    assert [(score.support, score.recall) for score in evaluation.per_class] == [(2, 0), (1, 0), (0, 0)]
    assert evaluation.per_class[0].recall_interval == wilson_95(0, 2)


def test_class_without_images_counts_in_macro_and_not_in_balanced_figures() -> None:
    evaluation = evaluate(np.array([0, 1]), sure(np.array([0, 1])), NAMES)
    assert evaluation.per_class[2].support == 0
    assert evaluation.macro_recall == pytest.approx(2 / 3)
    assert evaluation.balanced_accuracy == 1.0


@pytest.mark.parametrize(("n_correct", "n"), [(9390, 10_000), (9500, 10_000), (0, 20), (20, 20)])
def test_wilson_interval_follows_its_formula(n_correct: int, n: int) -> None:
    z, share = 1.959963984540054, n_correct / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert wilson_95(n_correct, n).low == pytest.approx(middle - half, abs=1e-9)
    assert wilson_95(n_correct, n).high == pytest.approx(middle + half, abs=1e-9)


def test_intervals_overlap_where_they_touch() -> None:
    assert Interval(0.1, 0.2).overlaps(Interval(0.2, 0.3))
    assert not Interval(0.1, 0.2).overlaps(Interval(0.21, 0.3))


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    assert expected_calibration_error(LABELS, sure(PREDICTED)) == pytest.approx(abs(4 / 6 - 0.8), abs=1e-6)
    assert expected_calibration_error(PREDICTED, sure(PREDICTED, 1.0)) == pytest.approx(0.0)


def test_most_confused_pairs_come_most_images_first() -> None:
    pairs = most_confused(np.array([[5, 0, 1], [3, 5, 0], [0, 0, 5]]), NAMES)
    assert [(pair.true, pair.predicted, pair.n_images) for pair in pairs] == [("bee", "ant", 3), ("ant", "cat", 1)]
    assert pairs[0].share == pytest.approx(3 / 8)


def test_top_mistakes_are_the_most_confident_ones() -> None:
    probabilities = sure(PREDICTED)
    probabilities[2] = (0.02, 0.9, 0.08)
    assert [mistake.index for mistake in top_mistakes(LABELS, probabilities, 5)] == [2, 4]
    assert [mistake.index for mistake in top_mistakes(LABELS, probabilities, 5, true=1)] == [4]
    assert [mistake.index for mistake in top_mistakes(LABELS, probabilities, 1)] == [2]
    assert top_mistakes(LABELS, probabilities, 5, predicted=0) == ()


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (np.array([], int), np.zeros((0, 3)), "at least 1 image"),
        (np.array([0, 1]), sure(np.array([0])), r"shape \(2, 3\), but got \(1, 3\)"),
        (np.array([3]), sure(np.array([0])), r"labels must lie in \[0, 3\)"),
        (np.array([0]), np.array([[2.0, -1.0, 0.0]]), "sum to 1 in each row"),
        (np.array([0]), np.array([[math.nan, 0.5, 0.5]]), "sum to 1 in each row"),
    ],
)
def test_predictions_that_are_none_are_refused(labels: np.ndarray, probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(labels, probabilities, NAMES)


def test_leaving_the_least_confident_images_out_keeps_the_others() -> None:
    probabilities = sure(PREDICTED)
    probabilities[2] = (0.3, 0.4, 0.3)  # a mistake, and the least confident
    whole, kept = rejection_curve(LABELS, probabilities, (0.0, 1 / 6))
    assert (whole.n_kept, whole.accuracy_kept, whole.accuracy_left) == (6, pytest.approx(4 / 6), None)
    assert (kept.n_kept, kept.accuracy_kept, kept.accuracy_left) == (5, pytest.approx(4 / 5), 0.0)


def test_least_confident_hits_are_right_answers_least_first() -> None:
    probabilities = sure(PREDICTED)
    probabilities[5], probabilities[1] = (0.3, 0.3, 0.4), (0.5, 0.3, 0.2)
    assert least_confident_hits(LABELS, probabilities, 2).tolist() == [5, 1]
    assert len(least_confident_hits(LABELS, probabilities, 99)) == 4


def test_label_is_suspect_only_where_all_models_are_sure_of_the_same_other_class() -> None:
    models = np.stack([sure(PREDICTED, 0.95), sure(PREDICTED, 0.99)])
    assert [(m.index, m.true, m.predicted) for m in find_label_issues(LABELS, models)] == [(2, 0, 1), (4, 1, 2)]
    assert find_label_issues(LABELS, models)[0].confidence == pytest.approx(0.95)
    models[1, 2] = (0.0, 0.01, 0.99)  # another class
    models[1, 4] = (0.1, 0.2, 0.7)  # not sure
    assert find_label_issues(LABELS, models) == ()
