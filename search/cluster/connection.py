"""Which nodes does a Ray cluster have, and may trainings run on them? Asked when a run connects to it.

Ray is imported here, and so only where a cluster is asked for.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
import psutil
import ray
from ray import cloudpickle
from ray.exceptions import AuthenticationError, GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fmnist.errors import UserError
from search.cluster import report
from search.cluster.ray_private import redirect_messages, send_token
from search.cluster.reach import how_to_share_token, reach
from search.config import StudyConfig
from search.system.cluster_address import AUTO, split_address
from search.worker.resources import Resources, in_bfloat16

MOST_WORKERS = 1024  # trainings at a time, where the user sets no limit: each is waited for by a thread here
SECONDS_TO_NOTICE = 30  # the death of a node, by Ray
SECONDS_TO_CONNECT = 5.0  # to the head, which is asked now and then whether it is still there
SECONDS_TO_DESCRIBE = 90  # of a node, whose first process loads Ray


@dataclass(frozen=True)
class Node:
    """A node of a cluster that can train."""

    key: str  # Ray's id of it
    name: str  # its address
    cores: float
    gpus: float

    def n_slots(self, n_threads: int, gpus_each: float) -> int:
        """Return how many trainings of so many threads and GPUs fit on it."""
        slots = math.floor(self.cores / n_threads)
        if gpus_each > 0:
            slots = min(slots, math.floor(self.gpus / gpus_each + 1e-9))
        return slots


class Cluster:
    """A connection to a Ray cluster all of whose nodes can train. Use it as a context manager.

    Args:
        config: Names the cluster, and what trainings take.

    Raises:
        UserError: There is no such cluster, whoever reaches it could use it, or a node cannot train.
    """

    def __init__(self, config: StudyConfig) -> None:
        address = config.cluster
        assert address is not None, "a cluster has an address"
        self.address = address
        self._opened = ExitStack()  # what is undone when this ends
        self.last_nodes: list[Node] = []  # that were alive when somebody looked last
        self._names: dict[str, str] = {}  # of all nodes that were ever seen, by Ray's ids
        self.head = address  # or what stands for it, Ray Client's port
        try:
            if not ray.is_initialized():  # a caller's connection stays as it is
                self.head = connect(address, self._opened)
            elif address == AUTO:
                self.head = ray.get_runtime_context().gcs_address
            if self.head != address:
                self.address = f"{address}, {self.head}"
            nodes, self.described = self._described()
            if not nodes:
                raise UserError(
                    f"--cluster {address} must have a node with cores, but has none; start one by ray start "
                    f"--address HOST:PORT, on which this tool is installed"
                )
            refuse_unlike(nodes, self.described)
            if not config.insecure_cluster:
                refuse_open(nodes, self.described)
            self.gpus_each = gpus_of_each(config, nodes)
            self._remember(nodes)
            self.resources = resources_of(config, nodes, self.described, self.gpus_each, self.name_of)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive now and have cores."""
        nodes = []
        for node in ray.nodes():
            resources = node["Resources"]
            if node["Alive"] and resources.get("CPU", 0) >= 1:
                nodes.append(
                    Node(node["NodeID"], node["NodeManagerAddress"], resources["CPU"], resources.get("GPU", 0))
                )
        return nodes

    def _described(self) -> tuple[list[Node], list[dict[str, Any]]]:
        """Ask the nodes what they are. One that dies before it answers, or just before it was asked, is left out."""
        nodes = self.nodes()
        while True:
            try:
                return nodes, describe_nodes(nodes)
            except UserError:
                if not self._has_lost_one_of(nodes):
                    raise
                alive = self.nodes()
                nodes = [node for node in nodes if node in alive]

    def _has_lost_one_of(self, nodes: Sequence[Node]) -> bool:
        """Whether one of them has died. Ray learns of it some seconds after the answers of that node fail."""
        end = time.monotonic() + SECONDS_TO_NOTICE
        while True:
            alive = self.nodes()
            if not all(node in alive for node in nodes):
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.2)

    def look(self) -> bool:
        """Find the nodes that are alive now. Returns False where the head does not answer: Ray would wait a minute."""
        try:
            socket.create_connection(split_address(self.head), timeout=SECONDS_TO_CONNECT).close()
            self._remember(self.nodes())
        except (OSError, RayError, grpc.RpcError):
            return False
        return True

    def _remember(self, nodes: list[Node]) -> None:
        taken = {self._names[node.key] for node in nodes if node.key in self._names}
        for node in nodes:
            if node.key not in self._names:
                name, n = node.name, 1
                while name in taken:  # a simulated cluster has several nodes on one machine
                    n += 1
                    name = f"{node.name} ({n})"
                self._names[node.key] = name
                taken.add(name)
        in_order = list(self._names)
        self.last_nodes = sorted(nodes, key=lambda node: in_order.index(node.key))

    def name_of(self, key: str) -> str:
        """Return the address of a node that was seen, with a number where others have the same. key: Ray's id of it."""
        return self._names.get(key, "of the cluster")

    def n_slots(self, n_threads: int) -> int:
        """Return how many trainings of so many threads fit on the nodes, as they were looked at last."""
        return sum(node.n_slots(n_threads, self.gpus_each) for node in self.last_nodes)

    def in_words(self) -> str:
        """Say what the cluster has, and what is made of it."""
        resources = self.resources
        gpus = f" and {self.gpus_each:g} GPU" if self.gpus_each else ""
        if self.gpus_each > 1:
            gpus += "s"
        trainings = "1 training" if resources.workers == 1 else f"{resources.workers} trainings"
        threads = "1 thread" if resources.n_threads == 1 else f"{resources.n_threads} threads"
        names = "; ".join(f"{name}: {what}" for name, what in resources.nodes.items())
        return f"cluster {self.address} ({names}); up to {trainings} at a time, each of {threads}{gpus}"

    def log_to(self, log: Path) -> None:
        """Write there what Ray says of its workers and nodes."""

        def write(text: str) -> None:
            with open(log, "a", encoding="utf-8") as file:
                file.write(text)

        self._opened.callback(redirect_messages(write))

    def close(self) -> None:
        """Leave the cluster."""
        self._opened.close()


def connect(address: str, opened: ExitStack) -> str:
    """Connect this process to a cluster that is there, none is started, and return its address, which `auto` is not.

    Args:
        address: As the option has it.
        opened: Ends the connection.

    Raises:
        UserError: There is none.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    remedy = "start one by ray start --head, or pass the address that ray start printed"
    reached = reach(address)
    if reached.wants_token:
        opened.callback(send_token())
    try:
        with keeping_signals(), warnings.catch_warnings(action="ignore"):  # Ray Client warns of what it raises then
            ray.init(address=reached.address, log_to_driver=False, logging_level=logging.ERROR)
    except AuthenticationError:
        raise UserError(
            f"--cluster {address} asks for a token, but this machine has none or another one; {how_to_share_token()}"
        ) from None
    except (ConnectionError, TimeoutError, ValueError, AssertionError) as error:
        raise UserError(
            f"--cluster must name a Ray cluster that answers, but {address} does not ({first_line(error)}); {remedy}"
        ) from None
    except RuntimeError as error:
        said = str(error)
        if "ersion mismatch" in said:
            raise UserError(
                f"--cluster {address} must run this machine's Python {platform.python_version()} and Ray "
                f"{ray.__version__}, but runs others ({first_line(error)}); install the same on all machines"
            ) from None
        if "token" in said.lower():
            raise UserError(
                f"--cluster {address} needs a token, but {first_line(error)}; copy the head's ~/.ray/auth_token to the "
                "same place here"
            ) from None
        raise
    opened.callback(ray.shutdown)
    return reached.address


@contextmanager
def keeping_signals() -> Iterator[None]:
    """Install the handlers of signals again that Ray replaces, from Python and below it: SIGTERM would end a run."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # one that Python has not installed
                    signal.signal(number, handler)


def first_line(error: BaseException) -> str:
    """Return the first sentence of what an error says, or its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].partition(". ")[0].rstrip(".:") if lines else type(error).__name__


def describe_nodes(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """Ask every node what it is, see `search.cluster.report.describe_node`."""
    cloudpickle.register_pickle_by_value(report)
    try:
        ask = ray.remote(num_cpus=0, max_retries=0)(report.describe_node)
        asked = []
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node.key, soft=False)
            asked.append(ask.options(scheduling_strategy=there).remote())
        described = []
        for node, answer in zip(nodes, asked, strict=True):
            try:
                described.append(ray.get(answer, timeout=SECONDS_TO_DESCRIBE))
            except (GetTimeoutError, RayError) as error:
                raise UserError(
                    f"node {node.name} of the cluster must answer, but did not ({first_line(error)}); stop it by ray "
                    "stop, or repair it"
                ) from None
        return described
    finally:
        cloudpickle.unregister_pickle_by_value(report)


def refuse_unlike(nodes: Sequence[Node], described: Sequence[dict[str, Any]]) -> None:
    """Raise UserError where a node lacks the tool, or has other versions than this machine."""
    own = report.describe_node()["versions"]
    for node, description in zip(nodes, described, strict=True):
        for name, here in own.items():
            there = description["versions"][name]
            if there != here and name == "code":
                raise UserError(
                    f"every node of the cluster must have this machine's code ({here}), but {node.name} has other code "
                    f"({there}); put the same version there, with the same changes, and start Ray there again"
                )
            if there != here:
                raise UserError(
                    f"every node of the cluster must have {name} {here}, as this machine has, but {node.name} has "
                    f"{there}; install the same there (pip install -c constraints.txt), and start Ray there again"
                )
        if "missing" in description:
            raise UserError(
                f"every node of the cluster must be able to load this tool, but {node.name} cannot "
                f"({description['missing']}); install it in the environment in which Ray was started there"
            )


def refuse_open(nodes: Sequence[Node], described: Sequence[dict[str, Any]]) -> None:
    """Raise UserError where the cluster has nodes on other machines and asks nobody for a token."""
    own_addresses = {address.address for of_card in psutil.net_if_addrs().values() for address in of_card}
    for node, description in zip(nodes, described, strict=True):
        if node.name not in own_addresses and not description["asks_for_token"]:
            raise UserError(
                f"a cluster of several machines must ask for a token, but {node.name} does not, so that whoever "
                "reaches its ports runs code there; run ray get-auth-token --generate, copy ~/.ray/auth_token to all "
                "machines, and start Ray with RAY_AUTH_MODE=token, or pass --insecure-cluster on a network of your own"
            )


def gpus_of_each(config: StudyConfig, nodes: Sequence[Node]) -> float:
    """Return the GPUs that each training takes.

    Raises:
        UserError: No node has as many.
    """
    most = max(node.gpus for node in nodes)
    if config.gpus_per_training is None:
        return min(1.0, most)
    if config.gpus_per_training > most:
        raise UserError(
            f"--gpus-per-training must be at most {most:g}, what the best node of the cluster has, but got "
            f"{config.gpus_per_training:g}; lower it, or add a node"
        )
    return config.gpus_per_training


def resources_of(
    config: StudyConfig,
    nodes: Sequence[Node],
    described: Sequence[dict[str, Any]],
    gpus_each: float,
    name_of: Callable[[str], str],
) -> Resources:
    """Return what the cluster gives to a run: with fewer workers than cores, each has as many threads as fit."""

    def n_slots(n_threads: int) -> int:
        return sum(node.n_slots(n_threads, gpus_each) for node in nodes)

    most_threads = int(max(node.cores for node in nodes))
    workers = config.workers or n_slots(1)
    n_threads = 1
    while n_threads < most_threads and n_slots(n_threads + 1) >= workers:
        n_threads += 1
    is_faster = all(each["is_faster_in_bfloat16"] and not each["has_gpu"] for each in described)
    return Resources(
        workers=workers,
        n_threads=n_threads,
        most_threads=most_threads,
        bfloat16=in_bfloat16(config, is_faster=is_faster),
        memory_mb=None,
        memory_limit_mb=config.memory_limit_mb,
        most_workers=config.workers or min(MOST_WORKERS, max(workers, config.trials)),
        nodes={name_of(node.key): in_words(node, each) for node, each in zip(nodes, described, strict=True)},
    )


def in_words(node: Node, description: dict[str, Any]) -> str:
    """Say which cores, GPUs and processor a node has."""
    words = "1 core" if node.cores == 1 else f"{node.cores:g} cores"
    if node.gpus:
        words += ", 1 GPU" if node.gpus == 1 else f", {node.gpus:g} GPUs"
    return f"{words}, {description['processor']}"
