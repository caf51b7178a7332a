"""The report as JSON: every figure of it, for programs."""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING, Any

from fmnist.export.formats import find_format
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe, short_form
from search.records.models import ConfirmRecord
from search.report.analysis import Evidence
from search.report.templating import plain
from search.results import FinishedStudy

if TYPE_CHECKING:
    from fmnist.export.formats import ExportRecord


def summarize(study_result: FinishedStudy, evidence: Evidence) -> dict[str, Any]:
    """Every number of the report, in plain JSON types: no NumPy scalar, null for what is not known."""
    images = study_result.n_images_trained
    summary = {
        "study": study_result.files.root.name,
        "trials": study_result.n_by_state,
        "best": _best(study_result),
        "validation": _validation(study_result),
        "test": _test(study_result),
        "evidence": evidence.to_dict(),
        "seconds": study_result.seconds,
        "images_trained": {**images, "total": sum(images.values())},
        "search_overhead": study_result.search_overhead,
        "finalists": [_finalist(study_result, record) for record in study_result.confirmed],
        "data": dataclasses.asdict(study_result.data),
        "exports": [_export(record) for record in study_result.exports],
        "balance": _balance(study_result),
        "environment": study_result.environment,
        "importances": study_result.importances,
        "command": study_result.command,
    }
    return plain(summary)


def _best(study_result: FinishedStudy) -> dict[str, Any]:
    recipe, trial = study_result.recipe, study_result.winner_trial
    return {
        "trial": trial.number,
        "origin": trial.origin,
        "params": trial.params,
        "recipe": study_result.winner.recipe,
        "network": short_form(recipe),
        "n_parameters": count_parameters(recipe.architecture),
        "multiply_adds": count_multiply_adds(recipe.architecture),
        "model_bytes": study_result.model_bytes,
    }


def _validation(study_result: FinishedStudy) -> dict[str, Any]:
    winner, data = study_result.winner, study_result.data
    return {
        "selection_accuracy": winner.search_accuracy,
        "full_selection_accuracy": winner.selection_accuracy,
        "confirm_accuracy": winner.confirm_accuracy,
        "n_selection": data.n_images["selection"],
        "n_confirmation": data.n_images["confirmation"],
    }


def _test(study_result: FinishedStudy) -> dict[str, Any]:
    evaluation, interval = study_result.evaluation, study_result.test_interval
    delivered = evaluation.accuracy_interval
    return {
        "accuracy": {
            "mean": study_result.test_mean,
            "sd": study_result.test_sd,
            "values": study_result.test_accuracies,
            "wilson_95": [interval.low, interval.high],
            "flip_averaged": _flip_averaged(study_result),
            "delivered": {
                "value": evaluation.accuracy,
                "wilson_95": [delivered.low, delivered.high],
                "fresh_process": study_result.test.delivered_accuracy,
            },
        },
        "macro_f1": evaluation.macro_f1,
        "macro_f1_bootstrap_95": dataclasses.astuple(evaluation.macro_f1_interval),
        "macro_precision": evaluation.macro_precision,
        "macro_recall": evaluation.macro_recall,
        "balanced_accuracy": evaluation.balanced_accuracy,
        "per_class": [dataclasses.asdict(score) for score in evaluation.per_class],
        "confusion_matrix": evaluation.confusion_matrix,
        "most_confused": [dataclasses.asdict(confusion) for confusion in evaluation.most_confused],
        "log_loss": evaluation.log_loss,
        "expected_calibration_error": evaluation.expected_calibration_error,
        "n_images": evaluation.n_images,
        "opened": study_result.test.opened,
    }


def _balance(study_result: FinishedStudy) -> dict[str, Any]:
    balance = study_result.balance
    return {
        **dataclasses.asdict(balance),
        "share_of_rarest": balance.share_of_rarest,
        "is_uneven": balance.is_uneven,
        "test_share_of_commonest": study_result.commonest_test_share,
    }


def _flip_averaged(study_result: FinishedStudy) -> dict[str, Any] | None:
    values = study_result.test.flip_accuracies
    return {"mean": statistics.fmean(values), "values": values} if values else None


def _finalist(study_result: FinishedStudy, record: ConfirmRecord) -> dict[str, Any]:
    recipe, interval = Recipe.from_dict(record.recipe), study_result.confirm_interval(record)
    return {
        "trial": record.trial,
        "origin": record.origin,
        "is_winner": record is study_result.winner,
        "is_default": record is study_result.default,
        "network": short_form(recipe),
        "search_accuracy": record.search_accuracy,
        "full_selection_accuracy": record.selection_accuracy,
        "confirm_accuracy": record.confirm_accuracy,
        "confirm_wilson_95": [interval.low, interval.high],
        "n_parameters": count_parameters(recipe.architecture),
        "multiply_adds": count_multiply_adds(recipe.architecture),
        "seconds": record.seconds,
        "n_images": record.n_images,
        "seed": record.seed,
        "reason": record.reason,
    }


def _export(record: ExportRecord) -> dict[str, Any]:
    fields = {**dataclasses.asdict(record), "limit": find_format(record.format).limit}
    del fields["trace"]  # for whoever opens the record
    return fields
