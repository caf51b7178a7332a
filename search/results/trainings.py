"""What did a study train, and what did it choose by its confirmation split, before any test image was read?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fmnist.metrics.intervals import Interval, wilson_95
from fmnist.recipe import Recipe
from fmnist.scoring import Metric
from search.records.files import StudyFiles
from search.records.models import (
    FINISHED_STATES,
    ConfirmRecord,
    DataRecord,
    EnsembleRecord,
    RefitRecord,
    SpaceRecord,
    TrialRecord,
)
from search.results.balance import Balance, balance_of
from search.space.space import DEFAULT_NAME


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # of arrays and whole histories
class Trainings:
    """What a study trained and chose, which a study with test images has in common with one without."""

    files: StudyFiles
    config: dict[str, Any]  # what the study was made with, as config.json has it
    trials: tuple[TrialRecord, ...]  # finished ones, by number
    command: str  # that makes the study again
    importances: Mapping[str, float] | None  # parameter -> share; None if not to be had
    data: DataRecord
    samples: np.ndarray  # uint8 (n_classes, 10, height, width, channels)
    confirmed: tuple[ConfirmRecord, ...]  # best on the confirmation split first, by the metric
    refits: tuple[RefitRecord, ...]  # what is delivered, by seed_index: students, or the winner's own training
    seconds: dict[str, float]  # by phase
    worker_seconds: float  # of the search, those of its workers summed; 0: not recorded
    environment: dict[str, Any]
    model_bytes: int  # size of best.keras
    spaces: tuple[SpaceRecord, ...] = ()  # that were searched, in their order; empty where the study was never widened
    # Students, or retrainings of a single finalist, by seed_index, delivered or not; empty where there are none.
    students: tuple[RefitRecord, ...] = ()
    front_students: tuple[RefitRecord, ...] = ()  # with --front: those of the other networks
    ensemble: EnsembleRecord | None = None  # None where one view of one network was best, and before version 0.7.0
    ensemble_bytes: int | None = None  # size of ensemble.keras

    @property
    def winner(self) -> ConfirmRecord:
        """The best finalist, whose recipe the delivered model has."""
        return next(record for record in self.confirmed if record.trial == self.refits[0].trial)

    @cached_property
    def winner_trial(self) -> TrialRecord:
        """The trial of the search in which the winner's recipe was found."""
        return next(trial for trial in self.trials if trial.number == self.refits[0].trial)

    @cached_property
    def default(self) -> ConfirmRecord | None:
        """The default recipe's training as a finalist; None if it was not among them."""
        return next((record for record in self.confirmed if record.origin == DEFAULT_NAME), None)

    @property
    def recipe(self) -> Recipe:
        """The winner's architecture and training plan."""
        return Recipe.from_dict(self.winner.recipe)

    @property
    def has_unseen_confirmation(self) -> bool:
        """Whether no network learned from the confirmation split, from which retrainings did before version 0.7.0."""
        return self.refits[0].fit_on == "searched"

    @property
    def has_student(self) -> bool:
        """Whether the delivered model is a student, which learned from finalists too."""
        return self.refits[0].is_taught

    @property
    def kind_of_student(self) -> str:
        """What the networks are called that were trained after the finalists: student, or retraining."""
        return self.students[0].kind if self.students else "student"

    @property
    def delivers_finalist(self) -> bool:
        """Whether the winner's training as a finalist is delivered, and not a student or a retraining."""
        return self.refits[0].seed == self.winner.seed

    @cached_property
    def balance(self) -> Balance:
        """How many training images the rarest and the commonest class have."""
        return balance_of(self.data)

    @property
    def metric(self) -> Metric:
        """What decided between trials, finalists and students."""
        return self.config.get("metric", "accuracy")

    @property
    def n_by_state(self) -> dict[str, int]:
        """Number of trials that ended in each of FINISHED_STATES."""
        return count_by_state(self.trials)

    @property
    def n_images_trained(self) -> dict[str, int]:
        """Training images seen in the search, by the finalists, and by the students or, before 0.7.0, retrainings."""
        refits = (*self.students, *self.front_students) if self.has_unseen_confirmation else self.refits
        return {
            "search": sum(trial.n_images for trial in self.trials),
            "confirm": sum(record.n_images for record in self.confirmed),
            "refit": sum(record.n_images for record in refits),
        }

    @property
    def search_overhead(self) -> float | None:
        """Share of the search's time, workers summed, that went into neither learning nor validation.

        That is starting processes, compiling, the sampler, the storage and idle workers. Time that a worker gave to an
        early confirmation is not counted. None where the time was not recorded, and for a study that other machines may
        have worked on, whose time is not known here.
        """
        if self.files.is_shared:
            return None
        in_steps = sum(trial.seconds_in_steps for trial in self.trials)
        in_confirmations = sum(record.seconds_beside_search for record in self.confirmed)
        paid = self.worker_seconds - in_confirmations
        if not in_steps or not paid:
            return None
        return 1 - in_steps / paid

    def confirm_interval(self, record: ConfirmRecord) -> Interval:
        """Wilson 95 % interval of a finalist's confirmation accuracy."""
        return self.on_confirmation(record.confirm_accuracy)

    def on_confirmation(self, accuracy: float) -> Interval:
        """Wilson 95 % interval of an accuracy on the confirmation split."""
        n = self.data.n_images["confirmation"]
        return wilson_95(round(accuracy * n), n)

    @property
    def has_checksums(self) -> bool:
        """Whether all files have been compared with what was written, by checksums that are as old as the files."""
        manifest = self.files.checksums.manifest
        return manifest is not None and manifest.adopted is None


def count_by_state(trials: Iterable[TrialRecord]) -> dict[str, int]:
    """Return how many finished trials ended in each of FINISHED_STATES."""
    counts: dict[str, int] = dict.fromkeys(FINISHED_STATES, 0)
    for trial in trials:
        counts[trial.state] += 1
    return counts
