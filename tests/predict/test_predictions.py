"""What pictures show, by a model that names the quadrant with the most light."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.metrics.calibration import with_temperature
from fmnist.model.ensemble import average_models
from fmnist.predict.predictions import Prediction, predict
from tests.support.drawings import ON_BLACK, drawing, quadrant_model, save, written

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of grey images on black."""
    return save(quadrant_model(), tmp_path_factory.mktemp("model") / "grey.keras", ON_BLACK)


def only(predictions: list[Prediction]) -> Prediction:
    (prediction,) = predictions
    assert prediction.error is None, prediction.error
    return prediction


def give_on_stdin(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_picture_is_named_with_the_most_probable_classes(model: Path, tmp_path: Path) -> None:
    found = only(predict(model, [written(tmp_path / "a.png", drawing())]))
    assert (found.class_name, found.inverted, found.fitted) == ("top left", True, True)
    assert found.original_size == (90, 60)
    assert found.probability is not None and found.probability > 0.9
    assert found.top[0].class_name == "top left" and len(found.top) == 3


def test_ensemble_names_pictures_like_any_model(model: Path, tmp_path: Path) -> None:
    """It calls the classes by their names, and its probabilities are the mean of its members'."""
    sure = quadrant_model()
    unsure = keras.Model(sure.inputs, 0.6 * sure.outputs[0] + 0.1)
    members = [model, save(unsure, tmp_path / "unsure.keras", ON_BLACK)]
    ensemble = save(average_models(members, [0.7, 0.3]), tmp_path / "ensemble.keras", ON_BLACK)
    picture = written(tmp_path / "a.png", drawing())
    found, *of_members = (only(predict(path, picture)) for path in (ensemble, *members))
    assert (found.class_name, found.inverted, found.fitted) == ("top left", True, True)
    first, second = (each.probability or 0 for each in of_members)
    assert first > second + 0.05
    assert found.probability == pytest.approx(0.7 * first + 0.3 * second, abs=1e-5)


def test_many_pictures_pass_in_batches_and_keep_their_order(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist.predict.loaded.N_BATCH", 3)
    turns = [0, 90, 180, 270, 0, 90, 180]
    paths = [written(tmp_path / f"{i}.png", drawing().rotate(turn, expand=True)) for i, turn in enumerate(turns)]
    paths.insert(3, tmp_path / "missing.png")
    names = [each.class_name for each in predict(model, paths)]
    assert names == [
        "top left",
        "bottom left",
        "bottom right",
        None,
        "top right",
        "top left",
        "bottom left",
        "bottom right",
    ]


def test_picture_may_come_from_standard_input(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = written(tmp_path / "a.png", drawing()).read_bytes()
    give_on_stdin(content, monkeypatch)
    found = only(predict(model, ["-"]))
    assert (found.path, found.class_name) == ("-", "top left")
    give_on_stdin(b"", monkeypatch)
    assert predict(model, ["-"])[0].error == "the file is empty"
    with pytest.raises(UserError, match=r"standard input holds one picture, but - was named more than once"):
        predict(model, ["-", "-"])


def test_temperature_calibrates_by_number_or_by_file(model: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", drawing())
    note = tmp_path / "temperature.json"
    note.write_text(json.dumps({"temperature": 2.5, "how": "..."}))
    plain, by_number, by_file = (predict(model, path, temperature=given, top=4) for given in (None, 2.5, note))
    assert by_number == by_file
    probabilities = np.array([[one.probability for one in plain[0].top]])
    expected = with_temperature(probabilities, 2.5)[0].tolist()
    assert [one.probability for one in by_file[0].top] == pytest.approx(expected)


def test_temperature_beside_the_model_is_not_taken_unasked(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "best.keras"
    copy.write_bytes(model.read_bytes())
    (tmp_path / "temperature.json").write_text('{"temperature": 9}')
    path = written(tmp_path / "a.png", drawing())
    assert predict(copy, path) == predict(model, path)
