"""Which sampler finds more in the same number of trials: real trainings, on images small enough for many studies.

    python -m tests.benchmarks.samplers --trials 50 --seeds 3 --out samplers.json

Every sampler searches the space of scikit-learn's digits, without pruning, the portfolio first, at the same seeds. What
is compared is the best selection accuracy so far, and the confirmation accuracy of the trial that has it, which nothing
was chosen by. Every finished study is in the file at once; the same command goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna

from fmnist.data.find import find_data
from fmnist.data.split import load_train, open_split, pixel_statistics, save_split
from fmnist.model.layers import count_multiply_adds, count_parameters
from search.space.space import SearchSpace
from search.study.strategy import seed_of
from search.system.machine import default_workers
from search.system.shipped import SHIPPED_SPACES
from search.worker.local import WorkerProcesses
from search.worker.tasks import TrainingFailed, TrainingSite, TrainResult
from tests.support.spaces import space_from

Sampler = optuna.samplers.BaseSampler
SAMPLERS: dict[str, Callable[[int], Sampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe, group": lambda seed: optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed),
    "tpe, joint without group": lambda seed: optuna.samplers.TPESampler(multivariate=True, seed=seed),
    "tpe, one by one": lambda seed: optuna.samplers.TPESampler(multivariate=False, seed=seed),
}


def main() -> None:
    options = _parse()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    source = find_data("digits", None)
    space = space_from(SHIPPED_SPACES / "digits.toml", source.image_shape, len(source.class_names))
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        split = load_train(source, 0)
        save_split(split, Path(folder))
        site = TrainingSite(Path(folder), *pixel_statistics(split.train.images), len(split.train), None)
        workers = WorkerProcesses(Path(folder) / "worker.log", threading.Event())
        for seed in range(options.seeds):
            for name in SAMPLERS:
                if f"{name} {seed}" not in results:
                    results[f"{name} {seed}"] = _search(name, seed, options.trials, space, site, workers)
                    options.out.write_text(json.dumps(results, indent=1))
    print(table(results, options.seeds))


def _search(
    name: str, seed: int, n_trials: int, space: SearchSpace, site: TrainingSite, workers: WorkerProcesses
) -> list[dict[str, float | None]]:
    """Selection and confirmation accuracy of every trial, in the order of their numbers; None where there is none."""
    labels = np.array(open_split(site.split_folder).confirmation.labels)

    def objective(trial: optuna.Trial) -> float:
        recipe = space.suggest(trial)
        for limit, received in (
            (space.limits.max_parameters, count_parameters(recipe.architecture)),
            (space.limits.max_multiply_adds, count_multiply_adds(recipe.architecture)),
        ):
            if limit is not None:
                trial.set_constraint(str(limit), received / limit - 1)
                if received > limit:
                    raise optuna.TrialPruned
        fidelity = space.fidelity
        task = site.task(
            recipe, seed_of(seed, "trial", trial.number), fidelity.search_images, fidelity.report_every_images
        )
        task = replace(task, score_on_confirmation=True)
        result = next(message for message in workers.train(task) if isinstance(message, TrainResult))
        predicted = result.confirmation_probabilities.argmax(axis=1)
        trial.set_user_attr("confirmation", float(np.mean(predicted == labels)))
        return result.best.validation_accuracy

    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[name](seed))
    for entry in space.portfolio:
        study.enqueue_trial(entry.params)
    study.optimize(objective, n_trials=n_trials, n_jobs=default_workers(), catch=(TrainingFailed,))
    complete = optuna.trial.TrialState.COMPLETE
    return [
        {
            "selection": trial.value if trial.state == complete else None,
            "confirmation": trial.user_attrs.get("confirmation"),
        }
        for trial in study.trials
    ]


def table(results: dict[str, list[dict[str, float | None]]], n_seeds: int) -> str:
    """Markdown: one line per sampler, means and standard deviations over the seeds."""
    lines = [
        "| sampler | studies | best selection accuracy, half the trials | all of them | its confirmation accuracy "
        "| mean of all trials |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in SAMPLERS:
        studies = [results[f"{name} {seed}"] for seed in range(n_seeds)]
        half = [_best(trials[: len(trials) // 2])["selection"] for trials in studies]
        best = [_best(trials) for trials in studies]
        means = [statistics.fmean(t["selection"] for t in trials if t["selection"] is not None) for trials in studies]
        cells = [half, [b["selection"] for b in best], [b["confirmation"] for b in best], means]
        lines.append(f"| {name} | {n_seeds} | {' | '.join(map(_spread, cells))} |")
    return "\n".join(lines)


def _best(trials: list[dict[str, float | None]]) -> dict[str, float | None]:
    return max((trial for trial in trials if trial["selection"] is not None), key=lambda trial: trial["selection"])


def _spread(values: list[float]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}{deviation} %"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50, help="of each study (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="studies per sampler (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("samplers.json"))
    options = parser.parse_args()
    if options.trials < 4 or options.seeds < 1:
        parser.error("--trials must be at least 4 and --seeds at least 1")
    return options


if __name__ == "__main__":
    main()
