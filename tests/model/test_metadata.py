from __future__ import annotations

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.model.metadata import ENTRY, ModelMetadata, read_metadata, write_metadata
from search.refit.evaluation import predict_outside

pytestmark = pytest.mark.trains

NOTES = ModelMetadata(("T-shirt/top", "Übergröße", "c"), (8, 8, 1), 12.5, 0.75, 250.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    inputs = keras.Input((8, 8, 1))
    path = tmp_path / "m.keras"
    keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(inputs))).save(path)
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_notes_are_read_as_they_were_added_and_the_last_ones_stay(model: Path) -> None:
    assert read_metadata(model) is None
    write_metadata(model, ModelMetadata(("a", "b"), (2, 3, 3), 0))
    write_metadata(model, NOTES)
    assert read_metadata(model) == NOTES


def test_notes_change_nothing_else_and_the_same_are_the_same_bytes(model: Path) -> None:
    before = members(model)
    write_metadata(model, NOTES)
    first = model.read_bytes()
    write_metadata(model, NOTES)
    assert model.read_bytes() == first
    after = members(model)
    assert after.pop(ENTRY) and after == before
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_model_with_notes_loads_with_plain_keras_and_predicts_the_same(model: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    before = predict_outside(model, images)
    write_metadata(model, NOTES)
    assert (predict_outside(model, images) == before).all()


def test_notes_need_no_class_of_a_later_version(model: Path) -> None:
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr(ENTRY, '{"class_names": ["a", "b"], "image_shape": [8, 8, 1], "background": 3, "new": 1}')
    assert read_metadata(model) == ModelMetadata(("a", "b"), (8, 8, 1), 3.0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1]", "valid dictionary|object"),
        ('{"class_names": ["a", "b"]}', "image_shape: "),
        ('{"class_names": ["a"], "image_shape": [8, 8, 1], "background": 3}', "class_names must be two or more"),
        (
            '{"class_names": ["a", "b"], "image_shape": [8, 8, 1], "background": 300}',
            "background must be from 0 to 255",
        ),
        ("x" * (1 << 21), "longer than"),
    ],
)
def test_notes_that_cannot_be_are_named(model: Path, content: str, reason: str) -> None:
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr(ENTRY, content)
    with pytest.raises(UserError, match=rf"the notes in .*m\.keras must be those of a model, but .*({reason})"):
        read_metadata(model)


def test_file_that_is_no_model_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    path.write_text("text")
    for call in (lambda: read_metadata(path), lambda: write_metadata(path, NOTES)):
        with pytest.raises(UserError, match=r"must be a \.keras file, but .*m\.keras is none, or damaged"):
            call()
    assert path.read_text() == "text" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ("a",)}, "class_names must be two or more"),
        ({"image_shape": (8, 0, 1)}, "image_shape must be positive"),
        ({"background": None}, "background must be from 0 to 255, but got None"),
        ({"background": float("nan")}, "background must be from 0 to 255, but got nan"),
        ({"object_share": 0.0}, r"object_share must be from 0\.01 to 1"),
        ({"contrast": 256.0}, "contrast must be from 0 to 255"),
    ],
)
def test_values_that_cannot_be_are_refused(change: dict, message: str) -> None:
    fields = {"class_names": ("a", "b"), "image_shape": (8, 8, 1), "background": 0.0}
    with pytest.raises(ValueError, match=message):
        ModelMetadata(**{**fields, **change})
