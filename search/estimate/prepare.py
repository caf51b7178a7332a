"""What `--check` knows of a study: as a run of it would begin, with nothing written."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import optuna

from search.callbacks.reporter import Reporter
from search.config import StudyConfig
from search.context import StudyContext, find_images, read_context
from search.estimate.phases import Job
from search.guards import (
    is_finished_elsewhere,
    refuse_what_came_too_late,
    require_same_study,
)
from search.messages import tell_own_images
from search.records.files import StudyFiles
from search.records.models import FINISHED_STATES
from search.refit.confirmation import may_begin_early
from search.refit.schedule import Clock
from search.space.schema import read_space_text
from search.study.locks import require_free
from search.study.objective import Objective
from search.study.storage.opening import look_into_storage
from search.study.storage.supervisor import refuse_held
from search.study.study import find_study, require_place, storage_url
from search.study.trials import count_by_state
from search.system.sqlite import sqlite_path
from search.widening.steps import refuse_half_widened
from search.worker.resources import Resources
from search.worker.tasks import RecipeTrainer, TrainingSite

NO_DEADLINE = 1e12  # seconds left: simulate a run with a timeout that never expires


@dataclasses.dataclass(frozen=True)
class Prepared(StudyContext):
    """A run's context, and the study as the run would find it."""

    study: optuna.Study | None  # as it is in the storage, to be read; None: the run would begin it
    is_finished: bool  # its test set has been opened, here or on another machine

    def objective_with(self, site: TrainingSite) -> Callable[[RecipeTrainer], Objective]:
        """Return what makes the run's objective around a trainer; site: what its trainings have in common."""
        seconds_left = None
        if self.config.timeout is not None:
            seconds_left = NO_DEADLINE

        def objective(trainer: RecipeTrainer) -> Objective:
            return self.objective(trainer, site, lambda: seconds_left)

        return objective

    def job(
        self, search_only: bool, load_seconds: float, gain_of_threads: float, measuring_seconds: float = 0.0
    ) -> Job:
        """Return the run as a job whose cost can be estimated.

        Args:
            search_only: It ends after the search.
            load_seconds: Until its first training starts, longer than others take to start.
            gain_of_threads: See `Job`.
            measuring_seconds: Likewise.
        """
        config = self.config
        n_trials_done = 0
        if self.study is not None:
            counts = count_by_state(self.study)
            for state in FINISHED_STATES:
                n_trials_done += counts.get(state, 0)
        n_students_done = 0 if config.front else len(self.files.read_student_records())
        for point in self.files.read_front():
            n_students_done += len(self.files.of_point(point.name).read_student_records())
        return Job(
            data=self.data,
            n_test_images=self.n_test_images,
            report_every_images=self.space.fidelity.report_every_images,
            workers=self.resources.workers,
            load_seconds=load_seconds,
            gain_of_threads=gain_of_threads,
            n_students=config.refit_seeds,
            n_threads=self.resources.n_threads,
            most_threads=self.resources.most_threads,
            flips=self.space.parameters["flip"].highest,
            begins_early=may_begin_early(config, search_only=search_only),
            search_only=search_only,
            front=config.front,
            timeout=config.timeout,
            measuring_seconds=measuring_seconds,
            n_trials_done=min(config.trials, n_trials_done),
            n_finalists_done=len(self.files.read_confirm_records()),
            n_students_done=n_students_done,
        )


def prepare(
    config: StudyConfig, reporter: Reporter, stop: threading.Event, scratch: Path, resources: Resources
) -> Prepared:
    """Do everything that `run_study` does before it writes, with what it says and refuses.

    Nothing is written but into the folder `scratch`. Raises UserError.
    """
    config = dataclasses.replace(config, tensorboard=None, mlflow=None)  # each makes its folder
    files = StudyFiles(config.folder)
    sqlite_file: Path | None = files.storage
    if config.storage is not None:
        sqlite_file = sqlite_path(config.storage) if config.storage.startswith("sqlite") else None
    require_place(config, files)
    require_free(files, sqlite_file)
    refuse_half_widened(config, files)
    if config.space_path is not None:
        read_space_text(config.space_path)
    storage = look_into_storage(storage_url(config, files), scratch)
    if storage is not None and sqlite_file is None:
        refuse_held(storage, config.study)
    source = find_images(config, reporter, stop)
    context = read_context(config, source, Clock(config.timeout), reporter, stop, resources=resources)
    files = context.files
    files.checksums.restores = False
    study = None if storage is None else find_study(config.study, storage)
    try:
        if config.has_unknown_images:
            tell_own_images(context)
        refuse_what_came_too_late(config, files)
        require_same_study(context, study)
        is_finished = study is not None and is_finished_elsewhere(context, study)
    finally:
        if storage is not None:
            storage.engine.dispose()  # opened again where the study is read
    shared = {field.name: getattr(context, field.name) for field in dataclasses.fields(context)}
    return Prepared(**shared, study=study, is_finished=is_finished or files.has(files.test))
