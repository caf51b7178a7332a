"""What runs on the nodes of a cluster: a look at the node, and a host that trains there.

The host trains as this tool does on its own machine: each training is a process of its own, forked from a server that
has loaded Keras, which the host starts once. So a host serves one training after the other without loading anything
again, and without memory that grows. Ray runs the host in a process of its own, and ends it with its driver.
"""

from __future__ import annotations

import os
import platform
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from fmnist.errors import UserError
from fmnist.training.precision import has_bfloat16
from search.cluster.shipping import NodeFiles, Parcel
from search.system.machine import total_memory_mb
from search.worker.local import WorkerProcesses
from search.worker.resources import SHARE_OF_MEMORY
from search.worker.tasks import (
    BaselineResult,
    BaselineTask,
    Failure,
    TrainingFailed,
    TrainResult,
    TrainTask,
)


@dataclass(frozen=True)
class Answer:
    """What a host says when it is asked for the next message of its task."""

    message: Any = None  # of the task, or the Failure that ended it
    is_end: bool = False  # the task has said all it had to say
    output: bytes | None = None  # the file that the task has written, with the result


class TrainingHost:
    """Runs one task at a time on a node. An actor of Ray's; no call of it is made while another one lasts.

    Args:
        run: Name of the run, for its folder on the node.
        share: Of the node's memory that a training may take, unless its task has a limit.
        takes_gpu: Whether it may use the GPUs that Ray has given to it.
        start_workers: Starts what trains; tests pass processes that train nothing.
    """

    def __init__(self, run: str, share: float, *, takes_gpu: bool, start_workers: Any = WorkerProcesses) -> None:
        if not takes_gpu:  # Ray leaves them visible to whoever asks for none
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._run_name = run
        self._memory_limit_mb = share * SHARE_OF_MEMORY * total_memory_mb()
        self._start_workers = start_workers
        self._files: NodeFiles | None = None  # from the first task on
        self._messages: Generator[Answer, None, None] | None = None

    def _start(self) -> NodeFiles:
        base = Path(tempfile.gettempdir(), f"fmnist-search-cluster-{os.getuid()}")
        files = NodeFiles(self._run_name, ray.get, base)
        self._output = tempfile.TemporaryDirectory(prefix="output-", dir=files.folder)
        self._workers = self._start_workers(Path(self._output.name, "worker.log"), threading.Event())
        return files

    def begin(self, parcel: Parcel) -> str:
        """Take a task, and return the id of this node. It runs as its messages are asked for."""
        if self._files is None:
            with naming_this_node():
                self._files = self._start()
        self._messages = self._run(parcel, self._files)
        return ray.get_runtime_context().get_node_id()

    def next(self) -> Answer:
        """Return the next message of the task once there is one."""
        if self._messages is None:
            raise RuntimeError("a host must be given a task before it is asked for messages")
        return next(self._messages, Answer(is_end=True))

    def end(self) -> None:
        """End the task before its end."""
        if self._messages is not None:
            self._messages.close()
        self._messages = None

    def close(self) -> None:
        """End what trains."""
        self.end()
        if self._files is not None:
            self._workers.close()
            self._output.cleanup()
            self._files.close()

    def _run(self, parcel: Parcel, files: NodeFiles) -> Generator[Answer, None, None]:
        try:
            with naming_this_node():
                yield from self._answers(files.unpack(parcel, Path(self._output.name)))
        except TrainingFailed as failure:
            yield Answer(Failure(failure.kind, f"{failure.reason} (on node {platform.node()})", failure.trace))

    def _answers(self, task: Any) -> Generator[Answer, None, None]:
        if isinstance(task, TrainTask | BaselineTask):
            if task.memory_limit_mb is None:
                task = replace(task, memory_limit_mb=self._memory_limit_mb)
            if isinstance(task, TrainTask) and task.bfloat16 and not has_bfloat16():
                raise TrainingFailed("error", "the study trains in bfloat16, which this node's processor lacks")
            for message in self._workers.train(task):
                is_result = isinstance(message, TrainResult | BaselineResult)
                yield Answer(message, output=self._take_output(task) if is_result else None)
        else:
            yield Answer(self._workers.predict(task), output=self._take_output(task))

    @staticmethod
    def _take_output(task: Any) -> bytes | None:
        """Return the file that a task has written, and remove it; None where it was to write none."""
        path = getattr(task, "save_to", None)
        if path is None:
            return None
        content = path.read_bytes()
        path.unlink()
        return content


@contextmanager
def naming_this_node() -> Iterator[None]:
    """Name this node in a UserError that leaves the block."""
    try:
        yield
    except UserError as error:
        raise UserError(f"node {platform.node()}: {error}") from None
