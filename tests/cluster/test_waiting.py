"""What becomes of a training whose host waits for a place on the cluster."""

from __future__ import annotations

import threading
from unittest.mock import MagicMock

import pytest

from search.worker.tasks import Interrupted

pytest.importorskip("ray", reason="needs the extra cluster")

from search.cluster import workers


def test_task_whose_new_host_has_no_place_goes_to_one_that_has_become_idle(monkeypatch) -> None:
    """A host was asked for just before its node's death was known, and the only core left belongs to an idle one."""
    ended: list[object] = []
    monkeypatch.setattr(workers.ray, "wait", lambda references, timeout: ([], references))
    monkeypatch.setattr(workers.ray, "kill", ended.append)
    cluster = MagicMock()
    cluster.n_slots.return_value = 2
    site = workers.ClusterWorkers(cluster, threading.Event(), print)
    waiting, idle, other = MagicMock(), MagicMock(), MagicMock()
    monkeypatch.setattr(site, "_new_host", lambda n_threads: waiting)
    site._idle = {1: [], 2: [other]}

    def become_idle(parcel: object) -> object:
        site._idle[1].append(idle)
        return object()

    waiting.begin.remote.side_effect = become_idle
    host, begun = site._begin(MagicMock(), 1)
    assert host is idle and begun is idle.begin.remote.return_value
    assert ended == [other, waiting] and list(site._busy) == [idle]


def test_task_whose_new_host_has_no_place_ends_with_the_run(monkeypatch) -> None:
    stop = threading.Event()
    ended: list[object] = []
    monkeypatch.setattr(workers.ray, "wait", lambda references, timeout: ([], references))
    monkeypatch.setattr(workers.ray, "kill", ended.append)
    cluster = MagicMock()
    cluster.n_slots.return_value = 1
    site = workers.ClusterWorkers(cluster, stop, print)
    waiting = MagicMock()
    monkeypatch.setattr(site, "_new_host", lambda n_threads: waiting)
    waiting.begin.remote.side_effect = lambda parcel: stop.set()
    with pytest.raises(Interrupted):
        site._begin(MagicMock(), 1)
    assert ended == [waiting] and not site._busy
