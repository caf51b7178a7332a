"""The figures that decide are scikit-learn's, and so are the weights of classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight

from fmnist.scoring import METRICS, score_of, shown_value, weights_of_classes

N_CLASSES = 4


def predictions(seed: int, present: list[int], n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the present classes, the first of them commonest, and probabilities of all N_CLASSES."""
    rng = np.random.default_rng(seed)
    shares = 1.0 / np.arange(1, len(present) + 1)
    labels = np.concatenate([present, rng.choice(present, n, p=shares / shares.sum())]).astype(np.uint8)
    probabilities = rng.dirichlet(np.ones(N_CLASSES), len(labels)) + 0.5 * np.eye(N_CLASSES)[labels]
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("present", [[0, 1, 2, 3], [2, 0], [3, 1, 2]], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed: int, present: list[int]) -> None:
    labels, probabilities = predictions(seed, present)
    predicted, classes = probabilities.argmax(axis=1), list(range(N_CLASSES))
    macro_f1 = metrics.f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)
    recall = metrics.recall_score(labels, predicted, labels=present, average="macro")  # of the classes that are there
    assert score_of("accuracy", labels, probabilities) == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert score_of("balanced_accuracy", labels, probabilities) == pytest.approx(recall)
    assert score_of("macro_f1", labels, probabilities) == pytest.approx(macro_f1)
    log_loss = metrics.log_loss(labels, probabilities, labels=classes)
    assert score_of("log_loss", labels, probabilities) == pytest.approx(-log_loss)
    assert shown_value("log_loss", score_of("log_loss", labels, probabilities)) == pytest.approx(log_loss)
    if set(predicted) <= set(present):
        assert recall == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))


@pytest.mark.parametrize("metric", METRICS)
def test_better_predictions_have_the_larger_score(metric: str) -> None:
    labels, probabilities = predictions(0, [0, 1, 2, 3])
    better = 0.5 * probabilities + 0.5 * np.eye(N_CLASSES)[labels]
    assert score_of(metric, labels, better) > score_of(metric, labels, probabilities)


def test_network_that_ignores_a_rare_class_is_good_by_accuracy_alone() -> None:
    labels = np.repeat([0, 1], [400, 15])
    probabilities = np.tile([0.9, 0.1], (415, 1))
    assert score_of("accuracy", labels, probabilities) == 400 / 415
    assert score_of("balanced_accuracy", labels, probabilities) == 0.5
    assert score_of("macro_f1", labels, probabilities) < 0.5


def test_log_loss_of_an_underflown_probability_is_finite() -> None:
    assert -100 < score_of("log_loss", np.array([0]), np.array([[0.0, 1.0]])) < -80


@pytest.mark.parametrize("counts", [(400, 15), (5, 60, 30, 1), (7, 7)], ids=str)
def test_balanced_weights_are_those_of_scikit_learn_and_keep_the_size_of_the_loss(counts: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    weights = weights_of_classes("balanced", labels, len(counts))
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    np.testing.assert_allclose(weights, expected)
    assert weights[labels].mean() == pytest.approx(1)
    assert weights_of_classes("none", labels, len(counts)) is None


def test_class_without_images_changes_no_weight() -> None:
    labels = np.array([0, 0, 0, 2])
    np.testing.assert_allclose(weights_of_classes("balanced", labels, 4), [4 / 6, 1, 2, 1])
