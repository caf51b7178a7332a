from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from fmnist.model.build import build_model
from fmnist.model.inference import predict_probabilities, save_for_users
from fmnist.recipe import ACTIVATIONS, Architecture, Block

pytestmark = pytest.mark.trains

SHAPE = (8, 8, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, size=(20, *SHAPE), dtype=np.uint8)


def small_model(activation: str = "relu") -> keras.Model:
    blocks = (Block(4, 1, 3), Block(6, 2, 3, dropout=0.2))
    architecture = Architecture(SHAPE, 10, blocks, activation=activation, dense_units=(5,), head_dropout=0.2)
    model = build_model(architecture, 80.0, 90.0)
    logits = model.get_layer("logits")  # new ones are zero, and all probabilities equal
    logits.set_weights([np.random.default_rng(1).normal(0, 1, weight.shape) for weight in logits.get_weights()])
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small_model()


def test_probabilities_add_up_to_1(model: keras.Model) -> None:
    probabilities = predict_probabilities(model, IMAGES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 500])
def test_chunks_do_not_change_predictions(model: keras.Model, batch_size: int) -> None:
    expected = model(IMAGES.astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(predict_probabilities(model, IMAGES, batch_size), expected, atol=1e-5)


def test_no_images_give_no_probabilities(model: keras.Model) -> None:
    assert predict_probabilities(model, IMAGES[:0]).shape == (0, 10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_saved_model_gives_identical_probabilities(tmp_path: Path, activation: str) -> None:
    model = small_model(activation)
    save_for_users(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(predict_probabilities(loaded, IMAGES), predict_probabilities(model, IMAGES))


def test_a_saved_model_holds_no_optimizer(tmp_path: Path) -> None:
    model = small_model()
    model.compile("adamw", "sparse_categorical_crossentropy")
    model.fit(IMAGES, np.zeros(len(IMAGES), np.uint8), verbose=0)
    save_for_users(model, tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = archive.read("config.json").decode()
        weights = archive.read("model.weights.h5")
    assert "adamw" not in config.lower()
    assert b"optimizer" not in weights


@pytest.mark.process
def test_a_saved_model_loads_in_a_process_without_this_project(model: keras.Model, tmp_path: Path) -> None:
    save_for_users(model, tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES.astype(np.float32))
    code = (
        "import sys\n"
        "sys.modules['fmnist'] = sys.modules['search'] = None\n"  # not to be imported, wherever they are installed
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras')\n"
        "np.save('probabilities.npy', model.predict_on_batch(np.load('images.npy')))\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True, capture_output=True)
    expected = predict_probabilities(model, IMAGES)
    np.testing.assert_array_equal(np.load(tmp_path / "probabilities.npy"), expected)
