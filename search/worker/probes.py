"""Short trainings that tell how long full ones will take, in worker processes as a run starts them.

Not covered: which networks are worth probing (see `search.estimate.networks`; in `search.refit` those that are trained
next), and what follows from the figures (see `search.estimate.costs` and `phases`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from search.callbacks.base import Callback
from search.worker.drive import drive
from search.worker.tasks import RecipeTrainer, TrainingFailed, TrainingSite, TrainTask

MULTIPLY_ADDS = 20e9  # forward, that a probe may spend: a second or two of a core
OVERHEAD = 2e6  # multiply-adds that an image costs beside those of its network, about
MOST_IMAGES = 8_000
FEWEST = 5  # networks that are probed however slow they are
SAFE_RATE = 1e-5  # learning rate at which no training of a second diverges; it does not change the time


@dataclass(frozen=True)
class Probe:
    """How long two short trainings of a network took, beside as many others as the search will have.

    Each ended with an evaluation.
    """

    recipe: Recipe
    first_seconds: float  # until the process had learned from a first batch and evaluated: compiling included
    n_first: int  # images of that batch
    n_images: tuple[int, int]  # of the shorter training and of the longer one
    seconds: tuple[float, float]
    peak_memory_mb: float  # resident, shared pages included

    @property
    def evaluation_in_images(self) -> float:
        """Images that could be learned from in the time of an evaluation, by the difference of the two trainings."""
        (n_short, n_long), (short, long) = self.n_images, self.seconds
        seconds_an_image = (long - short) / (n_long - n_short)
        if seconds_an_image <= 0:  # something else had the cores
            return 0.0
        return max(0.0, short / seconds_an_image - n_short)


@dataclass(frozen=True)
class Outcome:
    """The probes that succeeded, and the networks that cannot be trained here."""

    probes: tuple[Probe, ...]
    failures: tuple[str, ...]  # networks that took too much memory, in words


def probe_all(
    networks: Sequence[tuple[str, Recipe]],
    site: TrainingSite,
    train: RecipeTrainer,
    n_parallel: int,
    callback: Callback,
    seconds: float = math.inf,
) -> Outcome:
    """Train each network for a moment, n_parallel at a time, in this order.

    Args:
        networks: Names and recipes.
        site: What all trainings of the study have in common.
        train: Where a training runs.
        n_parallel: Trainings at a time.
        callback: Follows the probes.
        seconds: After so many no other probe begins, but for the first FEWEST.

    Raises:
        TrainingFailed: Every network took too much memory, or one failed for another reason.
    """
    ends = time.monotonic() + seconds

    def probe(i: int, name: str, recipe: Recipe) -> Probe | str | None:
        if i >= FEWEST and time.monotonic() > ends:
            return None
        return probe_network(name, recipe, site, train, callback)

    probes: list[Probe] = []
    failures: list[str] = []
    with ThreadPoolExecutor(n_parallel) as executor:
        futures = [executor.submit(probe, i, *network) for i, network in enumerate(networks)]
        try:
            for future in futures:
                outcome = future.result()
                if isinstance(outcome, Probe):
                    probes.append(outcome)
                elif outcome is not None:
                    failures.append(outcome)
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    if not probes:
        raise TrainingFailed("memory", failures[0])
    return Outcome(tuple(probes), tuple(failures))


def probe_network(
    name: str, recipe: Recipe, site: TrainingSite, train: RecipeTrainer, callback: Callback
) -> Probe | str:
    """Probe one network; if it takes more memory than it may, say so instead.

    Raises:
        TrainingFailed: It failed for another reason.
    """
    lengths = probe_lengths(recipe, site.n_train_images)
    task = _probe_task(recipe, site, lengths)
    callback.on_training_start(name, recipe, sum(lengths))
    results, ends = [], []
    started = time.monotonic()
    try:
        for result in drive(train, task):
            ends.append(time.monotonic())
            results.append(result)
    except TrainingFailed as failure:
        callback.on_training_end(name, f"failed ({failure.kind}): {failure.reason}")
        if failure.kind != "memory":
            raise
        return f"the network tried as {name} failed: {failure.reason}"
    first, short, long = results
    probe = Probe(
        recipe=recipe,
        first_seconds=ends[0] - started,
        n_first=first.n_images,
        n_images=(short.n_images, long.n_images),
        seconds=(short.seconds, long.seconds),
        peak_memory_mb=long.peak_memory_mb,
    )
    callback.on_training_end(name, f"{sum(probe.n_images) / sum(probe.seconds):,.0f} images/s")
    return probe


def probe_lengths(recipe: Recipe, n_train_images: int) -> tuple[int, int, int]:
    """Choose the lengths in images of a network's three trainings.

    The first is a batch, to get over with what only a first step takes. The difference of the other two tells what an
    image takes, and what they have in common what the evaluation at the end takes.
    """
    batch = min(recipe.plan.batch_size, n_train_images)
    wanted = min(MOST_IMAGES, MULTIPLY_ADDS / (OVERHEAD + count_multiply_adds(recipe.architecture)))
    n_batches = max(1, round(wanted / 4 / batch))
    return batch, n_batches * batch, 4 * n_batches * batch


def seconds_to_first_training(recipe: Recipe, site: TrainingSite, train: RecipeTrainer) -> float:
    """Seconds until a process that starts now has learned from a batch; the first one waits until Keras is loaded."""
    started = time.monotonic()
    list(drive(train, _probe_task(recipe, site, (1,))))
    return time.monotonic() - started


def _probe_task(recipe: Recipe, site: TrainingSite, lengths: Sequence[int]) -> TrainTask:
    return _with_safe_learning_rate(site.task(recipe, 0, lengths[0], max(lengths), further_lengths=tuple(lengths[1:])))


def _with_safe_learning_rate(task: TrainTask) -> TrainTask:
    return replace(task, recipe=replace(task.recipe, plan=replace(task.recipe.plan, peak_learning_rate=SAFE_RATE)))
