"""How much memory and disk a run takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.estimate.resources import estimate_disk, estimate_memory
from tests.support.costs import DATA, JOB, probe


def test_memory_is_that_of_all_trainings_that_run_at_a_time() -> None:
    images_mb = 1200 * 28 * 28 / 2**20
    memory = estimate_memory([probe(4), probe(16, peak_memory_mb=700.0)], 100.0, JOB)
    assert memory.of_worker == pytest.approx(700 + images_mb)
    assert memory.in_all == pytest.approx(3 * (700 + images_mb) + 100), "three students share the two workers"
    assert estimate_memory([probe(4)], 100.0, replace(JOB, search_only=True)).in_all == 2 * 500 + 100


def test_networks_of_the_front_and_their_students_take_memory_together() -> None:
    images_mb = 1200 * 28 * 28 / 2**20
    of_front = estimate_memory([probe(4)], 100.0, replace(JOB, workers=4, n_students=1, front=True))
    assert of_front.in_all == pytest.approx(7 * (500 + images_mb) + 100), "seven share four workers"


def test_disk_holds_images_trials_and_models() -> None:
    bare = estimate_disk(0, 0, 0, DATA)
    assert bare > 1400 * 28 * 28
    assert estimate_disk(1000, 0, 0, DATA) > bare + 1e7
    assert estimate_disk(0, 1_000_000, 4, DATA) > bare + 4 * 4e6
