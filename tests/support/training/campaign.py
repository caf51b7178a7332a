"""Kills a search at random moments, again and again, and checks what is left of it.

    python -m tests.support.training.campaign --kills 200 --trials 300 --seed 7
    python -m tests.support.training.campaign --kills 10 --trials 12 --real

Half of the kills (SIGKILL) hit the supervisor, half any of its processes. Each time the supervisor dies, what had
finished must still be there, unchanged, and the same command goes on. At the end there are exactly the trials asked
for, none running, and each value is the one that its seed gives. The seed repeats the campaign, as far as the machine's
timing does.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState

from search.study.strategy import seed_of
from tests.support.training.fake_process import SECONDS_VARIABLE, accuracy_of

ROOT = Path(__file__).parents[3]
LONGEST_SECONDS = 1800  # of one run to its end


@dataclass(frozen=True)
class Campaign:
    """One search that is killed `n_kills` times, and what it must keep to."""

    folder: Path
    n_kills: int
    n_trials: int
    seed: int
    real: bool = False  # trains digits instead of faking
    front: bool = False  # searches for networks of every size, so that a trial has two values

    def run(self) -> Counter[str]:
        """Count the trials by the state they ended in; AssertionError if something was lost, or done twice."""
        rng = random.Random(self.seed)
        n_kills, finished = 0, {}
        while n_kills < self.n_kills:
            process = self._start()
            while n_kills < self.n_kills and process.poll() is None:
                time.sleep(rng.uniform(0.2, 12.0 if self.real else 3.0))
                n_kills += self._kill_one(process, rng)
            process.wait()
            if process.returncode == 0:
                break  # done before its time
            finished = self._checked(finished)
        assert self._start().wait(timeout=LONGEST_SECONDS) == 0, self._said()
        return self._final(finished)

    def _start(self) -> subprocess.Popen[bytes]:
        module = "search.run" if self.real else "tests.support.training.fakes"
        options = ["--dataset", "digits", "--trials", str(self.n_trials), "--search-only", "--sampler", "random"]
        if self.front:
            options.append("--front")
        command = [sys.executable, "-m", module, *options, "--workers", "2", "--studies-dir", str(self.folder)]
        with (self.folder / "run.txt").open("ab") as log:
            environment = {**os.environ, SECONDS_VARIABLE: "0.02"}
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def _kill_one(self, process: subprocess.Popen[bytes], rng: random.Random) -> int:
        """Return how many were killed: 0 if the run had ended."""
        victims = [psutil.Process(process.pid)]
        try:
            if rng.random() < 0.5:
                victims = victims[0].children(recursive=True) or victims
            rng.choice(victims).kill()
        except psutil.NoSuchProcess:
            return 0
        return 1

    def _checked(self, before: dict[int, FrozenTrial]) -> dict[int, FrozenTrial]:
        """Return the finished trials; those of before must be among them, as they were."""
        trials = trials_of(self.folder)
        assert len(trials) <= self.n_trials
        now = {trial.number: trial for trial in trials if trial.state.is_finished()}
        for number, trial in before.items():
            assert now.get(number) == trial, f"trial {number} was {trial}, now {now.get(number)}"
        return now

    def _final(self, before: dict[int, FrozenTrial]) -> Counter[str]:
        finished = self._checked(before)
        assert len(trials_of(self.folder)) == len(finished) == self.n_trials
        for trial in finished.values():
            reason = trial.user_attrs["reason"]
            if trial.state == TrialState.FAIL:
                assert "(killed)" in reason or "(lost)" in reason or (self.real and "(diverged)" in reason), reason
            if trial.state == TrialState.COMPLETE and not self.real:
                seed = seed_of(0, "trial", trial.number)
                assert trial.values[0] == accuracy_of(seed, 16_000, 16_000), trial
        return Counter(trial.state.name for trial in finished.values())

    def _said(self) -> str:
        return (self.folder / "run.txt").read_text()[-3000:]


def trials_of(folder: Path) -> list[FrozenTrial]:
    """Read the trials of the study of the digits below a folder; none before it has begun."""
    path = folder / "digits" / "study.db"
    if not path.exists():
        return []
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
    try:
        return optuna.load_study(study_name="digits", storage=storage).trials
    except KeyError:  # the run was killed before it had begun the study
        return []
    finally:
        storage.remove_session()
        storage.engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--real", action="store_true", help="train digits instead of faking")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), options.kills, options.trials, options.seed, options.real)
        print(f"{options.kills} kills, {options.trials} trials: {dict(campaign.run())}")


if __name__ == "__main__":
    main()
