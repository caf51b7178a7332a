"""What a refused check says is done to the run, and the check passes. The processes train nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from search.callbacks.reporter import Reporter
from search.estimate import check
from search.estimate.check import check_run
from search.run import parse
from search.worker.tasks import TrainingFailed
from tests.support.remedies import needs_remedy
from tests.support.training.fakes import fake_workers

pytestmark = pytest.mark.process


def checked(studies: Path, *more: str) -> int:
    words = ["--dataset", "digits", "--studies-dir", str(studies), "--trials", "4", "--workers", "1", *more]
    return check_run(parse(words)[0], Reporter(), threading.Event(), worker_processes=fake_workers)


def test_limits_are_raised_until_some_network_is_within_them(tmp_path: Path) -> None:
    with needs_remedy("some network must be within the limits, but of {} random ones and the portfolio all are over"):
        checked(tmp_path, "--max-parameters", "1")
    assert checked(tmp_path, "--max-parameters", "1000000") == 0


@pytest.mark.slow
def test_disk_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "free_bytes", lambda folder: 10**9 * (tmp_path / "large" in folder.parents))
    with needs_remedy("{} must have room for about {}, but {} are free; free some, or choose another disk"):
        checked(tmp_path / "small")
    assert checked(tmp_path / "large") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refused", "followed", "remedy"),
    [
        (["--memory-limit", "1"], ["--memory-limit", "3000"], "1 MB; raise --memory-limit or lower --max-parameters"),
        (["--workers", "100"], ["--workers", "1"], "; lower --workers, raise --memory-limit or lower --max-parameters"),
    ],
)
def test_training_gets_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: list[str], followed: list[str], remedy: str
) -> None:
    measured = check.seconds_to_first_training

    def measured_or_failed(recipe, site, train) -> float:  # as a training of 2 GB would
        if site.memory_limit_mb < 2000:
            raise TrainingFailed("memory", f"the process used 2000 MB, over its limit of {site.memory_limit_mb:.0f} MB")
        return measured(recipe, site, train)

    monkeypatch.setattr(check, "seconds_to_first_training", measured_or_failed)
    monkeypatch.setattr("search.worker.resources.total_memory_mb", lambda: 10_000.0)
    with needs_remedy("{}; {}raise --memory-limit or lower --max-parameters") as caught:
        checked(tmp_path, *refused)
    assert str(caught.value).endswith(remedy)
    assert checked(tmp_path, *followed) == 0
