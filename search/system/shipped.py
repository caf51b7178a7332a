"""Where are the search spaces that ship with the tool?"""

from __future__ import annotations

import importlib.resources
from pathlib import Path


def shipped_spaces() -> Path:
    """Return the folder of the search spaces that ship with the tool.

    A wheel has them in its package; in a checkout they lie at the top.
    """
    package = Path(str(importlib.resources.files("search")))
    if (package / "studies").is_dir():
        return package / "studies"
    return package.parent / "studies"


SHIPPED_SPACES = shipped_spaces()
