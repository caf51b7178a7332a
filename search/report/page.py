"""From a finished study to report.html, report.md and report.json: what was found, how sure it is, and what it cost.

The page is one file that asks for nothing from outside; the Markdown's pictures lie in `report-pictures/`.

    python -m search.report NAME     writes them anew, from the study's records
    python -m search.report A B      compares two finished studies
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist.cli import exit_code_of
from fmnist.export.formats import FORMATS, find_format
from fmnist.metrics.evaluation import Mistake
from fmnist.model.layers import count_multiply_adds, count_parameters, describe_layers
from fmnist.recipe import Recipe, short_form
from search import format
from search.cli import take_password_off_the_command_line
from search.records.files import StudyFiles
from search.records.history_csv import write_history
from search.records.io import flat, whole_file, write_text
from search.records.models import ConfirmRecord, TrialRecord
from search.report import analysis
from search.report.analysis import Evidence, write_temperature
from search.report.charts import search
from search.report.charts.search import Chart
from search.report.comparison.page import write_comparison
from search.report.options import ReportOptions, parse
from search.report.templating import plain, templates
from search.results import Material, read_material, require_finished

if TYPE_CHECKING:
    import optuna

    from fmnist.export.formats import ExportRecord

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
    return _write(read_material(files, trials, command=command, importances=importances))


def report_study(files: StudyFiles, study: optuna.Study) -> Material:
    """The same, with all that it needs taken from where the study left it. study: its trials, in Optuna's storage.
    Returns what the report was made from."""
    from search.dashboard.publish import keep_report  # Optuna comes with the trials, not with this module
    from search.study.trials import importances, read_trials

    material = read_material(files, read_trials(study), command=files.read_command(), importances=importances(study))
    _write(material)
    keep_report(study, material)
    return material


def _write(material: Material) -> dict[str, Any]:
    files = material.files
    evidence = Evidence(material)
    summary = summarize(material, evidence)
    page = _page(material, evidence, summary)
    write_text(files.report_html, templates().get_template("report.html.j2").render(page))
    _write_pictures(files.report_pictures, material, page)
    write_text(files.report_markdown, templates(markdown=True).get_template("report.md.j2").render(page))
    write_text(files.model_card, templates(markdown=True).get_template("model-card.md.j2").render(page))
    write_temperature(files, evidence.calibration)
    write_text(files.guide, templates(markdown=True).get_template("guide.md.j2").render(page))
    write_history(files, material.trials)
    write_text(files.report_json, json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return summary


# ------------------------------------------------------------------------------------------------------------- JSON


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


# ------------------------------------------------------------------------------------------------------------- page


def _page(material: Material, evidence: Evidence, summary: dict[str, Any]) -> dict[str, Any]:
    """What the templates see."""
    names = search.parameter_names(material.trials)
    return {
        "m": material,
        "evidence": evidence,
        "json": summary,
        "words": text,
        "charts": _charts(material, evidence, summary, names),
        "layers": describe_layers(material.recipe.architecture),
        "class_rows": _class_rows(material),
        "mistakes": [_captioned(material, *found) for found in material.mistakes(N_MISTAKES_SHOWN)],
        "pairs": _pairs(material),
        "suspects": _suspects(material, evidence),
        "unsure": _unsure(material),
        "curve": evidence.anytime(material.trials),
        "shade": search.confusion_shade(material.evaluation),
        "confusion": search.confusion_png(material.evaluation),
        "has_many_classes": len(material.data.class_names) > search.MANY_CLASSES,
        "strips": _strips(material),
        "n_below_floor": search.n_below_floor(material.trials),
        "floor": search.accuracy_floor(material.trials),
        "varied": names,
        "depths": analysis.depths(material.trials),
        "config": flat(material.config),
        "load_lines": _load_lines(material),
        "formats": {format.name: format for format in FORMATS},
        "export_lines": _export_lines(material),
    }


def _charts(material: Material, evidence: Evidence, summary: dict[str, Any], names: Sequence[str]) -> dict[str, Chart]:
    """Those that there is something to draw for."""
    charts = [search.history_chart(material.trials), search.finalists_chart(summary["finalists"])]
    charts.append(evidence.reliability_chart(evidence.calibration))
    if evidence.baselines:
        charts.append(evidence.baselines_chart(evidence.baselines, material.evaluation))
    if material.test.changed:
        charts.append(evidence.changes_chart(material.test.changed, material.evaluation.accuracy))
    if evidence.rungs:
        charts.append(evidence.survival_chart(evidence.rungs))
    if material.winner.history:
        charts.append(search.learning_chart(material.winner, material.data.n_images["train"]))
    if material.importances:
        charts.append(search.importance_chart(material.importances))
    if names:
        charts.append(search.parameters_chart(material.trials, names))
    charts.append(evidence.anytime_chart(material.trials))
    charts.append(evidence.pair_chart(material.trials, material.importances))
    return {chart.name: chart for chart in charts if chart is not None}


def _class_rows(material: Material) -> list[dict[str, Any]]:
    """Images per class and part, in the order of the classes."""
    parts = list(material.data.class_counts)
    return [
        {"name": name, **{part: material.data.class_counts[part][i] for part in parts}}
        for i, name in enumerate(material.data.class_names)
    ]


def _captioned(material: Material, mistake: Mistake, image: np.ndarray) -> dict[str, Any]:
    names = material.data.class_names
    return {
        "image": image,
        "index": mistake.index,
        "true": names[mistake.true],
        "predicted": names[mistake.predicted],
        "confidence": format.percent(mistake.confidence, 0 if mistake.confidence < 0.995 else 1),
    }


def _pairs(material: Material) -> list[dict[str, Any]]:
    """Pairs of classes, those first of which one is most often taken for the other; images from both sides."""
    index_of = {name: i for i, name in enumerate(material.data.class_names)}
    pairs = dict.fromkeys(frozenset((found.true, found.predicted)) for found in material.evaluation.most_confused)
    return [
        {
            "names": names,
            "sides": [side for side in (_side(material, a, b, index_of) for a, b in (names, names[::-1])) if side],
        }
        for names in [sorted(pair, key=index_of.get) for pair in list(pairs)[:N_PAIRS_PICTURED]]
    ]


def _side(material: Material, true: str, predicted: str, index_of: Mapping[str, int]) -> dict[str, Any] | None:
    """The images of one class taken for the other; None where there is none."""
    n_images = material.evaluation.confusion_matrix[index_of[true]][index_of[predicted]]
    found = material.mistakes(N_IMAGES_PER_PAIR, true=index_of[true], predicted=index_of[predicted])
    shown = [_captioned(material, *mistake) for mistake in found]
    return {"true": true, "predicted": predicted, "n_images": n_images, "mistakes": shown} if n_images else None


def _suspects(material: Material, evidence: Evidence) -> list[dict[str, Any]]:
    row_of = {int(index): row for row, index in enumerate(material.arrays.mistake_indices)}
    shown = evidence.suspects[:N_MISTAKES_SHOWN]
    return [_captioned(material, mistake, material.arrays.mistake_images[row_of[mistake.index]]) for mistake in shown]


def _unsure(material: Material) -> list[dict[str, Any]]:
    """The least confident right answers. None in studies of before version 0.4.0."""
    arrays = material.arrays
    if arrays.unsure_indices is None:
        return []
    confidences = arrays.probabilities[0].max(axis=1)
    hits = [
        Mistake(int(i), int(arrays.labels[i]), int(arrays.labels[i]), confidences[i]) for i in arrays.unsure_indices
    ]
    return [_captioned(material, hit, image) for hit, image in zip(hits, arrays.unsure_images, strict=True)]


def _strips(material: Material) -> list[tuple[str, bytes]]:
    shrink = min(1.0, math.sqrt(SAMPLE_BYTES / material.samples.nbytes))
    return [
        (name, search.strip_png(images, shrink))
        for name, images in zip(material.data.class_names, material.samples, strict=True)
    ]


def _load_lines(material: Material) -> str:
    height, width, channels = material.data.image_shape
    return (
        "import keras\n"
        f'model = keras.models.load_model("{material.files.model.name}")\n'
        f"probabilities = model.predict(images)  # (n, {height}, {width}, {channels}), raw pixels 0 to 255"
    )


def _export_lines(material: Material) -> str:
    """How each exported file is used."""
    shape = ", ".join(map(str, ("n", *material.data.image_shape)))
    blocks = [f"# images: float32 ({shape}), raw pixels 0 to 255"]
    for record in material.exported:
        format = find_format(record.format)
        blocks.append(f"# {format.description}\n{format.usage(f'{material.files.exports.name}/{record.file}')}")
    return "\n\n".join(blocks)


# --------------------------------------------------------------------------------------------------------- Markdown


def _write_pictures(folder: Path, material: Material, page: Mapping[str, Any]) -> None:
    """All pictures of report.md, in place of those of an earlier report."""
    shutil.rmtree(folder, ignore_errors=True)
    pictures = {name: chart.png for name, chart in page["charts"].items()}
    pictures["samples"] = search.rows_png(list(zip(material.data.class_names, material.samples, strict=True)))
    pictures["confusion-matrix"] = page["confusion"]
    for name in ("mistakes", "suspects", "unsure"):
        if page[name]:
            pictures[name] = search.sheet_png([(tile["image"], _caption_lines(tile)) for tile in page[name]], 6)
    for name, png in pictures.items():
        with whole_file(folder / f"{name}.png") as path:
            path.write_bytes(png)


def _caption_lines(tile: Mapping[str, Any]) -> tuple[str, ...]:
    is_hit = tile["true"] == tile["predicted"]
    return (f"is {tile['true']}", *(() if is_hit else (f"not {tile['predicted']}",)), tile["confidence"])


# ----------------------------------------------------------------------------------------------------- command line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0, or 2 for input that cannot be used, said in one line."""
    return exit_code_of(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    if argv is None:
        take_password_off_the_command_line()
    options = parse(sys.argv[1:] if argv is None else argv)
    studies = [StudyFiles(folder) for folder in options.folders]
    for files in studies:  # first of all: a study under way may have no trials to open yet
        require_finished(files)
    if len(studies) == 1:
        report_study(studies[0], _open(studies[0], options))
        print(f"report: {studies[0].report_html}")
    else:
        a, b = (_read(files, options) for files in studies)
        print(f"comparison: {write_comparison(a, b, options.studies_dir)}")
    return 0


def _open(files: StudyFiles, options: ReportOptions) -> optuna.Study:
    import optuna

    from search.study.study import open_finished

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return open_finished(files, options.storage)


def _read(files: StudyFiles, options: ReportOptions) -> Material:
    from search.study.trials import read_trials

    trials = read_trials(_open(files, options))
    return read_material(files, trials, command=files.read_command(), importances=None)


if __name__ == "__main__":
    sys.exit(main())
