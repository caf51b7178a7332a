"""Train what a study delivers once more, from its best_recipe.json or its ensemble_recipe.json alone.

A student is trained after its teachers, an ensemble after all its members; a network that is both is trained once.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from fmnist.data.framing import measure_framing
from fmnist.data.source import DataSource
from fmnist.data.split import Split, load_train, pixel_statistics, save_split
from fmnist.errors import UserError
from fmnist.model.metadata import ModelMetadata, write_metadata
from fmnist.paths import shown_path
from fmnist.recipe import Recipe
from fmnist.scoring import ClassWeights
from fmnist.training.course import length_in_the_end
from fmnist.training.precision import has_bfloat16
from fmnist.values import require, require_instance
from search.callbacks.base import Callback
from search.records.io import atomic_write, read_json, read_plain
from search.records.models import BestRecipe, EnsembleRecipe, MemberRecipe
from search.refit.evaluation import score_retrained
from search.refit.round import run_training
from search.refit.schedule import full_evaluation_interval
from search.system.machine import default_workers, has_gpu
from search.worker.interrupts import Interruptible, Stop, holding_interrupts
from search.worker.local import WorkerProcesses
from search.worker.tasks import AverageTask, TrainTask, reason_of


@dataclass(frozen=True)
class Retrained:
    """The result of training what a study delivers once more."""

    test_accuracy: float | None  # None: there are no test images
    n_images: int  # of the test set
    expected: float | None  # what the study's own scored; None: it had none with this seed, or has not scored it yet
    seed: int | None = None  # of the model; None: of an ensemble, whose members each have one

    @property
    def beside_the_study(self) -> str:
        """The comparison with what the study measured, in words."""
        with_seed = "" if self.seed is None else " with this seed"
        if self.test_accuracy is None:
            return "the study had no test images either"
        if self.expected is None:
            return f"the study has measured none{with_seed}"
        if self.expected == self.test_accuracy:
            return f"exactly what the study measured{with_seed}"
        return f"the study measured {self.expected:.2%}{with_seed}, on another processor or with other versions"


def read_recipe(path: str | os.PathLike[str]) -> BestRecipe | EnsembleRecipe:
    """Read a study's best_recipe.json or ensemble_recipe.json, whatever the file is called.

    Raises:
        UserError: The file is missing, damaged or neither of the two.
    """
    path = require(Path, path, "path")
    remedy = "pass a study's best_recipe.json or ensemble_recipe.json"
    if path.is_dir():
        raise UserError(f"a recipe must be a file, but got the folder {shown_path(path)}; {remedy}")
    content = read_plain(path)
    if "retrainings" in content:
        return read_json(BestRecipe, path)
    if {"members", "teachers"} <= content.keys():
        return read_json(EnsembleRecipe, path)
    raise UserError(f"a recipe must say how a model is trained, but {shown_path(path)} does not; {remedy}")


def retrain(
    recipe: BestRecipe | EnsembleRecipe,
    source: DataSource,
    seed: int | None,
    out: str | os.PathLike[str],
    callback: Callback,
    stop: threading.Event | None = None,
) -> Retrained:
    """Train what a study delivers once more as the study did, save the model, and score it on the test set.

    On the same CPU and versions it is the same model to the bit; on a GPU, nearly. Networks are trained side by side
    as far as there are cores, each with as many threads as in the study.

    Args:
        recipe: The study's best_recipe.json or ensemble_recipe.json, see `read_recipe`.
        source: The study's images.
        seed: None for the delivered model's. Another one of the study gives that model; any other a new one, trained
            for as long as the delivered one was in the end, by the same teachers where that is a student. An ensemble
            takes none.
        out: Where the model goes, a .keras file.
        callback: Is told how each training goes.
        stop: Set it to end the trainings; Ctrl-C does so too.

    Raises:
        UserError: The images or their order are not the study's, or the processor lacks bfloat16, which it used.
        TrainingFailed: A training came to nothing.
        KeyboardInterrupt: Ctrl-C was pressed. `out` is as it was, or complete.
        Interrupted: `stop` was set.
    """
    if not isinstance(recipe, BestRecipe | EnsembleRecipe):
        read = "read it by search.refit.reproduction.read_recipe(path)"
        require_instance(BestRecipe, recipe, "recipe", "a BestRecipe or an EnsembleRecipe", read)
    require_instance(DataSource, source, "source", "a DataSource", "find it by fmnist.data.find.find_data")
    require_instance(Callback, callback, "callback", "a Callback instance", "pass search.Callback() for none")
    if seed is not None:
        seed = require(int, seed, "seed", at_least=0)
    path = require(Path, out, "out")
    require_model_place(path)
    plan = _plan_of(recipe, seed)
    with holding_interrupts(stop) as asked:
        return _retrain(recipe, plan, source, path, callback, asked)


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


def seed_of_recipe(recipe: BestRecipe | EnsembleRecipe, seed: int | None) -> int | None:
    """Return the seed to train with: the one given, or that of the delivered model; None for an ensemble.

    Raises:
        UserError: A seed is given for an ensemble.
    """
    if isinstance(recipe, BestRecipe):
        return recipe.retrainings[0].seed if seed is None else seed
    if seed is not None:
        raise UserError(
            f"an ensemble's recipe takes no seed, since each member has its own, but got {seed}; leave out --seed, or "
            "pass best_recipe.json"
        )
    return None


@dataclass(frozen=True)
class _Plan:
    """What is trained, and what comes of it."""

    teachers: tuple[MemberRecipe, ...]  # of those members that are taught
    members: tuple[MemberRecipe, ...]  # what is delivered: one network, or what is averaged
    is_ensemble: bool
    n_stop_images: int | None  # where the one network's schedule is cut short; None: nowhere
    expected: float | None  # test accuracy that the study measured
    seed: int | None  # as in Retrained
    class_weights: ClassWeights  # of every training
    mirrored: bool = False  # of an ensemble, see EnsembleRecord


def _plan_of(recipe: BestRecipe | EnsembleRecipe, seed: int | None) -> _Plan:
    """Return what is to be trained by a recipe. seed: as in `retrain`."""
    seed = seed_of_recipe(recipe, seed)
    if isinstance(recipe, EnsembleRecipe):
        plan = _Plan(recipe.teachers, recipe.members, True, None, recipe.test_accuracy, None, recipe.class_weights)
        plan = replace(plan, mirrored=recipe.mirrored)
    else:
        own = next((retraining for retraining in recipe.retrainings if retraining.seed == seed), None)
        like = own or recipe.retrainings[0]
        n_planned = recipe.n_planned_images
        if own is None:
            n_planned = length_in_the_end(n_planned, like.reschedulings)
        network = MemberRecipe(
            trial=recipe.trial,
            recipe=recipe.recipe,
            seed=like.seed if seed is None else seed,
            n_planned_images=n_planned,
            n_cut_images=own.n_cut_images if own else None,
            reschedulings=own.reschedulings if own else (),
            n_threads=like.n_threads,
            fit_on=recipe.fit_on,
            weight=1.0,
            is_taught=bool(recipe.teachers),
            bfloat16=recipe.bfloat16 if like.bfloat16 is None else like.bfloat16,
        )
        expected = own.test_accuracy if own else None
        n_stop = recipe.n_stop_images
        plan = _Plan(recipe.teachers, (network,), False, n_stop, expected, seed, recipe.class_weights)
    has_taught = any(member.is_taught for member in plan.members)
    if not plan.members or (has_taught and not plan.teachers) or any(teacher.is_taught for teacher in plan.teachers):
        raise UserError(
            "a recipe must have members, and teachers for those that are taught, but this one has not; restore the "
            "file as the study wrote it"
        )
    if any(network.bfloat16 for network in (*plan.teachers, *plan.members)) and not has_bfloat16():
        raise UserError("the recipe must be retrained in bfloat16, which this processor has not; use one that has it")
    return plan


def _retrain(
    recipe: BestRecipe | EnsembleRecipe, plan: _Plan, source: DataSource, out: Path, callback: Callback, stop: Stop
) -> Retrained:
    """Do what `retrain` does."""
    for name in sorted(recipe.data_checksums.keys() | source.checksums.keys()):
        _require_same(name, recipe.data_checksums.get(name), source.checksums.get(name))
    with Interruptible(stop):
        split = load_train(source, recipe.split_seed)
    _require_same("the split of the training images", recipe.split_checksum, split.checksum)
    framing = measure_framing(split.train.images)
    metadata = ModelMetadata(
        source.class_names, source.image_shape, **asdict(framing), picture_form=source.picture_form
    )
    with tempfile.TemporaryDirectory() as folder:
        with Interruptible(stop):
            save_split(split, Path(folder, "split"))
        with WorkerProcesses(Path(folder, "worker.log"), stop) as workers:
            trainings = _Trainings(plan, split, Path(folder), workers, callback, stop)
            trainings.train()
            with atomic_write(out) as temporary:
                trainings.write_model(temporary)
                write_metadata(temporary, metadata)
            accuracy, n_images = None, 0
            if source.has_test:
                accuracy, n_images = score_retrained(workers.predict, out, source)
    return Retrained(accuracy, n_images, plan.expected, plan.seed)


class _Trainings:
    """Trains the networks of a plan, each once, into files of a folder.

    Args:
        plan: What is trained.
        split: The study's images.
        folder: Where the networks go; the images are in its folder "split".
        workers: Where trainings run.
        callback: Is told how they go.
        stop: Ends them.
    """

    def __init__(
        self, plan: _Plan, split: Split, folder: Path, workers: WorkerProcesses, callback: Callback, stop: Stop
    ) -> None:
        self._plan = plan
        self._split = split
        self._folder = folder
        self._split_folder = folder / "split"
        self._workers = workers
        self._callback = callback
        self._stop = stop
        self._pixel_statistics = pixel_statistics(split.train.images)
        self._models: dict[str, Path] = {}  # of the networks trained, by what makes two of them equal

    def train(self) -> None:
        """Train all networks: those that learn from labels alone, then those that they teach."""
        plan = self._plan
        taught = [member for member in plan.members if member.is_taught]
        teachers = plan.teachers if taught else ()
        self._train_each([*teachers, *(member for member in plan.members if not member.is_taught)], ())
        if not taught:
            return
        self._train_each(taught, teachers)

    def model_of(self, network: MemberRecipe) -> Path:
        """Return the file of a network, once it is trained."""
        return self._models[_identity(network)]

    def write_model(self, path: Path) -> None:
        """Write the model that the plan delivers."""
        members = self._plan.members
        models = tuple(self.model_of(member) for member in members)
        if not self._plan.is_ensemble:
            shutil.copyfile(models[0], path)
            return
        weights = tuple(member.weight for member in members)
        images = self._split.confirmation.images
        task = AverageTask(models, weights, path, images, default_workers(), mirrored=self._plan.mirrored)
        self._workers.predict(task)

    def _train_each(self, networks: Sequence[MemberRecipe], teachers: Sequence[MemberRecipe]) -> None:
        """Train networks side by side, those that are equal but for their weight once."""
        distinct = list({_identity(network): network for network in networks}.values())
        for network in distinct:
            self._models[_identity(network)] = self._folder / f"network{len(self._models)}.keras"
        most_threads = max(network.n_threads for network in distinct) if distinct else 1
        jobs = [partial(self._train_one, network, teachers, self._label(network)) for network in distinct]
        self._run(jobs, max(1, default_workers() // most_threads))

    def _train_one(self, network: MemberRecipe, teachers: Sequence[MemberRecipe], label: str) -> None:
        task = replace(
            self._task(network),
            teachers=tuple(map(self.model_of, teachers)),
            teacher_weights=tuple(teacher.weight for teacher in teachers),
            save_to=self.model_of(network),
        )
        result = run_training(self._workers.train, self._callback, task, label)
        self._callback.on_training_end(label, reason_of(result))

    def _task(self, network: MemberRecipe) -> TrainTask:
        """Return a network's task, without its teachers and the place of its model."""
        n_stop = self._plan.n_stop_images
        if network.n_cut_images is not None:
            n_stop = network.n_cut_images
        pixel_mean, pixel_std = self._pixel_statistics
        n_planned = network.n_planned_images
        return TrainTask(
            recipe=Recipe.from_dict(network.recipe),
            seed=network.seed,
            split_folder=self._split_folder,
            pixel_mean=pixel_mean,
            pixel_std=pixel_std,
            n_planned_images=n_planned,
            n_stop_images=n_stop,
            reschedulings=network.reschedulings,
            report_every_images=full_evaluation_interval(n_planned, len(self._split.train)),
            n_threads=network.n_threads,
            bfloat16=network.bfloat16,
            fit_on=network.fit_on,
            class_weights=self._plan.class_weights,
            deterministic=has_gpu(),  # a CPU repeats itself anyway, by other sums than TensorFlow's deterministic ones
        )

    def _label(self, network: MemberRecipe) -> str:
        """Name a training for whoever watches."""
        if self._plan.seed is not None and network in self._plan.members:
            return f"seed {network.seed}"
        if network.is_taught:
            return f"student {[member for member in self._plan.members if member.is_taught].index(network)}"
        of_trial = [member for member in self._plan.members if member.trial == network.trial and not member.is_taught]
        if len(of_trial) > 1:
            return f"trial {network.trial} with seed {network.seed}"
        return f"finalist {network.trial}"

    def _run(self, jobs: Sequence[Callable[[], None]], n_parallel: int) -> None:
        """Run jobs side by side; what one of them raises ends the others."""
        with ThreadPoolExecutor(max_workers=n_parallel) as executor:
            futures = [executor.submit(job) for job in jobs]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stop.set()
                executor.shutdown(cancel_futures=True)
                raise


def _identity(network: MemberRecipe) -> str:
    """Return what two networks have in common that are trained to the same bits: all but their weight."""
    return json.dumps(asdict(replace(network, weight=1.0)), sort_keys=True)


def _require_same(what: str, expected: str | None, received: str | None) -> None:
    """Raise UserError if two checksums differ; what: that which has them, in words."""
    if expected != received:
        raise UserError(
            f"{what} must be as it was in the study (checksum {expected}), but got {received}; pass the study's images "
            f"with --dataset or --data-dir, and use the versions that the recipe's file names"
        )
