"""How far a study's figures can be trusted: what choosing flatters, what chance does, where the model errs.

From records to numbers; `search.report.text` puts them into words and `search.report.charts.evidence` into pictures.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats
from sklearn.metrics import confusion_matrix

from fmnist.metrics import calibration
from fmnist.metrics.calibration import ReliabilityBin, expected_calibration_error, reliability, with_temperature
from fmnist.metrics.evaluation import Mistake, RejectionCurvePoint, find_label_issues, rejection_curve
from fmnist.metrics.intervals import (
    ExpectedMaximum,
    Interval,
    McNemar,
    expected_best_of,
    holm,
    macro_f1,
    mcnemar,
    wilson_95,
)
from search.format import percent, with_noun
from search.records.files import StudyFiles
from search.records.io import read_arrays, write_text
from search.records.models import BaselineOutcome, BaselineRecord, ConfirmRecord, TrialRecord
from search.results import FinishedStudy


@dataclass(frozen=True)
class SelectionBias:
    """The winner's accuracy from the figure it was chosen by to the one that was opened last, and what luck explains.

    The two `luck`s are of configurations that are all as good as the winner was on the confirmation split.
    """

    n_tried: int  # configurations that were scored on the selection split
    n_finalists: int
    search_accuracy: float | None  # on the selection split, in the search; None if the trial did not complete
    selection_accuracy: float  # on the selection split, in the longer confirmation training
    confirm_accuracy: float
    test_accuracy: float  # mean of the retrainings
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
    """The delivered model's probabilities on the test set as they are, and with one temperature."""

    temperature: float  # fitted on the winner's confirmation training, which has not seen these images
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
class BaselineScore:
    """What users start from, on the test set, against the delivered model."""

    record: BaselineRecord
    accuracy_interval: Interval  # Wilson, 95 %
    macro_f1: float
    rival: PairedComparison


@dataclass(frozen=True)
class Rung:
    """A length of training at which trials ended."""

    n_images: int  # training images seen in all
    n_reached: int  # trials that were trained for so long or longer
    n_ended: int  # of these, trials that went no further


class Evidence:
    """What can be said of a finished study's figures. Each part is computed when it is first asked for."""

    def __init__(self, study_result: FinishedStudy) -> None:
        self._material = study_result
        self._labels = study_result.arrays.labels.astype(int)

    @cached_property
    def selection_bias(self) -> SelectionBias:
        study_result, winner = self._material, self._material.winner
        n_tried = sum(trial.best is not None or trial.value is not None for trial in study_result.trials)
        n_images = study_result.data.n_images
        return SelectionBias(
            n_tried=n_tried,
            n_finalists=len(study_result.confirmed),
            search_accuracy=winner.search_accuracy,
            selection_accuracy=winner.selection_accuracy,
            confirm_accuracy=winner.confirm_accuracy,
            test_accuracy=study_result.test_mean,
            selection_luck=expected_best_of(winner.confirm_accuracy, n_images["selection"], max(1, n_tried)),
            confirm_luck=expected_best_of(
                winner.confirm_accuracy, n_images["confirmation"], len(study_result.confirmed)
            ),
        )

    @cached_property
    def calibration(self) -> Calibration:
        labels, probabilities = _confirmation(self._material.files, self._material.winner)
        temperature = calibration.fit_temperature(labels, probabilities)
        delivered = self._material.arrays.probabilities[0]
        return Calibration(
            temperature=temperature,
            n_fitted_on=len(labels),
            before=_calibration_score(self._labels, delivered),
            after=_calibration_score(self._labels, with_temperature(delivered, temperature)),
        )

    @cached_property
    def finalists(self) -> tuple[PairedComparison, ...]:
        """Every other finalist against the winner on the confirmation split, best first."""
        labels, winner = _confirmation(self._material.files, self._material.winner)
        others = [record for record in self._material.confirmed if record is not self._material.winner]
        predicted = [_confirmation(self._material.files, record)[1].argmax(axis=1) for record in others]
        names = [f"trial {record.trial}" for record in others]
        return paired_comparisons(labels, winner.argmax(axis=1), names, predicted)

    @cached_property
    def baselines(self) -> tuple[BaselineScore, ...]:
        """Those that could be fitted, against the delivered model on the test set, best first."""
        fitted = [outcome for outcome in self._material.baselines if outcome.predicted is not None]
        predicted = [outcome.predicted.astype(int) for outcome in fitted]
        winner = self._material.arrays.probabilities[0].argmax(axis=1)
        found = paired_comparisons(self._labels, winner, [outcome.record.name for outcome in fitted], predicted)
        scores = [self._score(*row) for row in zip(fitted, predicted, found, strict=True)]
        return tuple(sorted(scores, key=lambda score: -score.rival.accuracy))

    def _score(self, outcome: BaselineOutcome, predicted: np.ndarray, rival: PairedComparison) -> BaselineScore:
        n_classes = len(self._material.data.class_names)
        table = confusion_matrix(self._labels, predicted, labels=np.arange(n_classes))
        interval = wilson_95(int(np.trace(table)), len(self._labels))
        return BaselineScore(outcome.record, interval, float(macro_f1(table)), rival)

    @property
    def has_published(self) -> bool:
        """Whether some baseline's own author gives a figure for these test images."""
        return any(score.record.published_accuracy is not None for score in self.baselines)

    @property
    def failed_baselines(self) -> tuple[BaselineRecord, ...]:
        return tuple(outcome.record for outcome in self._material.baselines if outcome.predicted is None)

    @cached_property
    def abstentions(self) -> tuple[RejectionCurvePoint, ...]:
        return rejection_curve(self._labels, self._material.arrays.probabilities[0])

    @cached_property
    def label_issues(self) -> tuple[Mistake, ...]:
        """Test images that may bear a wrong label, by calibrated probabilities (label smoothing keeps the model from
        being sure of anything); none where there is one retraining only, which nothing confirms."""
        temperature, models = self.calibration.temperature, self._material.arrays.probabilities
        calibrated = np.stack([with_temperature(probabilities, temperature) for probabilities in models])
        return find_label_issues(self._labels, calibrated) if len(models) > 1 else ()

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        return rungs(self._material.trials)

    def to_dict(self) -> dict[str, Any]:
        """For report.json."""
        return {
            "optimism": dataclasses.asdict(self.selection_bias),
            "calibration": dataclasses.asdict(self.calibration),
            "baselines": [dataclasses.asdict(score) for score in self.baselines],
            "failed_baselines": [dataclasses.asdict(record) for record in self.failed_baselines],
            "finalists_against_winner": [dataclasses.asdict(rival) for rival in self.finalists],
            "accuracy_by_confidence": [dataclasses.asdict(row) for row in self.abstentions],
            "suspect_labels": [dataclasses.asdict(mistake) for mistake in self.label_issues],
            "changed_images": [dataclasses.asdict(score) for score in self._material.test.changed],
            "rungs": [dataclasses.asdict(rung) for rung in self.rungs],
        }


def paired_comparisons(
    labels: np.ndarray, predicted_by_winner: np.ndarray, names: Sequence[str], predicted: Sequence[np.ndarray]
) -> tuple[PairedComparison, ...]:
    """Each rival's predictions, int (n,), against the winner's; p-values adjusted for all of them."""
    tests = [mcnemar(labels, predicted_by_winner, theirs) for theirs in predicted]
    adjusted = holm([test.p_value for test in tests])
    accuracies = [float(np.mean(theirs == labels)) for theirs in predicted]
    return tuple(PairedComparison(*row) for row in zip(names, accuracies, tests, adjusted, strict=True))


def rungs(trials: Sequence[TrialRecord]) -> tuple[Rung, ...]:
    """The lengths at which trained trials ended, shortest first."""
    lengths = np.array([trial.n_images for trial in trials if trial.n_images > 0], int)
    distinct, n_ended = np.unique(lengths, return_counts=True)
    n_reached = len(lengths) - np.cumsum(n_ended) + n_ended
    return tuple(Rung(*row) for row in zip(distinct.tolist(), n_reached.tolist(), n_ended.tolist(), strict=True))


def write_temperature(files: StudyFiles, found: Calibration) -> None:
    """Leave the temperature beside the model, which itself stays as it was trained."""
    note = {
        "temperature": found.temperature,
        "how": "softmax(log(probabilities) / temperature) is the calibrated prediction; the class stays the same",
        "fitted_on": f"{found.n_fitted_on} images of the confirmation split, predicted by the winner's confirmation "
        "training (the delivered model was then trained on these images too)",
        "test_log_loss": {"before": found.before.log_loss, "after": found.after.log_loss},
        "test_expected_calibration_error": {
            "before": found.before.expected_calibration_error,
            "after": found.after.expected_calibration_error,
        },
    }
    write_text(files.temperature, json.dumps(note, indent=2) + "\n")


def _confirmation(files: StudyFiles, record: ConfirmRecord) -> tuple[np.ndarray, np.ndarray]:
    """Labels, int (n,), and the finalist's probabilities, float32 (n, n_classes), on the confirmation split."""
    arrays = read_arrays(files.confirm_arrays(record.trial))
    return arrays["labels"].astype(int), arrays["probabilities"]


def _calibration_score(labels: np.ndarray, probabilities: np.ndarray) -> CalibrationScore:
    return CalibrationScore(
        expected_calibration_error=expected_calibration_error(labels, probabilities),
        log_loss=calibration.log_loss(labels, probabilities),
        mean_confidence=float(probabilities.max(axis=1).mean()),
        bins=reliability(labels, probabilities),
    )


def parameter_effects(trials: Sequence[TrialRecord], names: Sequence[str]) -> str:
    """The numeric parameter whose rank correlation with accuracy is farthest from 0."""
    complete = [trial for trial in trials if trial.value is not None]
    correlations = {name: found for name in names if (found := _rank_correlation(complete, name)) is not None}
    if not correlations:
        return "Too few trials were trained to the end to say what a parameter did."
    name = max(correlations, key=lambda name: abs(correlations[name][0]))
    rho, n = correlations[name]
    direction = "higher" if rho > 0 else "lower"
    return (
        f"Among numeric parameters, {name} goes most clearly with accuracy: {direction} values did better "
        f"(rank correlation {rho:+.2f}, n = {n} trials trained to the end). The sampler moves all parameters together, "
        "so this is no proof of cause."
    )


def _rank_correlation(complete: Sequence[TrialRecord], name: str) -> tuple[float, int] | None:
    pairs = [(t.params[name], t.value) for t in complete if is_number(t.params.get(name))]
    if len(pairs) < 5 or any(len(set(column)) < 2 for column in zip(*pairs, strict=True)):
        return None
    return float(stats.spearmanr(*zip(*pairs, strict=True)).statistic), len(pairs)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def depths(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """By number of blocks: how many trials, how many of them complete, and their best and median accuracy."""
    by_depth: dict[int, list[TrialRecord]] = {}
    for trial in trials:
        if trial.recipe is not None:
            by_depth.setdefault(len(trial.recipe["architecture"]["blocks"]), []).append(trial)
    return [_depth_row(n_blocks, by_depth[n_blocks]) for n_blocks in sorted(by_depth)]


def _depth_row(n_blocks: int, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    values = [trial.value for trial in trials if trial.value is not None]
    return {
        "n_blocks": n_blocks,
        "n_trials": len(trials),
        "n_complete": len(values),
        "best": max(values, default=None),
        "median": float(np.median(values)) if values else None,
    }


def depth(rows: Sequence[dict[str, Any]]) -> str:
    scored = [row for row in rows if row["best"] is not None]
    if not scored:
        return "No depth has a trial that was trained to its end."
    best = max(scored, key=lambda row: row["best"])
    return (
        f"The best trial has {with_noun(best['n_blocks'], 'block')}: {percent(best['best'])}, the best of "
        f"{with_noun(best['n_complete'], 'trial')} trained to the end at that depth."
    )


def anytime(trials: Sequence[TrialRecord]) -> list[tuple[int, float]]:
    """(training images of all trials so far, best selection accuracy of a complete one) whenever that rises, in the
    order in which trials ended."""
    ended = sorted((trial for trial in trials if trial.finished), key=lambda trial: trial.finished)
    curve, best, n_images = [], 0.0, 0
    for trial in ended:
        n_images += trial.n_images
        if trial.value is not None and trial.value > best:
            best = trial.value
            curve.append((n_images, best))
    return curve


@dataclass(frozen=True)
class BestSoFar:
    """The state of a search when a trial brought a new best, or when its last trial had ended."""

    n_trials: int  # that had ended
    n_images: int  # training images that these had seen
    selection_accuracy: float  # the best of the trials trained to their end


def best_so_far(trials: Sequence[TrialRecord]) -> tuple[BestSoFar, ...]:
    """Each new best, and the end; in the order in which the trials ended, as they ran side by side. Empty where none
    was trained to its end."""
    points, best, n_images = [], None, 0
    for n_trials, trial in enumerate(sorted(trials, key=lambda it: (_moment(it), it.number)), start=1):
        n_images += trial.n_images
        is_best = trial.value is not None and (best is None or trial.value > best)
        best = trial.value if is_best else best
        if is_best or (best is not None and n_trials == len(trials)):
            points.append(BestSoFar(n_trials, n_images, best))
    return tuple(points)


def _moment(trial: TrialRecord) -> float:
    return datetime.fromisoformat(trial.finished).timestamp() if trial.finished else 0.0
