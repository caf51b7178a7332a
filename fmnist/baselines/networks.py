"""What users start from: the plain networks of notebooks, and scikit-learn's classifiers. All fixed, nothing tuned.

They are fitted and scored beside a study's winner, on the same images and the same machine. Those that watch nothing
learn from all training images; those that stop early, or lower their rate, by the selection split learn from the rest.

This module is loaded by the supervisor and the report, so Keras and scikit-learn are imported inside functions.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fmnist.data.images import LabelledImages, joined
from fmnist.data.split import Split
from fmnist.training.history import HistoryPoint

if TYPE_CHECKING:
    import keras

N_ORIENTATIONS = 9  # of gradients, over half a circle, as in Dalal and Triggs 2005
N_CELLS = 7  # along an image's shorter side: cells of 4 x 4 pixels for 28 x 28
CHUNK = 1000  # images whose gradients are in memory at a time


@dataclass(frozen=True)
class Baseline:
    """One way to begin, as the report names it."""

    name: str  # also its files'
    kind: str  # "network" or "classical"
    description: str  # what it is and how it learns, in words
    published_accuracy: float | None = None  # on the test set, as the notebook itself says it, to a hundredth
    n_epochs: int | None = None  # of a network's training, at most
    watches_selection: bool = False  # learns from train and confirmation split only
    stops_early: bool = False

    @property
    def suffix(self) -> str:
        """Of the file that its model is saved in."""
        return ".keras" if self.kind == "network" else ".joblib"


BASELINES = (
    Baseline(
        "three-convolutions",
        "network",
        "three convolutions (32, 64 and 128 filters of 3 x 3), each with max pooling, and two dense layers of 512 with "
        "dropout 0.2; Adam, 15 epochs",
        published_accuracy=0.89,
        n_epochs=15,
    ),
    Baseline(
        "conv-pool-dense",
        "network",
        "one convolution (32 filters of 3 x 3) with max pooling and a dense layer of 100; Adam, 15 epochs",
        published_accuracy=0.91,
        n_epochs=15,
    ),
    Baseline(
        "conv-pool-dense-stopped",
        "network",
        "the same network, stopped after 10 epochs without a lower loss on the selection split, 150 at most, with the "
        "best epoch's weights",
        published_accuracy=0.91,
        n_epochs=150,
        watches_selection=True,
        stops_early=True,
    ),
    Baseline(
        "conv-pool-dense-plateau",
        "network",
        "the same network, 15 epochs of categorical cross-entropy on one-hot labels, its learning rate halved after 3 "
        "epochs without a higher accuracy on the selection split",
        n_epochs=15,
        watches_selection=True,
    ),
    Baseline("logistic-regression", "classical", "logistic regression on the pixels"),
    Baseline(
        "hog-linear-svm", "classical", "linear support vector machine on histograms of oriented gradients of the image"
    ),
    Baseline("gradient-boosting", "classical", "histogram gradient boosting on the pixels, 100 rounds"),
    Baseline("random-forest", "classical", "random forest on the pixels, 100 trees"),
    Baseline("nearest-neighbours", "classical", "vote of the 5 nearest training images, by Euclidean distance"),
)


class FittedModel(Protocol):
    """What a baseline has learned: a network or a classifier."""

    n_parameters: int | None  # of a network

    def predict_classes(self, images: np.ndarray) -> np.ndarray:
        """The class of each image: uint8 (n,). images: uint8 (n, height, width, channels), n > 0."""

    def save(self, path: Path) -> None:
        """Write it where `load_baseline` reads it. The path ends in the baseline's suffix."""


@dataclass(frozen=True)
class Fit:
    """A baseline, fitted."""

    model: FittedModel
    n_images: int  # that it learned from
    n_epochs: int | None  # of a network's training
    seconds: float  # wall time, features included
    reason: str  # why the fit ended, in words


def ignore(point: HistoryPoint) -> None:
    """Do nothing with a progress report."""


def find_baseline(name: str) -> Baseline:
    """Raises ValueError if there is none of this name."""
    for baseline in BASELINES:
        if baseline.name == name:
            return baseline
    raise ValueError(f"a baseline must be one of {', '.join(b.name for b in BASELINES)}, but got {name!r}")


def fit_baseline(
    name: str,
    split: Split,
    seed: int,
    n_threads: int = 1,
    *,
    on_progress: Callable[[HistoryPoint], None] = ignore,
) -> Fit:
    """Fit the baseline of this name. Networks call on_progress after each epoch; classifiers say nothing.

    Same seed, machine and number of threads: the same model. Raises ValueError for an unknown name; RuntimeError where
    TensorFlow has run something with another number of threads.
    """
    baseline, started = find_baseline(name), time.monotonic()
    learned_from, watched = _images_for(baseline, split)
    if baseline.kind == "network":
        model, reason, n_epochs = _fit_network(baseline, learned_from, watched, seed, n_threads, on_progress)
    else:
        model, reason = _fit_classifier(baseline, learned_from, seed, n_threads)
        n_epochs = None
    return Fit(model, len(learned_from), n_epochs, time.monotonic() - started, reason)


def load_baseline(name: str, path: Path, n_threads: int = 1) -> FittedModel:
    """What `save` of the fitted baseline of this name wrote. A classifier's file is a pickle: load your own only.

    n_threads: of a classifier's predictions; a network takes TensorFlow's, see `training.limit_threads`.
    """
    if find_baseline(name).kind == "network":
        import keras

        return Network(keras.saving.load_model(path, compile=False))
    import joblib

    return Classifier(name, joblib.load(path), n_threads)


def _images_for(baseline: Baseline, split: Split) -> tuple[LabelledImages, LabelledImages | None]:
    """What it learns from, and what it watches meanwhile."""
    if baseline.watches_selection:
        return joined(split.train, split.confirmation), split.selection
    return split.together(), None


def _n_classes(labelled: LabelledImages) -> int:
    return int(labelled.labels.max()) + 1  # none is left out in training, see `data.find_data`


# --- networks


@dataclass(frozen=True)
class _Notebook:
    """How a network is built and trained there."""

    filters: tuple[int, ...]  # of each convolution; max pooling after each
    dense_units: tuple[int, ...]
    dropout: float = 0.0  # after each dense layer
    is_one_hot: bool = False  # how labels are written; the loss goes with it
    watcher: Callable[[], keras.callbacks.Callback] | None = None  # of the selection split


def _early_stopping() -> keras.callbacks.Callback:
    import keras

    return keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)


def _halving_on_plateau() -> keras.callbacks.Callback:
    import keras

    return keras.callbacks.ReduceLROnPlateau(monitor="val_accuracy", factor=0.5, patience=3, min_lr=1e-5)


_NOTEBOOKS = {
    "three-convolutions": _Notebook((32, 64, 128), (512, 512), dropout=0.2),
    "conv-pool-dense": _Notebook((32,), (100,)),
    "conv-pool-dense-stopped": _Notebook((32,), (100,), watcher=_early_stopping),
    "conv-pool-dense-plateau": _Notebook((32,), (100,), is_one_hot=True, watcher=_halving_on_plateau),
}


@dataclass(frozen=True, eq=False)
class Network:
    """A fitted network."""

    model: keras.Model  # raw pixels, 0 to 255 -> probabilities

    @property
    def n_parameters(self) -> int:
        return self.model.count_params()

    def predict_classes(self, images: np.ndarray) -> np.ndarray:
        from fmnist.model.inference import predict_probabilities

        return predict_probabilities(self.model, images).argmax(axis=1).astype(np.uint8)

    def save(self, path: Path) -> None:
        from fmnist.model.inference import save_for_users

        save_for_users(self.model, path)


def _fit_network(
    baseline: Baseline,
    learned_from: LabelledImages,
    watched: LabelledImages | None,
    seed: int,
    n_threads: int,
    on_progress: Callable[[HistoryPoint], None],
) -> tuple[Network, str, int]:
    """The network, why its training ended, and its epochs: plain `compile` and `fit`, in batches of 32."""
    import keras

    from fmnist.training.loop import limit_threads

    limit_threads(n_threads)
    keras.utils.set_random_seed(seed)  # initial weights, dropout, the order of the images
    notebook, n_classes = _NOTEBOOKS[baseline.name], _n_classes(learned_from)
    model = _build_network(notebook, learned_from.images.shape[1:], n_classes)
    loss = "categorical_crossentropy" if notebook.is_one_hot else "sparse_categorical_crossentropy"
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss, metrics=["accuracy"])
    watchers = [notebook.watcher()] if notebook.watcher else []
    history = model.fit(
        *_arrays(learned_from, n_classes, notebook.is_one_hot),
        epochs=baseline.n_epochs,
        validation_data=_arrays(watched, n_classes, notebook.is_one_hot) if watched else None,
        callbacks=[*watchers, _reporting(model, len(learned_from), on_progress)],
        verbose=0,
    )
    return Network(model), _why_ended(len(history.epoch), watchers), len(history.epoch)


def _build_network(notebook: _Notebook, image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Keras' defaults, so convolutions without padding. On maps too small for that they are padded, and too small for
    pooling they are not pooled: images of 28 x 28 meet neither."""
    import keras
    from keras import layers

    pixels = keras.Input(image_shape, dtype="float32")
    x = layers.Rescaling(1 / 255)(pixels)
    for n_filters in notebook.filters:
        padding = "valid" if min(x.shape[1:3]) >= 3 else "same"
        x = layers.Conv2D(n_filters, 3, padding=padding, activation="relu")(x)
        x = layers.MaxPooling2D()(x) if min(x.shape[1:3]) >= 2 else x
    x = layers.Flatten()(x)
    for units in notebook.dense_units:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(notebook.dropout)(x) if notebook.dropout > 0 else x
    return keras.Model(pixels, layers.Dense(n_classes, activation="softmax")(x))


def _arrays(labelled: LabelledImages, n_classes: int, is_one_hot: bool) -> tuple[np.ndarray, np.ndarray]:
    """float32 (n, height, width, channels); uint8 (n,), or float32 (n, n_classes)."""
    labels = np.eye(n_classes, dtype=np.float32)[labelled.labels] if is_one_hot else labelled.labels
    return labelled.images.astype(np.float32), labels


def _reporting(
    model: keras.Model, n_images: int, on_progress: Callable[[HistoryPoint], None]
) -> keras.callbacks.Callback:
    import keras

    started = time.monotonic()

    def report(epoch: int, logs: dict[str, float]) -> None:
        on_progress(
            HistoryPoint(
                n_images=(epoch + 1) * n_images,
                seconds=time.monotonic() - started,
                learning_rate=float(model.optimizer.learning_rate),
                train_loss=logs["loss"],
                train_accuracy=logs["accuracy"],
                validation_loss=logs.get("val_loss"),
                validation_accuracy=logs.get("val_accuracy"),
            )
        )

    return keras.callbacks.LambdaCallback(on_epoch_end=report)


def _why_ended(n_epochs: int, watchers: list[keras.callbacks.Callback]) -> str:
    import keras

    for watcher in watchers:
        if isinstance(watcher, keras.callbacks.EarlyStopping):
            return f"trained for {n_epochs} epochs, weights of epoch {watcher.best_epoch + 1}"
    return f"trained for {n_epochs} epochs"


# --- classifiers


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


def _fit_classifier(
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
