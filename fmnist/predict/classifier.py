"""A model that stays loaded: `Classifier` classifies images again and again, of any kind."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from fmnist.data.images import Shape
from fmnist.errors import UserError
from fmnist.predict.items import open_inputs, read_inputs
from fmnist.predict.predictions import (
    N_TOP,
    Images,
    Outcome,
    Place,
    Prediction,
    check_settings,
    classify,
    load,
    require_model,
)
from fmnist.values import require


class Classifier:
    """A saved model that names what images show, loaded once for any number of calls.

    Args:
        model: A .keras file, or the folder of a study, whose best.keras is taken.
        invert: False keeps the light backgrounds of photographs light.
        temperature: Calibrates the probabilities: a number, or a file such as a study's temperature.json. None:
            probabilities are as the model gives them.
        say: Hears what `fmnist.predict.predict` says.

    A model without metadata is taken to have learned from images of 0 to 255 with a black background, and its classes
    are called by their numbers.

    Raises:
        UserError: The file holds no model, one that does not classify images, or metadata of another model.
    """

    def __init__(
        self,
        model: Place,
        *,
        invert: bool = True,
        temperature: float | Place | None = None,
        say: Callable[[str], None] = warnings.warn,
    ) -> None:
        self._settings = check_settings(require_model(model), invert, temperature, say)
        self._loaded = load(self._settings)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities."""
        return self._loaded.metadata.class_names

    @property
    def image_shape(self) -> Shape:
        """Height, width and channels of the images that the model takes."""
        return self._loaded.metadata.image_shape

    def probabilities(self, images: Images) -> np.ndarray:
        """Compute the probability of each class for each image.

        Args:
            images: As for `predict`.

        Returns:
            float64 (n, n_classes), in the order of the images; (1, n_classes) for one, (0, n_classes) for none.

        Raises:
            UserError: As for `predict`, or a picture cannot be read.
        """
        rows = []
        for outcome in self._outcomes(images):
            if outcome.probabilities is None:
                raise UserError(
                    f"every picture must be readable, but {outcome.item.path}: {outcome.prepared}; leave it out, or "
                    "use predict, which names it and goes on"
                )
            rows.append(outcome.probabilities)
        return np.reshape(np.array(rows, np.float64), (len(rows), len(self.class_names)))

    def predict(self, images: Images, *, top: int = N_TOP) -> list[Prediction]:
        """Name what images show.

        Args:
            images: One image or a list of any kinds of them, as `fmnist.predict.predict` takes them: paths, pictures
                of Pillow's, arrays.
            top: How many classes to name.

        Returns:
            A prediction for each image, in their order. A picture that cannot be read has its reason in `error`.

        Raises:
            UserError: An argument cannot be used, an array does not fit the model, or the model gives something else
                than probabilities.
        """
        top = require(int, top, "top", at_least=1)
        return [outcome.prediction(self._loaded.metadata, top) for outcome in self._outcomes(images)]

    def _outcomes(self, images: Images) -> Iterator[Outcome]:
        items = open_inputs(read_inputs(images), self._loaded.metadata, self._settings.say)
        for batch in classify(self._loaded, items, self._settings):
            yield from batch
