"""Which models are averaged, and how much does each count? Arrays in, weights out."""

from __future__ import annotations

import numpy as np

from fmnist.scoring import SMALLEST_PROBABILITY

N_ROUNDS = 20  # models are added one by one, with replacement, so a weight is a multiple of a twentieth


def ensemble_weights(
    probabilities: np.ndarray, labels: np.ndarray, n_rounds: int = N_ROUNDS, *, image_weights: np.ndarray | None = None
) -> np.ndarray:
    """Choose the weights of an average by greedy selection with replacement (Caruana et al. 2004).

    In each round the model is added that brings the average's cross-entropy lowest; among equal ones the first. It is
    compared by cross-entropy, since accuracy on a few thousand images cannot tell such averages apart.

    Args:
        probabilities: float (n_models, n, n_classes), of images that no model has learned from.
        labels: int (n,), the classes of these images.
        n_rounds: how many models are added, repeats counted.
        image_weights: how much each image counts in the cross-entropy, float (n,), such as the weight of its class;
            None: all the same.

    Returns:
        float64 (n_models,), at least 0, summing to 1.

    Raises:
        ValueError: there is no model or no image, or the shapes do not fit each other.
    """
    if probabilities.ndim != 3 or 0 in probabilities.shape or probabilities.shape[1] != len(labels):
        raise ValueError(
            f"probabilities must be (n_models, n, n_classes) for n labels, all above 0, but got {probabilities.shape} "
            f"for {len(labels)}"
        )
    true_probabilities = probabilities[:, np.arange(len(labels)), labels].astype(np.float64)
    counts = np.zeros(len(probabilities), np.int64)
    total = np.zeros(len(labels))
    for n_before in range(n_rounds):
        averages = (total + true_probabilities) / (n_before + 1)
        losses = -np.log(np.maximum(averages, SMALLEST_PROBABILITY))
        if image_weights is not None:
            losses *= image_weights
        losses = losses.mean(axis=1)
        chosen = int(losses.argmin())
        counts[chosen] += 1
        total += true_probabilities[chosen]
    return counts / n_rounds


def weighted_mean(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average what several models predict.

    Args:
        probabilities: float (n_models, ...), the models' predictions.
        weights: float (n_models,), summing to 1.

    Returns:
        float32, of the shape of one model's predictions.
    """
    mean = np.zeros(probabilities.shape[1:])
    for weight, of_model in zip(weights, probabilities, strict=True):  # one by one: a product's sums vary by machine
        mean += weight * of_model
    return mean.astype(np.float32)
