"""Train a study's winner once more, from its best_recipe.json alone."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fmnist.data.framing import measure_framing
from fmnist.data.source import DataSource
from fmnist.data.split import Split, load_train, pixel_statistics, save_split
from fmnist.errors import UserError
from fmnist.model.metadata import ModelMetadata, write_metadata
from fmnist.recipe import Recipe
from fmnist.values import require, require_instance
from search.callbacks.base import Callback
from search.records.io import atomic_write
from search.records.models import BestRecipe, Retraining
from search.refit.evaluation import score_retrained
from search.refit.round import run_training
from search.refit.schedule import retraining_evaluation_interval
from search.system.machine import has_gpu
from search.worker.interrupts import Interruptible, holding_interrupts
from search.worker.local import WorkerProcesses
from search.worker.tasks import TrainTask, reason_of


@dataclass(frozen=True)
class Retrained:
    """The result of training a study's winner once more."""

    test_accuracy: float
    n_images: int  # of the test set
    expected: float | None  # what the study's own training with this seed scored; None: it had no such training

    @property
    def beside_the_study(self) -> str:
        """The comparison with what the study measured, in words."""
        if self.expected is None:
            return "the study has no training with this seed"
        if self.expected == self.test_accuracy:
            return "exactly what the study measured with this seed"
        return f"the study measured {self.expected:.2%} with this seed, on another processor or with other versions"


def retrain(
    best: BestRecipe,
    source: DataSource,
    seed: int,
    out: str | os.PathLike[str],
    callback: Callback,
    stop: threading.Event | None = None,
) -> Retrained:
    """Train a study's winner on all training images as its study did, save the model, and score it on the test set.

    Args:
        best: The study's best_recipe.json.
        source: The study's images.
        seed: One of the study's, which gives the same model to the bit on the same CPU and versions; or any other. On a
            GPU retrainings equal each other, and the study's own nearly.
        out: Where the model goes, a .keras file.
        callback: Is told how the training goes.
        stop: Set it to end the training; Ctrl-C does so too.

    Raises:
        UserError: The images or their order are not the study's.
        TrainingFailed: The training came to nothing.
        KeyboardInterrupt: Ctrl-C was pressed. `out` is as it was, or complete.
        Interrupted: `stop` was set.
    """
    read = "read it by search.records.io.read_json(BestRecipe, path)"
    require_instance(BestRecipe, best, "best", "a BestRecipe", read)
    require_instance(DataSource, source, "source", "a DataSource", "find it by fmnist.data.find.find_data")
    require_instance(Callback, callback, "callback", "a Callback instance", "pass search.Callback() for none")
    seed, path = require(int, seed, "seed", at_least=0), require(Path, out, "out")
    require_model_place(path)
    with holding_interrupts(stop) as asked:
        return _retrain(best, source, seed, path, callback, asked)


def require_model_place(out: Path) -> None:
    """Raise UserError where no model can be written, or by a name that Keras would not load."""
    if out.suffix != ".keras":
        raise UserError(f"--out must be a file with the suffix .keras, but got {out}")
    reason = None
    if os.path.isdir(out):
        reason = "it is a folder"
    elif not os.path.isdir(out.parent):
        reason = f"{out.parent} is no folder"
    elif not os.access(out.parent, os.W_OK):
        reason = f"{out.parent} may not be written to"
    if reason is not None:
        raise UserError(f"cannot write to {out} ({reason}); choose a file in a folder of yours with --out")


def _retrain(
    best: BestRecipe, source: DataSource, seed: int, out: Path, callback: Callback, stop: threading.Event
) -> Retrained:
    """Do what `retrain` does."""
    for name in sorted(best.data_checksums.keys() | source.checksums.keys()):
        _require_same(name, best.data_checksums.get(name), source.checksums.get(name))
    with Interruptible(stop):
        split = load_train(source, best.split_seed)
    _require_same("the split of the training images", best.split_checksum, split.checksum)
    own = next((retraining for retraining in best.retrainings if retraining.seed == seed), None)
    label = f"seed {seed}"
    with tempfile.TemporaryDirectory() as folder:
        task = _retraining_task(best, own, split, seed, Path(folder, "split"))
        with Interruptible(stop):
            save_split(split, task.split_folder)
        with WorkerProcesses(Path(folder, "worker.log"), stop) as workers:
            with atomic_write(out) as temporary:
                result = run_training(workers.train, callback, replace(task, save_to=temporary), label)
                framing = measure_framing(split.train.images)
                write_metadata(
                    temporary,
                    ModelMetadata(
                        source.class_names, source.image_shape, **asdict(framing), picture_form=source.picture_form
                    ),
                )
            callback.on_training_end(label, reason_of(result))
            accuracy, n_images = score_retrained(workers.predict, out, source)
    return Retrained(accuracy, n_images, own.test_accuracy if own else None)


def _retraining_task(
    best: BestRecipe, own: Retraining | None, split: Split, seed: int, split_folder: Path
) -> TrainTask:
    """Return the task that trains a study's winner once more, without the place of its model.

    Args:
        best: The study's best_recipe.json.
        own: The study's training with this seed, which the new one ends with; None if it has none.
        split: The study's images.
        seed: Of the training.
        split_folder: Where the worker finds the images.
    """
    n_stop = best.n_stop_images
    if own is not None and own.n_cut_images is not None:
        n_stop = own.n_cut_images
    pixel_mean, pixel_std = pixel_statistics(split.train.images)
    return TrainTask(
        recipe=Recipe.from_dict(best.recipe),
        seed=seed,
        split_folder=split_folder,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        n_planned_images=best.n_planned_images,
        n_stop_images=n_stop,
        report_every_images=retraining_evaluation_interval(best.n_planned_images, len(split.together())),
        n_threads=(own or best.retrainings[0]).n_threads,
        bfloat16=best.bfloat16,
        fit_on="together",
        deterministic=has_gpu(),  # a CPU repeats itself anyway, but by other sums than TensorFlow's deterministic ones
    )


def _require_same(what: str, expected: str | None, received: str | None) -> None:
    """Raise UserError if two checksums differ; what: that which has them, in words."""
    if expected != received:
        raise UserError(
            f"{what} must be as it was in the study (checksum {expected}), but got {received}; pass the study's images "
            f"with --dataset or --data-dir, and use the versions that best_recipe.json names"
        )
