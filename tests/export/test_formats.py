from __future__ import annotations

import sys

import pytest

from fmnist.errors import UserError
from fmnist.export.formats import FORMATS, read_formats, require_calibration, require_runtimes

NAMES = [format.name for format in FORMATS]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["onnx"], ["onnx"]),
        (["onnx, litert", "keras"], ["keras", "litert", "onnx"]),
        (["onnx", "onnx"], ["onnx"]),
        (["litert,all"], NAMES),
        (["onnx-int8", "litert-int8-full"], ["litert-int8-full", "onnx-int8"]),
        ([], []),
    ],
    ids=str,
)
def test_formats_come_in_one_order_however_they_are_asked_for(words: list[str], names: list[str]) -> None:
    assert list(read_formats(words, "--format")) == names


def test_all_leaves_out_what_cannot_be_calibrated_and_a_name_does_not() -> None:
    calibrated = ["litert-int8-full", "onnx-int8"]
    made = read_formats(["all"], "--format", is_calibrated=False)
    assert list(made) == [name for name in NAMES if name not in calibrated]
    assert "onnx-int8" in read_formats(["all", "onnx-int8"], "--format", is_calibrated=False)


def test_format_that_lacks_images_to_be_calibrated_on_says_where_to_pass_them() -> None:
    require_calibration(["onnx", "litert-int8"], "pass x")
    with pytest.raises(UserError, match=r"onnx-int8 needs training images .* but got none; pass --calibrate FILE\.npz"):
        require_calibration(["onnx", "onnx-int8"], "pass --calibrate FILE.npz")


def test_all_runtimes_are_installed_where_the_tests_run() -> None:
    require_runtimes(NAMES, "--format")


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            ["onnxruntime"],
            "--export onnx,onnx-int8 needs onnxruntime, which is not installed; run pip install 'fmnist-search[onnx]'",
        ),
        (["tf2onnx", "onnx"], "--export onnx,onnx-int8 needs onnx, tf2onnx, which .* 'fmnist-search[onnx]'"),
        (
            ["ai_edge_litert"],
            "--export litert,litert-int8,litert-int8-full needs ai_edge_litert, which .* 'fmnist-search[litert]'",
        ),
        (
            ["onnx", "ai_edge_litert"],
            "--export litert,.*,onnx,onnx-int8 needs ai_edge_litert, onnx, .* 'fmnist-search[litert,onnx]'",
        ),
    ],
)
def test_runtime_that_is_not_installed_is_named_with_its_extra(monkeypatch, modules, message) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        require_runtimes(NAMES, "--export")
