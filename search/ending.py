"""How does a run end, when everything is trained and scored? With exports, the report, and what is told of both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import optuna

from search.context import StudyContext
from search.dashboard.publish import DashboardPublisher, publish_report
from search.messages import announce, tell_result
from search.provenance import command_with_exports
from search.records.files import StudyFiles
from search.records.models import TargetOutcome
from search.refit.exports import (
    calibration_images,
    export_label,
    make_exports,
    missing_exports,
    missing_in_words,
)
from search.report.page import report_study
from search.results.result import FinishedStudy, TrainedStudy
from search.study.backup import keep_trials
from search.system.machine import default_workers
from search.system.option_checks import FRONT_FORMATS
from search.targets.outcome import outcome_in_words, target_outcome
from search.worker.interrupts import Interruptible


def export(context: StudyContext, publisher: DashboardPublisher) -> None:
    """Export the delivered models in the formats that are asked for and missing; the front's in FRONT_FORMATS.

    A format that fails is recorded with its reason, and the others go on. The study's command has them too from then
    on.
    """
    config, files = context.config, context.files
    wanted: list[tuple[StudyFiles, Sequence[str]]] = [(files, config.export)]
    wanted += [(files.of_point(point.name), FRONT_FORMATS) for point in files.read_front()]
    missing: dict[Path, list[str]] = {}  # formats by the model
    for of_model, names in wanted:
        missing.update(missing_exports(of_model, names))
    if missing:
        labels = [export_label(model, name) for model, names in missing.items() for name in names]
        announce(context, publisher, f"exporting {missing_in_words(missing)}", len(labels), labels=labels)
        n_threads = default_workers()
        source, seed = context.source, config.seed
        draw = cache(lambda: calibration_images(source, seed))  # reading all training images takes seconds
        for of_model, names in wanted:
            make_exports(
                of_model, source, seed, names, n_threads, context.stop, context.callback, draw_calibration=draw
            )
        files.write_text(files.command, command_with_exports(files) + "\n")
    if config.has_targets:
        tell_targets(context, is_new=bool(missing))


def tell_targets(context: StudyContext, *, is_new: bool) -> None:
    """Say whether the delivered file keeps to the run's targets.

    is_new: Whether it has just been made, so that it is to be compared with them; else what was found then is said.
    """
    files = context.files
    outcome = None
    if not is_new and files.has(files.target_outcome):
        outcome = files.read_json(TargetOutcome, files.target_outcome)
    if outcome is None or outcome.unmeasured is not None:
        with Interruptible(context.stop):
            outcome = target_outcome(context.config, files, context.stop)
    if outcome is None:
        context.reporter.warn(f"no file as {context.config.target} could be made, so none keeps to its target")
        return
    files.write_json(files.target_outcome, outcome)
    tell = context.reporter.say if outcome.is_kept else context.reporter.warn
    tell(outcome_in_words(outcome))


def report(context: StudyContext, study: optuna.Study) -> FinishedStudy | TrainedStudy:
    """Write the report, publish it to the dashboard, and show what came out."""
    with Interruptible(context.stop):
        keep_trials(context.files, study, is_own=context.config.storage is None)
    result = report_study(context.files, study, Interruptible(context.stop))
    publish_report(study, result)
    tell_result(context, result)
    return result
