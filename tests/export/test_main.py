"""The command line of exports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.cli import EXIT_FAILURE, EXIT_USER_ERROR
from fmnist.errors import UserError
from fmnist.export.__main__ import main
from tests.support.fake_conversion import write_fates

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def command(tmp_path: Path, scripts: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run it on a fake model, whose formats have these fates: exit code, standard output and error."""

    def run(*words: object, fates: dict[str, str] | None = None) -> tuple[int, str, str]:
        write_fates(tmp_path / "fake.keras", fates or {"onnx": "right", "litert": "garbage"})
        code = main([*map(str, words), "--out", str(tmp_path / "out")], scripts=scripts)
        return code, *capsys.readouterr()

    return run


def test_command_shows_a_table_that_fits_80_columns(tmp_path: Path, command) -> None:
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).integers(0, 256, (60, 4, 4)), y=np.zeros(60, int))
    code, said, errors = command(tmp_path / "fake.keras", "--format", "onnx", "--images", tmp_path / "mine.npz")
    assert (code, errors) == (0, "")
    head, row, *rest = said.splitlines()
    assert max(len(head), len(row)) <= 80
    assert " ".join(head.split()) == "format size differs same class accuracy 1 image of 256"
    assert row.split()[0] == "onnx" and "100.00%" in row
    assert rest[0] == f"onnx: {tmp_path / 'out' / 'fake.onnx'}"
    assert rest[1] == f"compared with {tmp_path / 'fake.keras'} on 60 images"


def test_command_says_that_noise_was_made_up_what_failed_and_exits_with_1(tmp_path: Path, command) -> None:
    code, said, errors = command(tmp_path / "fake.keras", "--format", "onnx", "--format", "litert")
    assert (code, errors) == (EXIT_FAILURE, "")
    assert "on 256 made-up images (noise, always the same" in said
    assert "\nlitert: failed: ai_edge_litert does not run it: ValueError" in said
    assert files_in(tmp_path / "out") == {"fake.onnx"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: MODEL; see python -m fmnist.export --help"),
        (["{folder}/fake.keras"], "--format or --publish must say what to make of the model, but got neither"),
        (["{folder}/fake.keras", "--publish", "{folder}/hub"], "must have its model card beside it, but .* is missing"),
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


def test_model_whose_exports_would_have_too_long_names_is_refused_and_fits_with_a_shorter_one(
    tmp_path: Path, command
) -> None:
    long, shorter = tmp_path / f"{'x' * 249}.keras", tmp_path / f"{'x' * 243}.keras"
    for path in (long, shorter):
        write_fates(path, {"litert-int8": "raises"})
    code, _, errors = command(long, "--format", "litert-int8")
    assert code == EXIT_USER_ERROR
    assert "255 bytes at most" in errors and "give the model a shorter name" in errors
    assert not (tmp_path / "out").exists()
    code, said, errors = command(shorter, "--format", "litert-int8")
    assert (code, errors) == (EXIT_FAILURE, "") and "no such layer" in said
