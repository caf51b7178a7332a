"""Short trainings that tell what long ones will take: in worker processes as a run starts them, as many side by side.

Not covered: which networks are worth it (see `search.estimate.check` and `search.refit.retraining`), what follows from it (see
`search.estimate.costs`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from search.callbacks.base import Callback
from search.worker.tasks import Trainer, TrainingFailed, TrainingSite, TrainResult, TrainTask

MULTIPLY_ADDS = 20e9  # forward, that a probe may spend: a second or two of a core
OVERHEAD = 2e6  # multiply-adds that an image costs beside those of its network, about
MOST_IMAGES = 8_000
FEWEST = 5  # networks, however slow they are
STEPS_TO_A_MARK = 4  # of a training that is watched for its speed; before the first mark, things are still set up
SAFE_RATE = 1e-5  # of learning: no training of a second diverges, and time does not go with it


@dataclass(frozen=True)
class Probe:
    """What two short trainings of a network took, beside as many others as the search will have. Each ended with a look
    at the images held out."""

    name: str
    recipe: Recipe
    first_seconds: float  # until the process had learned from a first batch, and looked: compiling included
    n_first: int  # images of that batch
    n_images: tuple[int, int]  # of the shorter training and of the longer one
    seconds: tuple[float, float]
    peak_memory_mb: float  # resident, shared pages included

    @property
    def look_in_images(self) -> float:
        """As many images as could be learned from in the time of a look, by the difference of the two trainings."""
        (n_short, n_long), (short, long) = self.n_images, self.seconds
        an_image = (long - short) / (n_long - n_short)
        return max(0.0, short / an_image - n_short) if an_image > 0 else 0.0  # 0: something else had the cores


@dataclass(frozen=True)
class Outcome:
    """What a round of probes came to."""

    probes: tuple[Probe, ...]
    failures: tuple[str, ...]  # networks that took too much memory, in words


def probe_all(
    networks: Sequence[tuple[str, Recipe]],
    site: TrainingSite,
    train: Trainer,
    n_parallel: int,
    callback: Callback,
    seconds: float = math.inf,
) -> Outcome:
    """Train each for a moment, n_parallel at a time, in this order. networks: names and recipes. seconds: after so many
    no other is begun, but for FEWEST. One that takes more memory than it may is left out, with its reason; raises
    TrainingFailed for any other failure, and where all do."""
    ends = time.monotonic() + seconds

    def probe(i: int, name: str, recipe: Recipe) -> Probe | str | None:
        is_late = i >= FEWEST and time.monotonic() > ends
        return None if is_late else _probe(name, recipe, site, train, callback)

    with ThreadPoolExecutor(n_parallel) as executor:
        futures = [executor.submit(probe, i, *network) for i, network in enumerate(networks)]
        try:
            outcomes = [future.result() for future in futures]
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    probes = tuple(outcome for outcome in outcomes if isinstance(outcome, Probe))
    failures = tuple(outcome for outcome in outcomes if isinstance(outcome, str))
    if not probes:
        raise TrainingFailed("memory", failures[0])
    return Outcome(probes, failures)


def seconds_to_first_training(recipe: Recipe, site: TrainingSite, train: Trainer) -> float:
    """Until a process that starts now has learned from a batch: the first one waits until Keras is loaded."""
    started = time.monotonic()
    _results_of(_task(recipe, site, (1,)), train)
    return time.monotonic() - started


def speed_side_by_side(tasks: Sequence[TrainTask], train: Trainer, seconds: float) -> float | None:
    """Training images per second of all these trainings together, once they are under way: each is begun, and ended
    after so many seconds. None where one of them was not yet under way by then."""
    with ThreadPoolExecutor(len(tasks)) as executor:
        speeds = list(executor.map(lambda task: _speed_under_way(task, train, seconds), tasks))
    return None if None in speeds else sum(speeds)


def _speed_under_way(task: TrainTask, train: Trainer, seconds: float) -> float | None:
    report_every = STEPS_TO_A_MARK * task.recipe.plan.batch_size
    (result,) = _results_of(
        replace(_with_safe_learning_rate(task), report_every_images=report_every, seconds_limit=seconds), train
    )
    first, last = result.history[0], result.history[-1]
    return (last.n_images - first.n_images) / (last.seconds - first.seconds) if last.seconds > first.seconds else None


def probe_lengths(recipe: Recipe, n_train_images: int) -> tuple[int, int, int]:
    """In images: a batch, to be over with what only a first step takes; then two lengths whose difference tells what an
    image takes, and what they have in common the look at the end."""
    batch = min(recipe.plan.batch_size, n_train_images)
    wanted = min(MOST_IMAGES, MULTIPLY_ADDS / (OVERHEAD + count_multiply_adds(recipe.architecture)))
    n_batches = max(1, round(wanted / 4 / batch))
    return batch, n_batches * batch, 4 * n_batches * batch


def _probe(name: str, recipe: Recipe, site: TrainingSite, train: Trainer, callback: Callback) -> Probe | str:
    lengths = probe_lengths(recipe, site.n_train_images)
    callback.on_training_start(name, recipe, sum(lengths))
    try:
        probe = _measured(name, recipe, lengths, site, train)
    except TrainingFailed as failure:
        callback.on_training_end(name, f"failed ({failure.kind}): {failure.reason}")
        if failure.kind != "memory":
            raise
        return f"the network tried as {name} failed: {failure.reason}"
    callback.on_training_end(name, f"{sum(probe.n_images) / sum(probe.seconds):,.0f} images/s")
    return probe


def _measured(name: str, recipe: Recipe, lengths: Sequence[int], site: TrainingSite, train: Trainer) -> Probe:
    task = _task(recipe, site, lengths)
    started, ends = time.monotonic(), []
    results = _results_of(task, train, on_result=lambda: ends.append(time.monotonic()))
    first, short, long = results
    return Probe(
        name=name,
        recipe=recipe,
        first_seconds=ends[0] - started,
        n_first=first.n_images,
        n_images=(short.n_images, long.n_images),
        seconds=(short.seconds, long.seconds),
        peak_memory_mb=long.peak_memory_mb,
    )


def _task(recipe: Recipe, site: TrainingSite, lengths: Sequence[int]) -> TrainTask:
    return _with_safe_learning_rate(site.task(recipe, 0, lengths[0], max(lengths), further_lengths=tuple(lengths[1:])))


def _with_safe_learning_rate(task: TrainTask) -> TrainTask:
    return replace(task, recipe=replace(task.recipe, plan=replace(task.recipe.plan, peak_learning_rate=SAFE_RATE)))


def _results_of(task: TrainTask, train: Trainer, on_result: Callable[[], None] = lambda: None) -> list[TrainResult]:
    results = []
    with closing(train(task)) as messages:
        for message in messages:
            if isinstance(message, TrainResult):
                on_result()
                results.append(message)
    return results
