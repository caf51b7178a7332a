"""Which rows do the tables of a comparison have, the two studies side by side?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fmnist.scoring import Metric
from search.format import (
    METRIC_WORDS,
    count,
    file_size,
    in_metric,
    metric_range,
    percent,
    percent_range,
    points,
    ratio,
    shown_signed,
    signed,
)
from search.records.models import FINISHED_STATES
from search.report.comparison.data import Comparison, mean_confidence, multiply_adds, n_parameters
from search.report.text.delivery import phase_words
from search.results.result import FinishedStudy

STATE_HEADINGS = dict(
    zip(FINISHED_STATES, ("Trained to the end", "Stopped early", "Failed", "Outside the limits"), strict=True)
)


@dataclass(frozen=True)
class Row:
    """One row of a table that sets two studies side by side."""

    what: str
    a: str
    b: str
    change: str = ""  # from a to b, in the table's own way
    is_sum: bool = False


def share_row(what: str, a: float, b: float) -> Row:
    """Set two shares side by side in percent, with their difference in points.

    Args:
        what: the row's heading.
        a: of the first study.
        b: of the second.
    """
    return Row(what, percent(a), percent(b), signed(100 * (b - a)))


def score_row(what: str, a: float, b: float) -> Row:
    """Set two scores side by side in four digits, with their difference.

    Args:
        what: the row's heading.
        a: of the first study.
        b: of the second.
    """
    return Row(what, f"{a:.4f}", f"{b:.4f}", signed(b - a, 4))


def ratio_row(what: str, a: float, b: float, show: Callable[[Any], str]) -> Row:
    """Set two quantities side by side, with how many times the first the second is.

    Args:
        what: the row's heading.
        a: of the first study.
        b: of the second.
        show: puts a quantity into words.
    """
    return Row(what, show(a), show(b), ratio(a, b))


def rows_by_phase(
    comparison: Comparison, of: Callable[[FinishedStudy], Mapping[str, float]], show: Callable[[Any], str]
) -> list[Row]:
    """What each phase took and all phases together, without phases that neither study had.

    Args:
        comparison: of the two studies.
        of: gives phase -> seconds or images, of a study.
        show: puts a quantity into words.
    """
    a, b = map(of, comparison.both)
    words_a, words_b = map(phase_words, comparison.both)
    rows = []
    for phase in a:
        if a[phase] or b[phase]:
            names = dict.fromkeys((words_a[phase], words_b[phase]))
            rows.append(ratio_row(" or ".join(names), a[phase], b[phase], show))
    whole = ratio_row("All", sum(a.values()), sum(b.values()), show)
    return [*rows, replace(whole, is_sum=True)]


def accuracy_rows(comparison: Comparison) -> list[Row]:
    """Accuracy over the seeds, below it that of the delivered models, and the ensembles' where both have one."""
    a, b = comparison.both
    of_a, of_b = a.evaluation, b.evaluation
    interval = "Its Wilson 95 % interval"
    rows = []
    if comparison.metric is not None and comparison.metric != "accuracy":
        rows = decided_rows(comparison, comparison.metric)
    rows += [
        share_row("Mean over seeds", a.test_mean, b.test_mean),
        Row(interval, percent_range(a.test_interval), percent_range(b.test_interval)),
        Row("Standard deviation over seeds", points(a.test_sd), points(b.test_sd)),
        Row("Seeds", str(len(a.test_accuracies)), str(len(b.test_accuracies))),
        share_row("Delivered model", of_a.accuracy, of_b.accuracy),
        Row(interval, percent_range(of_a.accuracy_interval), percent_range(of_b.accuracy_interval)),
        share_row("Its balanced accuracy", of_a.balanced_accuracy, of_b.balanced_accuracy),
        score_row("Its macro F1", of_a.macro_f1, of_b.macro_f1),
    ]
    averaged_a, averaged_b = a.ensemble_evaluation, b.ensemble_evaluation
    if averaged_a is not None and averaged_b is not None:
        rows += [
            share_row("Ensemble", averaged_a.accuracy, averaged_b.accuracy),
            Row(interval, percent_range(averaged_a.accuracy_interval), percent_range(averaged_b.accuracy_interval)),
        ]
    return rows


def decided_rows(comparison: Comparison, metric: Metric) -> list[Row]:
    """The figure that decided in both studies, where it was another than accuracy."""
    a, b = comparison.both
    interval = (metric_range(metric, a.test_score_interval), metric_range(metric, b.test_score_interval))
    scores = (in_metric(metric, a.test_score), in_metric(metric, b.test_score))
    return [
        Row(
            f"Test {METRIC_WORDS[metric]}, mean over seeds", *scores, shown_signed(metric, b.test_score - a.test_score)
        ),
        Row("95 % interval of the delivered model's", *interval),
    ]


def calibration_rows(comparison: Comparison) -> list[Row]:
    """How well the delivered models' confidence fits."""
    a, b = comparison.both
    of_a, of_b = a.evaluation, b.evaluation
    error = "Expected calibration error (15 bins, Guo et al. 2017)"
    return [
        share_row("Mean confidence", mean_confidence(a), mean_confidence(b)),
        share_row("Accuracy", of_a.accuracy, of_b.accuracy),
        share_row(error, of_a.expected_calibration_error, of_b.expected_calibration_error),
        score_row("Log loss", of_a.log_loss, of_b.log_loss),
    ]


def search_rows(comparison: Comparison) -> list[Row]:
    """How the trials ended, and the best selection score where it can be compared."""
    a, b = comparison.both
    rows = []
    for state, heading in STATE_HEADINGS.items():
        rows.append(Row(heading, count(a.n_by_state[state]), count(b.n_by_state[state])))
    rows.append(Row("All", count(len(a.trials)), count(len(b.trials)), is_sum=True))
    metric = comparison.metric
    if comparison.has_comparable_curves and metric is not None and all(comparison.curves):
        best_a, best_b = (curve[-1].selection_accuracy for curve in comparison.curves)
        rows.append(Row(f"Best selection {METRIC_WORDS[metric]}", in_metric(metric, best_a), in_metric(metric, best_b)))
    return rows


def network_rows(comparison: Comparison) -> list[Row]:
    """What the delivered networks take to store and to use, and the ensembles where both have one."""
    a, b = comparison.both
    rows = [
        ratio_row("Parameters", n_parameters(a), n_parameters(b), count),
        ratio_row("Multiply-adds an image", multiply_adds(a), multiply_adds(b), count),
        ratio_row("Size of best.keras", a.model_bytes, b.model_bytes, file_size),
    ]
    of_a, of_b = a.ensemble, b.ensemble
    if of_a is not None and of_b is not None and a.ensemble_bytes is not None and b.ensemble_bytes is not None:
        rows += [
            ratio_row("Networks in the ensemble", len(of_a.members), len(of_b.members), count),
            ratio_row("Parameters of the ensemble", of_a.n_parameters, of_b.n_parameters, count),
            ratio_row("Multiply-adds of the ensemble", of_a.multiply_adds, of_b.multiply_adds, count),
            ratio_row("Size of ensemble.keras", a.ensemble_bytes, b.ensemble_bytes, file_size),
        ]
    return rows
