"""The classical baselines: scikit-learn classifiers on pixels or on histograms of oriented gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.baselines.catalog import Baseline
from fmnist.data.images import LabelledImages

N_ORIENTATIONS = 9  # of gradients, over half a circle, as in Dalal and Triggs 2005
N_CELLS = 7  # along an image's shorter side: cells of 4 x 4 pixels for 28 x 28
CHUNK = 1000  # images whose gradients are in memory at a time


@dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted classifier of scikit-learn's."""

    name: str  # of the baseline
    estimator: Any
    n_threads: int
    n_parameters: None = None  # what would count in a forest, or among neighbours?

    def predict_classes(self, images: np.ndarray) -> np.ndarray:
        with _on_threads(self.n_threads):
            return self.estimator.predict(_features(self.name, images)).astype(np.uint8)

    def save(self, path: Path) -> None:
        import joblib

        joblib.dump(self.estimator, path)


def fit_classifier(
    baseline: Baseline, learned_from: LabelledImages, seed: int, n_threads: int
) -> tuple[Classifier, str]:
    """The classifier, and why its fit ended."""
    estimator = _ESTIMATORS[baseline.name](len(learned_from), seed, n_threads)
    with _on_threads(n_threads):
        reason = _fit_estimator(estimator, _features(baseline.name, learned_from.images), learned_from.labels)
    return Classifier(baseline.name, estimator, n_threads), reason


def _fit_estimator(estimator: Any, features: np.ndarray, labels: np.ndarray) -> str:
    """Returns why it ended."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(features, labels)
    has_converged = True
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            has_converged = False
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return "fitted to its end" if has_converged else "fitted to its limit of iterations"


def _logistic_regression(n_images: int, seed: int, n_threads: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=200, random_state=seed)


def _linear_svm(n_images: int, seed: int, n_threads: int) -> Any:
    """With C = 1, by stochastic gradient descent: liblinear's own copy of 60,000 images' features takes over a
    gigabyte."""
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="hinge", alpha=1 / n_images, average=True, random_state=seed, n_jobs=n_threads)


def _gradient_boosting(n_images: int, seed: int, n_threads: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=seed)


def _random_forest(n_images: int, seed: int, n_threads: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, random_state=seed, n_jobs=n_threads)


def _nearest_neighbours(n_images: int, seed: int, n_threads: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=5, algorithm="brute", n_jobs=n_threads)  # trees are slower on pixels


_ESTIMATORS: dict[str, Callable[[int, int, int], Any]] = {
    "logistic-regression": _logistic_regression,
    "hog-linear-svm": _linear_svm,
    "gradient-boosting": _gradient_boosting,
    "random-forest": _random_forest,
    "nearest-neighbours": _nearest_neighbours,
}


@contextmanager
def _on_threads(n_threads: int) -> Iterator[None]:
    """Where scikit-learn's loops and NumPy's matrix products run on so many threads. Joblib would start processes else,
    or, being in one that may not start others, do with one thread."""
    import joblib
    import sklearn.utils  # here: a limit holds for libraries that are loaded already  # noqa: F401
    import threadpoolctl

    with joblib.parallel_config("threading", n_jobs=n_threads), threadpoolctl.threadpool_limits(n_threads):
        yield


def _features(name: str, images: np.ndarray) -> np.ndarray:
    """float32 (n, n_features). images: uint8 (n, height, width, channels)."""
    if name == "hog-linear-svm":
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        return np.concatenate([oriented_gradients(chunk) for chunk in chunks])
    return images.reshape(len(images), -1).astype(np.float32) / 255


def oriented_gradients(images: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients (Dalal and Triggs 2005): float32 (n, n_features), for images uint8 (n, height,
    width, channels) with sides of 4 or more. Each block of 2 x 2 cells is normalized by itself (their L2-Hys).

    Own code, since scikit-image would bring five packages of 56 MB for this one function, which takes one image at a
    time there, and four times the time. The numbers are those of its `hog` (to 1e-7, images of four sizes).
    """
    pixels = images.astype(np.float32)
    down, right = np.zeros_like(pixels), np.zeros_like(pixels)
    down[:, 1:-1] = pixels[:, 2:] - pixels[:, :-2]
    right[:, :, 1:-1] = pixels[:, :, 2:] - pixels[:, :, :-2]
    strongest = np.hypot(down, right).argmax(axis=-1)[..., np.newaxis]  # of the channels
    down, right = (np.take_along_axis(gradient, strongest, axis=-1)[..., 0] for gradient in (down, right))
    angles = np.rad2deg(np.arctan2(down, right)) % 180
    bins = np.minimum(angles * N_ORIENTATIONS // 180, N_ORIENTATIONS - 1)  # rounding may give 180 itself
    strength = np.hypot(down, right)
    side = max(2, min(images.shape[1:3]) // N_CELLS)
    cells = np.stack([_cell_means(strength * (bins == each), side) for each in range(N_ORIENTATIONS)], axis=-1)
    corners = (cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:])
    blocks = _to_length_1(np.minimum(_to_length_1(np.concatenate(corners, axis=-1)), 0.2))
    return blocks.reshape(len(images), -1)


def _cell_means(values: np.ndarray, side: int) -> np.ndarray:
    """Of whole cells of side x side pixels: (n, n_rows, n_columns), for values (n, height, width)."""
    n_rows, n_columns = values.shape[1] // side, values.shape[2] // side
    whole = values[:, : n_rows * side, : n_columns * side]
    return whole.reshape(len(values), n_rows, side, n_columns, side).mean(axis=(2, 4))


def _to_length_1(vectors: np.ndarray) -> np.ndarray:
    """Along the last axis; those of length 0 stay."""
    return vectors / np.sqrt(np.square(vectors).sum(axis=-1, keepdims=True) + 1e-10)
