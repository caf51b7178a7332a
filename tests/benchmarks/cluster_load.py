"""How busy does one supervisor keep a cluster? Trainings that sleep, on simulated nodes of this machine.

    python -m tests.benchmarks.cluster_load --workers 64 --trials 1000 --seconds 20

Everything but the training is the product's own: sampler, SQLite storage, Ray, messages. It prints the share of the
workers' time in which they trained, and how much processor time the supervisor took for a trial. All nodes are
processes of this machine, which a real cluster's are not: what they take comes on top.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from fmnist.data.find import find_data
from fmnist.training.history import HistoryPoint
from search.callbacks.reporter import Reporter
from search.callbacks.terminal import Terminal
from search.config import StudyConfig
from search.context import read_context
from search.dashboard.publish import DashboardPublisher
from search.pipeline import OpenStudy, search
from search.refit.schedule import Clock
from search.study.storage.opening import open_storage
from search.study.study import create_or_resume
from search.worker.tasks import TrainMessage, TrainResult, TrainTask

ROOT = Path(__file__).parents[2]


class SleepingWorkers:
    """What a host trains with: it sleeps, and says an accuracy that follows from the task's seed."""

    def __init__(self, log: Path, stop: threading.Event) -> None:
        self._seconds = float(os.environ["SECONDS_OF_TRAINING"])

    def close(self) -> None:
        """End nothing."""

    def train(self, task: TrainTask) -> Generator[TrainMessage, None, None]:
        """Sleep for all of the task's trainings together, with an evaluation at the end of each."""
        accuracy = float(np.random.default_rng(task.seed).uniform(0.8, 0.95))
        for n_images in (task.n_planned_images, *task.further_lengths):
            time.sleep(self._seconds / task.n_trainings)
            point = HistoryPoint(n_images, self._seconds, 0.01, 0.5, accuracy, 0.5, accuracy)
            yield point
            yield TrainResult((point,), point, n_images, self._seconds, self._seconds, "end", 100.0)


def main() -> None:
    options = _parse()
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", PYTHONPATH=str(ROOT), SECONDS_OF_TRAINING=str(options.seconds))
    logging.getLogger("ray").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    from ray.cluster_utils import Cluster as SimulatedCluster

    simulated = SimulatedCluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(options.nodes):
        simulated.add_node(num_cpus=options.workers // options.nodes)
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(options, simulated.address, Path(folder))
    finally:
        simulated.shutdown()


def measure(options: argparse.Namespace, address: str, folder: Path) -> None:
    """Run the search on the cluster, and print what it took."""
    from search.cluster.connection import Cluster
    from search.cluster.node import TrainingHost
    from search.cluster.workers import ClusterWorkers

    class SleepingHost(TrainingHost):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs, start_workers=SleepingWorkers)

    config = StudyConfig(
        "load", trials=options.trials, dataset="digits", pruner=options.pruner, cluster=address, studies_dir=folder
    )
    stop = threading.Event()
    with Cluster(config) as cluster:
        print(cluster.in_words(), flush=True)
        context = read_context(
            config, find_data("digits", None), Clock(None), Reporter(), stop, resources=cluster.resources
        )
        context.files.root.mkdir(parents=True)
        from fmnist.data.split import save_split

        save_split(context.split, context.files.split)
        storage = open_storage(f"sqlite:///{context.files.storage}")
        storage.hold_trials()
        study = create_or_resume(config, context.space, storage)
        workers: Any = ClusterWorkers(cluster, stop, Terminal(), host=SleepingHost)
        publisher = DashboardPublisher(study, context.files, config.trials, context.rungs)
        opened = OpenStudy(study, storage, publisher, workers=workers)
        started, processor = time.monotonic(), time.process_time()
        search(context, opened, context.final_round(workers), None, config.trials)
        seconds, processor = time.monotonic() - started, time.process_time() - processor
        workers.close()
        print(share_busy(study, options, seconds, processor, cluster.resources.workers))
        storage.engine.dispose()


def share_busy(study: optuna.Study, options: argparse.Namespace, seconds: float, processor: float, n: int) -> str:
    """Say what share of the workers' time went into trainings, and what the supervisor took."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get("n_images")]
    ends = sorted(trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete)
    begins = [end - options.seconds for end in ends]  # as it slept for so long
    since, until = begins[n - 1], begins[-1]  # all of n hosts had begun, and the last training began
    trained = sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in zip(begins, ends, strict=True))
    of_all = len(trials) * options.seconds / seconds / n
    of_trial = processor / len(trials) * 1000
    return (
        f"{len(trials)} trainings in {seconds:.0f} s: {of_all:.1%} of the workers' time, "
        f"{trained / (until - since) / n:.1%} from when all {n} had begun to when the last training began; "
        f"{of_trial:.0f} ms of the supervisor's processor a trial"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a training")
    parser.add_argument("--pruner", default="none")
    return parser.parse_args()


if __name__ == "__main__":
    main()
