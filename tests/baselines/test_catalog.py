from __future__ import annotations

import pytest

from fmnist.baselines.catalog import BASELINES, find_baseline


def test_every_baseline_has_a_name_of_its_own() -> None:
    assert len({baseline.name for baseline in BASELINES}) == len(BASELINES)


def test_unknown_baseline_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"must be one of three-convolutions, .*, but got 'resnet'"):
        find_baseline("resnet")
