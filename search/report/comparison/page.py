"""From two finished studies to compare-A-B.html and compare-A-B.json: which is better, how sure that is, what it cost.

The page is one file that asks for nothing from outside. Where the two were not tested on the same images, it speaks of
searches and costs only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.format import count, duration, file_size, percent, percent_range, points, ratio, signed
from search.records.io import write_text
from search.records.models import FINISHED_STATES
from search.report.charts.style import Chart
from search.report.comparison import charts, text
from search.report.comparison.data import ClassContrast, Comparison, Entry, mean_confidence, multiply_adds, n_parameters
from search.report.templating import plain, templates
from search.results import FinishedStudy

SECTIONS = {  # id -> heading, and whether it needs the same test images
    "found": ("What was found", False),
    "accuracy": ("Accuracy on the test set", True),
    "classes": ("Class by class", True),
    "calibration": ("Calibration", True),
    "searches": ("The searches", False),
    "cost": ("Cost", False),
    "recipes": ("The recipes", False),
    "origins": ("Data, seeds and versions", False),
}


def write_comparison(a: FinishedStudy, b: FinishedStudy, folder: Path) -> Path:
    """Write the page and its JSON into the folder; the page's path is returned."""
    comparison = Comparison(a, b)
    path = folder / f"{_stem(comparison)}.html"
    write_text(path, templates().get_template("compare.html.j2").render(_page(comparison)))
    write_text(path.with_suffix(".json"), json.dumps(summarize(comparison), indent=2, allow_nan=False) + "\n")
    return path


def _stem(comparison: Comparison) -> str:
    return "-".join(("compare", *comparison.names))


# ------------------------------------------------------------------------------------------------------------- JSON


def summarize(comparison: Comparison) -> dict[str, Any]:
    """Every number of the page, in plain JSON types. `test` and `classes` are null without the same test images."""
    a, b = comparison.both
    tested = comparison.is_same_test
    summary = {
        "studies": {"a": comparison.names[0], "b": comparison.names[1]},
        "is_same_test": tested,
        "is_same_selection": comparison.is_same_selection,
        "test": _test(comparison) if tested else None,
        "classes": [_class(it) for it in comparison.classes] if tested else None,
        "searches": {"a": _search(comparison, 0), "b": _search(comparison, 1)},
        "cost": {"a": _cost(a), "b": _cost(b)},
        "recipes": _entries(comparison.recipes),
        "data_and_seeds": _entries(comparison.data_and_seeds),
        "machines": _entries(comparison.machines),
        "settings": _entries(comparison.settings),
        "commands": {"a": a.command, "b": b.command},
    }
    return plain(summary)


def _test(comparison: Comparison) -> dict[str, Any]:
    a, b = comparison.both
    return {
        "n_images": len(a.arrays.labels),
        "a": _tested(a),
        "b": _tested(b),
        "mean_difference": b.test_mean - a.test_mean,
        "mcnemar": dataclasses.asdict(comparison.test),
    }


def _tested(study_result: FinishedStudy) -> dict[str, Any]:
    evaluation, interval = study_result.evaluation, study_result.test_interval
    delivered = evaluation.accuracy_interval
    return {
        "mean": study_result.test_mean,
        "sd": study_result.test_sd,
        "values": study_result.test_accuracies,
        "wilson_95": [interval.low, interval.high],
        "delivered": {"value": evaluation.accuracy, "wilson_95": [delivered.low, delivered.high]},
        "macro_f1": evaluation.macro_f1,
        "balanced_accuracy": evaluation.balanced_accuracy,
        "log_loss": evaluation.log_loss,
        "expected_calibration_error": evaluation.expected_calibration_error,
        "mean_confidence": mean_confidence(study_result),
    }


def _class(contrast: ClassContrast) -> dict[str, Any]:
    scores = {
        f"{figure}_{side}": getattr(getattr(contrast, side), figure)
        for figure in ("precision", "recall", "f1")
        for side in ("a", "b")
    }
    return {
        "name": contrast.name,
        "n_images": contrast.n_images,
        **scores,
        "recall_difference": contrast.recall_difference,
        **dataclasses.asdict(contrast.test),
        "p_adjusted": contrast.p_adjusted,
    }


def _search(comparison: Comparison, i: int) -> dict[str, Any]:
    """Without accuracies where the two searches had different images."""
    study_result, curve = comparison.both[i], comparison.curves[i]
    points = [dataclasses.asdict(point) for point in curve]
    if not comparison.is_same_test:
        end = curve[-1].selection_accuracy if curve else 0.0
        points = [
            {"n_trials": p.n_trials, "n_images": p.n_images, "below_own_best": end - p.selection_accuracy}
            for p in curve
        ]
    return {"trials": study_result.n_by_state, "best_so_far": points}


def _cost(study_result: FinishedStudy) -> dict[str, Any]:
    seconds, images = study_result.seconds, study_result.n_images_trained
    return {
        "seconds": {**seconds, "total": sum(seconds.values())},
        "images_trained": {**images, "total": sum(images.values())},
        "n_parameters": n_parameters(study_result),
        "multiply_adds": multiply_adds(study_result),
        "model_bytes": study_result.model_bytes,
    }


def _entries(found: Sequence[Entry]) -> list[dict[str, Any]]:
    return [{**dataclasses.asdict(entry), "differs": entry.differs} for entry in found]


# ------------------------------------------------------------------------------------------------------------- page


@dataclass(frozen=True)
class Row:
    """One row of a table that sets two studies side by side."""

    what: str
    a: str
    b: str
    change: str = ""  # from a to b, in the table's own way
    is_sum: bool = False


def _page(comparison: Comparison) -> dict[str, Any]:
    """What the template sees."""
    tested = comparison.is_same_test
    shown = [(id, heading) for id, (heading, needs_same_test) in SECTIONS.items() if tested or not needs_same_test]
    return {
        "c": comparison,
        "names": comparison.names,
        "words": text,
        "sections": {id: (number, heading) for number, (id, heading) in enumerate(shown, start=1)},
        "charts": {chart.name: chart for chart in _charts(comparison)},
        "accuracy_rows": _accuracy_rows(comparison) if tested else [],
        "calibration_rows": _calibration_rows(comparison) if tested else [],
        "search_rows": _search_rows(comparison),
        "time_rows": _rows_by_phase(comparison, lambda m: m.seconds, duration),
        "image_rows": _rows_by_phase(comparison, lambda m: m.n_images_trained, count),
        "network_rows": _network_rows(comparison),
        "differing_settings": [entry for entry in comparison.settings if entry.differs],
        "most_classes": charts.MOST_CLASSES,
        "multiply_adds": multiply_adds,
        "json_name": f"{_stem(comparison)}.json",
    }


def _charts(comparison: Comparison) -> list[Chart]:
    """Those that there is something to draw for."""
    drawn = [charts.curves_chart(comparison)]
    if comparison.is_same_test:
        drawn += [charts.accuracy_chart(comparison), charts.recall_chart(comparison)]
    return [chart for chart in drawn if chart is not None]


def _row(comparison: Comparison, what: str, of: Callable[[FinishedStudy], Any], show: Callable[[Any], str]) -> Row:
    return Row(what, *(show(of(study_result)) for study_result in comparison.both))


def _share_row(comparison: Comparison, what: str, of: Callable[[FinishedStudy], float]) -> Row:
    """A share, in percent, and its difference in points."""
    a, b = (of(study_result) for study_result in comparison.both)
    return Row(what, percent(a), percent(b), signed(100 * (b - a)))


def _score_row(comparison: Comparison, what: str, of: Callable[[FinishedStudy], float], digits: int) -> Row:
    a, b = (of(study_result) for study_result in comparison.both)
    return Row(what, f"{a:.{digits}f}", f"{b:.{digits}f}", signed(b - a, digits))


def _ratio_row(
    comparison: Comparison, what: str, of: Callable[[FinishedStudy], float], show: Callable[[Any], str]
) -> Row:
    a, b = (of(study_result) for study_result in comparison.both)
    return Row(what, show(a), show(b), ratio(a, b))


def _rows_by_phase(
    comparison: Comparison, of: Callable[[FinishedStudy], Mapping[str, float]], show: Callable[[Any], str]
) -> list[Row]:
    """And one for all phases together. Phases that neither study had are left out."""
    phases = [phase for phase in of(comparison.a) if any(of(study_result)[phase] for study_result in comparison.both)]
    rows = [_ratio_row(comparison, phase, lambda m, phase=phase: of(m)[phase], show) for phase in phases]
    whole = _ratio_row(comparison, "All", lambda m: sum(of(m).values()), show)
    return [*rows, dataclasses.replace(whole, is_sum=True)]


def _accuracy_rows(comparison: Comparison) -> list[Row]:
    return [
        _share_row(comparison, "Mean of the retrainings", lambda m: m.test_mean),
        _row(comparison, "Its Wilson 95 % interval", lambda m: m.test_interval, percent_range),
        _row(comparison, "Standard deviation over seeds", lambda m: m.test_sd, points),
        _row(comparison, "Retrainings", lambda m: len(m.test_accuracies), str),
        _share_row(comparison, "Delivered model", lambda m: m.evaluation.accuracy),
        _row(comparison, "Its Wilson 95 % interval", lambda m: m.evaluation.accuracy_interval, percent_range),
        _share_row(comparison, "Its balanced accuracy", lambda m: m.evaluation.balanced_accuracy),
        _score_row(comparison, "Its macro F1", lambda m: m.evaluation.macro_f1, 4),
    ]


def _calibration_rows(comparison: Comparison) -> list[Row]:
    error = "Expected calibration error (15 bins, Guo et al. 2017)"
    return [
        _share_row(comparison, "Mean confidence", mean_confidence),
        _share_row(comparison, "Accuracy", lambda m: m.evaluation.accuracy),
        _share_row(comparison, error, lambda m: m.evaluation.expected_calibration_error),
        _score_row(comparison, "Log loss", lambda m: m.evaluation.log_loss, 4),
    ]


def _search_rows(comparison: Comparison) -> list[Row]:
    words = ("Trained to the end", "Stopped early", "Failed", "Outside the limits")
    rows = [
        _row(comparison, word, lambda m, state=state: m.n_by_state[state], count)
        for word, state in zip(words, FINISHED_STATES, strict=True)
    ]
    rows.append(Row("All", *(count(len(study_result.trials)) for study_result in comparison.both), is_sum=True))
    if comparison.is_same_test and all(comparison.curves):
        a, b = (curve[-1].selection_accuracy for curve in comparison.curves)
        rows.append(Row("Best selection accuracy", percent(a), percent(b)))
    return rows


def _network_rows(comparison: Comparison) -> list[Row]:
    return [
        _ratio_row(comparison, "Parameters", n_parameters, count),
        _ratio_row(comparison, "Multiply-adds an image", multiply_adds, count),
        _ratio_row(comparison, "Size of best.keras", lambda m: m.model_bytes, file_size),
    ]
