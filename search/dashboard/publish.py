"""What a study shows in Optuna's dashboard: notes and charts of its trials, its own note, the pictures of its report.

What is needed to draw a trial's charts is stored with the trial, before it ends, in a few milliseconds; they are
drawn (a third of a second each) when someone looks at them, so that the search pays for none and every machine that
reaches the storage can show them.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import optuna

from fmnist.paths import shown_path
from fmnist.scoring import Metric
from search.dashboard.artifacts import artifact_entry, artifact_id_of, publish_charts
from search.dashboard.notes import RUNNING, StudySummary, read_note, save_note, study_note, trial_note
from search.format import METRIC_WORDS
from search.records.files import StudyFiles
from search.records.io import atomic_write
from search.results.result import FinishedStudy, TrainedStudy
from search.study.objective import Outcome
from search.study.optuna_private import set_study_system_attr
from search.study.study import metric_of
from search.study.trials import count_by_state, read_best
from search.worker.tasks import Interrupted

MOST_NOTES = 500  # of trials without charts: a dashboard looks through all notes for each trial, 0.1 s for 500
SECONDS_BETWEEN = 60.0  # updates of the study's note while trials end
REPORT_ID = 0  # in place of a trial's id: those begin at 1
REPORT_PICTURES = (
    *("search-history.png", "importance.png", "finalists.png", "learning.png", "confusion-matrix.png"),
    *("reliability.png", "mistakes.png"),
)


class DashboardPublisher:
    """Keeps the notes and charts of one study up to date while a run of it is at work. Thread-safe.

    Args:
        study: the study, in its storage.
        files: its folder.
        n_asked: trials that the study is to have.
        rungs: lengths of a trial's trainings, in images.
    """

    def __init__(self, study: optuna.Study, files: StudyFiles, n_asked: int, rungs: Sequence[int]) -> None:
        self._study = study
        self._files = files
        self._n_asked = n_asked
        self._charts_from = rungs[min(1, len(rungs) - 1)]
        self._lock = threading.Lock()
        self._state = RUNNING
        self._updated = 0.0  # time.monotonic

    def store_trial(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """Store a trial's note, and the charts of one that got far.

        Call it before the trial ends: Optuna takes nothing of a finished one.
        """
        if outcome.got_far:
            publish_charts(trial, outcome.ended)
        if outcome.got_far or trial.number < MOST_NOTES:
            save_note(self._study, trial_note(trial.number, trial.user_attrs.get("origin"), outcome), trial)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Say in the study's note that a run is at work, while the block is; then what the run came to."""
        with warnings.catch_warnings():  # marked experimental since 3.2; the pinned version has it
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            names = [value_in_words(metric_of(self._study)), "log10 of multiply-adds"]
            self._study.set_metric_names(names[: len(self._study.directions)])
        self.set_phase("searching")
        try:
            yield
        finally:
            with suppress(Interrupted), self._lock:  # raised where the storage is away
                mark_finished(self._study, self._files, self._n_asked, self._charts_from)

    def set_phase(self, phase: str) -> None:
        """Say in the study's note at which phase the run is."""
        with self._lock:
            self._state = f"{RUNNING}: {phase}"
            self._write()

    def update(self) -> None:
        """Count the trials in the study's note anew. Not each time that it is called: several may end in a second."""
        with self._lock:
            if time.monotonic() - self._updated > SECONDS_BETWEEN:
                self._write()

    def _write(self) -> None:
        summary = summarize(self._study, self._files, self._state, self._n_asked, self._charts_from)
        save_note(self._study, study_note(summary, None))
        self._updated = time.monotonic()


def value_in_words(metric: Metric) -> str:
    """Name a trial's value, which Optuna's dashboard draws as it is: larger is better."""
    return f"{'negative ' if metric == 'log_loss' else ''}selection {METRIC_WORDS[metric]}"


def summarize(
    study: optuna.Study, files: StudyFiles, state: str, n_asked: int | None = None, charts_from: int | None = None
) -> StudySummary:
    """Read from the storage and the folder how far a study is.

    Args:
        study: the study, in its storage.
        files: its folder.
        state: of the study, in words.
        n_asked: trials that it is to have; None: not known here.
        charts_from: training images of the rung from which trials have charts; None: not known here.
    """
    best = None
    for trial in read_best(study, 1):
        if trial.value is not None:
            best = trial.number, trial.value
    return StudySummary(
        name=study.study_name,
        state=state,
        n_asked=n_asked,
        counts=count_by_state(study),
        best=best,
        command=files.read_command() if files.has(files.command) else None,
        folder=str(shown_path(files.root)),
        machine=socket.gethostname() if files.is_shared else None,
        charts_from=charts_from,
        metric=metric_of(study),
    )


def mark_finished(
    study: optuna.Study, files: StudyFiles, n_asked: int | None = None, charts_from: int | None = None
) -> None:
    """Correct a study's note that says that a run is at work. Call it where none is.

    The arguments are those of `summarize`.
    """
    summary = summarize(study, files, "interrupted", n_asked, charts_from)
    heading = read_note(study).partition("\n")[0]
    if f": {RUNNING}" not in heading:
        return
    if files.has(files.test):
        summary = replace(summary, state="complete")
    elif n_asked is not None and summary.n_ended >= n_asked:
        has_trained = summary.counts["complete"] or summary.counts["pruned"]
        summary = replace(summary, state="searched, test set unopened" if has_trained else "no trial could be trained")
    save_note(study, study_note(summary, None))


def publish_report(study: optuna.Study, result: FinishedStudy | TrainedStudy) -> None:
    """Put the figures of a study at its end into its note, and the report's pictures beside it.

    A study whose report is built again has each of them once.

    Args:
        study: the study, in its storage.
        result: its figures; its report has been written.
    """
    files = result.files
    n_asked = result.test.n_trials_asked if isinstance(result, FinishedStudy) else None
    summary = summarize(study, files, "complete", n_asked)
    save_note(study, study_note(summary, result))
    for i, name in enumerate(REPORT_PICTURES):
        picture = files.report_pictures / name
        if picture.exists():
            with atomic_write(files.artifacts / artifact_id_of(REPORT_ID, i)) as path:
                shutil.copyfile(picture, path)
            set_study_system_attr(study, *artifact_entry(REPORT_ID, i, name))
