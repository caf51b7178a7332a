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
from search.results import Material

if TYPE_CHECKING:
    from fmnist.export.formats import ExportRecord


def summarize(material: Material, evidence: Evidence) -> dict[str, Any]:
    """Every number of the report, in plain JSON types: no NumPy scalar, null for what is not known."""
    images = material.n_images_trained
    summary = {
        "study": material.files.root.name,
        "trials": material.n_by_state,
        "best": _best(material),
        "validation": _validation(material),
        "test": _test(material),
        "evidence": evidence.to_dict(),
        "seconds": material.seconds,
        "images_trained": {**images, "total": sum(images.values())},
        "search_overhead": material.search_overhead,
        "finalists": [_finalist(material, record) for record in material.confirmed],
        "data": dataclasses.asdict(material.data),
        "exports": [_export(record) for record in material.exports],
        "balance": _balance(material),
        "environment": material.environment,
        "importances": material.importances,
        "command": material.command,
    }
    return plain(summary)


def _best(material: Material) -> dict[str, Any]:
    recipe, trial = material.recipe, material.winner_trial
    return {
        "trial": trial.number,
        "origin": trial.origin,
        "params": trial.params,
        "recipe": material.winner.recipe,
        "network": short_form(recipe),
        "n_parameters": count_parameters(recipe.architecture),
        "multiply_adds": count_multiply_adds(recipe.architecture),
        "model_bytes": material.model_bytes,
    }


def _validation(material: Material) -> dict[str, Any]:
    winner, data = material.winner, material.data
    return {
        "selection_accuracy": winner.search_accuracy,
        "full_selection_accuracy": winner.selection_accuracy,
        "confirm_accuracy": winner.confirm_accuracy,
        "n_selection": data.n_images["selection"],
        "n_confirmation": data.n_images["confirmation"],
    }


def _test(material: Material) -> dict[str, Any]:
    evaluation, interval = material.evaluation, material.test_interval
    delivered = evaluation.accuracy_interval
    return {
        "accuracy": {
            "mean": material.test_mean,
            "sd": material.test_sd,
            "values": material.test_accuracies,
            "wilson_95": [interval.low, interval.high],
            "flip_averaged": _flip_averaged(material),
            "delivered": {
                "value": evaluation.accuracy,
                "wilson_95": [delivered.low, delivered.high],
                "fresh_process": material.test.delivered_accuracy,
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
        "opened": material.test.opened,
    }


def _balance(material: Material) -> dict[str, Any]:
    balance = material.balance
    return {
        **dataclasses.asdict(balance),
        "share_of_rarest": balance.share_of_rarest,
        "is_uneven": balance.is_uneven,
        "test_share_of_commonest": material.commonest_test_share,
    }


def _flip_averaged(material: Material) -> dict[str, Any] | None:
    values = material.test.flip_accuracies
    return {"mean": statistics.fmean(values), "values": values} if values else None


def _finalist(material: Material, record: ConfirmRecord) -> dict[str, Any]:
    recipe, interval = Recipe.from_dict(record.recipe), material.confirm_interval(record)
    return {
        "trial": record.trial,
        "origin": record.origin,
        "is_winner": record is material.winner,
        "is_default": record is material.default,
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
