"""What a node is asked before anything runs there. Sent by value: a node that lacks the tool can answer, too.

So it imports nothing of this project but within the function, where its absence is an answer.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
from typing import Any

PACKAGES = ("fmnist-search", "tensorflow", "keras", "numpy")  # whose versions must be the supervisor's


def describe_node() -> dict[str, Any]:
    """Return the versions of a node, its processor, and how Ray lets others in."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "none"
    versions["code"] = _digest_of_code()
    described = {
        "versions": versions,
        "processor": _processor(),
        "asks_for_token": os.environ.get("RAY_AUTH_MODE") == "token",
    }
    try:
        from fmnist.training.precision import has_fast_bfloat16
        from search.system.machine import has_gpu
    except ImportError as error:
        return {**described, "missing": str(error)}
    return {**described, "is_faster_in_bfloat16": has_fast_bfloat16(), "has_gpu": has_gpu()}


def _digest_of_code() -> str:
    """Return what tells this tool's code from other code of the same version, such as a changed checkout's."""
    digest = hashlib.sha256()
    for package in ("fmnist", "search"):
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            return "none"
        folder = pathlib.Path(found.origin).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
