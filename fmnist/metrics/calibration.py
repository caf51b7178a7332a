"""Whether a model is right as often as it says: reliability, and one temperature that mends it. NumPy and SciPy only.

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
    """How far confidence and accuracy lie apart: mean over the images of |accuracy - confidence| of their bin.

    15 bins of equal width, each open below and closed above, as in Guo et al. 2017, section 2.
    """
    bins, excess = _bins(probabilities), _is_right(labels, probabilities) - probabilities.max(axis=1).astype(float)
    return float(np.abs(np.bincount(bins, weights=excess, minlength=N_BINS)).sum() / len(labels))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """The bins that hold images, from the least confident to the most."""
    bins, is_right = _bins(probabilities), _is_right(labels, probabilities)
    confidences = probabilities.max(axis=1).astype(float)
    return tuple(_bin(i, confidences[bins == i], is_right[bins == i]) for i in np.unique(bins).tolist())


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature by which these probabilities have the least log loss (Guo et al. 2017): above 1 where the model
    claims too much. Within 0.05 and 20."""
    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(
        lambda log: log_loss(labels, with_temperature(probabilities, np.exp(log))), bounds=(low, high), method="bounded"
    )
    return float(np.exp(found.x))


def with_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities if the logits behind them were divided by the temperature: float64 (n, n_classes)."""
    logits = _log(probabilities) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative natural logarithm of the true class' probability."""
    return float(-_log(probabilities)[np.arange(len(labels)), labels].mean())


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY))


def _is_right(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(axis=1) == labels


def _bins(probabilities: np.ndarray) -> np.ndarray:
    return np.digitize(probabilities.max(axis=1), np.linspace(0, 1, N_BINS + 1)[1:-1], right=True)


def _bin(i: int, confidences: np.ndarray, is_right: np.ndarray) -> ReliabilityBin:
    n, n_right = len(confidences), int(is_right.sum())
    return ReliabilityBin(
        i / N_BINS, (i + 1) / N_BINS, n, float(confidences.mean()), n_right / n, wilson_95(n_right, n)
    )
