"""Trainers and studies for tests of the search, which train nothing and start no process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import optuna

from fmnist.training.history import HistoryPoint
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.space.space import SearchSpace
from search.study.loop import run_trials as run_trials_of
from search.study.objective import Objective
from search.study.optuna_private import uncached_storage_of
from search.study.storage.opening import StudyStorage, open_storage
from search.study.strategy import build_rungs
from search.study.study import create_or_resume, storage_url
from search.worker.tasks import RecipeTrainer, TrainingSite, TrainMessage, TrainResult, TrainTask

SITE = TrainingSite(Path("unused"), 128.0, 64.0, 959, memory_limit_mb=None)


def point(n_images: int, accuracy: float) -> HistoryPoint:
    """An evaluation of which only length and accuracy matter."""
    return HistoryPoint(n_images, 0.1, 1e-3, 1.0, 0.5, 0.9, accuracy)


def fake_trainer(accuracy_of: Callable[[TrainTask], float]) -> RecipeTrainer:
    """Reports a rising accuracy at every mark."""

    def train(task: TrainTask) -> Generator[TrainMessage, None, None]:
        accuracy = accuracy_of(task)
        for length in (task.n_planned_images, *task.further_lengths):
            marks = range(task.report_every_images, length + 1, task.report_every_images)
            history = tuple(point(mark, accuracy * (0.9 + 0.1 * mark / length)) for mark in marks)
            yield from history
            yield TrainResult(history, history[-1], history[-1].n_images, 0.1, 0.1, "end", 100.0)

    return train


by_filters = fake_trainer(lambda task: min(0.99, 0.5 + task.recipe.architecture.blocks[0].filters / 100))


def noting(tasks: list[TrainTask], trainer: RecipeTrainer = by_filters) -> RecipeTrainer:
    """Adds each task to a list before it is trained."""

    def train(task: TrainTask) -> Generator[TrainMessage, None, None]:
        tasks.append(task)
        yield from trainer(task)

    return train


def open_study(config: StudyConfig, space: SearchSpace) -> optuna.Study:
    """The study as a run would have it, in its folder's SQLite file."""
    files = StudyFiles(config.folder)
    files.root.mkdir(parents=True, exist_ok=True)
    return create_or_resume(config, space, open_storage(storage_url(config, files)))


def storage_of(study: optuna.Study) -> StudyStorage:
    storage = uncached_storage_of(study)
    assert isinstance(storage, StudyStorage)
    return storage


def run_trials(study: optuna.Study, objective: Callable[[optuna.Trial], float], **more) -> None:
    run_trials_of(study, objective, storage_of(study), **more)


def objective_of(space: SearchSpace, trainer: RecipeTrainer, **more) -> Objective:
    return Objective(space, trainer, SITE, 0, build_rungs("asha", space.fidelity), **more)
