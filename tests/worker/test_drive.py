"""The loop over a worker's messages, with a trainer that trains nothing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Generator
from contextlib import closing

import pytest

from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from search.worker.drive import drive
from search.worker.tasks import ImagesSeen, TrainingFailed, TrainMessage, TrainResult, TrainTask
from tests.support.training.trainers import SITE, point

RECIPE = Recipe(Architecture((8, 8, 1), 10, (Block(8, 1, 3),)), TrainingPlan(batch_size=32, flip=False))
TASK = SITE.task(RECIPE, 0, 100, 100, further_lengths=(200,))


def result(n_images: int) -> TrainResult:
    return TrainResult((), None, n_images, 0.1, 0.1, "end", 100.0)


class Trainer:
    """Sends the messages that it is given, and knows how far it came."""

    def __init__(self, *messages: TrainMessage) -> None:
        self.messages = messages
        self.n_sent = 0
        self.is_closed = False

    def __call__(self, task: TrainTask) -> Generator[TrainMessage, None, None]:
        try:
            for message in self.messages:
                self.n_sent += 1
                yield message
        finally:
            self.is_closed = True


def test_progress_goes_to_the_callbacks_and_results_to_the_caller() -> None:
    heard: list[object] = []
    trainer = Trainer(ImagesSeen(50), point(100, 0.5), result(100), point(200, 0.6), result(200))
    results = drive(trainer, TASK, on_point=heard.append, on_images=heard.append)
    assert [each.n_images for each in results] == [100, 200]
    assert heard == [50, point(100, 0.5), point(200, 0.6)]


def test_next_training_starts_when_its_result_is_asked_for() -> None:
    trainer = Trainer(result(100), result(200))
    with closing(drive(trainer, TASK)) as results:
        next(results)
        assert trainer.n_sent == 1
    assert trainer.is_closed


@pytest.mark.parametrize("messages", [(), (point(100, 0.5), result(100))])
def test_task_that_ends_without_all_its_results_has_failed(messages: tuple[TrainMessage, ...]) -> None:
    with pytest.raises(TrainingFailed, match="ended without a result"):
        list(drive(Trainer(*messages), TASK))


def test_failure_comes_out_of_a_pool_of_processes_as_it_was_raised() -> None:
    failure = TrainingFailed("memory", "the process used 300 MB", "Traceback")
    failure.add_note("in trial 3")
    for kept in (pickle.loads(pickle.dumps(failure)), copy.copy(failure)):
        assert type(kept) is TrainingFailed and str(kept) == "the process used 300 MB"
        assert (kept.kind, kept.reason, kept.trace) == ("memory", "the process used 300 MB", "Traceback")
        assert kept.__notes__ == ["in trial 3"]
