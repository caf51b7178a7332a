"""The search's objective for a study of the caller's own: `open_objective`."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import optuna

from fmnist.data.split import save_split
from fmnist.errors import UserError
from search.arguments import require_callback, require_config
from search.callbacks.base import Callback
from search.callbacks.reporter import Reporter
from search.cluster.place import StartWorkers, place_of
from search.config import StudyConfig
from search.context import find_images, read_context
from search.refit.schedule import Clock
from search.study.objective import Objective
from search.worker.interrupts import TrainingsUnderWay
from search.worker.local import WorkerProcesses
from search.worker.tasks import TrainMessage, TrainTask


class ObjectiveBlock(AbstractContextManager[Objective]):
    """What `open_objective` returns: `with` gives the objective, which trains until the block ends."""

    def __init__(self, opening: AbstractContextManager[Objective]) -> None:
        self._opening = opening
        self._objective: Objective | None = None

    def __enter__(self) -> Objective:
        """Read images and space, and start what trains."""
        self._objective = self._opening.__enter__()
        return self._objective

    def __exit__(self, *error: Any) -> bool | None:
        """End what trains. The objective refuses trials from now on."""
        if self._objective is not None:
            self._objective.close()
        return self._opening.__exit__(*error)

    def __call__(self, trial: optuna.Trial) -> float:
        """Raise UserError: Optuna was given the block in place of its objective."""
        raise UserError(WITHOUT_BLOCK)

    @property
    def pruner(self) -> optuna.pruners.BasePruner:
        """Raise UserError: the block was taken for its objective."""
        raise UserError(WITHOUT_BLOCK)


WITHOUT_BLOCK = (
    "the objective of open_objective must be opened in a with block, but got no block; write "
    "`with open_objective(config) as objective:` and call study.optimize(objective, ...) inside it"
)


def open_objective(
    config: StudyConfig,
    callback: Callback | None = None,
    *,
    worker_processes: StartWorkers = WorkerProcesses,
) -> ObjectiveBlock:
    """The search's objective for a study of your own, with any sampler, pruner and storage of Optuna's that maximises.

    Nothing else of this project is needed:

        with open_objective(StudyConfig(study="mine", dataset="digits")) as objective:
            study = optuna.create_study(direction="maximize", pruner=objective.pruner)
            study.optimize(objective, n_trials=20, n_jobs=2, catch=TrainingFailed)

    A training that comes to nothing (weights that diverge, memory, a killed process) raises TrainingFailed; `catch`
    lets the study go on. The value is selection accuracy; the test set stays out of reach. Nothing is written to the
    study's folder.

    A study that minimises (Optuna's default) or has several directions is refused at its first trial. With
    `StudyConfig(front=True)` a trial has two values, and the study is made with directions=["maximize", "minimize"].

    Ctrl-C ends the trainings under way, in whichever threads: their trials fail, as Optuna has it, and
    KeyboardInterrupt comes out of study.optimize. The objective may be called again afterwards.

    Args:
        config: images, space, seed, limits and machine count, and the pruner for the rungs ("none": one). `workers`
            should be study.optimize's n_jobs, which share the cores.
        callback: is called in every training.
        worker_processes: starts what trains; tests pass processes that train nothing.

    Raises:
        UserError: the input cannot be used.
    """
    config = require_config(config)
    if callback is not None:
        callback = require_callback(callback, "callback")
    return ObjectiveBlock(_opened_objective(config, callback, worker_processes))


@contextmanager
def _opened_objective(
    config: StudyConfig, callback: Callback | None, worker_processes: StartWorkers
) -> Iterator[Objective]:
    stop = TrainingsUnderWay()
    config = dataclasses.replace(config, tensorboard=None, mlflow=None)
    source = find_images(config, Reporter(), stop)
    with tempfile.TemporaryDirectory() as folder, place_of(config, Reporter(), worker_processes) as place:
        context = read_context(config, source, Clock(None), Reporter(), stop, resources=place.resources)
        context = context.aimed(keeps=False)
        split_folder = Path(folder, "split")
        save_split(context.split, split_folder)
        with place.start_workers(Path(folder, "worker.log"), stop) as workers, stop.ending_at_interrupts():

            def train(task: TrainTask) -> Generator[TrainMessage, None, None]:
                with stop.training():
                    yield from workers.train(task)

            yield context.objective(train, context.site(split_folder), callback=callback)
