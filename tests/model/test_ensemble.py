"""The file of an average: plain Keras loads it, and it predicts the weighted mean."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from fmnist.metrics.ensemble import weighted_mean
from fmnist.model.build import build_model
from fmnist.model.ensemble import average_models
from fmnist.model.inference import predict_probabilities
from fmnist.recipe import Architecture, Block

pytestmark = pytest.mark.trains

WEIGHTS = (0.6, 0.25, 0.15)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of three networks of different architectures, the first two with layers of the same names."""
    folder = tmp_path_factory.mktemp("members")
    saved = []
    for i, blocks in enumerate(((Block(4, 1, 3),), (Block(6, 1, 3),), (Block(4, 2, 3), Block(4, 1, 3)))):
        keras.utils.set_random_seed(i)
        network = build_model(Architecture((8, 8, 1), 10, blocks), 70.0, 80.0)
        rng = np.random.default_rng(i)  # a new network says the same of every image
        network.set_weights([weight + rng.normal(0, 0.1, weight.shape) for weight in network.get_weights()])
        saved.append(folder / f"{i}.keras")
        network.save(saved[-1])
    return saved


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (37, 8, 8, 1), np.uint8)


def test_average_predicts_the_weighted_mean_of_its_members(paths: list[Path], images: np.ndarray) -> None:
    predicted = np.stack([predict_probabilities(keras.saving.load_model(path), images) for path in paths])
    average = predict_probabilities(average_models(paths, WEIGHTS), images)
    np.testing.assert_allclose(average, weighted_mean(predicted, np.array(WEIGHTS)), atol=1e-6)
    np.testing.assert_allclose(average.sum(axis=1), 1, atol=1e-5)


def test_a_network_alone_may_be_averaged(paths: list[Path], images: np.ndarray) -> None:
    alone = predict_probabilities(average_models(paths[:1], [1.0]), images)
    np.testing.assert_array_equal(alone, predict_probabilities(keras.saving.load_model(paths[0]), images))


def test_mirrored_average_is_that_of_an_image_and_its_mirror_image(paths: list[Path], images: np.ndarray) -> None:
    average = average_models(paths, WEIGHTS)
    of_both = (predict_probabilities(average, images) + predict_probabilities(average, images[:, :, ::-1])) / 2
    mirrored = predict_probabilities(average_models(paths, WEIGHTS, mirrored=True), images)
    np.testing.assert_allclose(mirrored, of_both, atol=1e-6)
    assert np.abs(mirrored - predict_probabilities(average, images)).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_plain_keras_loads_the_file_of_an_average(
    paths: list[Path], images: np.ndarray, tmp_path: Path, mirrored: bool
) -> None:
    average = average_models(paths, WEIGHTS, mirrored=mirrored)
    average.save(tmp_path / "average.keras")
    np.save(tmp_path / "images.npy", images)
    script = (
        "import sys; sys.modules['fmnist'] = sys.modules['search'] = None\n"
        "import keras, numpy\n"
        "model = keras.saving.load_model('average.keras')\n"
        "numpy.save('predicted.npy', model.predict(numpy.load('images.npy'), verbose=0))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "predicted.npy"), predict_probabilities(average, images), atol=1e-6)


@pytest.mark.parametrize("n_weights", [0, 2, 4])
def test_each_model_needs_a_weight(paths: list[Path], n_weights: int) -> None:
    with pytest.raises(ValueError, match="with a weight each are needed"):
        average_models(paths if n_weights else [], [0.5] * n_weights)
