"""What a tap needs, a place where a running search is shown to others' tools: checked before anything starts."""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from fmnist.errors import UserError

OPTIONAL_EXTRAS = {  # option, and extra of the same name -> modules
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow",),
}


def require_installed(name: str) -> None:
    """Raises UserError where a module of this tap is missing."""
    missing = [module for module in OPTIONAL_EXTRAS[name] if not _is_there(module)]
    if missing:
        raise UserError(
            f"--{name} needs {', '.join(missing)}, which is not installed; run "
            f"pip install -c constraints.txt -e '.[{name}]'"
        )


def _is_there(module: str) -> bool:
    """Whether a package can be imported. A folder of its name, such as `--mlflow mlflow` makes, is found too, but has
    no origin."""
    if module in sys.modules:
        return True
    found = find_spec(module)
    return found is not None and found.origin is not None


def require_writable(name: str, folder: Path) -> None:
    """Make the tap's folder. Raises UserError where it cannot be made, or takes no file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"--{name} must name a folder that can be written, but {folder}: {error.strerror or error}; choose another"
        ) from None
