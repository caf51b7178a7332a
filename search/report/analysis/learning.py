"""Which training does a report show the curve of, and what was it trained on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmnist.recipe import TrainingPlan
from fmnist.training.course import length_in_the_end
from fmnist.training.history import HistoryPoint
from search.results.trainings import Trainings


@dataclass(frozen=True)
class LearningCurve:
    """How the training went that a study is shown by."""

    whose: str  # "the training of student 0"
    history: Sequence[HistoryPoint]
    best: HistoryPoint | None  # None where nothing was validated
    n_planned_images: int  # length of the schedule
    n_epoch_images: int
    targets: str  # what it learned from beside labels, in words behind a list; empty where from labels alone
    plan: TrainingPlan

    def epochs(self, n_images: int) -> float:
        """How many epochs so many training images are."""
        return n_images / self.n_epoch_images


def learning_curve(study: Trainings) -> LearningCurve:
    """Return the delivered model's training; before version 0.7.0 the winner's as a finalist, which was validated."""
    winner, n_images, plan = study.winner, study.data.n_images, study.recipe.plan
    if winner.best is not None:
        whose = "the winner's confirmation training"
        return LearningCurve(whose, winner.history, winner.best, winner.n_planned_images, n_images["train"], "", plan)
    delivered = study.refits[0]
    whose, targets = "the winner's training as a finalist", ""
    if not study.delivers_finalist:
        first = study.students[0]
        whose = f"the training of {first.kind} {first.seed_index}"
    if delivered.is_taught:
        targets = ", against the teachers' probabilities too"
    n_epoch = n_images["train"] + n_images["selection"]
    n_planned = length_in_the_end(delivered.n_planned_images, delivered.reschedulings)
    return LearningCurve(whose, delivered.history, None, n_planned, n_epoch, targets, plan)
