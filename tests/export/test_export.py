"""All formats of a model with every layer, exported for real."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from unittest.mock import ANY

import keras
import numpy as np
import pytest
from keras import layers

from fmnist.errors import UserError
from fmnist.export.export import export_model
from fmnist.export.formats import FORMATS, ExportRecord, Format, find_format
from fmnist.model.ensemble import average_models
from fmnist.model.metadata import ModelMetadata, read_metadata, write_metadata

pytestmark = [pytest.mark.trains, pytest.mark.slow]

NAMES = [format.name for format in FORMATS]
N_IMAGES = 300
METADATA = ModelMetadata((*"abcdefghi", "Straßenschuh"), (12, 12, 1), 200.0, 0.7, 90.0)
LARGEST_BY_FEWER_BITS = {"litert-int8": 0.05, "litert-int8-full": 0.15, "onnx-int8": 0.15}  # of any probability


def named(format: Format) -> str:
    return format.name


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """Untrained, with all that the search space can build, an exact GELU, and random flips, which it cannot."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((12, 12, 1))
    x = layers.Rescaling(1 / 80, offset=-1)(layers.RandomFlip()(pixels))
    x = layers.Conv2D(8, 3, padding="same")(x)
    x = first = layers.Activation("relu")(layers.BatchNormalization()(layers.MaxPooling2D(2)(x)))
    x = layers.BatchNormalization()(layers.Conv2D(8, 5, padding="same", use_bias=False)(x))
    x = layers.SpatialDropout2D(0.2)(layers.Activation("silu")(layers.Add()([first, x])))
    x = layers.Activation("gelu")(layers.Conv2D(16, 3, padding="same")(x))
    x = keras.ops.gelu(layers.AveragePooling2D(2)(x), approximate=True)
    heads = (layers.Flatten, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    x = layers.Dropout(0.3)(layers.Concatenate()([head()(x) for head in heads]))
    x = layers.Activation("elu")(layers.Dense(32)(x))
    model = keras.Model(pixels, layers.Activation("softmax")(layers.Dense(10, kernel_initializer="he_normal")(x)))
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    model.save(path)
    return model, path


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (N_IMAGES, 12, 12, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 10, N_IMAGES)


@pytest.fixture(scope="module")
def exported(model, images, labels, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, ExportRecord]]:
    folder = tmp_path_factory.mktemp("exports")
    umask = os.umask(0o002)  # a group shares the folder
    try:
        how = {"images": images, "labels": labels, "calibration": images[:100]}
        records = list(export_model(model[1], NAMES, folder, n_threads=1, **how))
    finally:
        os.umask(umask)
    return folder, {record.format: record for record in records}


@pytest.mark.parametrize("format", FORMATS, ids=named)
def test_every_format_says_what_the_model_says(format: Format, model, images, labels, exported) -> None:
    _, records = exported
    record, reference = records[format.name], model[0].predict(images, verbose=0)
    assert record.failure is None, record.trace
    assert (record.n_images, record.n_threads, record.runtime.split()[0]) == (N_IMAGES, 1, format.runtime)
    model_accuracy = np.mean(reference.argmax(axis=1) == labels)
    if format.is_exact:
        assert record.largest_difference < 1e-5
        assert record.n_same_class == N_IMAGES
        assert record.accuracy == model_accuracy
    else:
        assert 1e-5 < record.largest_difference < LARGEST_BY_FEWER_BITS[format.name]
        assert record.n_same_class > (0.8 if format.is_calibrated else 0.95) * N_IMAGES  # untrained: nearly ties
    gained = (record.n_only_file_right - record.n_only_model_right) / N_IMAGES
    assert record.accuracy == pytest.approx(model_accuracy + gained)


@pytest.mark.parametrize("format", FORMATS, ids=named)
def test_every_format_is_measured(format: Format, exported) -> None:
    folder, records = exported
    record = records[format.name]
    assert 0 < record.milliseconds_by_1 <= record.p95_milliseconds_by_1
    assert 0 < record.milliseconds_by_256 <= record.p95_milliseconds_by_256
    assert record.seconds > 0
    assert 0 < record.runtime_bytes < record.peak_bytes
    assert (record.unaccelerated is None) == (format.runtime != "ai_edge_litert")
    written = folder / record.file
    sizes = [path.stat().st_size for path in (written, *written.rglob("*")) if path.is_file()]
    assert record.n_bytes == sum(sizes) > 1000


@pytest.mark.parametrize("format", FORMATS, ids=named)
def test_lines_that_show_how_a_file_is_used_use_it(format: Format, model, images, exported) -> None:
    seen = {"images": images[:7].astype(np.float32)}
    exec(format.usage(str(exported[0] / exported[1][format.name].file)), seen)
    limit = 1e-5 if format.is_exact else LARGEST_BY_FEWER_BITS[format.name]
    assert np.abs(seen["probabilities"] - model[0].predict(images[:7], verbose=0)).max() < limit


def test_nothing_but_the_files_is_left(exported) -> None:
    assert sorted(path.name for path in exported[0].iterdir()) == sorted(
        [
            *("tiny.keras", "tiny-savedmodel", "tiny.tflite", "tiny.onnx"),
            *("tiny-int8.tflite", "tiny-int8-full.tflite", "tiny-int8.onnx"),
        ]
    )


def test_umask_decides_who_may_read_an_export(exported) -> None:
    for path in exported[0].rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o775 if path.is_dir() else 0o664), path


def test_fewer_bits_make_a_smaller_file(exported) -> None:
    for name in ("litert-int8", "litert-int8-full"):
        assert exported[1][name].n_bytes < 0.5 * exported[1]["litert"].n_bytes


def test_raw_pixels_go_into_a_file_of_8_bits_as_they_are_whatever_it_was_calibrated_on(described) -> None:
    from ai_edge_litert.interpreter import Interpreter

    (pixels,) = Interpreter(str(described / "tiny-int8-full.tflite")).get_input_details()
    assert pixels["dtype"] == np.uint8
    assert pixels["quantization"] == (1.0, 0)  # though no image that it was calibrated on has a pixel above 127


def test_onnx_files_are_of_versions_that_older_runtimes_read(exported) -> None:
    import onnx

    for name in ("tiny.onnx", "tiny-int8.onnx"):
        model = onnx.load(exported[0] / name)
        assert model.ir_version <= 8
        assert {entry.domain: entry.version for entry in model.opset_import}[""] == 15


def test_calibration_images_of_another_size_are_said(model, images, tmp_path: Path) -> None:
    calibration = np.zeros((5, 9, 9, 1), np.uint8) + 200
    with pytest.raises(UserError, match=r"images must be \(n, 12, 12, 1\) for this model, but got \(5, 9, 9, 1\)"):
        list(export_model(model[1], ["onnx-int8"], tmp_path, images=images, calibration=calibration))


@pytest.fixture(scope="module")
def described(model, images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of exports of a model that knows its classes."""
    folder = tmp_path_factory.mktemp("described")
    path = Path(shutil.copy(model[1], folder))
    write_metadata(path, METADATA)
    names, dark = ["keras", "litert", "litert-int8-full", "onnx"], images[:20] // 2
    records = list(export_model(path, names, folder / "out", license="CC0-1.0", calibration=dark))
    assert [record.failure for record in records] == [None] * 4
    return folder / "out"


def test_exported_keras_file_knows_its_classes_too(described: Path) -> None:
    assert read_metadata(described / "tiny.keras") == METADATA


def test_litert_file_has_its_class_names_where_every_zip_program_finds_them(described: Path) -> None:
    with zipfile.ZipFile(described / "tiny.tflite") as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(METADATA.class_names)


def test_litert_file_has_metadata_that_android_and_mediapipe_read(described: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs((described / "tiny.tflite").read_bytes(), 0)
    entries = {model.Metadata(i).Name(): model.Metadata(i).Buffer() for i in range(model.MetadataLength())}
    content = model.Buffers(entries[b"TFLITE_METADATA"]).DataAsNumpy().tobytes()
    assert content[4:8] == b"M001"
    assert texts_of(content) == {0: b"image classifier", 1: ANY, 5: b"CC0-1.0", 7: b"1.0.0"}


@pytest.mark.parametrize("name", ["tiny.tflite", "tiny-int8-full.tflite"])
def test_litert_file_names_its_input_and_output_and_no_tensor_inside(described: Path, name: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(described / name))
    outside = interpreter.get_input_details() + interpreter.get_output_details()
    assert all(tensor["name"] for tensor in outside)
    assert {tensor["name"] for tensor in interpreter.get_tensor_details()} == {*(each["name"] for each in outside), ""}


def texts_of(content: bytes) -> dict[int, bytes]:
    """Read the texts of a FlatBuffer's root table, by the numbers of their fields in the schema of the metadata."""
    import flatbuffers
    from flatbuffers.number_types import UOffsetTFlags
    from flatbuffers.table import Table

    root = Table(content, flatbuffers.encode.Get(UOffsetTFlags.packer_type, content, 0))
    texts = {}
    for number in (0, 1, 2, 4, 5, 7):
        offset = root.Offset(4 + 2 * number)
        if offset:
            texts[number] = root.String(root.Pos + offset)
    return texts


def test_onnx_file_says_its_classes_input_and_licence(described: Path) -> None:
    import onnx

    properties = {each.key: each.value for each in onnx.load(described / "tiny.onnx").metadata_props}
    assert json.loads(properties["class_names"]) == list(METADATA.class_names)
    assert properties["license"] == "CC0-1.0"
    assert properties["input"].startswith("raw pixels from 0 to 255")


def test_operation_that_onnx_has_not_is_named(tmp_path: Path) -> None:
    pixels = keras.Input((4, 4, 1))
    x = keras.ops.erfinv(keras.layers.Flatten()(pixels) / 300)
    keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x)).save(tmp_path / "odd.keras")
    (record,) = export_model(tmp_path / "odd.keras", ["onnx"], tmp_path / "out")
    assert record.failure is not None
    assert record.failure.startswith("the conversion failed: RuntimeError: tf2onnx: Tensorflow op [")
    assert "Erfinv] is not supported" in record.failure
    assert "Traceback" in record.trace
    assert not list((tmp_path / "out").iterdir())


def test_formats_are_made_and_compared_whatever_the_folders_and_the_model_are_called(model, tmp_path: Path) -> None:
    folder = tmp_path / "[x] \\ *?%41{0}\n caf\udce9 e\u0301😀"
    folder.mkdir()
    path = Path(shutil.copy(model[1], folder / "-caf\udce9 [x]\\?.keras"))
    records = list(export_model(path, ["savedmodel", "litert", "onnx"], folder / "out:s3"))
    assert [record.failure for record in records] == [None] * 3
    assert {each.name for each in (folder / "out:s3").iterdir()} == {record.file for record in records}
    assert all(record.file.startswith(path.stem) for record in records)


@pytest.fixture(scope="module", params=[False, True])
def ensemble(request: pytest.FixtureRequest, model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The average of the network with every layer and of a plain one, whose layers have the same names.

    Once of an image alone, and once of its mirror image too.
    """
    keras.utils.set_random_seed(1)
    folder = tmp_path_factory.mktemp("ensemble")
    pixels = keras.Input((12, 12, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2d")(layers.Rescaling(1 / 80)(pixels))
    x = layers.Dense(10, activation="softmax", name="dense")(layers.Flatten(name="flatten")(x))
    keras.Model(pixels, x, name=model[0].name).save(folder / "plain.keras")
    average = average_models([model[1], folder / "plain.keras"], [0.35, 0.65], mirrored=request.param)
    average.save(folder / "ensemble.keras")
    return folder / "ensemble.keras"


def test_ensemble_of_each_converter_says_the_mean_of_its_members(model, images, ensemble: Path, tmp_path: Path) -> None:
    plain = keras.saving.load_model(ensemble.with_name("plain.keras"))
    batch = images[:50].astype(np.float32)
    operations = keras.saving.load_model(ensemble).operations
    is_mirrored = "Flip" in [type(operation).__name__ for operation in operations]
    views = [batch, batch[:, :, ::-1]] if is_mirrored else [batch]
    of_each = [0.35 * model[0].predict(view, verbose=0) + 0.65 * plain.predict(view, verbose=0) for view in views]
    mean = np.mean(of_each, axis=0)
    names = ["litert-int8-full", "onnx"] if is_mirrored else ["savedmodel", "litert", "litert-int8-full", "onnx"]
    formats = [find_format(name) for name in names]  # of each converter
    records = list(export_model(ensemble, names, tmp_path, images=images, calibration=images[:100]))
    assert [record.failure for record in records] == [None] * len(formats)
    assert {record.model for record in records} == {"ensemble.keras"}
    for record, format in zip(records, formats, strict=True):
        assert record.file == format.file_name(ensemble) and record.n_model_bytes == ensemble.stat().st_size
        seen = {"images": batch}
        exec(format.usage(str(tmp_path / record.file)), seen)
        limit = 1e-5 if format.is_exact else LARGEST_BY_FEWER_BITS[format.name]
        assert np.abs(seen["probabilities"] - mean).max() < limit, format.name
