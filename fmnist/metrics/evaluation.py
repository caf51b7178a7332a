"""What is claimed of a set of predictions? NumPy, SciPy and scikit-learn only; no Keras here.

Every function takes `labels`, int (n,), and `probabilities`, float (n, n_classes), whose rows sum to 1. The predicted
class is the most probable one, the first of equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from fmnist.metrics.calibration import expected_calibration_error
from fmnist.metrics.intervals import Interval, macro_f1_95, wilson_95


@dataclass(frozen=True)
class ClassScore:
    """How one class fares. A figure whose denominator is 0 is 0."""

    name: str
    precision: float  # of the images predicted as this class, the share that is
    recall: float  # of the images of this class, the share found
    recall_interval: Interval | None  # Wilson, 95 %; None without images of this class
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
class RejectionCurvePoint:
    """What is gained by leaving the images to someone else of which the model is least sure."""

    share_left: float  # of the images, the least confident ones
    n_kept: int
    accuracy_kept: float
    interval_kept: Interval  # Wilson, 95 %
    accuracy_left: float | None  # what the model would have had there; None where none is left


@dataclass(frozen=True)
class Evaluation:
    """All that is said about one set of predictions. Macro figures are means over the classes, each counted alike."""

    n_images: int
    accuracy: float
    accuracy_interval: Interval  # Wilson, 95 %
    macro_f1: float
    macro_f1_interval: Interval  # bootstrap over images, 95 %
    macro_precision: float
    macro_recall: float  # over all classes; one without images counts as 0
    balanced_accuracy: float  # mean recall over the classes that have images
    log_loss: float  # mean natural logarithm, of the true class
    per_class: tuple[ClassScore, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]  # row true, column predicted
    most_confused: tuple[Confusion, ...]  # at most 10 ordered pairs, most images first
    expected_calibration_error: float  # 15 equal bins of confidence (Guo et al. 2017)


def evaluate(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> Evaluation:
    """Score one set of predictions.

    Args:
        labels: int (n,), n > 0.
        probabilities: float (n, n_classes), each row summing to 1.
        class_names: (n_classes,).

    Raises:
        ValueError: the shapes don't fit each other, a row is no distribution, or there is no image or a label outside
            the classes.
    """
    _require_valid(labels, probabilities, class_names)
    labels, probabilities = labels.astype(int), _normalized(probabilities)
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(len(class_names))
    n_correct = int((predicted == labels).sum())
    confusion = np.asarray(metrics.confusion_matrix(labels, predicted, labels=classes))
    per_class = _class_scores(labels, predicted, class_names)
    recalls = [score.recall for score in per_class]
    recalls_of_present = [score.recall for score in per_class if score.support]
    return Evaluation(
        n_images=len(labels),
        accuracy=n_correct / len(labels),
        accuracy_interval=wilson_95(n_correct, len(labels)),
        macro_f1=float(np.mean([score.f1 for score in per_class])),
        macro_f1_interval=macro_f1_95(confusion),
        macro_precision=float(np.mean([score.precision for score in per_class])),
        macro_recall=float(np.mean(recalls)),
        balanced_accuracy=float(np.mean(recalls_of_present)),
        log_loss=float(metrics.log_loss(labels, probabilities, labels=classes)),
        per_class=per_class,
        confusion_matrix=tuple(tuple(row) for row in confusion.tolist()),
        most_confused=most_confused(confusion, class_names),
        expected_calibration_error=expected_calibration_error(labels, probabilities),
    )


def most_confused(confusion: np.ndarray, class_names: Sequence[str], limit: int = 10) -> tuple[Confusion, ...]:
    """Find the ordered pairs true -> predicted with most images, most first.

    Args:
        confusion: int (n_classes, n_classes), row true, column predicted.
        class_names: (n_classes,).
        limit: pairs to give, at most.
    """
    pairs = []
    for true, row in enumerate(confusion.tolist()):
        for predicted, n_images in enumerate(row):
            if true != predicted and n_images > 0:
                pairs.append(Confusion(class_names[true], class_names[predicted], n_images, n_images / sum(row)))
    pairs.sort(key=lambda pair: -pair.n_images)  # equal ones stay in the order of their classes
    return tuple(pairs[:limit])


def top_mistakes(
    labels: np.ndarray,
    probabilities: np.ndarray,
    limit: int,
    *,
    true: int | None = None,
    predicted: int | None = None,
) -> tuple[Mistake, ...]:
    """Find the most confident mistakes, most confident first.

    Args:
        labels: int (n,).
        probabilities: float (n, n_classes).
        limit: mistakes to give, at most.
        true: index of the only true class that counts; None: all do.
        predicted: index of the only predicted class that counts; None: all do.
    """
    predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    is_wanted = predictions != labels
    if true is not None:
        is_wanted &= labels == true
    if predicted is not None:
        is_wanted &= predictions == predicted
    rows = np.flatnonzero(is_wanted)
    rows = rows[np.argsort(-confidences[rows], kind="stable")][:limit]
    return tuple(Mistake(int(i), int(labels[i]), int(predictions[i]), float(confidences[i])) for i in rows)


def rejection_curve(
    labels: np.ndarray, probabilities: np.ndarray, shares: Sequence[float] = (0.0, 0.01, 0.05, 0.1, 0.2)
) -> tuple[RejectionCurvePoint, ...]:
    """Score the images that are kept where the least confident share is left to someone else.

    Args:
        labels: int (n,).
        probabilities: float (n, n_classes).
        shares: of the images left, each in [0, 1).
    """
    order = np.argsort(probabilities.max(axis=1), kind="stable")
    is_right = (probabilities.argmax(axis=1) == labels)[order]
    points = []
    for share in shares:
        n_left = round(share * len(labels))
        left, kept = is_right[:n_left], is_right[n_left:]
        points.append(
            RejectionCurvePoint(
                share_left=share,
                n_kept=len(kept),
                accuracy_kept=float(kept.mean()),
                interval_kept=wilson_95(int(kept.sum()), len(kept)),
                accuracy_left=float(left.mean()) if n_left else None,
            )
        )
    return tuple(points)


def least_confident_hits(labels: np.ndarray, probabilities: np.ndarray, limit: int) -> np.ndarray:
    """Find the right answers given with the least confidence, least first: their rows, int64 (at most limit,)."""
    hits = np.flatnonzero(probabilities.argmax(axis=1) == labels)
    return hits[np.argsort(probabilities[hits].max(axis=1), kind="stable")][:limit].astype(np.int64)


def find_label_issues(
    labels: np.ndarray, probabilities: np.ndarray, least_confidence: float = 0.9
) -> tuple[Mistake, ...]:
    """Find images that may bear a wrong label, most suspect first: every model is confident of the same other class.

    It is a suspicion in the sense of confident learning (Northcutt et al. 2021), and no more.

    Args:
        labels: int (n,).
        probabilities: float (n_models, n, n_classes).
        least_confidence: that every model must have. The confidence given is that of the model that is least sure.
    """
    predicted, confidences = probabilities.argmax(axis=2), probabilities.max(axis=2).min(axis=0)
    agree = (predicted == predicted[0]).all(axis=0)
    rows = np.flatnonzero(agree & (predicted[0] != labels) & (confidences >= least_confidence))
    rows = rows[np.argsort(-confidences[rows], kind="stable")]
    return tuple(Mistake(int(i), int(labels[i]), int(predicted[0][i]), float(confidences[i])) for i in rows)


def _require_valid(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> None:
    expected = (len(labels), len(class_names))
    if len(labels) == 0:
        raise ValueError("an evaluation needs at least 1 image, but got 0")
    if probabilities.shape != expected:
        raise ValueError(f"probabilities must have shape {expected}, but got {probabilities.shape}")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(f"labels must lie in [0, {len(class_names)}), but got {labels.min()} to {labels.max()}")


def _normalized(probabilities: np.ndarray) -> np.ndarray:
    """Convert to float64, each row summing to 1 at that precision.

    Raises ValueError on a row that is no distribution.
    """
    probabilities = probabilities.astype(np.float64)
    totals = probabilities.sum(axis=1, keepdims=True)
    if not (np.isfinite(totals).all() and probabilities.min() >= 0 and np.abs(totals - 1).max() < 1e-3):
        raise ValueError("probabilities must be at least 0 and sum to 1 in each row; pass the logits through a softmax")
    return probabilities / totals


def _class_scores(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> tuple[ClassScore, ...]:
    columns = metrics.precision_recall_fscore_support(
        labels,
        predicted,
        labels=np.arange(len(class_names)),
        zero_division=0,  # pyright: ignore[reportArgumentType]  # inferred from its default, "warn"
    )
    precisions, recalls, f1s, supports = (np.asarray(column).tolist() for column in columns)
    scores = []
    for name, precision, recall, f1, support in zip(
        class_names, precisions, recalls, f1s, map(int, supports), strict=True
    ):
        # By Wilson and not by bootstrap, which gives an interval of no width where every image is found.
        interval = wilson_95(round(recall * support), support) if support else None
        scores.append(ClassScore(name, precision, recall, interval, f1, support))
    return tuple(scores)
