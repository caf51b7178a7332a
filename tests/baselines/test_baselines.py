"""What users start from: each is fitted for real, in a process of its own, on a few hundred digits."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fmnist.baselines.catalog import BASELINES, Baseline, find_baseline
from fmnist.baselines.classical import _ESTIMATORS, _fit_estimator, oriented_gradients
from fmnist.baselines.fitting import fit_baseline, load_baseline
from fmnist.baselines.networks import _NOTEBOOKS, _build_network
from fmnist.data.images import LabelledImages
from fmnist.data.split import Split, save_split
from fmnist.training.history import HistoryPoint
from search.worker.local import WorkerProcesses
from search.worker.tasks import BaselinePredictTask, BaselineResult, BaselineTask

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[2]


def some(labelled: LabelledImages, start: int, stop: int) -> LabelledImages:
    return LabelledImages(labelled.images[start:stop], labelled.labels[start:stop])


@pytest.fixture(scope="module")
def split(digits_split: Split) -> Split:
    """400 images to train on, 150 and 100 to select and to confirm on."""
    parts = (some(digits_split.train, 0, 400), some(digits_split.selection, 0, 150))
    return Split(*parts, some(digits_split.confirmation, 0, 100), checksum="", seed=0)


@pytest.fixture(scope="module")
def unseen(digits_split: Split) -> LabelledImages:
    return some(digits_split.train, 400, 959)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> WorkerProcesses:
    return WorkerProcesses(tmp_path_factory.mktemp("workers") / "worker.log", threading.Event())


@pytest.fixture(scope="module")
def folder(split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baselines")
    save_split(split, folder / "split")
    return folder


def named(baseline: Baseline) -> str:
    return baseline.name


# --- all of them


@pytest.mark.slow
@pytest.mark.parametrize("baseline", BASELINES, ids=named)
def test_baseline_learns_in_a_process_of_its_own_and_predicts_in_another(
    baseline: Baseline, workers: WorkerProcesses, folder: Path, unseen: LabelledImages
) -> None:
    path = folder / f"{baseline.name}{baseline.suffix}"
    *points, result = workers.train(BaselineTask(baseline.name, 3, folder / "split", path, n_threads=2))
    assert isinstance(result, BaselineResult)
    assert result.n_images == (500 if baseline.watches_selection else 650)
    assert result.seconds > 0 and result.peak_memory_mb > 100
    predicted = workers.predict(BaselinePredictTask(baseline.name, path, unseen.images, n_threads=2))
    assert (predicted.shape, predicted.dtype) == ((559,), np.uint8)
    assert np.mean(predicted == unseen.labels) > 0.85
    if baseline.kind == "classical":
        assert (points, result.n_epochs, result.n_parameters) == ([], None, None)
    else:
        check_network(baseline, points, result)


def check_network(baseline: Baseline, points: list[HistoryPoint], result: BaselineResult) -> None:
    assert [point.n_images for point in points] == [result.n_images * (i + 1) for i in range(len(points))]
    assert all((point.validation_accuracy is not None) == baseline.watches_selection for point in points)
    assert result.n_parameters > 1000
    assert result.n_epochs == len(points)
    if baseline.stops_early:
        best = min(points, key=lambda point: point.validation_loss)
        assert len(points) <= 150
        epoch = best.n_images // result.n_images
        assert result.reason == f"trained for {len(points)} epochs, weights of epoch {epoch}"
        assert len(points) in (epoch + 10, 150)
    else:
        assert len(points) == baseline.n_epochs
        assert result.reason == f"trained for {len(points)} epochs"


def test_every_baseline_has_its_way_to_be_fitted_and_no_other_has_one() -> None:
    assert {baseline.name for baseline in BASELINES if baseline.kind == "network"} == _NOTEBOOKS.keys()
    assert {baseline.name for baseline in BASELINES if baseline.kind == "classical"} == _ESTIMATORS.keys()
    assert len({baseline.name for baseline in BASELINES}) == len(BASELINES)


def test_unknown_baseline_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"must be one of three-convolutions, .*, but got 'resnet'"):
        find_baseline("resnet")


def test_importing_the_module_loads_neither_keras_nor_scikit_learn() -> None:
    script = (
        "import sys, fmnist.baselines.networks; print(sorted({'keras', 'tensorflow', 'sklearn'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.strip()) == (0, "[]"), child.stderr


# --- networks


@pytest.mark.parametrize("name", _NOTEBOOKS)
@pytest.mark.parametrize("image_shape", [(4, 4, 1), (8, 8, 1), (8, 33, 3), (28, 28, 1), (64, 64, 3)], ids=str)
def test_networks_take_images_of_any_size_and_colour(name: str, image_shape: tuple[int, int, int]) -> None:
    model = _build_network(_NOTEBOOKS[name], image_shape, n_classes=7)
    assert model.input_shape == (None, *image_shape)
    assert model.output_shape == (None, 7)


def test_networks_for_fashion_mnist_are_those_of_keras_defaults() -> None:
    n_parameters = {name: _build_network(_NOTEBOOKS[name], (28, 28, 1), 10).count_params() for name in _NOTEBOOKS}
    one_convolution = (9 + 1) * 32 + (13 * 13 * 32 + 1) * 100 + (100 + 1) * 10  # 28 - 2 = 26 pixels, pooled to 13
    three = (9 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128  # 13, 5 and 1 pixels after each pooling
    assert n_parameters.pop("three-convolutions") == three + (128 + 1) * 512 + (512 + 1) * 512 + (512 + 1) * 10
    assert set(n_parameters.values()) == {one_convolution}


def test_same_seed_gives_the_same_network(workers: WorkerProcesses, folder: Path, unseen: LabelledImages) -> None:
    name, predicted = "conv-pool-dense-plateau", []
    for seed in (5, 5, 6):
        path = folder / f"again-{seed}.keras"
        *points, _ = workers.train(BaselineTask(name, seed, folder / "split", path))
        predicted.append(([point.train_loss for point in points], load_baseline(name, path)))
    assert predicted[0][0] == predicted[1][0] != predicted[2][0]
    classes = [model.predict_classes(unseen.images) for _, model in predicted]
    assert (classes[0] == classes[1]).all()


# --- classifiers


@pytest.mark.parametrize("name", ["hog-linear-svm", "random-forest"])
def test_same_seed_gives_the_same_classifier(name: str, split: Split, unseen: LabelledImages) -> None:
    first, second, other = (fit_baseline(name, split, seed, n_threads=2).model for seed in (5, 5, 6))
    assert (first.predict_classes(unseen.images) == second.predict_classes(unseen.images)).all()
    assert (first.predict_classes(unseen.images) != other.predict_classes(unseen.images)).any()


@pytest.mark.parametrize("name", _ESTIMATORS)
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
    assert _fit_estimator(LogisticRegression(max_iter=max_iter), features, split.train.labels) == reason


def test_other_warnings_of_a_fit_are_passed_on() -> None:
    class Grumbling:
        def fit(self, features: np.ndarray, labels: np.ndarray) -> None:
            warnings.warn("old features", DeprecationWarning, stacklevel=1)

    with pytest.warns(DeprecationWarning, match="old features"):
        assert _fit_estimator(Grumbling(), np.zeros(1), np.zeros(1)) == "fitted to its end"


# --- oriented gradients


@pytest.mark.parametrize(
    ("image_shape", "n_blocks"),
    [((4, 4, 1), 1), ((8, 8, 1), 9), ((28, 28, 1), 36), ((64, 64, 3), 36), ((8, 12, 3), 15)],
    ids=str,
)
def test_blocks_of_four_cells_with_nine_orientations(image_shape: tuple[int, int, int], n_blocks: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *image_shape), dtype=np.uint8)
    features = oriented_gradients(images)
    assert (features.shape, features.dtype) == ((3, n_blocks * 4 * 9), np.float32)
    assert np.allclose(np.square(features.reshape(3, n_blocks, -1)).sum(axis=2), 1, atol=1e-3)


def test_edges_count_for_the_direction_across_them() -> None:
    standing = np.zeros((1, 28, 28, 1), np.uint8)
    standing[:, :, 14:] = 200
    lying = standing.transpose(0, 2, 1, 3)
    by_orientation = [oriented_gradients(image).reshape(-1, 9).sum(axis=0) for image in (standing, lying)]
    assert [int(sums.argmax()) for sums in by_orientation] == [0, 4]  # 0 to 20 and 80 to 100 degrees
    assert [np.count_nonzero(sums) for sums in by_orientation] == [1, 1]


def test_even_images_have_no_gradients_and_brightness_does_not_matter() -> None:
    assert not oriented_gradients(np.full((1, 28, 28, 1), 77, np.uint8)).any()
    image = np.random.default_rng(0).integers(0, 100, (1, 28, 28, 1), dtype=np.uint8)
    assert oriented_gradients(image) == pytest.approx(oriented_gradients(image * 2 + 20), abs=1e-5)
