"""Fixtures of the tests of what follows the search."""

from __future__ import annotations

import pytest

from fmnist.data.find import find_data
from fmnist.data.source import DataSource


@pytest.fixture
def source() -> DataSource:
    return find_data("digits")
