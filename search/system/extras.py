"""Is what an optional integration needs installed, and can its folder be written? Asked before anything starts."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from fmnist.errors import UserError, not_installed

OPTIONAL_EXTRAS = {  # option, and extra of the same name -> modules
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow",),
    "cluster": ("ray",),
}


def require_installed(name: str) -> None:
    """Raise UserError where a module of this extra, one of OPTIONAL_EXTRAS, is missing."""
    missing = [module for module in OPTIONAL_EXTRAS[name] if not is_installed(module)]
    if missing:
        raise not_installed(f"--{name}", missing, [name])


def is_installed(module: str) -> bool:
    """Whether a module can be imported, asked without importing it.

    A folder of that name, such as `--mlflow mlflow` makes, is found too, but has no origin.
    """
    found = find_spec(module)
    return found is not None and found.origin is not None


def require_writable(name: str, folder: Path) -> None:
    """Make the folder that an option names.

    Args:
        name: Of the option, without dashes.
        folder: Its value.

    Raises:
        UserError: The folder cannot be made, or takes no file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"--{name} must name a folder that can be written, but {folder}: {error.strerror or error}; choose another"
        ) from None
