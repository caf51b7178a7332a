"""What a refused measurement says is done, and the file is measured."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from fmnist.export.__main__ import parse as parse_export
from fmnist.measure.measurement import measure
from tests.support.fake_conversion import WEIGHTS, write_onnx
from tests.support.remedies import needs_remedy

pytestmark = pytest.mark.process


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_onnx(tmp_path / "small.onnx", WEIGHTS)
    return tmp_path / "small.onnx"


def test_file_is_one_that_a_runtime_loads(model: Path, tmp_path: Path) -> None:
    with needs_remedy("a file to measure must end in {}, but got {}; export the model by"):
        measure(tmp_path)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_text("no model")
    with needs_remedy("{} must run by {}, but: {}; export it anew, or run pip install {} where it is measured"):
        measure(damaged)
    assert measure(model).milliseconds_by_1 > 0


def test_command_runs_the_program_on_its_standard_input(model: Path) -> None:
    with needs_remedy('{}: {}; pass one such as "ssh HOST python3 -"'):
        measure(model, on=[sys.executable, "-c", "print('Welcome')"])
    assert measure(model, on=[sys.executable, "-"]).milliseconds_by_1 > 0


def test_formats_in_8_bits_are_given_training_images(tmp_path: Path) -> None:
    (tmp_path / "best.keras").touch()
    words = [str(tmp_path / "best.keras"), "--format", "onnx-int8", "--out", str(tmp_path)]
    with needs_remedy(
        "{} needs training images that show it the ranges of what the network computes, but got none; {}"
    ):
        parse_export(words)
    np.savez(tmp_path / "train.npz", x=np.full((5, 4, 4), 200))
    assert parse_export([*words, "--calibrate", str(tmp_path / "train.npz")]).names == ("onnx-int8",)
