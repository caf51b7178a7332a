"""What `--check` knows of a study: as a run of it would begin, with nothing written."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import optuna

from search.callbacks.reporter import Reporter
from search.config import StudyConfig
from search.context import StudyContext, find_images, read_context
from search.guards import is_finished_elsewhere, refuse_what_came_too_late, require_own_storage
from search.messages import tell_own_images
from search.records.files import StudyFiles
from search.refit.schedule import Clock
from search.space.schema import read_space_text
from search.study.locks import require_free
from search.study.storage import look_into_storage
from search.study.study import find_study, require_identity, storage_url


@dataclasses.dataclass(frozen=True)
class Prepared(StudyContext):
    """A run's context, and the study as the run would find it."""

    study: optuna.Study | None  # as it is in the storage, to be read; None: the run would begin it
    is_finished: bool  # its test set has been opened, here or on another machine


def prepare(config: StudyConfig, reporter: Reporter, stop: threading.Event, scratch: Path) -> Prepared:
    """Do everything that `run_study` does before it writes, with what it says and refuses.

    Nothing is written but into the folder `scratch`. Raises UserError.
    """
    config = dataclasses.replace(config, tensorboard=None, mlflow=None)  # each makes its folder
    files = StudyFiles(config.folder)
    sqlite_file: Path | None = files.storage
    if config.storage is not None:
        is_sqlite = config.storage.startswith("sqlite:///")
        sqlite_file = Path(config.storage.removeprefix("sqlite:///")) if is_sqlite else None
    require_free(files, sqlite_file)
    if config.space_path is not None:
        read_space_text(config.space_path)
    storage = look_into_storage(storage_url(config, files), scratch)
    source = find_images(config, reporter, stop)
    context = read_context(config, source, Clock(config.timeout), reporter, stop)
    study = None if storage is None else find_study(config.study, storage)
    try:
        if not config.is_named_data:
            tell_own_images(context)
        refuse_what_came_too_late(config, files)
        require_identity(files, study, context.identity)
        require_own_storage(config, files)
        is_finished = study is not None and is_finished_elsewhere(context, study)
    finally:
        if storage is not None:
            storage.engine.dispose()  # opened again where the study is read
    shared = {field.name: getattr(context, field.name) for field in dataclasses.fields(context)}
    return Prepared(**shared, study=study, is_finished=is_finished or files.test.exists())
