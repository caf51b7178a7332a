"""A saved model in memory: its file is found, loaded and checked. Keras is loaded with the first model, not before."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist.data.images import Shape
from fmnist.errors import UserError
from fmnist.model.metadata import ModelMetadata, read_metadata

if TYPE_CHECKING:
    import keras

BEST, ENSEMBLE = "best.keras", "ensemble.keras"  # what a study's folder delivers
N_BATCH = 256  # images predicted at a time, at most
BATCH_VALUES = 1 << 24  # pixels' values in one, at most: 64 MB as float32


def find_model_file(path: Path, say: Callable[[str], None]) -> Path:
    """Return the file of a model: the path itself, or best.keras of a study's folder.

    Args:
        path: A file, or a folder.
        say: Hears that the folder has an ensemble too, which is taken by its own path.
    """
    best, ensemble = path / BEST, path / ENSEMBLE
    if not os.path.isfile(best):
        return path
    if os.path.isfile(ensemble):
        say(f"{path} has two models: {BEST} is taken; {ensemble} is taken where it is named itself")
    return best


class LoadedModel:
    """A saved model and its metadata.

    A model without metadata is taken to have learned from images of 0 to 255 with a black background, and its classes
    are called by their numbers.

    Raises:
        UserError: The file holds no model, one that does not classify images, or metadata of another model.
    """

    metadata: ModelMetadata
    has_metadata: bool  # whether the file has them; False: they are assumed
    batch_size: int  # how many images to predict at a time

    def __init__(self, path: Path) -> None:
        self._path = path
        metadata = read_metadata(path)  # before Keras is loaded: a wrong file is known at once
        self._model = load_model(path)
        shape, n_classes = image_shape_of(self._model, metadata, path), n_classes_of(self._model, path)
        self.has_metadata = metadata is not None
        if metadata is None:
            numbers = tuple(map(str, range(n_classes)))
            metadata = ModelMetadata(numbers, shape, background=0.0, contrast=255.0)
        self.metadata = metadata
        described = (metadata.image_shape, len(metadata.class_names))
        if described != (shape, n_classes):
            raise UserError(
                f"a model's notes must fit it, but those in {path} are of {described[1]} classes of images "
                f"{described[0]}, and the model has {n_classes} of {shape}; write them again with "
                "fmnist.model.metadata.write_metadata"
            )
        self.batch_size = max(1, min(N_BATCH, BATCH_VALUES // math.prod(shape)))

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Compute the probability of each class for each image.

        Args:
            images: uint8 (height, width, channels) each; none at all is allowed.

        Returns:
            float64 (n, n_classes).

        Raises:
            UserError: The model gives something else than probabilities.
        """
        if not images:
            return np.zeros((0, len(self.metadata.class_names)))
        pixels = np.stack(images).astype(np.float32)
        if len(self._model.inputs[0].shape) == 3:  # grey images without an axis for it
            pixels = pixels[..., 0]
        given = np.asarray(self._model.predict_on_batch(pixels), np.float64)
        if not (np.isfinite(given).all() and given.min() > -0.01 and np.abs(given.sum(axis=1) - 1).max() < 0.01):
            raise UserError(
                f"a model must give probabilities that sum to 1, but {self._path} gives {given[0].min():.3g} to "
                f"{given[0].max():.3g}; end it with a softmax"
            )
        return given


def load_model(path: Path) -> keras.Model:
    """Load a model with plain Keras, on TensorFlow unless Keras is loaded already.

    Raises:
        UserError: The file is not called .keras or cannot be loaded.
    """
    if path.suffix != ".keras":
        raise UserError(f"a model must be a .keras file, but got {path}; rename it if it is one")
    import_keras()
    import keras

    try:
        return keras.saving.load_model(path, compile=False)  # pyright: ignore[reportReturnType]  has no annotation
    except Exception as error:  # of any kind: a damaged file, a layer of somebody's own, a newer Keras
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"a model must load with plain Keras {keras.__version__}, but {path} does not: {reason}"
        ) from error


def import_keras() -> None:
    """Import Keras on TensorFlow, which is installed here, whatever the caller's settings say; unless it is loaded.

    The settings stay the caller's: a saved model computes by its own.

    Raises:
        UserError: Keras does not take its file of settings.
    """
    if "keras" in sys.modules:
        return
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        importlib.import_module("keras")
    except (ValueError, AttributeError, TypeError) as error:
        settings = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"), "keras.json")
        if not os.path.exists(settings):
            raise
        raise UserError(
            f"Keras must be able to use its settings, but those in {settings} give {type(error).__name__}: {error}; "
            "correct or delete that file"
        ) from error
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = before


def image_shape_of(model: keras.Model, metadata: ModelMetadata | None, path: Path) -> Shape:
    """Tell what images a model takes: height, width and channels.

    Args:
        model: The loaded model.
        metadata: Its metadata, which tell the size if the model takes any.
        path: Its file, for the message.

    Raises:
        UserError: It takes something else than grey or RGB images of one size.
    """
    inputs = getattr(model, "inputs", None) or []
    shape: tuple[int | None, ...] = ()
    if len(inputs) == 1:
        shape = tuple(inputs[0].shape)[1:]
    if len(shape) == 2:  # grey images without an axis for it
        shape = (*shape, 1)
    if len(shape) == 3 and None in shape[:2] and metadata is not None:  # of any size, but trained on one
        shape = (*metadata.image_shape[:2], shape[2])
    match shape:
        case (int(height), int(width), (1 | 3) as n_channels):
            return height, width, n_channels
    raise UserError(
        "a model must take one batch of images of a fixed size, grey or RGB, but "
        f"{path} takes {_shapes(inputs)}; name one that classifies images"
    )


def n_classes_of(model: keras.Model, path: Path) -> int:
    """Tell how many classes a model knows. Raises UserError if it does not give a number for each of two or more."""
    outputs = getattr(model, "outputs", None) or []
    shape: tuple[int | None, ...] = ()
    if len(outputs) == 1:
        shape = tuple(outputs[0].shape)
    match shape:
        case (_, int(n_classes)) if n_classes >= 2:
            return n_classes
    raise UserError(
        f"a model must give one probability for each of two or more classes, but {path} gives {_shapes(outputs)}; "
        "name one that classifies images"
    )


def _shapes(tensors: Sequence[Any]) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors) or "nothing"
