"""What a run does whose cluster loses its head, which Ray itself waits for during a minute."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import SimulatedCluster
from tests.support.remedies import assert_message

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.faults, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "tests" / "support" / "quick.toml"
SECONDS_TO_END = 40  # in fewer than Ray takes
# The command, less patient.
COMMAND = """
import sys
from search.cluster import watch
from search.run import main
watch.SECONDS_WITHOUT_HEAD = float(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""


@contextmanager
def run_on(cluster: SimulatedCluster, folder: Path, patience: float) -> Iterator[Any]:
    """Search there while the block lasts, with one JSON object a line on standard output."""
    words = ["--dataset", "digits", "--space", QUICK, "--trials", 500, "--search-only", "--log-format", "json"]
    words += ["--study", "s", "--studies-dir", folder, "--cluster", cluster.address]
    command = [sys.executable, "-c", COMMAND, str(patience), *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


def wait_for(run: Any, name: str) -> dict[str, Any]:
    """Return the next event of this name."""
    for line in run.stdout:
        event = json.loads(line)
        if event["event"] == name:
            return event
    pytest.fail(run.stderr.read())


@pytest.fixture
def start_cluster(cluster: Any) -> Iterator[Callable[[], SimulatedCluster]]:
    """Start clusters that a test may end, beside the module's, which has set the environment of nodes."""
    with ExitStack() as made:

        def start() -> SimulatedCluster:
            started = SimulatedCluster(1)
            made.callback(started.shut_down)
            return started

        yield start


def test_run_without_its_head_ends_in_one_line_and_goes_on_once_the_cluster_is_started_again(
    start_cluster: Callable[[], SimulatedCluster], tmp_path: Path
) -> None:
    cluster = start_cluster()
    with run_on(cluster, tmp_path, patience=3) as run:
        wait_for(run, "training_ended")
        cluster.kill_head()
        _, error = run.communicate(timeout=SECONDS_TO_END)
    assert run.returncode == 2, error
    assert_message(
        "the cluster's head must answer at {}, but has not for {} s; start the cluster again, then the same command",
        error.strip(),
    )
    with run_on(start_cluster(), tmp_path, patience=30) as run:
        assert wait_for(run, "phase")["n_done"] >= 1
        wait_for(run, "training_ended")


def test_run_without_its_head_ends_at_once_when_it_is_told_to(
    start_cluster: Callable[[], SimulatedCluster], tmp_path: Path
) -> None:
    cluster = start_cluster()
    with run_on(cluster, tmp_path, patience=1_000) as run:
        wait_for(run, "training_ended")
        cluster.kill_head()
        wait_for(run, "training_ended")
        run.send_signal(signal.SIGTERM)
        written, error = run.communicate(timeout=SECONDS_TO_END)
    assert run.returncode == 130, error
    assert "The same command goes on from here" in written
