"""python -m fmnist.predict MODEL IMAGE...: name what pictures show. From Python: `predict`.

Any picture will do: see `fmnist.predict.preprocess` for how it is made to look like the images that the model has learned
from. Keras is loaded when something is to be predicted, not before, and the model once for all pictures; they are
read in batches, so a folder may hold any number.

Does not cover: saying that a picture shows none of the classes. The model names one of them whatever it is shown.
"""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist.errors import UserError
from fmnist.metrics.calibration import with_temperature
from fmnist.model.metadata import ModelNotes, read_notes
from fmnist.predict.preprocess import STDIN, Found, Prepared, Unreadable, find_pictures, prepare, read_photograph

if TYPE_CHECKING:
    import keras

EXIT_INTERRUPTED = 130  # what a shell reports after Ctrl-C
N_TOP = 3
N_BATCH = 256  # pictures predicted at a time, at most
BATCH_VALUES = 1 << 24  # pixels' values in one, at most: 64 MB as float32
TEMPERATURES = (0.01, 100.0)  # others leave nothing of the probabilities

# What TensorFlow and the decoders of pictures run in: the command keeps them from speaking there.
OutputGuard = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class ClassProbability:
    """One of the classes that a picture may show."""

    class_name: str
    probability: float  # 0 to 1


@dataclass(frozen=True)
class Prediction:
    """What a picture shows, or why nobody can say."""

    path: str  # as named, or found in a folder that was; "-" for standard input
    class_name: str | None = None  # the most probable; None where there is an error
    probability: float | None = None  # of it, 0 to 1
    top: tuple[ClassProbability, ...] = ()  # the most probable classes, it included, most probable first
    inverted: bool = (
        False  # light and dark were exchanged, since its background was light and the training images' dark
    )
    fitted: bool = False  # trimmed and scaled to the model's size; False: it had that size and was taken as it was
    original_size: tuple[int, int] | None = None  # width and height in pixels, upright; None where it cannot be read
    error: str | None = None  # why there is no prediction, in one line


def predict(
    model: str | Path,
    images: Iterable[str | Path] | str | Path,
    *,
    top: int = N_TOP,
    invert: bool = True,
    temperature: float | str | Path | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> list[Prediction]:
    """What each picture shows, by a saved model; in the order named, those of a folder in its place, sorted.

    model: a .keras file. images: files, folders and "-" (one picture from standard input). top: how many classes to
    name. invert: False keeps light backgrounds light. temperature: calibrates the probabilities, see
    `fmnist.metrics.calibration`; a number, or a file such as a study's temperature.json. say: hears what is skipped in folders,
    and that a model has no notes.

    A picture that cannot be read has its reason in `error`, and the others go on. Raises UserError for a model or
    arguments that cannot be used.
    """
    images = [images] if isinstance(images, str | Path) else list(images)
    batches = predict_batches(model, images, top=top, invert=invert, temperature=temperature, say=say)
    return [prediction for batch in batches for prediction in batch]


def predict_batches(
    model: str | Path,
    images: Sequence[str | Path],
    *,
    top: int = N_TOP,
    invert: bool = True,
    temperature: float | str | Path | None = None,
    say: Callable[[str], None] = warnings.warn,
    room: OutputGuard = nullcontext,
) -> Iterator[list[Prediction]]:
    """The same, some at a time: memory stays bounded. room: entered whenever others' libraries are at work."""
    if top < 1:
        raise UserError(f"--top must be 1 or more, but got {top}")
    places = [str(image) for image in images]
    if places.count(STDIN) > 1:
        raise UserError("standard input holds one picture, but - was named more than once; name it once")
    degree = None if temperature is None else read_temperature(temperature)
    with room():
        classifier = Classifier(Path(model))
    if not classifier.has_notes:
        say(
            f"{model} has no notes: its classes are shown by their numbers, and it is taken to have learned from "
            "images of 0 to 255 with a black background (fmnist.model.metadata.add_notes writes them)"
        )
    pictures = _pictures(find_pictures(places, say), classifier.notes, invert, room)
    for batch in _batched(pictures, classifier.batch_size):
        with room():
            probabilities = classifier.probabilities([item.prepared.image for item in batch if item.prepared])
        if degree is not None:
            probabilities = with_temperature(probabilities, degree)
        yield _predictions(batch, probabilities, classifier.notes.class_names, top)


def read_temperature(given: float | str | Path) -> float:
    """A number, or what a JSON file has under "temperature". Raises UserError."""
    try:
        return _checked_temperature(float(given), str(given))
    except (TypeError, ValueError):  # then it is a path
        pass
    try:
        content = json.loads(Path(given).read_bytes())
        return _checked_temperature(float(content["temperature"]), str(given))
    except OSError as error:
        raise UserError(
            f"--temperature takes a number or a file such as temperature.json, but got {given}: {error.strerror}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'--temperature takes a JSON file with a number as "temperature", but {given} is none'
        ) from error


def _checked_temperature(temperature: float, given: str) -> float:
    low, high = TEMPERATURES
    if not low <= temperature <= high:  # neither is nan
        raise UserError(f"--temperature must be from {low:g} to {high:g}, but got {temperature:g} ({given})")
    return temperature


# --- the model


class Classifier:
    """A saved model and its notes. Raises UserError for a file that holds no model, or none that classifies images."""

    def __init__(self, path: Path) -> None:
        self._path = path
        notes = read_notes(path)  # before Keras is loaded: a wrong file is known at once
        self._model = _load(path)
        shape, n_classes = _image_shape(self._model, notes, path), _n_classes(self._model, path)
        self.has_notes = notes is not None
        self.notes = notes or ModelNotes(tuple(map(str, range(n_classes))), shape, background=0.0, contrast=255.0)
        self._require_agreement(shape, n_classes)
        self.batch_size = max(1, min(N_BATCH, BATCH_VALUES // math.prod(shape)))

    def _require_agreement(self, shape: tuple[int, int, int], n_classes: int) -> None:
        named = (self.notes.image_shape, len(self.notes.class_names))
        if named != (shape, n_classes):
            raise UserError(
                f"a model's notes must fit it, but those in {self._path} are of {named[1]} classes of images {named[0]}"
                f", and the model has {n_classes} of {shape}; write them again with fmnist.model.metadata.add_notes"
            )

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """float64 (n, n_classes). images: uint8 (height, width, channels). Raises UserError where the model gives
        something else."""
        if not images:
            return np.zeros((0, len(self.notes.class_names)))
        pixels = np.stack(images).astype(np.float32)
        rank = len(self._model.inputs[0].shape)
        given = np.asarray(self._model.predict_on_batch(pixels if rank == 4 else pixels[..., 0]), np.float64)
        if not (np.isfinite(given).all() and given.min() > -0.01 and np.abs(given.sum(axis=1) - 1).max() < 0.01):
            raise UserError(
                f"a model must give probabilities that sum to 1, but {self._path} gives {given[0].min():.3g} to "
                f"{given[0].max():.3g}; end it with a softmax"
            )
        return given


def _load(path: Path) -> keras.Model:
    if path.suffix != ".keras":
        raise UserError(f"a model must be a .keras file, but got {path}; rename it if it is one")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"  # what is installed here, whatever Keras' own file says
    import keras

    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # of any kind: a damaged file, a layer of somebody's own, a newer Keras
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"a model must load with plain Keras {keras.__version__}, but {path} does not: {reason}"
        ) from error


def _image_shape(model: keras.Model, notes: ModelNotes | None, path: Path) -> tuple[int, int, int]:
    """Height, width and channels of what the model takes."""
    inputs = getattr(model, "inputs", None) or []
    shape = tuple(inputs[0].shape)[1:] if len(inputs) == 1 else ()
    if len(shape) == 2:  # grey images without an axis for it
        shape = (*shape, 1)
    if len(shape) == 3 and None in shape[:2] and notes is not None:  # of any size, but trained on one
        shape = (*notes.image_shape[:2], shape[2])
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3):
        wanted = "one batch of images of a fixed size, grey or RGB"
        raise UserError(
            f"a model must take {wanted}, but {path} takes {_shapes(inputs)}; name one that classifies images"
        )
    return shape


def _n_classes(model: keras.Model, path: Path) -> int:
    outputs = getattr(model, "outputs", None) or []
    shape = tuple(outputs[0].shape) if len(outputs) == 1 else ()
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        raise UserError(
            f"a model must give one probability for each of two or more classes, but {path} gives {_shapes(outputs)}; "
            "name one that classifies images"
        )
    return shape[1]


def _shapes(tensors: Sequence[Any]) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors) or "nothing"


# --- pictures, batch by batch


@dataclass(frozen=True, eq=False)
class _Pictured:
    path: str
    prepared: Prepared | None = None
    size: tuple[int, int] | None = None
    error: str | None = None


def _pictures(all_found: Iterable[Found], notes: ModelNotes, invert: bool, room: OutputGuard) -> Iterator[_Pictured]:
    for found in all_found:
        if found.error is not None:
            yield _Pictured(found.path, error=found.error)
            continue
        with room():
            pictured = _pictured(found.path, notes, invert)
        yield pictured


def _pictured(path: str, notes: ModelNotes, invert: bool) -> _Pictured:
    try:
        photograph = read_photograph(path, notes.image_shape)
    except Unreadable as unreadable:
        return _Pictured(path, error=str(unreadable))
    return _Pictured(path, prepare(photograph, notes, may_invert=invert), photograph.size)


def _batched(items: Iterable[_Pictured], n: int) -> Iterator[list[_Pictured]]:
    batch: list[_Pictured] = []
    for item in items:
        batch.append(item)
        if len(batch) == n:
            yield batch
            batch = []
    if batch:
        yield batch


def _predictions(
    batch: Sequence[_Pictured], probabilities: np.ndarray, class_names: Sequence[str], top: int
) -> list[Prediction]:
    """probabilities: (n, n_classes), of those that could be read."""
    rows = iter(probabilities)
    return [
        Prediction(item.path, error=item.error)
        if item.prepared is None
        else _prediction(item.path, item.prepared, item.size, next(rows), class_names, top)
        for item in batch
    ]


def _prediction(
    path: str,
    prepared: Prepared,
    size: tuple[int, int],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    top: int,
) -> Prediction:
    best_first = np.argsort(-probabilities, kind="stable")[:top].tolist()
    chosen = tuple(ClassProbability(class_names[label], float(probabilities[label])) for label in best_first)
    return Prediction(
        path, chosen[0].class_name, chosen[0].probability, chosen, prepared.inverted, prepared.fitted, size
    )


# --- the command
