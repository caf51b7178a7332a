"""Hosts of a cluster that train nothing; nodes import this module.

What a task reports follows from its seed alone, as `fake_process` has it. A few seeds stand for tasks that fail.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
import psutil

from fmnist.errors import UserError
from search.cluster.node import TrainingHost
from search.cluster.shipping import Parcel
from search.worker.local import WorkerProcesses
from search.worker.tasks import BaselineTask, PredictorTask, TrainingFailed, TrainMessage, TrainResult, TrainTask
from tests.support.training.fake_process import SECONDS_VARIABLE, accuracy_of, points_of, serve

FAILURES = {101: "memory", 102: "diverged", 103: "error", 104: "hung"}  # seed -> kind
BUG, LATE, REFUSED = 201, 202, 203  # seeds of tasks in which the host itself meets an error
NAMES = ("ray::FakeHost", "ray::DyingHost", "ray::ProcessHost", "ray::TrainingHost")


class FakeWorkers:
    """Stands for `WorkerProcesses`, without any process."""

    def __init__(self, log: Path, stop: Event) -> None:
        self._n_tasks = 0

    def train(self, task: TrainTask | BaselineTask) -> Iterator[TrainMessage]:
        assert isinstance(task, TrainTask)
        self._n_tasks += 1
        if task.seed == BUG:
            raise KeyError("a bug")
        if task.seed == REFUSED:
            raise UserError("the machine must let processes run, but does not; free memory")
        if task.seed == LATE:
            raise TimeoutError("a disk that does not answer")
        for length in (task.n_planned_images, *task.further_lengths):
            history = []
            for point in points_of(task, length):
                time.sleep(float(os.environ.get(SECONDS_VARIABLE, "0")))
                history.append(point)
                yield point
                if task.seed in FAILURES:
                    raise TrainingFailed(FAILURES[task.seed], "as it was to", "Traceback of the process")
            if task.save_to is not None:
                task.save_to.write_bytes(self._output(task))
            yield TrainResult(tuple(history), history[-1], length, 0.1, 0.1, "end", 100.0)

    def _output(self, task: TrainTask) -> bytes:
        """Say what has arrived at this node, and which process has how many tasks behind it."""
        names = sorted(path.name for path in task.split_folder.iterdir())
        said = (os.getpid(), self._n_tasks, task.n_threads, round(task.memory_limit_mb or 0), *names)
        return " ".join(map(str, said)).encode()

    def predict(self, task: PredictorTask) -> np.ndarray:
        return np.full(len(task.images), os.getpid(), np.int64)

    def close(self) -> None:
        pass


class FakeHost(TrainingHost):
    """Trains nothing."""

    def __init__(self, run: str, share: float, *, takes_gpu: bool) -> None:
        super().__init__(run, share, takes_gpu=takes_gpu, start_workers=FakeWorkers)


class DyingHost(FakeHost):
    """Dies as it is given the first task of a run."""

    def begin(self, parcel: Parcel) -> str:
        mark = Path(tempfile.gettempdir(), f"died-{self._run_name}")
        if not mark.exists():
            mark.touch()
            os._exit(1)
        mark.unlink()
        return super().begin(parcel)


class ProcessHost(TrainingHost):
    """Starts a process for each task, as on this machine; it trains nothing."""

    def __init__(self, run: str, share: float, *, takes_gpu: bool) -> None:
        start = partial(WorkerProcesses, serve=serve, preload=("tests.support.training.fake_process",))
        super().__init__(run, share, takes_gpu=takes_gpu, start_workers=start)


def hosts() -> list[psutil.Process]:
    """Return the hosts of the simulated clusters that this process has started."""
    return [process for process in psutil.Process().children(recursive=True) if is_host(process)]


def is_host(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and " ".join(process.cmdline()).startswith(NAMES)
    except psutil.NoSuchProcess:
        return False


def expected_reports(seed: int, rungs: Sequence[int], report_every: int, n_spared: int = 0) -> dict[int, float]:
    """What a trial of this seed reports that climbs all these rungs but the first `n_spared`, by step."""
    reports, before = {}, sum(rungs[:n_spared])
    for length in rungs[n_spared:]:
        for mark in (*range(report_every, length, report_every), length):
            reports[before + mark] = accuracy_of(seed, length, mark)
        before += length
    return reports


def until(is_so: Callable[[], bool], otherwise: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)
