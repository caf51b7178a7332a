"""What a process that computes gets of the one that starts it, and what it does not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fmnist.environment import NOWHERE, clean_environment, python_command, take_clean_environment
from fmnist.errors import UserError


@pytest.mark.parametrize(
    "name",
    [
        "TF_DETERMINISTIC_OPS",
        "TF_XLA_FLAGS",
        "TF_USE_LEGACY_KERAS",
        "TF_NUM_INTRAOP_THREADS",
        "KERAS_MAX_EPOCHS",
        "KERAS_NNX_ENABLED",
        "OMP_NUM_THREADS",
        "KMP_BLOCKTIME",
        "MKL_NUM_THREADS",
        "OPENBLAS_CORETYPE",
        "DNNL_MAX_CPU_ISA",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "NPY_DISABLE_CPU_FEATURES",
        "SCIPY_ARRAY_API",
        "SKLEARN_ASSUME_FINITE",
        "NVIDIA_TF32_OVERRIDE",
    ],
)
def test_what_changes_how_libraries_compute_is_left_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert name not in clean_environment()


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "PATH", "LD_LIBRARY_PATH", "HOME", "TF_CPP_MIN_LOG_LEVEL"])
def test_what_tells_of_the_machine_or_of_logging_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "3")
    assert clean_environment()[name] == "3"


def test_own_settings_win_and_keras_finds_no_file_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KERAS_BACKEND", "KERAS_HOME", "TF_ENABLE_ONEDNN_OPTS"):
        monkeypatch.setenv(name, "0")
    environment = clean_environment({"X": "y"})
    assert environment["KERAS_BACKEND"] == "tensorflow"
    assert environment["KERAS_HOME"] == NOWHERE and not os.path.exists(NOWHERE)
    assert environment.get("TF_ENABLE_ONEDNN_OPTS") != "0"
    assert environment["X"] == "y"


def test_xla_is_told_where_cuda_is_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true --xla_gpu_cuda_data_dir=/opt/cuda")
    assert clean_environment()["XLA_FLAGS"] == "--xla_gpu_cuda_data_dir=/opt/cuda"
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert "XLA_FLAGS" not in clean_environment()


def test_a_command_takes_the_clean_environment_for_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"OMP_NUM_THREADS": "7", "HOME": "/people/me"}
    monkeypatch.setattr(os, "environ", environ)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    take_clean_environment()
    assert "OMP_NUM_THREADS" not in environ
    assert (environ["HOME"], environ["KERAS_BACKEND"]) == ("/people/me", "tensorflow")


@pytest.mark.parametrize(("name", "value"), [("frozen", True), ("executable", ""), ("executable", None)])
def test_program_without_an_interpreter_is_told_so(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, name, value, raising=False)
    with pytest.raises(UserError, match=r"processes of a Python interpreter, but .* frozen or embedded.*; run it by"):
        python_command(Path("script.py"))
    monkeypatch.undo()  # as the remedy has it
    assert python_command(Path("script.py"))[0] == sys.executable
