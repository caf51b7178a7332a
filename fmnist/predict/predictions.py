"""From images to what they show: `predict` and `predict_batches`.

Any picture will do: `fmnist.predict.preprocess` makes it look like the images that the model has learned from; arrays
are taken as training takes them. The model is loaded once for all images; they are read in batches, so a folder may
hold any number.

Does not cover: saying that a picture shows none of the classes. The model names one of them whatever it is shown.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fmnist.data.decode import UnreadablePicture
from fmnist.errors import UserError
from fmnist.metrics.calibration import with_temperature
from fmnist.model.metadata import ModelMetadata, read_metadata
from fmnist.predict.items import Input, Item, open_inputs, read_inputs
from fmnist.predict.loaded import LoadedModel, find_model_file
from fmnist.predict.preprocess import Prepared
from fmnist.values import require, require_callable

T = TypeVar("T")
N_TOP = 3
TEMPERATURES = (0.01, 100.0)  # others leave nothing of the probabilities

Place = str | bytes | os.PathLike[str]  # of a file or a folder
Images = Any  # a Place, a PIL.Image.Image, an array of numbers, or any collection of these

# What TensorFlow and the decoders of pictures run in: the command keeps them from printing there.
OutputGuard = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class ClassProbability:
    """One of the classes that a picture may show."""

    class_name: str
    probability: float  # 0 to 1


@dataclass(frozen=True)
class Prediction:
    """What an image shows, or the error that prevented saying so."""

    path: str  # as named, or found in a folder that was; "-" for standard input, "x.npz[12]" or "images[3]" of arrays
    class_name: str | None = None  # the most probable; None if there is an error
    probability: float | None = None  # of it, 0 to 1
    top: tuple[ClassProbability, ...] = ()  # the most probable classes, it included, most probable first
    inverted: bool = False  # light and dark were exchanged: its background was light and the training images' dark
    fitted: bool = False  # scaled to the model's size; False: it had that size and was taken as it was
    original_size: tuple[int, int] | None = None  # width and height in pixels, upright; None if it cannot be read
    error: str | None = None  # why there is no prediction, in one line
    label: str | None = None  # the class that it does show, where `evaluate` was told; None: unknown


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one image."""

    item: Item
    prepared: Prepared | str  # the image as the model was given it, or the reason why there is none
    probabilities: np.ndarray | None  # float64 (n_classes,); None without an image

    def prediction(self, metadata: ModelMetadata, top: int, label: str | None = None) -> Prediction:
        """Return it in words: the `top` most probable classes, and the true class where it is known."""
        if isinstance(self.prepared, str) or self.probabilities is None:
            return Prediction(self.item.path, error=str(self.prepared), label=label)
        best_first = np.argsort(-self.probabilities, kind="stable")[:top].tolist()
        chosen = tuple(
            ClassProbability(metadata.class_names[number], float(self.probabilities[number])) for number in best_first
        )
        height, width = self.prepared.own_size
        return Prediction(
            path=self.item.path,
            class_name=chosen[0].class_name,
            probability=chosen[0].probability,
            top=chosen,
            inverted=self.prepared.inverted,
            fitted=self.prepared.fitted,
            original_size=(width, height),
            label=label,
        )


@dataclass(frozen=True)
class Settings:
    """How images are classified, checked: `check_settings` makes it."""

    model: Path  # the file
    invert: bool  # photographs, where their background asks for it
    temperature: float | None  # None: probabilities are as the model gives them
    say: Callable[[str], None]
    guard: OutputGuard = nullcontext


def predict(
    model: Place,
    images: Images,
    *,
    top: int = N_TOP,
    invert: bool = True,
    temperature: float | Place | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> list[Prediction]:
    """Name what images show, by a saved model.

    Args:
        model: A .keras file, or the folder of a study, whose best.keras is taken.
        images: One image or a list of any kinds of them: paths, pictures of Pillow's (PIL.Image.Image), arrays. Paths
            are those of pictures, folders of pictures, anything else that trains, such as .npz, CSV and Parquet files
            and archives, or tables of files, and "-" is one picture from standard input. Arrays are (h, w), (h, w, c),
            (n, h, w) or (n, h, w, c) of the model's size, whole numbers from 0 to 255 or decimal numbers from 0 to 1.
        top: How many classes to name.
        invert: False keeps the light backgrounds of photographs light.
        temperature: Calibrates the probabilities, see `fmnist.metrics.calibration`: a number, or a file such as a
            study's temperature.json, which has one for each model that the study delivers. None: probabilities are as
            the model gives them.
        say: Hears what is skipped in folders, which of several models or arrays is taken, how the numbers of arrays are
            read, that a model has no metadata, and that a temperature is another model's.

    Returns:
        A prediction for each image in the order named, those of a folder in its place, sorted. A picture that cannot
        be read has its reason in `error`, and the others go on.

    Raises:
        UserError: The model, an array, an archive, a table or another argument cannot be used.
    """
    predictions = []
    for batch in predict_batches(model, images, top=top, invert=invert, temperature=temperature, say=say):
        predictions += batch
    return predictions


def predict_batches(
    model: Place,
    images: Images,
    *,
    top: int = N_TOP,
    invert: bool = True,
    temperature: float | Place | None = None,
    say: Callable[[str], None] = warnings.warn,
    guard: OutputGuard = nullcontext,
) -> Iterator[list[Prediction]]:
    """Name what images show, some at a time, so that memory stays bounded for any number of them.

    Args:
        guard: Entered whenever TensorFlow or the decoders of pictures are at work.

    The other arguments and the errors are those of `predict`; arguments are checked by the call itself.
    """
    path, top = require_model(model), require(int, top, "--top", at_least=1)
    settings = check_settings(path, invert, temperature, say, guard)
    return _predicted_batches(settings, read_inputs(images), top)


def _predicted_batches(settings: Settings, inputs: list[Input], top: int) -> Iterator[list[Prediction]]:
    loaded, items = open_all(settings, lambda metadata: open_inputs(inputs, metadata, settings.say))
    for batch in classify(loaded, items, settings):
        yield [outcome.prediction(loaded.metadata, top) for outcome in batch]


def require_model(model: object) -> Path:
    """Return the path of a model. Raises UserError for what is no path."""
    return require(Path, model, "model", remedy="pass the path of a .keras file, which model.save(path) writes")


def check_settings(
    model: Path,
    invert: bool,
    temperature: float | Place | None,
    say: Callable[[str], None],
    guard: OutputGuard = nullcontext,
) -> Settings:
    """Check how images are to be classified. The arguments and the errors are those of `predict`."""
    invert = require(bool, invert, "invert")
    require_callable(say, "say", "(text)")
    file, degree = find_model_file(model, say), None
    if temperature is not None:
        degree = read_temperature(temperature, file, say)
    return Settings(file, invert, degree, say, guard)


def open_all(settings: Settings, open_images: Callable[[ModelMetadata], T]) -> tuple[LoadedModel, T]:
    """Open the images and load the model, in this order where the model's file says what images it takes.

    So images that cannot be used are refused before Keras is loaded.

    Args:
        settings: Checked.
        open_images: Opens them for a model with these metadata.

    Returns:
        The model, and what `open_images` gave.

    Raises:
        UserError: The model cannot be used, or what `open_images` raises.
    """
    metadata = read_metadata(settings.model)
    if metadata is None:
        loaded = load(settings)
        return loaded, open_images(loaded.metadata)
    opened = open_images(metadata)
    return load(settings), opened


def load(settings: Settings) -> LoadedModel:
    """Load the model, and say if it has no metadata. Raises UserError if it cannot be used."""
    with settings.guard():
        loaded = LoadedModel(settings.model)
    if not loaded.has_metadata:
        settings.say(
            f"{settings.model} has no notes: its classes are shown by their numbers, and it is taken to have learned "
            "from images of 0 to 255 with a black background (fmnist.model.metadata.write_metadata writes them)"
        )
    return loaded


def classify(loaded: LoadedModel, items: Iterable[Item], settings: Settings) -> Iterator[list[Outcome]]:
    """Classify images, some at a time. Raises UserError if the model gives something else than probabilities."""
    remaining = iter(items)
    while batch := _read_batch(remaining, loaded, settings):
        with settings.guard():
            given = loaded.probabilities([image.image for _, image in batch if isinstance(image, Prepared)])
        if settings.temperature is not None:
            given = with_temperature(given, settings.temperature)
        rows = iter(given)
        outcomes = []
        for item, prepared in batch:
            row = next(rows) if isinstance(prepared, Prepared) else None
            outcomes.append(Outcome(item, prepared, row))
        yield outcomes


def _read_batch(items: Iterator[Item], loaded: LoadedModel, settings: Settings) -> list[tuple[Item, Prepared | str]]:
    """Each item, and its image for the model or the reason why there is none. Empty at the end."""
    batch: list[tuple[Item, Prepared | str]] = []
    while len(batch) < loaded.batch_size:
        item = next(items, None)
        if item is None:
            break
        try:
            with settings.guard():
                batch.append((item, item.prepare(loaded.metadata, may_invert=settings.invert)))
        except UnreadablePicture as error:
            batch.append((item, str(error)))
    return batch


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
