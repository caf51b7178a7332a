"""The parameters of ImageSearchClassifier: those of a study by their names, and what scikit-learn does with them."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fmnist.errors import UserError
from fmnist.option_fields import fields_of
from search import ImageSearchClassifier, StudyConfig
from search.classifier.errors import InvalidInput, as_value_errors, with_parameters

ROOT = Path(__file__).parents[2]
IMAGES = np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8)
LABELS = np.arange(40) % 2

# Options of a study that are no parameters, with the reason.
LEFT_OUT = {
    "dataset": "fit is given the images",
    "data_dir": "the same",
    "colour": "for pictures in files",
    "skip_unreadable": "for pictures in files",
    "storage": "the study ends with fit",
    "seed": "is random_state, as scikit-learn has it",
    "start_from": "needs an older study, and fit starts afresh",
    "widen": "the same",
    "baselines": "are scored on test images",
    "export": "is compared on test images",
    **dict.fromkeys(("max_bytes", "max_ms", "target", "on"), "are of an exported file"),
    "front": "delivers several models",
    "tensorboard": "for runs that are watched",
    "mlflow": "the same",
    "dashboard": "the same",
}


def parameters() -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(ImageSearchClassifier)}


def test_options_of_a_study_are_parameters_with_the_same_default() -> None:
    """A new option is a line in ImageSearchClassifier, or one above that says why not."""
    options = fields_of(StudyConfig)
    unknown = options.keys() - parameters().keys() - LEFT_OUT.keys()
    assert not unknown, f"make {sorted(unknown)} parameters of ImageSearchClassifier, or add them to LEFT_OUT"
    for name in (options.keys() & parameters().keys()) - {"study", "studies_dir", "workers"}:
        assert parameters()[name].default == options[name].default, name
    assert not LEFT_OUT.keys() & parameters().keys()


def test_parameters_reach_the_study() -> None:
    chosen = {
        "trials": 7,
        "timeout": 60.0,
        "flip": True,
        "max_parameters": 1_000,
        "max_multiply_adds": 50_000,
        "image_size": 16,
        "sampler": "random",
    }
    config = ImageSearchClassifier(random_state=3, **chosen)._config()
    assert {name: getattr(config, name) for name in chosen} == chosen
    assert config.seed == 3
    assert config.space_path is None, "a space is written for the images, whatever the default data set is"


def test_clone_has_the_same_parameters_and_no_more() -> None:
    classifier = ImageSearchClassifier(trials=3, image_shape=(8, 8), random_state=np.random.RandomState(0))
    classifier.classes_ = np.array([0, 1])
    copy = clone(classifier)
    left, right = classifier.get_params(), copy.get_params()
    assert {**left, "random_state": None} == {**right, "random_state": None}
    assert not hasattr(copy, "classes_")


def test_set_params_changes_what_get_params_gives() -> None:
    classifier = ImageSearchClassifier()
    assert classifier.set_params(trials=3, flip=True) is classifier
    assert (classifier.get_params()["trials"], classifier.get_params()["flip"]) == (3, True)
    with pytest.raises(ValueError, match="Invalid parameter 'trails'"):
        classifier.set_params(trails=3)


def test_unfitted_classifier_can_be_pickled_and_says_that_it_is_unfitted() -> None:
    classifier = pickle.loads(pickle.dumps(ImageSearchClassifier(trials=3)))
    assert classifier.trials == 3
    with pytest.raises(NotFittedError, match="not fitted yet"):
        classifier.predict(IMAGES)


def test_seeds_come_as_scikit_learn_has_them() -> None:
    def seed(random_state: Any) -> int:
        return ImageSearchClassifier(random_state=random_state)._config().seed

    assert seed(5) == seed(np.int64(5)) == 5
    generator = np.random.RandomState(0)
    assert seed(generator) != seed(generator), "each fit draws anew"


@pytest.mark.parametrize(
    ("parameters", "X", "y", "said"),
    [
        ({}, IMAGES, LABELS[:-1], "inconsistent numbers of samples"),
        ({}, IMAGES, np.zeros(40, int), "labels must be of two classes or more"),
        ({}, IMAGES, None, "requires y to be passed"),
        ({}, IMAGES, np.arange(40) % 4, "a class needs at least 12 training images, but in y 0 has 10"),
        ({}, np.where(IMAGES == 7, np.nan, IMAGES), LABELS, "X contains NaN"),
        ({}, IMAGES, np.where(LABELS == 1, np.nan, 0.0), "y contains NaN"),
        ({}, IMAGES[0], LABELS[:8], "X must have images, or rows of as many pixels as a square has, but got rows of 8"),
        ({}, IMAGES[:, :3, :3], LABELS, "sides of 4 pixels or more"),
        ({}, IMAGES[:0], LABELS[:0], "0 sample(s)"),
        ({}, IMAGES / 2, LABELS, "not all of them whole; save them as uint8"),
        ({"trials": 0}, IMAGES, LABELS, "trials must be at least 1, but got 0"),
        ({"trials": "ten"}, IMAGES, LABELS, "trials must be a whole number"),
        ({"random_state": -1}, IMAGES, LABELS, "random_state must be"),
        ({"random_state": "today"}, IMAGES, LABELS, "cannot be used to seed"),
        ({"image_size": 3}, IMAGES, LABELS, "image_size"),
        ({"metric": None}, IMAGES, LABELS, "metric must be"),
        ({"refit_seeds": None}, IMAGES, LABELS, "refit_seeds must be"),
        ({"image_shape": (4, 16)}, IMAGES, LABELS, "image_shape must be that of the images in X"),
        ({}, np.zeros((40, 70, 70)), LABELS, "image_size=N"),
        ({}, csr_array(IMAGES.reshape(40, 64)), LABELS, "pass X.toarray()"),
        ({}, IMAGES, np.array([1, "2"] * 20, object), "y must have labels of one type"),
        ({}, IMAGES, np.array([b"a", b"b"] * 20), "got bytes"),
        ({"studies_dir": Path(__file__)}, IMAGES, LABELS, "choose a folder of yours with studies_dir"),
        ({"studies_dir": Path(__file__) / "in"}, IMAGES, LABELS, "choose a folder of yours with studies_dir"),
        ({"space": "nowhere.toml"}, IMAGES, LABELS, "nowhere.toml"),
    ],
)
def test_what_cannot_be_used_is_a_value_error_before_anything_begins(
    parameters: dict[str, Any], X: Any, y: Any, said: str
) -> None:
    with pytest.raises(ValueError) as caught:
        ImageSearchClassifier(**parameters).fit(X, y)
    assert said in str(caught.value) and "--" not in str(caught.value)


@pytest.mark.process
@pytest.mark.parametrize(
    ("statement", "unloaded"),
    [
        ("import search", {"sklearn", "optuna", "numpy", "keras", "tensorflow"}),
        ("from search import ImageSearchClassifier; ImageSearchClassifier()", {"keras", "tensorflow"}),
    ],
)
def test_only_what_is_needed_is_imported(statement: str, unloaded: set[str]) -> None:
    script = f"import sys; {statement}; print(sorted({unloaded!r} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_errors_are_those_of_the_project_too() -> None:
    with pytest.raises(InvalidInput, match="one line") as caught, as_value_errors():
        raise UserError("one line")
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, UserError)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("--seed must be 0 or more", "random_state must be 0 or more"),
        ("pass --image-size N, or leave --memory-limit out", "pass image_size=N, or leave memory_limit_mb out"),
        (
            "start another study with --study NAME (with --trials 5)",
            "start another study with study=NAME (with trials=5)",
        ),
        ("with --studies-dir", "with studies_dir"),
        ("a--seed and --search-only are no options of a study", "a--seed and --search-only are no options of a study"),
    ],
)
def test_messages_name_parameters_in_place_of_options(line: str, shown: str) -> None:
    assert with_parameters(line) == shown


@pytest.mark.parametrize("y", [LABELS[:-1], np.arange(40) % 4, np.zeros(40, int)])
def test_classifier_is_unfitted_after_a_fit_that_was_refused(y: Any) -> None:
    classifier = ImageSearchClassifier()
    with pytest.raises(ValueError):
        classifier.fit(IMAGES, y)
    assert not hasattr(classifier, "n_features_in_")
    with pytest.raises(NotFittedError):
        classifier.predict(IMAGES)


@pytest.mark.parametrize("end", [KeyboardInterrupt, ValueError])
def test_fit_that_ends_early_leaves_the_classifier_as_it_was(monkeypatch: Any, end: type[BaseException]) -> None:
    def ends(*_: Any) -> None:
        raise end

    monkeypatch.setattr(ImageSearchClassifier, "_search", ends)
    classifier = ImageSearchClassifier()
    classifier.n_features_in_ = 16  # as a fit leaves it
    before = dict(vars(classifier))
    with pytest.warns(UserWarning, match="8 x 8 grey pixels"), pytest.raises(end):
        classifier.fit(IMAGES.reshape(40, 64), LABELS)
    assert vars(classifier) == before


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (IMAGES // 16, ["The brightest pixel of X is 15 of 255"]),
        (IMAGES.reshape(40, 64), ["The 64 numbers of each row of X are read as 8 x 8 grey pixels"]),
        (IMAGES, []),
        (IMAGES / 255, []),
    ],
)
def test_guesses_are_warned_of_where_fit_is_called(monkeypatch: Any, X: np.ndarray, said: list[str]) -> None:
    def ends(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageSearchClassifier, "_search", ends)
    with warnings.catch_warnings(record=True) as caught, pytest.raises(KeyboardInterrupt):
        warnings.simplefilter("always")
        ImageSearchClassifier().fit(X, LABELS)
    assert [str(each.message)[: len(text)] for each, text in zip(caught, said, strict=True)] == said
    assert {each.filename for each in caught} <= {__file__}


def test_folder_of_a_failed_fit_is_not_left(tmp_path: Any) -> None:
    classifier = ImageSearchClassifier(studies_dir=tmp_path, space=tmp_path / "nowhere.toml")
    with pytest.raises(ValueError, match="no search-space file"):
        classifier.fit(IMAGES, LABELS)
    assert not list(tmp_path.iterdir())
