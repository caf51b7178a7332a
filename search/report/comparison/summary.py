"""Which figures go into compare-A-B.json? Every number of the comparison's page, for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from search.report.analysis.trials import BestSoFar
from search.report.comparison.data import (
    ClassContrast,
    Comparison,
    Entry,
    mean_confidence,
    multiply_adds,
    n_parameters,
)
from search.report.templating import plain
from search.results.result import FinishedStudy

CLASS_SCORES = ("precision", "recall", "f1")


def summarize(comparison: Comparison) -> dict[str, Any]:
    """Gather every number of the comparison's page, in plain JSON types.

    `test` and `classes` are null without the same test images: accuracies on different images answer different
    questions.
    """
    a, b = comparison.both
    tested, test, classes = comparison.is_same_test, None, None
    if tested:
        test = comparison_section(comparison)
        classes = [class_row(contrast) for contrast in comparison.classes]
    (curve_a, curve_b), has_curves = comparison.curves, comparison.has_comparable_curves
    summary = {
        "studies": {"a": comparison.names[0], "b": comparison.names[1]},
        "is_same_test": tested,
        "is_same_selection": comparison.is_same_selection,
        "test": test,
        "classes": classes,
        "searches": {"a": search_section(a, curve_a, has_curves), "b": search_section(b, curve_b, has_curves)},
        "cost": {"a": cost_section(a), "b": cost_section(b)},
        "recipes": entry_rows(comparison.recipes),
        "data_and_seeds": entry_rows(comparison.data_and_seeds),
        "machines": entry_rows(comparison.machines),
        "settings": entry_rows(comparison.settings),
        "commands": {"a": a.command, "b": b.command},
    }
    return plain(summary)


def comparison_section(comparison: Comparison) -> dict[str, Any]:
    """`test`: what both scored on the same test images, and McNemar's test of the delivered models."""
    a, b = comparison.both
    return {
        "n_images": len(a.arrays.labels),
        "a": scores_section(a),
        "b": scores_section(b),
        "mean_difference": b.test_mean - a.test_mean,
        "mcnemar": dataclasses.asdict(comparison.test),
        "ensembles_mcnemar": None if comparison.ensembles is None else dataclasses.asdict(comparison.ensembles),
    }


def scores_section(study: FinishedStudy) -> dict[str, Any]:
    """`test.a` and `test.b`: accuracy over the seeds, and scores of the delivered model."""
    evaluation, interval = study.evaluation, study.test_interval
    delivered, ensemble = evaluation.accuracy_interval, None
    if study.ensemble_interval is not None:
        of_ensemble = study.ensemble_interval
        ensemble = {"value": study.ensemble_accuracy, "wilson_95": [of_ensemble.low, of_ensemble.high]}
    return {
        "mean": study.test_mean,
        "sd": study.test_sd,
        "values": study.test_accuracies,
        "wilson_95": [interval.low, interval.high],
        "delivered": {"value": evaluation.accuracy, "wilson_95": [delivered.low, delivered.high]},
        "ensemble": ensemble,
        **({} if study.metric == "accuracy" else {"metric": study.metric, "score": study.test_score}),
        "macro_f1": evaluation.macro_f1,
        "balanced_accuracy": evaluation.balanced_accuracy,
        "log_loss": evaluation.log_loss,
        "expected_calibration_error": evaluation.expected_calibration_error,
        "mean_confidence": mean_confidence(study),
    }


def class_row(contrast: ClassContrast) -> dict[str, Any]:
    """One of `classes`: a class by the two delivered models."""
    row: dict[str, Any] = {"name": contrast.name, "n_images": contrast.n_images}
    for score in CLASS_SCORES:
        row[f"{score}_a"] = getattr(contrast.a, score)
        row[f"{score}_b"] = getattr(contrast.b, score)
    row["recall_difference"] = contrast.recall_difference
    row |= dataclasses.asdict(contrast.test)
    row["p_adjusted"] = contrast.p_adjusted
    return row


def search_section(study: FinishedStudy, curve: Sequence[BestSoFar], is_comparable: bool) -> dict[str, Any]:
    """One of `searches`: how trials ended and how the best one rose.

    Args:
        study: whose search it is.
        curve: how its best trial rose.
        is_comparable: whether the searches' accuracies, or scores by the metric of both, may be compared; if not, the
            points have distances from the search's own best and no accuracies.
    """
    points = []
    for point in curve:
        row = dataclasses.asdict(point)
        if not is_comparable:
            row["below_own_best"] = curve[-1].selection_accuracy - row.pop("selection_accuracy")
        points.append(row)
    return {"trials": study.n_by_state, "best_so_far": points}


def cost_section(study: FinishedStudy) -> dict[str, Any]:
    """One of `cost`: time and training images by phase, and the size of the network."""
    seconds, images = study.seconds, study.n_images_trained
    return {
        "seconds": {**seconds, "total": sum(seconds.values())},
        "images_trained": {**images, "total": sum(images.values())},
        "n_parameters": n_parameters(study),
        "multiply_adds": multiply_adds(study),
        "model_bytes": study.model_bytes,
    }


def entry_rows(found: Sequence[Entry]) -> list[dict[str, Any]]:
    """What two studies say of themselves, and whether it differs."""
    return [{**dataclasses.asdict(entry), "differs": entry.differs} for entry in found]
