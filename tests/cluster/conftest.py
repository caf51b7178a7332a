"""A cluster of three nodes on this machine, whose head trains nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.config import StudyConfig
from tests.support.training.cluster_campaign import QUICK_TO_NOTICE
from tests.support.training.fake_process import SECONDS_VARIABLE

ROOT = Path(__file__).parents[2]


class SimulatedCluster:
    """Nodes of one core each, that can be killed and added."""

    def __init__(self, n_nodes: int) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "_system_config": QUICK_TO_NOTICE}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self._cluster.address
        self.nodes = [self.add_node() for _ in range(n_nodes)]

    def config(self, folder: Path, **more: Any) -> StudyConfig:
        """Return the options of a study of the digits here."""
        fields = {"study": "s", "dataset": "digits", "studies_dir": folder, "cluster": self.address}
        return StudyConfig(**{**fields, **more})

    def add_node(self, n_cores: int = 1) -> Any:
        return self._cluster.add_node(num_cpus=n_cores)

    def kill_node(self, node: Any) -> None:
        """Kill all processes of a node at once, as a power cut does."""
        self._cluster.remove_node(node, allow_graceful=False)

    def kill_head(self) -> None:
        """Kill what holds the cluster together; nodes and trainings go on for a while."""
        self._cluster.head_node.kill_gcs_server()

    def shut_down(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[SimulatedCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv(SECONDS_VARIABLE, "0.01")
        logging.getLogger("ray").setLevel(logging.ERROR)
        simulated = SimulatedCluster(3)
        yield simulated
        simulated.shut_down()
