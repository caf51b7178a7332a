"""A search on a simulated cluster whose hosts and nodes are killed, and which is stopped and resumed on the way."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.callbacks.reporter import NodeLoss
from search.cluster.connection import Cluster
from search.cluster.workers import ClusterWorkers
from search.space.space import SearchSpace
from search.study.attributes import attributes_of
from search.study.objective import Objective
from search.study.strategy import build_rungs, seed_of
from search.system.shipped import SHIPPED_SPACES
from search.worker.tasks import Interrupted
from tests.support.reporting import Saying
from tests.support.spaces import space_from
from tests.support.training.fake_hosts import FakeHost, expected_reports, hosts
from tests.support.training.trainers import SITE, open_study, run_trials

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.faults, pytest.mark.timeout(240)]

N_TRIALS = 60
N_STOPS = 2  # of the run, which is resumed after each
N_KILLS = 10
AT_NODES = (1, 4)  # which of the kills hit a node, and not a host


class Killer:
    """Kills hosts, and now and then a node, which another one replaces. Ray starts nodes in the main thread alone."""

    def __init__(self, cluster: Any, rng: random.Random) -> None:
        self.killed: Counter[str] = Counter()
        self._cluster = cluster
        self._rng = rng

    def kill_while(self, runs: Future[Any]) -> None:
        while not runs.done():
            wait([runs], timeout=self._rng.uniform(0.5, 2.0))
            if self.killed.total() in AT_NODES:
                self._cluster.kill_node(self._cluster.nodes.pop(self._rng.randrange(3)))
                self._cluster.nodes.append(self._cluster.add_node())
                self.killed["node"] += 1
            elif self.killed.total() < N_KILLS and (victims := hosts()):
                with suppress(psutil.NoSuchProcess):
                    self._rng.choice(victims).kill()
                    self.killed["host"] += 1


class Reports:
    """Every value that is reported to Optuna, by trial and step."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.values: dict[tuple[int, int], list[float]] = {}
        self._lock = threading.Lock()
        really_report = optuna.Trial.report

        def report(trial: optuna.Trial, value: float, step: int) -> None:
            with self._lock:
                self.values.setdefault((trial.number, step), []).append(value)
            really_report(trial, value, step)

        patch.setattr(optuna.Trial, "report", report)


@contextmanager
def stopping_after(seconds: float | None, stop: threading.Event) -> Any:
    timer = threading.Timer(seconds or 0, stop.set)
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@pytest.fixture
def space() -> SearchSpace:
    return space_from(SHIPPED_SPACES / "digits.toml", (8, 8, 1), 10)


def search(cluster: Any, folder: Path, space: SearchSpace, seconds: float | None) -> list[NodeLoss]:
    """Search until all trials have ended, or for some seconds, as a run does; return what was said to be lost."""
    split, stop, reporter = folder / "split", threading.Event(), Saying()
    split.mkdir(exist_ok=True)
    (split / "images").write_bytes(b"pixels")
    config = cluster.config(folder, trials=N_TRIALS, sampler="random")
    study = open_study(config, space)
    with Cluster(config) as connection:
        connection.log_to(folder / "worker.log")
        with ClusterWorkers(connection, stop, reporter, host=FakeHost) as workers:
            site, rungs = replace(SITE, split_folder=split), build_rungs("asha", space.fidelity)
            with stopping_after(seconds, stop), suppress(Interrupted):
                run_trials(
                    study,
                    Objective(space, workers.train, site, 0, rungs),
                    n_trials=N_TRIALS,
                    n_jobs=connection.resources.most_workers,
                    room=workers.room,
                    stop=stop,
                    say=reporter.say,
                )
    return reporter.losses


@dataclass(frozen=True)
class Searched:
    """What is left of a search, and what was of it before its last resumption."""

    trials: list[FrozenTrial]
    before: dict[int, FrozenTrial]
    losses: list[NodeLoss]  # as they were told


def finished(trials: list[FrozenTrial]) -> dict[int, FrozenTrial]:
    return {trial.number: trial for trial in trials if trial.state.is_finished()}


def search_with_stops(cluster: Any, folder: Path, space: SearchSpace, rng: random.Random) -> Searched:
    """Stop the search, and resume it, until all trials have ended."""
    config, before, losses = cluster.config(folder), dict[int, FrozenTrial](), list[NodeLoss]()
    for _ in range(N_STOPS):
        losses += search(cluster, folder, space, rng.uniform(6, 10))
        trials = open_study(config, space).trials
        assert all(finished(trials).get(number) == trial for number, trial in before.items())
        assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
        before = finished(trials)
    losses += search(cluster, folder, space, None)
    return Searched(open_study(config, space).trials, before, losses)


def test_search_whose_hosts_and_nodes_die_and_which_is_stopped_loses_nothing_and_does_nothing_twice(
    cluster: Any, tmp_path: Path, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(2**31)
    print(f"seed {seed}")
    rng, reports = random.Random(seed), Reports(monkeypatch)
    killer = Killer(cluster, random.Random(seed + 1))
    with ThreadPoolExecutor(1) as executor:
        runs = executor.submit(search_with_stops, cluster, tmp_path, space, rng)
        killer.kill_while(runs)
        searched = runs.result()
    n_losses = sum(attributes_of(trial).get("n_losses", 0) for trial in searched.trials)
    print(
        f"killed {dict(killer.killed)}, {n_losses} losses of trials, {len(searched.before)} ended before the last run"
    )
    check(searched.trials, searched.before, space, reports)
    assert killer.killed["host"] and killer.killed["node"], "the trainings are long enough for at least one of each"
    n_told = sum(len(loss.trainings) for loss in searched.losses)
    n_failed = sum(trial.state == TrialState.FAIL for trial in searched.trials)
    assert n_told + n_failed >= n_losses, "whoever loses a training says so"


def check(trials: list[FrozenTrial], before: dict[int, FrozenTrial], space: SearchSpace, reports: Reports) -> None:
    assert len(trials) == len(finished(trials)) == N_TRIALS
    assert all(trials[number] == trial for number, trial in before.items())
    rungs = build_rungs("asha", space.fidelity)
    for trial in trials:
        attributes = attributes_of(trial)
        if trial.state == TrialState.FAIL:
            assert "(lost)" in attributes.get("reason", ""), attributes
            continue
        if not trial.intermediate_values:
            assert "infeasible" in attributes.get("reason", ""), attributes
            continue
        expected = expected_reports(
            seed_of(0, "trial", trial.number), rungs, space.fidelity.report_every_images, climbed(trial, rungs)
        )
        got = trial.intermediate_values
        assert got == {step: expected[step] for step in got}, f"trial {trial.number}"
        if trial.state == TrialState.COMPLETE:
            assert set(got) == set(expected) and trial.value == expected[max(expected)]
    twice = {key: values for key, values in reports.values.items() if len(values) > 1}
    assert not twice


def climbed(trial: FrozenTrial, rungs: tuple[int, ...]) -> int:
    """How many rungs a trial was spared, see `Objective`: the default the lower ones, the portfolio the first."""
    origin = attributes_of(trial).get("origin")
    if origin == "default":
        return len(rungs) - 1
    return 0 if origin is None else 1
