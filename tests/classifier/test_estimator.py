"""ImageSearchClassifier fits networks to the digits: alone, in a pipeline, over parameters, and in another process.

The pages' examples are run, with one trial of a space whose trainings take a second or two.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV

from search import ImageSearchClassifier, TrainedStudy
from search.records.files import StudyFiles
from search.report.__main__ import main as report_main
from tests.support.spaces import QUICK

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.trains]

ROOT = Path(__file__).parents[2]
ONE_TRIAL = {"trials": 1, "space": QUICK, "random_state": 0}
PAGE = (ROOT / "docs/python-api.md").read_text(encoding="utf-8")
X, Y = load_digits(return_X_y=True)
NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


def example(word: str, folder: Path) -> dict[str, Any]:
    """Run the page's example with this word in that folder, with quick trainings. Returns its names."""
    (code,) = (each for each in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if word in each)
    code, n_changed = re.subn(r"trials=5", f"trials=1, space={str(QUICK)!r}", code)
    assert n_changed == 1
    names: dict[str, Any] = {}
    with contextlib.chdir(folder):
        exec(code.replace("cv=3", "cv=2"), names)
    return names


@pytest.fixture(scope="module")
def studies_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def fitted(studies_dir: Path) -> ImageSearchClassifier:
    """Fitted to 500 digits, whose labels are texts."""
    classifier = ImageSearchClassifier(studies_dir=studies_dir, **ONE_TRIAL)
    return classifier.fit(X[:500], NAMES[Y[:500]])


def test_example_of_the_page_classifies_digits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = example("train_test_split", tmp_path)
    classifier = names["classifier"]
    assert classifier.score(names["X_test"], names["y_test"]) > 0.6
    assert len(capfd.readouterr().out.splitlines()) == 1, "what the example prints, and nothing of the run"
    assert [path.name for path in tmp_path.iterdir()] == ["digits.keras"]

    folder = classifier.study_.files.root
    assert folder.is_dir()
    del classifier, names
    gc.collect()
    assert not folder.parent.exists(), "a temporary study goes with its classifier"


def test_each_fold_of_a_pipeline_is_a_study_of_its_own(tmp_path: Path) -> None:
    example("cross_val_score", tmp_path)
    assert {path.name for path in (tmp_path / "folds").iterdir()} == {"study", "study-2"}
    checksums = [
        StudyFiles(path).read_plain(StudyFiles(path).data)["checksums"] for path in (tmp_path / "folds").iterdir()
    ]
    assert checksums[0] != checksums[1]


def test_grid_search_compares_parameters() -> None:
    first, second = np.arange(300), np.arange(300, 500)
    grid = GridSearchCV(
        ImageSearchClassifier(**ONE_TRIAL),
        {"max_parameters": [100_000, 400]},
        cv=[(first, second)],
        error_score=0.0,
        refit=False,
    )
    with pytest.warns(FitFailedWarning, match="2,778 is over max_parameters = 400"):
        grid.fit(X[:500], Y[:500])
    large, small = grid.cv_results_["mean_test_score"]
    assert large > 0.6 > small == 0.0


def test_labels_are_given_back_as_they_came(fitted: ImageSearchClassifier) -> None:
    assert fitted.classes_.tolist() == list(fitted.model_.classifier().class_names) == sorted(NAMES)
    predicted = fitted.predict(X[500:])
    assert set(predicted) <= set(NAMES)
    assert fitted.score(X[500:], NAMES[Y[500:]]) == np.mean(predicted == NAMES[Y[500:]]) > 0.6


def test_probabilities_sum_to_one_and_decide(fitted: ImageSearchClassifier) -> None:
    probabilities = fitted.predict_proba(X[500:700])
    assert probabilities.shape == (200, 10) and probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(fitted.classes_[probabilities.argmax(axis=1)], fitted.predict(X[500:700]))


def test_images_may_come_in_any_shape_and_type(fitted: ImageSearchClassifier) -> None:
    rows = X[500:540]
    expected = fitted.predict_proba(rows)
    assert fitted.n_features_in_ == 64
    read_only = rows.copy()
    read_only.flags.writeable = False
    images = rows.reshape(-1, 8, 8)
    same = (rows.tolist(), rows.astype(np.uint8), rows.astype(np.float32), read_only, np.asfortranarray(rows))
    for given in (*same, images, images[..., np.newaxis], images[:, np.newaxis]):
        np.testing.assert_array_equal(fitted.predict_proba(given), expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (X[:5, :49], "X has 49 features, but ImageSearchClassifier is expecting 64 features"),
        (X[:5].reshape(5, 8, 8)[:, :7], "X has 56 features, but ImageSearchClassifier is expecting 64 features"),
        (X[:5].reshape(5, 4, 16), "images of the shape that the model was trained on"),
        (X[:5] / 16, "whole numbers from 0 to 255 as the training images are"),
        (X[:1] * 15, "pixels on the scale of the training images, whose brightest is 16 of 255"),
        (X[:5] > 8, "whole ones from 0 to 16, but got truth values"),
        (csr_array(X[:5]), "pass X.toarray()"),
        (X[:5] - 8, "leave scalers out of the Pipeline"),
        (np.where(X[:5] == 0, np.nan, X[:5]), "X contains NaN"),
        (X[0], "Expected 2D array, got 1D array"),
    ],
)
def test_images_of_another_form_are_refused(fitted: ImageSearchClassifier, given: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        fitted.predict(given)


def test_fitted_classifier_predicts_as_before_after_a_fit_that_was_refused(fitted: ImageSearchClassifier) -> None:
    expected = fitted.predict(X[500:540])
    with pytest.raises(ValueError, match="at least 12 training images"):
        fitted.fit(np.zeros((20, 16, 16)), [0, 1] * 10)
    np.testing.assert_array_equal(fitted.predict(X[500:540]), expected)


def test_pickled_classifier_predicts_in_another_process_without_its_study(
    fitted: ImageSearchClassifier, tmp_path: Path
) -> None:
    script = (
        "import pickle, numpy\n"
        "classifier = pickle.loads(open('classifier.pickle', 'rb').read())\n"
        "assert not classifier.study_.files.root.exists()\n"
        "assert '# study' in classifier.report_ and len(classifier.study_.trials) == 1\n"
        "numpy.save('predicted.npy', classifier.predict(numpy.load('images.npy')))\n"
    )
    (tmp_path / "classifier.pickle").write_bytes(pickle.dumps(fitted))
    np.save(tmp_path / "images.npy", X[500:])
    expected, root = fitted.predict(X[500:]), fitted.study_.files.root
    away = root.rename(tmp_path / "away")
    try:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", script]
        child = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    finally:
        away.rename(root)
    assert child.returncode == 0, child.stderr[-2000:]
    np.testing.assert_array_equal(np.load(tmp_path / "predicted.npy"), expected)


def test_fit_changes_no_parameter_fits_anew_and_is_shown_where_it_is_asked_for(
    fitted: ImageSearchClassifier, studies_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = pickle.loads(pickle.dumps(fitted)).set_params(verbose=1)
    before = again.get_params()
    again.fit(X[500:900], Y[500:900])
    assert again.get_params() == before
    assert again.classes_.tolist() == list(range(10)), "not the texts of the first fit"
    assert again.study_.files.root == studies_dir / "study-2" != fitted.study_.files.root
    assert again.study_.data.checksums != fitted.study_.data.checksums
    assert len(again.study_.trials) == 1, "it has no trial of the first"
    assert "no test images; confirmation accuracy" in capsys.readouterr().out


def test_study_of_a_fit_has_opened_no_test_set_and_says_so(fitted: ImageSearchClassifier, capsys: Any) -> None:
    study = fitted.study_
    assert type(study) is TrainedStudy and not study.is_finished
    assert not study.files.test.exists() and not study.files.test_arrays.exists()
    assert sum(study.data.n_images.values()) == 500, "all images are for training, selection and confirmation"
    assert study.confirm_accuracy > 0.6
    assert "no test images" in fitted.report_ and "not measured" in study.files.report_html.read_text()
    with pytest.raises(RuntimeError, match="test_mean needs test images, but study was made without"):
        _ = study.test_mean
    before = study.files.report_html.read_bytes()
    assert report_main(["study", "--studies-dir", str(study.files.root.parent)]) == 0
    assert study.files.report_html.read_bytes() == before
