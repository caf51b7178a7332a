"""How good is a model on labelled images that it has not seen? `evaluate` classifies them and scores the answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist.errors import UserError
from fmnist.model.metadata import ModelMetadata
from fmnist.predict.items import Input, Item, open_inputs, read_inputs
from fmnist.predict.labels import NAME_AROUND, ClassFinder, labels_of_caller
from fmnist.predict.predictions import (
    N_TOP,
    Images,
    OutputGuard,
    Place,
    Prediction,
    check_settings,
    classify,
    open_all,
    require_model,
)
from fmnist.values import require

if TYPE_CHECKING:
    from fmnist.metrics.evaluation import Evaluation
    from fmnist.metrics.intervals import Interval

UNKNOWN = -1  # in place of a class: there is no picture to open
UNEVEN = 0.5  # of an even share of the images: where the rarest class has less, the classes are called uneven


@dataclass(frozen=True)
class EvaluatedImages:
    """What a model says of labelled images, and how often it is right."""

    class_names: tuple[str, ...]  # of the model, in the order of the confusion matrix
    scores: Evaluation = field(repr=False)  # recall of each class, confusion matrix and more; of the readable images
    predictions: tuple[Prediction, ...] = field(repr=False)  # each with its label, in the order of the images
    mistakes: tuple[Prediction, ...] = field(repr=False)  # those that are wrong, most confident first

    @property
    def n_images(self) -> int:
        """How many images are scored."""
        return self.scores.n_images

    @property
    def accuracy(self) -> float:
        """The share of them that is classified rightly."""
        return self.scores.accuracy

    @property
    def accuracy_interval(self) -> Interval:
        """Its Wilson interval, 95 %."""
        return self.scores.accuracy_interval

    @property
    def n_unreadable(self) -> int:
        """How many pictures could not be read, and are not scored."""
        return sum(prediction.error is not None for prediction in self.predictions)

    @property
    def is_uneven(self) -> bool:
        """Whether the rarest class that there are images of has less than half of an even share of them."""
        supports = [one.support for one in self.scores.per_class if one.support]
        return min(supports) < UNEVEN * self.scores.n_images / len(supports)


def evaluate(
    model: Place,
    images: Images,
    labels: Any = None,
    *,
    top: int = N_TOP,
    invert: bool = True,
    temperature: float | Place | None = None,
    say: Callable[[str], None] = warnings.warn,
    guard: OutputGuard = nullcontext,
) -> EvaluatedImages:
    """Classify labelled images and score the answers.

    Args:
        model: A .keras file, or the folder of a study, whose best.keras is taken.
        images: As for `fmnist.predict.predict`.
        labels: The class of each image, in their order: numbers from 0, names of classes or one-hot rows, as a list or
            an array. None: the images bring them, in a data set's file, as class folders or in a table of file and
            label.
        top: How many classes each prediction names.
        invert: False keeps the light backgrounds of photographs light.
        temperature: Calibrates the probabilities, as for `predict`, which changes no class.
        say: Hears what is skipped and what was decided.
        guard: Entered whenever TensorFlow or the decoders of pictures are at work.

    Returns:
        The scores, and a prediction for each image. Pictures that cannot be read have their reason in `error`, and are
        not scored.

    Raises:
        UserError: The model, an image's label or another argument cannot be used, or no image can be read.
    """
    top, path = require(int, top, "--top", at_least=1), require_model(model)
    settings, inputs = check_settings(path, invert, temperature, say, guard), read_inputs(images)
    loaded, (items, truth) = open_all(settings, lambda metadata: labelled_items(inputs, labels, metadata, say))
    names = loaded.metadata.class_names
    predictions, rows = [], {}
    for batch in classify(loaded, items, settings):
        for outcome in batch:  # whose images are let go of
            number = int(truth[len(predictions)])
            if outcome.probabilities is not None:
                rows[len(predictions)] = outcome.probabilities
            label = names[number] if number != UNKNOWN else None
            predictions.append(outcome.prediction(loaded.metadata, top, label))
    return scored(names, predictions, rows, truth)


def labelled_items(
    inputs: Sequence[Input], labels: object, metadata: ModelMetadata, say: Callable[[str], None]
) -> tuple[list[Item], np.ndarray]:
    """All images, and the class of each: int64 (n,), UNKNOWN where there is no picture to open."""
    classes = ClassFinder(metadata.class_names)
    items = list(open_inputs(inputs, metadata, say, labelled=labels is None))
    if labels is not None:
        return items, labels_of_caller(labels, len(items), classes, say)
    truth = np.full(len(items), UNKNOWN, np.int64)
    names = {i: item.label for i, item in enumerate(items) if isinstance(item.label, str)}
    where = "the names of class folders and the labels of tables"
    truth[list(names)] = classes.find_all(list(names.values()), where, NAME_AROUND)
    for i, item in enumerate(items):
        if isinstance(item.label, int):
            truth[i] = item.label
    return items, truth


def scored(
    names: tuple[str, ...], predictions: Sequence[Prediction], rows: Mapping[int, np.ndarray], truth: np.ndarray
) -> EvaluatedImages:
    """Score the images that could be read.

    Args:
        names: Of the classes.
        predictions: Of all images, in their order.
        rows: float64 (n_classes,), the probabilities of each image that could be read, by its place.
        truth: int64 (n,), the class of each image.

    Raises:
        UserError: There is no such image.
    """
    if not rows:
        reason = "there is none"
        if predictions:
            first = predictions[0]
            reason = f"none of {len(predictions):,} can be, the first being {first.path}: {first.error}"
        raise UserError(f"an image at least must be readable to be scored, but {reason}; name other files")
    read = list(rows)
    probabilities = np.clip(np.array(list(rows.values())), 0, None)  # -1e-9 is rounding
    labels = truth[read]
    # Here: scikit-learn takes a second that predictions and help save.
    from fmnist.metrics.evaluation import evaluate as score
    from fmnist.metrics.evaluation import top_mistakes

    scores = score(labels, probabilities / probabilities.sum(axis=1, keepdims=True), names)
    mistakes = top_mistakes(labels, probabilities, len(labels))
    return EvaluatedImages(names, scores, tuple(predictions), tuple(predictions[read[one.index]] for one in mistakes))
