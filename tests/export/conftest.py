"""Exports by a conversion that needs no TensorFlow: what becomes of a format is what the fake model says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fmnist.export.export import HERE
from tests.support import fake_conversion


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The fake conversion, and the checks as they are."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    shutil.copyfile(fake_conversion.__file__, folder / "conversion.py")
    shutil.copyfile(HERE / "runtimes.py", folder / "runtimes.py")
    return folder
