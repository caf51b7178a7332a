"""Which figure decides between networks, and how much does each class count? NumPy only; no Keras here.

A score is larger where a network is better, whatever the metric: the score by log loss is the negative log loss.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1", "log_loss"]
ClassWeights = Literal["none", "balanced"]
METRICS: tuple[Metric, ...] = get_args(Metric)
# Metrics by which every class counts the same, however few its images are. A network that learns from such images
# without weights gives the rare class up, so its loss counts the classes alike too unless it is told not to.
COUNT_CLASSES_ALIKE: tuple[Metric, ...] = ("balanced_accuracy", "macro_f1")
# What the configuration of a study means that lacks them, as those do that were made before there was a choice
BEFORE_THE_CHOICE: dict[str, Any] = {"metric": "accuracy", "class_weights": "none"}
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)  # keeps the logarithm of an underflown probability finite


def score_of(metric: Metric, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Score predictions by a metric: its value, or the negative log loss, so that a better network has a larger one.

    Accuracy, balanced accuracy (the mean recall of the classes that have images), macro F1 (the mean F1 of all classes,
    0 for one that is neither there nor predicted) and log loss are scikit-learn's.

    Args:
        metric: one of METRICS.
        labels: int (n,), n > 0.
        probabilities: float (n, n_classes), each row summing to 1. The predicted class is the most probable one.
    """
    predicted = probabilities.argmax(axis=1)
    if metric == "accuracy":
        return float(np.mean(predicted == labels))
    if metric == "log_loss":
        return -mean_log_loss(labels, probabilities)
    return score_of_table(metric, confusion_table(labels, predicted, probabilities.shape[1]))


def score_of_table(metric: Metric, confusion: np.ndarray) -> float:
    """Score a confusion table, int (n_classes, n_classes), by a metric of predicted classes: any but log loss.

    Raises ValueError for log loss, which depends on probabilities.
    """
    if metric == "accuracy":
        return float(np.trace(confusion) / confusion.sum())
    if metric == "balanced_accuracy":
        return float(balanced_accuracy(confusion))
    if metric == "macro_f1":
        return float(macro_f1(confusion))
    raise ValueError(f"a table of classes has no score by {metric}")


def shown_value(metric: Metric, score: float) -> float:
    """Return a score as people know the metric: log loss is positive. The same function turns it back."""
    return -score if metric == "log_loss" else score


def confusion_table(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Count images by class: int64 (n_classes, n_classes), row true, column predicted.

    Args:
        labels: int (n,).
        predicted: int (n,).
        n_classes: of both.
    """
    pairs = labels.astype(np.int64) * n_classes + predicted
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def balanced_accuracy(confusions: np.ndarray) -> np.ndarray:
    """Compute the mean recall of the classes that have images.

    Args:
        confusions: (..., n_classes, n_classes), row true, column predicted.

    Returns:
        One figure for each table: (...).
    """
    hits, n_images = np.diagonal(confusions, axis1=-2, axis2=-1), confusions.sum(axis=-1)
    recalls = np.divide(hits, n_images, out=np.zeros(n_images.shape), where=n_images > 0)
    return recalls.sum(axis=-1) / (n_images > 0).sum(axis=-1)


def macro_f1(confusions: np.ndarray) -> np.ndarray:
    """Compute the mean F1 over the classes, 0 for a class neither there nor predicted.

    Args:
        confusions: (..., n_classes, n_classes), row true, column predicted.

    Returns:
        One figure for each table: (...).
    """
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    named = confusions.sum(axis=-1) + confusions.sum(axis=-2)
    return np.divide(2 * hits, named, out=np.zeros(named.shape), where=named > 0).mean(axis=-1)


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Compute each image's cross-entropy, the negative logarithm of its true class's probability: float64 (n,).

    Args:
        labels: int (n,).
        probabilities: float (n, n_classes).
    """
    true_probabilities = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(true_probabilities, SMALLEST_PROBABILITY), dtype=np.float64)


def mean_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Compute the mean cross-entropy. For the arguments see `log_losses`."""
    return float(log_losses(labels, probabilities).mean())


def weights_of_classes(class_weights: ClassWeights, labels: np.ndarray, n_classes: int) -> np.ndarray | None:
    """Return how much an image of each class counts in a loss: float64 (n_classes,); None for "none", all alike.

    "balanced" is scikit-learn's n / (n_classes * images of the class). Its mean over the images is 1, so that losses,
    and with them the learning rate, keep their size.

    Args:
        class_weights: "none" or "balanced".
        labels: int (n,), of the images to learn from.
        n_classes: of the network; a class without images has the weight 1, which nothing uses.
    """
    if class_weights == "none":
        return None
    n_images = np.bincount(labels, minlength=n_classes)
    even_share = len(labels) / np.count_nonzero(n_images)
    return np.divide(even_share, n_images, out=np.ones(n_classes), where=n_images > 0)
