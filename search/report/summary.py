"""Which figures go into report.json? Every number of the report, for programs."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from fmnist.export.formats import ExportRecord, find_format
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe, short_form
from search.records.models import ConfirmRecord, RefitRecord
from search.report.analysis.evidence import Evidence, TrainingEvidence, as_dicts
from search.report.templating import plain
from search.report.text.delivery import kind_of_training
from search.report.text.front import losses_of_front
from search.results.front import FrontPoint
from search.results.members import Member, score_interval
from search.results.quantization import QuantizationLoss, quantization_losses
from search.results.result import FinishedStudy
from search.results.trainings import Trainings


def summarize(study: FinishedStudy, evidence: Evidence) -> dict[str, Any]:
    """Gather every number of the report, in plain JSON types: no NumPy scalar, null for what is not known.

    Args:
        study: a finished one.
        evidence: of its figures.
    """
    summary = {
        **training_sections(study, evidence),
        "test": evaluation_section(study),
        "ensemble": ensemble_section(study, evidence),
        "evidence": evidence.to_dict(),
        "exports": export_rows(study),
        "target": target_section(study),
        "balance": {**balance_section(study), "test_share_of_commonest": study.commonest_test_share},
    }
    if study.metric != "accuracy":
        summary["metric"] = {**summary["metric"], "test": tested_score_section(study)}
    if study.front:
        losses = [loss for _, loss in losses_of_front(study)]
        summary["front"] = [front_row(study, point, losses) for point in study.front]
    return plain(summary)


def training_sections(study: Trainings, evidence: TrainingEvidence) -> dict[str, Any]:
    """All sections that studies with and without test images have in common."""
    images = study.n_images_trained
    sections = {
        "study": study.files.root.name,
        "trials": study.n_by_state,
        "spaces": as_dicts(study.spaces),
        "best": winner_section(study),
        "validation": validation_section(study),
        "delivered": delivered_section(study, evidence),
        "seconds": study.seconds,
        "images_trained": {**images, "total": sum(images.values())},
        "search_overhead": study.search_overhead,
        "finalists": [finalist_row(study, record) for record in study.confirmed],
        "students": [student_row(study, record) for record in study.students],
        "data": dataclasses.asdict(study.data),
        "environment": study.environment,
        "importances": study.importances,
        "command": study.command,
    }
    if study.metric != "accuracy":
        sections["metric"] = metric_section(study, evidence)
    return sections


def metric_section(study: Trainings, evidence: TrainingEvidence) -> dict[str, Any]:
    """`metric`: what decided where that was not accuracy, and what came of it; scores are larger the better."""
    return {
        "name": study.metric,
        "class_weights": study.config.get("class_weights", "none"),
        "search_score": study.winner.search_score,
        "confirm_score": study.winner.confirm_score,
        "finalists_against_winner": as_dicts(evidence.score_comparisons),
    }


def tested_score_section(study: FinishedStudy) -> dict[str, Any]:
    """`metric.test`: what is delivered on the test set, by the study's metric."""
    interval = study.test_score_interval
    return {
        "mean": study.test_score,
        "values": study.test_scores,
        "delivered_95": [interval.low, interval.high],
        "ensemble": study.ensemble_score,
    }


def balance_section(study: Trainings) -> dict[str, Any]:
    """`balance`: how even the classes of the training images are."""
    balance = study.balance
    return {
        **dataclasses.asdict(balance),
        "share_of_rarest": balance.share_of_rarest,
        "is_uneven": balance.is_uneven,
    }


def winner_section(study: Trainings) -> dict[str, Any]:
    """`best`: the winning trial, its recipe and what its network costs."""
    recipe, trial = study.recipe, study.winner_trial
    return {
        "trial": trial.number,
        "origin": trial.origin,
        "params": trial.params,
        "recipe": study.winner.recipe,
        "network": short_form(recipe),
        "n_parameters": count_parameters(recipe.architecture),
        "multiply_adds": count_multiply_adds(recipe.architecture),
        "model_bytes": study.model_bytes,
    }


def validation_section(study: Trainings) -> dict[str, Any]:
    """`validation`: the winner's accuracies on the selection and the confirmation split."""
    winner, data = study.winner, study.data
    return {
        "selection_accuracy": winner.search_accuracy,
        "full_selection_accuracy": winner.selection_accuracy,
        "confirm_accuracy": winner.confirm_accuracy,
        "n_selection": data.n_images["selection"],
        "n_confirmation": data.n_images["confirmation"],
    }


def evaluation_section(study: FinishedStudy) -> dict[str, Any]:
    """`test`: accuracy of the retrainings, and all scores of the delivered model."""
    evaluation, interval = study.evaluation, study.test_interval
    delivered, flipped = evaluation.accuracy_interval, None
    if study.test.flip_accuracies:
        flipped = {"mean": statistics.fmean(study.test.flip_accuracies), "values": study.test.flip_accuracies}
    return {
        "accuracy": {
            "mean": study.test_mean,
            "sd": study.test_sd,
            "values": study.test_accuracies,
            "wilson_95": [interval.low, interval.high],
            "flip_averaged": flipped,
            "delivered": {
                "value": evaluation.accuracy,
                "wilson_95": [delivered.low, delivered.high],
                "fresh_process": study.test.delivered_accuracy,
            },
        },
        "macro_f1": evaluation.macro_f1,
        "macro_f1_bootstrap_95": dataclasses.astuple(evaluation.macro_f1_interval),
        "macro_precision": evaluation.macro_precision,
        "macro_recall": evaluation.macro_recall,
        "balanced_accuracy": evaluation.balanced_accuracy,
        "per_class": as_dicts(evaluation.per_class),
        "confusion_matrix": evaluation.confusion_matrix,
        "most_confused": as_dicts(evaluation.most_confused),
        "log_loss": evaluation.log_loss,
        "expected_calibration_error": evaluation.expected_calibration_error,
        "n_images": evaluation.n_images,
        "opened": study.test.opened,
    }


def delivered_section(study: Trainings, evidence: TrainingEvidence) -> dict[str, Any]:
    """`delivered`: which training best.keras is of, and what it was compared with on the confirmation split."""
    first = study.refits[0]
    return {
        "kind": kind_of_training(study),
        "trial": first.trial,
        "seed": first.seed,
        "confirm_accuracy": first.confirm_accuracy,
        "winner_confirm_accuracy": study.winner.confirm_accuracy,
        "student_confirm_accuracy": study.students[0].confirm_accuracy if study.students else None,
        "teachers": [member_row(teacher) for teacher in evidence.teachers],
    }


def ensemble_section(study: FinishedStudy, evidence: Evidence) -> dict[str, Any] | None:
    """`ensemble`: what it averages, its scores, and the delivered model against it; None where there is none."""
    score, record = evidence.ensemble, study.ensemble
    if score is None or record is None:
        return None
    return {
        "file": study.files.ensemble.name,
        "members": [member_row(member) for member in score.members],
        "mirrored": record.mirrored,
        "n_candidates": record.n_candidates,
        "confirm_accuracy": record.confirm_accuracy,
        "accuracy": {
            "value": score.rival.accuracy,
            "wilson_95": [score.accuracy_interval.low, score.accuracy_interval.high],
        },
        "macro_f1": score.macro_f1,
        "log_loss": score.calibration.before.log_loss,
        "expected_calibration_error": score.calibration.before.expected_calibration_error,
        "calibration": dataclasses.asdict(score.calibration),
        "against_delivered": dataclasses.asdict(score.rival.test),
        "n_parameters": record.n_parameters,
        "multiply_adds": record.multiply_adds,
        "model_bytes": study.ensemble_bytes,
    }


def member_row(member: Member) -> dict[str, Any]:
    """One network of an average."""
    return {
        "name": member.name,
        "model": member.model,
        "network": short_form(member.recipe),
        "seed": member.seed,
        "confirm_accuracy": member.confirm_accuracy,
        **({} if member.confirm_score is None else {"confirm_score": member.confirm_score}),
        "weight": member.weight,
    }


def student_row(study: Trainings, record: RefitRecord) -> dict[str, Any]:
    """One of `students`, which may be a retraining: its accuracy on the confirmation split, and what it cost."""
    accuracy = record.confirm_accuracy
    interval = None if accuracy is None else study.on_confirmation(accuracy)
    return {
        "name": f"{record.kind} {record.seed_index}",
        "seed_index": record.seed_index,
        "is_taught": record.is_taught,
        "is_delivered": not study.delivers_finalist and record is study.students[0],
        "seed": record.seed,
        "confirm_accuracy": accuracy,
        "confirm_wilson_95": None if interval is None else [interval.low, interval.high],
        **({} if record.confirm_score is None else {"confirm_score": record.confirm_score}),
        "seconds": record.seconds,
        "n_images": record.n_images,
        "n_planned_images": record.n_planned_images,
        "rule": record.rule,
    }


def finalist_row(study: Trainings, record: ConfirmRecord) -> dict[str, Any]:
    """One of `finalists`: its accuracies on the way, and what its network and its training cost."""
    recipe, interval, by_metric = Recipe.from_dict(record.recipe), study.confirm_interval(record), {}
    if record.confirm_score is not None:
        of_score = score_interval(study, record)
        by_metric = {"search_score": record.search_score, "confirm_score": record.confirm_score}
        by_metric["confirm_score_95"] = [of_score.low, of_score.high]
    return {
        "trial": record.trial,
        "origin": record.origin,
        "is_winner": record is study.winner,
        "is_default": record is study.default,
        "network": short_form(recipe),
        "search_accuracy": record.search_accuracy,
        "full_selection_accuracy": record.selection_accuracy,
        "confirm_accuracy": record.confirm_accuracy,
        "confirm_wilson_95": [interval.low, interval.high],
        **by_metric,
        "n_parameters": count_parameters(recipe.architecture),
        "multiply_adds": count_multiply_adds(recipe.architecture),
        "seconds": record.seconds,
        "n_images": record.n_images,
        "seed": record.seed,
        "reason": record.reason,
    }


def target_section(study: FinishedStudy) -> dict[str, Any] | None:
    """Make `target`: whether the delivered file is as small and as fast as was asked; None where nothing was."""
    if study.target is None:
        return None
    return {**dataclasses.asdict(study.target), "is_kept": study.target.is_kept}


def export_rows(study: FinishedStudy) -> list[dict[str, Any]]:
    """Make `exports`: what was measured of each file, what it had to keep to, and what fewer bits lose."""
    return list(file_rows(study.exports, quantization_losses(study.exports)))


def file_rows(records: Sequence[ExportRecord], losses: Sequence[QuantizationLoss]) -> Iterator[dict[str, Any]]:
    """Make a row of `exports` for each of these files.

    Args:
        records: Of the files.
        losses: What fewer bits lose, of these files and of all that they are corrected together with.
    """
    lost = {id(loss.record): loss for loss in losses}
    for record in records:
        fields = {**dataclasses.asdict(record), "limit": find_format(record.format).limit}
        del fields["trace"]  # for whoever opens the record
        loss = lost.get(id(record))
        if loss is not None:
            interval = [loss.interval.low, loss.interval.high]
            fields |= {"wilson_95": interval, "loss": loss.loss, "p_mcnemar_holm": loss.p_adjusted}
        yield fields


def front_row(study: FinishedStudy, point: FrontPoint, losses: Sequence[QuantizationLoss]) -> dict[str, Any]:
    """One of `front`, the networks of every size: its cost, its accuracies and its files.

    `wilson_95` holds for all networks of the front together, that of a file in `exports` for it alone.

    Args:
        study: one with a front.
        point: the network.
        losses: what fewer bits lose, of the files of all networks.
    """
    by_metric = {}
    if study.metric != "accuracy":
        by_metric = {"confirm_score": point.training.confirm_score, "test_score": point.test_score}
    return {
        "name": point.name,
        "trial": point.record.trial,
        "model": study.files.relative_name(point.model),
        "network": short_form(point.recipe),
        "recipe": point.recipe.to_dict(),
        "n_parameters": point.record.n_parameters,
        "multiply_adds": point.record.multiply_adds,
        "model_bytes": point.n_bytes,
        "is_best": point.is_best,
        "is_dominated": point.is_dominated,
        "is_taught": point.is_taught,
        "seed": point.training.seed,
        "n_images": point.training.n_images,
        "seconds": point.training.seconds,
        "confirm_accuracy": point.confirm_accuracy,
        "test_accuracy": point.test_accuracy,
        "wilson_95": [point.test_interval.low, point.test_interval.high],
        **by_metric,
        "exports": list(file_rows(point.exports, losses)),
    }
