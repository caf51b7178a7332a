"""Where a trial's seconds go, and how the cores are best shared: workers times threads.

    python -m tests.benchmarks.throughput --images 40000 --repeats 3

The ceiling is Keras' bare `train_on_batch` on one batch that lies in memory: no shuffling, no augmentation, no
validation, compiled before the clock starts. Beside it, alternately, the product's own process trains the same recipe
on the same images. Figures are medians and ranges over the repeats; read them as ratios.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import numpy as np

from fmnist.data.find import find_data
from fmnist.data.split import load_train, pixel_statistics, save_split
from fmnist.errors import UserError
from fmnist.recipe import Recipe
from fmnist.training.precision import has_bfloat16, has_fast_bfloat16
from search.system.machine import default_workers
from search.system.shipped import SHIPPED_SPACES
from search.worker.local import WorkerProcesses
from search.worker.tasks import TrainingSite, TrainResult
from tests.support.spaces import space_from

CEILING_SECONDS = 10.0
T = TypeVar("T")


def main() -> None:
    options = _parse()
    source = find_data("fashion-mnist", options.data_dir)
    split = load_train(source, 0)
    space = space_from(options.space, source.image_shape, len(source.class_names))
    cores = default_workers()
    with tempfile.TemporaryDirectory() as folder:
        save_split(split, Path(folder))
        pixels = pixel_statistics(split.train.images)
        site = TrainingSite(Path(folder), *pixels, len(split.train), None, bfloat16=has_fast_bfloat16())
        workers = WorkerProcesses(Path(folder) / "worker.log", threading.Event())
        for entry in space.portfolio:
            recipe = space.recipe_of(entry.params)
            print(f"\n{entry.name}: {recipe}\n\n| what | median | range | n |\n| --- | --- | --- | --- |", flush=True)
            _measure(recipe, site, workers, cores, options.images, options.repeats)


def _measure(
    recipe: Recipe, site: TrainingSite, workers: WorkerProcesses, cores: int, n_images: int, n_repeats: int
) -> None:
    """Measure each figure once per round, so that a busy moment of the machine hits all of them."""
    rounds: dict[str, list[float]] = {}
    other_site = replace(site, bfloat16=has_bfloat16() and not site.bfloat16)
    for _ in range(n_repeats):
        ceiling = sum(_side_by_side(lambda: _ceiling(recipe, 1), cores))
        trials = _side_by_side(lambda: _trial(workers, site, recipe, n_images, 1), cores)
        wide = _trial(workers, site, recipe, n_images, cores)
        others = _side_by_side(lambda: _trial(workers, other_site, recipe, n_images, 1), cores)
        figures = {
            f"ceiling, {cores} processes of 1 thread, images/s": ceiling,
            "steps of learning and validation, share of a trial's time": statistics.mean(t["steps"] for t in trials),
            "compiling and first weights, s": statistics.mean(t["seconds"] - t["in_training"] for t in trials),
            "a trial's images/s, all told, in ceilings": sum(t["rate"] for t in trials) / ceiling,
            "the same without compiling, in ceilings": _rate(trials) / ceiling,
            f"{_precision(site)} against {_precision(other_site)}, images/s without compiling": _rate(trials)
            / _rate(others),
            f"{cores} trials of 1 thread against 1 of {cores}, images/s": sum(t["rate"] for t in trials) / wide["rate"],
        }
        for name, value in figures.items():
            rounds.setdefault(name, []).append(value)
    for name, values in rounds.items():
        print(f"| {name} | {statistics.median(values):.4g} | {min(values):.4g} to {max(values):.4g} | {len(values)} |")


def _precision(site: TrainingSite) -> str:
    return "bfloat16" if site.bfloat16 else "float32"


def _rate(trials: Sequence[dict[str, float]]) -> float:
    return sum(trial["training_rate"] for trial in trials)


def _side_by_side(function: Callable[[], T], n: int) -> list[T]:
    with ThreadPoolExecutor(n) as executor:
        return [future.result() for future in [executor.submit(function) for _ in range(n)]]


def _trial(
    workers: WorkerProcesses, site: TrainingSite, recipe: Recipe, n_images: int, n_threads: int
) -> dict[str, float]:
    """One training as a trial has it: in a process of its own, validated at its middle and end."""
    started = time.monotonic()
    task = site.task(recipe, 0, n_images, n_images // 2, n_threads=n_threads)
    result = next(message for message in workers.train(task) if isinstance(message, TrainResult))
    seconds = time.monotonic() - started
    return {
        "seconds": seconds,
        "in_training": result.seconds,
        "steps": result.seconds_in_steps / seconds,
        "rate": result.n_images / seconds,
        "training_rate": result.n_images / result.seconds,
    }


def _ceiling(recipe: Recipe, n_threads: int) -> float:
    """Images per second of Keras' `train_on_batch`, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_train_on_batch, args=(theirs, recipe, n_threads))
    process.start()
    rate = ours.recv()
    process.join()
    return rate


def _train_on_batch(pipe: Connection, recipe: Recipe, n_threads: int) -> None:
    import keras

    from fmnist.model.build import build_model
    from fmnist.training.execution import limit_threads

    limit_threads(n_threads)
    model = build_model(recipe.architecture, 72.0, 90.0)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.plan.label_smoothing)
    model.compile(optimizer="adamw" if recipe.plan.optimizer == "adamw" else "sgd", loss=loss, metrics=["accuracy"])
    generator = np.random.default_rng(0)
    n = recipe.plan.batch_size
    images = generator.uniform(0, 255, (n, *recipe.architecture.image_shape)).astype(np.float32)
    targets = np.eye(recipe.architecture.n_classes, dtype=np.float32)[generator.integers(0, 10, n)]
    for _ in range(3):
        model.train_on_batch(images, targets)
    n_steps, started = 0, time.monotonic()
    while time.monotonic() - started < CEILING_SECONDS:
        model.train_on_batch(images, targets)
        n_steps += 1
    pipe.send(n_steps * n / (time.monotonic() - started))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40_000, help="of each training (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--space", type=Path, default=SHIPPED_SPACES / "fashion-mnist.toml")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    if options.images < 2 or options.repeats < 1:
        parser.error("--images must be at least 2 and --repeats at least 1")
    return options


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
