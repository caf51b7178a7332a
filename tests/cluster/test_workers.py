"""Trainings on the nodes of a simulated cluster, by hosts that train nothing."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from search.cluster.connection import Cluster, Node, connect, describe_nodes
from search.cluster.workers import ClusterWorkers
from search.worker.tasks import Interrupted, PredictTask, TrainingFailed, TrainResult, TrainTask, WorkerLost
from tests.support.remedies import needs_remedy
from tests.support.reporting import Saying
from tests.support.training.fake_hosts import (
    BUG,
    FAILURES,
    LATE,
    REFUSED,
    DyingHost,
    FakeHost,
    ProcessHost,
    hosts,
    until,
)
from tests.support.training.fake_process import accuracy_of
from tests.support.training.fake_trainer import recipe

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(120)]

Start = Callable[..., ClusterWorkers]


@pytest.fixture
def reporter() -> Saying:
    return Saying()


@pytest.fixture
def start(cluster: Any, reporter: Saying, tmp_path: Path) -> Iterator[Start]:
    """Connect, and start hosts as they are asked for; all is left after the test."""
    with ExitStack() as opened:

        def begin(stop: threading.Event | None = None, host: type = FakeHost, **more: Any) -> ClusterWorkers:
            config = cluster.config(tmp_path, **more)
            connection = opened.enter_context(Cluster(config))
            workers = ClusterWorkers(connection, stop or threading.Event(), reporter, config.workers, host)
            return opened.enter_context(workers)

        yield begin
    until(lambda: not hosts(), "hosts are left behind")


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., TrainTask]:
    split = tmp_path / "split"
    split.mkdir()
    (split / "images").write_bytes(b"pixels")

    def of(seed: int, **more: Any) -> TrainTask:
        fields = {"n_planned_images": 300, "report_every_images": 100, **more}
        return TrainTask(recipe(1), seed, split, 1.0, 1.0, **fields)

    return of


def messages_of(workers: ClusterWorkers, task: TrainTask) -> list[Any]:
    return list(workers.train(task))


def said_by_host(task: TrainTask) -> list[str]:
    assert task.save_to is not None
    return task.save_to.read_text().split()


def test_messages_and_the_written_file_come_back_and_hosts_serve_the_next_task(
    start: Start, task: Callable[..., TrainTask], tmp_path: Path
) -> None:
    workers = start()
    first = task(1, further_lengths=(500,), save_to=tmp_path / "first")
    messages = messages_of(workers, first)
    results = [message for message in messages if isinstance(message, TrainResult)]
    assert [result.n_images for result in results] == [300, 500]
    accuracies = [message.validation_accuracy for message in messages if not isinstance(message, TrainResult)]
    expected = [(300, mark) for mark in (100, 200, 300)] + [(500, mark) for mark in (100, 200, 300, 400, 500)]
    assert accuracies == [accuracy_of(1, length, mark) for length, mark in expected]
    second = task(2, save_to=tmp_path / "second", memory_limit_mb=77)
    messages_of(workers, second)
    pid, n_tasks, n_threads, limit, *names = said_by_host(first)
    assert (n_tasks, n_threads, names) == ("1", "1", ["images"]) and int(limit) > 77, "the node has a limit"
    assert said_by_host(second) == [pid, "2", "1", "77", "images"]
    images = np.zeros((3, 8, 8, 1), np.uint8)
    assert list(workers.predict(PredictTask(first.save_to or Path(), images))) == [int(pid)] * 3


def test_generator_that_is_closed_early_leaves_its_host_for_the_next_task(
    start: Start, task: Callable[..., TrainTask], tmp_path: Path
) -> None:
    workers = start()
    training = workers.train(task(1, n_planned_images=100_000))
    next(training)
    (before,) = hosts()
    training.close()
    messages_of(workers, task(2, save_to=tmp_path / "second"))
    assert said_by_host(task(2, save_to=tmp_path / "second"))[:2] == [str(before.pid), "2"]
    assert [host.pid for host in hosts()] == [before.pid]


def test_more_trainings_than_there_is_room_for_all_end(start: Start, task: Callable[..., TrainTask]) -> None:
    """Where the user asks for more, the cluster is to grow; until it has, those that wait get what becomes free."""
    workers = start(workers=5)
    with ThreadPoolExecutor(5) as executor:
        futures = [executor.submit(messages_of, workers, task(seed)) for seed in range(5)]
        done = [future.result(timeout=60) for future in futures]
    assert [messages[-1].best.validation_accuracy for messages in done] == [accuracy_of(i, 300, 300) for i in range(5)]
    assert len(hosts()) <= 3


def test_training_that_fails_on_its_node_fails_here_by_its_kind(start: Start, task: Callable[..., TrainTask]) -> None:
    workers = start()
    messages_of(workers, task(1))
    (host,) = hosts()
    for seed, kind in FAILURES.items():
        with pytest.raises(TrainingFailed, match=r"as it was to \(on node .*\)") as failed:
            messages_of(workers, task(seed))
        assert (failed.value.kind, failed.value.trace) == (kind, "Traceback of the process")
        assert not isinstance(failed.value, WorkerLost)
    messages_of(workers, task(2))
    assert [each.pid for each in hosts()] == [host.pid], "the host is as good as before"
    with pytest.raises(KeyError, match="a bug"):  # of the host itself: the run ends
        messages_of(workers, task(BUG))
    with pytest.raises(TimeoutError, match="a disk that does not answer"):
        messages_of(workers, task(LATE))


def test_node_that_cannot_train_is_named_in_one_line(start: Start, task: Callable[..., TrainTask]) -> None:
    """Ray would give the user's error a trace of the node's."""
    workers = start()
    with needs_remedy("node {}: {}") as refused:
        messages_of(workers, task(REFUSED))
    said = "the machine must let processes run, but does not; free memory"
    assert str(refused.value) == f"node {platform.node()}: {said}"
    assert isinstance(messages_of(workers, task(1))[-1], TrainResult), "the node is repaired"


def begun(workers: ClusterWorkers, *tasks: TrainTask) -> list[Generator[Any, None, None]]:
    """Trainings that have said something, and stand still until they are asked for more."""
    trainings = [workers.train(task) for task in tasks]
    with ThreadPoolExecutor(len(trainings)) as executor:
        list(executor.map(next, trainings))
    return trainings


def test_trainings_of_more_threads_get_the_cores_of_hosts_without_a_task(
    cluster: Any, start: Start, task: Callable[..., TrainTask], tmp_path: Path
) -> None:
    large = cluster.add_node(n_cores=2)
    try:
        workers = start()
        for training in begun(workers, *(task(seed) for seed in range(5))):
            list(training)
        assert len(hosts()) == 5
        two = task(6, n_threads=2, save_to=tmp_path / "two")
        messages_of(workers, two)
        assert said_by_host(two)[2] == "2"
        until(lambda: len(hosts()) == 1, "idle hosts of other sizes keep their cores")
        messages_of(workers, task(7))
        until(lambda: len(hosts()) == 1, "and so do those of more threads")
    finally:
        cluster.kill_node(large)


def test_training_that_waits_for_cores_gets_those_of_a_larger_one_that_ends(
    cluster: Any, start: Start, task: Callable[..., TrainTask]
) -> None:
    """Nothing else is asked for after it, so that nobody but itself can free the cores that it waits for."""
    large = cluster.add_node(n_cores=2)
    try:
        workers = start(workers=6)
        (larger,) = begun(workers, task(1, n_threads=2))
        smaller = begun(workers, *(task(seed) for seed in range(3)))
        with ThreadPoolExecutor(1) as executor:
            last = executor.submit(messages_of, workers, task(7))
            time.sleep(0.5)
            assert not last.done(), "all cores are taken"
            list(larger)
            assert isinstance(last.result(timeout=30)[-1], TrainResult)
        for training in smaller:
            training.close()
    finally:
        cluster.kill_node(large)


@pytest.mark.faults
def test_killed_host_is_a_lost_worker_and_the_next_task_has_another(
    start: Start, task: Callable[..., TrainTask]
) -> None:
    workers = start()
    training = workers.train(task(1, n_planned_images=100_000))
    next(training)
    (host,) = hosts()
    host.kill()
    with pytest.raises(WorkerLost, match=r"node [\d.]+( \(\d\))? was lost: the process that trained there has died"):
        list(training)
    assert isinstance(messages_of(workers, task(2))[-1], TrainResult)


@pytest.mark.faults
def test_host_that_dies_between_two_tasks_costs_the_next_one_nothing(
    start: Start, task: Callable[..., TrainTask]
) -> None:
    workers = start()
    messages_of(workers, task(1))
    (host,) = hosts()
    host.kill()
    host.wait(10)
    assert isinstance(messages_of(workers, task(2))[-1], TrainResult)


@pytest.mark.faults
def test_new_host_that_dies_before_it_has_begun_costs_the_task_nothing(
    start: Start, task: Callable[..., TrainTask], reporter: Saying
) -> None:
    """Such as one that Ray has placed on a node that it has not yet found to be dead."""
    workers = start(host=DyingHost)
    assert isinstance(messages_of(workers, task(1))[-1], TrainResult)
    workers.close()
    assert reporter.losses == []


@pytest.mark.faults
def test_killed_node_is_a_lost_worker_and_the_user_is_told_what_it_costs(
    cluster: Any, start: Start, task: Callable[..., TrainTask], reporter: Saying
) -> None:
    workers = start()
    # Long ones: the processes of a node outlive what holds it together for a moment.
    trainings = begun(workers, *(task(seed, n_planned_images=50_000) for seed in range(3)))

    def go_on(training: Generator[Any, None, None]) -> WorkerLost | None:
        try:
            list(training)
        except WorkerLost as lost:
            lost.concerns("trial 7", runs_again=True)
            return lost
        return None

    cluster.kill_node(cluster.nodes.pop())
    with ThreadPoolExecutor(3) as executor:
        ends = list(executor.map(go_on, trainings))
    cluster.nodes.append(cluster.add_node())
    assert sum(end is not None for end in ends) == 1
    until(lambda: reporter.losses != [], "nobody is told what the node's death costs", seconds=40)
    (loss,) = reporter.losses
    assert (loss.is_whole, loss.trainings) == (True, ("trial 7",))
    assert loss.n_images >= 100 and loss.seconds > 0


@pytest.mark.faults
@pytest.mark.parametrize("has_others", [True, False])
def test_training_that_no_node_is_left_for_waits_aloud_and_goes_on_with_the_node_that_is_asked_for(
    has_others: bool, cluster: Any, start: Start, task: Callable[..., TrainTask], reporter: Saying
) -> None:
    large = cluster.add_node(n_cores=2)
    others = [] if has_others else [cluster.nodes.pop() for _ in range(len(cluster.nodes))]
    try:
        workers = start()
        (training,) = begun(workers, task(1, n_threads=2, n_planned_images=50_000))
        for node in (large, *others):
            cluster.kill_node(node)
        with pytest.raises(WorkerLost):
            list(training)
        with ThreadPoolExecutor(1) as executor:
            again = executor.submit(messages_of, workers, task(1, n_threads=2))
            until(lambda: any("the run waits" in text for text in reporter.said), "it waits in silence", seconds=60)
            assert not again.done()
            (told,) = [text for text in reporter.said if "the run waits" in text]
            assert f"start one by ray start --address {cluster.address} --num-cpus 2, or end" in told
            large = cluster.add_node(n_cores=2)
            assert isinstance(again.result(timeout=60)[-1], TrainResult)
            until(lambda: any("the run goes on" in text for text in reporter.said), "it goes on in silence")
    finally:
        cluster.kill_node(large)
        cluster.nodes += [cluster.add_node() for _ in others]


def test_run_that_stops_ends_within_seconds_and_leaves_nothing_running(
    start: Start, task: Callable[..., TrainTask]
) -> None:
    stop = threading.Event()
    workers = start(stop, ProcessHost, workers=4)  # one of them waits for room
    long = [task(seed, n_planned_images=1_000_000) for seed in range(4)]
    with ThreadPoolExecutor(4) as executor:
        futures = [executor.submit(messages_of, workers, each) for each in long]
        until(lambda: len(training_processes()) >= 6, "not all have begun")  # a server, and a training of each
        below = training_processes()
        set_at = time.monotonic()
        stop.set()
        for future in futures:
            assert isinstance(future.exception(timeout=10), Interrupted)
    assert time.monotonic() - set_at < 3
    workers.close()
    until(lambda: not any(is_running(process) for process in below), "trainings go on")
    with pytest.raises(Interrupted):
        messages_of(workers, task(1))


def training_processes() -> list[psutil.Process]:
    """What the hosts have started."""
    found = []
    for host in hosts():
        with suppress(psutil.NoSuchProcess):
            found += host.children(recursive=True)
    return found


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_node_that_does_not_answer_is_named(cluster: Any, tmp_path: Path) -> None:
    with Cluster(cluster.config(tmp_path)) as connection:
        nodes = connection.nodes()
        with needs_remedy("node {} of the cluster must answer, but did not ({}); stop it by ray stop, or repair it"):
            describe_nodes([*nodes, Node("0" * 56, "127.0.0.9", 1, 0)])
        assert len(describe_nodes(nodes)) == 3


def test_address_without_a_cluster_is_refused(cluster: Any, tmp_path: Path) -> None:
    with needs_remedy("{} must be auto, HOST:PORT or ray://HOST:PORT, but got {}; pass the address"):
        connect("no-port", ExitStack())
    with Cluster(cluster.config(tmp_path)) as connection:
        assert connection.resources.workers == 3
