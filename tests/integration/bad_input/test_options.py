"""Options that cannot be used: one line on standard error, exit code 2, no study begun."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.messages import assert_says


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--trials", "0"], ["--trials must be at least 1", "got 0"]),
        (["--trials", "-5"], ["--trials must be at least 1", "got -5"]),
        (["--trials", "abc"], ["--trials", "invalid int value: 'abc'", "--help"]),
        (["--trials", "1.5"], ["--trials", "invalid int value: '1.5'", "--help"]),
        (["--trials", "1\n2"], ["--trials", "invalid int value", "--help"]),
        (["--trials"], ["--trials", "expected one argument", "--help"]),
        (["--workers", "0"], ["--workers must be between 1 and", "got 0"]),
        (["--refit-seeds", "0"], ["--refit-seeds must be between 1 and", "got 0"]),
        (["--timeout", "0"], ["--timeout must be a positive number of seconds", "got 0"]),
        (["--timeout", "-1"], ["--timeout must be a positive number of seconds", "got -1"]),
        (["--timeout", "nan"], ["--timeout must be a positive number of seconds", "got nan"]),
        (["--timeout", "inf"], ["--timeout must be a positive number of seconds", "got inf"]),
        (["--timeout", "1h"], ["--timeout", "invalid float value: '1h'", "--help"]),
        (["--seed", "-1"], ["--seed must be between 0 and", "got -1"]),
        (["--seed", str(2**32)], ["--seed must be between 0 and", "got 4294967296"]),
        (["--max-parameters", "0"], ["--max-parameters must be at least 1", "got 0"]),
        (["--memory-limit", "0"], ["--memory-limit must be at least 1", "got 0"]),
        (["--sampler", "gp"], ["--sampler", "'gp'", "tpe", "--help"]),
        (["--pruner", "hyperband"], ["--pruner", "'hyperband'", "asha", "--help"]),
        (["--image-size", "1000"], ["--image-size must be between 8 and 128 pixels", "got 1000"]),
        (
            ["--image-size", "32"],
            ["are for images of your own", "got 'fashion-mnist'", "leave them out"],
        ),
        (["--colour", "green"], ["--colour", "'green'", "grey", "--help"]),
        (
            ["--flip"],
            ["--flip is for the default space", "fashion-mnist.toml", "flip = true", "--space"],
        ),
        (["--precision", "half"], ["--precision", "'half'", "bfloat16", "--help"]),
        (["--export", "coreml"], ["--export must be all or some of keras, ", "onnx", "got 'coreml'"]),
        (["--export", "onnx,"], ["--export must be all or some of", "got ''"]),
        (["--export"], ["--export", "expected one argument", "--help"]),
        (["--study", "a/b"], ["study's name must be", "got 'a/b'", "--study"]),
        (["--study", ""], ["study's name must be", "got ''", "--study"]),
        (["--study", "../up"], ["study's name must be", "got '../up'", "--study"]),
        (["--study", "my shoes"], ["study's name must be", "choose one with --study, such as my-shoes"]),
        (["--dataset", "my shoes"], ["the dataset must be", "got 'my shoes'", "--dataset"]),
        (["--trails", "5"], ["unrecognized arguments: --trails 5", "--help"]),
        (["--tri", "5"], ["unrecognized arguments: --tri 5", "--help"]),
        (["--odd\nline"], [r"unrecognized arguments: --odd\nline", "--help"]),
        (["stray"], ["unrecognized arguments: stray", "--help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_option_that_cannot_be_used(
    refused: Callable[..., str], studies: Path, options: list[str], parts: list[str]
) -> None:
    assert_says(refused(*options), *parts)
    assert not studies.exists()


def test_export_whose_runtime_is_not_installed(
    refused: Callable[..., str], studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert_says(
        refused("--dataset", "digits", "--export", "all"),
        "--export onnx,onnx-int8 needs onnxruntime",
        "not installed",
        "'fmnist-search[onnx]'",
    )
    assert not studies.exists()
