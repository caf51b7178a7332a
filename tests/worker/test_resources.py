"""What this machine gives to trainings."""

from __future__ import annotations

import pytest

from search.config import StudyConfig
from search.worker.resources import SHARE_OF_MEMORY, Resources, local_resources


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores and ten gigabytes."""
    monkeypatch.setattr("search.worker.resources.default_workers", lambda: 8)
    monkeypatch.setattr("search.worker.resources.total_memory_mb", lambda: 10_000)


def resources(**more) -> Resources:
    return local_resources(StudyConfig("s", dataset="digits", **more))


@pytest.mark.parametrize(
    ("workers", "found", "n_threads", "most_threads"),
    [(None, 8, 1, 8), (1, 1, 8, 8), (3, 3, 2, 8), (8, 8, 1, 8), (16, 16, 1, 16)],
)
def test_cores_are_shared_equally(workers: int | None, found: int, n_threads: int, most_threads: int) -> None:
    shared = resources(workers=workers)
    assert (shared.workers, shared.n_threads, shared.most_threads) == (found, n_threads, most_threads)
    assert shared.most_workers == found, "a machine does not grow"
    assert not shared.nodes


def test_memory_is_shared_by_the_trainings_that_run_at_a_time_unless_the_user_limits_it() -> None:
    assert resources().memory_limit_of_each(4) == SHARE_OF_MEMORY * 10_000 / 4
    assert resources(memory_limit_mb=700).memory_limit_of_each(4) == 700


def test_precision_is_what_is_faster_here_unless_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_fast, has_gpu, is_used in ((True, False, True), (True, True, False), (False, False, False)):
        monkeypatch.setattr("search.worker.resources.has_fast_bfloat16", lambda is_fast=is_fast: is_fast)
        monkeypatch.setattr("search.worker.resources.has_gpu", lambda has_gpu=has_gpu: has_gpu)
        assert resources().bfloat16 is is_used
        assert not resources(precision="float32").bfloat16
