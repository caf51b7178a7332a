"""Who may write: one run at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist.errors import UserError
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.study.locks import hold, hold_storage
from search.study.storage.opening import open_storage


def test_second_run_of_the_same_study_is_refused(config: StudyConfig) -> None:
    files = StudyFiles(config.folder)
    with hold(files), pytest.raises(UserError, match="in use by another run"), hold(files):
        pass


def test_sqlite_file_takes_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = (open_storage(f"sqlite:///{tmp_path}/s.db") for _ in range(2))
    config = StudyConfig("s", storage=first.url)
    with hold_storage(first, config), pytest.raises(UserError, match="in use by another run"):
        hold_storage(second, config).__enter__()
