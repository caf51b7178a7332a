"""From a finished study to report.html, report.md and report.json: what was found, how sure it is, and what it cost.

The page is one file that asks for nothing from outside; the Markdown's pictures lie in `report-pictures/`.

    python -m search.report NAME     writes them anew, from the study's records
    python -m search.report A B      compares two finished studies
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist.export.formats import FORMATS, find_format
from fmnist.metrics.evaluation import Mistake
from fmnist.model.layers import describe_layers
from search.format import percent, plan_in_words
from search.records.files import StudyFiles
from search.records.history_csv import write_history
from search.records.io import atomic_write, flat, write_text
from search.records.models import TrialRecord
from search.report import analysis, text
from search.report.analysis import Evidence, write_temperature
from search.report.charts.images import rows_png, sheet_png, strip_png
from search.report.charts.model import (
    baselines_chart,
    changes_chart,
    confusion_png,
    confusion_shade,
    finalists_chart,
    learning_chart,
    reliability_chart,
)
from search.report.charts.search import (
    accuracy_floor,
    anytime_chart,
    history_chart,
    importance_chart,
    n_below_floor,
    pair_chart,
    parameter_names,
    parameters_chart,
    survival_chart,
)
from search.report.charts.style import MANY_CLASSES, Chart
from search.report.summary import summarize
from search.report.templating import templates
from search.results import FinishedStudy, read_finished_study

if TYPE_CHECKING:
    import optuna


N_MISTAKES_SHOWN = 24
N_PAIRS_PICTURED = 5
N_IMAGES_PER_PAIR = 6
SAMPLE_BYTES = 1_200_000  # raw pixels of the sample images; with more, they are shrunk to keep the page light


def write_report(
    files: StudyFiles,
    trials: Sequence[TrialRecord],
    *,
    command: str,
    importances: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Write the three reports of a finished study, and what else is made from its records: model card, temperature,
    the table of its trials, the guide to its files. Returns report.json's content.

    command: the command line that makes the study. importances: parameter -> share, None if not to be had.
    Raises UserError if the study has not come to its end, or its files contradict each other.
    """
    return _write(read_finished_study(files, trials, command=command, importances=importances))


def report_study(files: StudyFiles, study: optuna.Study) -> FinishedStudy:
    """The same, with all that it needs taken from where the study left it. study: its trials, in Optuna's storage.
    Returns what the report was made from."""
    from search.study.trials import importances, read_trials  # Optuna comes with the trials, not with this module

    study_result = read_finished_study(
        files, read_trials(study), command=files.read_command(), importances=importances(study)
    )
    _write(study_result)
    return study_result


def _write(study_result: FinishedStudy) -> dict[str, Any]:
    files = study_result.files
    evidence = Evidence(study_result)
    summary = summarize(study_result, evidence)
    page = _page(study_result, evidence, summary)
    write_text(files.report_html, templates().get_template("report.html.j2").render(page))
    _write_pictures(files.report_pictures, study_result, page)
    write_text(files.report_markdown, templates(markdown=True).get_template("report.md.j2").render(page))
    write_text(files.model_card, templates(markdown=True).get_template("model-card.md.j2").render(page))
    write_temperature(files, evidence.calibration)
    write_text(files.guide, templates(markdown=True).get_template("guide.md.j2").render(page))
    write_history(files, study_result.trials)
    write_text(files.report_json, json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return summary


# ------------------------------------------------------------------------------------------------------------- JSON


# ------------------------------------------------------------------------------------------------------------- page


def _page(study_result: FinishedStudy, evidence: Evidence, summary: dict[str, Any]) -> dict[str, Any]:
    """What the templates see."""
    names = parameter_names(study_result.trials)
    return {
        "m": study_result,
        "evidence": evidence,
        "json": summary,
        "words": text,
        "plan": plan_in_words(study_result.recipe.plan),
        "analysis": analysis,
        "charts": _charts(study_result, evidence, summary, names),
        "layers": describe_layers(study_result.recipe.architecture),
        "class_rows": _class_rows(study_result),
        "mistakes": [_captioned(study_result, *found) for found in study_result.mistakes(N_MISTAKES_SHOWN)],
        "pairs": _pairs(study_result),
        "suspects": _suspects(study_result, evidence),
        "unsure": _unsure(study_result),
        "curve": analysis.anytime(study_result.trials),
        "shade": confusion_shade(study_result.evaluation),
        "confusion": confusion_png(study_result.evaluation),
        "has_many_classes": len(study_result.data.class_names) > MANY_CLASSES,
        "strips": _strips(study_result),
        "n_below_floor": n_below_floor(study_result.trials),
        "floor": accuracy_floor(study_result.trials),
        "varied": names,
        "depths": analysis.depths(study_result.trials),
        "config": flat(study_result.config),
        "load_lines": _load_lines(study_result),
        "formats": {format.name: format for format in FORMATS},
        "export_lines": _export_lines(study_result),
    }


def _charts(
    study_result: FinishedStudy, evidence: Evidence, summary: dict[str, Any], names: Sequence[str]
) -> dict[str, Chart]:
    """Those that there is something to draw for."""
    charts = [history_chart(study_result.trials), finalists_chart(summary["finalists"])]
    charts.append(reliability_chart(evidence.calibration))
    if evidence.baselines:
        charts.append(baselines_chart(evidence.baselines, study_result.evaluation))
    if study_result.test.changed:
        charts.append(changes_chart(study_result.test.changed, study_result.evaluation.accuracy))
    if evidence.rungs:
        charts.append(survival_chart(evidence.rungs))
    if study_result.winner.history:
        charts.append(learning_chart(study_result.winner, study_result.data.n_images["train"]))
    if study_result.importances:
        charts.append(importance_chart(study_result.importances))
    if names:
        charts.append(parameters_chart(study_result.trials, names))
    charts.append(anytime_chart(study_result.trials))
    charts.append(pair_chart(study_result.trials, study_result.importances))
    return {chart.name: chart for chart in charts if chart is not None}


def _class_rows(study_result: FinishedStudy) -> list[dict[str, Any]]:
    """Images per class and part, in the order of the classes."""
    parts = list(study_result.data.class_counts)
    return [
        {"name": name, **{part: study_result.data.class_counts[part][i] for part in parts}}
        for i, name in enumerate(study_result.data.class_names)
    ]


def _captioned(study_result: FinishedStudy, mistake: Mistake, image: np.ndarray) -> dict[str, Any]:
    names = study_result.data.class_names
    return {
        "image": image,
        "index": mistake.index,
        "true": names[mistake.true],
        "predicted": names[mistake.predicted],
        "confidence": percent(mistake.confidence, 0 if mistake.confidence < 0.995 else 1),
    }


def _pairs(study_result: FinishedStudy) -> list[dict[str, Any]]:
    """Pairs of classes, those first of which one is most often taken for the other; images from both sides."""
    index_of = {name: i for i, name in enumerate(study_result.data.class_names)}
    pairs = dict.fromkeys(frozenset((found.true, found.predicted)) for found in study_result.evaluation.most_confused)
    return [
        {
            "names": names,
            "sides": [side for side in (_side(study_result, a, b, index_of) for a, b in (names, names[::-1])) if side],
        }
        for names in [sorted(pair, key=index_of.get) for pair in list(pairs)[:N_PAIRS_PICTURED]]
    ]


def _side(study_result: FinishedStudy, true: str, predicted: str, index_of: Mapping[str, int]) -> dict[str, Any] | None:
    """The images of one class taken for the other; None where there is none."""
    n_images = study_result.evaluation.confusion_matrix[index_of[true]][index_of[predicted]]
    found = study_result.mistakes(N_IMAGES_PER_PAIR, true=index_of[true], predicted=index_of[predicted])
    shown = [_captioned(study_result, *mistake) for mistake in found]
    return {"true": true, "predicted": predicted, "n_images": n_images, "mistakes": shown} if n_images else None


def _suspects(study_result: FinishedStudy, evidence: Evidence) -> list[dict[str, Any]]:
    row_of = {int(index): row for row, index in enumerate(study_result.arrays.mistake_indices)}
    shown = evidence.label_issues[:N_MISTAKES_SHOWN]
    return [
        _captioned(study_result, mistake, study_result.arrays.mistake_images[row_of[mistake.index]])
        for mistake in shown
    ]


def _unsure(study_result: FinishedStudy) -> list[dict[str, Any]]:
    """The least confident right answers. None in studies of before version 0.4.0."""
    arrays = study_result.arrays
    if arrays.unsure_indices is None:
        return []
    confidences = arrays.probabilities[0].max(axis=1)
    hits = [
        Mistake(int(i), int(arrays.labels[i]), int(arrays.labels[i]), confidences[i]) for i in arrays.unsure_indices
    ]
    return [_captioned(study_result, hit, image) for hit, image in zip(hits, arrays.unsure_images, strict=True)]


def _strips(study_result: FinishedStudy) -> list[tuple[str, bytes]]:
    shrink = min(1.0, math.sqrt(SAMPLE_BYTES / study_result.samples.nbytes))
    return [
        (name, strip_png(images, shrink))
        for name, images in zip(study_result.data.class_names, study_result.samples, strict=True)
    ]


def _load_lines(study_result: FinishedStudy) -> str:
    height, width, channels = study_result.data.image_shape
    return (
        "import keras\n"
        f'model = keras.models.load_model("{study_result.files.model.name}")\n'
        f"probabilities = model.predict(images)  # (n, {height}, {width}, {channels}), raw pixels 0 to 255"
    )


def _export_lines(study_result: FinishedStudy) -> str:
    """How each exported file is used."""
    shape = ", ".join(map(str, ("n", *study_result.data.image_shape)))
    blocks = [f"# images: float32 ({shape}), raw pixels 0 to 255"]
    for record in study_result.exported:
        format = find_format(record.format)
        blocks.append(f"# {format.description}\n{format.usage(f'{study_result.files.exports.name}/{record.file}')}")
    return "\n\n".join(blocks)


# --------------------------------------------------------------------------------------------------------- Markdown


def _write_pictures(folder: Path, study_result: FinishedStudy, page: Mapping[str, Any]) -> None:
    """All pictures of report.md, in place of those of an earlier report."""
    shutil.rmtree(folder, ignore_errors=True)
    pictures = {name: chart.png for name, chart in page["charts"].items()}
    pictures["samples"] = rows_png(list(zip(study_result.data.class_names, study_result.samples, strict=True)))
    pictures["confusion-matrix"] = page["confusion"]
    for name in ("mistakes", "suspects", "unsure"):
        if page[name]:
            pictures[name] = sheet_png([(tile["image"], _caption_lines(tile)) for tile in page[name]], 6)
    for name, png in pictures.items():
        with atomic_write(folder / f"{name}.png") as path:
            path.write_bytes(png)


def _caption_lines(tile: Mapping[str, Any]) -> tuple[str, ...]:
    is_hit = tile["true"] == tile["predicted"]
    return (f"is {tile['true']}", *(() if is_hit else (f"not {tile['predicted']}",)), tile["confidence"])


# ----------------------------------------------------------------------------------------------------- command line
