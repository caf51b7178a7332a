"""What a model file says about itself is read as it was written, and what cannot be is named."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.decode import Form
from fmnist.errors import UserError
from fmnist.model.metadata import ENTRY, ModelMetadata, read_metadata, write_metadata

METADATA = ModelMetadata(("T-shirt/top", "Übergröße", "c"), (8, 8, 1), 12.5, 0.75, 250.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An archive with the members of a .keras file, not all compressed."""
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", "{}", zipfile.ZIP_DEFLATED)
        archive.writestr("model.weights.h5", bytes(range(256)) * 999, zipfile.ZIP_DEFLATED)
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_entry(path: Path, content: str) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(ENTRY, content)


def test_metadata_are_read_as_they_were_written_and_the_last_ones_stay(model: Path) -> None:
    assert read_metadata(model) is None
    write_metadata(model, ModelMetadata(("a", "b"), (2, 3, 3), 0))
    write_metadata(model, METADATA)
    assert read_metadata(model) == METADATA


@pytest.mark.parametrize("side", [None, 32])
def test_form_of_the_training_pictures_comes_back(model: Path, side: int | None) -> None:
    metadata = ModelMetadata(("a", "b"), (32, 32, 3), 9.0, picture_form=Form(side=side, channels=3))
    write_metadata(model, metadata)
    assert read_metadata(model) == metadata


def test_model_of_other_data_says_nothing_about_pictures(model: Path) -> None:
    """Byte by byte what versions wrote that did not know how pictures were read."""
    write_metadata(model, ModelMetadata(("a", "b"), (8, 8, 1), 9.5, 0.5))
    assert members(model)[ENTRY].decode() == (
        '{\n  "class_names": [\n    "a",\n    "b"\n  ],\n  "image_shape": [\n    8,\n    8,\n    1\n  ],\n'
        '  "background": 9.5,\n  "object_share": 0.5,\n  "contrast": null\n}'
    )


def test_metadata_change_nothing_else_and_the_same_are_the_same_bytes(model: Path) -> None:
    before = members(model)
    write_metadata(model, METADATA)
    first = model.read_bytes()
    write_metadata(model, METADATA)
    assert model.read_bytes() == first
    after = members(model)
    assert after.pop(ENTRY) and after == before
    assert [path.name for path in model.parent.iterdir()] == [model.name]


@pytest.mark.trains
@pytest.mark.process
def test_model_with_metadata_loads_with_plain_keras_and_predicts_the_same(tmp_path: Path) -> None:
    import keras

    from search.refit.evaluation import predict_outside

    inputs = keras.Input((8, 8, 1))
    path = tmp_path / "m.keras"
    keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(inputs))).save(path)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    (before,) = predict_outside([path], images)
    write_metadata(path, METADATA)
    assert (predict_outside([path], images)[0] == before).all()


def test_fields_of_a_later_version_are_ignored(model: Path) -> None:
    write_entry(model, '{"class_names": ["a", "b"], "image_shape": [8, 8, 1], "background": 3, "new": 1}')
    assert read_metadata(model) == ModelMetadata(("a", "b"), (8, 8, 1), 3.0)


START = '{"class_names": ["a", "b"], "image_shape": [8, 8, 1], "background": '


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1]", "valid dictionary|object"),
        ('{"class_names": ["a", "b"]}', "image_shape: "),
        ('{"class_names": ["a"], "image_shape": [8, 8, 1], "background": 3}', "class_names must be two or more"),
        (START + "300}", "background must be from 0 to 255"),
        (START + '3, "picture_form": {"channels": 1, "transparency": "black"}}', r"picture_form\.transparency: "),
        (START + '3, "picture_form": {"channels": 1, "side": 16}}', r"picture_form must give images of \(8, 8, 1\)"),
        ("x" * (1 << 21), "longer than"),
    ],
)
def test_metadata_that_cannot_be_are_named(model: Path, content: str, reason: str) -> None:
    write_entry(model, content)
    with pytest.raises(UserError, match=rf"the notes in .*m\.keras must be those of a model, but .*({reason})"):
        read_metadata(model)


@pytest.mark.parametrize("call", [read_metadata, lambda path: write_metadata(path, METADATA)])
def test_file_that_is_no_model_is_named_and_left_as_it_is(tmp_path: Path, call: Callable[[Path], object]) -> None:
    path = tmp_path / "m.keras"
    path.write_text("text")
    with pytest.raises(UserError, match=r"must be a \.keras file, but .*m\.keras is none, or damaged"):
        call(path)
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
        ({"picture_form": Form(side=16, channels=1)}, r"picture_form must give images of \(8, 8, 1\)"),
        ({"picture_form": Form(side=8)}, r"picture_form must give images of \(8, 8, 1\)"),
    ],
)
def test_values_that_cannot_be_are_refused(change: dict, message: str) -> None:
    fields = {"class_names": ("a", "b"), "image_shape": (8, 8, 1), "background": 0.0}
    with pytest.raises(ValueError, match=message):
        ModelMetadata(**{**fields, **change})
