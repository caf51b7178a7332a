"""What is told of a cluster's nodes, from one look to the next: without any Ray."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fmnist.training.history import HistoryPoint
from search.cluster import watch as module
from search.cluster.connection import Node
from search.cluster.watch import ClusterWatch, Work
from search.worker.tasks import ImagesSeen, TrainResult, WorkerLost
from tests.support.remedies import assert_message, needs_remedy
from tests.support.reporting import Saying


class Nodes:
    """Stands for a cluster."""

    head = "head:6379"
    gpus_each = 0.0

    def __init__(self, *names: str, cores: int = 2) -> None:
        self.now = [Node(f"key of {name}", name, cores, 0) for name in names]
        self.last_nodes = list(self.now)
        self.answers = True
        self._names = {node.key: node.name for node in self.now}

    def add(self, name: str, cores: int) -> None:
        self.now.append(Node(f"key of {name}", name, cores, 0))
        self._names[f"key of {name}"] = name

    def kill(self, name: str) -> None:
        self.now = [node for node in self.now if node.name != name]

    def look(self) -> bool:
        if self.answers:
            self.last_nodes = list(self.now)
        return self.answers

    def name_of(self, key: str) -> str:
        return self._names[key]


class Watched:
    """A watch that looks when it is told to, and what it has told."""

    def __init__(self, *names: str) -> None:
        self.nodes, self.reporter, self.work = Nodes(*names), Saying(), list[Work]()
        cluster: Any = self.nodes
        self.watch = ClusterWatch(cluster, self.reporter, lambda: list(self.work))

    def begin(self, name: str, *messages: object, n_threads: int = 1) -> Work:
        work = Work(n_threads)
        if name:
            work.begin(f"key of {name}")
        for message in messages:
            work.count(message)
        self.work.append(work)
        return work

    def lose(self, work: Work) -> WorkerLost:
        self.work.remove(work)
        lost = WorkerLost("node", "it has died")
        self.watch.add_loss(work, lost)
        return lost

    def look(self) -> list[str]:
        """Look, and return what was said."""
        self.reporter.said.clear()
        self.watch.look()
        return list(self.reporter.said)


def seen(n_images: int) -> ImagesSeen:
    return ImagesSeen(n_images)


def point(n_images: int) -> HistoryPoint:
    return HistoryPoint(n_images, 1.0, 0.1, 1.0, 0.5, 0.4, 0.9)


def result(n_images: int) -> TrainResult:
    return TrainResult((), None, n_images, 1.0, 1.0, "end", 100.0)


def test_each_node_is_shown_with_its_trainings_and_idle_ones_with_none() -> None:
    watched = Watched("a", "b", "c")
    for name in ("b", "a", "b", ""):
        watched.begin(name)
    assert watched.look() == []
    assert watched.reporter.nodes == [{"a": 1, "b": 2, "c": 0}]


def test_images_of_a_training_are_those_of_all_its_rungs() -> None:
    work = Work(1)
    for message, n_images in ((seen(500), 500), (point(400), 500), (result(900), 900), (seen(100), 1_000)):
        work.count(message)
        assert work.n_images == n_images


def test_lost_node_is_told_of_once_with_all_that_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls of its hosts fail one after the other, and it is some seconds until Ray says that it was the node."""
    monkeypatch.setattr(module.time, "monotonic", lambda: 0.0)
    watched = Watched("a", "b")
    first, second = watched.begin("a", seen(30_000)), watched.begin("a", point(18_000))
    other = watched.begin("b", seen(1_000))
    monkeypatch.setattr(module.time, "monotonic", lambda: 15.5)
    watched.lose(first).concerns("trial 12", runs_again=True)
    assert watched.look() == [], "the other training there may be lost, too"
    lost = watched.lose(second)
    watched.nodes.kill("a")
    assert watched.look() == [], "nobody has said yet what the second one was"
    lost.concerns("trial 15", runs_again=True)
    assert watched.look() == ["node a was lost: trials 12 and 15 run again, 48,000 images (31 s) of training are lost"]
    assert watched.look() == []
    assert watched.work == [other]


def test_process_that_dies_alone_is_told_of_once_its_node_has_proved_to_be_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = Watched("a")
    watched.begin("a")
    watched.lose(watched.begin("a", seen(1))).concerns("finalist 3", runs_again=True)
    assert watched.look() == []
    monkeypatch.setattr(module, "SECONDS_TO_NOTICE", 0)
    (text,) = watched.look()
    assert text.startswith("a training's process on node a was lost: finalist 3 runs again, 1 image (0.0 s) of")
    assert watched.look() == []


def test_training_that_is_lost_for_the_last_time_is_not_said_to_run_again() -> None:
    watched = Watched("a")
    watched.lose(watched.begin("a", seen(500))).concerns("trial 1", runs_again=False)
    watched.nodes.kill("a")
    assert watched.look() == ["node a was lost: 500 images (0.0 s) of training are lost"]


def test_what_is_lost_just_before_the_end_is_told_at_the_end() -> None:
    watched = Watched("a")
    watched.watch.start()
    watched.lose(watched.begin("a")).concerns("student 2", runs_again=True)
    watched.watch.close()
    assert watched.reporter.said == ["a training's process on node a was lost: student 2 runs again"]
    assert watched.reporter.nodes[-1] == {}, "the run has left the cluster"


def test_nodes_that_come_and_go_idle_are_told_of() -> None:
    watched = Watched("a", "b")
    watched.nodes.add("c", 16)
    watched.nodes.kill("a")
    assert watched.look() == [
        "node c has joined the cluster, with 16 cores",
        "node a has left the cluster; nothing ran there",
    ]
    assert watched.look() == []


@pytest.mark.parametrize("left", [["b"], []])
def test_training_that_no_node_is_large_enough_for_waits_aloud_until_one_is(
    left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched("a", *left)
    waiting = watched.begin("", n_threads=4)
    assert watched.look() == [], "a node may be about to join"
    monkeypatch.setattr(module, "SECONDS_OF_PATIENCE", -1)
    watched.nodes.kill("a")
    told = watched.look()[-1]
    assert_message(
        "the run waits: a training needs a node with {}, but the cluster has none; start one by ray start --address {}",
        told,
    )
    assert "with 4 cores, but the cluster has none; start one by ray start --address head:6379 --num-cpus 4, or" in told
    assert watched.look() == [], "once is enough"
    watched.nodes.add("large", 4)
    assert watched.look() == [
        "node large has joined the cluster, with 4 cores",
        "the run goes on: there is a node with 4 cores again",
    ]
    waiting.begin("key of large")
    assert watched.look() == []


def test_training_that_waits_for_others_to_end_waits_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_OF_PATIENCE", -1)
    watched = Watched("a")
    watched.begin("a", n_threads=2)
    watched.begin("", n_threads=2)
    assert watched.look() == watched.look() == []


def test_wait_for_a_gpu_says_what_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_OF_PATIENCE", -1)
    watched = Watched("a")
    watched.nodes.gpus_each, watched.nodes.head = 0.5, "ray://head:10001"
    watched.begin("")
    (told,) = watched.look()
    assert "a node with 1 core and 0.5 GPU, but" in told
    assert "ray start --address HOST:PORT --num-cpus 1 --num-gpus 1, or" in told, "not Ray Client's port"


def test_head_that_does_not_answer_for_long_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched("a")
    watched.nodes.answers = False
    watched.look()
    watched.watch.require_head()  # it may be a moment only
    monkeypatch.setattr(module, "SECONDS_WITHOUT_HEAD", -1)
    with needs_remedy("the cluster's head must answer at {}, but has not for {} s; start the cluster again, then"):
        watched.watch.require_head()
    watched.nodes.answers = True
    watched.look()
    monkeypatch.setattr(module, "SECONDS_WITHOUT_HEAD", 0)
    watched.watch.require_head()


def test_error_of_the_watch_is_kept_for_those_who_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    watched, bug = Watched("a"), KeyError("a bug")

    def look() -> bool:
        raise bug

    monkeypatch.setattr(watched.nodes, "look", look)
    watched.watch.start()
    watched.watch._thread.join(10)
    with pytest.raises(KeyError, match="a bug"):
        watched.watch.require_head()


def test_look_that_ray_does_not_answer_ends_the_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the head dies between the two questions of a look, and behind Ray Client, which goes on to answer."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    watched, is_asked, may_answer = Watched("a"), threading.Event(), threading.Event()

    def look() -> bool:
        is_asked.set()
        return may_answer.wait(20)

    monkeypatch.setattr(watched.nodes, "look", look)
    watched.watch.start()
    assert is_asked.wait(10)
    monkeypatch.setattr(module, "SECONDS_WITHOUT_HEAD", 0)
    with needs_remedy("the cluster's head must answer at {}, but has not for {} s; start the cluster again, then"):
        watched.watch.require_head()
    may_answer.set()
    watched.watch.close()
