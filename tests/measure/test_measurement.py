"""What is measured of a model file, here and by a command."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.measure.__main__ import main
from fmnist.measure.measurement import measure
from tests.support.fake_conversion import WEIGHTS, write_onnx

pytestmark = pytest.mark.process

PYTHON = shlex.quote(sys.executable)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file that takes images of 4 x 4 pixels."""
    path = tmp_path_factory.mktemp("measured") / "small.onnx"
    write_onnx(path, WEIGHTS)
    return path


def test_file_is_measured_on_noise_of_its_size(model: Path) -> None:
    found = measure(model)
    assert (found.file, found.n_bytes, found.n_threads) == ("small.onnx", model.stat().st_size, 1)
    assert found.runtime.startswith("onnxruntime ") and found.processor
    assert 0 < found.milliseconds_by_1 <= found.p95_milliseconds_by_1
    assert 0 < found.milliseconds_by_256 <= found.p95_milliseconds_by_256
    assert found.n_calls_by_1 >= 100 and found.n_calls_by_256 >= 20
    assert 0 < found.runtime_bytes < found.peak_bytes
    assert found.unaccelerated is None  # ONNX Runtime does not tell


def test_command_measures_where_it_reaches_and_leaves_nothing_there(model: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"  # the other machine's folder for temporary files
    there.mkdir()
    words = ["env", f"TMPDIR={there}", "sh", "-c", f'echo Welcome!; echo "{{}}"; {PYTHON} -; echo Goodbye.']
    found = measure(model, on=words)
    assert found.milliseconds_by_1 > 0
    assert list(there.iterdir()) == []
    assert measure(model, on=shlex.join(words), n_threads=2).n_threads == 2


def test_file_of_megabytes_is_measured_by_a_command_that_is_slow_to_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    write_onnx(path, np.tile(WEIGHTS, (1, 10_000)))
    assert path.stat().st_size > 1_500_000  # much more than a pipe holds
    found = measure(path, on=["sh", "-c", f"sleep 1; {PYTHON} -"])
    assert found.n_bytes == path.stat().st_size


def test_other_machine_needs_none_of_the_project(model: Path, tmp_path: Path) -> None:
    """The program runs where neither the project nor the model file is: from another folder, without this path."""
    command = f"cd {shlex.quote(str(tmp_path))} && env -u PYTHONPATH {PYTHON} -c {shlex.quote(BARE)}"
    assert measure(model, on=["sh", "-c", command]).milliseconds_by_1 > 0


BARE = """
import sys
sys.modules.update(dict.fromkeys(("fmnist", "search", "pydantic", "keras", "tensorflow", "ai_edge_litert")))
exec(sys.stdin.read())
"""


@pytest.mark.parametrize(
    ("on", "message"),
    [
        (
            "sh -c 'echo no such host >&2; exit 255'",
            r"got .*: exit code 255, no such host; pass one such as \"ssh HOST",
        ),
        ("true", "got 'true': exit code 0, it printed no measurement; pass one"),
        ("no-such-command -", "got 'no-such-command -': No such file or directory; pass one"),
        ("ssh 'pi", 'got "ssh \'pi": no closing quotation; pass one'),
        ("", "got '': it is empty; pass one"),
        ([], "it is empty"),
    ],
    ids=str,
)
def test_command_that_measures_nothing_is_said_with_one_that_would(model: Path, on, message: str) -> None:
    with pytest.raises(UserError, match="--on must be a command that runs the Python program .*" + message) as caught:
        measure(model, on=on)
    assert "\n" not in str(caught.value)


def test_runtime_that_is_missing_there_is_named(model: Path) -> None:
    found = {"error": "ModuleNotFoundError: No module named 'onnxruntime'"}
    command = [sys.executable, "-c", f"print({json.dumps(found)!r}); raise SystemExit(1)"]
    with pytest.raises(
        UserError, match=r"small\.onnx must run by onnxruntime, but: ModuleNotFound.*pip install onnxruntime"
    ):
        measure(model, on=command)


def test_file_that_its_runtime_cannot_run_is_said(tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"no model")
    with pytest.raises(
        UserError, match=r"broken\.tflite must run by ai-edge-litert, but: ValueError: .*; export it anew"
    ):
        measure(path)


@pytest.mark.parametrize("name", ["best-savedmodel", "best.h5", "folder.onnx"])
def test_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UserError, match=r"must end in \.tflite, \.onnx, \.keras, but got .*; export the model by"):
        measure(tmp_path / name)


def test_command_line_shows_a_table_that_fits_80_columns(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(model), str(model)]) == 0
    head, first, second, *rest = capsys.readouterr().out.splitlines()
    assert " ".join(head.split()) == "file size 1 image 95 % within of 256 memory"
    assert max(map(len, (head, first, second))) <= 80
    assert first.split()[0] == second.split()[0] == "small.onnx"
    assert rest[0].startswith("times: milliseconds an image") and "on 1 thread of " in rest[0]


def test_json_has_every_figure(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(model), "--json", "--threads", "2", "--on", f"{PYTHON} -"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found.keys() == {field.name for field in dataclasses.fields(measure(model))}
    assert found["n_threads"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.onnx"], "none.onnx must be readable, but: No such file or directory; check the file"),
        (["small.txt"], "a file to measure must end in"),
        (["small.onnx", "--on", "a 'b"], "--on must be a command that runs the Python program"),
        (["small.onnx", "--threads", "0"], "--threads must be .*at least 1"),
        ([], "the following arguments are required: FILE"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_said_in_one_line(model: Path, words, message, monkeypatch, capsys) -> None:
    monkeypatch.chdir(model.parent)
    assert main(words) == 2
    said, errors = capsys.readouterr()
    assert (said, errors.count("\n")) == ("", 1)
    with pytest.raises(UserError, match=message):
        raise UserError(errors)


def test_variables_by_which_libraries_compute_otherwise_do_not_reach_the_measurement(model: Path, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seen = "import os, sys; assert 'OMP_NUM_THREADS' not in os.environ; exec(sys.stdin.read())"
    assert measure(model, on=[sys.executable, "-c", seen]).milliseconds_by_1 > 0


def test_command_that_hangs_is_ended_when_the_caller_wants_no_more(model: Path) -> None:
    class Enough(Exception):
        pass

    started = time.monotonic()

    def check_cancelled() -> None:
        if time.monotonic() - started > 1:
            raise Enough

    with pytest.raises(Enough):
        measure(model, on="sleep 600", check_cancelled=check_cancelled)
    assert time.monotonic() - started < 30


def test_measurement_that_is_cancelled_leaves_no_folder(model: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def check_cancelled() -> None:
        if list(tmp_path.glob("*/model.onnx")):
            raise Enough

    with pytest.raises(Enough):
        measure(model, on=["env", f"TMPDIR={tmp_path}", sys.executable, "-"], check_cancelled=check_cancelled)
    assert list(tmp_path.iterdir()) == []
