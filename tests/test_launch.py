"""Where a process that is started in isolation looks for modules."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fmnist
import search
from fmnist.environment import clean_environment, python_command
from fmnist.launch import search_path

STANDARD = sysconfig.get_path("stdlib")
FRESH = [f"{sys.base_prefix}/lib/python.zip", STANDARD, os.path.join(STANDARD, "lib-dynload")]


def folder(path: Path, *names: str) -> str:
    """A folder with these empty files."""
    path.mkdir()
    for name in names:
        (path / name).write_text("")
    return str(path)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    site = folder(tmp_path / "site-packages")
    (tmp_path / "site-packages" / "keras-3.dist-info").mkdir()
    target = folder(tmp_path / "target")
    (tmp_path / "target" / "numpy-2.dist-info").mkdir()
    return {"site": site, "target": target, "scripts": folder(tmp_path / "scripts", "keras.py", "random.py")}


def test_a_script_s_folder_comes_after_libraries_and_installed_packages(places: dict[str, str]) -> None:
    callers = [places["scripts"], *FRESH, places["site"]]
    assert search_path([*FRESH, places["site"]], callers) == [*FRESH, places["site"], places["scripts"]]


def test_installed_packages_have_the_caller_s_order_so_that_versions_are_the_caller_s(places: dict[str, str]) -> None:
    callers = [places["target"], *FRESH, places["site"]]
    assert search_path([*FRESH, places["site"]], callers) == [*FRESH, places["target"], places["site"]]


def test_folders_that_are_gone_and_archives_are_kept_at_the_end(places: dict[str, str], tmp_path: Path) -> None:
    callers = [str(tmp_path / "gone"), str(tmp_path / "code.zip"), *FRESH]
    assert search_path(FRESH, callers) == [*FRESH, *callers[:2]]


SCRIPT = """
import psutil, random, sys
print(psutil.__file__, random.__file__, sys.argv[1:], sys.flags.isolated, "search" in sys.modules)
"""


@pytest.mark.process
def test_modules_of_libraries_names_beside_the_caller_s_script_are_not_taken(tmp_path: Path) -> None:
    for name in ("psutil.py", "random.py", "json.py"):
        (tmp_path / name).write_text("raise ImportError('of the user')")
    (tmp_path / "script.py").write_text(SCRIPT)
    sys.path.insert(0, str(tmp_path))
    try:
        command = python_command(tmp_path / "script.py", "a b", "c")
    finally:
        sys.path.remove(str(tmp_path))
    environment = clean_environment({"PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "error", "PYTHONSTARTUP": "/x"})
    child = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    assert "['a b', 'c'] 1 False" in child.stdout and str(tmp_path) not in child.stdout


@pytest.mark.process
def test_packages_of_this_project_are_those_that_the_caller_has_loaded(tmp_path: Path) -> None:
    """Whatever else of their names is installed, or lies in the current folder."""
    (tmp_path / "search.py").write_text("raise ImportError('of the user')")
    command = python_command("search.run", "--help")
    child = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False)
    assert child.returncode == 0 and "usage" in child.stdout, child.stderr
    for package in (fmnist, search):
        assert f'"{package.__name__}": "{Path(package.__file__).parent}"' in command[-3]


LOADED = """
import keras, sys
loaded = [name for name in ("sklearn", "matplotlib.pyplot", "pandas") if name in sys.modules]
assert not loaded, loaded
import sklearn.linear_model, matplotlib.pyplot
print(sklearn.linear_model.LogisticRegression().C)
"""


@pytest.mark.trains
@pytest.mark.process
def test_keras_loads_without_what_it_only_offers_and_others_still_find_that(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(LOADED)
    command = python_command(script)
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr
