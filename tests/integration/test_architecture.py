"""What neither a module nor the import contract checks: what stays unloaded, what no file may contain."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Elsewhere inside functions, or not. The conversion is a script that nothing imports.
KERAS_MODULES = {
    "fmnist/model/build.py",
    "fmnist/model/ensemble.py",
    "fmnist/model/inference.py",
    "fmnist/training/execution.py",
    "fmnist/training/forward.py",
    "fmnist/training/optimizer.py",
    "fmnist/training/step.py",
    "fmnist/training/teachers.py",
    "fmnist/training/loop.py",
    "fmnist/baselines/networks.py",
    "fmnist/export/conversion.py",
    "fmnist/export/untrained.py",
}
HEAVY = {"keras", "tensorflow"}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py")


def imported_names(node: ast.AST) -> Iterator[str]:
    """Dotted names such as `fmnist.data.split`, for `from fmnist.data import split` too."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: imports are absolute here"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def all_imports(path: Path) -> set[str]:
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in imported_names(node)}


def test_fmnist_knows_neither_search_nor_optuna() -> None:
    for path in modules("fmnist"):
        roots = {name.split(".")[0] for name in all_imports(path)}
        assert not roots & {"search", "optuna"}, path.name


def test_keras_is_imported_at_the_top_of_its_own_modules_only() -> None:
    for path in [*modules("fmnist"), *modules("search")]:
        tops = {name.split(".")[0] for node in ast.parse(path.read_text()).body for name in imported_names(node)}
        assert path.relative_to(ROOT).as_posix() in KERAS_MODULES or not tops & HEAVY, path


@pytest.mark.process
def test_importing_the_command_leaves_keras_unloaded() -> None:
    heavy = HEAVY | {"scipy.stats", "sklearn", "matplotlib"}  # none of which options and their help need
    script = f"import sys, search.run; print(sorted({heavy!r} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.strip()) == (0, "[]"), child.stderr


@pytest.mark.process
def test_help_answers_without_tensorflow() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "search.run", "--help"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    loaded = {line.rpartition("|")[2].strip() for line in child.stderr.splitlines() if line.startswith("import time:")}
    assert child.returncode == 0 and "--trials" in child.stdout, child.stderr[-2000:]
    assert not HEAVY & loaded


def test_only_the_evaluation_opens_the_test_set() -> None:
    callers = {
        path.relative_to(ROOT).as_posix()
        for path in [*modules("fmnist"), *modules("search")]
        if "load_test" in names_in_code(path)
    }
    assert callers == {"fmnist/data/split.py", "search/refit/evaluation.py"}


@pytest.mark.process
def test_predictions_load_no_scikit_learn_unless_they_are_scored() -> None:
    script = f"import sys, fmnist.predict.__main__; print(sorted({HEAVY | {'sklearn'}!r} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_only_the_data_modules_know_what_reads_test_images() -> None:
    users = {path for path in [*modules("fmnist"), *modules("search")] if "read_test" in names_in_code(path)}
    assert all((ROOT / "fmnist" / "data") in path.parents for path in users)


def names_in_code(path: Path) -> set[str]:
    """Names, attributes, imports and short strings (getattr would take one); prose may speak of anything."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.keyword(arg=str(name)) | ast.Constant(value=str(name)):
                names.add(name)
    return names


def private_names(path: Path) -> set[str]:
    """Underscored names that a module takes from other packages' modules or objects, its own `self` left aside."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom | ast.Import):
            found.update(part for name in imported_names(node) for part in name.split("."))
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls", "super()", "os"):
            found.add(node.attr)
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def test_only_one_module_uses_private_names_of_optuna_and_its_dashboard() -> None:
    """Keys of theirs, which are strings, count too."""
    home = ROOT / "search" / "study" / "optuna_private.py"
    assert {"_trial_id", "_study_id", "_storage", "_rdb"} <= private_names(home)
    keys = re.compile(r"['\"](fixed_params|_backend|artifacts:|dashboard:note|dashboard:\{)")
    for path in modules("search"):
        if path == home:
            continue
        assert not private_names(path) & private_names(home), path
        assert not keys.search(path.read_text()), path
        optuna_imports = [name for name in all_imports(path) if name.startswith("optuna")]
        assert not [name for name in optuna_imports if "._" in name], path


def our_files() -> list[Path]:
    folders = ("fmnist", "search", "tests", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    files += [*(ROOT / "studies").glob("*.toml"), *ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.txt")]
    return [
        path for path in [*files, ROOT / "Makefile"] if path.is_file() and path.suffix not in {".png", ".pyc", ".npz"}
    ]


def test_no_file_names_a_place_of_one_machine() -> None:
    # Put together here, so that this file does not find itself.
    homes = "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me"))
    absolute = re.compile(rf"(?<![\w.])/({homes})/")
    registry = re.compile("|".join(("pypi" + r"\.", "python" + "hosted", "index" + "-url", "find" + "-links")))
    for path in our_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not absolute.search(line), f"{path.relative_to(ROOT)}:{number} names an absolute path"
            assert not registry.search(line), f"{path.relative_to(ROOT)}:{number} names a registry"
