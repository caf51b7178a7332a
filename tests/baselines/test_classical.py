from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fmnist.baselines.catalog import BASELINES, find_baseline
from fmnist.baselines.classical import fit_estimator, make_estimator
from fmnist.baselines.fitting import fit_baseline
from fmnist.data.images import LabelledImages
from fmnist.data.split import Split
from tests.support.rare_class import rare_class

pytestmark = pytest.mark.process  # joblib asks a program for the number of cores

NAMES = [baseline.name for baseline in BASELINES if baseline.kind == "classical"]


@pytest.mark.parametrize("name", ["hog-linear-svm", "random-forest"])
def test_same_seed_gives_the_same_classifier(name: str, split: Split, unseen: LabelledImages) -> None:
    first, second, other = (fit_baseline(name, split, seed, n_threads=2).model for seed in (5, 5, 6))
    assert (first.predict_classes(unseen.images) == second.predict_classes(unseen.images)).all()
    assert (first.predict_classes(unseen.images) != other.predict_classes(unseen.images)).any()


@pytest.mark.parametrize("name", NAMES)
def test_classifiers_take_colour_images_that_are_no_squares(name: str) -> None:
    rng, labels = np.random.default_rng(0), np.tile(np.arange(3, dtype=np.uint8), 20)
    images = rng.integers(0, 100, (60, 8, 12, 3), dtype=np.uint8)
    images[labels == 1, 2:6] += 150  # a bright bar lies, or stands
    images[labels == 2, :, 4:8] += 150
    parts = [LabelledImages(images[part], labels[part]) for part in (slice(0, 30), slice(30, 45), slice(45, 60))]
    model = fit_baseline(name, Split(*parts, checksum="", seed=0), seed=0).model
    assert np.mean(model.predict_classes(images) == labels) > 0.9


@pytest.mark.parametrize(("max_iter", "reason"), [(1, "fitted to its limit of iterations"), (500, "fitted to its end")])
def test_fit_says_whether_it_ended_at_its_limit_of_iterations(split: Split, max_iter: int, reason: str) -> None:
    features = split.train.images.reshape(400, -1) / 255
    assert fit_estimator(LogisticRegression(max_iter=max_iter), features, split.train.labels) == reason


def test_other_warnings_of_a_fit_are_passed_on() -> None:
    class Grumbling:
        def fit(self, features: np.ndarray, labels: np.ndarray) -> None:
            warnings.warn("old features", DeprecationWarning, stacklevel=1)

    with pytest.warns(DeprecationWarning, match="old features"):
        assert fit_estimator(Grumbling(), np.zeros(1), np.zeros(1)) == "fitted to its end"


def test_network_has_no_estimator() -> None:
    with pytest.raises(ValueError, match="must have an estimator, but got 'conv-pool-dense'"):
        make_estimator("conv-pool-dense", n_images=100, seed=0, n_threads=1)


@pytest.mark.parametrize("name", NAMES)
def test_balanced_weights_find_a_rare_class_that_is_given_up_without_where_there_is_a_loss(name: str) -> None:
    split = Split(*(LabelledImages(*rare_class(160, 6, seed)) for seed in range(3)), checksum="", seed=0)
    images, labels = rare_class(160, 100, seed=3)
    recalls = []
    for weights in ("none", "balanced"):
        model = fit_baseline(name, split, seed=0, class_weights=weights).model
        recalls.append(np.mean(model.predict_classes(images)[labels == 1] == 1))
    if find_baseline(name).weighs_classes:
        assert recalls[1] > recalls[0] + 0.1
    else:
        assert recalls[1] == recalls[0]
