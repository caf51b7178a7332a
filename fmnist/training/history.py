"""What does a training leave behind, point by point? Shared by training, search and report; no Keras here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class HistoryPoint:
    """The state of a training after `n_images` training images. Train figures are means since the point before."""

    n_images: int  # training images seen since the start, repeats counted
    seconds: float  # wall time since the start of the training
    learning_rate: float  # of the last step
    train_loss: float  # on augmented images, label smoothing and class weights included
    train_accuracy: float  # on augmented images
    validation_loss: float | None = None  # cross-entropy without smoothing; None where nothing was held out
    validation_accuracy: float | None = None
    # By the metric of the study, larger is better, see `fmnist.scoring.score_of`; None where accuracy is the metric.
    validation_score: float | None = None

    @property
    def score(self) -> float | None:
        """What decides whether this point is better than another; None where nothing was held out."""
        return self.validation_accuracy if self.validation_score is None else self.validation_score

    def to_dict(self) -> dict[str, Any]:
        """Return its fields, ready for JSON; the score only where the metric is another than accuracy."""
        fields = asdict(self)
        if self.validation_score is None:
            del fields["validation_score"]
        return fields


def best_point(history: Sequence[HistoryPoint]) -> HistoryPoint | None:
    """Find the first point with the highest score on validation images: the one rule for 'best' everywhere.

    None if no point was validated.
    """
    best, highest = None, float("-inf")
    for point in history:
        if point.score is not None and point.score > highest:
            best, highest = point, point.score
    return best
