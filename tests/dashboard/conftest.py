"""A study and its folder, of which the dashboard shows something."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search.records.files import StudyFiles
from search.study.storage.opening import open_storage


@pytest.fixture
def files(tmp_path: Path) -> StudyFiles:
    files = StudyFiles(tmp_path / "mine")
    files.root.mkdir()
    return files


@pytest.fixture
def study(files: StudyFiles) -> optuna.Study:
    return optuna.create_study(study_name="mine", storage=open_storage(f"sqlite:///{files.storage}"))
