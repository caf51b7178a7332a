"""Who hears of what happens in trainings: the terminal, taps such as TensorBoard's, and whoever calls from Python."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint


class Callback:
    """Hears of what happens in trainings, from their threads: what it does, it does under a lock of its own. This one
    hears nothing; override what is of interest.

    label: "trial 7", "finalist 7", "seed 1" or a baseline's name. what: a recipe, or a baseline in words.
    n_planned_images: None where nobody knows.
    """

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        """A training begins. A trial's every rung is one, under the same label; only the last of them ends."""

    def on_training_progress(self, label: str, n_images: int) -> None:
        """So many images were trained on; once a second, between looks too."""

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        """A look at the selection split, or at the training images where nothing is held out."""

    def on_training_end(self, label: str, reason: str) -> None:
        """A training ended; reason: in words."""


class CallbackList(Callback):
    """Passes everything on to each of them, in their order."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = tuple(callbacks)

    def on_training_start(self, label: str, what: Recipe | str, n_planned_images: int | None) -> None:
        for callback in self._callbacks:
            callback.on_training_start(label, what, n_planned_images)

    def on_training_progress(self, label: str, n_images: int) -> None:
        for callback in self._callbacks:
            callback.on_training_progress(label, n_images)

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        for callback in self._callbacks:
            callback.on_evaluation(label, point, best_accuracy)

    def on_training_end(self, label: str, reason: str) -> None:
        for callback in self._callbacks:
            callback.on_training_end(label, reason)
