"""The wheel has everything it needs: installed alone, in another folder, it goes from the search to a prediction."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from search import __version__

pytest.importorskip("hatchling", reason="builds the wheel")
pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


def run(folder: Path, *command: object) -> str:
    """Run a command that knows nothing of the checkout. Returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(word) for word in command]
    child = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, f"{words}\n{child.stdout[-2000:]}\n{child.stderr[-2000:]}"
    return child.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(ROOT, sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands, in an environment of the wheel and of what the tests' environment has installed."""
    environment = tmp_path_factory.mktemp("environment")
    run(environment, sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    run(environment, python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    # After the installation, or pip would find this project there. A path that is added so brings no editable one.
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "outer.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    return environment / "bin"


def test_wheel_holds_spaces_templates_and_the_marks_of_typed_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [path for package in ("fmnist", "search") for path in (ROOT / package).rglob("*") if path.is_file()]
    expected = {str(path.relative_to(ROOT)) for path in data if path.suffix != ".pyc"}
    expected |= {f"search/studies/{path.name}" for path in (ROOT / "studies").glob("*.toml")}
    assert expected <= names
    assert {"fmnist/py.typed", "search/py.typed", "search/space/own-images.toml.j2"} <= expected
    assert {name.partition("/")[0] for name in names} == {"fmnist", "search", f"fmnist_search-{__version__}.dist-info"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_is_a_script(installed: Path, tmp_path: Path, script: str) -> None:
    assert "usage: python -m " in run(tmp_path, installed / script, "--help")


def test_installed_tool_goes_from_the_search_to_a_prediction_in_another_folder(installed: Path, tmp_path: Path) -> None:
    origin = run(tmp_path, installed / "python", "-c", "import fmnist, search; print(search.__file__)")
    assert origin.startswith(str(installed.parent))
    run(tmp_path, installed / "fmnist-search", *("--dataset", "digits", "--study", "try"), *("--trials", 2))
    study = tmp_path / "studies" / "try"
    accuracy = json.loads((study / "report.json").read_text())["test"]["accuracy"]["mean"]
    assert accuracy > 0.95, "the digits' own space, which other tests shorten"
    (study / "report.html").unlink()
    assert run(tmp_path, installed / "fmnist-report", "try") == "report: studies/try/report.html\n"
    assert (study / "report.html").is_file()
    digits = load_digits()
    Image.fromarray((digits.images[0] * 255 / 16).astype("uint8")).save(tmp_path / "zero.png")
    assert run(tmp_path, installed / "fmnist-predict", study / "best.keras", "zero.png").startswith("zero.png  ")


def test_fashion_mnist_is_not_looked_for_beside_installed_packages(installed: Path, tmp_path: Path) -> None:
    script = "from fmnist.data.named.fashion_mnist import usual_places; print(*usual_places(), sep='\\n')"
    places = run(tmp_path, installed / "python", "-c", script).splitlines()
    assert places[0] == str(tmp_path / "data/fashion-mnist")
    assert not [place for place in places if place.startswith(str(installed.parent))]
