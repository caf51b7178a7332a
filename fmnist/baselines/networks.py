"""What users start from: the plain networks of notebooks, and scikit-learn's classifiers. All fixed, nothing tuned.

They are fitted and scored beside a study's winner, on the same images and the same machine. Those that watch nothing
learn from all training images; those that stop early, or lower their rate, by the selection split learn from the rest.

This module is loaded by the supervisor and the report, so Keras and scikit-learn are imported inside functions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmnist.baselines.catalog import Baseline
from fmnist.data.images import LabelledImages
from fmnist.training.history import HistoryPoint

if TYPE_CHECKING:
    import keras


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
    callback: Callable[[], keras.callbacks.Callback] | None = None  # of the selection split


def _early_stopping() -> keras.callbacks.Callback:
    import keras

    return keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)


def _halving_on_plateau() -> keras.callbacks.Callback:
    import keras

    return keras.callbacks.ReduceLROnPlateau(monitor="val_accuracy", factor=0.5, patience=3, min_lr=1e-5)


_NOTEBOOKS = {
    "three-convolutions": _Notebook((32, 64, 128), (512, 512), dropout=0.2),
    "conv-pool-dense": _Notebook((32,), (100,)),
    "conv-pool-dense-stopped": _Notebook((32,), (100,), callback=_early_stopping),
    "conv-pool-dense-plateau": _Notebook((32,), (100,), is_one_hot=True, callback=_halving_on_plateau),
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


def fit_network(
    baseline: Baseline,
    learned_from: LabelledImages,
    watched: LabelledImages | None,
    seed: int,
    n_threads: int,
    on_progress: Callable[[HistoryPoint], None],
) -> tuple[Network, str, int]:
    """The network, why its training ended, and its epochs: plain `compile` and `fit`, in batches of 32."""
    import keras

    from fmnist.training.execution import limit_threads

    limit_threads(n_threads)
    keras.utils.set_random_seed(seed)  # initial weights, dropout, the order of the images
    notebook, n_classes = _NOTEBOOKS[baseline.name], _n_classes(learned_from)
    model = _build_network(notebook, learned_from.images.shape[1:], n_classes)
    loss = "categorical_crossentropy" if notebook.is_one_hot else "sparse_categorical_crossentropy"
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss, metrics=["accuracy"])
    keras_callbacks = [notebook.callback()] if notebook.callback else []
    history = model.fit(
        *_arrays(learned_from, n_classes, notebook.is_one_hot),
        epochs=baseline.n_epochs,
        validation_data=_arrays(watched, n_classes, notebook.is_one_hot) if watched else None,
        callbacks=[*keras_callbacks, _reporting(model, len(learned_from), on_progress)],
        verbose=0,
    )
    return Network(model), _why_ended(len(history.epoch), keras_callbacks), len(history.epoch)


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


def _why_ended(n_epochs: int, keras_callbacks: list[keras.callbacks.Callback]) -> str:
    import keras

    for callback in keras_callbacks:
        if isinstance(callback, keras.callbacks.EarlyStopping):
            return f"trained for {n_epochs} epochs, weights of epoch {callback.best_epoch + 1}"
    return f"trained for {n_epochs} epochs"


# --- classifiers
