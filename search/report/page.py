"""How does a finished study become report.html, report.md and report.json?

The page is one file that asks for nothing from outside; the Markdown's pictures lie in `report-pictures/`.

    python -m search.report NAME     writes them anew, from the study's records
    python -m search.report A B      compares two finished studies
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from search.records.files import StudyFiles
from search.records.history_csv import write_history
from search.records.io import atomic_write, write_text
from search.report.analysis.evidence import Evidence, TrainingEvidence
from search.report.charts.fonts import fonts_for
from search.report.charts.images import rows_png, sheet_png
from search.report.charts.plain import drawing
from search.report.context import template_context
from search.report.summary import summarize
from search.report.templating import templates
from search.report.trained import summarize_trained, temperature_note, trained_context
from search.results.reading import has_test, read_finished_study, read_trained_study, require_finished
from search.results.result import FinishedStudy, TrainedStudy
from search.results.trainings import Trainings
from search.study.trials import importances, read_trials

TILES_PER_ROW = 6  # of the Markdown's pictures


@dataclass(frozen=True)
class DrawnReport:
    """What the files of a report are made from: all that takes seconds."""

    evidence: TrainingEvidence
    summary: dict[str, Any]  # see `summarize`
    context: dict[str, Any]  # see `template_context`


def report_study(
    files: StudyFiles, study: optuna.Study, drawn_in: AbstractContextManager[None] | None = None
) -> FinishedStudy | TrainedStudy:
    """Read a study at its end, with test images or without, and write its reports.

    Args:
        files: of the study.
        study: the study's trials, in Optuna's storage.
        drawn_in: entered while it reads and draws, before anything is written: what it raises ends that.

    Returns:
        What the reports were made from.

    Raises:
        UserError: the study has not come to its end, or its files contradict each other.
    """
    with drawn_in or nullcontext():
        require_finished(files)
        read = read_finished_study if has_test(files) else read_trained_study
        finished = read(files, read_trials(study), command=files.read_command(), importances=importances(study))
        drawn = draw_report(finished)
    write_report(finished, drawn)
    return finished


def draw_report(study: FinishedStudy | TrainedStudy) -> DrawnReport:
    """Draw the charts of a study at its end, and put its figures into words. Nothing is written."""
    with drawing(fonts_for(study.data.class_names).paths):
        if isinstance(study, TrainedStudy):
            evidence = TrainingEvidence(study)
            summary = summarize_trained(study, evidence)
            return DrawnReport(evidence, summary, trained_context(study, evidence, summary))
        evidence = Evidence(study)
        summary = summarize(study, evidence)
        return DrawnReport(evidence, summary, template_context(study, evidence, summary))


def write_report(study: FinishedStudy | TrainedStudy, drawn: DrawnReport) -> None:
    """Write the three reports of a study at its end, and what else is made from its records.

    These are the temperature and the table of trials and, where there are test images, the model card and the guide to
    the study's files.
    """
    files, context = study.files, drawn.context
    html, markdown = templates(), templates(markdown=True)
    page, text = "report.html.j2", "report.md.j2"
    if isinstance(study, TrainedStudy):
        page, text = "trained.html.j2", "trained.md.j2"
    write_text(files.report_html, html.get_template(page).render(context))
    write_pictures(files.report_pictures, study, context)
    write_text(files.report_markdown, markdown.get_template(text).render(context))
    if isinstance(drawn.evidence, Evidence) and isinstance(study, FinishedStudy):
        write_text(files.model_card, markdown.get_template("model-card.md.j2").render(context))
        write_text(files.guide, markdown.get_template("guide.md.j2").render(context))
        write_temperatures(study, drawn.evidence)
    elif isinstance(study, TrainedStudy):
        write_text(files.temperature, json.dumps(temperature_note(study, drawn.evidence), indent=2) + "\n")
    write_history(files, study.trials)
    write_text(files.report_json, json.dumps(drawn.summary, indent=2, allow_nan=False) + "\n")


def write_pictures(folder: Path, study: Trainings, context: Mapping[str, Any]) -> None:
    """Write all pictures of report.md into the folder, in place of those of an earlier report.

    context: what the templates see, as `template_context` gives it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pictures = {name: chart.png for name, chart in context["charts"].items()}
    pictures["samples"] = rows_png(list(zip(study.data.class_names, study.samples, strict=True)))
    if "confusion" in context:
        pictures["confusion-matrix"] = context["confusion"]
    for name in ("mistakes", "suspects", "unsure"):
        tiles = [(tile.image, tile.captions) for tile in context.get(name, ())]
        if tiles:
            pictures[name] = sheet_png(tiles, TILES_PER_ROW)
    for name, png in pictures.items():
        with atomic_write(folder / f"{name}.png") as path:
            path.write_bytes(png)


def write_temperatures(study: FinishedStudy, evidence: Evidence) -> None:
    """Leave the temperatures beside the models, which themselves stay as they were trained."""
    found = evidence.calibration
    temperatures = {study.files.model.name: found.temperature}
    if evidence.ensemble is not None:
        temperatures[study.files.ensemble.name] = evidence.ensemble.calibration.temperature
    by = "the delivered model, which has not learned from them"
    if not study.has_unseen_confirmation:
        by = "the winner's confirmation training (the delivered model was then trained on these images too)"
    note = {
        "temperature": found.temperature,
        "temperatures": temperatures,
        "how": "softmax(log(probabilities) / temperature) is the calibrated prediction; the class stays the same",
        "fitted_on": f"{found.n_fitted_on} images of the confirmation split, predicted by {by}",
        "test_log_loss": {"before": found.before.log_loss, "after": found.after.log_loss},
        "test_expected_calibration_error": {
            "before": found.before.expected_calibration_error,
            "after": found.after.expected_calibration_error,
        },
    }
    write_text(study.files.temperature, json.dumps(note, indent=2) + "\n")
