"""Trainers, predictors and exporters that train, predict and export nothing, and a final round that uses them."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fmnist.baselines.catalog import BASELINES
from fmnist.data.split import Split, save_split
from fmnist.export.formats import ExportRecord
from fmnist.metrics.robustness import changes
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from fmnist.training.course import Rescheduling
from fmnist.training.history import HistoryPoint
from search.callbacks.base import Callback
from search.records.files import StudyFiles
from search.records.models import DataRecord, TrialRecord
from search.refit.round import FinalRound
from search.refit.schedule import Clock
from search.study.strategy import seed_of
from search.worker.tasks import (
    AverageTask,
    BaselinePredictTask,
    BaselineResult,
    BaselineTask,
    Interrupted,
    PredictorTask,
    Trainer,
    TrainingFailed,
    TrainingSite,
    TrainResult,
    TrainTask,
)

N_EPOCHS = 4


def recipe(filters: int) -> Recipe:
    architecture = Architecture((8, 8, 1), 10, (Block(filters, 1, 3),))
    return Recipe(architecture, TrainingPlan(n_epochs=N_EPOCHS))


def trial(number: int, value: float | None, state: str = "complete", origin: str = "sampler", **more) -> TrialRecord:
    fields = {"recipe": recipe(number + 1).to_dict(), **more}
    return TrialRecord(number, state, value, params={}, origin=origin, reason="", **fields)


SEEDS_OF_STUDENTS = frozenset(seed_of(0, "refit", index) for index in range(8))


def is_student(task: TrainTask) -> bool:
    """Whether it is of a student, or of a retraining in its place."""
    return task.seed in SEEDS_OF_STUDENTS


class FakeTrainer:
    """Scores a recipe by its filters, on the confirmation split as told; remembers its tasks.

    student_accuracy: that of students and retrainings; None: that of their recipe.
    """

    def __init__(
        self, labels: np.ndarray, confirm_accuracy: Callable[[int], float], student_accuracy: float | None = None
    ) -> None:
        self.tasks: list[TrainTask] = []
        self._labels = labels
        self._confirm_accuracy = confirm_accuracy
        self._student_accuracy = student_accuracy

    @property
    def students(self) -> list[TrainTask]:
        """The tasks of students and retrainings."""
        return list(filter(is_student, self.tasks))

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        self.tasks.append(task)
        n_images = task.n_stop_images or task.n_planned_images
        validated = {} if task.fit_on != "train" else {"validation_loss": 0.1, "validation_accuracy": 0.9}
        at_end = HistoryPoint(n_images, 1.0, 0.1, 0.2, 0.9, **validated)
        yield at_end
        if task.save_to is not None:
            with zipfile.ZipFile(task.save_to, "w") as archive:
                archive.writestr("config.json", f"model of seed {task.seed}")
        yield TrainResult(
            history=(at_end,),
            best=at_end if validated else None,
            n_images=n_images,
            seconds=1.0,
            seconds_in_steps=0.9,
            stopped_by="stop point" if task.n_stop_images else "end",
            peak_memory_mb=100.0,
            confirmation_probabilities=self._probabilities(task) if task.score_on_confirmation else None,
        )

    def _probabilities(self, task: TrainTask) -> np.ndarray:
        accuracy = self._confirm_accuracy(filters_of(task))
        if is_student(task) and self._student_accuracy is not None:
            accuracy = self._student_accuracy
        n_right = round(accuracy * len(self._labels))
        predicted = np.where(np.arange(len(self._labels)) < n_right, self._labels, (self._labels + 1) % 10)
        return np.eye(10, dtype=np.float32)[predicted]


def filters_of(task: TrainTask) -> int:
    """What tells the recipes of `recipe` apart."""
    return task.recipe.architecture.blocks[0].filters


class Failing(FakeTrainer):
    """Fails in the tasks for which `failure` says how."""

    failure: Callable[[TrainTask], TrainingFailed | None]

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        failure = self.failure(task)
        if failure is not None:
            self.tasks.append(task)
            raise failure
        yield from super().__call__(task)


def final_round(tmp_path: Path, split: Split, trainer: Trainer, **more) -> FinalRound:
    files = StudyFiles(tmp_path / "study")
    files.root.mkdir(exist_ok=True, parents=True)
    save_split(split, files.split)
    n_images = {"train": len(split.train), "selection": len(split.selection), "confirmation": len(split.confirmation)}
    data = DataRecord("digits", "", {}, tuple("0123456789"), (8, 8, 1), n_images, {}, 1.0, 1.0, "", 0)
    data = replace(data, background=40.0, object_share=1.0, contrast=255.0)
    fields = {
        "files": files,
        "site": TrainingSite(files.split, 1.0, 1.0, len(split.train), None),
        "data": data,
        "study_seed": 0,
        "trainer": trainer,
        "predict": constant,
        "workers": 2,
        "most_threads": 1024,
        "memory_limit_of_each": lambda n_trainings: 8000 / n_trainings,
        "clock": Clock(None),
        "stop": threading.Event(),
        "callback": Callback(),
    }
    return FinalRound(**{**fields, **more})


class CutShort(FakeTrainer):
    """The timeout ends each student after 640 images."""

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        *_, result = super().__call__(task)
        yield replace(result, n_images=640, stopped_by="time limit") if is_student(task) else result


class Rescheduled(FakeTrainer):
    """Each student goes through its schedule in so many images, so that it ends with the timeout."""

    n_images = 640

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        *_, result = super().__call__(task)
        changes = (Rescheduling(320, self.n_images),)
        yield replace(result, n_images=self.n_images, reschedulings=changes) if is_student(task) else result


class FakeFitter:
    """Fits baselines, or raises what it is told to for one of them; remembers its tasks."""

    def __init__(self, errors: dict[str, BaseException] | None = None) -> None:
        self.tasks: list[BaselineTask] = []
        self.errors = errors or {}

    def __call__(self, task: BaselineTask) -> Iterator[HistoryPoint | BaselineResult]:
        self.tasks.append(task)
        yield HistoryPoint(100, 1.0, 0.1, 0.2, 0.9)
        if task.name in self.errors:
            raise self.errors[task.name]
        task.save_to.write_text(f"model of {task.name}")
        yield BaselineResult(1437, 10, 15, 2.5, "trained for 15 epochs", 300.0)

    @property
    def names(self) -> list[str]:
        return [task.name for task in self.tasks]


NAMES = [baseline.name for baseline in BASELINES]


def constant(task: PredictorTask) -> np.ndarray:
    """What a model says that calls everything class 0."""
    assert not isinstance(task, BaselinePredictTask)
    shape = (len(task.images), 10)
    if isinstance(task, AverageTask):
        with zipfile.ZipFile(task.save_to, "w") as archive:
            archive.writestr("config.json", f"average of {[model.name for model in task.models]}")
        return np.zeros(shape, np.float32)
    return np.zeros((len(changes()), *shape) if task.changed else shape, np.float32)


class FakePredictor:
    """Says class 0 of everything, as the constant model does, and of baselines their number; or raises for one."""

    def __init__(self, errors: dict[str, BaseException] | None = None) -> None:
        self.names: list[str] = []  # of baselines
        self.errors = errors or {}

    def __call__(self, task: PredictorTask) -> np.ndarray:
        if not isinstance(task, BaselinePredictTask):
            return constant(task)
        self.names.append(task.name)
        if task.name in self.errors:
            raise self.errors[task.name]
        assert task.model.read_text() == f"model of {task.name}"
        return np.full(len(task.images), NAMES.index(task.name), np.uint8)


def save_constant_model(files: StudyFiles) -> None:
    import keras

    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Dense(10, kernel_initializer="zeros")(keras.layers.Flatten()(inputs))).save(
        files.model
    )


class FakeExporter:
    """Exports by writing a file, or fails as it is told to; remembers what it was asked for."""

    def __init__(self, failures: dict[str, str] | None = None, stop_before: str | None = None) -> None:
        self.asked: list[str] = []  # formats
        self.made: list[str] = []  # files
        self.how: dict[str, object] = {}
        self._failures = failures or {}
        self._stop_before = stop_before

    def __call__(self, model: Path, names: list[str], folder: Path, **how) -> Iterator[ExportRecord]:
        self.asked, self.how = [*self.asked, *names], how
        folder.mkdir(exist_ok=True)
        for name in names:
            if name == self._stop_before:
                raise Interrupted
            n_images = len(how["images"])
            record = ExportRecord(name, f"{model.stem}.{name}", 1.0, how["n_threads"], n_images, model=model.name)
            if name in self._failures:
                yield replace(record, failure=self._failures[name])
            else:
                (folder / record.file).write_text("whole")
                self.made.append(record.file)
                yield replace(record, largest_difference=1e-7, n_same_class=n_images)
