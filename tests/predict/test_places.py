"""What `predict` takes for a model, images and numbers, and what it says of anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fmnist.errors import UserError
from fmnist.predict import predict, predict_batches
from fmnist.predict.items import InMemory, read_inputs
from fmnist.predict.predictions import read_temperature


class Handle:
    """A path as other libraries have them."""

    def __fspath__(self) -> str:
        return "a.png"


@pytest.mark.parametrize(
    "images", ["a.png", b"a.png", Path("a.png"), Handle(), ["a.png"], (Path("a.png"),), {"a.png"}, np.array(["a.png"])]
)
def test_pictures_may_be_named_in_many_ways(images: Any) -> None:
    assert read_inputs(images) == read_inputs(iter(read_inputs(images))) == ["a.png"]
    assert {type(place) for place in read_inputs(images)} == {str}


def test_no_pictures_are_none() -> None:
    assert read_inputs([]) == read_inputs(iter(())) == []


class Tensor:
    """An array as other libraries have them."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.ones((2, 3))


PIXELS, PICTURE = np.zeros((28, 28), np.uint8), Image.new("L", (28, 28))


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (PIXELS, ["images"]),
        (PICTURE, ["images"]),
        (Tensor(), ["images"]),
        ([PIXELS], ["images[0]"]),
        (("a.png", PICTURE, Path("b.png"), Tensor()), ["a.png", "images[1]", "b.png", "images[3]"]),
    ],
)
def test_arrays_and_pictures_in_memory_are_told_from_paths(images: Any, names: list[str]) -> None:
    inputs = read_inputs(images)
    assert [each.name if isinstance(each, InMemory) else each for each in inputs] == names
    values = [each.value for each in inputs if isinstance(each, InMemory)]
    assert all(isinstance(value, np.ndarray | Image.Image) for value in values)


@pytest.mark.parametrize(
    ("images", "received"),
    [
        (["a.png", None], "None"),
        ({"a.png": 1}, r".* \(dict\)"),
        (5, r"5 \(int\)"),
        (np.float32(5), r".*5.*"),
        (None, "None"),
        ([["a.png"]], r"\['a.png'\] \(list\)"),
        ([[0, 255], [255, 0]], r"\[0, 255\] \(list\)"),
        (np.array([{}]), r"an array of object \(1,\) \(ndarray\)"),
    ],
)
def test_what_is_no_image_is_refused_by_the_call(images: Any, received: str) -> None:
    for call in (predict, predict_batches):
        with pytest.raises(
            UserError, match=rf"^images must be paths, PIL images or arrays .*, but got {received}; make"
        ):
            call("model.keras", images)


@pytest.mark.parametrize(
    ("model", "arguments", "said"),
    [
        (None, {}, "model must be a path, but got None; pass the path of a .keras file"),
        (object(), {}, r"model must be a path, but got .*\(object\); .*which model.save\(path\) writes"),
        ("m.keras", {"top": 0}, "--top must be 1 or more, but got 0"),
        ("m.keras", {"top": 2.5}, r"--top must be a whole number, but got 2.5 \(float\)"),
        ("m.keras", {"top": "3"}, r"--top must be a whole number, but got '3' \(str\); leave out the quotes"),
        ("m.keras", {"top": True}, r"--top must be a whole number, but got True \(bool\)"),
        ("m.keras", {"invert": "no"}, r"invert must be true or false, but got 'no' \(str\)"),
        ("m.keras", {"say": None}, r"say must be a function \(text\), but got None"),
        ("m.keras", {"temperature": True}, r"--temperature must be a number, but got True \(bool\); or pass a file's"),
        ("m.keras", {"temperature": [1.0]}, r"--temperature must be a number, but got \[1.0\] \(list\)"),
        ("m.keras", {"temperature": -1}, r"--temperature must be from 0.01 to 100, but got -1$"),
    ],
)
def test_arguments_of_another_kind_are_refused_by_the_call(model: Any, arguments: dict[str, Any], said: str) -> None:
    for call in (predict, predict_batches):
        with pytest.raises(UserError, match=f"^{said}"):
            call(model, "a.png", **arguments)


@pytest.mark.parametrize("given", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0), "2", "2.0"])
def test_temperature_may_be_any_number(given: Any) -> None:
    assert read_temperature(given, Path("best.keras"), pytest.fail) == 2.0


@pytest.mark.parametrize("kind", [str, Path, lambda path: str(path).encode()])
def test_temperature_may_be_a_file(kind: Any, tmp_path: Path) -> None:
    file = tmp_path / "temperature.json"
    file.write_text('{"temperature": 1.5}')
    assert read_temperature(kind(file), Path("best.keras"), pytest.fail) == 1.5


@pytest.mark.parametrize("model", ["best.keras", "exports/best.keras", "ensemble.keras"])
def test_temperature_is_that_of_the_model_where_the_file_tells_models_apart(model: str, tmp_path: Path) -> None:
    file, degrees = tmp_path / "temperature.json", {"best.keras": 1.5, "ensemble.keras": 0.75}
    file.write_text(json.dumps({"temperature": 1.5, "temperatures": degrees}))
    assert read_temperature(file, Path(model), pytest.fail) == degrees[Path(model).name]


def test_temperature_of_another_model_is_taken_with_a_note(tmp_path: Path) -> None:
    file, said = tmp_path / "temperature.json", []
    file.write_text('{"temperature": 1.5, "temperatures": {"best.keras": 1.5, "ensemble.keras": 0.75}}')
    assert read_temperature(file, Path("copy.keras"), said.append) == 1.5
    (note,) = said
    assert note.startswith(
        f"{file} calibrates best.keras and ensemble.keras, not copy.keras, which is calibrated by 1.5"
    )
    assert read_temperature("0.75", Path("copy.keras"), pytest.fail) == 0.75  # as the note says


@pytest.mark.parametrize("content", ["[1]", "5", '{"temperature": 1, "temperatures": 2}', '{"temperatures": {}}'])
def test_file_without_a_temperature_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "temperature.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r'takes a JSON file with a number as "temperature", but .* is none'):
        read_temperature(file, Path("best.keras"), pytest.fail)
