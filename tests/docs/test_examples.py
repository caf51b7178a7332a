"""The examples run to their end, each in a folder of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "search_digits.ipynb"


@pytest.mark.slow
@pytest.mark.process
def test_script_searches_the_digits(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "search_digits.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search("trial 0: (trained to the end|stopped early)", done.stdout) and "test accuracy" in done.stdout
    assert (tmp_path / "digits" / "best.keras").exists()


def test_notebook_is_stored_without_outputs() -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra test")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
@pytest.mark.process
def test_notebook_runs(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs the extra test")
    nbformat = pytest.importorskip("nbformat", reason="needs the extra test")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "test accuracy" in printed and "predicted" in printed


@pytest.mark.parametrize(
    "path",
    [
        ".pre-commit-config.yaml",
        ".github/workflows/ci.yml",
        "CITATION.cff",
        *(f".github/ISSUE_TEMPLATE/{n}.yml" for n in ("bug", "feature", "config")),
    ],
)
def test_files_that_other_tools_read_are_valid_yaml(path: str) -> None:
    assert isinstance(yaml.safe_load((ROOT / path).read_text(encoding="utf-8")), dict)


def test_citation_has_the_version_of_the_changelog() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{citation['version']}] - {citation['date-released']}" in changelog
