"""How are the classical baselines fitted? scikit-learn's classifiers on pixels, or on histograms of gradients.

Loads scikit-learn, so only the processes that fit or load a classifier import this module (see `fitting`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import threadpoolctl
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier

from fmnist.baselines.catalog import Baseline
from fmnist.baselines.gradients import oriented_gradients
from fmnist.data.images import LabelledImages
from fmnist.scoring import ClassWeights

CHUNK = 1000  # images whose gradients are in memory at a time


@dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted classifier of scikit-learn's."""

    baseline: Baseline
    estimator: Any
    n_threads: int
    n_parameters: None = None  # what would count in a forest, or among neighbours?

    def predict_classes(self, images: np.ndarray) -> np.ndarray:
        """Predict the class of each image: uint8 (n,). images: uint8 (n, height, width, channels), n > 0."""
        with _on_threads(self.n_threads):
            return self.estimator.predict(features_of(self.baseline, images)).astype(np.uint8)

    def save(self, path: Path) -> None:
        """Write the estimator to a .joblib file, which is a pickle."""
        joblib.dump(self.estimator, path)


def load_classifier(baseline: Baseline, path: Path, n_threads: int) -> Classifier:
    """Load what `Classifier.save` wrote. The file is a pickle: load your own only."""
    return Classifier(baseline, joblib.load(path), n_threads)


def fit_classifier(
    baseline: Baseline, learned_from: LabelledImages, seed: int, n_threads: int, class_weights: ClassWeights = "none"
) -> tuple[Classifier, str]:
    """Fit a classical baseline.

    Args:
        baseline: one of kind "classical".
        learned_from: all images that it may learn from.
        seed: of whatever its method draws.
        n_threads: of the fit and of predictions.
        class_weights: of the loss.

    Returns:
        The classifier, and why its fit ended, in words.
    """
    estimator = make_estimator(baseline.name, len(learned_from), seed, n_threads)
    if class_weights != "none":
        estimator.set_params(class_weight=class_weights)
    with _on_threads(n_threads):
        reason = fit_estimator(estimator, features_of(baseline, learned_from.images), learned_from.labels)
    return Classifier(baseline, estimator, n_threads), reason


def make_estimator(name: str, n_images: int, seed: int, n_threads: int) -> Any:
    """Make the baseline's estimator, not fitted yet.

    Args:
        name: of a baseline of kind "classical".
        n_images: that it will learn from.
        seed: of whatever its method draws.
        n_threads: that it may use.

    Raises:
        ValueError: no classical baseline has this name.
    """
    match name:
        case "logistic-regression":
            return LogisticRegression(max_iter=200, random_state=seed)
        case "hog-linear-svm":
            # With C = 1, by stochastic gradient descent: liblinear's own copy of 60,000 images' features takes over a
            # gigabyte.
            return SGDClassifier(loss="hinge", alpha=1 / n_images, average=True, random_state=seed, n_jobs=n_threads)
        case "gradient-boosting":
            return HistGradientBoostingClassifier(
                max_iter=100,
                early_stopping=False,  # pyright: ignore[reportArgumentType]  # inferred from its default, "auto"
                random_state=seed,
            )
        case "random-forest":
            return RandomForestClassifier(n_estimators=100, random_state=seed, n_jobs=n_threads)
        case "nearest-neighbours":
            return KNeighborsClassifier(n_neighbors=5, algorithm="brute", n_jobs=n_threads)  # trees: slower on pixels
    raise ValueError(f"a classical baseline must have an estimator, but got {name!r}")


def fit_estimator(estimator: Any, features: np.ndarray, labels: np.ndarray) -> str:
    """Fit an estimator of scikit-learn's and tell why the fit ended, in words.

    An estimator says by a ConvergenceWarning alone that it stopped at its limit. Other warnings are passed on.

    Args:
        estimator: fitted in place.
        features: float32 (n, n_features).
        labels: int (n,).
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(features, labels)
    reason = "fitted to its end"
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            reason = "fitted to its limit of iterations"
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return reason


def features_of(baseline: Baseline, images: np.ndarray) -> np.ndarray:
    """Compute what a classifier learns from: float32 (n, n_features). images: uint8 (n, height, width, channels)."""
    if baseline.features == "gradients":
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        return np.concatenate([oriented_gradients(chunk) for chunk in chunks])
    return images.reshape(len(images), -1).astype(np.float32) / 255


@contextmanager
def _on_threads(n_threads: int) -> Iterator[None]:
    """Have scikit-learn's loops and NumPy's matrix products run on so many threads in the block.

    Joblib would start processes otherwise, or, being in one that may not start others, do with one thread.
    """
    with joblib.parallel_config("threading", n_jobs=n_threads), threadpoolctl.threadpool_limits(n_threads):
        yield
