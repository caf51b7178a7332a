"""What no module can check for itself: who imports whom, what stays unloaded, what no file may contain."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A module imports only modules that stand before it in its package; search may import all of fmnist.
ORDER = {
    "fmnist": (
        "errors",
        "command_line",
        "appearance",
        "model_notes",
        "recipe",
        "cost",
        "history",
        "checksums",
        "images",
        "pictures",
        "folders",
        "idx",
        "source",
        "class_folders",
        "idx_folder",
        "archive",
        "data",
        "duplicates",
        "augmentation",
        "precision",
        "model",
        "fused",
        "optimizer",
        "learner",
        "training",
        "intervals",
        "calibration",
        "evaluation",
        "robustness",
        "baselines",
        "formats",
        "conversion",
        "runtimes",
        "export",
        "photographs",
        "predict",
    ),
    "search": (
        "command_line",
        "taps",
        "config",
        "space",
        "own_space",
        "strategy",
        "records",
        "trial_table",
        "clock",
        "watcher",
        "tensorboard_runs",
        "worker",
        "storage",
        "mlflow_runs",
        "ownership",
        "study",
        "objective",
        "terminal",
        "probes",
        "refit_options",
        "refit",
        "material",
        "evidence",
        "findings",
        "figures",
        "notes",
        "trial_pictures",
        "album",
        "evidence_figures",
        "pages",
        "comparison",
        "compare_findings",
        "compare_figures",
        "compare",
        "report_options",
        "report",
        "dashboard",
        "pipeline",
        "rehearsal",
        "estimate",
        "check",
        "run",
    ),
}
# Of fmnist; elsewhere inside functions, or not. The conversion is a script that nothing imports.
KERAS_ROOMS = {"model", "fused", "optimizer", "learner", "training", "conversion"}
HEAVY = {"keras", "tensorflow"}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py")


def imported_names(node: ast.AST) -> Iterator[str]:
    """Dotted names such as `fmnist.data.named`, for `from fmnist import data` and `from fmnist.data.named import Split` too."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: imports are absolute here"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def all_imports(path: Path) -> set[str]:
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in imported_names(node)}


@pytest.mark.parametrize("package", ORDER)
def test_every_module_has_its_place_in_the_order(package):
    homeless = {path.stem for path in modules(package)} - set(ORDER[package])
    assert not homeless, f"give {homeless} of {package} a place in ORDER"


@pytest.mark.parametrize("package", ORDER)
def test_imports_descend(package):
    order = ORDER[package]
    for path in (path for path in modules(package) if path.stem in order):
        own = {name.split(".")[1] for name in all_imports(path) if name.startswith(f"{package}.")}
        allowed = (*order[: order.index(path.stem)], "__version__")  # of the package itself, which imports nothing
        assert own <= set(allowed), f"{path.name} imports {own - set(allowed)}, which does not stand before it"


def test_fmnist_knows_neither_search_nor_optuna():
    for path in modules("fmnist"):
        roots = {name.split(".")[0] for name in all_imports(path)}
        assert not roots & {"search", "optuna"}, path.name


def test_keras_is_imported_at_the_top_of_its_own_rooms_only():
    for path in [*modules("fmnist"), *modules("search")]:
        tops = {name.split(".")[0] for node in ast.parse(path.read_text()).body for name in imported_names(node)}
        is_room = path.parent.name == "fmnist" and path.stem in KERAS_ROOMS
        assert is_room or not tops & HEAVY, path.name


def test_importing_the_command_leaves_keras_unloaded():
    script = f"import sys, search.run; print(sorted({HEAVY!r} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.strip()) == (0, "[]"), child.stderr


def test_help_answers_without_tensorflow():
    command = [sys.executable, "-X", "importtime", "-m", "search.run", "--help"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    loaded = {line.rpartition("|")[2].strip() for line in child.stderr.splitlines() if line.startswith("import time:")}
    assert child.returncode == 0 and "--trials" in child.stdout, child.stderr[-2000:]
    assert not HEAVY & loaded


def test_only_refit_opens_the_test_set():
    callers = {
        f"{path.parent.name}/{path.name}"
        for path in [*modules("fmnist"), *modules("search")]
        if "load_test" in names_in_code(path)
    }
    assert callers - {"fmnist/data.py"} <= {"search/refit.py"}


def test_only_the_data_rooms_know_what_reads_test_images():
    rooms = {"source", "class_folders", "idx_folder", "archive", "data"}
    users = {path for path in [*modules("fmnist"), *modules("search")] if "read_test" in names_in_code(path)}
    assert {f"{path.parent.name}/{path.stem}" for path in users} <= {f"fmnist/{room}" for room in rooms}


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


def our_files() -> list[Path]:
    folders = ("fmnist", "search", "tests", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    files += [*(ROOT / "studies").glob("*.toml"), *ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.txt")]
    return [path for path in [*files, ROOT / "Makefile"] if path.is_file() and path.suffix not in {".png", ".pyc"}]


def test_no_file_names_a_place_of_one_machine():
    # Put together here, so that this file does not find itself.
    homes = "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me"))
    absolute = re.compile(rf"(?<![\w.])/({homes})/")
    registry = re.compile("|".join(("pypi" + r"\.", "python" + "hosted", "index" + "-url", "find" + "-links")))
    for path in our_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not absolute.search(line), f"{path.relative_to(ROOT)}:{number} names an absolute path"
            assert not registry.search(line), f"{path.relative_to(ROOT)}:{number} names a registry"
