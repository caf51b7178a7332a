"""Where do the trainings of a run take place: on this machine, or on a cluster? Ray is loaded for a cluster alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from search.callbacks.reporter import Reporter
from search.config import StudyConfig
from search.worker.local import WorkerProcesses
from search.worker.resources import Resources, local_resources

StartWorkers = Callable[[Path, threading.Event], WorkerProcesses]  # given the log of the workers, and the wish to stop


@dataclass(frozen=True)
class Place:
    """Where a run trains."""

    resources: Resources
    start_workers: StartWorkers


@contextmanager
def place_of(config: StudyConfig, reporter: Reporter, start_workers: StartWorkers = WorkerProcesses) -> Iterator[Place]:
    """Connect to the cluster that the options name, while the block runs; without one it is this machine.

    Args:
        config: The study's options.
        reporter: Is told what the user should know of the cluster.
        start_workers: Starts what trains on this machine.

    Raises:
        UserError: The cluster cannot be used.
    """
    if config.cluster is None:
        yield Place(local_resources(config), start_workers)
        return
    from search.cluster.connection import Cluster
    from search.cluster.workers import ClusterWorkers

    with Cluster(config) as cluster:
        reporter.say(cluster.in_words())

        def start(log: Path, stop: threading.Event) -> ClusterWorkers:
            cluster.log_to(log)
            return ClusterWorkers(cluster, stop, reporter, config.workers)

        yield Place(cluster.resources, start)
