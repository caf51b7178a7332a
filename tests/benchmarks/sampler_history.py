"""Whether a sampler that learns from a bounded selection of the trials finds as much as Optuna's, which takes them all.

    python -m tests.benchmarks.sampler_history [--trials 1000 3000] [--seeds 5] [--out FILE.json]

Nothing is trained: the objectives are made-up functions, so that studies of thousands of trials take minutes. Both
samplers draw the same trials until there are more than the bound. Prints a Markdown table of what is left to the best
value there is (regret): median over the seeds, least and most. Every finished study is in the file at once; the same
command goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search.study.strategy import build_sampler, seed_of

BOUND, FULL = "bounded", "all trials"
DEPTH_PENALTY = 0.3  # for each block more or less than two
RUNG_WINDOW, GOING_ON = 32, 0.75  # quantile of so many trials before it that a trial must reach to complete
N_VARIABLES = 5  # of Rosenbrock's function


def sampler_of(arm: str, seed: int) -> optuna.samplers.BaseSampler:
    """The product's sampler, or Optuna's with the same options and seed."""
    if arm == BOUND:
        return build_sampler("tpe", seed)
    return optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed_of(seed, "sampler"))


class MadeUpNetworks:
    """A function of a space shaped as the search's: conditional blocks, all kinds of parameters, most trials pruned.

    Each parameter has a best place, and neighbours interact. A further block brings parameters of its own that have to
    be right, and two are best.
    """

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=RUNG_WINDOW)

    def __call__(self, trial: optuna.Trial) -> float:
        for i in range(trial.suggest_int("n_blocks", 1, 3)):
            trial.suggest_int(f"block{i + 1}_filters", 8, 64, step=8)
            trial.suggest_int(f"block{i + 1}_n_convolutions", 1, 3)
            trial.suggest_float(f"block{i + 1}_dropout", 0.0, 0.5, step=0.05)
        trial.suggest_categorical("activation", ["relu", "elu", "silu"])
        trial.suggest_categorical("head", ["flatten", "global_average", "global_max"])
        trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)
        trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True)
        trial.suggest_float("label_smoothing", 0.0, 0.2)
        regret = self.regret(trial.params, trial.distributions)
        trial.report(-regret, 1)
        is_good = len(self._latest) < RUNG_WINDOW or -regret >= np.quantile(self._latest, GOING_ON)
        self._latest.append(-regret)
        if not is_good:
            raise optuna.TrialPruned
        return -regret

    @staticmethod
    def regret(params: dict, distributions: dict[str, BaseDistribution]) -> float:
        names = sorted(params)
        distances = np.array([_distance(name, params[name], distributions[name]) for name in names])
        interplay = np.abs(distances[:-1] - distances[1:])
        depth = DEPTH_PENALTY * abs(params["n_blocks"] - 2)
        return float(np.mean(distances**2) + 0.5 * np.mean(interplay) + depth)


def _distance(name: str, value: Any, distribution: BaseDistribution) -> float:
    """How far a value is from the best one of its parameter, from 0 to 1. The best one is drawn by the name."""
    best = zlib.crc32(name.encode()) / 2**32
    if isinstance(distribution, CategoricalDistribution):
        return float(distribution.choices.index(value) != int(best * len(distribution.choices)))
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high, place = distribution.low, distribution.high, value
    if distribution.log:
        low, high, place = np.log([low, high, place])
    if distribution.step is not None:  # the best place is one of the grid
        best = round(best * (high - low) / distribution.step) * distribution.step / (high - low)
    return 0.0 if name == "n_blocks" else float(abs((place - low) / (high - low) - best))


def rosenbrock(trial: optuna.Trial) -> float:
    """Rosenbrock's valley, negative; 0 is the best."""
    x = np.array([trial.suggest_float(f"x{i}", -5.0, 10.0) for i in range(N_VARIABLES)])
    return -float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


FUNCTIONS: dict[str, Callable[[], Callable[[optuna.Trial], float]]] = {
    "made-up networks": MadeUpNetworks,
    "Rosenbrock's, 5 variables": lambda: rosenbrock,
}


def search(name: str, arm: str, seed: int, sizes: list[int]) -> dict[str, float]:
    """Regret of the best trial of one study when it had each of the sizes."""
    study = optuna.create_study(direction="maximize", sampler=sampler_of(arm, seed))
    objective, regrets = FUNCTIONS[name](), {}
    for size in sizes:
        study.optimize(objective, n_trials=size - len(study.get_trials(deepcopy=False)))
        regrets[str(size)] = -study.best_value
    return regrets


def table(results: dict[str, dict[str, float]], sizes: list[int]) -> str:
    """Markdown: one line per function, size and sampler."""
    lines = ["| function | trials | sampler learns from | studies | regret |", "| --- | ---: | --- | ---: | --- |"]
    for name in FUNCTIONS:
        for size in sizes:
            for arm in (FULL, BOUND):
                regrets = [found[str(size)] for key, found in results.items() if key.startswith(f"{name}, {arm}, ")]
                if regrets:
                    spread = f"{statistics.median(regrets):.3g} ({min(regrets):.3g} to {max(regrets):.3g})"
                    lines.append(f"| {name} | {size:,} | {arm} | {len(regrets)} | {spread} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 3000], help="sizes at which to look")
    parser.add_argument("--seeds", type=int, default=5, help="studies of each sampler (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("sampler-history.json"))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for seed in range(options.seeds):
        for name in FUNCTIONS:
            for arm in (FULL, BOUND):
                key = f"{name}, {arm}, {seed}"
                if key not in results:
                    results[key] = search(name, arm, seed, sorted(options.trials))
                    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results, sorted(options.trials)))


if __name__ == "__main__":
    main()
