"""How is a Python process started that computes what it computes anywhere, whoever starts it?

It gets this interpreter and these installed packages, and nothing else of the process that starts it: no variable by
which Keras, TensorFlow, NumPy or OpenMP would compute otherwise, no file of Keras' settings, no folder that hides
installed modules, and no main module. Which processors and GPUs there are stays as it is.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fmnist import launch
from fmnist.errors import UserError

# What changes how the libraries compute, or that they compute at all, by the beginning of its name.
SETTINGS = (
    *("TF_", "XLA_", "KERAS_", "AUTOGRAPH_", "ABSL_"),
    *("DNNL_", "ONEDNN_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_"),
    *("NPY_", "NUMPY_", "SCIPY_", "SKLEARN_", "JOBLIB_", "LOKY_", "NUMEXPR_"),
    *("NVIDIA_TF32_", "CUBLAS_", "CUDNN_"),
)
KEPT = ("TF_CPP_", "TF_GPU_ALLOCATOR", "TF_FORCE_GPU_ALLOW_GROWTH")  # what is logged, and who gets a GPU's memory
CUDA_FOLDER = "--xla_gpu_cuda_data_dir="  # of XLA_FLAGS: where this machine has its CUDA
NOWHERE = os.path.join(os.devnull, "keras")  # cannot exist, so Keras finds no settings there and leaves none


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without settings of the libraries that compute, and with this project's own.

    Args:
        more: Further variables; they win.
    """
    environment = {}
    for name, value in os.environ.items():
        if name.startswith(KEPT) or not name.startswith(SETTINGS):
            environment[name] = value
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag.startswith(CUDA_FOLDER)]
    if flags:
        environment["XLA_FLAGS"] = " ".join(flags)
    return {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        **environment,
        **own_settings(),
        **(more or {}),
    }


def take_clean_environment() -> None:
    """Make this process's environment a clean one, before it loads Keras: for commands, whose process is their own.

    Keras loads in less time then, too, see `fmnist.launch`.
    """
    clean = clean_environment()
    for name in os.environ.keys() - clean.keys():
        del os.environ[name]
    os.environ.update(clean)
    launch.hide_from_keras()


def own_settings() -> dict[str, str]:
    """Return the variables by which all processes of this project that load Keras compute."""
    settings = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": NOWHERE}
    if platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow leaves oneDNN off on processors without AVX-512, where networks learned 1.7 to 2.1 times the images
        # with it (three networks, one probe each, AVX2).
        settings["TF_ENABLE_ONEDNN_OPTS"] = "1"
    return settings


def python_command(target: str | Path, *arguments: str) -> list[str]:
    """Return the command that runs a module or script by this interpreter, as isolated as this module's docstring says.

    Args:
        target: A module of this project, whose `main()` is run; it and `fmnist` are those that this process has
            loaded. Or the path of a script, which is not given them.
        *arguments: What it finds in `sys.argv`.

    Raises:
        UserError: This process has no interpreter that it could start.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        raise UserError(
            "training needs processes of a Python interpreter, but this program is frozen or embedded and has none "
            "(sys.executable); run it by Python"
        )
    packages = {}
    if isinstance(target, str):
        for name in {"fmnist", target.partition(".")[0]}:
            packages[name] = os.path.dirname(os.path.abspath(sys.modules[name].__file__ or ""))
    place = {"path": absolute_path_entries(), "packages": packages}
    isolated = [sys.executable, "-I", "-X", f"utf8={sys.flags.utf8_mode}"]
    return [*isolated, os.path.abspath(launch.__file__), json.dumps(place), str(target), *arguments]


def absolute_path_entries() -> list[str]:
    """Return where this process looks for modules, as absolute paths."""
    entries = []
    for entry in sys.path:
        if isinstance(entry, str):  # whatever else is there is ignored by Python, too
            with suppress(FileNotFoundError):  # relative to a current folder that has been deleted
                entries.append(os.path.abspath(entry))
    return entries


def command_words(on: str | Sequence[str] | None) -> list[str]:
    """Return the words of the command that runs a Python program given on its standard input.

    Args:
        on: The command, as one text or as its words; None: this interpreter.

    Raises:
        UserError: There are no words, or a quotation mark is missing.
    """
    if on is None:
        return [sys.executable, "-"]
    try:
        words = shlex.split(on) if isinstance(on, str) else [str(word) for word in on]
    except ValueError as error:  # a quotation mark is missing
        raise unusable_command(str(on), str(error).lower()) from error
    if not words:
        raise unusable_command("", "it is empty")
    return words


def unusable_command(command: str, reason: str) -> UserError:
    """Build the error to raise where a command does not run the program on its standard input; reason: what it did."""
    return UserError(
        f"--on must be a command that runs the Python program on its standard input, but got {command!r}: {reason}; "
        'pass one such as "ssh HOST python3 -"'
    )
