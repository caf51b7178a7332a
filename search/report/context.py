"""What do the templates of a report see? Everything that report.html, report.md, card and guide name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

from fmnist.export.formats import FORMATS, find_format
from fmnist.model.layers import describe_layers
from fmnist.recipe import short_form
from search.format import METRIC_WORDS, in_metric, metric_range
from search.records.io import flat
from search.report import gallery
from search.report.analysis import trials as search_analysis
from search.report.analysis.evidence import Evidence, TrainingEvidence
from search.report.analysis.front import COSTS, KINDS, exported_formats, front_views
from search.report.analysis.learning import learning_curve
from search.report.charts import front as front_charts
from search.report.charts import model as model_charts
from search.report.charts import search as search_charts
from search.report.charts.style import MANY_CLASSES, Chart
from search.report.text import certainty, data, delivery, exports, front, model, overview, recipe, untested
from search.report.text import search as search_text
from search.results.members import score_interval
from search.results.quantization import quantization_losses
from search.results.result import FinishedStudy
from search.results.trainings import Trainings

TEXT: dict[str, ModuleType] = {  # the modules of sentences, as templates name them
    "overview": overview,
    "data": data,
    "recipe": recipe,
    "model": model,
    "certainty": certainty,
    "search": search_text,
    "exports": exports,
    "front": front,
    "delivery": delivery,
    "untested": untested,
}


def template_context(study: FinishedStudy, evidence: Evidence, summary: dict[str, Any]) -> dict[str, Any]:
    """Gather what the templates see, by the names that they use.

    Args:
        study: a finished one.
        evidence: of its figures.
        summary: the content of report.json.
    """
    of_front = front_context(study, evidence)
    charts = model_chart_list(study, evidence, summary)
    if of_front:
        charts.append(front_charts.front_chart(of_front["front_views"][0]))
    return {
        **training_context(study, evidence, summary, overview.strengths_and_limits(study, evidence), charts),
        **of_front,
        "mistakes": gallery.worst_mistakes(study),
        "pairs": gallery.confused_pairs(study),
        "suspects": gallery.suspect_labels(study, evidence),
        "unsure": gallery.unsure_hits(study),
        "shade": model_charts.confusion_shade(study.evaluation),
        "confusion": model_charts.confusion_png(study.evaluation),
        "formats": {format.name: format for format in FORMATS},
        "export_lines": export_lines(study),
        "quantization_losses": quantization_losses(study.exported),
    }


def front_context(study: FinishedStudy, evidence: Evidence) -> dict[str, Any]:
    """Gather what templates see of the networks of every size; nothing of a study without --front.

    Args:
        study: a finished one.
        evidence: of its figures.
    """
    if not study.front:
        return {}
    views = front_views(study, evidence.baselines)
    kinds = {network.kind for view in views for network in view.networks}
    return {
        "front_views": views,
        "front_data": front_charts.page_data(views),
        "front_costs": [cost for cost in COSTS if any(view.cost is cost for view in views)],
        "front_formats": exported_formats(study.front),
        "front_kinds": {kind: words for kind, words in KINDS.items() if kind in kinds},
        "front_baseline": next((view.best_baseline for view in views if view.best_baseline), None),
        "front_trials_label": front_charts.TRIALS_LABEL,
        "short_form": short_form,
    }


def training_context(
    study: Trainings,
    evidence: TrainingEvidence,
    summary: dict[str, Any],
    findings: Sequence[tuple[str, str]],
    model_charts: Sequence[Chart],
) -> dict[str, Any]:
    """Gather what the templates see of a study with or without test images.

    Args:
        study: one at its end.
        evidence: of its figures.
        summary: the content of report.json.
        findings: what a reader in a hurry should know, each with its heading.
        model_charts: of finalists and model.
    """
    trials = study.trials
    varied = search_analysis.varied_parameters(trials)
    charts = [*search_chart_list(study, evidence, varied), *model_charts]
    return {
        "study": study,
        "evidence": evidence,
        "summary": summary,
        "text": TEXT,
        "charts": {chart.name: chart for chart in charts},
        "layers": describe_layers(study.recipe.architecture),
        "class_rows": class_rows(study),
        "metric": study.metric,
        "metric_words": METRIC_WORDS[study.metric],
        "scored": partial(in_metric, study.metric),
        "score_range": partial(metric_range, study.metric),
        "score_interval": score_interval,
        "strips": gallery.sample_strips(study),
        "improvements": search_analysis.improvements(trials),
        "has_many_classes": len(study.data.class_names) > MANY_CLASSES,
        "trial_score": search_analysis.score,
        "axis": search_charts.AccuracyAxis.of(trials),
        "varied": varied,
        "depths": search_analysis.depths(trials),
        "config": flat(study.config),
        "curve": learning_curve(study),
        "phase_words": delivery.phase_words(study),
        "has_selection_accuracy": any(record.selection_accuracy is not None for record in study.confirmed),
        "load_lines": load_lines(study),
        "findings": findings,
        "ensemble_lines": ensemble_lines(study),
    }


def search_chart_list(study: Trainings, evidence: TrainingEvidence, varied: Sequence[str]) -> list[Chart]:
    """Draw the search, as far as there is something to draw.

    Args:
        study: a finished one.
        evidence: of its figures.
        varied: parameters that took more than one value.
    """
    charts = [search_charts.history_chart(study.trials, study.metric)]
    if evidence.rungs:
        charts.append(search_charts.survival_chart(evidence.rungs))
    if study.importances:
        charts.append(search_charts.importance_chart(study.importances))
    if varied:
        charts.append(search_charts.parameters_chart(study.trials, varied, study.metric))
    improvements = search_analysis.improvements(study.trials)
    if improvements:
        n_images = study.n_images_trained["search"]
        charts.append(search_charts.anytime_chart(improvements, n_images, study.metric))
    pair = search_analysis.numeric_pair(study.trials, study.importances)
    if pair is not None:
        charts.append(search_charts.pair_chart(study.trials, pair, study.metric))
    return charts


def model_chart_list(study: FinishedStudy, evidence: Evidence, summary: dict[str, Any]) -> list[Chart]:
    """Draw finalists and model, as far as there is something to draw.

    Args:
        study: a finished one.
        evidence: of its figures.
        summary: the content of report.json.
    """
    charts = [
        model_charts.finalists_chart(summary["finalists"], study.metric),
        model_charts.reliability_chart(evidence.calibration),
    ]
    if evidence.baselines:
        charts.append(model_charts.baselines_chart(evidence.baselines, study.evaluation))
    if study.test.changed:
        charts.append(model_charts.changes_chart(study.test.changed, study.evaluation.accuracy))
    curve = learning_curve(study)
    if curve.history:
        charts.append(model_charts.learning_chart(curve))
    return charts


def class_rows(study: Trainings) -> list[dict[str, Any]]:
    """Count the images of each class by split.

    Returns:
        A row for each class, in their order: its `name`, and a number for each split by the split's name.
    """
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(study.data.class_names):
        counts = {part: counts[i] for part, counts in study.data.class_counts.items()}
        rows.append({"name": name, **counts})
    return rows


def ensemble_lines(study: Trainings) -> str:
    """Python lines that load the ensemble and predict with it."""
    return (
        "import keras\n"
        f'ensemble = keras.models.load_model("{study.files.ensemble.name}")\n'
        "probabilities = ensemble.predict(images)  # images as for the delivered model"
    )


def load_lines(study: Trainings) -> str:
    """Python lines that load the delivered model and predict with it."""
    height, width, channels = study.data.image_shape
    return (
        "import keras\n"
        f'model = keras.models.load_model("{study.files.model.name}")\n'
        f"probabilities = model.predict(images)  # (n, {height}, {width}, {channels}), raw pixels 0 to 255"
    )


def export_lines(study: FinishedStudy) -> str:
    """Python lines that use each exported file."""
    shape = ", ".join(["n", *(str(side) for side in study.data.image_shape)])
    blocks = [f"# images: float32 ({shape}), raw pixels 0 to 255"]
    for record in study.exported:
        format = find_format(record.format)
        blocks.append(f"# {format.description}\n{format.usage(f'{study.files.exports.name}/{record.file}')}")
    return "\n\n".join(blocks)
