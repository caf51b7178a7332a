"""How does a search become an estimator of scikit-learn? `ImageSearchClassifier`: fit searches, predict predicts.

Its parameters are the fields of a dataclass: a line declares one for `__init__`, for `get_params`, which reads the
signature, and for readers and type checkers. Those that `StudyConfig` has by the same name are passed on to it, so a
new option reaches the estimator by that line; what a value may be, StudyConfig alone knows.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
import weakref
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state, check_X_y
from sklearn.utils.validation import check_is_fitted, validate_data

from fmnist.data.arrays.memory import DATASET, find_image_form, memory_source
from fmnist.data.source import DataSource
from fmnist.option_fields import fields_of
from search.callbacks.terminal import Terminal
from search.classifier.errors import as_value_errors
from search.classifier.inputs import (
    as_images,
    classes_of,
    image_shape_of,
    names_of_classes,
    require_dense,
    require_image_shape,
)
from search.classifier.model import KeptModel
from search.config import StudyConfig
from search.pipeline import run_study
from search.records.files import StudyFiles
from search.results.result import TrainedStudy
from search.study.locks import unwritable


@dataclass(kw_only=True, eq=False, repr=False)
class ImageSearchClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of images for scikit-learn: `fit` searches a small convolutional network and trains the best.

    All that `fit` is given is for training: the search holds out a selection and a confirmation split of its own, and
    there is no test set. Score the classifier on other images, as `cross_val_score` does.

    X is (n, height, width) or (n, height, width, channels), or (n, features): rows of square grey images, or of those
    that `image_shape` says. Pixels are uint8 or whole numbers from 0 to 255, or decimal numbers from 0 to 1. y has a
    label of any type for each image, at least 12 of each class.

    Each `fit` starts a study of its own and never goes on with another. Ctrl-C ends it, and the study with it.

    Args:
        trials: Configurations that the search tries.
        timeout: Seconds that `fit` may take, about; None: as many as it needs.
        workers: Training processes at a time; None: as many as there are cores.
        random_state: A whole number, or what `sklearn.utils.check_random_state` takes, for split, sampler, trainings.
        space: A search-space file; None: one is written for the images.
        max_parameters: Largest network, in weights; None: the space's limit.
        max_multiply_adds: Costliest network, in multiply-adds an image; None: the space's limit.
        flip: Mirror images left-right in training: right for most photographs, wrong for digits and letters.
        image_size: Fit each image whole into so many pixels a side; None: as they are.
        image_shape: Height and width, or height, width and channels, of the images in rows of X.
        refit_seeds: Students that learn from the finalists; the first is delivered if it is no worse than the best.
        sampler: What suggests configurations.
        pruner: What ends bad trials early.
        metric: What decides between networks: "accuracy", "balanced_accuracy", "macro_f1" or "log_loss".
        class_weights: "balanced" weighs losses so that every class counts the same, "none" does not; None: balanced
            with the metrics for which every class counts the same.
        precision: Of convolutions while learning.
        memory_limit_mb: Of each training process; None: 80 % of the memory, shared equally.
        studies_dir: Where the study's folder is kept; None: in a temporary folder, as long as the classifier lives.
        study: The folder's name; one that is taken gets a number, such as study-2.
        verbose: 1 shows the run in the terminal, 2 every evaluation too; 0: nothing is printed.

    Attributes:
        classes_: The labels that y had, sorted: (n_classes,).
        n_features_in_: Numbers in an image.
        model_: The delivered model as a .keras file in memory: `model_.save("best.keras")`.
        study_: The study, a `TrainedStudy` with its trials, finalists and files.
        report_: The study's report as Markdown; the page is `study_.files.report_html`.

    A fitted classifier can be pickled: it predicts in another process, also when the study's folder is gone.

    Raises:
        ValueError: A parameter, X or y cannot be used. In one line; it is a `search.UserError`, too.
        SearchStopped: As for `search.run_study`, with TrainingFailed and KeyboardInterrupt.
    """

    trials: int = 100
    timeout: float | None = None
    workers: int | None = None
    random_state: Any = None
    space: str | os.PathLike[str] | None = None
    max_parameters: int | None = None
    max_multiply_adds: int | None = None
    flip: bool = False
    image_size: int | None = None
    image_shape: tuple[int, ...] | None = None
    refit_seeds: int = 1
    sampler: str = "tpe"
    pruner: str = "asha"
    metric: str = "accuracy"
    class_weights: str | None = None
    precision: str = "auto"
    cluster: str | None = None
    gpus_per_training: float | None = None
    insecure_cluster: bool = False
    memory_limit_mb: int | None = None
    studies_dir: str | os.PathLike[str] | None = None
    study: str = "study"
    verbose: int = 0

    def fit(self, X: Any, y: Any) -> Self:
        """Search, confirm and train on the images X with the labels y. Returns the classifier itself.

        What was fitted before stays as it was where this fit is refused or ends early. A UserWarning says what was
        guessed of X: that its rows are square images, or that its brightest pixel is much less than white.

        Raises:
            ValueError: A parameter, X or y cannot be used.
        """
        before = dict(vars(self))
        try:
            with as_value_errors():
                self._fit(X, y)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _fit(self, X: Any, y: Any) -> None:
        require_dense(X)
        config = self._config()
        values, labels = check_X_y(  # more images, or larger ones, are asked for by the checks of a data set
            X, y, allow_nd=True, ensure_min_samples=2, ensure_min_features=2, estimator=self
        )
        classes, class_numbers = classes_of(labels)
        self._check_features(X, values, reset=True)
        image_shape = image_shape_of(self.image_shape)
        pixels = as_images(values, image_shape)
        form, notes = find_image_form(pixels, config.reading(), "X")
        require_image_shape(image_shape, form.shape)
        source = memory_source(form.apply(pixels, "X"), class_numbers, names_of_classes(classes), notes=notes)
        for note in notes:
            if note != form.pixels.note:  # which tells how the documented ranges are read: nothing is guessed there
                warnings.warn(note, stacklevel=3)
        study, remove_folder = self._search(config, source)
        self.classes_ = classes
        self.study_ = study
        self.model_ = KeptModel(study.files.checksums.intact(study.files.model).read_bytes())
        self.report_ = study.files.report_markdown.read_text(encoding="utf-8")
        self._form = form
        remove_old = getattr(self, "_remove_folder", None)
        self._remove_folder = remove_folder
        if remove_old is not None:
            remove_old()

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each class: float64 (n, n_classes), in the order of classes_.

        A UserWarning tells of ten images or more that are much darker than the training images were.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: X cannot be used, or has images of another shape or range than `fit` was given.
        """
        check_is_fitted(self)
        with as_value_errors():
            require_dense(X)
            values = check_array(X, allow_nd=True, estimator=self, input_name="X")
            self._check_features(X, values, reset=False)
            pixels = as_images(values, self._form.shape)
            images = self._form.apply(pixels, "X")
            note = self._form.note_darker(pixels, "X")
            if note:
                warnings.warn(note, stacklevel=2)
            return self.model_.probabilities(images)

    def predict(self, X: Any) -> np.ndarray:
        """Predict the label of each image: (n,), of classes_. Errors are those of `predict_proba`."""
        probabilities = self.predict_proba(X)  # which says so before fit
        return self.classes_[probabilities.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True  # and four: scikit-learn has no tag for that
        tags.input_tags.two_d_array = True  # rows of pixels
        tags.input_tags.positive_only = True
        tags.non_deterministic = True  # which trial ends first depends on the machine
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Leave the temporary folder to the classifier that made it: a copy has the model, but not the folder."""
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_remove_folder"}

    def _config(self) -> StudyConfig:
        """Return the parameters as a study's options; None, where it is the default, as StudyConfig's default."""
        passed: dict[str, Any] = {"dataset": DATASET, "seed": seed_of(self.random_state)}
        for parameter in fields(self):
            value = getattr(self, parameter.name)
            if parameter.name in fields_of(StudyConfig) and not (value is None and parameter.default is None):
                passed[parameter.name] = value
        return StudyConfig(**passed)

    def _check_features(self, X: Any, values: np.ndarray, *, reset: bool) -> None:
        """Note how many numbers an image has, and the names of columns, or compare them with those noted by `fit`.

        Args:
            X: As the caller passed it.
            values: X as an array.
            reset: True: note them.

        Raises:
            ValueError: They are others.
        """
        rows: Any = X if values.ndim == 2 else values.reshape(len(values), -1)
        validate_data(self, rows, reset=reset, skip_check_array=True)

    def _search(self, config: StudyConfig, source: DataSource) -> tuple[TrainedStudy, weakref.finalize | None]:
        """Run a study of these images in a new folder.

        Returns:
            The study, and what removes its folder when the classifier goes; None: it is kept.
        """
        remove_folder = None
        if self.studies_dir is None:
            temporary = Path(tempfile.mkdtemp(prefix="image-search-"))
            remove_folder = weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
            config = replace(config, studies_dir=temporary)
        config = with_new_folder(config)
        try:
            terminal = Terminal(verbosity="verbose" if self.verbose > 1 else "normal") if self.verbose else None
            with terminal or nullcontext():
                study = run_study(config, terminal, source=source)
        except BaseException:
            with suppress(OSError):  # it stays if anything is in it
                config.folder.rmdir()
            if remove_folder is not None:
                remove_folder()
            raise
        assert isinstance(study, TrainedStudy)
        return replace(study, files=StudyFiles(config.folder)), remove_folder  # the run's own speak to its terminal


def seed_of(random_state: Any) -> int:
    """Return a study's seed: a whole number as it is, else one drawn as `sklearn.utils.check_random_state` says."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def with_new_folder(config: StudyConfig) -> StudyConfig:
    """Make a new folder for the study, and return its options with the folder's name.

    Several processes may do so at the same time, as in a cross-validation: each has a folder of its own.

    Raises:
        UserError: It cannot be made there.
    """
    try:
        config.studies_dir.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            named = config if number == 1 else replace(config, study=f"{config.study}-{number}")
            with suppress(FileExistsError):
                named.folder.mkdir()
                return named
    except OSError as error:
        raise unwritable(config.folder, error) from None
    raise AssertionError("there is always a next number")
