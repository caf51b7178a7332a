"""A model that cannot be used is refused in one line, and one that can gives probabilities."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.model.build import build_model
from fmnist.model.inference import save_for_users
from fmnist.model.metadata import ModelMetadata
from fmnist.predict.classifier import Classifier
from fmnist.recipe import Architecture, Block
from tests.support.drawings import ON_BLACK, SIDE, quadrant_model, save

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def bad_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bad")
    inputs = keras.Input((SIDE, SIDE, 1))
    flat = keras.layers.Flatten()(inputs)
    vector = keras.Input((7,))
    dense = keras.layers.Dense
    models = {
        "vector": keras.Model(vector, dense(2, "softmax")(vector)),
        "one": keras.Model(inputs, dense(1, "sigmoid")(flat)),
        "picture": keras.Model(inputs, inputs * 2),
        "two": keras.Model([inputs, vector], dense(2, "softmax")(keras.layers.Concatenate()([flat, vector]))),
        "logits": keras.Model(inputs, dense(3, bias_initializer="ones")(flat)),
        "wide": quadrant_model(2),
    }
    paths = {name: save(each, folder / f"{name}.keras", None) for name, each in models.items()}
    paths["mismatch"] = save(quadrant_model(), folder / "mismatch.keras", ModelMetadata(("a", "b"), (8, 8, 1), 0.0))
    paths["text"] = folder / "text.keras"
    paths["text"].write_text("not a model")
    paths["archive"] = folder / "archive.keras"
    with zipfile.ZipFile(paths["archive"], "w") as archive:
        archive.writestr("a.txt", "text")
    paths["damaged"] = folder / "damaged.keras"
    with zipfile.ZipFile(paths["damaged"], "w") as archive:
        archive.writestr("config.json", "{}")
    paths["suffix"] = paths["one"].with_suffix(".zip")
    paths["suffix"].write_bytes(paths["one"].read_bytes())
    return {**paths, "missing": folder / "missing.keras", "folder": folder}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"must be a \.keras file, but .*missing\.keras: No such file"),
        ("folder", r"must be a \.keras file, but .* is a folder"),
        ("text", r"must be a \.keras file, but .* is none, or damaged"),
        ("archive", r"must be a \.keras file, but .* is another archive"),
        ("suffix", r"must be a \.keras file, but got .*one\.zip; rename it"),
        ("damaged", r"must load with plain Keras [\d.]+, but .* does not"),
        ("vector", r"must take one batch of images of a fixed size.*takes \(None, 7\)"),
        ("wide", r"must take one batch of images of a fixed size.*takes \(None, 16, 16, 2\)"),
        ("two", r"must take one batch of images of a fixed size.*takes \(None, 16, 16, 1\) and \(None, 7\)"),
        ("one", r"one probability for each of two or more classes, but .* gives \(None, 1\)"),
        ("picture", r"one probability for each of two or more classes, but .* gives \(None, 16, 16, 1\)"),
        ("logits", r"must give probabilities that sum to 1, but .* end it with a softmax"),
        ("mismatch", r"notes must fit it, but those in .* 2 classes of images \(8, 8, 1\), and the model has 4"),
    ],
)
def test_model_that_cannot_be_used_is_refused_in_one_line(bad_models: dict[str, Path], name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Classifier(bad_models[name]).probabilities([np.zeros((SIDE, SIDE, 1), np.uint8)])
    assert "\n" not in str(caught.value)


def test_grey_model_without_an_axis_for_it_works_too(tmp_path: Path) -> None:
    inputs = keras.Input((SIDE, SIDE))
    outputs = quadrant_model()(keras.layers.Reshape((SIDE, SIDE, 1))(inputs))
    path = save(keras.Model(inputs, outputs), tmp_path / "m.keras", ON_BLACK)
    image = np.zeros((SIDE, SIDE, 1), np.uint8)
    image[:4, :4] = 255
    assert Classifier(path).probabilities([image])[0].argmax() == 0


OF_A_CALLER = """
import json, os, sys
from pathlib import Path
import numpy as np
from fmnist.errors import UserError
from fmnist.predict.classifier import Classifier

settings, model, images = map(Path, sys.argv[1:])
before = dict(os.environ)
try:
    Classifier(model)
except UserError as error:
    print(error)
settings.write_text('{"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}')  # the remedy
first = Classifier(model).probabilities(list(np.load(images)))
assert dict(os.environ) == before
import keras
assert (keras.config.floatx(), keras.config.image_data_format()) == ("float16", "channels_first"), "the caller's own"
keras.mixed_precision.set_global_policy("mixed_float16")
second = Classifier(model).probabilities(list(np.load(images)))
print(json.dumps([first.tolist(), second.tolist()]))
"""


@pytest.mark.follows("Keras must be able to use its settings, but those in {} give {}: {}; correct or delete")
def test_settings_of_keras_in_the_caller_s_process_change_no_prediction_and_stay(tmp_path: Path) -> None:
    blocks = (Block(8, 2, 3, residual=True), Block(8, 1, 3, dropout=0.2))
    network = Architecture((8, 8, 3), 4, blocks, activation="gelu", head="flatten", pooling="average", dense_units=(8,))
    model = build_model(network, 100.0, 50.0)
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    save_for_users(model, tmp_path / "model.keras")
    images = generator.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    settings = tmp_path / "keras.json"
    settings.write_text('{"floatx": "float8"}')

    environment = os.environ | {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "jax"}
    command = [
        sys.executable,
        "-c",
        OF_A_CALLER,
        *map(str, (settings, tmp_path / "model.keras", tmp_path / "images.npy")),
    ]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    said, found = child.stdout.splitlines()
    assert said.startswith(f"Keras must be able to use its settings, but those in {settings} give ValueError")
    assert said.endswith("; correct or delete that file")
    expected = Classifier(tmp_path / "model.keras").probabilities(list(images)).tolist()
    assert json.loads(found) == [expected, expected]
