"""The whole of a run, phase by phase: prepare, search, confirm, refit, evaluate, export, report.

Each phase is a function of the `StudyContext`, which is fixed before the first of them, and of what the phases before
gave: the study that this run holds (`OpenStudy`), where its trainings run (`FinalRound`), the winner. A phase does what
the study lacks: a run that was killed goes on where it ended, and repeats at most the trainings that were under way.
"""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial

import optuna

from fmnist.baselines.catalog import BASELINES
from fmnist.data.source import DataSource
from fmnist.data.split import save_split
from fmnist.output import open_descriptors
from fmnist.values import require
from search.arguments import require_callbacks, require_config, require_reporter, require_source, require_stop
from search.callbacks.base import Callback
from search.callbacks.reporter import Reporter
from search.cluster.place import StartWorkers, place_of
from search.config import StudyConfig
from search.context import StudyContext, default_settings, find_images, read_context, write_beginnings
from search.dashboard.beside import beside_run
from search.dashboard.publish import DashboardPublisher
from search.ending import export, report
from search.format import with_noun
from search.front.phases import confirm_front, refit_front
from search.guards import (
    is_finished_elsewhere,
    machine_name,
    opened_elsewhere,
    refuse_what_came_too_late,
    refuse_what_needs_test_images,
    require_same_study,
    require_trials,
    share_opened_test,
    trials_to_search,
)
from search.messages import (
    announce,
    progress_of,
    tell_own_images,
    tell_rebuild,
    tell_search_result,
    tell_search_start,
)
from search.provenance import describe_environment
from search.records.files import StudyFiles
from search.records.history_csv import write_history
from search.records.ledger import Stopwatch
from search.records.models import ConfirmRecord
from search.refit.baselines import fit_baselines, missing_baselines
from search.refit.confirmation import (
    EarlyConfirmation,
    confirm,
    finalists_of_search,
    may_begin_early,
    n_confirmed,
    plan_confirmations,
)
from search.refit.ensemble import build_ensemble, finished_students, kind_of_students
from search.refit.evaluation import evaluate
from search.refit.finalists import nothing_to_confirm, sure_finalists
from search.refit.retraining import deliver, refit, students_have_time
from search.refit.round import FinalRound
from search.refit.schedule import Clock
from search.results.reading import read_study
from search.results.result import StudyResult
from search.study.backup import keep_trials
from search.study.locks import hold, hold_storage
from search.study.loop import require_a_trial, run_trials
from search.study.storage.opening import StudyStorage, open_storage
from search.study.storage.retry import RetryPolicy
from search.study.study import (
    check_identity,
    create_or_resume,
    find_study,
    noticing_deletion,
    require_identity,
    require_place,
    storage_url,
)
from search.study.trials import read_trials
from search.widening.steps import finish_widening, widen
from search.worker.interrupts import Interruptible, holding_interrupts
from search.worker.local import WorkerProcesses
from search.worker.tasks import Interrupted


def run_study(
    config: StudyConfig,
    terminal: Reporter | None = None,
    stop: threading.Event | None = None,
    *,
    search_only: bool = False,
    callbacks: Sequence[Callback] = (),
    source: DataSource | None = None,
    worker_processes: StartWorkers = WorkerProcesses,
) -> StudyResult:
    """Do whatever the study still lacks, as `python -m search.run` does.

    Nothing is printed unless a `terminal` is passed, and what the caller has set is as before afterwards: logging,
    warnings, environment, and what handles Ctrl-C.

    Ctrl-C, or a notebook's stop button, ends the run within seconds: trainings stop, and everything finished is kept
    for the next run. Where the call is not in the main thread, which alone receives signals, set `stop`.

    Args:
        config: the study's options.
        terminal: shows the run: `Terminal()`, in a terminal and in a notebook; None: nothing is shown.
        stop: set it, from another thread, to end the run as Ctrl-C does.
        search_only: end after the search, so that the study can still grow.
        callbacks: are called in every training.
        source: the images, in place of those that config.dataset names; see `fmnist.data.arrays.memory`.
        worker_processes: starts what trains; tests pass processes that train nothing.

    Returns:
        A `FinishedStudy`, whose properties are the figures of its report; a `TrainedStudy` of a source without test
        images. With search_only, and where another machine has finished the study, a `StudyResult` of the trials
        alone.

    Raises:
        UserError: the input cannot be used.
        SearchStopped: trials fail again and again for the same reason, or all have failed.
        TrainingFailed: every finalist's training failed, or a student's met a bug.
        KeyboardInterrupt: Ctrl-C was pressed; or what the caller's own handler of SIGINT raises.
        Interrupted: `stop` was set.
    """
    config, reporter, stop = require_config(config), require_reporter(terminal), require_stop(stop)
    callbacks, search_only = require_callbacks(callbacks), require(bool, search_only, "search_only")
    if source is not None:
        config = dataclasses.replace(config, dataset=require_source(source).dataset)
    clock = Clock(config.timeout, search_only=search_only)
    require_place(config, StudyFiles(config.folder))
    with open_descriptors(), holding_interrupts(stop) as asked, reporter, default_settings(), ExitStack() as opened:
        with Interruptible(asked):
            source = source or find_images(config, reporter, asked)
            refuse_what_needs_test_images(config, source)
            if config.storage is not None:  # before anything is written: it may not answer
                open_storage(config.storage).engine.dispose()
            place = opened.enter_context(place_of(config, reporter, worker_processes))
            context = read_context(config, source, clock, reporter, asked, callbacks, place.resources)
        with hold(context.files), open_study(context, place.start_workers) as study:
            return run_phases(context, study, search_only)


@dataclasses.dataclass(frozen=True)
class OpenStudy:
    """A study that is held by this run, ready for its phases."""

    study: optuna.Study
    storage: StudyStorage
    publisher: DashboardPublisher
    workers: WorkerProcesses | None  # None: the test set has been opened, so nothing is left to train


def run_phases(context: StudyContext, opened: OpenStudy, search_only: bool) -> StudyResult:
    """Run the phases that the study lacks, from the search to the report, or to the search's end with search_only."""
    study, files = opened.study, context.files
    if is_finished_elsewhere(context, study):
        return read_study(files, read_trials(study))
    if context.mlflow is not None:
        context.mlflow.add_missing(study, context.stop)
    if files.is_shared:
        study.set_user_attr(
            f"supervisor {machine_name(files)}", describe_environment(context.config, context.resources)
        )
    with opened.publisher.open(), dashboard_of(context):
        if opened.workers is not None:
            train(context, opened, opened.workers, search_only=search_only)
        if search_only:
            tell_search_result(context, progress_of(context, study))
            return read_study(files, read_trials(study))
        share_opened_test(context, study)
        if not files.has(files.model) and files.has(files.refit_model(0)):
            deliver(files)
        export(context, opened.publisher)
        return report(context, study)


def train(context: StudyContext, opened: OpenStudy, workers: WorkerProcesses, *, search_only: bool) -> None:
    """Search, confirm, refit and evaluate; with search_only, search.

    The images that training processes map are on disk while it lasts.
    """
    config, files = context.config, context.files
    if config.has_targets:
        context = context.aimed()
        context.clock.begin_search()
    final = context.final_round(workers)
    try:
        with Interruptible(context.stop):
            save_split(context.split, files.split)
        n_trials = config.trials if search_only else trials_to_search(config, files, opened.study)
        with EarlyConfirmation(final) as early:
            begins_early = may_begin_early(config, search_only=search_only)
            search(context, opened, final, early if begins_early else None, n_trials)
            if not search_only:
                finish(context, opened, final, early)
    finally:
        if files.split.exists():
            shutil.rmtree(files.split)


def finish(context: StudyContext, opened: OpenStudy, final: FinalRound, early: EarlyConfirmation) -> None:
    """Confirm, refit and, where there are test images, evaluate.

    early: has confirmed some finalists already, beside the end of the search.
    """
    config, files, study = context.config, context.files, opened.study
    winner = confirm_finalists(context, opened, final, early)
    refit_winner(context, opened, final, winner)
    if context.source.has_test:
        announce(context, opened.publisher, "opening the test set")
        # The storage refuses a run that has lost its study in an outage: then nothing of the test is kept or shown.
        evaluate(final, context.source, config.trials, lambda: opened_elsewhere(config, files, study))
        share_opened_test(context, study)


@contextmanager
def open_study(context: StudyContext, worker_processes: StartWorkers) -> Iterator[OpenStudy]:
    """Hold the study's storage while the block runs, with the study created or resumed in it.

    What is refused leaves nothing in the study's folder by which its correction would be refused, too.

    Raises:
        UserError: the study was made with something else, takes no more of what was asked for, or has lost its trials.
    """
    config, files, identity = context.config, context.files, context.identity
    if config.has_unknown_images:
        tell_own_images(context)
    refuse_what_came_too_late(config, files)
    is_tested = files.has(files.test)
    if is_tested:
        tell_rebuild(context)
    finish_widening(config, files)
    widening = require_same_study(context)
    storage = open_storage(storage_url(config, files))
    storage.retry_policy = RetryPolicy(context.reporter.warn, context.stop)
    workers = None
    with hold_storage(storage, config) as claim:
        storage.hold_trials()
        try:
            require_identity(files, find_study(config.study, storage), widening.identity if widening else identity)
            files.begin_checksums()
            if widening is not None:
                context.reporter.say(widen(config, files, storage, widening, context.space_text))
            check_identity(files, identity)
            files.remove_half_written()
            if not is_tested:  # they load for seconds, beside what comes here until the first trial
                workers = worker_processes(files.worker_log, context.stop)
            write_beginnings(context)
            with Interruptible(context.stop):  # a large study takes seconds to read
                study = create_or_resume(config, context.space, storage, identity, claim)
            require_trials(config, files, study)
            publisher = DashboardPublisher(study, files, config.trials, context.rungs)
            with noticing_deletion(config.study, storage):
                yield OpenStudy(study, storage, publisher, workers)
        finally:  # whoever called from Python may go on for long
            if workers is not None:
                workers.close()
            storage.remove_session()
            storage.engine.dispose()


def dashboard_of(context: StudyContext) -> AbstractContextManager[None]:
    """The dashboard beside the run, if it was asked for."""
    if not context.config.dashboard:
        return nullcontext()
    return beside_run(context.files, context.config.storage, context.reporter.warn)


def search(
    context: StudyContext, opened: OpenStudy, final: FinalRound, early: EarlyConfirmation | None, n_trials: int
) -> None:
    """Run the trials that are missing, and write the table of all however that ends. For arguments see `run_search`."""
    config, study, reporter = context.config, opened.study, context.reporter
    try:
        progress = progress_of(context, study)
        if progress.n_finished >= n_trials:
            require_a_trial(study)
            reporter.say(f"the search is {'complete' if n_trials == config.trials else 'over'}: {progress}")
        else:
            tell_search_start(context, progress, n_trials)
            run_search(context, opened, final, early, n_trials)
            require_a_trial(study)
    finally:
        with suppress(Interrupted):  # the storage is away too
            write_history(context.files, read_trials(study))
            keep_trials(context.files, study, is_own=config.storage is None)
    if context.mlflow is not None:
        context.mlflow.add_missing(study, context.stop)


def run_search(
    context: StudyContext, opened: OpenStudy, final: FinalRound, early: EarlyConfirmation | None, n_trials: int
) -> None:
    """Run trials until the study has n_trials, or the timeout leaves no time for more.

    early: takes the workers for which no trial is left; None: they wait.

    Raises:
        SearchStopped: trials fail again and again for the same reason.
        Interrupted: the run is to stop.
    """
    stopwatch = Stopwatch(context.files, "search", context.resources.workers)

    def seconds_left() -> float | None:
        return context.clock.seconds_left_for_search()

    def after_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        stopwatch.lap()
        if context.mlflow is not None:
            context.mlflow.add(study, trial)
        context.reporter.advance(progress_of(context, study))
        opened.publisher.update()

    def when_idle() -> None:
        if early is not None:
            early.begin_one(sure_finalists(read_trials(opened.study), context.space.fidelity.accuracy_per_doubling))

    run_trials(
        opened.study,
        context.objective(
            final.trainer,
            final.site,
            seconds_left,
            callback=context.callback,
            keep=opened.publisher.store_trial,
            stop=context.stop,
        ),
        opened.storage,
        n_trials=n_trials,
        n_jobs=context.resources.most_workers,
        room=nullcontext if opened.workers is None else opened.workers.room,
        stop=context.stop,
        timeout=lambda: seconds_left() == 0,
        after_trial=after_trial,
        when_idle=when_idle,
        say=context.reporter.warn,
    )
    if early is not None:
        early.search_has_ended()


def confirm_finalists(
    context: StudyContext, opened: OpenStudy, final: FinalRound, early: EarlyConfirmation
) -> ConfirmRecord:
    """Confirm the finalists on the split that no trial has seen.

    Returns:
        The winner's record.

    Raises:
        UserError: no trial came far enough to be confirmed.
        TrainingFailed: every finalist's training failed.
    """
    config = context.config
    trials = read_trials(opened.study)
    if config.front:
        return confirm_front(final, trials, config, context.n_test_images, partial(announce, context, opened.publisher))
    by_number = finalists_of_search(final, trials, context.space.fidelity, against_time=config.timeout is not None)
    is_any_trained = any(finalist.images_per_second for finalists in by_number for finalist in finalists)
    if not by_number or (config.timeout is not None and not is_any_trained):
        raise nothing_to_confirm(trials, config.trials, config.timeout)
    announce(context, opened.publisher, "planning the full trainings")
    plan = plan_confirmations(final, by_number, config.refit_seeds, context.n_test_images)
    finalists = by_number[plan.n_finalists - 1]
    n, n_done = len(finalists), n_confirmed(final, finalists)
    announce(context, opened.publisher, f"training {with_noun(n, 'finalist')}", n, n_done)
    substitutes = [finalist for finalist in by_number[-1][:2] if finalist not in finalists]
    return confirm(final, finalists, plan, early, substitutes)[0]


def refit_winner(context: StudyContext, opened: OpenStudy, final: FinalRound, winner: ConfirmRecord) -> None:
    """Train the winner's recipe again, deliver the better, build the ensemble, and fit the baselines asked for."""
    n_seeds = context.config.refit_seeds
    if context.config.front:
        winner = refit_front(final, winner, n_seeds, partial(announce, context, opened.publisher))
    else:
        n_done = min(n_seeds, len(finished_students(final.files, winner.trial)))
        if n_done == n_seeds or students_have_time(final, winner, n_seeds):
            phase = f"training {with_noun(n_seeds, kind_of_students(final, winner))} by trial {winner.trial}'s recipe"
            announce(context, opened.publisher, phase, n_seeds, n_done)
        refit(final, winner, n_seeds)
    announce(context, opened.publisher, "choosing the ensemble")
    build_ensemble(final, winner)
    if context.config.baselines:
        n = len(BASELINES)
        n_done = n - len(missing_baselines(context.files))
        names = [baseline.name for baseline in BASELINES]
        announce(context, opened.publisher, f"fitting {n} baselines", n, n_done, names)
        fit_baselines(final)
