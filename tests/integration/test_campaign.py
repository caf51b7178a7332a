"""A search that is killed at random moments. `python -m tests.support.training.campaign` does the same at length."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.training.campaign import ROOT, Campaign
from tests.support.training.fake_process import LEDGER_VARIABLE, SECONDS_VARIABLE

pytestmark = pytest.mark.process


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize(("seed", "front"), [(1, False), (2, True)])
def test_search_killed_at_random_moments_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, seed: int, front: bool
) -> None:
    states = Campaign(tmp_path, n_kills=6, n_trials=60, seed=seed, front=front).run()
    assert states.total() == 60


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which takes root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.faults
def test_full_disk_pauses_the_search_until_there_is_space(small_disk: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.support.training.fakes",
        "--dataset",
        "digits",
        "--trials",
        "60",
        "--search-only",
    ]
    environment = {**os.environ, SECONDS_VARIABLE: "0.03", LEDGER_VARIABLE: str(tmp_path / "reported.jsonl")}
    places = ["--studies-dir", str(small_disk), "--sampler", "random"]
    with subprocess.Popen(
        [*command, *places], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        said = _read_until(run, "trials ")
        fill(small_disk / "filler")
        said += _read_until(run, "disk is full")
        time.sleep(1)
        assert run.poll() is None
        (small_disk / "filler").unlink()
        assert run.stdout is not None
        said += run.stdout.read()
    assert run.returncode == 0, said
    assert "answers again" in said
    assert "trials 60/60" in said


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def _read_until(run: subprocess.Popen[str], text: str) -> str:
    said = ""
    assert run.stdout is not None
    for line in run.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"the run ended without saying {text!r}:\n{said}")
