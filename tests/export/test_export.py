"""Exports: all formats of a model with every layer, for real; and what becomes of those that fail, by a conversion that
needs no TensorFlow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.cli import EXIT_FAILURE, EXIT_USER_ERROR
from fmnist.errors import UserError
from fmnist.export.__main__ import main, read_images
from fmnist.export.export import HERE, ExportFailed, _require_parity, export_model
from fmnist.export.formats import FORMATS, ExportRecord, Format, find_format, read_formats, require_runtimes
from fmnist.model.metadata import ModelMetadata, read_metadata, write_metadata
from tests.support import fake_conversion

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[2]
NAMES = [format.name for format in FORMATS]
N_IMAGES = 300


def named(format: Format) -> str:
    return format.name


# --- for real


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    """Untrained, with all that the search space can build, an exact GELU, and random flips, which it cannot."""
    import keras
    from keras import layers

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
    records = export_model(model[1], NAMES, folder, images=images, labels=labels, n_threads=1)
    return folder, {record.format: record for record in records}


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS, ids=named)
def test_every_format_says_what_the_model_says(format: Format, model, images, labels, exported) -> None:
    folder, records = exported
    record, reference = records[format.name], model[0].predict(images, verbose=0)
    assert record.failure is None, record.trace
    assert (record.n_images, record.n_threads, record.runtime.split()[0]) == (N_IMAGES, 1, format.runtime)
    if format.is_exact:
        assert record.largest_difference < 1e-5
        assert record.n_same_class == N_IMAGES
        assert record.accuracy == np.mean(reference.argmax(axis=1) == labels)
    else:
        assert 1e-5 < record.largest_difference < 0.05
        assert record.n_same_class > 0.95 * N_IMAGES
    assert record.milliseconds_by_1 > 0 and record.milliseconds_by_256 > 0 and record.seconds > 0
    written = folder / record.file
    sizes = [path.stat().st_size for path in (written, *written.rglob("*")) if path.is_file()]
    assert record.n_bytes == sum(sizes) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS, ids=named)
def test_lines_that_show_how_a_file_is_used_use_it(format: Format, model, images, exported) -> None:
    seen = {"images": images[:7].astype(np.float32)}
    exec(format.usage(str(exported[0] / exported[1][format.name].file)), seen)
    limit = 1e-5 if format.is_exact else 0.05
    assert np.abs(seen["probabilities"] - model[0].predict(images[:7], verbose=0)).max() < limit


@pytest.mark.slow
def test_nothing_but_the_files_is_left(exported) -> None:
    assert sorted(path.name for path in exported[0].iterdir()) == sorted(
        ["tiny.keras", "tiny-savedmodel", "tiny.tflite", "tiny-int8.tflite", "tiny.onnx"]
    )


@pytest.mark.slow
def test_weights_in_8_bits_make_a_smaller_file(exported) -> None:
    assert exported[1]["litert-int8"].n_bytes < 0.5 * exported[1]["litert"].n_bytes


@pytest.mark.slow
def test_exported_keras_file_knows_its_classes_too(model, tmp_path: Path) -> None:
    path = shutil.copy(model[1], tmp_path)
    notes = ModelMetadata(tuple("abcdefghij"), (12, 12, 1), 200.0, 0.7, 90.0)
    write_metadata(Path(path), notes)
    (record,) = export_model(Path(path), ["keras"], tmp_path / "out")
    assert read_metadata(tmp_path / "out" / record.file) == notes


@pytest.mark.slow
def test_operation_that_onnx_has_not_is_named(tmp_path: Path) -> None:
    import keras

    pixels = keras.Input((4, 4, 1))
    x = keras.ops.erfinv(keras.layers.Flatten()(pixels) / 300)
    keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x)).save(tmp_path / "odd.keras")
    (record,) = export_model(tmp_path / "odd.keras", ["onnx"], tmp_path / "out")
    assert record.failure.startswith("the conversion failed: RuntimeError: tf2onnx: Tensorflow op [")
    assert "Erfinv] is not supported" in record.failure
    assert "Traceback" in record.trace
    assert not list((tmp_path / "out").iterdir())


# --- what becomes of those that fail


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The fake conversion, and the checks as they are."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    shutil.copyfile(fake_conversion.__file__, folder / "conversion.py")
    shutil.copyfile(HERE / "runtimes.py", folder / "runtimes.py")
    return folder


@pytest.fixture
def export(tmp_path: Path, scripts: Path) -> Callable[..., dict[str, ExportRecord]]:
    """Export a fake model of which the formats have these fates, into tmp_path/out."""

    def run(fates: dict[str, str], **more) -> dict[str, ExportRecord]:
        fake = tmp_path / "fake.keras"
        fake.write_text(json.dumps(fates))
        names = [name for name in fates if name in NAMES] or ["onnx"]
        records = export_model(fake, names, tmp_path / "out", scripts=scripts, **more)
        return {record.format: record for record in records}

    return run


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("wrong", r"its probabilities differ by up to 0\.\d+ from the model's, more than 0.0001"),
        ("not finite", "it gives probabilities that are not finite"),
        ("of another shape", r"it gives outputs of shape \(256, 2\) instead of \(256, 3\)"),
        ("garbage", "onnxruntime does not run it: InvalidProtobuf: .*"),
        ("raises", "the conversion failed: ValueError: no such layer"),
    ],
)
def test_file_that_is_not_the_model_is_removed_and_the_reason_said(tmp_path: Path, export, fate, reason) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fake.onnx").write_text("of an earlier export")
    record = export({"onnx": fate})["onnx"]
    with pytest.raises(ExportFailed, match=f"^{reason}$"):
        raise ExportFailed(record.failure)
    assert files_in(tmp_path / "out") == set()
    assert record.trace or fate not in ("garbage", "raises")
    assert (record.largest_difference is None) == (fate != "wrong")


def test_formats_after_one_that_fails_go_on(tmp_path: Path, export) -> None:
    records = export({"litert": "garbage", "litert-int8": "raises", "onnx": "right"})
    assert [name for name, record in records.items() if record.failure] == ["litert", "litert-int8"]
    assert "ai_edge_litert does not run it: ValueError" in records["litert"].failure
    assert files_in(tmp_path / "out") == {"fake.onnx"}
    assert records["onnx"].n_same_class == records["onnx"].n_images == 256
    assert records["onnx"].seconds > 1.5


def test_relative_paths_will_do(tmp_path: Path, export, monkeypatch: pytest.MonkeyPatch) -> None:
    export({"onnx": "right"})  # which makes the fake model and its scripts
    monkeypatch.chdir(tmp_path)
    (fake,) = (path.relative_to(tmp_path) for path in tmp_path.rglob("fake.keras"))
    scripts = next(tmp_path.rglob("conversion.py")).parent
    (record,) = export_model(fake, ["onnx"], Path("relative"), scripts=scripts)
    assert record.failure is None
    assert Path("relative/fake.onnx").exists()


def test_formats_after_one_that_kills_the_conversion_go_on(tmp_path: Path, export) -> None:
    records = export({"litert": "dies", "onnx": "right"})
    assert records["litert"].failure == "the conversion failed: its process ended with exit code 9"
    assert records["onnx"].failure is None
    assert files_in(tmp_path / "out") == {"fake.onnx"}


def test_conversion_that_hangs_is_ended(tmp_path: Path, export) -> None:
    record = export({"onnx": "hangs"}, longest_seconds=1.5)["onnx"]
    assert record.failure == "the conversion failed: its process was ended after 2 s without a result"
    assert files_in(tmp_path / "out") == set()


def test_stop_ends_the_process_and_leaves_nothing(tmp_path: Path, export) -> None:
    class Stopped(Exception):
        pass

    started = time.monotonic()

    def check_cancelled() -> None:
        if time.monotonic() - started > 1:
            raise Stopped

    with pytest.raises(Stopped):
        export({"onnx": "hangs"}, check_cancelled=check_cancelled)
    assert time.monotonic() - started < 30
    assert files_in(tmp_path / "out") == set()


def test_conversion_that_dies_before_it_begins_is_a_bug_with_what_it_said(export) -> None:
    with pytest.raises(RuntimeError, match=r"ended with exit code 1:\nno memory"):
        export({"dies": "at once"})


def test_model_that_cannot_be_exported_is_the_users_to_mend(tmp_path: Path, export) -> None:
    with pytest.raises(UserError, match="must load with plain Keras"):
        export({"unusable": "x.keras must load with plain Keras, but: no"})
    assert files_in(tmp_path / "out") == set()


def test_folder_takes_the_place_of_an_earlier_one(tmp_path: Path, export) -> None:
    earlier = tmp_path / "out" / "fake.onnx"
    earlier.mkdir(parents=True)
    (earlier / "stale").write_text("of an earlier export")
    assert export({"onnx": "right"})["onnx"].failure is None
    assert earlier.is_file()


# --- limits


def probabilities(lead: float, n: int = 200) -> np.ndarray:
    """float32 (n, 3); class 0 leads class 1 by so much."""
    return np.tile(np.array([0.45 + lead / 2, 0.45 - lead / 2, 0.1], np.float32), (n, 1))


def turned(reference: np.ndarray, n: int) -> np.ndarray:
    """The same with classes 0 and 1 exchanged in the first n."""
    changed = reference.copy()
    changed[:n, :2] = changed[:n, 1::-1]
    return changed


INT8 = find_format("litert-int8")


@pytest.mark.parametrize(("lead", "n_turned"), [(0.3, 0), (0.3, 2), (0.09, 200)])
def test_weights_in_8_bits_may_change_a_hundredth_and_what_was_undecided(lead: float, n_turned: int) -> None:
    reference = probabilities(lead)
    _require_parity(INT8, reference, turned(reference, n_turned))


def test_weights_in_8_bits_may_not_change_more() -> None:
    reference = probabilities(0.3)
    reason = "on 1.5% of the images, more than 1%, it changes a class that led by more than 0.1"
    with pytest.raises(ExportFailed, match=reason):
        _require_parity(INT8, reference, turned(reference, 3))


def test_float32_may_change_the_class_of_a_tie_only() -> None:
    onnx, tie, lead = find_format("onnx"), probabilities(0.00005), probabilities(0.001)
    _require_parity(onnx, tie, turned(tie, 200))
    with pytest.raises(ExportFailed, match=r"differ by up to 0\.001 from the model's"):
        _require_parity(onnx, lead, turned(lead, 1))


# --- formats and runtimes


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["onnx"], ["onnx"]),
        (["onnx, litert", "keras"], ["keras", "litert", "onnx"]),
        (["onnx", "onnx"], ["onnx"]),
        (["litert,all"], NAMES),
        ([], []),
    ],
    ids=str,
)
def test_formats_come_in_one_order_however_they_are_asked_for(words: list[str], names: list[str]) -> None:
    assert list(read_formats(words, "--format")) == names


def test_all_runtimes_are_installed_where_the_tests_run() -> None:
    require_runtimes(NAMES, "--format")


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            ["onnxruntime"],
            "--export onnx needs onnxruntime, which is not installed; run pip install 'fmnist-search[onnx]'",
        ),
        (["tf2onnx", "onnx"], "--export onnx needs onnx, tf2onnx, which .* 'fmnist-search[onnx]'"),
        (["ai_edge_litert"], "--export litert,litert-int8 needs ai_edge_litert, which .* 'fmnist-search[litert]'"),
        (
            ["onnx", "ai_edge_litert"],
            "--export litert,litert-int8,onnx needs ai_edge_litert, onnx, .* 'fmnist-search[litert,onnx]'",
        ),
    ],
)
def test_runtime_that_is_not_installed_is_named_with_its_extra(monkeypatch, modules, message) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        require_runtimes(NAMES, "--export")


# --- command line


@pytest.fixture
def command(tmp_path: Path, scripts: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run it on a fake model, whose formats have these fates: exit code, standard output and error."""

    def run(*words: object, fates: dict[str, str] | None = None) -> tuple[int, str, str]:
        (tmp_path / "fake.keras").write_text(json.dumps(fates or {"onnx": "right", "litert": "garbage"}))
        code = main([*map(str, words), "--out", str(tmp_path / "out")], scripts=scripts)
        return code, *capsys.readouterr()

    return run


def test_command_shows_a_table_that_fits_80_columns(tmp_path: Path, command) -> None:
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).integers(0, 256, (60, 4, 4)), y=np.zeros(60, int))
    code, said, errors = command(tmp_path / "fake.keras", "--format", "onnx", "--images", tmp_path / "mine.npz")
    assert (code, errors) == (0, "")
    head, row, *rest = said.splitlines()
    assert max(len(head), len(row)) <= 80
    assert " ".join(head.split()) == "format size differs by same class accuracy 1 image of 256"
    assert row.split()[0] == "onnx" and "100.00%" in row
    assert rest[0] == f"onnx: {tmp_path / 'out' / 'fake.onnx'}"
    assert rest[1] == f"compared with {tmp_path / 'fake.keras'} on 60 images"


def test_command_says_that_noise_was_made_up_what_failed_and_exits_with_1(tmp_path: Path, command) -> None:
    code, said, errors = command(tmp_path / "fake.keras", "--format", "onnx", "--format", "litert")
    assert (code, errors) == (EXIT_FAILURE, "")
    assert "on 256 made-up images (noise, always the same" in said
    assert "\nlitert: failed: ai_edge_litert does not run it: ValueError" in said
    assert files_in(tmp_path / "out") == {"fake.onnx"}


def arrays(**named: object) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **named)


PIXELS = np.full((5, 4, 4), 200, np.uint8)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "--images must be an .npz file of arrays, but .*images.npz: .*No such file"),
        (lambda path: path.write_text("text"), "--images must be an .npz file of arrays"),
        (arrays(pixels=PIXELS), "x of .*images.npz must be images, .* but it has no x"),
        (arrays(x=PIXELS[0]), r"x of .* must be images, .* but x is uint8 of shape \(4, 4\)"),
        (arrays(x=PIXELS[:0]), r"x of .* must be images, .* but x is uint8 of shape \(0, 4, 4\)"),
        (arrays(x=PIXELS / 255), "must be raw pixels from 0 to 255, as the model takes them, but goes from 0.78"),
        (arrays(x=PIXELS - 250.0), "must be raw pixels from 0 to 255, .* but goes from -50 to -50"),
        (arrays(x=PIXELS * np.nan), "must be raw pixels from 0 to 255, .* but goes from nan to nan"),
        (
            arrays(x=PIXELS, y=np.zeros(4, int)),
            r"y of .* must be 5 whole numbers, one for each image, but is int64 \(4,\)",
        ),
        (arrays(x=PIXELS, y=np.zeros((5, 3))), "y of .* must be 5 whole numbers"),
        (arrays(x=np.array([object()])), "--images must be an .npz file of arrays"),
    ],
)
def test_images_that_cannot_be_used_are_named(tmp_path: Path, write, message) -> None:
    write(tmp_path / "images.npz")
    with pytest.raises(UserError, match=message):
        read_images(tmp_path / "images.npz")


def test_images_without_channels_are_grey(tmp_path: Path) -> None:
    np.savez(tmp_path / "grey.npz", x=PIXELS)
    x, y = read_images(tmp_path / "grey.npz")
    assert x.shape == (5, 4, 4, 1) and y is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: MODEL, --format; see python -m fmnist.export --help"),
        (["{folder}/fake.keras"], "the following arguments are required: --format"),
        (["{folder}/none.keras", "--format", "onnx"], "MODEL must be a .keras file, .* but got .*none.keras"),
        (["{folder}", "--format", "onnx"], "MODEL must be a .keras file"),
        (["{folder}/fake.keras", "--format", "coreml"], "--format must be all or some of keras, .*, but got 'coreml'"),
        (["{folder}/fake.keras", "--format", "onnx,"], "--format must be all or some of .*, but got ''"),
        (["{folder}/fake.keras", "--format", "onnx", "--images", "no.npz"], "--images must be an .npz file of arrays"),
        (
            ["{folder}/fake.keras", "--format", "keras", "--out", "{folder}"],
            "would take the place of .*fake.keras itself",
        ),
        (["{folder}/fake.keras", "--format", "onnx", "--out", "{folder}/fake.keras"], "--out must be a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, capsys, words, message) -> None:
    (tmp_path / "fake.keras").write_text("{}")
    code = main([word.format(folder=tmp_path) for word in words])
    said, errors = capsys.readouterr()
    assert (code, said, errors.count("\n")) == (EXIT_USER_ERROR, "", 1), errors
    with pytest.raises(UserError, match=f"^error: .*{message}"):
        raise UserError(errors)
    assert files_in(tmp_path) == {"fake.keras"}


def test_missing_runtime_is_one_line_before_anything_is_made(tmp_path: Path, command, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, said, errors = command(tmp_path / "fake.keras", "--format", "all")
    assert (code, said, errors.count("\n")) == (EXIT_USER_ERROR, "", 1)
    assert errors.startswith("error: --format onnx needs onnxruntime, which is not installed; run pip install")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_keras_file_that_is_none_is_one_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "broken.keras").write_text("not a model")
    code = main([str(tmp_path / "broken.keras"), "--format", "litert", "--out", str(tmp_path / "out")])
    _, errors = capsys.readouterr()
    assert (code, errors.count("\n")) == (EXIT_USER_ERROR, 1), errors
    assert "broken.keras must load with plain Keras, but: " in errors
    assert files_in(tmp_path / "out") == set()


def test_importing_the_module_and_its_help_load_no_keras() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "fmnist.export", "--help"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    loaded = {line.rpartition("|")[2].strip() for line in child.stderr.splitlines() if line.startswith("import time:")}
    assert child.returncode == 0 and "--format" in child.stdout
    assert not {"keras", "tensorflow", "onnx", "onnxruntime", "ai_edge_litert"} & loaded
