"""The contenders that use the tool's training loop and space without its search: random, i-epoch and default.

They say what the search itself is worth. Each training is a process of its own, as in the tool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import optuna

from fmnist.data.split import Split, pixel_statistics, save_split
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from fmnist.training.precision import has_fast_bfloat16
from search.space.space import DEFAULT_NAME, SearchSpace
from search.system.machine import default_workers
from search.worker.local import WorkerProcesses
from search.worker.tasks import TrainingFailed, TrainResult, TrainTask
from tests.benchmarks.peers.data import load_for_peers
from tests.benchmarks.peers.records import Assignment, Ledger

N_EPOCHS = 10  # of a full training
REPORTS_PER_EPOCH = 2
RESERVE_SECONDS = 4.0  # at the end, to start the last process, validate once more and save
SAFE_SHARE = 0.95  # of the time left that a training is planned for: its schedule must reach its end
SPEED_SHARE = 0.03  # of all seconds, that `default` spends on measuring its speed
SPEED_SECONDS = 10.0  # at least


def compete_with_random(assignment: Assignment, ledger: Ledger) -> None:
    """Random configurations, everyone trained for the same number of epochs."""
    bench = _Bench(assignment, ledger)
    recipes = _RandomRecipes(bench.space, assignment.seed)

    def train_on() -> None:
        while bench.seconds_left() > 0:
            bench.train(recipes.next(), N_EPOCHS * bench.n_train_images)

    bench.on_all_cores(train_on)


def compete_with_i_epoch(assignment: Assignment, ledger: Ledger) -> None:
    """Random configurations trained for one epoch, then the best of them in full (Egele et al. 2024).

    One epoch has the whole schedule squeezed into it. A full training is N_EPOCHS long, or what the time left allows.
    """
    bench = _Bench(assignment, ledger)
    recipes = _RandomRecipes(bench.space, assignment.seed)
    ranked: list[_Ranked] = []

    def try_one_epoch() -> None:
        while ledger.seconds() < assignment.one_epoch_share * assignment.seconds:
            recipe = recipes.next()
            result = bench.train(recipe, bench.n_train_images)
            if result is not None:
                speed = result.n_images / result.seconds
                ranked.append(_Ranked(result.best.validation_accuracy, recipe, speed))

    def train_in_full() -> None:
        while queue:
            candidate = queue.pop(0)
            n_fitting = round(SAFE_SHARE * bench.seconds_left() * candidate.images_per_second)
            if n_fitting < bench.n_train_images:
                return
            bench.train(candidate.recipe, min(N_EPOCHS * bench.n_train_images, n_fitting))

    bench.on_all_cores(try_one_epoch)
    queue = sorted(ranked, key=lambda candidate: -candidate.accuracy)
    bench.on_all_cores(train_in_full)


def compete_with_default(assignment: Assignment, ledger: Ledger) -> None:
    """The space's default configuration, trained once, its schedule as long as the time: no search at all."""
    bench = _Bench(assignment, ledger)
    (entry,) = (entry for entry in bench.space.portfolio if entry.name == DEFAULT_NAME)
    recipe = bench.space.recipe_of(entry.params)
    measured = bench.train(
        recipe,
        N_EPOCHS * bench.n_train_images,
        n_threads=default_workers(),
        seconds_limit=max(SPEED_SECONDS, SPEED_SHARE * assignment.seconds),
    )
    if measured is None:
        raise RuntimeError("the default recipe diverged")
    n_fitting = round(SAFE_SHARE * bench.seconds_left() * _images_per_second(measured))
    bench.train(recipe, max(1, n_fitting), n_threads=default_workers())


def _images_per_second(result: TrainResult) -> float:
    """Without the first report, which holds the building of the network, where there are more."""
    first, last = result.history[0], result.history[-1]
    if last.n_images > first.n_images:
        return (last.n_images - first.n_images) / (last.seconds - first.seconds)
    return result.n_images / result.seconds


@dataclass(frozen=True)
class _Ranked:
    """A configuration after one epoch."""

    accuracy: float  # on the selection split
    recipe: Recipe
    images_per_second: float  # of one process


class _RandomRecipes:
    """Feasible configurations of a space, drawn independently. Threads may share it."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        self._lock = threading.Lock()

    def next(self) -> Recipe:
        with self._lock:
            while True:
                recipe = self._space.suggest(self._study.ask())
                if _is_feasible(recipe, self._space):
                    return recipe


def _is_feasible(recipe: Recipe, space: SearchSpace) -> bool:
    costs = (
        (count_parameters(recipe.architecture), space.limits.max_parameters),
        (count_multiply_adds(recipe.architecture), space.limits.max_multiply_adds),
    )
    return all(limit is None or cost <= limit for cost, limit in costs)


class _Bench:
    """The shipped space, the images on disk, and the processes that train; keeps the best model of all trainings."""

    def __init__(self, assignment: Assignment, ledger: Ledger) -> None:
        self._assignment = assignment
        self._ledger = ledger
        self._stop = threading.Event()
        self._scratch = assignment.files.scratch
        self._lock = threading.Lock()
        self._delivered_accuracy = -1.0  # of the model in its place
        train, selection = load_for_peers(assignment)
        self.n_train_images = len(train)
        image_shape, n_classes = train.images.shape[1:], int(train.labels.max()) + 1
        self.space = assignment.images.read_space(image_shape, n_classes, len(train))
        # A split has three parts; nobody here asks for the third.
        save_split(Split(train, selection, selection, checksum="", seed=assignment.seed), self._scratch / "split")
        self._pixel_mean, self._pixel_std = pixel_statistics(train.images)
        self._workers = WorkerProcesses(self._scratch / "worker.log", self._stop)

    def seconds_left(self) -> float:
        """For training."""
        return max(0.0, self._ledger.seconds_left() - RESERVE_SECONDS)

    def on_all_cores(self, work: Callable[[], None]) -> None:
        """Do the work in as many threads as there are cores; an error in one ends all of them."""
        n_workers = default_workers()
        with ThreadPoolExecutor(n_workers) as executor:
            futures = [executor.submit(self._stopping_others, work) for _ in range(n_workers)]
        for future in futures:
            future.result()

    def _stopping_others(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            self._stop.set()
            raise

    def train(
        self, recipe: Recipe, n_planned_images: int, *, n_threads: int = 1, seconds_limit: float | None = None
    ) -> TrainResult | None:
        """One training, ended at seconds_limit or with the contender's time. None if it diverged, which a random
        configuration may; raises TrainingFailed for any other reason."""
        number = self._ledger.began_trial()
        save_to = self._scratch / f"model-{number}.keras"
        task = TrainTask(
            recipe=recipe,
            seed=self._assignment.seed * 10_000 + number,
            split_folder=self._scratch / "split",
            pixel_mean=self._pixel_mean,
            pixel_std=self._pixel_std,
            n_planned_images=n_planned_images,
            report_every_images=self.n_train_images // REPORTS_PER_EPOCH,
            seconds_limit=min(self.seconds_left(), seconds_limit or float("inf")),
            n_threads=n_threads,
            bfloat16=has_fast_bfloat16(),
            save_to=save_to,
        )
        try:
            result = self._drive(task)
        except TrainingFailed as failure:
            if failure.kind != "diverged":
                raise
            return None
        self._deliver(save_to, result.best.validation_accuracy)
        return result

    def _drive(self, task: TrainTask) -> TrainResult:
        n_images = 0
        with closing(self._workers.train(task)) as messages:
            for message in messages:
                if isinstance(message, TrainResult):
                    return message
                if not isinstance(message, HistoryPoint):
                    continue  # how far it is, once a second
                self._ledger.saw(message.validation_accuracy)
                self._ledger.trained_on(message.n_images - n_images)
                n_images = message.n_images
        raise RuntimeError("the training ended without a result")

    def _deliver(self, path: Path, validation_accuracy: float) -> None:
        with self._lock:
            if validation_accuracy > self._delivered_accuracy:
                self._delivered_accuracy = validation_accuracy
                path.replace(self._assignment.files.model)
            else:
                path.unlink()
