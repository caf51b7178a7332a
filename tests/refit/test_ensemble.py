"""Who is averaged, what a recipe says of them, and when an ensemble is built anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.split import Split
from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.records.io import read_json
from search.records.models import ConfirmRecord, EnsembleRecipe
from search.refit.confirmation import confirm
from search.refit.ensemble import build_ensemble, finalists_of
from search.refit.finalists import Finalist, choose_finalists
from search.refit.retraining import refit
from search.refit.round import FinalRound
from search.worker.tasks import AverageTask, PredictorTask, TrainResult, TrainTask
from tests.support.training.fake_trainer import FakeTrainer, constant, final_round, trial

OfMirrorImage = Callable[[TrainTask, np.ndarray, np.ndarray], np.ndarray | None]
FINALISTS = choose_finalists([trial(1, 0.9), trial(2, 0.8), trial(3, 0.7)])


class Unsure(FakeTrainer):
    """Models of which each is unsure of other images, so that they make good each other's mistakes."""

    def _probabilities(self, task) -> np.ndarray:
        rng = np.random.default_rng(task.seed)
        right = np.eye(10)[self._labels]
        weight = rng.random((len(right), 1))
        return (weight * right + (1 - weight) * rng.dirichlet(np.ones(10), len(right))).astype(np.float32)


class MirrorImages(Unsure):
    """The same models, which have learned from mirror images.

    Args:
        labels: Of the confirmation split.
        of_mirror_image: Makes what a model says of a mirror image from what it says of the image and the right classes;
            None where it has not learned from such.
    """

    def __init__(self, labels: np.ndarray, of_mirror_image: OfMirrorImage) -> None:
        super().__init__(labels, lambda filters: 0.5)
        self._of_mirror_image = of_mirror_image

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        *points, result = super().__call__(task)
        assert isinstance(result, TrainResult)
        yield from points
        right = np.eye(10, dtype=np.float32)[self._labels]
        mirrored = self._of_mirror_image(task, result.confirmation_probabilities, right)
        yield replace(result, mirrored_probabilities=mirrored)


def better(task: TrainTask, predicted: np.ndarray, right: np.ndarray) -> np.ndarray:
    """What a model says of mirror images that helps it."""
    return (0.5 * predicted + 0.5 * right).astype(np.float32)


def worse(task: TrainTask, predicted: np.ndarray, right: np.ndarray) -> np.ndarray:
    """What a model says of mirror images that it takes for another class."""
    return np.roll(predicted, 1, axis=1)


def unknown_to_students(task: TrainTask, predicted: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """What finalists say of mirror images, from which no student has learned."""
    return None if task.teachers else better(task, predicted, right)


class Study:
    """A final round with finalists and students, and the averages that were built."""

    def __init__(
        self,
        folder: Path,
        split: Split,
        trainer: FakeTrainer,
        n_students: int = 2,
        finalists: Sequence[Finalist] = FINALISTS,
    ) -> None:
        self.built: list[AverageTask] = []
        self.final: FinalRound = final_round(folder, split, trainer, predict=self._predict)
        self.final.files.begin_checksums()
        self.winner: ConfirmRecord = confirm(self.final, finalists)[0]
        refit(self.final, self.winner, n_students)

    def _predict(self, task: PredictorTask) -> np.ndarray:
        if isinstance(task, AverageTask):
            self.built.append(task)
        return constant(task)


@pytest.fixture
def study(tmp_path: Path, digits_split: Split) -> Study:
    return Study(tmp_path, digits_split, Unsure(digits_split.confirmation.labels, lambda filters: 0.5))


def test_ensemble_of_finalists_and_students_has_model_record_and_recipe(study: Study) -> None:
    record = build_ensemble(study.final, study.winner)
    files = study.final.files
    assert record is not None and record == files.read_ensemble_record()
    assert record.n_candidates == 5
    weights = [member.weight for member in record.members]
    assert weights == sorted(weights, reverse=True) and sum(weights) == pytest.approx(1)
    assert [files.relative_name(path) for path in study.built[0].models] == [each.model for each in record.members]
    assert files.ensemble.is_file()
    recipe = read_json(EnsembleRecipe, files.ensemble_recipe)
    confirmed = {record.seed: record for record in files.read_confirm_records()}
    students = {record.seed: record for record in files.read_student_records()}
    for member, made in zip(record.members, recipe.members, strict=True):
        trained = students[made.seed] if made.is_taught else confirmed[made.seed]
        assert made.is_taught == member.model.startswith("refit/student")
        assert (made.weight, made.trial) == (member.weight, trained.trial)
        assert (made.n_planned_images, made.n_threads, made.fit_on, made.bfloat16) == (
            *(trained.n_planned_images, trained.n_threads, trained.fit_on, trained.bfloat16),
        )
    taught_by = next(iter(students.values())).teachers
    assert [teacher.weight for teacher in recipe.teachers] == [teacher.weight for teacher in taught_by]
    assert not any(teacher.is_taught for teacher in recipe.teachers)


def test_single_finalist_and_its_retraining_are_averaged_and_nobody_taught_either(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = Unsure(digits_split.confirmation.labels, lambda filters: 0.5)
    study = Study(tmp_path, digits_split, trainer, n_students=1, finalists=FINALISTS[:1])
    record = build_ensemble(study.final, study.winner)
    files = study.final.files
    assert record is not None
    models = (files.confirm_model(study.winner.trial), files.student_model(0))
    assert {member.model for member in record.members} == set(map(files.relative_name, models))
    recipe = read_json(EnsembleRecipe, files.ensemble_recipe)
    assert (recipe.teachers, [member.is_taught for member in recipe.members]) == ((), [False, False])
    assert len({member.seed for member in recipe.members}) == 2


def test_mirror_images_are_averaged_over_where_that_is_better(tmp_path: Path, digits_split: Split) -> None:
    plain, mirrored = (
        Study(tmp_path / trainer.__class__.__name__, digits_split, trainer)
        for trainer in (
            Unsure(digits_split.confirmation.labels, lambda filters: 0.5),
            MirrorImages(digits_split.confirmation.labels, better),
        )
    )
    (without, record) = (build_ensemble(study.final, study.winner) for study in (plain, mirrored))
    assert without is not None and record is not None
    assert (without.mirrored, record.mirrored) == (False, True)
    assert (plain.built[0].mirrored, mirrored.built[0].mirrored) == (False, True)
    files = mirrored.final.files
    recipe = read_json(EnsembleRecipe, files.ensemble_recipe)
    assert recipe.mirrored and not read_json(EnsembleRecipe, plain.final.files.ensemble_recipe).mirrored
    cost = sum(count_multiply_adds(Recipe.from_dict(member.recipe).architecture) for member in recipe.members)
    assert record.multiply_adds == 2 * cost, "each member predicts twice"


@pytest.mark.parametrize("of_mirror_image", [worse, unknown_to_students])
def test_mirror_images_are_left_out_where_they_are_no_help_or_one_network_does_not_know_them(
    tmp_path: Path, digits_split: Split, of_mirror_image: OfMirrorImage
) -> None:
    study = Study(tmp_path, digits_split, MirrorImages(digits_split.confirmation.labels, of_mirror_image))
    record = build_ensemble(study.final, study.winner)
    assert record is not None and not record.mirrored and not study.built[0].mirrored


def test_one_network_is_an_ensemble_by_its_mirror_images(tmp_path: Path, digits_split: Split) -> None:
    trainer = MirrorImages(digits_split.confirmation.labels, better)
    study = Study(tmp_path, digits_split, trainer, n_students=0, finalists=FINALISTS[:1])
    record = build_ensemble(study.final, study.winner)
    assert record is not None and record.mirrored
    model = study.final.files.confirm_model(study.winner.trial)
    assert [member.model for member in record.members] == [study.final.files.relative_name(model)]
    assert record.n_candidates == 1


def test_ensemble_is_built_once(study: Study) -> None:
    first = build_ensemble(study.final, study.winner)
    assert build_ensemble(study.final, study.winner) == first
    assert len(study.built) == 1


def test_ensemble_that_did_not_predict_mirror_images_is_built_anew_where_they_are_better(
    tmp_path: Path, digits_split: Split
) -> None:
    study = Study(tmp_path, digits_split, MirrorImages(digits_split.confirmation.labels, better))
    record, files = build_ensemble(study.final, study.winner), study.final.files
    assert record is not None
    files.write_json(files.ensemble_record, replace(record, mirrored=False))
    assert build_ensemble(study.final, study.winner) == record
    assert len(study.built) == 2


@pytest.mark.parametrize("name", ["ensemble.json", "ensemble_recipe.json", "ensemble.keras"])
def test_ensemble_of_which_a_kill_or_a_loss_left_a_part_is_built_anew(study: Study, name: str) -> None:
    first = build_ensemble(study.final, study.winner)
    study.final.files.checksums.forget(study.final.files.root / name)
    assert build_ensemble(study.final, study.winner) == first
    assert len(study.built) == 2
    assert (study.final.files.root / name).is_file()


def test_ensemble_with_a_finalist_that_is_trained_again_is_built_anew(study: Study) -> None:
    record = build_ensemble(study.final, study.winner)
    assert record is not None
    files = study.final.files
    member = next(member for member in record.members if member.model.startswith("confirm/"))
    (files.root / member.model).unlink()
    for copy in files.root.rglob("*.keras"):
        copy.unlink()
    winner = confirm(study.final, FINALISTS)[0]
    refit(study.final, winner, 2)
    build_ensemble(study.final, winner)
    assert len(study.built) == 2


def test_a_network_that_is_best_alone_leaves_no_ensemble_and_an_older_one_goes(
    tmp_path: Path, digits_split: Split
) -> None:
    study = Study(tmp_path, digits_split, FakeTrainer(digits_split.confirmation.labels, lambda filters: 1.0))
    files = study.final.files
    files.write_text(files.ensemble_record, "older")
    with files.checksums.writing(files.ensemble) as temporary:
        temporary.write_text("older")
    assert build_ensemble(study.final, study.winner) is None
    assert files.read_ensemble_record() is None
    assert not files.ensemble.exists()


def test_finalists_of_an_earlier_version_are_not_averaged(study: Study) -> None:
    record = study.final.files.read_confirm_records()[-1]
    study.final.files.write_json(study.final.files.confirm_record(record.trial), replace(record, fit_on="train"))
    assert len(finalists_of(study.final)) == len(FINALISTS) - 1
