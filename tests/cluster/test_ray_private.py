"""The contract of Ray's names that are not public: what Ray says of dead workers and nodes is taken over."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Ray prints from a thread of its own, to whatever standard output the process has: so it is a process of its own here.
DRIVER = """
import sys, threading, time
from pathlib import Path
from search.callbacks.reporter import Reporter
from search.cluster.connection import Cluster
from search.cluster.workers import ClusterWorkers
from search.config import StudyConfig
from search.worker.tasks import TrainTask, WorkerLost
from tests.support.training.fake_hosts import FakeHost
from tests.support.training.fake_trainer import recipe
address, folder = sys.argv[1], Path(sys.argv[2])
with Cluster(StudyConfig("s", dataset="digits", cluster=address, studies_dir=folder)) as cluster:
    cluster.log_to(folder / "worker.log")
    with ClusterWorkers(cluster, threading.Event(), Reporter(), host=FakeHost) as workers:
        training = workers.train(TrainTask(recipe(1), 1, folder / "split", 1.0, 1.0, 100_000, 100))
        next(training)
        (folder / "begun").touch()
        try:
            list(training)
        except WorkerLost:
            (folder / "lost").touch()
        while not (folder / "end").exists():
            time.sleep(0.05)
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.faults
@pytest.mark.timeout(120)
def test_what_ray_says_of_a_dead_node_goes_to_the_log_and_not_to_standard_output(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "images").write_bytes(b"pixels")
    command = [sys.executable, "-c", DRIVER, cluster.address, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        try:
            wait_for(tmp_path / "begun", driver)
            for _ in range(len(cluster.nodes)):  # one of them trains
                cluster.kill_node(cluster.nodes.pop())
            wait_for(tmp_path / "lost", driver)
            log = tmp_path / "worker.log"
            wait_for(log, driver)
        finally:
            (tmp_path / "end").touch()
            said, warned = driver.communicate(timeout=60)
    assert driver.returncode == 0, warned
    assert said == ""
    assert "raylet" in log.read_text().lower() or "node" in log.read_text()
    assert "raylet" not in warned.lower(), "nor to standard error"


def wait_for(path: Path, driver: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert driver.poll() is None and time.monotonic() < end, f"{path.name} has not come"
        time.sleep(0.05)
