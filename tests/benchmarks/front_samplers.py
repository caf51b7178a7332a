"""Which sampler finds the better front? Multi-objective TPE, NSGA-II and random draws, in the search with --front.

    python -m tests.benchmarks.front_samplers [--trials 100] [--seeds 8] [--out FILE.json]

Nothing is trained: accuracy is a made-up function of the recipe with noise, so that studies take seconds. Space,
portfolio, rungs, promotions and the choice of the front are the product's. Prints a Markdown table of the area under
that front, accuracy without noise against the decimal logarithm of multiply-adds: mean and standard deviation over the
seeds, and how much more than by random draws with the same seeds, with the standard error of that mean. What an
accuracy counts begins at LEAST_ACCURACY, multiply-adds end at those that the space allows.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import warnings
from collections.abc import Generator
from pathlib import Path

import numpy as np
import optuna

from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.front.choice import choose_points
from search.space.smaller import with_smaller
from search.space.space import SearchSpace
from search.study.objective import Objective
from search.study.strategy import FRONT_DIRECTIONS, build_pruner, build_rungs, build_sampler, seed_of
from search.study.trials import read_trials
from search.system.shipped import SHIPPED_SPACES
from search.worker.tasks import TrainingSite, TrainMessage, TrainResult, TrainTask
from tests.benchmarks.front_area import dominated_area
from tests.support.spaces import space_from

ARMS = ("tpe", "random", "nsga2")
POPULATION = 20  # of NSGA-II
LEAST_ACCURACY, LEAST_COST = 0.7, 4.5  # of the area
NOISE = 0.004  # of an accuracy on the last rung, standard deviation; a quarter of the images has twice as much
BEST_RATES = {"adamw": 5e-3, "sgd": 0.3, "adam": 3e-3, "muon": 2e-2}
OFFSETS = {"relu": 0.0, "gelu": 0.003, "silu": 0.002, "max": 0.003, "average": 0.0}


def true_accuracy(recipe: Recipe) -> float:
    """Made up: larger networks err less, each choice has a best place, and few weights cost more than few sums."""
    architecture, plan = recipe.architecture, recipe.plan
    size = math.log10(count_multiply_adds(architecture)) + 0.3 * math.log10(count_parameters(architecture) / 50_000)
    errors = 0.05 + 0.11 * math.exp(-0.9 * (size - 4.8))
    errors += 0.02 * math.log10(plan.peak_learning_rate / BEST_RATES[plan.optimizer]) ** 2
    errors += 0.05 * (architecture.head_dropout - 0.2) ** 2 + 0.004 * abs(len(architecture.dense_units) - 1)
    errors += 0.003 * abs(math.log2(plan.batch_size / 128))
    return 1 - errors + OFFSETS[architecture.activation] + OFFSETS[architecture.pooling]


def made_up_trainer(rng: np.random.Generator, longest: int):
    """Return a trainer whose accuracies have noise, the more the shorter the rung."""

    def train(task: TrainTask) -> Generator[TrainMessage, None, None]:
        for length in (task.n_planned_images, *task.further_lengths):
            noise = NOISE * math.sqrt(longest / length)
            accuracy = true_accuracy(task.recipe) - 0.01 * math.log2(longest / length) + rng.normal(0, noise)
            point = HistoryPoint(length, 0.1, 1e-3, 1.0, 0.5, 0.9, float(min(1.0, accuracy)))
            yield point
            yield TrainResult((point,), point, length, 0.1, 0.1, "end", 100.0)

    return train


def sampler_of(arm: str, seed: int) -> optuna.samplers.BaseSampler:
    """The product's sampler, or Optuna's NSGA-II."""
    if arm == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed_of(seed, "sampler"))
    return build_sampler(arm, seed)


def search(arm: str, seed: int, n_trials: int, space: SearchSpace) -> float:
    """Area of the networks of one study that would be trained in full."""
    rungs = build_rungs("asha", space.fidelity)
    study = optuna.create_study(
        directions=FRONT_DIRECTIONS,
        sampler=sampler_of(arm, seed),
        pruner=build_pruner("asha", space.fidelity, front=True),
    )
    for entry in space.portfolio:
        study.enqueue_trial(entry.params, user_attrs={"origin": entry.name})
    trainer = made_up_trainer(np.random.default_rng(seed), rungs[-1])
    site = TrainingSite(Path("unused"), 128.0, 64.0, 50_000, memory_limit_mb=None)
    study.optimize(Objective(space, trainer, site, seed, rungs, front=True), n_trials=n_trials)
    points = []
    for point in choose_points(read_trials(study), "accuracy"):
        points.append((true_accuracy(point.recipe), math.log10(count_multiply_adds(point.recipe.architecture))))
    assert space.limits.max_multiply_adds is not None
    return dominated_area(points, LEAST_ACCURACY, LEAST_COST, math.log10(space.limits.max_multiply_adds))


def table(results: dict[str, float]) -> str:
    """Markdown: one line per sampler."""
    lines = ["| sampler | studies | area | more than random |", "| --- | ---: | ---: | ---: |"]
    for arm in ARMS:
        areas = {key.partition(", ")[2]: found for key, found in results.items() if key.startswith(f"{arm}, ")}
        if len(areas) < 2:
            continue
        more = "-"
        if arm != "random":
            differences = [found - results[f"random, {of}"] for of, found in areas.items()]
            error = statistics.stdev(differences) / math.sqrt(len(differences))
            more = f"{statistics.fmean(differences):.4f} ± {error:.4f}"
        mean, deviation = statistics.fmean(areas.values()), statistics.stdev(areas.values())
        lines.append(f"| {arm} | {len(areas)} | {mean:.4f} ± {deviation:.4f} | {more} |")
    return "\n".join(lines)


def main() -> None:
    """Search with each sampler in turn, seed by seed; every finished study is in the file at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100, help="of each study (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=8, help="studies of each sampler (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("front-samplers.json"))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    space = with_smaller(space_from(SHIPPED_SPACES / "fashion-mnist.toml", (28, 28, 1), 10))
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for seed in range(options.seeds):
        for arm in ARMS:
            key = f"{arm}, {options.trials} trials, {seed}"
            if key not in results:
                results[key] = search(arm, seed, options.trials, space)
                options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
