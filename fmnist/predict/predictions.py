"""From picture files to what they show: `predict` and `predict_batches`.

Any picture will do: `fmnist.predict.preprocess` makes it look like the images that the model has learned from. The
model is loaded once for all pictures; they are read in batches, so a folder may hold any number.

Does not cover: saying that a picture shows none of the classes. The model names one of them whatever it is shown.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.data.decode import UnreadablePicture
from fmnist.errors import UserError
from fmnist.metrics.calibration import with_temperature
from fmnist.model.metadata import ModelMetadata
from fmnist.predict.classifier import Classifier
from fmnist.predict.files import STDIN, PictureFile, find_picture_files, read_content
from fmnist.predict.preprocess import Prepared, prepare
from fmnist.values import require, require_callable, shown, to_items, to_text

N_TOP = 3
TEMPERATURES = (0.01, 100.0)  # others leave nothing of the probabilities

Place = str | bytes | os.PathLike[str]  # of a file or a folder

# What TensorFlow and the decoders of pictures run in: the command keeps them from printing there.
OutputGuard = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class ClassProbability:
    """One of the classes that a picture may show."""

    class_name: str
    probability: float  # 0 to 1


@dataclass(frozen=True)
class Prediction:
    """What a picture shows, or the error that prevented saying so."""

    path: str  # as named, or found in a folder that was; "-" for standard input
    class_name: str | None = None  # the most probable; None if there is an error
    probability: float | None = None  # of it, 0 to 1
    top: tuple[ClassProbability, ...] = ()  # the most probable classes, it included, most probable first
    inverted: bool = False  # light and dark were exchanged: its background was light and the training images' dark
    fitted: bool = False  # scaled to the model's size; False: it had that size and was taken as it was
    original_size: tuple[int, int] | None = None  # width and height in pixels, upright; None if it cannot be read
    error: str | None = None  # why there is no prediction, in one line


def predict(
    model: Place,
    images: Iterable[Place] | Place,
    *,
    top: int = N_TOP,
    invert: bool = True,
    temperature: float | Place | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> list[Prediction]:
    """Name what pictures show, by a saved model.

    Args:
        model: A .keras file.
        images: Paths of files and folders, or one, and "-" for one picture from standard input.
        top: How many classes to name.
        invert: False keeps the light backgrounds of photographs light.
        temperature: Calibrates the probabilities, see `fmnist.metrics.calibration`: a number, or a file such as a
            study's temperature.json, which has one for each model that the study delivers. None: probabilities are as
            the model gives them.
        say: Hears what is skipped in folders, that a model has no metadata, and that a temperature is another model's.

    Returns:
        A prediction for each picture in the order named, those of a folder in its place, sorted. A picture that cannot
        be read has its reason in `error`, and the others go on.

    Raises:
        UserError: The model or an argument cannot be used.
    """
    predictions = []
    for batch in predict_batches(model, images, top=top, invert=invert, temperature=temperature, say=say):
        predictions += batch
    return predictions


def predict_batches(
    model: Place,
    images: Iterable[Place] | Place,
    *,
    top: int = N_TOP,
    invert: bool = True,
    temperature: float | Place | None = None,
    say: Callable[[str], None] = warnings.warn,
    guard: OutputGuard = nullcontext,
) -> Iterator[list[Prediction]]:
    """Name what pictures show, some at a time, so that memory stays bounded for any number of them.

    Args:
        guard: Entered whenever TensorFlow or the decoders of pictures are at work.

    The other arguments and the errors are those of `predict`; arguments are checked by the call itself.
    """
    path = require(Path, model, "model", remedy="pass the path of a .keras file, which model.save(path) writes")
    top, invert = require(int, top, "--top", at_least=1), require(bool, invert, "invert")
    require_callable(say, "say", "(text)")
    places = read_places(images)
    if places.count(STDIN) > 1:
        raise UserError("standard input holds one picture, but - was named more than once; name it once")
    degree = None
    if temperature is not None:
        degree = read_temperature(temperature, path, say)
    return _predicted_batches(path, places, top, invert, degree, say, guard)


def _predicted_batches(
    model: Path,
    places: Sequence[str],
    top: int,
    invert: bool,
    degree: float | None,
    say: Callable[[str], None],
    guard: OutputGuard,
) -> Iterator[list[Prediction]]:
    with guard():
        classifier = Classifier(model)
    if not classifier.has_metadata:
        say(
            f"{model} has no notes: its classes are shown by their numbers, and it is taken to have learned from "
            "images of 0 to 255 with a black background (fmnist.model.metadata.write_metadata writes them)"
        )
    files = find_picture_files(places, say)
    while batch := _read_batch(files, classifier, invert, guard):
        with guard():
            probabilities = classifier.probabilities([item.image for _, item in batch if isinstance(item, Prepared)])
        if degree is not None:
            probabilities = with_temperature(probabilities, degree)
        yield _predictions(batch, probabilities, classifier.metadata, top)


def read_places(images: object) -> list[str]:
    """Return the paths of pictures and folders as texts. Raises UserError for anything else, such as their pixels."""
    received = images
    try:
        places: list[str] = []
        for item in to_items(images):
            if isinstance(images, list | tuple):
                received = item
            if not isinstance(item, str | bytes | os.PathLike):
                raise ValueError(item)
            places.append(to_text(item) if isinstance(item, str) else os.fsdecode(item))
    except ValueError:
        raise UserError(
            f"images must be paths of pictures and folders, but got {shown(received)}; write pixels to files, by "
            "PIL.Image.fromarray(array).save(path) say, and pass the paths"
        ) from None
    return places


def read_temperature(given: float | Place, model: Path, say: Callable[[str], None]) -> float:
    """Read a temperature.

    Args:
        given: A number; or a JSON file with one as "temperature", and perhaps several as "temperatures", by the names
            of the models that they calibrate.
        model: What is to be calibrated.
        say: Hears that the file has temperatures of other models alone, so that "temperature" is taken.

    Raises:
        UserError: It is none, or would leave nothing of the probabilities.
    """
    if not isinstance(given, str | bytes | os.PathLike):
        return _require_useful(require(float, given, "--temperature", remedy="or pass a file's path"))
    if isinstance(given, str):
        with suppress(ValueError):  # then it is a path
            return _require_useful(float(given))
    try:
        content = json.loads(require(Path, given, "--temperature").read_bytes())
        by_model = dict(content.get("temperatures", {}))
        found = float(by_model.get(model.name, content["temperature"]))
    except OSError as error:
        raise UserError(
            f"--temperature takes a number or a file such as temperature.json, but got {given}: {error.strerror}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'--temperature takes a JSON file with a number as "temperature", but {given} is none'
        ) from error
    if by_model and model.name not in by_model:
        say(
            f"{os.fsdecode(given)} calibrates {' and '.join(by_model)}, not {model.name}, which is calibrated by "
            f"{found:.3g} now; --temperature takes another number too"
        )
    return _require_useful(found, f" in {os.fsdecode(given)}")


def _require_useful(temperature: float, where: str = "") -> float:
    low, high = TEMPERATURES
    if not low <= temperature <= high:  # neither is nan
        raise UserError(f"--temperature must be from {low:g} to {high:g}, but got {temperature:g}{where}")
    return temperature


def _read_batch(
    files: Iterator[PictureFile], classifier: Classifier, invert: bool, guard: OutputGuard
) -> list[tuple[str, Prepared | str]]:
    """The path of each picture, and its image for the model or the reason why there is none. Empty at the end."""
    batch: list[tuple[str, Prepared | str]] = []
    while len(batch) < classifier.batch_size:
        file = next(files, None)
        if file is None:
            break
        if file.error is not None:
            batch.append((file.path, file.error))
            continue
        try:
            with guard():
                prepared = prepare(read_content(file.path), classifier.metadata, may_invert=invert)
        except UnreadablePicture as error:
            batch.append((file.path, str(error)))
        else:
            batch.append((file.path, prepared))
    return batch


def _predictions(
    batch: Sequence[tuple[str, Prepared | str]], probabilities: np.ndarray, metadata: ModelMetadata, top: int
) -> list[Prediction]:
    """probabilities: (n, n_classes), of the pictures that could be read."""
    rows = iter(probabilities)
    predictions = []
    for path, prepared in batch:
        if isinstance(prepared, str):
            predictions.append(Prediction(path, error=prepared))
            continue
        row = next(rows)
        best_first = np.argsort(-row, kind="stable")[:top].tolist()
        chosen = tuple(ClassProbability(metadata.class_names[label], float(row[label])) for label in best_first)
        height, width = prepared.own_size
        predictions.append(
            Prediction(
                path=path,
                class_name=chosen[0].class_name,
                probability=chosen[0].probability,
                top=chosen,
                inverted=prepared.inverted,
                fitted=prepared.fitted,
                original_size=(width, height),
            )
        )
    return predictions
