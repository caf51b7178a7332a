"""Kills nodes, hosts and supervisors of a search on a simulated cluster, and checks what is left of it.

    python -m tests.support.training.cluster_campaign --trials 300 --nodes 20 --hosts 40 --runs 10 --seed 7
    python -m tests.support.training.cluster_campaign --trials 12 --nodes 2 --hosts 4 --runs 1 --real

Every kill is SIGKILL, at a random moment. A killed node is replaced, and after a killed supervisor the same command
goes on. At the end there are exactly the trials asked for, none running, and each value that was reported is the one
that the trial's seed gives. The seed repeats the campaign, as far as the machine's timing does.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import FrozenTrial, TrialState

from search.study.attributes import attributes_of
from search.study.strategy import build_rungs, seed_of
from search.system.shipped import SHIPPED_SPACES
from tests.support.spaces import space_from
from tests.support.training.campaign import trials_of
from tests.support.training.fake_hosts import expected_reports, hosts
from tests.support.training.fake_process import SECONDS_VARIABLE

ROOT = Path(__file__).parents[3]
LONGEST_SECONDS = 1800  # of one run to its end
# Of Ray: a node whose processes are gone counts as dead after two seconds instead of fifteen. One that is only slow to
# answer has the ten seconds that Ray gives it.
QUICK_TO_NOTICE = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
OURS = "tests.support.training.cluster_campaign"


@dataclass
class ClusterCampaign:
    """One search on three nodes, what is killed on its way, and what it must keep to."""

    folder: Path
    n_trials: int
    kills: Counter[str]  # "node", "host" and "run": how many of each
    seed: int
    real: bool = False  # trains digits instead of faking
    done: Counter[str] = field(default_factory=Counter)  # kills, likewise

    def run(self) -> Counter[str]:
        """Count the trials by the state they ended in; AssertionError if something was lost, or done twice."""
        from ray.cluster_utils import Cluster

        os.environ.update(RAY_USAGE_STATS_ENABLED="0", PYTHONPATH=str(ROOT), **{SECONDS_VARIABLE: "0.25"})
        logging.getLogger("ray").setLevel(logging.ERROR)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": QUICK_TO_NOTICE})
        try:
            nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
            cluster.wait_for_nodes()
            return self._run(cluster, nodes, random.Random(self.seed))
        finally:
            cluster.shutdown()

    def _run(self, cluster: Any, nodes: list[Any], rng: random.Random) -> Counter[str]:
        finished: dict[int, FrozenTrial] = {}
        supervisor = self._start(cluster.address)
        while self.done != self.kills and supervisor.poll() is None:
            time.sleep(rng.uniform(0.2, 8.0 if self.real else 1.5))
            what = rng.choice(sorted((self.kills - self.done).elements()))
            if what == "node":
                cluster.remove_node(nodes.pop(rng.randrange(3)), allow_graceful=False)
                nodes.append(cluster.add_node(num_cpus=1))
                cluster.wait_for_nodes()  # a run without any node is refused
                self.done["node"] += 1
            elif what == "host" and (victims := hosts()):
                with suppress(psutil.NoSuchProcess):
                    rng.choice(victims).kill()
                    self.done["host"] += 1
            elif what == "run" and len(self._finished()) > len(finished):  # else it is killed before it has begun
                supervisor.kill()
                supervisor.wait()
                self.done["run"] += 1
                finished = self._checked(finished)
                supervisor = self._start(cluster.address)
        assert supervisor.wait(timeout=LONGEST_SECONDS) == 0, self._said()
        return self._final(finished)

    def _start(self, address: str) -> subprocess.Popen[bytes]:
        module = "search.run" if self.real else OURS
        options = ["--dataset", "digits", "--trials", str(self.n_trials), "--search-only", "--sampler", "random"]
        command = [sys.executable, "-m", module, *options, "--cluster", address, "--studies-dir", str(self.folder)]
        with (self.folder / "run.txt").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "AS_RUN": "1"}, stdout=log, stderr=log)

    def _checked(self, before: dict[int, FrozenTrial]) -> dict[int, FrozenTrial]:
        """Return the finished trials; those of before must be among them, as they were."""
        now = self._finished()
        for number, trial in before.items():
            assert now.get(number) == trial, f"trial {number} was {trial}, now {now.get(number)}"
        return now

    def _final(self, before: dict[int, FrozenTrial]) -> Counter[str]:
        finished = self._checked(before)
        assert len(trials_of(self.folder)) == len(finished) == self.n_trials
        space = space_from(SHIPPED_SPACES / "digits.toml", (8, 8, 1), 10)
        rungs = build_rungs("asha", space.fidelity)
        for trial in finished.values():
            attributes = attributes_of(trial)
            if trial.state == TrialState.FAIL:
                assert "(lost)" in attributes.get("reason", ""), attributes
            elif trial.intermediate_values and not self.real:
                n_spared = {None: 0, "default": len(rungs) - 1}.get(attributes.get("origin"), 1)
                seed, every = seed_of(0, "trial", trial.number), space.fidelity.report_every_images
                expected = expected_reports(seed, rungs, every, n_spared)
                assert trial.intermediate_values == {step: expected[step] for step in trial.intermediate_values}
        return Counter(trial.state.name for trial in finished.values())

    def _finished(self) -> dict[int, FrozenTrial]:
        return {trial.number: trial for trial in trials_of(self.folder) if trial.state.is_finished()}

    def _said(self) -> str:
        return (self.folder / "run.txt").read_text()[-3000:]


def run_with_fake_hosts() -> int:
    """Be `python -m search.run`, with hosts that train nothing."""
    from search.cluster import workers
    from search.run import main
    from tests.support.training.fake_hosts import FakeHost

    workers.ClusterWorkers = functools.partial(workers.ClusterWorkers, host=FakeHost)
    return main()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    for what, n in (("node", 20), ("host", 40), ("run", 10)):
        parser.add_argument(f"--{what}s", type=int, default=n, help=f"{what}s to kill")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--real", action="store_true", help="train digits instead of faking")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    kills = Counter(node=options.nodes, host=options.hosts, run=options.runs)
    with tempfile.TemporaryDirectory() as folder:
        campaign = ClusterCampaign(Path(folder), options.trials, kills, options.seed, options.real)
        states = campaign.run()
        print(f"killed {dict(campaign.done)} of {dict(kills)}; {options.trials} trials: {dict(states)}")


if __name__ == "__main__":
    if "AS_RUN" in os.environ:
        sys.exit(run_with_fake_hosts())
    main()
