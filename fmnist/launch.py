"""The first code of a process that `fmnist.environment.python_command` starts: run by its path, in isolation.

It sees to it that the process imports what the one that started it has installed, and nothing that only lies about.
Standard library only.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import runpy
import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

# What Keras loads where it is installed, for wrappers, pictures and tables that nothing here uses: a third of the time
# that loading Keras takes (CPU seconds of two loads with each, 7.0 and 6.5, and of two without, 4.5 and 4.3).
UNUSED_OF_KERAS = ("sklearn", "matplotlib.pyplot", "pandas")


class HiddenFromKeras(MetaPathFinder):
    """Has modules look as if they were not installed while Keras is loaded, and only then."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Raises ModuleNotFoundError for a module that Keras asks for and nothing here uses; finds none itself."""
        spec = getattr(sys.modules.get("keras"), "__spec__", None)
        is_loading = getattr(spec, "_initializing", False)  # importlib's own; where it is gone, nothing is hidden
        if is_loading and fullname in UNUSED_OF_KERAS:
            raise ModuleNotFoundError(f"No module named {fullname!r}: hidden from Keras", name=fullname)


def hide_from_keras() -> None:
    """Have Keras load in less time, in a process of this project's own."""
    if not any(isinstance(finder, HiddenFromKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, HiddenFromKeras())


def main() -> None:
    """Run the module or script that the command line names: `launch.py PLACE TARGET ARGUMENTS`."""
    place, target = json.loads(sys.argv[1]), sys.argv[2]
    sys.argv[:] = sys.argv[2:]
    sys.path[:] = search_path(sys.path, place["path"])
    hide_from_keras()
    for name, folder in place["packages"].items():
        load_package(name, folder)
    if target.endswith(".py"):
        runpy.run_path(target, run_name="__main__")
    else:
        sys.exit(importlib.import_module(target).main())


def search_path(own: Sequence[str], callers: Sequence[str]) -> list[str]:
    """Return where modules are looked for.

    The standard library is first, then come folders with installed packages, in the caller's order, so that versions
    are the caller's. Its other folders are last, as nothing in them may stand in for a library: a script's folder may
    hold a keras.py.

    Args:
        own: The path of a fresh, isolated interpreter.
        callers: That of the process that started this one.
    """
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    standard |= {os.path.join(folder, "lib-dynload") for folder in standard}
    n_standard = 1 + max(i for i, entry in enumerate(own) if entry in standard)
    installed = [entry for entry in (*callers, *own) if has_installed_packages(entry)]
    return list(dict.fromkeys((*own[:n_standard], *installed, *own, *callers)))


def has_installed_packages(folder: str) -> bool:
    """Whether a folder is one that pip installs to."""
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))
    except OSError:  # not a folder, or not readable
        return False


def load_package(name: str, folder: str) -> None:
    """Load a package from its folder, wherever else there may be one of its name."""
    place = os.path.join(folder, "__init__.py")
    spec = importlib.util.spec_from_file_location(name, place, submodule_search_locations=[folder])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    main()
