"""Short trainings that tell how long full ones take."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from search.callbacks.base import Callback
from search.estimate.costs import seconds_an_image
from search.worker.probes import FEWEST, probe_all, probe_lengths
from search.worker.tasks import RecipeTrainer, TrainingFailed, TrainingSite, TrainMessage, TrainResult, TrainTask

RECIPE = Recipe(Architecture((8, 8, 1), 10, (Block(8, 1, 3),)), TrainingPlan(batch_size=32))
SITE = TrainingSite(Path("nowhere"), 0.0, 1.0, 1000, None)


def training(seconds_an_image: float, seconds_an_evaluation: float, peak: float = 300.0) -> RecipeTrainer:
    def train(task: TrainTask) -> Generator[TrainMessage, None, None]:
        for n in (task.n_planned_images, *task.further_lengths):
            yield TrainResult((), None, n, n * seconds_an_image + seconds_an_evaluation, 0.0, "end", peak)

    return train


def test_probe_tells_images_from_evaluations() -> None:
    (probe,) = probe_all([("p", RECIPE)], SITE, training(0.002, 0.5), 1, Callback()).probes
    assert probe.evaluation_in_images == pytest.approx(250)
    assert seconds_an_image(probe, 250) == pytest.approx(0.002)
    assert probe.peak_memory_mb == 300


def test_costly_networks_are_tried_on_fewer_images() -> None:
    large = replace(RECIPE, architecture=Architecture((128, 128, 3), 10, (Block(64, 2, 3),)))
    assert count_multiply_adds(large.architecture) > 1e8
    assert sum(probe_lengths(large, 1000)) < 500 < sum(probe_lengths(RECIPE, 1000))
    assert probe_lengths(RECIPE, 10)[0] == 10, "a batch is no larger than the training split"


def test_slow_machine_tries_fewer_networks() -> None:
    outcome = probe_all([("p", RECIPE)] * 9, SITE, training(0.002, 0.5), 1, Callback(), seconds=-1)
    assert len(outcome.probes) == FEWEST


def test_network_that_takes_too_much_memory_is_named_and_other_failures_end_the_check() -> None:
    def fail(kind: str, task: TrainTask) -> Generator[TrainMessage, None, None]:
        raise TrainingFailed(kind, "no more")
        yield

    def fail_on_large(task: TrainTask) -> Generator[TrainMessage, None, None]:
        large = task.recipe.architecture != RECIPE.architecture
        return fail("memory", task) if large else training(0.002, 0.5)(task)

    large = replace(RECIPE, architecture=Architecture((8, 8, 1), 10, (Block(64, 2, 3),)))
    outcome = probe_all([("small", RECIPE), ("largest", large)], SITE, fail_on_large, 1, Callback())
    assert [probe.recipe for probe in outcome.probes] == [RECIPE]
    assert outcome.failures == ("the network tried as largest failed: no more",)
    for kind in ("memory", "error"):
        with pytest.raises(TrainingFailed, match="no more"):
            probe_all([("largest", RECIPE)], SITE, partial(fail, kind), 1, Callback())
