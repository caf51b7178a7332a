"""Which trainings may begin on a cluster, and tasks that are lost with their node: without any Ray."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from search.callbacks.reporter import Reporter
from search.cluster import workers as module
from search.cluster.workers import ClusterWorkers
from search.worker.tasks import MAX_LOSSES, Interrupted, PredictTask, WorkerLost


class Slots:
    """Stands for a cluster that has room for so many trainings."""

    resources = SimpleNamespace(n_threads=2)
    last_nodes: tuple[()] = ()

    def __init__(self, n_slots: int) -> None:
        self.now = n_slots

    def n_slots(self, n_threads: int) -> int:
        assert n_threads == 2
        return self.now


def workers_on(slots: Slots, stop: threading.Event | None = None, cap: int | None = None) -> ClusterWorkers:
    cluster: Any = slots
    return ClusterWorkers(cluster, stop or threading.Event(), Reporter(), cap)


@pytest.fixture(autouse=True)
def looks_often_at_slots_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module.ClusterWatch, "start", lambda watch: None)


class Entering:
    """A thread that waits for room, and leaves it when told."""

    def __init__(self, workers: ClusterWorkers, executor: ThreadPoolExecutor) -> None:
        self.is_inside, self.may_leave = threading.Event(), threading.Event()
        self._workers = workers
        self.future = executor.submit(self._enter)

    def _enter(self) -> None:
        with self._workers.room():
            self.is_inside.set()
            assert self.may_leave.wait(20)


@pytest.mark.parametrize("cap", [None, 2])
def test_room_is_for_as_many_trainings_as_there_are_slots_or_as_the_user_says(cap: int | None) -> None:
    workers = workers_on(Slots(2 if cap is None else 1), cap=cap)
    with ThreadPoolExecutor(3) as executor:
        two = [Entering(workers, executor) for _ in range(2)]
        assert all(each.is_inside.wait(10) for each in two)
        third = Entering(workers, executor)
        assert not third.is_inside.wait(0.1)
        two[0].may_leave.set()
        assert third.is_inside.wait(10)
        for each in (*two, third):
            each.may_leave.set()
            each.future.result(timeout=10)


def test_room_follows_a_cluster_that_grows_and_keeps_one_training_on_one_that_has_gone() -> None:
    slots = Slots(0)
    workers = workers_on(slots)
    with ThreadPoolExecutor(2) as executor:
        first, second = Entering(workers, executor), None
        assert first.is_inside.wait(10)
        second = Entering(workers, executor)
        assert not second.is_inside.wait(0.1)
        slots.now = 2
        assert second.is_inside.wait(10)
        for each in (first, second):
            each.may_leave.set()
            each.future.result(timeout=10)


def test_wait_for_room_ends_with_the_run() -> None:
    stop = threading.Event()
    workers = workers_on(Slots(1), stop)
    with ThreadPoolExecutor(2) as executor:
        first = Entering(workers, executor)
        assert first.is_inside.wait(10)
        second = Entering(workers, executor)
        stop.set()
        assert isinstance(second.future.exception(timeout=10), Interrupted)
        first.may_leave.set()


@pytest.mark.parametrize("n_losses", [0, MAX_LOSSES - 1, MAX_LOSSES])
def test_lost_prediction_begins_again_until_it_was_lost_too_often(n_losses: int) -> None:
    begun: list[object] = []

    class Losing(ClusterWorkers):
        def _messages_of(self, task: object) -> Iterator[np.ndarray]:
            begun.append(task)
            if len(begun) <= n_losses:
                raise WorkerLost(f"node {len(begun)}", "the node has died")
            yield np.ones(1)

    cluster: Any = Slots(1)
    workers = Losing(cluster, threading.Event(), Reporter())
    task = PredictTask(Path("model"), np.zeros(1))
    if n_losses < MAX_LOSSES:
        assert workers.predict(task).tolist() == [1]
        assert begun == [task] * (n_losses + 1)
    else:
        with pytest.raises(WorkerLost, match=f"node {MAX_LOSSES} was lost"):
            workers.predict(task)
        assert len(begun) == MAX_LOSSES
