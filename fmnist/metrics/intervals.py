"""What does chance do to a score? Confidence intervals, tests, the best of many by luck. NumPy and SciPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

N_RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A confidence interval, ends included."""

    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        """Tell whether the two intervals have a point in common; touching is enough."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same images, by those that one of them alone has right."""

    n_only_a: int  # images that a has right and b wrong
    n_only_b: int
    p_value: float  # exact, two-sided: as uneven a division of these images, were a and b equally good


@dataclass(frozen=True)
class ExpectedMaximum:
    """What the best of several equally good configurations shows on a set of images."""

    expected: float  # mean accuracy of the best
    high: float  # accuracy that the best exceeds with a probability of at most 5 %


def wilson_95(n_correct: int, n: int) -> Interval:
    """Compute the Wilson 95 % interval of a share of `n` images (Wilson 1927).

    Raises:
        ValueError: not 0 <= n_correct <= n, or no image.
    """
    interval = stats.binomtest(n_correct, n).proportion_ci(confidence_level=LEVEL, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def macro_f1_95(confusion: np.ndarray, seed: int = 0) -> Interval:
    """Compute the 95 % interval of macro F1 by the percentile bootstrap over images (Efron 1979).

    Macro F1 depends on the images by the confusion table alone, and the table of n images drawn with replacement is a
    multinomial draw from it; so the table is drawn, and no image is.

    Args:
        confusion: int (n_classes, n_classes), row true, column predicted.
        seed: of the draws.
    """
    n = int(confusion.sum())
    tables = np.random.default_rng(seed).multinomial(n, confusion.ravel() / n, size=N_RESAMPLES)
    scores = macro_f1(tables.reshape(N_RESAMPLES, *confusion.shape))
    low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


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


def mcnemar(labels: np.ndarray, predicted_a: np.ndarray, predicted_b: np.ndarray) -> McNemar:
    """Test whether two classifiers are equally good on the same images: the exact test of McNemar (1947).

    Args:
        labels: int (n,).
        predicted_a: int (n,), classes predicted by the one.
        predicted_b: int (n,), classes predicted by the other.
    """
    is_right_a, is_right_b = predicted_a == labels, predicted_b == labels
    n_only_a, n_only_b = int(np.sum(is_right_a & ~is_right_b)), int(np.sum(is_right_b & ~is_right_a))
    n_either = n_only_a + n_only_b
    p_value = float(stats.binomtest(n_only_a, n_either).pvalue) if n_either else 1.0
    return McNemar(n_only_a, n_only_b, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being several, in their order (Holm 1979).

    With a probability of at most 0.05, any of those whose hypothesis is true comes out below 0.05.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    rising = np.maximum.accumulate(factors * np.asarray(p_values, float)[order])
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, rising)
    return adjusted.tolist()


def expected_best_of(accuracy: float, n_images: int, n_configurations: int) -> ExpectedMaximum:
    """Compute what the best of several configurations shows where all have the same true accuracy.

    They are taken to err independently. Real ones fail on the same difficult images, so that luck brings them less: it
    is the most that luck does.

    Args:
        accuracy: the true one, of each.
        n_images: that each is scored on.
        n_configurations: of which the best is taken.

    Raises:
        ValueError: there is no configuration, or no image.
    """
    if n_images < 1 or n_configurations < 1:
        raise ValueError(f"luck needs at least 1 image and 1 configuration, but got {n_images} and {n_configurations}")
    below = stats.binom.cdf(np.arange(n_images), n_images, accuracy) ** n_configurations  # P(best <= 0, 1, ... n - 1)
    expected = float(np.sum(1 - below)) / n_images
    return ExpectedMaximum(expected, int(np.searchsorted(below, LEVEL)) / n_images)
