"""What goes between a supervisor and its training processes: tasks, messages and failures; no Keras here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.recipe import Recipe
from fmnist.scoring import ClassWeights, Metric
from fmnist.training.course import Rescheduling
from fmnist.training.history import HistoryPoint

MAX_LOSSES = 3  # a training that was under way when so many runs, or nodes, died is taken for the cause


@dataclass(frozen=True)
class TrainTask:
    """Everything that one training needs; or several of one recipe, one after another."""

    recipe: Recipe
    seed: int
    split_folder: Path  # written by fmnist.data.split.save_split
    pixel_mean: float  # of the training split, 0 to 255
    pixel_std: float
    n_planned_images: int  # length of the schedule
    report_every_images: int
    further_lengths: tuple[int, ...] = ()  # of trainings after it, each from new weights, same seed
    n_stop_images: int | None = None  # stop here, the schedule's length unchanged
    patience_images: int | None = None  # early stopping; None: never
    seconds_limit: float | None = None  # for all of it; ends the training, which keeps its best point
    ends_in_time: bool = False  # draws its schedule together where it would not end within seconds_limit
    n_most_images: int | None = None  # how long it may become if it is faster; None: no longer than planned
    reschedulings: tuple[Rescheduling, ...] = ()  # changes of its length to repeat
    memory_limit_mb: float | None = None  # resident memory of the process; over it the training fails
    n_threads: int = 1
    bfloat16: bool = False  # steps of learning convolve in bfloat16; the processor must have it
    # "train": validated on the selection split. Not validated: "searched", the training and the selection split;
    # "together", all three.
    fit_on: str = "train"
    teachers: tuple[Path, ...] = ()  # .keras files whose mean probabilities it learns from beside the labels
    teacher_weights: tuple[float, ...] = ()  # of each of them, summing to 1
    score_on_confirmation: bool = False  # add probabilities on the confirmation split, by the best point's weights
    save_to: Path | None = None  # write the trained model here (.keras)
    deterministic: bool = False  # by TensorFlow's own switch: for GPUs, where it is slower; a CPU repeats itself anyway
    metric: Metric = "accuracy"  # of the selection split: finds the best point, and ends a training that stalls
    class_weights: ClassWeights = "none"  # of the loss, by the images that it learns from

    @property
    def n_trainings(self) -> int:
        """How many results the task gives."""
        return 1 + len(self.further_lengths)


@dataclass(frozen=True)
class ImagesSeen:
    """How far a training has come, between its evaluations."""

    n_images: int
    n_planned_images: int | None = None  # its length as it is now, of one that a timeout may change


@dataclass(frozen=True)
class TrainResult:
    """What a training gave."""

    history: tuple[HistoryPoint, ...]
    best: HistoryPoint | None  # None where nothing was validated
    n_images: int  # training images seen
    seconds: float  # of the training itself, without the start of the process
    seconds_in_steps: float  # of these, in steps of learning and validation; the rest is overhead
    stopped_by: str  # "end", "early stopping", "time limit" or "stop point"
    peak_memory_mb: float  # resident memory of the process at its highest
    confirmation_probabilities: np.ndarray | None = None  # float32 (n, n_classes)
    mirrored_probabilities: np.ndarray | None = None  # the same of the mirror images, if it learned from such
    confusion: np.ndarray | None = None  # int64 (n_classes, n_classes): selection images by true and predicted
    reschedulings: tuple[Rescheduling, ...] = ()  # changes of its length on the way


@dataclass(frozen=True)
class PredictTask:
    """Load a saved model and predict."""

    model: Path  # .keras
    images: np.ndarray  # uint8 (n, height, width, channels)
    n_threads: int = 1
    changed: bool = False  # predict each of fmnist.metrics.robustness.changes() of them instead, drawn from seed 0
    border: str = "black"  # of images that are moved


@dataclass(frozen=True)
class AverageTask:
    """Build the model that averages saved ones, save it, and predict with it."""

    models: tuple[Path, ...]  # .keras
    weights: tuple[float, ...]  # of each, summing to 1
    save_to: Path  # .keras
    images: np.ndarray  # uint8 (n, height, width, channels)
    n_threads: int = 1
    mirrored: bool = False  # averages over each image and its mirror image, too


@dataclass(frozen=True)
class BaselineTask:
    """The fit of one baseline."""

    name: str  # of one of fmnist.baselines.catalog.BASELINES
    seed: int
    split_folder: Path  # written by fmnist.data.split.save_split
    save_to: Path  # write the fitted model here, of the baseline's suffix
    memory_limit_mb: float | None = None  # resident memory of the process; over it the fit fails
    n_threads: int = 1
    class_weights: ClassWeights = "none"  # of the loss, by the images that it learns from, where the baseline has them

    @property
    def n_trainings(self) -> int:
        """How many results the task gives."""
        return 1


@dataclass(frozen=True)
class BaselineResult:
    """What the fit of a baseline gave."""

    n_images: int  # that it learned from
    n_parameters: int | None  # of a network
    n_epochs: int | None  # of a network's training
    seconds: float  # of the fit itself, without the start of the process
    reason: str  # why it ended, in words
    peak_memory_mb: float  # resident memory of the process at its highest


@dataclass(frozen=True)
class BaselinePredictTask:
    """Load a fitted baseline and predict."""

    name: str
    model: Path
    images: np.ndarray  # uint8 (n, height, width, channels)
    n_threads: int = 1


Task = TrainTask | PredictTask | AverageTask | BaselineTask | BaselinePredictTask


def map_paths(task: Task, change: Callable[[str, Path], Path]) -> Task:
    """Return a task with each of its paths replaced; change: given a field's name and a path of it."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(task):
        value = getattr(task, field.name)
        if isinstance(value, Path):
            changed[field.name] = change(field.name, value)
        elif isinstance(value, tuple) and value and all(isinstance(each, Path) for each in value):
            changed[field.name] = tuple(change(field.name, each) for each in value)
    return dataclasses.replace(task, **changed)


@dataclass(frozen=True)
class Failure:
    """Why a process gives up; TrainingFailed in the supervisor."""

    kind: str
    reason: str
    trace: str


class Pause:
    """The process waits before its next training until the supervisor answers, once more results are asked for."""


class Pulse:
    """The process computes, and has nothing else to say."""


class TrainingFailed(Exception):
    """A training, or the fit of a baseline, came to nothing.

    Attributes:
        kind: "diverged", "memory", "killed", "hung", "lost" or "error".
        reason: In one line.
        trace: The process's traceback; empty if it could not send one.
    """

    def __init__(self, kind: str, reason: str, trace: str = "") -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is made again of what it shows, here the reason alone, which would break a pool of processes.
        return type(self), (self.kind, self.reason, self.trace), vars(self)


class WorkerLost(TrainingFailed):
    """The node that ran a training has died, or its process there, and the training with it. It may run again.

    Args:
        node: Which node, in words.
        reason: What is known of its end, in one line.

    Attributes:
        training: What was lost, such as "trial 7", once whoever asked for it has said so; empty before.
        runs_again: Whether it begins again.
    """

    def __init__(self, node: str, reason: str) -> None:
        super().__init__("lost", f"{node} was lost: {reason}")
        self.node = node
        self.why = reason
        self.training = ""
        self.runs_again = False

    def concerns(self, training: str, *, runs_again: bool) -> None:
        """Say what was lost, and whether it begins again."""
        self.runs_again = runs_again
        self.training = training

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.node, self.why), vars(self)


class Interrupted(BaseException):
    """The run is to stop now. Not an Exception: Optuna would record the trial as failed, but it is to run again."""


TrainMessage = HistoryPoint | ImagesSeen | TrainResult | BaselineResult
Trainer = Callable[[TrainTask | BaselineTask], Generator[TrainMessage, None, None]]
RecipeTrainer = Callable[[TrainTask], Generator[TrainMessage, None, None]]  # takes no baselines
PredictorTask = PredictTask | AverageTask | BaselinePredictTask
Predictor = Callable[[PredictorTask], np.ndarray]


@dataclass(frozen=True)
class TrainingSite:
    """What every training of a study has in common."""

    split_folder: Path
    pixel_mean: float  # of the training split, 0 to 255
    pixel_std: float
    n_train_images: int
    memory_limit_mb: float | None
    n_threads: int = 1
    bfloat16: bool = False
    metric: Metric = "accuracy"  # of the study
    class_weights: ClassWeights = "none"  # of all losses

    def task(
        self, recipe: Recipe, seed: int, n_planned_images: int, report_every_images: int, **more: Any
    ) -> TrainTask:
        """Describe a training at this site.

        Args:
            recipe: What is trained.
            seed: Of its weights and batches.
            n_planned_images: Length of the schedule.
            report_every_images: Training images between two evaluations.
            **more: Further fields of TrainTask, in place of the site's.
        """
        return TrainTask(
            recipe=recipe,
            seed=seed,
            split_folder=self.split_folder,
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            n_planned_images=n_planned_images,
            report_every_images=report_every_images,
            bfloat16=self.bfloat16,
            metric=self.metric,
            class_weights=self.class_weights,
            **{"n_threads": self.n_threads, "memory_limit_mb": self.memory_limit_mb, **more},
        )


def reason_of(result: TrainResult) -> str:
    """Say why a training ended."""
    reasons = {
        "end": "trained to the end",
        "stop point": f"trained to its stop point, {result.n_images:,} images",
        "early stopping": f"stopped early at {result.n_images:,} images",
        "time limit": f"out of time at {result.n_images:,} images",
    }
    if result.stopped_by == "end" and result.reschedulings:
        return f"trained to the end, which the timeout moved to {result.n_images:,} images"
    return reasons[result.stopped_by]
