"""Which weights an average of models gets."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist.metrics.ensemble import ensemble_weights, weighted_mean

LABELS = np.array([0, 1, 0, 1])


def model(*of_true_class: float) -> np.ndarray:
    """Probabilities of two classes, by that of each image's true class."""
    rows = []
    for label, probability in zip(LABELS, of_true_class, strict=True):
        rows.append([probability, 1 - probability] if label == 0 else [1 - probability, probability])
    return np.array(rows, np.float32)


def test_a_single_perfect_model_gets_all_the_weight() -> None:
    models = np.stack([model(0.6, 0.7, 0.8, 0.6), model(1, 1, 1, 1), model(0.9, 0.1, 0.9, 0.9)])
    assert ensemble_weights(models, LABELS).tolist() == [0, 1, 0]


def test_models_that_make_good_each_others_mistakes_share_the_weight() -> None:
    models = np.stack([model(0.9, 0.9, 0.2, 0.2), model(0.2, 0.2, 0.9, 0.9), model(0.3, 0.3, 0.3, 0.3)])
    assert ensemble_weights(models, LABELS).tolist() == [0.5, 0.5, 0]


def test_the_average_is_no_worse_than_the_best_of_its_models() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    models = rng.dirichlet(np.ones(5), (6, 200)) + 0.5 * np.eye(5)[labels] * rng.random((6, 200, 1))
    models /= models.sum(axis=2, keepdims=True)

    def loss(probabilities: np.ndarray) -> float:
        return float(-np.log(probabilities[np.arange(200), labels]).mean())

    weights = ensemble_weights(models, labels)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert loss(weighted_mean(models, weights)) < min(map(loss, models))


def test_certainty_of_a_wrong_class_counts_and_stays_finite() -> None:
    models = np.stack([model(1, 1, 1, 0), model(0.6, 0.6, 0.6, 0.6)])
    assert ensemble_weights(models, LABELS)[1] > 0


def test_equal_models_leave_the_weight_to_the_first() -> None:
    assert ensemble_weights(np.stack([model(0.7, 0.7, 0.7, 0.7)] * 3), LABELS).tolist() == [1, 0, 0]


@pytest.mark.parametrize("shape", [(4, 2), (0, 4, 2), (3, 0, 2), (3, 5, 2), (3, 4, 0)])
def test_probabilities_that_fit_no_labels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"probabilities must be \(n_models, n, n_classes\) for n labels, all above 0"):
        ensemble_weights(np.zeros(shape), LABELS)


def test_weighted_mean_weighs_each_model() -> None:
    mean = weighted_mean(np.stack([model(1, 1, 1, 1), model(0, 0, 1, 1)]), np.array([0.75, 0.25]))
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, model(0.75, 0.75, 1, 1))


def test_weighted_mean_needs_a_weight_for_each_model() -> None:
    with pytest.raises(ValueError, match="zip"):
        weighted_mean(np.zeros((3, 4, 2)), np.array([0.5, 0.5]))


def test_weights_of_images_decide_which_models_mistakes_count() -> None:
    models = np.stack([model(0.9, 0.2, 0.9, 0.2), model(0.2, 0.9, 0.2, 0.9)])  # each knows one class
    assert ensemble_weights(models, LABELS, image_weights=np.ones(4)).tolist() == [0.5, 0.5]
    favoured = ensemble_weights(models, LABELS, image_weights=np.array([1, 5, 1, 5]))
    assert favoured[1] > 0.7
