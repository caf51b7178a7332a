"""How do two finished studies become compare-A-B.html: which is better, how sure is that, what did it cost?

The page is one file that asks for nothing from outside. Where the two were not tested on the same images, it speaks of
searches and costs only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fmnist.values import require, require_instance
from search.format import count, duration
from search.records.io import write_text
from search.report.charts.fonts import fonts_for
from search.report.charts.plain import drawing
from search.report.charts.style import Chart
from search.report.comparison import charts, rows, text
from search.report.comparison.data import Comparison, multiply_adds
from search.report.comparison.summary import summarize
from search.report.templating import templates
from search.results.result import FinishedStudy

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


def write_comparison(a: FinishedStudy, b: FinishedStudy, folder: str | os.PathLike[str]) -> Path:
    """Compare two finished studies, and write the page and its JSON.

    Args:
        a: the first study. Differences are the second's figure less its.
        b: the second.
        folder: to write compare-A-B.html and compare-A-B.json into, A and B being the studies' names.

    Returns:
        The page's path.
    """
    for study in (a, b):
        require_instance(FinishedStudy, study, "each study", "a FinishedStudy", "compare finished studies")
    comparison = Comparison(a, b)
    path = require(Path, folder, "folder") / f"compare-{comparison.names[0]}-{comparison.names[1]}.html"
    with drawing(fonts_for(a.data.class_names).paths):
        context = template_context(comparison, json_name=path.with_suffix(".json").name)
    write_text(path, templates().get_template("compare.html.j2").render(context))
    write_text(path.with_suffix(".json"), json.dumps(summarize(comparison), indent=2, allow_nan=False) + "\n")
    return path


def template_context(comparison: Comparison, json_name: str) -> dict[str, Any]:
    """Gather what the template sees, by the names that it uses.

    Args:
        comparison: of the two studies.
        json_name: name of the JSON file beside the page.
    """
    return {
        "comparison": comparison,
        "names": comparison.names,
        "text": text,
        "sections": numbered_sections(comparison.is_same_test),
        "charts": {chart.name: chart for chart in draw_charts(comparison)},
        "accuracy_rows": rows.accuracy_rows(comparison),
        "calibration_rows": rows.calibration_rows(comparison),
        "search_rows": rows.search_rows(comparison),
        "time_rows": rows.rows_by_phase(comparison, lambda study: study.seconds, duration),
        "image_rows": rows.rows_by_phase(comparison, lambda study: study.n_images_trained, count),
        "network_rows": rows.network_rows(comparison),
        "differing_settings": [entry for entry in comparison.settings if entry.differs],
        "most_classes": charts.MOST_CLASSES,
        "multiply_adds": multiply_adds,
        "json_name": json_name,
    }


def numbered_sections(is_same_test: bool) -> dict[str, tuple[int, str]]:
    """The sections that a page has: id -> number and heading."""
    shown: dict[str, tuple[int, str]] = {}
    for id, (heading, needs_same_test) in SECTIONS.items():
        if is_same_test or not needs_same_test:
            shown[id] = (len(shown) + 1, heading)
    return shown


def draw_charts(comparison: Comparison) -> list[Chart]:
    """Draw what there is something to draw for."""
    drawn = []
    if all(comparison.curves):
        drawn.append(charts.curves_chart(comparison))
    if comparison.is_same_test:
        drawn += [charts.accuracy_chart(comparison), charts.recall_chart(comparison)]
    return drawn
