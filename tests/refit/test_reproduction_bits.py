"""A student and an ensemble are trained again to the bit, from their recipes alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest

from fmnist.data.source import DataSource
from fmnist.data.split import Split, open_split, pixel_statistics
from fmnist.model.inference import predict_probabilities
from fmnist.model.metadata import read_metadata
from fmnist.recipe import Recipe
from fmnist.training.course import Rescheduling
from fmnist.training.history import HistoryPoint
from search import Callback
from search.callbacks.base import CallbackList
from search.records.models import BestRecipe, EnsembleRecipe, MemberRecord
from search.refit.confirmation import confirm
from search.refit.ensemble import Average, ensemble_recipe
from search.refit.finalists import choose_finalists
from search.refit.reproduction import retrain
from search.refit.retraining import best_recipe, train_students
from search.refit.round import FinalRound
from search.worker.local import WorkerProcesses
from search.worker.tasks import AverageTask, Interrupted, TrainingSite, TrainTask
from tests.support.training.fake_trainer import final_round, trial

pytestmark = [pytest.mark.trains, pytest.mark.slow]


class Labels(Callback):
    """Remembers which trainings have ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def on_training_end(self, label: str, reason: str) -> None:
        self.ended.append(label)


class Lengths(Callback):
    """Remembers how long each training is planned to be, in images."""

    def __init__(self) -> None:
        self.planned: dict[str, int] = {}

    def on_training_start(self, label: str, recipe: Recipe, n_images: int) -> None:
        self.planned[label] = n_images


class StopAt(Callback):
    """Asks the run to stop at the first evaluation of a training."""

    def __init__(self, label: str, stop: threading.Event) -> None:
        self._label = label
        self._stop = stop

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        if label == self._label:
            self._stop.set()


@dataclass(frozen=True)
class Trained:
    """What a study has trained: its student's recipe and that of an ensemble, with their models."""

    final: FinalRound
    student: BestRecipe
    ensemble: EnsembleRecipe


def let_both_teach(final: FinalRound, split: Split) -> None:
    """Make the finalists good at different halves of the confirmation split, so that both become teachers."""
    labels = np.array(split.confirmation.labels)
    is_first_half = np.arange(len(labels)) < len(labels) // 2
    for number, is_sure in ((3, is_first_half), (5, ~is_first_half)):
        right = np.where(is_sure, 0.91, 0.1)[:, None]
        probabilities = np.where(np.eye(10, dtype=bool)[labels], right, (1 - right) / 9).astype(np.float32)
        final.files.write_arrays(final.files.confirm_arrays(number), probabilities=probabilities, labels=labels)


def drawn_together(task: TrainTask) -> TrainTask:
    """Return a training that ends before its planned length, as one that a timeout made shorter on the way."""
    n_images = 4 * task.recipe.plan.batch_size
    return replace(task, reschedulings=(Rescheduling(n_images, (n_images + task.n_planned_images) // 2),))


@pytest.fixture(scope="module", params=["none", "balanced"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, digits_split: Split
) -> Iterator[Trained]:
    from fmnist.data.find import find_data

    folder = tmp_path_factory.mktemp("study")
    with WorkerProcesses(folder / "worker.log", threading.Event()) as workers:
        final = final_round(
            folder, digits_split, lambda task: workers.train(drawn_together(task)), predict=workers.predict
        )
        mean, std = pixel_statistics(digits_split.train.images)
        n_train = len(digits_split.train)
        site = TrainingSite(final.files.split, mean, std, n_train, None, class_weights=request.param)
        checksums = find_data("digits").checksums
        data = replace(final.data, checksums=checksums, split_checksum=digits_split.checksum)
        final = replace(final, site=site, data=replace(data, split_seed=digits_split.seed))
        winner = confirm(final, choose_finalists([trial(3, 0.9), trial(5, 0.8)]))[0]
        let_both_teach(final, digits_split)
        assert train_students(final, winner, 1) == ""
        student = final.files.read_student_records()[0]
        names = ("refit/student-0.keras", "confirm/trial-0003.keras", "confirm/trial-0005.keras")
        members = tuple(map(MemberRecord, names, (0.5, 0.3, 0.2)))
        images = np.array(open_split(final.files.split).confirmation.images)
        models = tuple(final.files.root / name for name in names)
        workers.predict(AverageTask(models, (0.5, 0.3, 0.2), final.files.ensemble, images, mirrored=True))
        average = Average(members, mirrored=True, log_loss=0.1)
        yield Trained(final, best_recipe(final, winner, [student]), ensemble_recipe(final, average))


# Of what weights of classes have no part in.
without_weights = pytest.mark.parametrize("trained", ["none"], indirect=True)


def weights_of(model: Path) -> bytes:
    return b"".join(weight.tobytes() for weight in keras.saving.load_model(model).get_weights())


def test_student_is_the_same_to_the_bit_after_its_teachers(
    trained: Trained, source: DataSource, tmp_path: Path
) -> None:
    labels, out = Labels(), tmp_path / "again.keras"
    recipe = trained.student
    outcome = retrain(recipe, source, None, out, labels)
    assert weights_of(out) == weights_of(trained.final.files.student_model(0))
    assert labels.ended[-1] == f"seed {recipe.retrainings[0].seed}"
    assert sorted(labels.ended[:-1]) == sorted(f"finalist {teacher.trial}" for teacher in recipe.teachers)
    assert outcome.seed == recipe.retrainings[0].seed
    assert read_metadata(out).class_names == source.class_names


def test_ensemble_is_the_same_to_the_bit_each_network_trained_once(
    trained: Trained, source: DataSource, tmp_path: Path
) -> None:
    labels, out = Labels(), tmp_path / "again.keras"
    outcome = retrain(trained.ensemble, source, None, out, labels)
    assert weights_of(out) == weights_of(trained.final.files.ensemble)
    images = np.array(open_split(trained.final.files.split).confirmation.images)
    models = [keras.saving.load_model(path) for path in (out, trained.final.files.ensemble)]
    again, own = (predict_probabilities(model, images) for model in models)
    assert (again == own).all(), "mirror images are predicted too"
    assert sorted(labels.ended) == ["finalist 3", "finalist 5", "student 0"]
    assert outcome.beside_the_study == "the study has measured none"


@without_weights
def test_finalist_and_its_retraining_are_told_apart_by_their_seeds(
    trained: Trained, source: DataSource, tmp_path: Path
) -> None:
    finalist = next(member for member in trained.ensemble.members if not member.is_taught)
    members = (finalist, replace(finalist, seed=finalist.seed + 1))
    labels = Labels()
    retrain(replace(trained.ensemble, members=members, teachers=()), source, None, tmp_path / "again.keras", labels)
    assert sorted(labels.ended) == sorted(f"trial {member.trial} with seed {member.seed}" for member in members)


@without_weights
def test_another_seed_gives_another_student_of_the_same_teachers(
    trained: Trained, source: DataSource, tmp_path: Path
) -> None:
    labels, out = Labels(), tmp_path / "other.keras"
    lengths = Lengths()
    retrain(trained.student, source, 12345, out, CallbackList([labels, lengths]))
    assert labels.ended[-1] == "seed 12345"
    (delivered,) = trained.student.retrainings
    assert lengths.planned["seed 12345"] == delivered.reschedulings[-1].n_planned_images, "as it was in the end"
    assert len(labels.ended) == 1 + len(trained.student.teachers)
    assert weights_of(out) != weights_of(trained.final.files.student_model(0))


@without_weights
def test_student_of_a_study_without_test_images_is_the_same_and_not_scored(
    trained: Trained, source: DataSource, tmp_path: Path
) -> None:
    out = tmp_path / "again.keras"
    outcome = retrain(trained.student, replace(source, test_digests=()), None, out, Callback())
    assert weights_of(out) == weights_of(trained.final.files.student_model(0))
    assert (outcome.test_accuracy, outcome.n_images) == (None, 0)
    assert outcome.beside_the_study == "the study had no test images either"


@without_weights
@pytest.mark.parametrize("label", ["finalist 3", "student 0"])
def test_stop_leaves_what_was_at_the_models_place(
    trained: Trained, source: DataSource, tmp_path: Path, label: str
) -> None:
    out = tmp_path / "again.keras"
    out.write_text("as it was")
    stop = threading.Event()
    with pytest.raises(Interrupted):
        retrain(trained.ensemble, source, None, out, StopAt(label, stop), stop)
    assert out.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [out]


def test_every_network_was_drawn_together_on_the_way(trained: Trained) -> None:
    """Else the tests above would claim less than they say."""
    networks = (*trained.ensemble.members, *trained.ensemble.teachers, *trained.student.teachers)
    assert all(len(network.reschedulings) == 1 for network in networks)
    assert [len(retraining.reschedulings) for retraining in trained.student.retrainings] == [1]
    for record in trained.final.files.read_confirm_records():
        assert record.n_images < 0.9 * record.n_planned_images
        assert record.reason == f"trained to the end, which the timeout moved to {record.n_images:,} images"


def test_recipe_of_two_teachers_mirrors_what_a_flipped_student_learns(trained: Trained) -> None:
    """Else the tests above would claim less than they say."""
    assert len(trained.student.teachers) == 2
    assert Recipe.from_dict(trained.student.recipe).plan.flip
