"""From predictions to the numbers that are claimed. NumPy, SciPy and scikit-learn only; no Keras here.

Every function takes `labels`, int (n,), and `probabilities`, float (n, n_classes), whose rows sum to 1. The predicted
class is the most probable one, the first of equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn import metrics

N_CALIBRATION_BINS = 15  # Guo et al. 2017, "On Calibration of Modern Neural Networks"


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class ClassScore:
    """How one class fares. A figure whose denominator is 0 is 0."""

    name: str
    precision: float  # of the images predicted as this class, the share that is
    recall: float  # of the images of this class, the share found
    f1: float  # harmonic mean of the two
    support: int  # images of this class


@dataclass(frozen=True)
class Confusion:
    """How often images of one class are taken for another."""

    true: str  # class name
    predicted: str  # class name
    n_images: int
    share: float  # of the images of the true class


@dataclass(frozen=True)
class Mistake:
    """One image that is classified wrongly."""

    index: int  # row of `labels`
    true: int  # class index
    predicted: int  # class index
    confidence: float  # probability of the predicted class


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same images, by those that one of them alone has right."""

    n_only_a: int  # images that a has right and b wrong
    n_only_b: int
    p_value: float  # exact, two-sided: as uneven a division of these images, were a and b equally good


@dataclass(frozen=True)
class Evaluation:
    """All that is said about one set of predictions. Macro figures are means over the classes, each counted alike."""

    n_images: int
    accuracy: float
    accuracy_interval: Interval  # Wilson, 95 %
    macro_f1: float
    macro_precision: float
    macro_recall: float  # over all classes; one without images counts as 0
    balanced_accuracy: float  # mean recall over the classes that have images
    log_loss: float  # mean natural logarithm, of the true class
    per_class: tuple[ClassScore, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]  # row true, column predicted
    most_confused: tuple[Confusion, ...]  # at most 10 ordered pairs, most images first
    expected_calibration_error: float  # 15 equal bins of confidence (Guo et al. 2017)


def evaluate(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> Evaluation:
    """Raises ValueError if the shapes don't fit each other, or there is no image or a label outside the classes."""
    _check(labels, probabilities, class_names)
    labels, probabilities = labels.astype(int), _normalized(probabilities)
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(len(class_names))
    n_correct = int((predicted == labels).sum())
    confusion = metrics.confusion_matrix(labels, predicted, labels=classes)
    per_class = _class_scores(labels, predicted, class_names)
    return Evaluation(
        n_images=len(labels),
        accuracy=n_correct / len(labels),
        accuracy_interval=wilson_95(n_correct, len(labels)),
        macro_f1=_mean([score.f1 for score in per_class]),
        macro_precision=_mean([score.precision for score in per_class]),
        macro_recall=_mean([score.recall for score in per_class]),
        balanced_accuracy=_mean([score.recall for score in per_class if score.support]),
        log_loss=float(metrics.log_loss(labels, probabilities, labels=classes)),
        per_class=per_class,
        confusion_matrix=tuple(tuple(row) for row in confusion.tolist()),
        most_confused=most_confused(confusion, class_names),
        expected_calibration_error=expected_calibration_error(labels, probabilities),
    )


def wilson_95(n_correct: int, n: int) -> Interval:
    """The Wilson 95 % interval of a share of `n` images. Raises ValueError unless 0 <= n_correct <= n and n >= 1."""
    interval = stats.binomtest(n_correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """How far confidence and accuracy lie apart: mean over the images of |accuracy - confidence| of their bin.

    15 bins of equal width, each open below and closed above, as in Guo et al. 2017, section 2.
    """
    confidences = probabilities.max(axis=1)
    is_correct = probabilities.argmax(axis=1) == labels
    inner_edges = np.linspace(0, 1, N_CALIBRATION_BINS + 1)[1:-1]
    bins = np.digitize(confidences, inner_edges, right=True)
    excess = np.bincount(bins, weights=is_correct - confidences.astype(float), minlength=N_CALIBRATION_BINS)
    return float(np.abs(excess).sum() / len(labels))


def most_confused(confusion: np.ndarray, class_names: Sequence[str], limit: int = 10) -> tuple[Confusion, ...]:
    """The ordered pairs true -> predicted with most images. confusion: int (n_classes, n_classes), row true."""
    pairs = [(int(n), i, j) for (i, j), n in np.ndenumerate(confusion) if i != j and n > 0]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return tuple(Confusion(class_names[i], class_names[j], n, n / int(confusion[i].sum())) for n, i, j in pairs[:limit])


def top_mistakes(
    labels: np.ndarray,
    probabilities: np.ndarray,
    limit: int,
    *,
    true: int | None = None,
    predicted: int | None = None,
) -> tuple[Mistake, ...]:
    """The most confident mistakes, most confident first; of one true or one predicted class where it is given."""
    predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    is_wanted = predictions != labels
    if true is not None:
        is_wanted &= labels == true
    if predicted is not None:
        is_wanted &= predictions == predicted
    rows = np.flatnonzero(is_wanted)
    rows = rows[np.argsort(-confidences[rows], kind="stable")][:limit]
    return tuple(Mistake(int(i), int(labels[i]), int(predictions[i]), float(confidences[i])) for i in rows)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being several (Holm 1979), in their order: below 0.05 with a probability of at most 0.05
    for any of those whose hypothesis is true."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    rising = np.maximum.accumulate(factors * np.asarray(p_values, float)[order])
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, rising)
    return adjusted.tolist()


def mcnemar(labels: np.ndarray, predicted_a: np.ndarray, predicted_b: np.ndarray) -> McNemar:
    """The exact test of McNemar (1947) of two classifiers' predictions for the same images, all int (n,)."""
    is_right_a, is_right_b = predicted_a == labels, predicted_b == labels
    n_only_a, n_only_b = int(np.sum(is_right_a & ~is_right_b)), int(np.sum(is_right_b & ~is_right_a))
    n_either = n_only_a + n_only_b
    p_value = float(stats.binomtest(n_only_a, n_either).pvalue) if n_either else 1.0
    return McNemar(n_only_a, n_only_b, p_value)


def _check(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> None:
    expected = (len(labels), len(class_names))
    if len(labels) == 0:
        raise ValueError("an evaluation needs at least 1 image, but got 0")
    if probabilities.shape != expected:
        raise ValueError(f"probabilities must have shape {expected}, but got {probabilities.shape}")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(f"labels must lie in [0, {len(class_names)}), but got {labels.min()} to {labels.max()}")


def _normalized(probabilities: np.ndarray) -> np.ndarray:
    """As float64, each row summing to 1 at that precision. Raises ValueError on a row that is no distribution."""
    probabilities = probabilities.astype(np.float64)
    totals = probabilities.sum(axis=1, keepdims=True)
    if not (np.isfinite(totals).all() and probabilities.min() >= 0 and np.abs(totals - 1).max() < 1e-3):
        raise ValueError("probabilities must be at least 0 and sum to 1 in each row; pass the logits through a softmax")
    return probabilities / totals


def _class_scores(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> tuple[ClassScore, ...]:
    columns = metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(class_names)), zero_division=0
    )
    return tuple(
        ClassScore(name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(class_names, *columns, strict=True)
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
