"""What a run says to the person who started it, at the beginning and at the end of its phases."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

import optuna

from fmnist.metrics.intervals import wilson_95
from fmnist.output import printable
from fmnist.paths import as_word, shown_path
from fmnist.recipe import Recipe
from fmnist.scoring import shown_value
from search.callbacks.reporter import DETAIL, BestTrial, FinalistRow, SearchProgress, known
from search.config import StudyConfig
from search.context import StudyContext
from search.dashboard.beside import dashboard_command
from search.dashboard.publish import DashboardPublisher
from search.format import METRIC_WORDS, list_names, shown_score, with_noun
from search.provenance import describe_environment
from search.records.models import EvaluationRecord
from search.report.charts.fonts import fonts_for
from search.report.text.data import describe_duplicates, uneven_classes
from search.report.text.delivery import trainings
from search.results.balance import balance_of
from search.results.members import averaged_in_words, score_interval
from search.results.result import FinishedStudy, TrainedStudy
from search.study.trials import count_by_state, read_best
from search.worker.tasks import Interrupted

MIRRORED = "training mirrors images left-right, as --flip says"
NOT_MIRRORED = (
    "training does not mirror images: pass --flip where a mirror image still shows its class, as most photographs do, "
    "and digits, letters and signs do not"
)

RARE_CLASSES = (
    "a model that never finds the rarest class hardly loses accuracy: where it has to be found, pass --metric "
    "balanced_accuracy, with a new --study NAME; then every class counts the same in all choices and losses"
)


def announce(
    context: StudyContext,
    publisher: DashboardPublisher,
    phase: str,
    n_total: int = 0,
    n_done: int = 0,
    labels: Sequence[str] = (),
) -> None:
    """Begin a phase, in the terminal and in the dashboard; see `Reporter.begin`.

    Raises:
        Interrupted: the run is to stop.
    """
    if context.stop.is_set():
        raise Interrupted
    context.reporter.say(phase)
    context.reporter.begin(phase, n_total, n_done, counts_trainings=True, labels=labels)
    publisher.set_phase(phase)


def tell_own_images(context: StudyContext) -> None:
    """Say what was found, decided and noticed about images that no space file ships for, before hours go by."""
    data, config = context.data, context.config
    height, width, channels = data.image_shape
    colour = "grey" if channels == 1 else "in colour"
    n_test = f"{context.n_test_images:,}" if data.has_test else "no"
    notes = [
        f"{printable(data.dataset)}: {len(data.class_names)} classes ({list_names(data.class_names)}), "
        f"{sum(data.n_images.values()):,} training images and "
        f"{n_test} test images of {height} x {width} pixels, {colour}",
        *data.notes,
    ]
    if data.duplicates is not None:
        notes += describe_duplicates(data.duplicates)
    balance = balance_of(data)
    if balance.is_uneven:
        notes.append(uneven_classes(balance, config.metric))
    if balance.is_very_uneven and config.metric == "accuracy":
        notes.append(RARE_CLASSES)
    if config.space_path is None:
        notes.append(in_words_of_mirroring(config))
    for note in notes:
        context.reporter.say(note)


def in_words_of_mirroring(config: StudyConfig) -> str:
    """Say whether training mirrors images, and why."""
    if config.flip:
        return MIRRORED
    if config.mirrors:
        return f"training mirrors images left-right, as a mirror image still shows its class in {config.dataset}"
    if config.is_named_data:
        return f"training does not mirror images, as a mirror image may show something else in {config.dataset}"
    return NOT_MIRRORED


def tell_rebuild(context: StudyContext) -> None:
    """Say that the study is finished, and that no students or retrainings are added to those that it has."""
    config, files = context.config, context.files
    opened = files.read_json(EvaluationRecord, files.test).opened
    context.reporter.say(f"study {config.study} is finished (test set opened {opened}): rebuilding its report")
    students = files.read_student_records()
    if not students:  # made before version 0.7.0
        students = [record for record in files.read_refit_records() if record.fit_on == "together"]
    made = with_noun(len(students), students[0].kind) if students else "no students"
    if config.refit_seeds > len(students):
        context.reporter.say(f"it has {made}: --refit-seeds {config.refit_seeds} adds none to a finished study")


def tell_finished_elsewhere(context: StudyContext, place: str, opened: str) -> None:
    """Say where the model and report of a study are that another machine has finished. opened: its test set, when."""
    text = f"study {context.config.study} is finished: its model and report are at {place} (test set opened {opened})"
    if context.config.export:
        text += "; it is exported there"
    context.reporter.say(text)


def progress_of(context: StudyContext, study: optuna.Study) -> SearchProgress:
    """Read from the storage how far the search is."""
    seconds_left = context.clock.seconds_left_for_search()
    counts = count_by_state(study)
    best = next(iter(read_best(study, 1)), None)
    if best is None or best.value is None or best.recipe is None:
        return SearchProgress(counts, None, seconds_left)
    n_selection = context.data.n_images["selection"]
    accuracy, score = best.value, None
    if context.config.metric != "accuracy" and best.best is not None and best.best.validation_accuracy is not None:
        accuracy, score = best.best.validation_accuracy, best.value
    interval = wilson_95(round(accuracy * n_selection), n_selection)
    network = str(Recipe.from_dict(best.recipe))
    return SearchProgress(counts, BestTrial(best.number, accuracy, interval, network, score), seconds_left)


def tell_search_start(context: StudyContext, progress: SearchProgress, n_trials: int) -> None:
    """Say where the study is, what it takes over from an older one, how far it is and, in detail, what it runs with."""
    config = context.config
    shown_by = dashboard_command(context.files, config.storage)
    context.reporter.say(f"study {config.study} in {shown_path(context.files.root)}; dashboard: {shown_by}")
    for note in context.start_notes:
        context.reporter.say(note)
    site = context.site(context.files.split)
    rungs = ", ".join(f"{n:,}" for n in context.rungs)
    machine = ", ".join(f"{name} {value}" for name, value in describe_environment(config, context.resources).items())
    memory = "" if site.memory_limit_mb is None else f", each up to {site.memory_limit_mb:,.0f} MB"
    for text in (
        f"rungs: {rungs} training images; sampler {config.sampler}, pruner {config.pruner}, seed {config.seed}",
        f"{context.resources.workers} workers of {site.n_threads} threads{memory}; "
        f"TensorFlow's own words: {shown_path(context.files.worker_log)}",
        machine,
    ):
        context.reporter.say(text, DETAIL)
    context.reporter.begin("trials", n_trials, progress.n_finished, progress)


def tell_search_result(context: StudyContext, progress: SearchProgress) -> None:
    """Show what a run came to that ends after the search."""
    best, text, figures = progress.best, f"the search is complete: {progress}", None
    if best is not None:
        shown = f"{best.accuracy:.2%}"
        if best.score is not None:
            shown = f"{METRIC_WORDS[context.config.metric]} {shown_score(context.config.metric, best.score)}"
        text += f"; best {shown}, trial {best.number}: {best.network}"
        figures = known(dataclasses.asdict(best))
    context.reporter.show_result(
        text,
        {"trials": dict(progress.counts), "best": figures},
        {
            "next": "the same run without --search-only (search_only in Python) trains finalists and students and "
            "opens the test set",
            "dashboard": dashboard_command(context.files, context.config.storage),
        },
    )


def tell_result(context: StudyContext, result: FinishedStudy | TrainedStudy) -> None:
    """Show the finalists and the figures of a study at its end, and where its model and report are."""
    rows = [
        FinalistRow(
            trial=record.trial,
            origin=record.origin,
            search_accuracy=record.search_accuracy,
            confirm_accuracy=record.confirm_accuracy,
            interval=score_interval(result, record),
            network=str(Recipe.from_dict(record.recipe)),
            is_winner=record.trial == result.winner.trial,
            search_score=record.search_score,
            confirm_score=record.confirm_score,
        )
        for record in result.confirmed
    ]
    note = fonts_for(result.data.class_names).note()
    if note is not None:
        context.reporter.warn(note)
    context.reporter.show_finalists(rows)
    files = context.files
    places = {"report": str(shown_path(files.report_html)), "model": str(shown_path(files.model))}
    if result.ensemble is not None:
        places["ensemble"] = str(shown_path(files.ensemble))
    if isinstance(result, FinishedStudy) and result.front:
        places["front"] = str(shown_path(files.front))
    context.reporter.show_result(
        *(tested_in_figures(result) if isinstance(result, FinishedStudy) else confirmed_in_figures(result)),
        {
            **places,
            "dashboard": dashboard_command(files, context.config.storage),
            "predict": shlex.join(["python", "-m", "fmnist.predict", as_word(shown_path(files.model)), "IMAGE"]),
        },
    )


def tested_in_figures(result: FinishedStudy) -> tuple[str, dict[str, Any]]:
    """Say the test accuracy, and give it by the keys that programs know."""
    interval, of_ensemble = result.test_interval, result.ensemble_interval
    of = f"{'mean of ' if len(result.test_accuracies) > 1 else ''}{trainings(result)}"
    return (
        f"{score_in_words(result)}test accuracy {result.test_mean:.2%}, {of}, 95 % interval {interval.low:.2%} to "
        f"{interval.high:.2%}{ensemble_in_words(result)}{front_in_words(result)}",
        {
            "test_accuracy": result.test_mean,
            "test_accuracies": list(result.test_accuracies),
            "test_wilson_95": [interval.low, interval.high],
            "trial": result.winner.trial,
            "ensemble_test_accuracy": result.ensemble_accuracy,
            "ensemble_test_wilson_95": None if of_ensemble is None else [of_ensemble.low, of_ensemble.high],
            **front_figures(result),
            **score_figures(result),
        },
    )


def confirmed_in_figures(result: TrainedStudy) -> tuple[str, dict[str, Any]]:
    """Say the confirmation accuracy of a study without test images, and give it by the keys that programs know."""
    n_images, score = result.data.n_images["confirmation"], ""
    figures = {"confirm_accuracy": result.confirm_accuracy, "trial": result.winner.trial}
    if result.metric != "accuracy":
        score = f"{METRIC_WORDS[result.metric]} {shown_score(result.metric, result.confirm_score)}, "
        figures |= {"metric": result.metric, "confirm_score": result.confirm_score}
    return f"no test images; confirmation {score}accuracy {result.confirm_accuracy:.2%} of {n_images:,} images", figures


def ensemble_in_words(result: FinishedStudy) -> str:
    """Say how good the ensemble is, as the end of a line; empty where the study has none."""
    if result.ensemble is None or result.ensemble_interval is None:
        return ""
    interval, averaged = result.ensemble_interval, averaged_in_words(result.ensemble)
    return (
        f"; ensemble of {averaged} {result.ensemble_accuracy:.2%}, 95 % interval {interval.low:.2%} to "
        f"{interval.high:.2%}"
    )


def front_in_words(result: FinishedStudy) -> str:
    """Say which networks the front has, as the end of a line; empty where the study has none."""
    if not result.front:
        return ""
    said = [f"{point.name} {point.test_accuracy:.2%}" for point in result.front]
    return f"; front by weights: {', '.join(said)}"


def front_figures(result: FinishedStudy) -> dict[str, Any]:
    """The front as JSON values, the cheapest network first; none where the study has no front."""
    if not result.front:
        return {}
    rows = []
    for point in result.front:
        counted = {"n_parameters": point.record.n_parameters, "multiply_adds": point.record.multiply_adds}
        rows.append({"name": point.name, **counted, "test_accuracy": point.test_accuracy})
    return {"front": rows}


def score_in_words(result: FinishedStudy) -> str:
    """Say how good what is delivered is by the study's metric, as the beginning of a line; empty for accuracy."""
    metric = result.metric
    if metric == "accuracy":
        return ""
    ends = (result.test_score_interval.low, result.test_score_interval.high)
    low, high = sorted(ends, key=lambda score: shown_value(metric, score))
    of_ensemble = ""
    if result.ensemble_score is not None:
        of_ensemble = f", ensemble {shown_score(metric, result.ensemble_score)}"
    return (
        f"test {METRIC_WORDS[metric]} {shown_score(metric, result.test_score)}, 95 % interval of the delivered model "
        f"{shown_score(metric, low)} to {shown_score(metric, high)}{of_ensemble}; "
    )


def score_figures(result: FinishedStudy) -> dict[str, Any]:
    """The same as JSON values, larger is better; none for accuracy."""
    if result.metric == "accuracy":
        return {}
    interval = result.test_score_interval
    return {
        "metric": result.metric,
        "test_score": result.test_score,
        "test_scores": list(result.test_scores),
        "delivered_score_95": [interval.low, interval.high],
        "ensemble_test_score": result.ensemble_score,
    }
