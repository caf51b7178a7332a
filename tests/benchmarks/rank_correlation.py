"""How well a short training foretells the order of full ones: rank correlation of rung and full accuracy, three ways.

    python -m tests.benchmarks.rank_correlation --configurations 12 --out rank-correlation.json

Configurations: the portfolio of the space, then feasible random ones; with --redrawn SHARE, members of the portfolio of
whose parameters this share is drawn anew, which gives networks as good as those that a search has to tell apart. Each
is trained in full (the reference) and, with the same seed, in each way at each rung; all are scored on selection and
confirmation split together. The ways:

    annealed   each rung is a training of its own, with the whole schedule squeezed into it
    averaged   one training at a constant rate, half the peak, scored with exponentially averaged weights at the rungs
    plain      the full training itself, looked at when it has seen as many images as the rung has

Every finished training is in the file at once; the same command goes on where it ended.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy import stats

from fmnist.data.find import find_data
from fmnist.data.images import LabelledImages
from fmnist.data.split import Split, load_train, pixel_statistics, save_split
from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe
from search.space.space import SearchSpace
from search.system.machine import default_workers
from search.system.shipped import SHIPPED_SPACES
from search.worker.local import WorkerProcesses
from search.worker.tasks import TrainingFailed, TrainingSite, TrainResult, TrainTask
from tests.support.spaces import space_from

WAYS = ("annealed", "averaged", "plain")
AVERAGING = 0.1  # of the steps up to the last rung
N_RESAMPLES = 2000


@dataclass(frozen=True)
class Job:
    """One training: a configuration in one way ("full" is the reference and gives "plain" as well)."""

    configuration: str  # see `name_of`
    way: str
    recipe: Recipe
    lengths: tuple[int, ...]  # of one training after another, in images
    report_every_images: int


def main() -> None:
    options = _parse()
    source = find_data("fashion-mnist", options.data_dir)
    split = load_train(source, 0)
    space = space_from(options.space, source.image_shape, len(source.class_names))
    recipes = choose_recipes(space, options.configurations, options.seed, options.redrawn)
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    jobs = [job for job in jobs_for(recipes, options.rungs, options.full) if job.way in options.ways]
    train_all(iter(jobs), split, results, options.out, options.seed)
    print(table(results, recipes, options.rungs, options.ways, options.above))


def choose_recipes(space: SearchSpace, n: int, seed: int, redrawn: float) -> list[Recipe]:
    """The portfolio's recipes, then others within the limits: n in all.

    redrawn: share of the parameters of a member of the portfolio that are drawn anew for each of the others.
    """
    recipes = [space.recipe_of(entry.params) for entry in space.portfolio]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    generator = np.random.default_rng(seed)
    while len(recipes) < n:
        entry = space.portfolio[generator.integers(len(space.portfolio))]
        kept = {name: value for name, value in entry.params.items() if generator.random() >= redrawn}
        study.enqueue_trial(kept)
        recipe = space.suggest(study.ask())
        limits, network = space.limits, recipe.architecture
        is_small = count_parameters(network) <= (limits.max_parameters or np.inf)
        is_cheap = count_multiply_adds(network) <= (limits.max_multiply_adds or np.inf)
        if is_small and is_cheap:
            recipes.append(recipe)
    return recipes[:n]


def jobs_for(recipes: Sequence[Recipe], rungs: Sequence[int], full: int) -> Iterator[Job]:
    """All trainings, configuration by configuration."""
    for recipe in recipes:
        name, plan = name_of(recipe), recipe.plan
        steady = replace(plan, schedule="constant", peak_learning_rate=plan.peak_learning_rate / 2, averaging=AVERAGING)
        yield Job(name, "annealed", recipe, tuple(rungs), max(rungs))
        yield Job(name, "averaged", replace(recipe, plan=steady), (max(rungs),), min(rungs))
        yield Job(name, "full", recipe, (full,), min(rungs))


def name_of(recipe: Recipe) -> str:
    """A short name of what is trained, whatever its place in the list and the length of its full training."""
    fields = replace(recipe, plan=replace(recipe.plan, n_epochs=1)).to_dict()
    return hashlib.sha1(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:10]


def train_all(jobs: Iterator[Job], split: Split, results: dict[str, Any], out: Path, seed: int) -> None:
    """Run what is missing in `results`, one training per core at a time."""
    held_out = LabelledImages(
        np.concatenate([split.selection.images, split.confirmation.images]),
        np.concatenate([split.selection.labels, split.confirmation.labels]),
    )
    lock = threading.Lock()
    with tempfile.TemporaryDirectory() as folder:
        save_split(replace(split, selection=held_out), Path(folder))
        mean, std = pixel_statistics(split.train.images)
        site = TrainingSite(Path(folder), mean, std, len(split.train), None)
        workers = WorkerProcesses(Path(folder) / "worker.log", threading.Event())

        def run(job: Job) -> None:
            outcome = _train(workers, site, job, seed)
            with lock:
                results[f"{job.configuration} {job.way}"] = outcome
                out.write_text(json.dumps(results, indent=1))
                print(f"{job.configuration} {job.way:9s} {job.recipe}: {outcome['accuracy']}", flush=True)

        missing = [job for job in jobs if f"{job.configuration} {job.way}" not in results]
        with ThreadPoolExecutor(default_workers()) as executor:
            list(executor.map(run, missing))


def _train(workers: WorkerProcesses, site: TrainingSite, job: Job, seed: int) -> dict[str, Any]:
    """Accuracy by images seen (of the last training where one follows another), seconds and images in all."""
    first, *further = job.lengths
    task: TrainTask = site.task(job.recipe, seed, first, job.report_every_images, further_lengths=tuple(further))
    accuracy: dict[int, float] = {}
    seconds, n_images = 0.0, 0
    try:
        for message in workers.train(task):
            if isinstance(message, TrainResult):
                accuracy |= {point.n_images: point.validation_accuracy for point in message.history}
                seconds, n_images = seconds + message.seconds, n_images + message.n_images
    except TrainingFailed as failure:
        if failure.kind != "diverged":
            raise
    return {
        "recipe": job.recipe.to_dict(),
        "multiply_adds": count_multiply_adds(job.recipe.architecture),
        "accuracy": accuracy,
        "seconds": seconds,
        "n_images": n_images,
        "task": {"seed": task.seed, "lengths": job.lengths},
    }


@dataclass(frozen=True)
class Correlation:
    """Between accuracy at a rung and after full training."""

    way: str
    rung: int  # images
    n: int  # configurations
    spearman: float
    low: float  # 95 % percentile bootstrap over the configurations
    high: float
    kendall: float
    regret: float  # full accuracy lost by taking the rung's best instead of the truly best
    images: int  # that the way has trained by this rung, per configuration


def correlations(
    results: dict[str, Any], names: Sequence[str], rungs: Sequence[int], ways: Sequence[str], above: float
) -> list[Correlation]:
    """For every way and rung, over the configurations whose trainings all came to an end, above an accuracy in full."""
    full = [_last(results[f"{name} full"]) for name in names]
    found = []
    for way in ways_measured(ways):
        for index, rung in enumerate(rungs):
            scores = [_at(results[f"{name} {'full' if way == 'plain' else way}"], rung) for name in names]
            pairs = [
                (s, f) for s, f in zip(scores, full, strict=True) if s is not None and f is not None and f >= above
            ]
            images = sum(rungs[: index + 1]) if way == "annealed" else rung
            found.append(_correlation(way, rung, np.array(pairs), images))
    return found


def _correlation(way: str, rung: int, pairs: np.ndarray, images: int) -> Correlation:
    """pairs: float (n, 2), accuracy at the rung and in full."""

    def spearman(short: np.ndarray, long: np.ndarray) -> float:
        return float(stats.spearmanr(short, long).statistic)

    drawn = np.random.default_rng(0).integers(0, len(pairs), size=(N_RESAMPLES, len(pairs)))
    resampled = [spearman(*pairs[rows].T) for rows in drawn if len(set(rows)) > 2]
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    short, long = pairs.T
    return Correlation(
        way=way,
        rung=rung,
        n=len(pairs),
        spearman=spearman(short, long),
        low=float(low),
        high=float(high),
        kendall=float(stats.kendalltau(short, long).statistic),
        regret=float(long.max() - long[short.argmax()]),
        images=images,
    )


def ways_measured(ways: Sequence[str]) -> list[str]:
    """The ways that these trainings tell of: the full one gives "plain" as well."""
    return [way for way in WAYS if way in ways or way == "plain"]


def _at(result: dict[str, Any], rung: int) -> float | None:
    return {int(n): value for n, value in result["accuracy"].items()}.get(rung)


def _last(result: dict[str, Any]) -> float | None:
    accuracy = {int(n): value for n, value in result["accuracy"].items()}
    return accuracy[max(accuracy)] if accuracy else None


def table(
    results: dict[str, Any], recipes: Sequence[Recipe], rungs: Sequence[int], ways: Sequence[str], above: float
) -> str:
    """Markdown: one line per way and rung, then one per configuration."""
    lines = [
        "| way | rung (images) | images paid | n | Spearman [95 %] | Kendall | lost by taking the rung's best |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = [name_of(recipe) for recipe in recipes]
    for each in map(asdict, correlations(results, names, rungs, ways, above)):
        lines.append(
            "| {way} | {rung:,} | {images:,} | {n} | {spearman:.2f} [{low:.2f}, {high:.2f}] | {kendall:.2f} "
            "| {regret:.2%} |".format(**each)
        )
    lines += [
        "",
        f"| configuration | full | {' | '.join(f'{way} {rung:,}' for way in ways_measured(ways) for rung in rungs)} |",
    ]
    lines.append("| --- |" + " --- |" * (1 + len(ways_measured(ways)) * len(rungs)))
    for recipe in recipes:
        name = name_of(recipe)
        shown = [_last(results[f"{name} full"])]
        for way in ways_measured(ways):
            shown += [_at(results[f"{name} {'full' if way == 'plain' else way}"], rung) for rung in rungs]
        cells = ["diverged" if value is None else f"{value:.2%}" for value in shown]
        lines.append(f"| `{str(recipe).replace(' | ', ', ')}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=12, help="how many (default: %(default)s)")
    parser.add_argument("--rungs", type=int, nargs="+", default=[20_000, 100_000], help="in images")
    parser.add_argument("--full", type=int, default=400_000, help="images of a full training (default: %(default)s)")
    parser.add_argument("--redrawn", type=float, default=1.0, metavar="SHARE", help="see above (default: %(default)s)")
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=("annealed", "averaged", "full"),
        default=["annealed", "averaged", "full"],
        help="(default: all)",
    )
    parser.add_argument("--above", type=float, default=0.0, help="accuracy in full, of those that are compared")
    parser.add_argument("--space", type=Path, default=SHIPPED_SPACES / "fashion-mnist.toml")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("rank-correlation.json"))
    options = parser.parse_args()
    if options.configurations < 4 or min(options.rungs) < 1 or options.full < max(options.rungs):
        parser.error("at least 4 configurations and rungs of at least 1 image, none above --full, are needed")
    return options


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
