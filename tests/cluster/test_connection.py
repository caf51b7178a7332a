"""What a run asks of a cluster before it trains there, with nodes that are plain values: no Ray runs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import AuthenticationError

from fmnist.errors import UserError
from search.cluster import connection, report
from search.cluster.connection import (
    Cluster,
    Node,
    connect,
    first_line,
    gpus_of_each,
    refuse_open,
    refuse_unlike,
    resources_of,
)
from search.cluster.ray_private import redirect_messages
from search.cluster.reach import Reached
from search.config import StudyConfig
from search.worker.resources import Resources
from tests.support.remedies import Remedy, needs_remedy

OWN, FOREIGN = "127.0.0.1", "198.51.100.7"  # the latter is no machine's, but documentation's


def node(cores: float = 4, gpus: float = 0, name: str = OWN) -> Node:
    return Node(f"{name} {cores} {gpus}", name, cores, gpus)


def described(**more: Any) -> dict[str, Any]:
    """What a node says that is as this machine is; the versions' differences go into `versions`."""
    own = {**report.describe_node(), "processor": "a processor", "is_faster_in_bfloat16": False, "has_gpu": False}
    versions = {**own["versions"], **more.pop("versions", {})}
    return {**own, **more, "versions": versions}


def config(**more: Any) -> StudyConfig:
    return StudyConfig("s", dataset="digits", cluster="auto", **more)


def resources(nodes: list[Node], gpus_each: float = 0, each: dict[str, Any] | None = None, **more: Any) -> Resources:
    return resources_of(config(**more), nodes, [each or described() for _ in nodes], gpus_each, str)


@pytest.mark.parametrize(
    ("cores", "gpus", "n_threads", "gpus_each", "n_slots"),
    [
        (4, 0, 1, 0, 4),
        (4, 0, 3, 0, 1),
        (4, 0, 5, 0, 0),
        (2.5, 0, 1, 0, 2),
        (16, 2, 1, 1, 2),
        (16, 2, 1, 0.5, 4),
        (16, 1, 1, 0.1, 10),  # 10 tenths, whatever floating point makes of them
        (16, 0, 1, 1, 0),
        (1, 4, 1, 1, 1),
        (16, 3, 1, 2, 1),
    ],
)
def test_node_has_room_for_as_many_trainings_as_its_cores_and_gpus_allow(
    cores: float, gpus: float, n_threads: int, gpus_each: float, n_slots: int
) -> None:
    assert node(cores, gpus).n_slots(n_threads, gpus_each) == n_slots


def test_each_core_trains_where_nobody_says_how_many() -> None:
    found = resources([node(4), node(2), node(1)], trials=100)
    assert (found.workers, found.n_threads, found.most_threads) == (7, 1, 4)
    assert found.most_workers == 100, "a cluster that grows has more"


@pytest.mark.parametrize(
    ("workers", "n_threads"),
    [(1, 8), (2, 4), (3, 4), (4, 2), (6, 2), (7, 1), (12, 1), (40, 1)],
)
def test_fewer_workers_than_cores_have_as_many_threads_as_fit(workers: int, n_threads: int) -> None:
    found = resources([node(8), node(4)], workers=workers)
    assert (found.workers, found.n_threads, found.most_workers) == (workers, n_threads, workers)
    if workers <= 12:
        assert sum(each.n_slots(n_threads, 0) for each in (node(8), node(4))) >= workers


def test_gpus_limit_how_many_train_and_so_give_threads() -> None:
    nodes = [node(8, 1), node(8, 1), node(8)]
    assert (resources(nodes, 1).workers, resources(nodes, 1).n_threads) == (2, 8)
    assert (resources(nodes, 0.5).workers, resources(nodes, 0.5).n_threads) == (4, 4)


def test_nodes_limit_the_memory_of_trainings_unless_the_user_does() -> None:
    assert resources([node()]).memory_limit_of_each(4) is None
    assert resources([node()], memory_limit_mb=2048).memory_limit_of_each(4) == 2048


def test_bfloat16_is_used_where_every_node_is_faster_in_it() -> None:
    slow, fast, gpu = described(), described(is_faster_in_bfloat16=True), described(has_gpu=True)
    fast_gpu = {**gpu, "is_faster_in_bfloat16": True}

    def is_used(*each: dict[str, Any], **more: Any) -> bool:
        return resources_of(config(**more), [node() for _ in each], each, 0, str).bfloat16

    assert is_used(fast, fast)
    assert not is_used(fast, slow) and not is_used(fast, fast_gpu)
    assert is_used(slow, precision="bfloat16") and not is_used(fast, precision="float32")


def test_gpus_of_a_training_are_one_where_there_are_any() -> None:
    assert gpus_of_each(config(), [node(), node(gpus=2)]) == 1
    assert gpus_of_each(config(), [node()]) == 0
    assert gpus_of_each(config(), [node(gpus=0.5)]) == 0.5
    assert gpus_of_each(config(gpus_per_training=0.25), [node(gpus=2)]) == 0.25
    assert gpus_of_each(config(gpus_per_training=0), [node(gpus=2)]) == 0


def test_gpus_that_no_node_has_are_lowered_or_added() -> None:
    with needs_remedy("--gpus-per-training must be at most {}, what the best node of the cluster has, but got {}; low"):
        gpus_of_each(config(gpus_per_training=2), [node(gpus=1), node(gpus=1)])
    assert gpus_of_each(config(gpus_per_training=1), [node(gpus=1)]) == 1  # lowered
    assert gpus_of_each(config(gpus_per_training=2), [node(gpus=1), node(gpus=2)]) == 2  # a node added


def test_machines_are_named_with_what_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [node(4), node(2, 1), node(1, name=FOREIGN), node(8)]
    fake = FakeRay(monkeypatch, *nodes)
    with Cluster(config(insecure_cluster=True)) as cluster:
        assert cluster.resources.nodes == {
            OWN: "4 cores, a processor",
            f"{OWN} (2)": "2 cores, 1 GPU, a processor",
            FOREIGN: "1 core, a processor",
            f"{OWN} (3)": "8 cores, a processor",
        }
        fake.nodes.pop(1)
        assert cluster.look()
        fake.nodes.insert(0, node(16))
        assert cluster.look()
        names = [cluster.name_of(each.key) for each in cluster.last_nodes]
    assert names == [OWN, FOREIGN, f"{OWN} (3)", f"{OWN} (2)"], "a node takes the name of one that is gone"


@pytest.mark.parametrize("name", ["python", "fmnist-search", "tensorflow", "keras", "numpy"])
def test_nodes_have_the_versions_of_this_machine(name: str) -> None:
    with needs_remedy("every node of the cluster must have {} {}, as this machine has, but {} has") as refused:
        refuse_unlike([node(), node(name=FOREIGN)], [described(), described(versions={name: "0.0"})])
    assert f"{FOREIGN} has 0.0" in str(refused.value) and f"have {name} " in str(refused.value)
    refuse_unlike([node(), node(name=FOREIGN)], [described(), described()])


def test_nodes_have_the_code_of_this_machine() -> None:
    with needs_remedy("every node of the cluster must have this machine's code ({}), but {} has other code ({}); put"):
        refuse_unlike([node(), node(name=FOREIGN)], [described(), described(versions={"code": "0.0"})])
    refuse_unlike([node(), node(name=FOREIGN)], [described(), described()])


def test_nodes_have_the_tool() -> None:
    without = described(missing="No module named 'search'")
    del without["is_faster_in_bfloat16"], without["has_gpu"]
    with needs_remedy("every node of the cluster must be able to load this tool, but {} cannot"):
        refuse_unlike([node()], [without])
    refuse_unlike([node()], [described()])


def test_cluster_of_several_machines_asks_for_a_token() -> None:
    open_to_all, closed = described(asks_for_token=False), described(asks_for_token=True)
    own, foreign = node(), node(name=FOREIGN)
    with needs_remedy("a cluster of several machines must ask for a token, but {} does not, so that whoever"):
        refuse_open([own, foreign], [open_to_all, open_to_all])
    refuse_open([own, foreign], [open_to_all, closed])
    refuse_open([own, own], [open_to_all, open_to_all])  # nobody else reaches it


class FakeRay:
    """What `Cluster` asks Ray for, answered for nodes that are plain values. The connection is the caller's."""

    def __init__(self, patch: pytest.MonkeyPatch, *nodes: Node, **more: Any) -> None:
        self.nodes = list(nodes)
        self.answers = True
        patch.setattr(ray, "is_initialized", lambda: True)
        patch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="head:6379"))
        patch.setattr(connection.socket, "create_connection", self._connect)
        patch.setattr(ray, "nodes", self._as_ray_says)
        patch.setattr(ray, "shutdown", lambda: pytest.fail("the caller's connection is not this tool's to end"))
        patch.setattr("search.cluster.connection.describe_nodes", lambda nodes: [described(**more) for _ in nodes])

    def _connect(self, address: object, timeout: float) -> io.BytesIO:
        if not self.answers:
            raise ConnectionRefusedError
        return io.BytesIO()

    def _as_ray_says(self) -> list[dict[str, Any]]:
        gone = {"Alive": False, "NodeID": "gone", "NodeManagerAddress": OWN, "Resources": {}}
        head = {"Alive": True, "NodeID": "head", "NodeManagerAddress": OWN, "Resources": {"memory": 1e9}}
        return [gone, head] + [
            {
                "Alive": True,
                "NodeID": each.key,
                "NodeManagerAddress": each.name,
                "Resources": {"CPU": each.cores, **({"GPU": each.gpus} if each.gpus else {})},
            }
            for each in self.nodes
        ]


def test_node_with_cores_is_added_to_a_cluster_without(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch)
    with needs_remedy("--cluster {} must have a node with cores, but has none"):
        Cluster(config())
    fake.nodes.append(node(4))
    with Cluster(config()) as cluster:
        assert cluster.resources.workers == 4
        assert cluster.in_words() == (
            f"cluster auto, head:6379 ({OWN}: 4 cores, a processor); up to 4 trainings at a time, each of 1 thread"
        )
        fake.nodes.append(node(2))
        assert cluster.look()
        assert (cluster.n_slots(1), cluster.n_slots(2), cluster.n_slots(3)) == (6, 3, 1), "it has grown"
        fake.answers = False
        assert not cluster.look() and cluster.n_slots(1) == 6, "the head may come back"


def test_node_that_dies_before_it_answers_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch, node(4), node(2))
    monkeypatch.setattr("search.cluster.connection.SECONDS_TO_NOTICE", 0)

    def describe(nodes: list[Node]) -> list[dict[str, Any]]:
        if len(nodes) == 2:
            if is_dead:
                fake.nodes.pop()
            raise UserError("a node must answer, but did not; repair it")
        return [described() for _ in nodes]

    monkeypatch.setattr("search.cluster.connection.describe_nodes", describe)
    is_dead = False
    with pytest.raises(UserError, match="a node must answer"):
        Cluster(config())
    is_dead = True
    with Cluster(config()) as cluster:
        assert cluster.resources.workers == 4


def test_open_cluster_is_used_where_the_user_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRay(monkeypatch, node(name=FOREIGN), asks_for_token=False)
    with needs_remedy("a cluster of several machines must ask for a token, but {} does not, so that whoever"):
        Cluster(config())
    with Cluster(config(insecure_cluster=True)) as cluster:
        assert cluster.resources.workers == 4


@contextmanager
def init_raises(error: Exception) -> Iterator[None]:
    def refuse(**_: Any) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "init", refuse)
        patch.setattr(connection, "reach", Reached)
        yield


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("--cluster must name a Ray cluster that answers, but {}", ConnectionError("No Ray.\nMore"), "head:6379"),
        Remedy("--cluster must name a Ray cluster that answers, but {}", TimeoutError(), "head:6379"),
        Remedy("--cluster must name a Ray cluster that answers, but {}", ValueError("Malformed: x"), "head:6379"),
        Remedy("--cluster {} asks for a token, but this machine has", AuthenticationError("no token"), "head:6379"),
        Remedy("--cluster {} needs a token, but {}; copy", RuntimeError("No authentication token\nfound"), "head:6379"),
        Remedy("--cluster {} must run this machine's Python", RuntimeError("Version mismatch: The\nhas"), "head:6379"),
    ],
    ids=lambda remedy: f"{remedy} {type(remedy.refused).__name__}",
)
def test_cluster_that_cannot_be_reached_is_named_with_what_to_do(
    remedy: Remedy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with init_raises(remedy.refused), needs_remedy(remedy.says):
        connect(remedy.followed, ExitStack())
    passed: dict[str, Any] = {}
    monkeypatch.setattr(connection, "reach", Reached)
    monkeypatch.setattr(ray, "init", lambda **more: passed.update(more))
    connect(remedy.followed, ExitStack())
    assert passed["address"] == "head:6379" and passed["log_to_driver"] is False


def test_error_of_rays_that_is_not_known_is_raised_as_it_is() -> None:
    with init_raises(RuntimeError("a bug")), pytest.raises(RuntimeError, match="a bug"):
        connect("head:6379", ExitStack())


def test_first_line_of_an_error_is_its_kind_where_it_says_nothing() -> None:
    assert first_line(ValueError("one.\ntwo")) == "one"
    assert first_line(TimeoutError()) == "TimeoutError"


def test_what_ray_says_goes_where_it_went_before_once_that_is_undone() -> None:
    """A caller's own connection to Ray outlives the run."""
    said: list[str] = []
    before = ray._private.worker.print_to_stdstream
    undo = redirect_messages(said.append)
    ray._private.worker.print_to_stdstream({"lines": ["a node has died"]}, ignore_prefix=False)
    undo()
    assert said == ["a node has died\n"] and ray._private.worker.print_to_stdstream is before
