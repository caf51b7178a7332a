"""The one loop over a worker's messages: progress goes to callbacks, results to the caller."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, overload

from fmnist.training.history import HistoryPoint
from search.worker.tasks import (
    BaselineResult,
    BaselineTask,
    ImagesSeen,
    RecipeTrainer,
    Trainer,
    TrainingFailed,
    TrainMessage,
    TrainResult,
    TrainTask,
)


def ignore(_: object) -> None:
    """Do nothing with a message."""


@overload
def drive(
    trainer: RecipeTrainer,
    task: TrainTask,
    *,
    on_point: Callable[[HistoryPoint], None] = ...,
    on_images: Callable[[int], None] = ...,
    on_length: Callable[[int], None] = ...,
) -> Generator[TrainResult, None, None]: ...


@overload
def drive(
    trainer: Trainer,
    task: BaselineTask,
    *,
    on_point: Callable[[HistoryPoint], None] = ...,
    on_images: Callable[[int], None] = ...,
    on_length: Callable[[int], None] = ...,
) -> Generator[BaselineResult, None, None]: ...


def drive(
    trainer: Callable[[Any], Generator[TrainMessage, None, None]],
    task: TrainTask | BaselineTask,
    *,
    on_point: Callable[[HistoryPoint], None] = ignore,
    on_images: Callable[[int], None] = ignore,
    on_length: Callable[[int], None] = ignore,
) -> Generator[TrainResult | BaselineResult, None, None]:
    """Run a task and yield the result of each of its trainings.

    The next training starts when its result is asked for. Close the generator to end the task before its end.

    Args:
        trainer: Where the task runs.
        task: One training or several of one recipe, or the fit of a baseline.
        on_point: Called with every evaluation.
        on_images: Called with the number of training images seen, about once a second.
        on_length: Called with the training's length in images as it then is.

    Raises:
        TrainingFailed: The training came to nothing, or ended without a result.
        Interrupted: The run is to stop.
    """
    n_missing = task.n_trainings
    with closing(trainer(task)) as messages:
        for message in messages:
            if isinstance(message, HistoryPoint):
                on_point(message)
            elif isinstance(message, ImagesSeen):
                on_images(message.n_images)
                if message.n_planned_images is not None:
                    on_length(message.n_planned_images)
            else:
                n_missing -= 1
                yield message
    if n_missing > 0:
        raise TrainingFailed("error", "the training ended without a result")
