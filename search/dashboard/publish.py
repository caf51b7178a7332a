"""What a study shows in Optuna's dashboard: a note and pictures of each trial, a note and the report's of its own.

What is needed to draw a trial's pictures is stored with the trial, before it ends, in a few milliseconds; they are
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

from search.dashboard.artifacts import artifact_id_of, entry, publish_pictures
from search.dashboard.notes import RUNNING, StudySummary, read_note, save_note, study_note, trial_note
from search.records.files import StudyFiles
from search.records.io import atomic_write
from search.results import FinishedStudy
from search.study.objective import Outcome
from search.study.optuna_private import set_study_system_attr
from search.study.trials import count_by_state, read_best
from search.worker.tasks import Interrupted

MOST_NOTES = 500  # of trials without pictures: a dashboard looks through all notes for each trial, 0.1 s for 500
SECONDS_BETWEEN = 60.0  # updates of the study's note while trials end
REPORT_ID = 0  # in place of a trial's id: those begin at 1
REPORT_PICTURES = (
    *("search-history.png", "importance.png", "finalists.png", "learning.png", "confusion-matrix.png"),
    *("reliability.png", "mistakes.png"),
)


class DashboardPublisher:
    """Keeps notes and pictures of one study while a run of it is at work. Thread-safe."""

    def __init__(self, study: optuna.Study, files: StudyFiles, n_asked: int, rungs: Sequence[int]) -> None:
        """n_asked: trials in the study. rungs: of its trials, in images."""
        self._study = study
        self._files = files
        self._n_asked = n_asked
        self._pictures_from = rungs[min(1, len(rungs) - 1)]
        self._lock = threading.Lock()
        self._state = RUNNING
        self._updated = 0.0  # time.monotonic

    def store_trial(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """Call it before the trial ends: Optuna takes nothing of a finished one."""
        if outcome.got_far:
            publish_pictures(trial, outcome.ended)
        if outcome.got_far or trial.number < MOST_NOTES:
            save_note(self._study, trial_note(trial.number, trial.user_attrs.get("origin"), outcome), trial)

    @contextmanager
    def open(self) -> Iterator[None]:
        """The study's note says that a run is at work, while the block is; then what it came to."""
        with warnings.catch_warnings():  # marked experimental since 3.2; the pinned version has it
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names(["selection accuracy"])
        self.set_phase("searching")
        try:
            yield
        finally:
            with suppress(Interrupted), self._lock:  # raised where the storage is away
                mark_finished(self._study, self._files, self._n_asked, self._pictures_from)

    def set_phase(self, phase: str) -> None:
        """The run is at this phase now."""
        with self._lock:
            self._state = f"{RUNNING}: {phase}"
            self._write()

    def update(self) -> None:
        """Trials have ended. Not each time: there may be several in a second."""
        with self._lock:
            if time.monotonic() - self._updated > SECONDS_BETWEEN:
                self._write()

    def _write(self) -> None:
        standing = standing_of(self._study, self._files, self._state, self._n_asked, self._pictures_from)
        save_note(self._study, study_note(standing, None))
        self._updated = time.monotonic()


# --------------------------------------------------------------------------------------------------------- study's note


def standing_of(
    study: optuna.Study, files: StudyFiles, state: str, n_asked: int | None = None, pictures_from: int | None = None
) -> StudySummary:
    best = read_best(study, 1)
    return StudySummary(
        name=study.study_name,
        state=state,
        n_asked=n_asked,
        counts=count_by_state(study),
        best=(best[0].number, best[0].value) if best else None,
        command=files.read_command() if files.command.exists() else None,
        folder=str(files.root),
        machine=socket.gethostname() if files.is_shared else None,
        pictures_from=pictures_from,
    )


def mark_finished(
    study: optuna.Study, files: StudyFiles, n_asked: int | None = None, pictures_from: int | None = None
) -> None:
    """Where the study's note says that a run is at work, it does not any more. Call it where this machine has none.
    Other machines' runs are left to tell of themselves."""
    standing = standing_of(study, files, "interrupted", n_asked, pictures_from)
    if f": {RUNNING}" not in read_note(study).partition("\n")[0]:
        return
    if standing.machine is not None and (standing.counts["running"] or "final_round" in study.user_attrs):
        return
    n_ended = sum(n for state, n in standing.counts.items() if state not in ("running", "waiting"))
    if files.test.exists():
        standing = replace(standing, state="complete")
    elif n_asked is not None and n_ended >= n_asked:
        standing = replace(standing, state="searched, test set unopened")
    save_note(study, study_note(standing, None))


def publish_report(study: optuna.Study, study_result: FinishedStudy) -> None:
    """The note with the figures of a study that has come to its end, and the report's pictures."""
    files = study_result.files
    standing = standing_of(study, files, "complete", study_result.test.n_trials_asked)
    save_note(study, study_note(standing, study_result))
    for i, name in enumerate(REPORT_PICTURES):
        if (picture := files.report_pictures / name).exists():
            with atomic_write(files.artifacts / artifact_id_of(REPORT_ID, i)) as path:
                shutil.copyfile(picture, path)
            set_study_system_attr(study, *entry(REPORT_ID, i, name))


# ------------------------------------------------------------------------------------------------------------- pictures
