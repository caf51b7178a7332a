"""What a benchmark was run on: versions and machine. Loads no library to name it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import psutil

from search import __version__
from search.system.machine import default_workers, has_gpu

PACKAGES = ("tensorflow", "keras", "optuna", "keras-tuner", "numpy")


def describe() -> dict[str, Any]:
    """{"versions": ..., "machine": ...}, plain. The load is what else ran when this was asked, in busy cores."""
    return {
        "versions": {
            "fmnist-search": __version__,
            "python": platform.python_version(),
            **{package: _version(package) for package in PACKAGES},
        },
        "machine": {
            "system": f"{platform.system()}-{platform.machine()}",
            "processor": _processor(),
            "cores": default_workers(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "gpu": has_gpu(),
            "load_at_start": round(os.getloadavg()[0], 2),
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    path = Path("/proc/cpuinfo")  # where it is missing, as on macOS, Python knows the name itself
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
