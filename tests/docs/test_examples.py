"""The examples run to their end, each in a folder of its own, with quick trainings."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.spaces import QUICK

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "search_digits.ipynb"


def quick(code: str) -> str:
    assert code.count('dataset="digits"') == 1
    return code.replace('dataset="digits"', f'dataset="digits", space={str(QUICK)!r}')


@pytest.mark.slow
@pytest.mark.process
def test_script_searches_the_digits(tmp_path: Path) -> None:
    script = tmp_path / "search_digits.py"
    script.write_text(quick((ROOT / "examples" / "search_digits.py").read_text(encoding="utf-8")), encoding="utf-8")
    command, environment = [sys.executable, str(script), str(tmp_path)], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search("trial 0: (trained to the end|stopped early)", done.stdout) and "test accuracy" in done.stdout
    assert (tmp_path / "digits" / "best.keras").exists()


def test_notebook_is_stored_without_outputs() -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra test")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook with its outputs, as a person gets it: without the tests' own settings of TensorFlow."""
    nbclient = pytest.importorskip("nbclient", reason="needs the extra test")
    nbformat = pytest.importorskip("nbformat", reason="needs the extra test")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = quick(cell.source) if "dataset=" in cell.source else cell.source
    resources = {"metadata": {"path": tmp_path_factory.mktemp("notebook")}}
    client = nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3", resources=resources)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
        patch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
        client.execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
    nbformat.validate(notebook)
    return notebook


def outputs_of(notebook: Any, code: str) -> list[Any]:
    """Those of the one cell that ends with this line."""
    (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.endswith(code))
    return cell.outputs


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(600, func_only=True)
def test_notebook_keeps_one_output_of_the_run_with_what_came_out(executed: Any) -> None:
    (output,) = outputs_of(executed, "run_study(config, Terminal())")
    assert output.output_type == "display_data"
    for kind in ("text/html", "text/plain"):
        assert "test accuracy " in output.data[kind] and "done in " in output.data[kind]
        assert re.search(r"trial 0 +\d+\.\d\d%  (trained to the end|stopped early)", output.data[kind])


@pytest.mark.slow
@pytest.mark.process
def test_notebook_has_a_card_with_the_test_accuracy_and_figures(executed: Any) -> None:
    (card,) = outputs_of(executed, "study")
    assert re.search(r"<b>\d+\.\d\d %</b> \(95 % interval .*, n = 360 test images\)", card.data["text/html"])
    assert card.data["text/plain"].startswith("<study digits: 3 trials, test accuracy ")
    shown = outputs_of(executed, "study.show()")
    titles = re.findall("<b>(.*?)</b>", "".join(output.data.get("text/html", "") for output in shown))
    assert titles[:3] == ["Search history", "Learning curve", "Confusion matrix"]
    pictures = [output for output in shown if "image/png" in output.data]
    assert len(pictures) == len(titles)
    assert all(picture.data["image/png"].startswith("iVBOR") for picture in pictures)  # PNG in base64
    assert all(picture.metadata["image/png"]["alt"] for picture in pictures)


@pytest.mark.slow
@pytest.mark.process
def test_notebook_predicts_and_has_neither_escapes_nor_complaints(executed: Any) -> None:
    (printed,) = outputs_of(executed, 'print("true:", *digits.target[:5])')
    assert "digits.npz[4]" in printed.text and "true: 0 1 2 3 4" in printed.text
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr" or output.output_type == "error"]
    assert "\\u001b" not in json.dumps(outputs)


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
