"""The contract of Ray's names that are not public: what Ray says of dead workers and nodes is taken over."""

from __future__ import annotations

import os
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


# A process that has once read the mode keeps it: so a cluster that asks for a token is another process, too.
SERVER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
CLIENT = """
import os, sys
import ray
from search.cluster.connection import Cluster
from search.config import StudyConfig
with Cluster(StudyConfig("s", dataset="digits", cluster=sys.argv[1])) as cluster:
    print(cluster.resources.workers, ray.nodes()[0]["Alive"], os.environ.get("RAY_AUTH_MODE"))
print(os.environ.get("RAY_AUTH_MODE"))
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(120)
def test_token_that_a_cluster_asks_for_is_sent_without_a_word_of_the_user(tmp_path: Path) -> None:
    """`ray start` takes a token that there is, so whoever has started a cluster with one need not say so for a run."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4, encoding="utf-8")
    silent = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    silent |= {"RAY_AUTH_TOKEN_PATH": str(token), "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    server = [sys.executable, "-c", SERVER]
    asking = {**silent, "RAY_AUTH_MODE": "token"}
    with subprocess.Popen(server, env=asking, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        command = [sys.executable, "-c", CLIENT, address]
        run = subprocess.run(command, env=silent, cwd=ROOT, capture_output=True, text=True, check=False)
        cluster.communicate(timeout=60)
    assert run.stdout.split() == ["1", "True", "token", "None"], run.stderr


def wait_for(path: Path, driver: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert driver.poll() is None and time.monotonic() < end, f"{path.name} has not come"
        time.sleep(0.05)
