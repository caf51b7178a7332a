"""What all phases of a run share: options, images, space, clock, and who watches; read, and then written down once."""

from __future__ import annotations

import dataclasses
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import optuna

from fmnist.data.find import find_data
from fmnist.data.source import DataSource
from fmnist.data.split import Split, load_train
from fmnist.paths import absolute
from search.callbacks.base import Callback, CallbackList
from search.callbacks.reporter import Reporter
from search.config import StudyConfig
from search.provenance import (
    command_of,
    describe_data,
    describe_environment,
    sample_images,
    study_identity,
)
from search.records.files import StudyFiles
from search.records.models import DataRecord
from search.refit.round import FinalRound, model_metadata
from search.refit.schedule import Clock
from search.results.start import read_start
from search.space.default import own_space
from search.space.schema import read_space_text, space_of
from search.space.smaller import is_default_over, with_smaller
from search.space.space import SearchSpace
from search.study.objective import Keep, Objective
from search.study.strategy import build_rungs
from search.targets.probing import aim
from search.worker.local import WorkerProcesses
from search.worker.resources import Resources, local_resources
from search.worker.tasks import Interrupted, RecipeTrainer, TrainingSite

if TYPE_CHECKING:
    from search.callbacks.mlflow import MLflowRuns

MANY_PICTURES = 5_000  # files; reading as many takes seconds, so it is said


@dataclasses.dataclass(frozen=True)
class StudyContext:
    """What every phase of a run is given."""

    config: StudyConfig
    files: StudyFiles
    source: DataSource
    split: Split
    space: SearchSpace
    space_text: str  # the space file's content
    data: DataRecord
    clock: Clock
    reporter: Reporter
    callback: Callback  # calls the reporter, the trackers and the caller's callbacks
    mlflow: MLflowRuns | None  # takes every finished trial
    stop: threading.Event  # set: the run is to end
    resources: Resources  # of this machine, or of the cluster
    start_notes: tuple[str, ...]  # what is taken over from an older study, a sentence for each configuration

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between the runs of a study."""
        return study_identity(self.config, self.source, self.space, self.split)

    def aimed(self, *, keeps: bool = True) -> Self:
        """Return the context with a space that keeps to the run's targets of size and speed, see `targets.probing.aim`.

        keeps: Whether what is measured for them is written into the study's folder.
        """
        metadata = model_metadata(self.data)
        space = aim(self.space, self.config, self.files, metadata, self.reporter.say, self.stop, keeps=keeps)
        if is_default_over(space):
            space = with_smaller(space)
        return dataclasses.replace(self, space=space)

    @property
    def n_test_images(self) -> int:
        """Number of test images, which stay unread until the evaluation."""
        return len(self.source.test_digests)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Lengths of a trial's trainings, in images, rising."""
        return build_rungs(self.config.pruner, self.space.fidelity)

    def site(self, split_folder: Path) -> TrainingSite:
        """What the study's trainings have in common. split_folder: where their images are."""
        return TrainingSite(
            split_folder=split_folder,
            pixel_mean=self.data.pixel_mean,
            pixel_std=self.data.pixel_std,
            n_train_images=self.data.n_images["train"],
            memory_limit_mb=self.resources.memory_limit_of_each(self.resources.workers),
            n_threads=self.resources.n_threads,
            bfloat16=self.resources.bfloat16,
            metric=self.config.metric,
            class_weights=self.config.loss_weights,
        )

    def final_round(self, workers: WorkerProcesses) -> FinalRound:
        """What confirmation, retraining and baselines have in common. workers: train and predict."""
        return FinalRound(
            files=self.files,
            site=self.site(self.files.split),
            data=self.data,
            study_seed=self.config.seed,
            trainer=workers.train,
            predict=workers.predict,
            workers=self.resources.workers,
            most_threads=self.resources.most_threads,
            memory_limit_of_each=self.resources.memory_limit_of_each,
            clock=self.clock,
            stop=self.stop,
            callback=self.callback,
        )

    def objective(
        self,
        trainer: RecipeTrainer,
        site: TrainingSite,
        seconds_left: Callable[[], float | None] = lambda: None,
        *,
        callback: Callback | None = None,
        keep: Keep = lambda trial, outcome: None,
        stop: threading.Event | None = None,
    ) -> Objective:
        """The search's objective; see `Objective` for the arguments."""
        return Objective(
            self.space,
            trainer,
            site,
            self.config.seed,
            self.rungs,
            seconds_left=seconds_left,
            callback=callback,
            keep=keep,
            stop=stop,
            front=self.config.front,
        )


def find_images(config: StudyConfig, reporter: Reporter, stop: threading.Event) -> DataSource:
    """Find the study's images and read their headers; many picture files are read in full.

    Raises:
        UserError: the images, or the space file, which is read first, cannot be used.
        Interrupted: `stop` was set.
    """
    if config.space_path is not None:  # before many pictures are read
        read_space_text(config.space_path)
    has_told = threading.Event()

    def on_progress(n_read: int, n_files: int) -> None:
        if stop.is_set():
            raise Interrupted
        if n_files >= MANY_PICTURES and not has_told.is_set():
            has_told.set()
            reporter.say(f"reading {n_files:,} pictures")

    return find_data(config.dataset, config.data_dir, config.reading(on_progress))


def read_context(
    config: StudyConfig,
    source: DataSource,
    clock: Clock,
    reporter: Reporter,
    stop: threading.Event,
    callbacks: Sequence[Callback] = (),
    resources: Resources | None = None,
) -> StudyContext:
    """Read images and space. The study's folder is not touched: what is wrong with either leaves none.

    Args:
        config: the study's options. Those of TensorBoard and MLflow make their folders.
        source: the study's images, see `find_images`.
        clock: counts since the start of the run.
        reporter: shows the run.
        stop: ends the run once it is set.
        callbacks: hear of every training, after the reporter.
        resources: what trainings may take; None: what this machine has.

    Raises:
        UserError: images, space or a tracker's folder cannot be used.
    """
    reporter.metric = config.metric
    split = load_train(source, config.seed)
    n_classes = len(source.class_names)
    if config.space_path is not None:
        text, name = read_space_text(config.space_path), str(config.space_path)
    else:
        text = own_space(source.image_shape, n_classes, len(split.train), flip=config.mirrors)
        name = "the default space"
    space = space_of(text, name, source.image_shape, n_classes)
    files = StudyFiles(config.folder)
    files.checksums.say = reporter.warn
    notes: tuple[str, ...] = ()
    if config.start_from is not None:
        start = read_start(files, config.start_from, space, text)
        text, notes = f"{text}{start.space_text}", start.notes
        space = space_of(text, name, source.image_shape, n_classes)
    space = space.with_limits(**config.limits)
    if config.front or is_default_over(space):
        space = with_smaller(space)
    data = describe_data(config, source, split)
    return StudyContext(
        config=config,
        files=files,
        source=source,
        split=split,
        space=space,
        space_text=text,
        data=data,
        clock=clock,
        reporter=reporter,
        callback=CallbackList([reporter, *_tensorboard(config), *callbacks]),
        mlflow=_mlflow(config),
        stop=stop,
        resources=resources or local_resources(config),
        start_notes=notes,
    )


def _tensorboard(config: StudyConfig) -> list[Callback]:
    if config.tensorboard is None:
        return []
    from search.callbacks.tensorboard import TensorBoardRuns  # an extra

    return [TensorBoardRuns(absolute(config.tensorboard) / config.study)]


def _mlflow(config: StudyConfig) -> MLflowRuns | None:
    if config.mlflow is None:
        return None
    from search.callbacks.mlflow import MLflowRuns  # an extra

    return MLflowRuns(config.mlflow, config.study, config.metric)


def write_beginnings(context: StudyContext) -> None:
    """Write what the study is made with: images of each class, space, data, environment and command.

    What is there stays, but for the environment and the command of a study that still trains.
    """
    config, files = context.config, context.files
    if not files.checksums.is_whole(files.samples):
        files.write_arrays(files.samples, images=sample_images(context.split, len(context.source.class_names)))
    if not files.checksums.is_whole(files.space):
        files.write_text(files.space, context.space_text)
    if not files.checksums.is_whole(files.data):
        files.write_json(files.data, context.data)
    is_tested = files.has(files.test)  # to build its report again, or to export it, makes no study
    if not (is_tested and files.has(files.environment)):
        files.write_json(files.environment, describe_environment(config, context.resources))
    if not (is_tested and files.has(files.command)):
        has_baselines = config.baselines or bool(files.read_baseline_records())
        config = dataclasses.replace(config, baselines=has_baselines, dashboard=False, widen=False)
        files.write_text(files.command, command_of(config, context.source) + "\n")


class Silence:
    """Keeps Optuna's log and this project's warning filters to the runs of a process, which may overlap in threads.

    Where the caller has warnings raised as errors, they are shown in the meantime: those of libraries end no study.

    Both belong to the process: the first run to begin notes what the caller has set, the last to end restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_runs = 0
        self._restoring = ExitStack()

    def begin(self) -> None:
        """Silence Optuna, if no run under way has done so."""
        with self._lock:
            if self._n_runs == 0:
                self._restoring.enter_context(warnings.catch_warnings())
                if any(action == "error" for action, *_ in warnings.filters):
                    warnings.simplefilter("default")
                self._restoring.callback(optuna.logging.set_verbosity, optuna.logging.get_verbosity())
                optuna.logging.set_verbosity(optuna.logging.ERROR)
            self._n_runs += 1

    def end(self) -> None:
        """Restore what the caller has set, if this was the last run under way."""
        with self._lock:
            self._n_runs -= 1
            if self._n_runs == 0:
                self._restoring.close()


SILENCE = Silence()
NUMPY_DEFAULTS: dict[str, Any] = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@contextmanager
def default_settings() -> Iterator[None]:
    """Compute in the block by NumPy's own settings, with Optuna's log silenced: the caller's are as before after it."""
    SILENCE.begin()
    try:
        with np.errstate(**NUMPY_DEFAULTS):  # of this thread; others that the block starts have the defaults
            yield
    finally:
        SILENCE.end()
