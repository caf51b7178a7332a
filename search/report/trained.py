"""How does a study without test images become a report? By the same templates, less what test images would tell."""

from __future__ import annotations

import dataclasses
from typing import Any

from fmnist.metrics.calibration import fit_temperature
from search.report.analysis.evidence import TrainingEvidence, as_dicts
from search.report.analysis.learning import learning_curve
from search.report.charts import model as model_charts
from search.report.context import training_context
from search.report.summary import balance_section, member_row, training_sections
from search.report.templating import plain
from search.report.text.untested import strengths_and_limits
from search.results.result import TrainedStudy


def summarize_trained(study: TrainedStudy, evidence: TrainingEvidence) -> dict[str, Any]:
    """Gather every number of the report, as `search.report.summary.summarize` does of a study with test images.

    `test` is null.
    """
    summary = {
        **training_sections(study, evidence),
        "test": None,
        "ensemble": _ensemble_section(study, evidence),
        "evidence": {
            "temperature": evidence.temperature,
            "finalists_against_winner": as_dicts(evidence.finalists),
            "rungs": as_dicts(evidence.rungs),
        },
        "balance": balance_section(study),
    }
    return plain(summary)


def trained_context(study: TrainedStudy, evidence: TrainingEvidence, summary: dict[str, Any]) -> dict[str, Any]:
    """Gather what the templates see, as `search.report.context.template_context` does.

    Args:
        study: one without test images.
        evidence: of its figures.
        summary: the content of report.json.
    """
    charts = [model_charts.finalists_chart(summary["finalists"], study.metric)]
    curve = learning_curve(study)
    if curve.history:
        charts.append(model_charts.learning_chart(curve))
    return training_context(study, evidence, summary, strengths_and_limits(study, evidence), charts)


def temperature_note(study: TrainedStudy, evidence: TrainingEvidence) -> dict[str, Any]:
    """Return what temperature.json says of the models that are delivered."""
    temperatures = {study.files.model.name: evidence.temperature}
    if study.ensemble is not None:
        temperatures[study.files.ensemble.name] = fit_temperature(*evidence.ensemble_confirmed)
    return {
        "temperature": evidence.temperature,
        "temperatures": temperatures,
        "how": "softmax(log(probabilities) / temperature) is the calibrated prediction; the class stays the same",
        "fitted_on": f"{len(evidence.confirmed[0])} images of the confirmation split, predicted by the delivered "
        "model, which has not learned from them",
    }


def _ensemble_section(study: TrainedStudy, evidence: TrainingEvidence) -> dict[str, Any] | None:
    """`ensemble`: what it averages and its accuracy on the confirmation split; None where there is none."""
    if study.ensemble is None:
        return None
    return {
        **dataclasses.asdict(study.ensemble),
        "file": study.files.ensemble.name,
        "members": [member_row(member) for member in evidence.members],
        "model_bytes": study.ensemble_bytes,
    }
