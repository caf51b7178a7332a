"""What goes on at the nodes of a cluster while a run trains there? Looked at once a second, by a thread of its own.

No other thread asks Ray for the nodes: where the head has died, that takes a minute, and then Ray ends the process.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fmnist.errors import UserError
from fmnist.training.history import HistoryPoint
from search.callbacks.reporter import WARNING, NodeLoss, Reporter
from search.cluster.connection import SECONDS_TO_NOTICE, Cluster, Node
from search.format import with_noun
from search.system.cluster_address import CLIENT
from search.worker.tasks import ImagesSeen, TrainResult, WorkerLost

LOOK_SECONDS = 1.0  # between two looks
SECONDS_OF_PATIENCE = 5.0  # that a training may find no node which could take it, before that is said
SECONDS_WITHOUT_HEAD = 30.0  # after which the run ends; Ray ends the process itself after 60


@dataclass(eq=False)
class Work:
    """A task that a host has, or waits for a place with."""

    n_threads: int
    node: str = ""  # Ray's id of it; empty while the task waits for a place
    n_images: int = 0  # that its trainings have seen
    began: float | None = None  # on that node, by time.monotonic
    _n_images_before: int = 0  # of its trainings that have ended

    def begin(self, node: str) -> None:
        """Begin on that node."""
        self.node, self.began = node, time.monotonic()

    def count(self, message: object) -> None:
        """Count the images that a message tells of."""
        if isinstance(message, HistoryPoint | ImagesSeen):
            self.n_images = max(self.n_images, self._n_images_before + message.n_images)
        elif isinstance(message, TrainResult):
            self._n_images_before += message.n_images
            self.n_images = self._n_images_before


@dataclass(frozen=True)
class Loss:
    """A task that has ended with its host."""

    work: Work
    lost: WorkerLost  # says what it was, once whoever waited for the task has caught it
    at: float  # by time.monotonic

    @property
    def seconds(self) -> float:
        """How long it had run."""
        return 0.0 if self.work.began is None else self.at - self.work.began


class ClusterWatch:
    """Tells of the nodes: what they train, which come and go, what is lost with one, and what none can take.

    Args:
        cluster: What is looked at.
        reporter: Is told.
        work: Returns the tasks under way.
    """

    def __init__(self, cluster: Cluster, reporter: Reporter, work: Callable[[], list[Work]]) -> None:
        self._error: BaseException | None = None  # of the thread that looks
        self._cluster = cluster
        self._reporter = reporter
        self._work = work
        self._lock = threading.Lock()
        self._losses: list[Loss] = []  # not told yet
        self._nodes = {node.key: node for node in cluster.last_nodes}
        self._silent_since: float | None = None  # the head; None: it has answered the last look
        self._starved_since: float | None = None  # a training; None: each could be placed
        self._starved_threads = 0  # of that training, once its wait was told; 0 before
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no longer. What was lost and not told yet is told now."""
        self._closing.set()
        self._thread.join(timeout=2 * LOOK_SECONDS)  # Ray may not answer
        self._tell_losses([], is_last=True)
        self._reporter.show_nodes(None)

    def add_loss(self, work: Work, lost: WorkerLost) -> None:
        """Tell of a lost task, together with the others of its node."""
        with self._lock:
            self._losses.append(Loss(work, lost, time.monotonic()))

    def _run(self) -> None:
        try:
            while not self._closing.wait(LOOK_SECONDS):
                self.look()
        except BaseException as error:
            self._error = error

    def look(self) -> None:
        """Look once."""
        if self._silent_since is None:
            self._silent_since = time.monotonic()
        if not self._cluster.look() or self._closing.is_set():
            return
        self._silent_since = None
        nodes, work = self._cluster.last_nodes, self._work()
        self._show(nodes, work)
        self._tell_who_came(nodes)
        self._tell_losses(work)
        self._tell_who_left(nodes)
        self._tell_starved(nodes, work)

    def require_head(self) -> None:
        """Raise what ends the run, asked by the threads that wait for trainings: a look itself may wait in vain.

        Raises:
            UserError: The head has not answered for long.
        """
        if self._error is not None:
            raise self._error
        since = self._silent_since
        seconds = 0.0 if since is None else time.monotonic() - since
        if seconds > SECONDS_WITHOUT_HEAD:
            raise UserError(
                f"the cluster's head must answer at {self._cluster.head}, but has not for {seconds:.0f} s; start the "
                "cluster again, then the same command goes on from here"
            )

    def _show(self, nodes: Sequence[Node], work: Sequence[Work]) -> None:
        running = Counter(each.node for each in work)
        trainings = {self._cluster.name_of(node.key): running[node.key] for node in nodes}
        self._reporter.show_nodes(trainings, running[""])

    def _tell_who_came(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if node.key not in self._nodes:
                self._nodes[node.key] = node
                name, cores = self._cluster.name_of(node.key), with_noun(int(node.cores), "core")
                self._reporter.say(f"node {name} has joined the cluster, with {cores}")

    def _tell_who_left(self, nodes: Sequence[Node]) -> None:
        """Tell of nodes that trained nothing; the others are told of with what is lost."""
        alive = {node.key for node in nodes}
        with self._lock:
            losing = {loss.work.node for loss in self._losses}
        for key in self._nodes.keys() - alive - losing:
            del self._nodes[key]
            self._reporter.say(f"node {self._cluster.name_of(key)} has left the cluster; nothing ran there")

    def _tell_losses(self, work: Sequence[Work], *, is_last: bool = False) -> None:
        """Tell what each node has taken with it, once that is known of all its trainings.

        The calls of a dead node's hosts fail at once, but Ray takes some seconds to say that it was the node.
        """
        alive = {node.key for node in self._cluster.last_nodes}
        busy = {each.node for each in work}
        told = []
        with self._lock:
            for key in {loss.work.node for loss in self._losses}:
                losses = [loss for loss in self._losses if loss.work.node == key]
                is_known = key not in alive | busy and all(loss.lost.training for loss in losses)
                waited = time.monotonic() - min(loss.at for loss in losses)
                if is_last or is_known or waited > SECONDS_TO_NOTICE:
                    told.append((key, losses))
                    self._losses = [loss for loss in self._losses if loss.work.node != key]
        for key, losses in told:
            if key not in alive:
                self._nodes.pop(key, None)
            self._reporter.warn_of_loss(
                NodeLoss(
                    node=self._cluster.name_of(key),
                    is_whole=key not in alive,
                    trainings=tuple(loss.lost.training for loss in losses if loss.lost.runs_again),
                    n_images=sum(loss.work.n_images for loss in losses),
                    seconds=sum(loss.seconds for loss in losses),
                )
            )

    def _tell_starved(self, nodes: Sequence[Node], work: Sequence[Work]) -> None:
        """Tell of a training that waits for a place though no node is large enough, and when one is again."""
        starved = 0
        for each in work:
            if not each.node and not any(node.n_slots(each.n_threads, self._cluster.gpus_each) for node in nodes):
                starved = max(starved, each.n_threads)
        if not starved:
            if self._starved_threads:
                cores = with_noun(self._starved_threads, "core")
                self._reporter.say(f"the run goes on: there is a node with {cores} again", WARNING)
            self._starved_since, self._starved_threads = None, 0
            return
        if self._starved_since is None:
            self._starved_since = time.monotonic()
        if not self._starved_threads and time.monotonic() - self._starved_since > SECONDS_OF_PATIENCE:
            self._starved_threads = starved
            self._reporter.warn(self._starvation(starved))

    def _starvation(self, n_threads: int) -> str:
        head, gpus_each = self._cluster.head, self._cluster.gpus_each
        needed, given = with_noun(n_threads, "core"), f"--num-cpus {n_threads}"
        if gpus_each:
            needed, given = f"{needed} and {gpus_each:g} GPU", f"{given} --num-gpus {math.ceil(gpus_each)}"
        address = "HOST:PORT" if head.startswith(CLIENT) else head
        return (
            f"the run waits: a training needs a node with {needed}, but the cluster has none; start one by ray start "
            f"--address {address} {given}, or end the run and begin it again with the nodes that are left"
        )
