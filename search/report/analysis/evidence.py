"""How far can a study's figures be trusted: what does choosing flatter, what does chance do, where does the model err?

`search.report.text` puts these numbers into words and `search.report.charts` into pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from fmnist.metrics import calibration
from fmnist.metrics.calibration import ReliabilityBin, expected_calibration_error, reliability, with_temperature
from fmnist.metrics.ensemble import weighted_mean
from fmnist.metrics.evaluation import Mistake, RejectionCurvePoint, find_label_issues, rejection_curve
from fmnist.metrics.intervals import (
    ExpectedMaximum,
    Interval,
    McNemar,
    expected_best_of,
    holm,
    mcnemar,
    score_difference_95,
    wilson_95,
)
from fmnist.scoring import balanced_accuracy, macro_f1
from search.records.models import BaselineRecord, ConfirmRecord
from search.report.analysis.trials import Rung, rungs
from search.results.members import Member, find_members, read_confirmation
from search.results.result import FinishedStudy
from search.results.trainings import Trainings


@dataclass(frozen=True)
class SelectionBias:
    """The winner's accuracy from the figure it was chosen by to the one that was opened last, and what luck explains.

    The two `luck`s are of configurations that are all as good as the winner was on the confirmation split.
    """

    n_tried: int  # configurations that were scored on the selection split
    n_finalists: int
    search_accuracy: float | None  # on the selection split, in the search; None if the trial did not complete
    selection_accuracy: float | None  # on the selection split, in full training; None where it learned from that split
    confirm_accuracy: float
    student_accuracy: float | None  # of the first student on the confirmation split; None where there is none
    test_accuracy: float  # mean of what is delivered
    selection_luck: ExpectedMaximum  # the best of n_tried on the selection split
    confirm_luck: ExpectedMaximum  # the best of n_finalists on the confirmation split


@dataclass(frozen=True)
class CalibrationScore:
    """One set of probabilities against the truth, on the test set."""

    expected_calibration_error: float
    log_loss: float
    mean_confidence: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class Calibration:
    """A model's probabilities on the test set as they are, and with one temperature."""

    temperature: float  # fitted on images of the confirmation split, from which the fitted network has not learned
    n_fitted_on: int  # confirmation images
    before: CalibrationScore
    after: CalibrationScore


@dataclass(frozen=True)
class PairedComparison:
    """Another classifier against the winner, on the same images."""

    name: str
    accuracy: float
    test: McNemar  # a: the winner, b: the rival
    p_adjusted: float  # by Holm, for all that are compared with the winner on these images


@dataclass(frozen=True)
class ScoreComparison:
    """Another finalist against the winner, on the confirmation split, by the metric that decided."""

    name: str
    score: float  # see `fmnist.scoring.score_of`
    difference: float  # its score less the winner's
    interval: Interval  # 95 %, of the difference, by the paired bootstrap within classes


@dataclass(frozen=True)
class BaselineScore:
    """A baseline on the test set, against the delivered model."""

    record: BaselineRecord
    accuracy_interval: Interval  # Wilson, 95 %
    balanced_accuracy: float
    macro_f1: float
    rival: PairedComparison


@dataclass(frozen=True)
class EnsembleScore:
    """The ensemble on the test set, against the delivered model."""

    members: tuple[Member, ...]  # the heaviest first
    accuracy_interval: Interval  # Wilson, 95 %
    macro_f1: float
    rival: PairedComparison
    calibration: Calibration


class TrainingEvidence:
    """What can be said of a study's figures without test images. Each part is computed when it is first asked for.

    Args:
        study: one at its end.
    """

    def __init__(self, study: Trainings) -> None:
        self._trainings = study

    @cached_property
    def confirmed(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the confirmation split, int (n,), and what the delivered model predicts, float32 (n, n_classes).

        Before version 0.7.0 the delivered model had learned from that split, so it is the winner's training as a
        finalist.
        """
        study = self._trainings
        path = study.files.confirm_arrays(study.winner.trial)
        if study.has_unseen_confirmation and not study.delivers_finalist:
            path = study.files.student_arrays(study.students[0].seed_index)
        return read_confirmation(study, path)

    @cached_property
    def temperature(self) -> float:
        """What calibrates the delivered model's probabilities, fitted on the confirmation split."""
        return calibration.fit_temperature(*self.confirmed)

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The networks that the ensemble averages, the heaviest first; none where the study has no ensemble."""
        ensemble = self._trainings.ensemble
        return find_members(self._trainings, ensemble.members) if ensemble is not None else ()

    @cached_property
    def ensemble_confirmed(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the confirmation split, int (n,), and what the ensemble predicts; only where there is one."""
        ensemble = self._trainings.ensemble
        mirrored = ensemble is not None and ensemble.mirrored
        read = [read_confirmation(self._trainings, member.arrays, mirrored=mirrored) for member in self.members]
        weights = np.array([member.weight for member in self.members])
        return read[0][0], weighted_mean(np.stack([predicted for _, predicted in read]), weights)

    @cached_property
    def teachers(self) -> tuple[Member, ...]:
        """The finalists that the students learned from, the heaviest first; none where there are no students."""
        students = self._trainings.students
        return find_members(self._trainings, students[0].teachers) if students else ()

    @cached_property
    def finalists(self) -> tuple[PairedComparison, ...]:
        """Every other finalist against the winner on the confirmation split, best first."""
        study = self._trainings
        labels, winner = _confirmation(study, study.winner)
        names, predicted = [], []
        for record in study.confirmed:
            if record is not study.winner:
                names.append(f"trial {record.trial}")
                predicted.append(_confirmation(study, record)[1].argmax(axis=1))
        return paired_comparisons(labels, winner.argmax(axis=1), names, predicted)

    @cached_property
    def score_comparisons(self) -> tuple[ScoreComparison, ...]:
        """Every other finalist against the winner by the study's metric, best first; none where that is accuracy."""
        study, metric = self._trainings, self._trainings.metric
        if metric == "accuracy":
            return ()
        labels, of_winner = _confirmation(study, study.winner)
        found = []
        for record in study.confirmed:
            if record is not study.winner:
                _, theirs = _confirmation(study, record)
                interval = score_difference_95(metric, labels, of_winner, theirs)
                difference = record.score - study.winner.score
                found.append(ScoreComparison(f"trial {record.trial}", record.score, difference, interval))
        return tuple(found)

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """The lengths at which the search's trials ended, shortest first."""
        return rungs(self._trainings.trials)


class Evidence(TrainingEvidence):
    """What can be said of a finished study's figures. Each part is computed when it is first asked for.

    The test set is opened by none of them: they recompute everything from the probabilities that its one opening left.

    Args:
        study: a finished one.
    """

    def __init__(self, study: FinishedStudy) -> None:
        super().__init__(study)
        self._study = study
        self._labels = study.arrays.labels.astype(int)

    @cached_property
    def selection_bias(self) -> SelectionBias:
        """How far the figures that chose the winner flatter it, and how far luck alone could."""
        study, winner = self._study, self._study.winner
        n_tried = sum(trial.best is not None or trial.value is not None for trial in study.trials)
        n_images, n_finalists = study.data.n_images, len(study.confirmed)
        return SelectionBias(
            n_tried=n_tried,
            n_finalists=n_finalists,
            search_accuracy=winner.search_accuracy,
            selection_accuracy=winner.selection_accuracy,
            confirm_accuracy=winner.confirm_accuracy,
            student_accuracy=study.students[0].confirm_accuracy if study.students else None,
            test_accuracy=study.test_mean,
            selection_luck=expected_best_of(winner.confirm_accuracy, n_images["selection"], max(1, n_tried)),
            confirm_luck=expected_best_of(winner.confirm_accuracy, n_images["confirmation"], n_finalists),
        )

    @cached_property
    def calibration(self) -> Calibration:
        """The delivered model's calibration, before and after the temperature fitted on the confirmation split."""
        return self._calibration(*self.confirmed, self._study.arrays.probabilities[0])

    def _calibration(self, labels: np.ndarray, fitted_on: np.ndarray, tested: np.ndarray) -> Calibration:
        """Fit a temperature on probabilities of the confirmation split, and score it on those of the test set."""
        temperature = calibration.fit_temperature(labels, fitted_on)
        return Calibration(
            temperature=temperature,
            n_fitted_on=len(labels),
            before=score_calibration(self._labels, tested),
            after=score_calibration(self._labels, with_temperature(tested, temperature)),
        )

    @cached_property
    def ensemble(self) -> EnsembleScore | None:
        """The ensemble against the delivered model, on the test set; None where the study has none."""
        study, probabilities = self._study, self._study.arrays.ensemble_probabilities
        evaluation = study.ensemble_evaluation
        if study.ensemble is None or probabilities is None or evaluation is None:
            return None
        delivered = study.arrays.probabilities[0].argmax(axis=1)
        (rival,) = paired_comparisons(self._labels, delivered, ["ensemble"], [probabilities.argmax(axis=1)])
        return EnsembleScore(
            members=self.members,
            accuracy_interval=evaluation.accuracy_interval,
            macro_f1=evaluation.macro_f1,
            rival=rival,
            calibration=self._calibration(*self.ensemble_confirmed, probabilities),
        )

    @cached_property
    def baselines(self) -> tuple[BaselineScore, ...]:
        """Baselines that could be fitted, against the delivered model on the test set, best first."""
        records, predicted = [], []
        for outcome in self._study.baselines:
            if outcome.predicted is not None:
                records.append(outcome.record)
                predicted.append(outcome.predicted.astype(int))
        winner = self._study.arrays.probabilities[0].argmax(axis=1)
        rivals = paired_comparisons(self._labels, winner, [record.name for record in records], predicted)
        scores = []
        for record, theirs, rival in zip(records, predicted, rivals, strict=True):
            table = confusion_matrix(self._labels, theirs, labels=np.arange(len(self._study.data.class_names)))
            interval = wilson_95(int(np.trace(table)), len(self._labels))
            shares = float(balanced_accuracy(table)), float(macro_f1(table))
            scores.append(BaselineScore(record, interval, *shares, rival))
        return tuple(sorted(scores, key=lambda score: -score.rival.accuracy))

    @property
    def has_published(self) -> bool:
        """Whether some baseline's own author gives a figure for these test images."""
        return any(score.record.published_accuracy is not None for score in self.baselines)

    @property
    def failed_baselines(self) -> tuple[BaselineRecord, ...]:
        """Baselines that could not be fitted or scored, with their reasons."""
        return tuple(outcome.record for outcome in self._study.baselines if outcome.predicted is None)

    @cached_property
    def rejection_curve(self) -> tuple[RejectionCurvePoint, ...]:
        """The delivered model's accuracy on the test set once its least confident answers are left out."""
        return rejection_curve(self._labels, self._study.arrays.probabilities[0])

    @cached_property
    def label_issues(self) -> tuple[Mistake, ...]:
        """Test images that may bear a wrong label; none where one training is delivered, which nothing confirms.

        By calibrated probabilities: label smoothing keeps the model from being sure of anything.
        """
        models = self._study.arrays.probabilities
        if len(models) == 1:
            return ()
        temperature = self.calibration.temperature
        calibrated = np.stack([with_temperature(probabilities, temperature) for probabilities in models])
        return find_label_issues(self._labels, calibrated)

    def to_dict(self) -> dict[str, Any]:
        """All of it for report.json, by the keys that its readers know."""
        return {
            "optimism": dataclasses.asdict(self.selection_bias),
            "calibration": dataclasses.asdict(self.calibration),
            "baselines": as_dicts(self.baselines),
            "failed_baselines": as_dicts(self.failed_baselines),
            "finalists_against_winner": as_dicts(self.finalists),
            "accuracy_by_confidence": as_dicts(self.rejection_curve),
            "suspect_labels": as_dicts(self.label_issues),
            "changed_images": as_dicts(self._study.test.changed),
            "rungs": as_dicts(self.rungs),
        }


def as_dicts(records: Sequence[Any]) -> list[dict[str, Any]]:
    """Dataclasses as dictionaries, for JSON."""
    return [dataclasses.asdict(record) for record in records]


def paired_comparisons(
    labels: np.ndarray, predicted_by_winner: np.ndarray, names: Sequence[str], predicted: Sequence[np.ndarray]
) -> tuple[PairedComparison, ...]:
    """Compare each rival with the winner on the same images, by McNemar's exact test.

    Args:
        labels: true classes, int (n,).
        predicted_by_winner: the winner's classes, int (n,).
        names: of the rivals.
        predicted: each rival's classes, int (n,).

    Returns:
        A comparison for each rival, in their order, with p-values adjusted for all of them (Holm 1979).
    """
    tests = [mcnemar(labels, predicted_by_winner, theirs) for theirs in predicted]
    adjusted = holm([test.p_value for test in tests])
    accuracies = [float(np.mean(theirs == labels)) for theirs in predicted]
    rows = zip(names, accuracies, tests, adjusted, strict=True)
    return tuple(PairedComparison(*row) for row in rows)


def score_calibration(labels: np.ndarray, probabilities: np.ndarray) -> CalibrationScore:
    """Score how well confidence fits accuracy.

    Args:
        labels: true classes, int (n,).
        probabilities: of the classes, float (n, n_classes).
    """
    return CalibrationScore(
        expected_calibration_error=expected_calibration_error(labels, probabilities),
        log_loss=calibration.log_loss(labels, probabilities),
        mean_confidence=float(probabilities.max(axis=1).mean()),
        bins=reliability(labels, probabilities),
    )


def _confirmation(study: Trainings, record: ConfirmRecord) -> tuple[np.ndarray, np.ndarray]:
    """Labels, int (n,), and the finalist's probabilities, float32 (n, n_classes), on the confirmation split."""
    return read_confirmation(study, study.files.confirm_arrays(record.trial))
