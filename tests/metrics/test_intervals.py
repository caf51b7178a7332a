"""Intervals and tests on simulated predictions whose truth is known, and against worked-out or independent figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from fmnist.metrics.evaluation import evaluate
from fmnist.metrics.intervals import (
    balanced_accuracy_95,
    expected_best_of,
    holm,
    macro_f1_95,
    mcnemar,
    score_95,
    score_difference_95,
    wilson_95,
)
from fmnist.scoring import METRICS, macro_f1, score_of

N_SIMULATIONS = 1000
# By chance alone an interval that covers at 95 % would in 1,000 simulations be below this once in 2,000 runs.
LEAST_COVERED = 0.95 - 3.3 * math.sqrt(0.95 * 0.05 / N_SIMULATIONS)

# A joint distribution of (true, predicted): a population whose figures are known.
POPULATION = np.array([[0.30, 0.02, 0.01], [0.03, 0.25, 0.05], [0.00, 0.04, 0.30]])


@pytest.fixture(scope="module")
def tables() -> np.ndarray:
    """Confusion tables of 1,000 test sets of 500 images each: int (1000, 3, 3)."""
    return np.random.default_rng(0).multinomial(500, POPULATION.ravel(), size=N_SIMULATIONS).reshape(-1, 3, 3)


def test_wilson_interval_covers_the_true_accuracy(tables: np.ndarray) -> None:
    accuracy = float(np.trace(POPULATION))
    intervals = [wilson_95(int(np.trace(table)), 500) for table in tables]
    assert np.mean([interval.low <= accuracy <= interval.high for interval in intervals]) >= LEAST_COVERED


def test_recall_interval_covers_the_true_recall(tables: np.ndarray) -> None:
    recall = float(POPULATION[1, 1] / POPULATION[1].sum())
    intervals = [wilson_95(int(table[1, 1]), int(table[1].sum())) for table in tables]
    assert np.mean([interval.low <= recall <= interval.high for interval in intervals]) >= LEAST_COVERED


def test_bootstrap_interval_covers_the_true_macro_f1(tables: np.ndarray) -> None:
    truth = float(macro_f1(POPULATION))
    intervals = [macro_f1_95(table) for table in tables]
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert covered >= LEAST_COVERED - 0.01  # the percentile bootstrap is a little narrow at 500 images


def test_bootstrap_of_the_table_is_the_bootstrap_of_the_images() -> None:
    table = np.array([[30, 3, 1], [4, 20, 6], [0, 5, 31]])
    labels, predicted = (np.repeat(grid.ravel(), table.ravel()) for grid in np.indices(table.shape))
    rng = np.random.default_rng(1)
    draws = rng.integers(len(labels), size=(2000, len(labels)))
    scores = [metrics.f1_score(labels[rows], predicted[rows], average="macro") for rows in draws]
    interval = macro_f1_95(table)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=0.01)


def test_macro_f1_is_that_of_scikit_learn(tables: np.ndarray) -> None:
    labels, predicted = (np.repeat(grid.ravel(), tables[0].ravel()) for grid in np.indices((3, 3)))
    assert macro_f1(tables[0]) == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))


def test_recall_of_a_class_that_is_always_found_is_still_uncertain() -> None:
    labels = np.repeat([0, 1], 20)
    scores = evaluate(labels, np.eye(2)[labels], ("ant", "bee")).per_class
    assert scores[0].recall_interval.low == pytest.approx(wilson_95(20, 20).low)
    assert scores[0].recall_interval.low < 0.9


def test_mcnemar_calls_equal_classifiers_different_in_at_most_five_of_a_hundred_cases() -> None:
    rng = np.random.default_rng(2)
    is_right = rng.random((N_SIMULATIONS, 2, 400)) < 0.9
    p_values = [mcnemar(np.ones(400, int), a.astype(int), b.astype(int)).p_value for a, b in is_right]
    assert np.mean(np.array(p_values) < 0.05) <= 0.05


def test_mcnemar_finds_a_classifier_that_is_better() -> None:
    labels = np.zeros(1000, int)
    better, worse = (np.arange(1000) < 50).astype(int), (np.arange(1000) < 90).astype(int)
    test = mcnemar(labels, better, worse)
    assert (test.n_only_a, test.n_only_b) == (40, 0)
    assert test.p_value == pytest.approx(2 * 0.5**40)


def test_mcnemar_of_one_and_the_same_predictions_says_nothing() -> None:
    assert mcnemar(np.array([0, 1]), np.array([0, 0]), np.array([0, 0])).p_value == 1.0


def test_holm_follows_its_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_any_false_finding_among_several_stays_at_five_of_a_hundred() -> None:
    p_values = np.random.default_rng(3).random((N_SIMULATIONS, 8))
    found = [min(holm(row.tolist())) < 0.05 for row in p_values]
    assert np.mean(found) <= 0.05 + 3.3 * math.sqrt(0.05 * 0.95 / N_SIMULATIONS)


def test_luck_of_many_equal_configurations_is_that_of_a_simulation() -> None:
    shares = np.random.default_rng(4).binomial(5000, 0.93, size=(4000, 100)).max(axis=1) / 5000
    luck = expected_best_of(0.93, 5000, 100)
    assert luck.expected == pytest.approx(shares.mean(), abs=1e-4)
    assert luck.high == pytest.approx(np.quantile(shares, 0.95), abs=4e-4)
    assert luck.high == pytest.approx(0.939, abs=0.003)


def test_one_configuration_has_no_luck() -> None:
    assert expected_best_of(0.9, 1000, 1).expected == pytest.approx(0.9)


def test_luck_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1 image and 1 configuration, but got 0 and 3"):
        expected_best_of(0.9, 0, 3)


def test_interval_of_balanced_accuracy_is_wide_where_every_image_of_a_rare_class_is_found() -> None:
    few, many = np.array([[390, 10], [0, 3]]), np.array([[390, 10], [0, 300]])
    assert balanced_accuracy_95(few).low < 0.75 < 0.97 < balanced_accuracy_95(many).low
    assert balanced_accuracy_95(few).high <= 1


def test_interval_of_balanced_accuracy_of_one_class_is_that_of_its_recall() -> None:
    found, expected = balanced_accuracy_95(np.array([[80, 20], [0, 0]])), wilson_95(80, 100)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.005)


@pytest.mark.parametrize(
    ("counts", "recalls"),
    [
        ((36,) * 10, (0.97,) * 10),
        ((24,) * 10, (0.95,) * 10),
        ((24,) * 100, (0.9,) * 100),
        ((400, 15), (0.95, 0.95)),
        ((400, 15), (0.99, 0.8)),
        ((200, 20), (0.97, 0.8)),
    ],
)
def test_interval_of_balanced_accuracy_covers_the_truth_about_as_often_as_it_says(
    counts: tuple[int, ...], recalls: tuple[float, ...]
) -> None:
    truth, classes, covered = np.mean(recalls), np.arange(len(counts)), []
    for hits in np.random.default_rng(0).binomial(counts, recalls, size=(2000, len(counts))):
        table = np.diag(hits)
        table[classes, classes - 1] += np.array(counts) - hits
        interval = balanced_accuracy_95(table)
        covered.append(interval.low <= truth <= interval.high)
    assert 0.93 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize("hits", [(15, 15), (390, 3), (36,) * 10])
def test_interval_of_macro_f1_has_a_width_where_every_image_is_right(hits: tuple[int, ...]) -> None:
    interval = macro_f1_95(np.diag(hits))
    assert interval.low < 0.98 and interval.high == 1


def test_interval_of_macro_f1_has_a_width_where_no_image_of_a_class_is_right() -> None:
    table = np.array([[40, 0], [15, 0]])
    interval = macro_f1_95(table)
    assert interval.low < float(macro_f1(table)) < interval.high - 0.05


def test_interval_of_macro_f1_is_the_bootstrap_where_every_class_has_mistakes() -> None:
    table = np.array([[40, 1], [1, 20]])
    draws = np.random.default_rng(0).multinomial(62, table.ravel() / 62, size=2000).reshape(-1, 2, 2)
    interval = macro_f1_95(table)
    assert [interval.low, interval.high] == np.quantile(macro_f1(draws), [0.025, 0.975]).tolist()


def test_interval_of_macro_f1_covers_the_truth_where_mistakes_are_few() -> None:
    counts, recall = (15, 15), 0.97
    hits = np.random.default_rng(0).binomial(counts, recall, size=(200, 2))
    intervals = [macro_f1_95(np.array([[a, 15 - a], [15 - b, b]])) for a, b in hits]
    assert np.mean([interval.low <= recall <= interval.high for interval in intervals]) >= 0.95


def some_predictions(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, 300, p=[0.7, 0.25, 0.05])
    probabilities = rng.dirichlet(np.ones(3), 300) + 0.4 * np.eye(3)[labels]
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_of_scores_hold_the_score_and_repeat_themselves(metric: str) -> None:
    labels, probabilities = some_predictions(0)
    interval = score_95(metric, labels, probabilities)
    assert interval.low < score_of(metric, labels, probabilities) < interval.high
    assert interval == score_95(metric, labels, probabilities)


@pytest.mark.parametrize("metric", METRICS)
def test_difference_of_a_model_that_is_clearly_better_is_above_0_and_of_the_same_one_0(metric: str) -> None:
    labels, probabilities = some_predictions(0)
    better = 0.5 * probabilities + 0.5 * np.eye(3)[labels]
    found = score_difference_95(metric, labels, probabilities, better)
    assert 0 < found.low < score_of(metric, labels, better) - score_of(metric, labels, probabilities) < found.high
    same = score_difference_95(metric, labels, better, better)
    assert (same.low, same.high) == (0, 0)
