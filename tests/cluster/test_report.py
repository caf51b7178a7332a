"""What a node says of itself."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

import pytest

from search.cluster import report


def test_node_says_its_versions_its_processor_and_whether_it_asks_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    described = report.describe_node()
    assert described["versions"]["python"] == platform.python_version()
    assert described["versions"]["numpy"] == importlib.metadata.version("numpy")
    assert described["processor"] and described["asks_for_token"]
    assert isinstance(described["is_faster_in_bfloat16"], bool) and isinstance(described["has_gpu"], bool)
    monkeypatch.delenv("RAY_AUTH_MODE")
    assert not report.describe_node()["asks_for_token"]


def test_node_without_a_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "PACKAGES", ("numpy", "no-such-package"))
    assert report.describe_node()["versions"]["no-such-package"] == "none"


def test_node_without_the_tool_answers_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "search.system.machine", None)
    described = report.describe_node()
    assert "search.system.machine" in described["missing"]
    assert described["versions"]["python"] == platform.python_version()


def test_other_code_of_the_same_version_has_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest_of(name: str, **modules: str) -> str:
        for package in ("fmnist", "search"):
            folder = tmp_path / name / package
            folder.mkdir(parents=True)
            for module, text in modules.items():
                (folder / f"{module}.py").write_text(text)

        class Found:
            def __init__(self, package: str) -> None:
                self.origin = str(tmp_path / name / package / "__init__.py")

        monkeypatch.setattr(report.importlib.util, "find_spec", Found)
        return report.describe_node()["versions"]["code"]

    one = digest_of("one", __init__="", a="1")
    assert one == digest_of("copy", __init__="", a="1")
    assert len({one, digest_of("changed", __init__="", a="2"), digest_of("renamed", __init__="", b="1")}) == 3
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda package: None)
    assert report.describe_node()["versions"]["code"] == "none"
