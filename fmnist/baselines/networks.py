"""How are the networks of notebooks fitted? By Keras' own `compile` and `fit`, as their authors do it.

Loads Keras, so only the processes that fit or load a network import this module (see `fitting`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fmnist.baselines.catalog import Baseline
from fmnist.data.images import LabelledImages
from fmnist.model.inference import predict_probabilities, save_for_users
from fmnist.scoring import ClassWeights, weights_of_classes
from fmnist.training.execution import limit_threads
from fmnist.training.history import HistoryPoint


@dataclass(frozen=True)
class NotebookNetwork:
    """How a network is built and trained in the notebook that it comes from."""

    filters: tuple[int, ...]  # of each convolution; max pooling after each
    dense_units: tuple[int, ...]
    dropout: float = 0.0  # after each dense layer
    is_one_hot: bool = False  # how labels are written; the loss goes with it
    callback: Callable[[], keras.callbacks.Callback] | None = None  # that watches the selection split


NETWORKS = {
    "three-convolutions": NotebookNetwork((32, 64, 128), (512, 512), dropout=0.2),
    "conv-pool-dense": NotebookNetwork((32,), (100,)),
    "conv-pool-dense-stopped": NotebookNetwork(
        (32,), (100,), callback=partial(keras.callbacks.EarlyStopping, patience=10, restore_best_weights=True)
    ),
    "conv-pool-dense-plateau": NotebookNetwork(
        (32,),
        (100,),
        is_one_hot=True,
        callback=partial(
            keras.callbacks.ReduceLROnPlateau, monitor="val_accuracy", factor=0.5, patience=3, min_lr=1e-5
        ),
    ),
}


@dataclass(frozen=True, eq=False)
class Network:
    """A fitted network."""

    model: keras.Model  # raw pixels, 0 to 255 -> probabilities

    @property
    def n_parameters(self) -> int:
        """The number of all weights."""
        return self.model.count_params()

    def predict_classes(self, images: np.ndarray) -> np.ndarray:
        """Predict the class of each image: uint8 (n,). images: uint8 (n, height, width, channels), n > 0."""
        return predict_probabilities(self.model, images).argmax(axis=1).astype(np.uint8)

    def save(self, path: Path) -> None:
        """Write the network alone to a .keras file, without its optimizer."""
        save_for_users(self.model, path)


def load_network(path: Path) -> Network:
    """Load what `Network.save` wrote."""
    model: Any = keras.saving.load_model(path, compile=False)
    return Network(model)


def fit_network(
    baseline: Baseline,
    learned_from: LabelledImages,
    watched: LabelledImages | None,
    seed: int,
    n_threads: int,
    on_progress: Callable[[HistoryPoint], None],
    class_weights: ClassWeights = "none",
) -> tuple[Network, str, int]:
    """Fit a baseline of kind "network" by plain `compile` and `fit`, in batches of 32.

    Args:
        baseline: one of NETWORKS.
        learned_from: the images to learn from.
        watched: the images by which it stops or lowers its rate; None: it watches none.
        seed: of initial weights, dropout and the order of images.
        n_threads: of TensorFlow.
        on_progress: called after each epoch.
        class_weights: of the loss on the images to learn from.

    Returns:
        The network, why its training ended, in words, and its epochs.

    Raises:
        RuntimeError: TensorFlow has run something with another number of threads.
    """
    limit_threads(n_threads)
    keras.utils.set_random_seed(seed)  # initial weights, dropout, the order of the images
    network = NETWORKS[baseline.name]
    assert baseline.n_epochs is not None  # every network has them
    n_classes = int(learned_from.labels.max()) + 1  # none is left out in training, see `fmnist.data.find`
    model = build_network(network, learned_from.images.shape[1:], n_classes)
    loss = "categorical_crossentropy" if network.is_one_hot else "sparse_categorical_crossentropy"
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss, metrics=["accuracy"])
    callbacks: list[keras.callbacks.Callback] = []
    if network.callback is not None:
        callbacks.append(network.callback())
    images, labels = _arrays(learned_from, n_classes, network.is_one_hot)
    weights = weights_of_classes(class_weights, learned_from.labels, n_classes)
    history = model.fit(
        images,
        labels,
        epochs=baseline.n_epochs,
        validation_data=None if watched is None else _arrays(watched, n_classes, network.is_one_hot),
        callbacks=[*callbacks, ProgressReporter(len(learned_from), on_progress)],
        class_weight=None if weights is None else dict(enumerate(weights.tolist())),
        verbose=0,  # pyright: ignore[reportArgumentType]  # inferred from its default, "auto"
    )
    n_epochs = len(history.epoch)
    reason = f"trained for {n_epochs} epochs"
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.EarlyStopping):
            reason += f", weights of epoch {callback.best_epoch + 1}"
    return Network(model), reason, n_epochs


def build_network(network: NotebookNetwork, image_shape: tuple[int, ...], n_classes: int) -> keras.Model:
    """Build a notebook's network for images of any size: raw pixels, 0 to 255 -> probabilities.

    Convolutions have Keras' defaults, so no padding. On maps too small for that they are padded, and maps too small
    for pooling are not pooled: images of 28 x 28 meet neither.

    Args:
        network: what to build.
        image_shape: height, width, channels.
        n_classes: of the last layer.
    """
    pixels = keras.Input(image_shape, dtype="float32")
    x: Any = keras.layers.Rescaling(1 / 255)(pixels)
    for n_filters in network.filters:
        padding = "valid" if min(x.shape[1:3]) >= 3 else "same"
        x = keras.layers.Conv2D(n_filters, 3, padding=padding, activation="relu")(x)
        if min(x.shape[1:3]) >= 2:
            x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    for units in network.dense_units:
        x = keras.layers.Dense(units, activation="relu")(x)
        if network.dropout > 0:
            x = keras.layers.Dropout(network.dropout)(x)
    return keras.Model(pixels, keras.layers.Dense(n_classes, activation="softmax")(x))


class ProgressReporter(keras.callbacks.Callback):
    """Reports a history point after each epoch.

    Args:
        n_images: of an epoch.
        on_progress: called with the point.
    """

    def __init__(self, n_images: int, on_progress: Callable[[HistoryPoint], None]) -> None:
        super().__init__()
        self._n_images = n_images
        self._on_progress = on_progress
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Report the epoch's losses and accuracies."""
        assert self.model is not None and logs is not None  # Keras sets the one and passes the other
        self._on_progress(
            HistoryPoint(
                n_images=(epoch + 1) * self._n_images,
                seconds=time.monotonic() - self._started,
                learning_rate=float(self.model.optimizer.learning_rate),
                train_loss=logs["loss"],
                train_accuracy=logs["accuracy"],
                validation_loss=logs.get("val_loss"),
                validation_accuracy=logs.get("val_accuracy"),
            )
        )


def _arrays(labelled: LabelledImages, n_classes: int, is_one_hot: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 (n, height, width, channels); labels uint8 (n,), or float32 (n, n_classes)."""
    labels = np.eye(n_classes, dtype=np.float32)[labelled.labels] if is_one_hot else labelled.labels
    return labelled.images.astype(np.float32), labels
