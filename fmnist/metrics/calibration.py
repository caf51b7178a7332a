"""Is a model right as often as it says? Reliability, and one temperature that fixes it. NumPy and SciPy only.

labels: int (n,). probabilities: float (n, n_classes), each row summing to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from fmnist.metrics.intervals import Interval, wilson_95

N_BINS = 15  # Guo et al. 2017, "On Calibration of Modern Neural Networks"
SMALLEST_PROBABILITY = 1e-12  # for the logarithm of a probability that was rounded to 0
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence, the probability of the predicted class, lies in one of 15 equal bins."""

    low: float  # the bin is open below and closed above
    high: float
    n_images: int
    mean_confidence: float
    accuracy: float
    accuracy_interval: Interval  # Wilson, 95 %


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Measure how far confidence and accuracy lie apart: mean over the images of |accuracy - confidence| of their bin.

    15 bins of equal width, each open below and closed above, as in Guo et al. 2017, section 2.

    Args:
        labels: int (n,).
        probabilities: float (n, n_classes).

    Returns:
        0 for a model that is right exactly as often as it says, 1 at most.
    """
    excess = _is_right(labels, probabilities) - probabilities.max(axis=1).astype(float)
    sums = np.bincount(_bins(probabilities), weights=excess, minlength=N_BINS)
    return float(np.abs(sums).sum() / len(labels))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """Compare accuracy with confidence by bins of confidence.

    Args:
        labels: int (n,).
        probabilities: float (n, n_classes).

    Returns:
        The bins that hold images, from the least confident to the most.
    """
    bins, is_right = _bins(probabilities), _is_right(labels, probabilities)
    confidences = probabilities.max(axis=1).astype(float)
    found = []
    for i in np.unique(bins).tolist():
        is_inside = bins == i
        n, n_right = int(is_inside.sum()), int(is_right[is_inside].sum())
        found.append(
            ReliabilityBin(
                low=i / N_BINS,
                high=(i + 1) / N_BINS,
                n_images=n,
                mean_confidence=float(confidences[is_inside].mean()),
                accuracy=n_right / n,
                accuracy_interval=wilson_95(n_right, n),
            )
        )
    return tuple(found)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Find the temperature by which these probabilities have the least log loss (Guo et al. 2017).

    Args:
        labels: int (n,), of images that the model has not learned from.
        probabilities: float (n, n_classes).

    Returns:
        A number within 0.05 and 20: above 1 where the model claims too much.
    """

    def loss_at(log_temperature: float) -> float:
        return log_loss(labels, with_temperature(probabilities, np.exp(log_temperature)))

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(loss_at, bounds=(low, high), method="bounded")
    return float(np.exp(found.x))


def with_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Compute the probabilities if the logits behind them were divided by the temperature: float64 (n, n_classes)."""
    logits = _log(probabilities) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Compute the mean negative natural logarithm of the true class' probability.

    scikit-learn's, which `evaluate` uses, cuts probabilities at 2.2e-16 instead of 1e-12. Here the floor is that of
    `with_temperature`, so that temperatures are compared on the same footing.
    """
    loss = -_log(probabilities)[np.arange(len(labels)), labels].mean()
    return max(0.0, float(loss))  # probabilities that round to 1 or above would print as -0.0000


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY))


def _is_right(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(axis=1) == labels


def _bins(probabilities: np.ndarray) -> np.ndarray:
    return np.digitize(probabilities.max(axis=1), np.linspace(0, 1, N_BINS + 1)[1:-1], right=True)
