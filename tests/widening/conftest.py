"""What the tests of widening share: a study of twelve trials in the digits' space."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from search.config import StudyConfig
from tests.support.widening import config_of, search

N_TRIALS = 12


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    search(config_of(folder), N_TRIALS)
    return folder


@pytest.fixture
def config(searched: Path, tmp_path: Path) -> StudyConfig:
    """Of a copy of the study."""
    shutil.copytree(searched, tmp_path / "studies")
    return config_of(tmp_path / "studies")


@pytest.fixture
def fresh(searched: Path, tmp_path: Path) -> Callable[[], StudyConfig]:
    """Makes a copy of the study whenever it is called."""
    numbers = itertools.count()

    def copy() -> StudyConfig:
        folder = tmp_path / f"copy-{next(numbers)}"
        shutil.copytree(searched, folder)
        return config_of(folder)

    return copy
