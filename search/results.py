"""Everything that a report is made from, read once and put together. Neither TensorFlow nor a storage is needed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fmnist.errors import UserError
from fmnist.export.formats import ExportRecord
from fmnist.metrics.evaluation import Evaluation, Mistake, evaluate, top_mistakes
from fmnist.metrics.intervals import Interval, wilson_95
from fmnist.recipe import Recipe
from search.records.files import StudyFiles
from search.records.io import read_arrays, read_json, read_plain
from search.records.models import (
    FINISHED_STATES,
    BaselineOutcome,
    ConfirmRecord,
    DataRecord,
    EvaluationArrays,
    EvaluationRecord,
    RefitRecord,
    TrialRecord,
)
from search.space.space import DEFAULT_NAME

UNEVEN = 0.5  # of an even share of the images: where the rarest class has less, the classes are called uneven


@dataclass(frozen=True)
class Balance:
    """How many training images the rarest and the commonest class have, of all three splits together."""

    rarest: str
    n_rarest: int
    commonest: str
    n_commonest: int
    n_images: int
    n_classes: int

    @property
    def share_of_rarest(self) -> float:
        return self.n_rarest / self.n_images

    @property
    def is_uneven(self) -> bool:
        return self.share_of_rarest < UNEVEN / self.n_classes


def balance_of(data: DataRecord) -> Balance:
    counts = np.sum([counts for counts in data.class_counts.values()], axis=0)
    rarest, commonest = int(counts.argmin()), int(counts.argmax())
    return Balance(
        data.class_names[rarest],
        int(counts[rarest]),
        data.class_names[commonest],
        int(counts[commonest]),
        int(counts.sum()),
        len(counts),
    )


@dataclass(frozen=True)
class FinishedStudy:
    """A finished study, as read. What can be computed from it is a property."""

    files: StudyFiles
    trials: tuple[TrialRecord, ...]  # finished ones, by number
    command: str  # that makes the study again
    importances: Mapping[str, float] | None  # parameter -> share; None if not to be had
    data: DataRecord
    samples: np.ndarray  # uint8 (n_classes, 10, height, width, channels)
    confirmed: tuple[ConfirmRecord, ...]  # best confirmation accuracy first
    refits: tuple[RefitRecord, ...]  # by seed_index
    test: EvaluationRecord
    arrays: EvaluationArrays
    seconds: dict[str, float]  # by phase
    worker_seconds: float  # of the search, those of its workers summed; 0: not recorded
    environment: dict[str, Any]
    config: dict[str, Any]
    model_bytes: int  # size of best.keras
    baselines: tuple[BaselineOutcome, ...] = ()  # in the order of BASELINES; empty where none were asked for
    exports: tuple[ExportRecord, ...] = ()  # in the order of FORMATS; empty where none were asked for

    @cached_property
    def winner(self) -> ConfirmRecord:
        return next(record for record in self.confirmed if record.trial == self.refits[0].trial)

    @cached_property
    def winner_trial(self) -> TrialRecord:
        return next(trial for trial in self.trials if trial.number == self.refits[0].trial)

    @cached_property
    def default(self) -> ConfirmRecord | None:
        """The default recipe's confirmation; None if it was not confirmed."""
        return next((record for record in self.confirmed if record.origin == DEFAULT_NAME), None)

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe.from_dict(self.winner.recipe)

    @cached_property
    def evaluation(self) -> Evaluation:
        """Of the delivered model, on the test set."""
        return evaluate(self.arrays.labels, self.arrays.probabilities[0], self.data.class_names)

    @cached_property
    def balance(self) -> Balance:
        return balance_of(self.data)

    @property
    def commonest_test_share(self) -> float:
        """Of the test images, the share of the commonest training class: what always answering that would score."""
        return float(np.mean(self.arrays.labels == self.data.class_names.index(self.balance.commonest)))

    @cached_property
    def test_accuracies(self) -> tuple[float, ...]:
        """One per retraining, recomputed from its predictions."""
        is_correct = self.arrays.probabilities.argmax(axis=2) == self.arrays.labels
        return tuple(float(share) for share in is_correct.mean(axis=1))

    @property
    def test_mean(self) -> float:
        return statistics.fmean(self.test_accuracies)

    @property
    def test_sd(self) -> float | None:
        """Sample standard deviation over the retrainings; None with one of them."""
        return statistics.stdev(self.test_accuracies) if len(self.test_accuracies) > 1 else None

    @property
    def test_interval(self) -> Interval:
        """Wilson 95 % interval of the mean accuracy, as if one model had scored it."""
        n = len(self.arrays.labels)
        return wilson_95(round(self.test_mean * n), n)

    @property
    def n_by_state(self) -> dict[str, int]:
        return {state: sum(trial.state == state for trial in self.trials) for state in FINISHED_STATES}

    @property
    def n_images_trained(self) -> dict[str, int]:
        """Training images seen, by phase."""
        return {
            "search": sum(trial.n_images for trial in self.trials),
            "confirm": sum(record.n_images for record in self.confirmed),
            "refit": sum(record.n_images for record in self.refits),
        }

    @property
    def search_overhead(self) -> float | None:
        """Share of the search's time, workers summed, that went into neither learning nor validation: starts of
        processes, compiling, the sampler, the storage, idle workers. Those that began with the confirmation meanwhile
        are not counted for that time. None where that was not recorded, and of a study that other machines may have
        worked on, whose time is not known here."""
        if self.files.is_shared:
            return None
        in_steps = sum(trial.seconds_in_steps for trial in self.trials)
        lent = sum(record.seconds_beside_search for record in self.confirmed)
        paid = self.worker_seconds - lent
        return 1 - in_steps / paid if in_steps and paid else None

    def confirm_interval(self, record: ConfirmRecord) -> Interval:
        n = self.data.n_images["confirmation"]
        return wilson_95(round(record.confirm_accuracy * n), n)

    @property
    def exported(self) -> list[ExportRecord]:
        """Those that have a file."""
        return [record for record in self.exports if record.failure is None]

    def mistakes(self, limit: int, **of_classes: int) -> tuple[tuple[Mistake, np.ndarray], ...]:
        """The delivered model's most confident mistakes and their images, uint8 (h, w, c)."""
        row_of = {int(index): row for row, index in enumerate(self.arrays.mistake_indices)}
        found = top_mistakes(self.arrays.labels, self.arrays.probabilities[0], limit, **of_classes)
        return tuple((mistake, self.arrays.mistake_images[row_of[mistake.index]]) for mistake in found)


def read_finished_study(
    files: StudyFiles,
    trials: Sequence[TrialRecord],
    *,
    command: str,
    importances: Mapping[str, float] | None,
) -> FinishedStudy:
    """Raises UserError if the study has not come to its end, or its files contradict each other."""
    require_finished(files)
    samples = read_arrays(files.samples)["images"]
    finished = sorted((t for t in trials if t.state in FINISHED_STATES), key=lambda trial: trial.number)
    study_result = FinishedStudy(
        files=files,
        trials=tuple(finished),
        command=command,
        importances=importances,
        data=read_json(DataRecord, files.data),
        samples=samples,
        confirmed=tuple(files.read_confirm_records()),
        refits=tuple(files.read_refit_records()),
        test=read_json(EvaluationRecord, files.test),
        arrays=files.read_test_arrays(),
        seconds=files.read_ledger(),
        worker_seconds=files.read_worker_seconds(),
        environment=read_plain(files.environment),
        config=read_plain(files.config),
        model_bytes=files.model.stat().st_size,
        baselines=tuple(files.read_baselines()),
        exports=tuple(files.read_export_records()),
    )
    _check(study_result)
    return study_result


def require_finished(files: StudyFiles) -> None:
    """Raises UserError where a file is missing that a study has at its end."""
    needed = (files.data, files.samples, files.refit_record(0), files.test, files.test_arrays, files.model)
    missing = [str(path.relative_to(files.root)) for path in needed if not path.exists()]
    if missing:
        raise UserError(
            f"a report needs a study that has come to its end, but {files.root} has no {', '.join(missing)}; "
            "run the study on"
        )


def _check(study_result: FinishedStudy) -> None:
    """That the records speak of one and the same winner and the same mistakes: files may be missing, or be another
    study's. Raises UserError."""
    winner = study_result.refits[0].trial
    restore = "restore the study's files, or start a new one with --study NAME"
    if winner not in {trial.number for trial in study_result.trials}:
        raise UserError(f"the retrained trial must be a finished trial of the study, but got {winner}; {restore}")
    if winner not in {record.trial for record in study_result.confirmed}:
        raise UserError(f"the retrained trial must be a confirmed finalist, but got {winner}; {restore}")
    is_wrong = study_result.arrays.probabilities[0].argmax(axis=1) != study_result.arrays.labels
    if not np.array_equal(np.flatnonzero(is_wrong), np.sort(study_result.arrays.mistake_indices)):
        raise UserError(f"{study_result.files.test_arrays} holds other mistakes than its predictions; {restore}")
    for outcome in study_result.baselines:
        if outcome.predicted is not None and outcome.predicted.shape != study_result.arrays.labels.shape:
            path = study_result.files.baseline_arrays(outcome.record.name)
            n_images, n_predicted = len(study_result.arrays.labels), len(outcome.predicted)
            raise UserError(f"{path} must predict {n_images:,} test images, but got {n_predicted:,}; {restore}")
