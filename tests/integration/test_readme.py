"""Every command of the README is run, in a folder that has what it names: a command that is not listed here fails."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.support.postgres import Server, programs

ROOT = Path(__file__).resolve().parents[2]
SERVERS = (".venv/bin/tensorboard", ".venv/bin/mlflow")
PROGRAMS = ("make", "python", "python3", ".venv/bin/python", ".venv/bin/pip", *SERVERS)
SMALL = ["--trials", "2", "--refit-seeds", "1"]  # given last, they win
DIGITS = ["--dataset", "digits", *SMALL]


def commands() -> list[str]:
    """Of the indented blocks and those between ```sh and ```, without comments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?:    )(\S.*)$", text, flags=re.MULTILINE)
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        lines += block.splitlines()
    found = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return list(dict.fromkeys(line for line in found if line.split(" ")[0] in PROGRAMS))


# Makes of a command's words those that are run: what would take an hour is run in small.
Run = Callable[[Path, list[str]], list[str]]


def as_it_stands(folder: Path, words: list[str]) -> list[str]:
    return words


def on_digits(folder: Path, words: list[str]) -> list[str]:
    return [*words, *DIGITS]


def in_small(folder: Path, words: list[str]) -> list[str]:
    return [*words, *SMALL]


def with_files(folder: Path, words: list[str]) -> list[str]:
    places = {"MODEL.keras": "studies/fashion-mnist/best.keras", "FILE.npz": "images.npz", "DIR": "exports"}
    return [places.get(word, word) for word in words]


WITH_TAPS = ".venv/bin/python -m search.run --tensorboard runs/tensorboard --mlflow runs/mlflow"
RUNS: dict[str, Run] = {
    ".venv/bin/python -m search.run --trials 100": on_digits,
    "python -m search.report fashion-mnist": as_it_stands,
    "python -m search.report fashion-mnist another": as_it_stands,
    "python -m fmnist.predict studies/fashion-mnist/best.keras photo.jpg wardrobe/": as_it_stands,
    "python -m fmnist.predict studies/fashion-mnist/best.keras wardrobe/ --json --top 5": as_it_stands,
    "python -m fmnist.predict studies/fashion-mnist/best.keras - < photo.jpg": as_it_stands,
    ".venv/bin/python -m search.run --trials 100 --export onnx,litert": on_digits,
    ".venv/bin/python -m fmnist.export MODEL.keras --format all --images FILE.npz --out DIR": with_files,
    "python -m search.refit --recipe studies/fashion-mnist/best_recipe.json --out again.keras": as_it_stands,
    ".venv/bin/python -m search.run --dataset shoes --image-size 32 --flip": in_small,
    ".venv/bin/python -m search.run --trials 100 --check": on_digits,
    "python -m search.run --trials 100 --dashboard": lambda folder, words: [*words, "--study", "shown", *DIGITS],
    WITH_TAPS: lambda folder, words: [*words, "--study", "tapped", *DIGITS],
}
BROWSED = "python -m search.dashboard fashion-mnist"
ON_A_DATABASE = ".venv/bin/python -m search.run --trials 300 --storage postgresql://searcher@db-host/search"
MADE = {"make search", 'make search ARGS="--timeout 5400"', "make test", "make benchmark", "make try"}
INSTALLS = re.compile(r"python3 -m venv \.venv|\.venv/bin/pip install -c constraints\.txt -e '\.\[([a-z,]+)\]'")
TESTS = ".venv/bin/python -m pytest"


def test_every_command_of_the_readme_has_its_test() -> None:
    known = {*RUNS, *MADE, BROWSED, ON_A_DATABASE, TESTS}
    unknown = [line for line in commands() if line not in known and not INSTALLS.fullmatch(line)]
    assert not [line for line in unknown if not line.startswith(SERVERS)]
    assert known <= set(commands()), "gone from the README"


@pytest.mark.process
def test_what_is_made_is_in_the_makefile() -> None:
    for line in MADE:
        planned = subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert planned.returncode == 0 and ".venv/bin/python -m" in planned.stdout
        assert ("--timeout 5400" in planned.stdout) == ("--timeout 5400" in line)


def test_extras_that_are_to_be_installed_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = [match.group(1) for line in commands() if (match := INSTALLS.fullmatch(line)) and match.group(1)]
    assert found
    assert {name for names in found for name in names.split(",")} <= set(extras)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in commands() if line.startswith(SERVERS)])
def test_programs_of_others_have_the_options_that_they_are_given(line: str) -> None:
    program, *words = shlex.split(line)
    pytest.importorskip(Path(program).name, reason="needs the extra of its name")
    subcommand = [] if words[0].startswith("--") else words[:1]
    path = Path(sys.executable).with_name(Path(program).name)
    helped = subprocess.run([path, *subcommand, "--help"], capture_output=True, text=True).stdout
    assert all(word in helped for word in words if word.startswith("--"))


# --- run, one after the other, in one folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies, pictures, an archive and class folders, made from the digits, by the names that the README has."""
    folder = tmp_path_factory.mktemp("readme")
    for name, seed in (("fashion-mnist", "0"), ("another", "1")):
        finish(run(folder, ["python", "-m", "search.run", "--study", name, "--seed", seed, *DIGITS]))
    digits = load_digits()
    images, labels = (digits.images * 15).astype(np.uint8), digits.target
    (folder / "wardrobe").mkdir()
    for path, image in zip(("photo.jpg", "wardrobe/boot.png", "wardrobe/bag.png"), images, strict=False):
        Image.fromarray(image).save(folder / path)
    np.savez(folder / "images.npz", x=images[:50, :, :, None], y=labels[:50])
    for label, name in enumerate(("boot", "sandal", "sneaker")):
        (folder / "shoes" / name).mkdir(parents=True)
        for i, image in enumerate(images[labels == label][:30]):
            Image.fromarray(image).save(folder / "shoes" / name / f"{i}.png")
    return folder


def run(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """By this Python, with the project on its path, as an installation has it."""
    *words, source = [*words, None] if "<" not in words else [*words[: words.index("<")], words[-1]]
    program = [sys.executable] if words[0].endswith("python") else [shutil.which(words[0])]
    stdin = subprocess.DEVNULL if source is None else open(folder / source, "rb")  # noqa: SIM115
    return subprocess.run([*program, *words[1:]], cwd=folder, stdin=stdin, capture_output=True, text=True)


def finish(outcome: subprocess.CompletedProcess[str]) -> str:
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


@pytest.mark.slow
@pytest.mark.parametrize("line", RUNS)
def test_command_of_the_readme_runs(folder: Path, line: str) -> None:
    if line == WITH_TAPS:
        pytest.importorskip("mlflow", reason="needs the extra mlflow")
    assert finish(run(folder, RUNS[line](folder, shlex.split(line))))


@pytest.mark.slow
def test_dashboard_of_the_readme_says_where_it_is_and_ends_at_ctrl_c(folder: Path) -> None:
    words = [sys.executable, *shlex.split(BROWSED)[1:], "--port", "0"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert "http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.skipif(programs() is None, reason="no PostgreSQL server here; install Debian's package postgresql")
def test_command_for_several_machines_runs(folder: Path) -> None:
    with Server() as server:
        words = [server.url if word.startswith("postgresql://") else word for word in shlex.split(ON_A_DATABASE)]
        assert "test accuracy" in finish(run(folder, [*words, "--study", "shared", *DIGITS]))
