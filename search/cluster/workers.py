"""Trainings on the nodes of a cluster, from the supervisor's side: `WorkerProcesses` for whom Ray finds the place."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from fmnist.errors import UserError
from search.callbacks.reporter import Reporter
from search.cluster.connection import SECONDS_TO_NOTICE, Cluster, first_line
from search.cluster.node import Answer, TrainingHost
from search.cluster.shipping import Parcel, Shipper
from search.cluster.watch import ClusterWatch, Work
from search.worker.local import WorkerProcesses, with_absolute_paths
from search.worker.tasks import (
    MAX_LOSSES,
    AverageTask,
    BaselineTask,
    Failure,
    Interrupted,
    PredictorTask,
    Task,
    TrainingFailed,
    TrainMessage,
    TrainTask,
    WorkerLost,
)

POLL_SECONDS = 0.2  # how often whoever waits for a node checks whether to stop
LOOK_SECONDS = 2.0  # how often whoever waits for a free node counts them


class Superseded(Exception):
    """What was waited for is not needed any more."""


def never() -> bool:
    """Say that what is waited for stays needed."""
    return False


class ClusterWorkers(WorkerProcesses):
    """Runs each task on a node that has room for it. Thread-safe: one call per supervisor thread at a time.

    A task takes as many cores as it has threads. Hosts, see `search.cluster.node`, stay for the next task of as many
    threads. Nothing that a task sends is trusted to be the last word but what comes back here: a node that goes on
    behind a broken network can write nothing.

    Args:
        cluster: Where they run.
        stop: Set it to make every call raise Interrupted.
        reporter: Is told what the nodes do, and what is lost with one.
        cap: Trainings at a time for which the cluster is asked though it has no room yet, so that it grows; None: as
            many as there is room for.
        host: The class of the hosts; tests pass one that trains nothing.
    """

    def __init__(
        self,
        cluster: Cluster,
        stop: threading.Event,
        reporter: Reporter,
        cap: int | None = None,
        host: type = TrainingHost,
    ) -> None:
        self._cluster = cluster
        self._stop = stop
        self._cap = cap
        self._host = ray.remote(host)
        self._run_name = f"run-{secrets.token_hex(8)}"
        self._shipper = Shipper(ray.put)
        self._lock = threading.Lock()
        self._idle: dict[int, list[Any]] = {}  # hosts without a task, by their number of threads
        self._busy: dict[Any, Work] = {}  # of the hosts with a task
        self._queued: list[Work] = []  # tasks that wait for a host
        self._n_reserved = 0  # trainings that have room, see `room`
        self._watch = ClusterWatch(cluster, reporter, self._work)
        self._watch.start()

    def _work(self) -> list[Work]:
        with self._lock:
            return list(dict.fromkeys([*self._busy.values(), *self._queued]))

    def close(self) -> None:
        """End whatever runs; nothing can be run afterwards."""
        self._watch.close()
        with self._lock:
            idle = [host for hosts in self._idle.values() for host in hosts]
            busy = list(self._busy)
            self._idle.clear()
        closing = [host.close.remote().future() for host in idle]
        wait(closing, timeout=1.0)
        for host in [*idle, *busy]:
            ray.kill(host)

    @contextmanager
    def room(self) -> Iterator[None]:
        """Wait until another training may begin, as the cluster has room for it or is to grow by it, and keep that.

        Raises:
            Interrupted: `stop` was set.
            UserError: The cluster's head is gone.
        """
        while not self._reserve():
            self._stop.wait(LOOK_SECONDS)
            self._require_going_on()
        try:
            yield
        finally:
            with self._lock:
                self._n_reserved -= 1

    def _reserve(self) -> bool:
        n_slots = self._cap or max(1, self._cluster.n_slots(self._cluster.resources.n_threads))
        with self._lock:
            if self._n_reserved >= n_slots:
                return False
            self._n_reserved += 1
            return True

    def train(self, task: TrainTask | BaselineTask) -> Generator[TrainMessage, None, None]:
        """Run a training on a node, and yield its messages as they come, as `WorkerProcesses.train` does.

        Raises:
            TrainingFailed: The training came to nothing.
            WorkerLost: Its node, or its host there, has died.
            Interrupted: `stop` was set.
            UserError: No process starts on the node, or the cluster's head is gone.
        """
        yield from self._messages_of(task)

    def predict(self, task: PredictorTask) -> np.ndarray:
        """Predict on a node, as `WorkerProcesses.predict` does; on another one if that is lost."""
        n_losses = 0
        while True:
            try:
                (predicted,) = self._messages_of(task)
                return predicted
            except WorkerLost as lost:
                n_losses += 1
                lost.concerns("a prediction", runs_again=n_losses < MAX_LOSSES)
                if not lost.runs_again:
                    raise

    def _messages_of(self, task: Task) -> Generator[Any, None, None]:
        task = with_absolute_paths(task)
        parcel = self._shipper.pack(task)
        host, work = self._begin(parcel, task.n_threads)
        is_idle = False
        try:
            while True:
                answer: Answer = self._await(host.next.remote(), never)
                if answer.is_end:
                    is_idle = True
                    return
                if isinstance(answer.message, Failure):
                    is_idle = True
                    raise TrainingFailed(answer.message.kind, answer.message.reason, answer.message.trace)
                if answer.output is not None:
                    write_output(task, answer.output)
                work.count(answer.message)
                yield answer.message
        except GeneratorExit:
            with suppress(RayError, Interrupted, UserError):  # the caller has what it wanted
                self._await(host.end.remote(), never)
                is_idle = True
            raise
        except (RayActorError, OutOfMemoryError) as error:
            raise self._failure_of(work, error) from None
        finally:
            self._give_back(host, task.n_threads, is_idle=is_idle)

    def _begin(self, parcel: Parcel, n_threads: int) -> tuple[Any, Work]:
        """Give a task to a host, and return the host, which has a place now, with what it does there."""
        has_idle = partial(self._has_idle, n_threads)
        gives_up_at = math.inf
        while True:
            work = Work(n_threads)
            host, is_new = self._take_host(work)
            is_in_place = False
            try:
                node = self._await(host.begin.remote(parcel), has_idle if is_new else never)
                work.begin(node)
                is_in_place = True
                return host, work
            except Superseded:  # it waits for cores, which those without a task have: one of these will do
                pass
            except (RayActorError, OutOfMemoryError) as error:
                if is_new and (is_final(error) or time.monotonic() > gives_up_at):
                    raise self._failure_of(work, error) from None
                # The task has not begun, so nothing is lost: the host has died since its last one, or Ray has placed it
                # on a node that it has not yet found to be dead.
                gives_up_at = min(gives_up_at, time.monotonic() + SECONDS_TO_NOTICE)
                self._stop.wait(POLL_SECONDS)
            finally:
                if not is_in_place:
                    self._give_back(host, n_threads, is_idle=False)

    def _failure_of(self, work: Work, error: RayActorError | OutOfMemoryError) -> Exception:
        """Return what the death of a host is to its task."""
        if isinstance(error, OutOfMemoryError):
            return TrainingFailed("memory", f"Ray ended it, as its node ran out of memory: {first_line(error)}")
        if error.actor_init_failed:
            return error
        # Ray learns of a node's death some seconds after that of the processes there.
        is_alive = any(node.key == work.node for node in self._cluster.last_nodes)
        why = "the process that trained there has died, or all of it" if is_alive else "the node has died"
        lost = WorkerLost(f"node {self._cluster.name_of(work.node)}", why)
        self._watch.add_loss(work, lost)
        return lost

    def _take_host(self, work: Work) -> tuple[Any, bool]:
        """Return a host with as many cores as the work has threads, and whether it is new.

        It is made where none is idle, and there is room for it. It may wait for its place where the cluster is to grow
        by it, or others use it.

        Raises:
            Interrupted: `stop` was set before.
            UserError: The cluster's head is gone.
        """
        with self._lock:
            self._queued.append(work)
        try:
            while True:
                taken = self._host_with_room(work)
                if taken is not None:
                    return taken
                self._stop.wait(POLL_SECONDS)
                self._require_going_on()
        finally:
            with self._lock:
                self._queued.remove(work)

    def _host_with_room(self, work: Work) -> tuple[Any, bool] | None:
        n_slots = max(1, self._cap or 0, self._cluster.n_slots(work.n_threads))
        with self._lock:
            is_new = not self._idle.get(work.n_threads)
            if not is_new:
                host = self._idle[work.n_threads].pop()
            else:
                self._end_idle()  # they keep cores that this one may need
                if len(self._busy) >= n_slots:
                    return None
                host = self._new_host(work.n_threads)
            self._busy[host] = work
            return host, is_new

    def _has_idle(self, n_threads: int) -> bool:
        """Whether a host of so many threads has no task. Those of other threads end: whoever asks waits for cores."""
        with self._lock:
            if self._idle.get(n_threads):
                return True
            self._end_idle()
            return False

    def _end_idle(self) -> None:
        for hosts in self._idle.values():
            while hosts:
                ray.kill(hosts.pop())

    def _new_host(self, n_threads: int) -> Any:
        gpus = self._cluster.gpus_each
        share = min(1.0, n_threads / self._cluster.resources.most_threads)
        placed = self._host.options(num_cpus=n_threads, num_gpus=gpus, max_restarts=0, max_task_retries=0)
        return placed.remote(self._run_name, share, takes_gpu=gpus > 0)

    def _give_back(self, host: Any, n_threads: int, *, is_idle: bool) -> None:
        with self._lock:
            del self._busy[host]
            if is_idle and not self._stop.is_set():
                self._idle.setdefault(n_threads, []).append(host)
                return
        ray.kill(host)

    def _await(self, reference: Any, is_superseded: Callable[[], bool]) -> Any:
        """Return what a call of a host gives.

        Raises:
            Interrupted: `stop` was set before.
            Superseded: The caller need not wait any longer.
            UserError: The host cannot do what was asked of it, or the cluster's head is gone.
        """
        future = reference.future()
        while True:
            self._require_going_on()
            wait([future], timeout=POLL_SECONDS)
            if future.done():
                return result_of(future)
            if is_superseded():
                raise Superseded

    def _require_going_on(self) -> None:
        self._watch.require_head()
        if self._stop.is_set():
            raise Interrupted


def result_of(future: Future[Any]) -> Any:
    """Return what a call of a host has given, or raise what it has raised: Ray adds its own trace to that.

    Raises:
        UserError: The host cannot do what was asked of it.
    """
    try:
        return future.result()
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        raise


def is_final(error: RayActorError | OutOfMemoryError) -> bool:
    """Whether another host would die as this one did, before it had begun."""
    return isinstance(error, OutOfMemoryError) or error.actor_init_failed


def write_output(task: Task, content: bytes) -> None:
    """Write the file that a task has written on its node to where it was to write it."""
    assert isinstance(task, TrainTask | BaselineTask | AverageTask) and task.save_to is not None
    task.save_to.write_bytes(content)
