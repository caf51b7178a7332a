"""What the tests of the study share: a space of the digits and the configuration of a study in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.config import StudyConfig
from search.space.space import SearchSpace
from search.system.shipped import SHIPPED_SPACES
from tests.support.spaces import space_from


@pytest.fixture
def space() -> SearchSpace:
    return space_from(SHIPPED_SPACES / "digits.toml", (8, 8, 1), 10)


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return StudyConfig(study="s", dataset="digits", studies_dir=tmp_path)
