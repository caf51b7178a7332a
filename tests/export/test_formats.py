from __future__ import annotations

import sys

import pytest

from fmnist.errors import UserError
from fmnist.export.formats import FORMATS, read_formats, require_runtimes

NAMES = [format.name for format in FORMATS]


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
