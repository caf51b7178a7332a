"""What a refused model file says is done, and it predicts or is exported."""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from fmnist.export.images import read_images
from fmnist.model.metadata import ENTRY, ModelMetadata, read_metadata, write_metadata
from fmnist.predict.classifier import Classifier
from fmnist.predict.predictions import predict as predict_pictures
from tests.support.remedies import needs_remedy

pytestmark = pytest.mark.trains

METADATA = ModelMetadata(("a", "b"), (8, 8, 1), background=0.0, contrast=255.0)
IMAGE = np.full((8, 8, 1), 100, np.uint8)


def save(path: Path, *, shape: tuple[int, ...] = (8, 8, 1), n_classes: int = 2, last: str = "softmax") -> Path:
    inputs = keras.Input(shape)
    outputs = keras.layers.Dense(n_classes, activation=last)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, outputs).save(path)
    return path


def predict(path: Path) -> None:
    assert Classifier(path).probabilities([IMAGE]).shape == (1, 2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "good.keras")


def test_file_is_a_model_that_keras_has_saved(tmp_path: Path, model: Path) -> None:
    with needs_remedy("a model must be a .keras file, but {} is a folder; name the file in it"):
        predict(tmp_path)
    with needs_remedy("a model must be a .keras file, but {}: {}; check the path"):
        predict(tmp_path / "none.keras")
    other = tmp_path / "other.keras"
    other.write_text("no archive")
    with needs_remedy("a model must be a .keras file, but {} is none, or damaged ({}); save it with Keras 3"):
        predict(other)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("notes", "")
    with needs_remedy("a model must be a .keras file, but {} is another archive; save it with Keras 3"):
        predict(other)
    predict(save(other))
    predict(model)


def test_model_of_another_name_is_renamed(tmp_path: Path, model: Path) -> None:
    renamed = model.rename(tmp_path / "model.zip")
    with needs_remedy("a model must be a .keras file, but got {}; rename it if it is one"):
        predict(renamed)
    predict(renamed.rename(tmp_path / "model.keras"))


def test_model_is_one_that_classifies_images(tmp_path: Path, model: Path) -> None:
    with needs_remedy("a model must take one batch of images of a fixed size, grey or RGB, but {}"):
        predict(save(tmp_path / "row.keras", shape=(8,)))
    with needs_remedy("a model must give one probability for each of two or more classes, but {} gives {}"):
        predict(save(tmp_path / "one.keras", n_classes=1))
    predict(model)


def test_model_ends_with_a_softmax(tmp_path: Path) -> None:
    with needs_remedy("a model must give probabilities that sum to 1, but {} gives {} to {}; end it with a softmax"):
        predict(save(tmp_path / "scores.keras", last="relu"))
    predict(save(tmp_path / "scores.keras"))


def test_notes_are_written_again(model: Path) -> None:
    write_metadata(model, ModelMetadata(("a", "b", "c"), (8, 8, 1), background=0.0, contrast=255.0))
    with needs_remedy("a model's notes must fit it, but those in {} are of {} classes of images {}"):
        predict(model)
    write_metadata(model, METADATA)
    predict(model)
    with zipfile.ZipFile(model) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name != ENTRY}
    with zipfile.ZipFile(model, "w") as archive:
        for name, content in {**kept, ENTRY: b"{}"}.items():
            archive.writestr(name, content)
    with needs_remedy("the notes in {} must be those of a model, but {}; write them again"):
        predict(model)
    write_metadata(model, METADATA)
    assert read_metadata(model) == METADATA
    predict(model)


def test_images_to_compare_exports_on_are_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    path.write_text("no archive")
    with needs_remedy("{} must be an .npz file of arrays, but {}: {}; write it with numpy.savez"):
        read_images(path)
    np.savez(path, x=np.full((2, 8, 8), 100))
    read_images(path)
    np.savez(path, x=np.zeros(3))
    with needs_remedy("{} must be an array of images, (n, height, width) or (n, height, width, channels)"):
        read_images(path)
    np.savez(path, x=np.full((2, 8, 8), 0.5))
    with needs_remedy("{} must be raw pixels from 0 to 255, as the model takes them, but got {} to {}; multiply"):
        read_images(path)
    np.savez(path, x=np.full((2, 8, 8), 100), y=[0])
    with needs_remedy("{} must be {} whole numbers, one for each image, but got {}; leave them out"):
        read_images(path)
    np.savez(path, x=np.full((2, 8, 8), 100))
    read_images(path)
    np.savez(path, pixels=np.full((2, 8, 8), 100))
    with needs_remedy("{} must hold images as x, but it has no x; write it with numpy.savez"):
        read_images(path)
    np.savez(path, x=255 * np.full((2, 8, 8), 0.5))
    read_images(path)


def test_one_class_at_least_is_shown(tmp_path: Path, model: Path) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(IMAGE[..., 0]).save(picture)
    with needs_remedy("{} must be {} or more, but got {}"):
        predict_pictures(model, [picture], top=0)
    assert len(predict_pictures(model, [picture], top=1)) == 1
