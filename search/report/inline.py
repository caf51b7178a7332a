"""Which of a report's pictures does a notebook show, also of a study that is not finished?"""

from __future__ import annotations

import io

import numpy as np
from markupsafe import Markup
from PIL import Image

from fmnist.errors import UserError
from fmnist.recipe import Recipe
from search.format import count
from search.records.models import DataRecord
from search.report.analysis.evidence import Evidence
from search.report.analysis.front import front_views
from search.report.analysis.learning import LearningCurve, learning_curve
from search.report.charts.fonts import fonts_for
from search.report.charts.front import front_chart
from search.report.charts.images import sheet_png
from search.report.charts.model import confusion_figure, learning_chart
from search.report.charts.plain import drawing
from search.report.charts.search import history_chart
from search.report.charts.style import CSS_PIXELS_PER_INCH, PNG_DPI, Chart, figure_png, figure_svg
from search.report.gallery import worst_mistakes
from search.report.text.front import found, picture_note
from search.report.text.model import commonest_mistake, learning, learning_note
from search.results.figure import StudyFigure
from search.results.result import FinishedStudy, StudyResult
from search.system.notebook import find_notebook
from search.system.notebook_html import output, paragraph

TILES_PER_ROW = 6
WIDEST = 760  # pixels; notebooks have room for some more


def show_figures(study: StudyResult) -> None:
    """Show all figures of a study below the cell that runs.

    Raises:
        UserError: no notebook runs here.
    """
    notebook = find_notebook()
    if notebook is None:
        raise UserError(
            "show() must be called in a notebook, but no notebook runs this code; write a figure to a file: "
            'Path("history.png").write_bytes(study.figures()["search-history"].png)'
        )
    figures = study.figures()
    if not figures:
        text = "There is nothing to show yet: no trial has ended."
        notebook.show({"text/html": output([paragraph(text)]), "text/plain": text})
    for figure in figures.values():
        heading = [paragraph(Markup("<b>{}</b>").format(figure.title)), paragraph(figure.caption)]
        notebook.show({"text/html": output(heading), "text/plain": f"{figure.title}\n{figure.caption}"})
        notebook.show(*figure._repr_mimebundle_())


def draw_figures(study: StudyResult) -> dict[str, StudyFigure]:
    """Draw what there is to draw of a study, by the figures' names, which are those of the report's pictures."""
    figures = []
    if study.trials:
        figures.append(_of_chart(history_chart(study.trials, study.metric), "Search history"))
    if isinstance(study, FinishedStudy):
        curve: LearningCurve | None = learning_curve(study)
    else:
        curve = _curve_of_best_trial(study)
    if curve is not None and curve.history:
        caption = learning_note(curve)
        if study.is_finished:
            caption = f"{caption} {learning(curve)}"
        figures.append(_of_chart(learning_chart(curve), "Learning curve", caption))
    if isinstance(study, FinishedStudy):
        if study.front:
            figures.append(_front(study))
        figures.append(_confusion(study))
        figures += _mistakes(study)
    return {figure.name: figure for figure in figures}


def _curve_of_best_trial(study: StudyResult) -> LearningCurve | None:
    """The last and longest training of the best trial; None while no trial is complete."""
    best = study.best_trial
    if best is None:
        return None
    n_train = study.files.read_json(DataRecord, study.files.data).n_images["train"]
    whose = f"trial {best.number}, the best of the search"
    plan = Recipe.from_dict(best.recipe or {}).plan
    return LearningCurve(whose, best.history, best.best, best.n_images, n_train, "", plan)


def _front(study: FinishedStudy) -> StudyFigure:
    """The networks of every size, by multiply-adds."""
    view = front_views(study, Evidence(study).baselines)[0]
    return _of_chart(
        front_chart(view), "Networks of every size", f"{found(study)} {picture_note(study, [view])}".strip()
    )


def _of_chart(chart: Chart, title: str, caption: str = "") -> StudyFigure:
    return StudyFigure(
        name=chart.name,
        title=title,
        caption=caption or chart.alt,
        png=chart.png,
        svg=chart.wide_svg,
        width=min(WIDEST, chart.wide_width),
    )


def _confusion(study: FinishedStudy) -> StudyFigure:
    evaluation = study.evaluation
    with drawing(fonts_for(study.data.class_names).paths):
        figure = confusion_figure(np.array(evaluation.confusion_matrix), study.data.class_names)
        png, svg = figure_png(figure), figure_svg(figure)
    return StudyFigure(
        name="confusion-matrix",
        title="Confusion matrix",
        caption=f"The delivered model on {count(evaluation.n_images)} test images, by true and predicted class. "
        f"{commonest_mistake(evaluation)}",
        png=png,
        svg=svg,
        width=min(WIDEST, round(CSS_PIXELS_PER_INCH / PNG_DPI * _width_of(png))),
    )


def _mistakes(study: FinishedStudy) -> list[StudyFigure]:
    """One figure; none where the model made no mistake."""
    tiles = [(tile.image, tile.captions) for tile in worst_mistakes(study)]
    if not tiles:
        return []
    png = sheet_png(tiles, TILES_PER_ROW)
    n_wrong = int((study.arrays.probabilities[0].argmax(axis=1) != study.arrays.labels).sum())
    which = "All mistakes on the test images, most confident first"
    if n_wrong > len(tiles):
        which = f"The {len(tiles)} most confident of {count(n_wrong)} mistakes on the test images"
    return [
        StudyFigure(
            name="mistakes",
            title="Mistakes",
            caption=f"{which}: what each image is, what the delivered model takes it for, and how surely.",
            png=png,
            svg=None,
            width=_width_of(png),
        )
    ]


def _width_of(png: bytes) -> int:
    """Its pixels."""
    return Image.open(io.BytesIO(png)).width
