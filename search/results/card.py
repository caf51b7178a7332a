"""How does a study look as a cell's value in a notebook? A card: what was tried, what came out, and where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from fmnist.model.layers import count_parameters
from fmnist.output import printable
from fmnist.paths import shown_path
from fmnist.recipe import Recipe, short_form
from search.format import (
    METRIC_WORDS,
    count,
    in_metric,
    metric_range,
    percent,
    percent_range,
    short_count,
)
from search.results.members import averaged_in_words
from search.system.notebook_html import code, output, paragraph, table

if TYPE_CHECKING:
    from search.results.result import FinishedStudy, StudyResult, TrainedStudy

STATE_WORDS = {
    "complete": "trained to the end",
    "pruned": "stopped early",
    "failed": "failed",
    "infeasible": "outside the limits",
}


def study_card(study: StudyResult) -> str:
    """The card of a study that need not be finished, as HTML."""
    rows: list[tuple[str, str]] = [("trials", _trials(study))]
    best = study.best_trial
    if best is not None:
        by = f"{in_metric(study.metric, best.value)} selection {METRIC_WORDS[study.metric]}"
        rows.append(("best in the search", f"{by}, trial {best.number}"))
        if best.recipe is not None:
            rows.append(("its recipe", _recipe(Recipe.from_dict(best.recipe))))
    rows.append(("test accuracy", "not known: the test set is unopened until the study is finished"))
    rows.append(("folder", code(printable(str(shown_path(study.files.root))))))
    return _card(study, rows, "an unfinished study")


def trained_card(study: TrainedStudy) -> str:
    """The card of a study without test images at its end, as HTML."""
    shown = in_metric(study.metric, study.confirm_score)
    n_images = count(study.data.n_images["confirmation"])
    confirmed = Markup("<b>{}</b> {}").format(shown, f"(n = {n_images} images, by which it was chosen)")
    rows: list[tuple[str, str]] = [
        (f"confirmation {METRIC_WORDS[study.metric]}", confirmed),
        ("test accuracy", "not measured: no test images were given"),
        ("best recipe", _recipe(study.recipe)),
        ("trials", _trials(study)),
        ("model", code(printable(str(shown_path(study.files.model))))),
        ("report", code(printable(str(shown_path(study.files.report_html))))),
    ]
    return _card(study, rows, "a study without test images")


def finished_card(study: FinishedStudy) -> str:
    """The card of a finished study, as HTML."""
    n_test, winner = count(len(study.arrays.labels)), study.winner
    accuracy = Markup("<b>{}</b> {}").format(
        percent(study.test_mean), f"(95 % interval {percent_range(study.test_interval)}, n = {n_test} test images)"
    )
    if len(study.test_accuracies) > 1:
        accuracy += f", mean of {len(study.test_accuracies)} trainings"
    rows: list[tuple[str, str]] = [("test accuracy", accuracy)]
    if study.metric != "accuracy":
        interval = f"(95 % interval of the delivered model {metric_range(study.metric, study.test_score_interval)})"
        score = Markup("<b>{}</b> {}").format(in_metric(study.metric, study.test_score), interval)
        rows.insert(0, (f"test {METRIC_WORDS[study.metric]}", score))
    if study.ensemble is not None and study.ensemble_interval is not None:
        rows.append(("ensemble", Markup("<b>{}</b> {}").format(
            percent(study.ensemble_accuracy),
            f"(95 % interval {percent_range(study.ensemble_interval)}), {averaged_in_words(study.ensemble)}",
        )))  # fmt: skip
    confirmed = in_metric(study.metric, winner.score)
    if study.metric != "accuracy":
        confirmed += f" {METRIC_WORDS[study.metric]}"
    rows += [
        ("best recipe", _recipe(study.recipe)),
        ("found by", f"trial {winner.trial}, confirmed with {confirmed}"),
        ("trials", _trials(study)),
        ("model", code(printable(str(shown_path(study.files.model))))),
        ("report", code(printable(str(shown_path(study.files.report_html))))),
    ]
    return _card(study, rows, "a finished study")


def _card(study: StudyResult, rows: list[tuple[str, str]], kind: str) -> str:
    data = printable(str(study.config["dataset"]))
    title = Markup("<b>{}</b>: {} of {}").format(printable(study.files.root.name), kind, data)
    return output([paragraph(title), table(rows)])


def _trials(study: StudyResult) -> str:
    """Their number, and how many ended in which state."""
    states = ", ".join(f"{n} {STATE_WORDS[state]}" for state, n in study.n_by_state.items() if n)
    return f"{len(study.trials)} ({states})" if states else "none has ended yet"


def _recipe(recipe: Recipe) -> Markup:
    parameters = short_count(count_parameters(recipe.architecture))
    return Markup("{}, {}").format(code(short_form(recipe)), f"{parameters} parameters")
