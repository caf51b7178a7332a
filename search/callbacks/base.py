"""The interface of whatever watches trainings: the terminal, TensorBoard, and the callbacks of a Python caller."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint


class Callback:
    """Base class for training callbacks. The defaults do nothing: override what is of interest.

    Methods are called from worker threads, several at a time, so implementations must be thread-safe. An exception
    that a method raises ends the run.

    Every method names its training by a label: "trial 7", "finalist 7", "student 1" or a baseline's name.
    """

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        """Called when a training begins.

        Each rung of a trial is a training of its own under the same label; only the last of them ends with
        `on_training_end`.

        Args:
            label: names the training.
            what: its recipe, or a baseline in words.
            n_planned_images: training images that it will see; None if unknown.
        """

    def on_training_progress(self, label: str, n_images: int) -> None:
        """Called about once a second, with the number of training images seen so far."""

    def on_training_length(self, label: str, n_planned_images: int) -> None:
        """Called when a training becomes shorter or longer than it was, so that it ends with a timeout."""

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        """Called after each evaluation on the selection split, or on the training images where nothing is held out.

        Args:
            label: names the training.
            point: losses and accuracies, and where in the training they were measured. With another metric than
                accuracy, it has the score that decides, `point.validation_score`.
            best_accuracy: the validation accuracy of this training's best point so far; None if nothing is held out.
        """

    def on_training_end(self, label: str, reason: str) -> None:
        """Called when a training has ended, with the reason in words."""


class CallbackList(Callback):
    """Calls several callbacks, in their order."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = tuple(callbacks)

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        """Call every callback's `on_training_start`."""
        for callback in self._callbacks:
            callback.on_training_start(label, what, n_planned_images)

    def on_training_progress(self, label: str, n_images: int) -> None:
        """Call every callback's `on_training_progress`."""
        for callback in self._callbacks:
            callback.on_training_progress(label, n_images)

    def on_training_length(self, label: str, n_planned_images: int) -> None:
        """Call every callback's `on_training_length`."""
        for callback in self._callbacks:
            callback.on_training_length(label, n_planned_images)

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        """Call every callback's `on_evaluation`."""
        for callback in self._callbacks:
            callback.on_evaluation(label, point, best_accuracy)

    def on_training_end(self, label: str, reason: str) -> None:
        """Call every callback's `on_training_end`."""
        for callback in self._callbacks:
            callback.on_training_end(label, reason)
