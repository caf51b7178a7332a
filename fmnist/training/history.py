"""What does a training leave behind, point by point? Shared by training, search and report; no Keras here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class HistoryPoint:
    """The state of a training after `n_images` training images. Train figures are means since the point before."""

    n_images: int  # training images seen since the start, repeats counted
    seconds: float  # wall time since the start of the training
    learning_rate: float  # of the last step
    train_loss: float  # on augmented images, label smoothing included
    train_accuracy: float  # on augmented images
    validation_loss: float | None = None  # cross-entropy without smoothing; None where nothing was held out
    validation_accuracy: float | None = None


def best_point(history: Sequence[HistoryPoint]) -> HistoryPoint | None:
    """Find the first point with the highest validation accuracy: the one rule for 'best' everywhere.

    None if no point was validated.
    """
    best, highest = None, float("-inf")
    for point in history:
        if point.validation_accuracy is not None and point.validation_accuracy > highest:
            best, highest = point, point.validation_accuracy
    return best
