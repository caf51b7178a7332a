"""Which students are trained, what is delivered, what a kill, a loss or a failure costs."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.data.split import Split
from fmnist.model.metadata import ModelMetadata, read_metadata
from fmnist.training.course import Rescheduling
from search.records.io import read_json
from search.records.models import BestRecipe, RefitRecord
from search.refit.confirmation import confirm, trained_finalists
from search.refit.ensemble import build_ensemble
from search.refit.finalists import Finalist, choose_finalists
from search.refit.retraining import refit
from search.refit.round import FinalRound
from search.refit.schedule import (
    COST_OF_TEACHERS,
    MOST_LENGTHS,
    N_TEACHERS,
    SHARE_OF_TIME,
    STUDENT_LENGTH,
    Clock,
    FinalistsPlan,
)
from search.worker.tasks import TrainingFailed
from tests.support.training.fake_trainer import (
    N_EPOCHS,
    CutShort,
    Failing,
    FakeTrainer,
    Rescheduled,
    filters_of,
    final_round,
    is_student,
    trial,
)

ONE = choose_finalists([trial(1, 0.9)])
TWO = choose_finalists([trial(1, 0.9), trial(2, 0.8)])


def model_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json").decode()


def kept(final: FinalRound) -> tuple[RefitRecord, ...]:
    """What is delivered, its models checked against its records."""
    records = final.files.read_refit_records()
    for record in records:
        assert model_of(final.files.refit_model(record.seed_index)) == f"model of seed {record.seed}"
    assert model_of(final.files.model) == f"model of seed {records[0].seed}"
    best = read_json(BestRecipe, final.files.best_recipe)
    assert [each.seed for each in best.retrainings] == [record.seed for record in records]
    assert bool(best.teachers) == bool(records[0].teachers)
    return tuple(records)


@pytest.mark.parametrize("finalists", [ONE, TWO])
@pytest.mark.parametrize(("student", "is_delivered"), [(0.6, True), (0.5, True), (0.4, False)])
def test_students_are_delivered_unless_the_winner_beats_the_first_of_them_on_the_confirmation_split(
    tmp_path: Path, digits_split: Split, student: float, is_delivered: bool, finalists: list[Finalist]
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5, student)
    final = final_round(tmp_path, digits_split, trainer)
    winner = confirm(final, finalists)[0]
    records = refit(final, winner, n_seeds=2)
    assert kept(final) == tuple(records)
    assert len(records) == (2 if is_delivered else 1)
    assert (records[0].seed == winner.seed) is not is_delivered
    further = final.files.read_student_records()
    assert len(further) == 2, "the ensemble may take them"
    kind = "student" if len(finalists) > 1 else "retraining"
    assert {record.kind for record in further} == {kind}


def test_single_finalist_is_trained_again_from_labels_alone(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    winner = confirm(final, ONE)[0]
    refit(final, winner, n_seeds=1)
    (task,) = trainer.students
    assert (task.teachers, task.fit_on, task.recipe.to_dict()) == ((), "searched", winner.recipe)
    assert task.seed != winner.seed


def test_students_learn_for_long_from_the_winners_images_and_what_its_teachers_say(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: filters / 10)
    final = final_round(tmp_path, digits_split, trainer)
    records = refit(final, confirm(final, TWO)[0], n_seeds=2)
    assert {filters_of(task) for task in trainer.students} == {3}
    assert {task.fit_on for task in trainer.students} == {"searched"}
    assert {task.n_planned_images for task in trainer.students} == {
        round(STUDENT_LENGTH * N_EPOCHS * len(digits_split.searched()))
    }
    assert not any(task.n_stop_images for task in trainer.students)
    teachers = [teacher.model for teacher in records[0].teachers]
    for task in trainer.students:
        assert [path.name for path in task.teachers] == [Path(name).name for name in teachers]
        assert len(task.teachers) <= N_TEACHERS and sum(task.teacher_weights) == pytest.approx(1)


def test_student_that_the_timeout_cut_says_so_and_is_cut_there_when_it_is_made_again(
    tmp_path: Path, digits_split: Split
) -> None:
    final = final_round(tmp_path, digits_split, CutShort(digits_split.confirmation.labels, lambda filters: 0.5))
    record = refit(final, confirm(final, ONE)[0], n_seeds=1)[0]
    share = 640 / record.n_planned_images
    assert record.n_cut_images == 640
    assert record.rule.endswith(f"cut by the timeout at {share:.0%} of the schedule")
    best = read_json(BestRecipe, final.files.best_recipe)
    assert [each.n_cut_images for each in best.retrainings] == [640]


@pytest.mark.parametrize(
    ("n_images", "said"),
    [
        (640, "drawn together to {share:.0%} of that to end with the timeout"),
        (20_000, "drawn out to {share:.0%} of that to end with the timeout"),
    ],
)
def test_student_whose_length_the_timeout_changed_says_so(
    tmp_path: Path, digits_split: Split, n_images: int, said: str
) -> None:
    trainer = Rescheduled(digits_split.confirmation.labels, lambda filters: 0.5)
    trainer.n_images = n_images
    final = final_round(tmp_path, digits_split, trainer)
    record = refit(final, confirm(final, ONE)[0], n_seeds=1)[0]
    assert record.n_cut_images is None
    assert record.rule.endswith(said.format(share=n_images / record.n_planned_images))
    best = read_json(BestRecipe, final.files.best_recipe)
    assert [each.reschedulings for each in best.retrainings] == [(Rescheduling(320, n_images),)]


def test_trainings_end_in_time_where_there_is_a_timeout(tmp_path: Path, digits_split: Split) -> None:
    for timeout in (None, 1e6):
        trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
        final = final_round(tmp_path / str(timeout), digits_split, trainer, clock=Clock(timeout))
        refit(final, confirm(final, ONE)[0], n_seeds=1)
        full = [task for task in trainer.tasks if task.score_on_confirmation]
        assert {task.ends_in_time for task in full} == {timeout is not None}
        assert {task.seconds_limit is None for task in full} == {timeout is None}


def test_every_delivered_model_carries_its_class_names_and_what_its_images_look_like(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    refit(final, confirm(final, ONE)[0], n_seeds=2)
    notes = ModelMetadata(tuple("0123456789"), (8, 8, 1), 40.0, 1.0, 255.0)
    paths = (final.files.refit_model(0), final.files.refit_model(1), final.files.model)
    assert [read_metadata(path) for path in paths] == [notes] * 3


def test_students_of_an_earlier_run_count_also_where_fewer_are_asked_for_later(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    winner = confirm(final, ONE)[0]
    seeds = [record.seed for record in refit(final, winner, n_seeds=3)]
    refit(final, winner, n_seeds=2)
    assert [record.seed for record in kept(final)] == seeds
    assert len(trainer.students) == 3


def test_another_winner_makes_students_ensemble_and_deliveries_of_the_earlier_one_stale(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5 + filters / 100)
    final = final_round(tmp_path, digits_split, trainer)
    final.files.begin_checksums()
    refit(final, confirm(final, ONE)[0], n_seeds=3)
    final.files.write_text(final.files.ensemble_record, "of the earlier winner")
    refit(final, confirm(final, TWO)[0], n_seeds=1)
    assert [(record.trial, record.seed_index) for record in kept(final)] == [(2, 0)]
    assert [record.trial for record in final.files.read_student_records()] == [2]
    assert final.files.read_ensemble_record() is None


def test_more_finalists_with_the_same_winner_keep_its_students_and_their_teachers(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.6 - filters / 100)
    final = final_round(tmp_path, digits_split, trainer)
    first = refit(final, confirm(final, ONE)[0], n_seeds=1)
    second = refit(final, confirm(final, TWO)[0], n_seeds=2)
    assert second[0] == first[0]
    assert second[1].teachers == first[0].teachers
    assert len(trainer.students) == 2


LOST = ("student-0.json", "student-0.npz", "student-0.keras", "seed-0.json", "seed-0.keras", "../best.keras")


@pytest.mark.parametrize("n_lost", range(1, len(LOST) + 1))
def test_a_kill_between_any_two_files_of_a_student_is_made_good(
    tmp_path: Path, digits_split: Split, n_lost: int
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    final.files.begin_checksums()
    winner = confirm(final, ONE)[0]
    refit(final, winner, n_seeds=1)
    for name in LOST[::-1][:n_lost]:  # as they were written: student, its record, seed, its record, best
        final.files.checksums.forget((final.files.refit / name).resolve())
    refit(final, winner, n_seeds=1)
    assert len(kept(final)) == 1
    student_was_whole = n_lost <= 3
    assert len(trainer.students) == (1 if student_was_whole else 2)


@pytest.mark.parametrize("suffix", [".keras", ".npz"])
def test_student_that_lost_a_file_is_trained_again_before_the_test_set_is_opened(
    tmp_path: Path, digits_split: Split, suffix: str
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5, 0.6)
    final = final_round(tmp_path, digits_split, trainer)
    final.files.begin_checksums()
    winner = confirm(final, ONE)[0]
    refit(final, winner, n_seeds=1)
    files = final.files
    twins = [files.refit_model(0), files.model] if suffix == ".keras" else []
    lost = files.student_model(0).with_suffix(suffix)
    for path in (lost, files.checksums.copies / "refit" / lost.name, *twins):
        path.unlink(missing_ok=True)
    refit(final, winner, n_seeds=1)
    assert len(kept(final)) == 1
    assert len(trainer.students) == 2


def test_lost_student_is_restored_from_the_delivered_model(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    final.files.begin_checksums()
    winner = confirm(final, ONE)[0]
    refit(final, winner, n_seeds=1)
    final.files.student_model(0).unlink()
    refit(final, winner, n_seeds=1)
    assert len(trainer.students) == 1
    assert final.files.student_model(0).is_file()


def test_deliveries_of_an_earlier_version_give_way(tmp_path: Path, digits_split: Split) -> None:
    """Before version 0.7.0 the winner was trained on all images with several seeds, and nothing taught it."""
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    winner = confirm(final, ONE)[0]
    for index in range(3):
        earlier = RefitRecord(winner.trial, index, index, (), 10, 10, 1.0, 1.0, "")
        final.files.write_json(final.files.refit_record(index), earlier)
        final.files.refit_model(index).write_text("of an earlier version")
    final.files.begin_checksums()
    refit(final, winner, n_seeds=1)
    assert [record.fit_on for record in kept(final)] == ["searched"]


def failing(labels, failure: TrainingFailed, *seeds: int) -> Failing:
    """A trainer whose first students fail, those of these places."""
    trainer = Failing(labels, lambda filters: 0.5)
    fails = dict.fromkeys(seeds, failure)
    trainer.failure = lambda task: fails.get(len(trainer.students)) if is_student(task) else None
    return trainer


@pytest.mark.parametrize(
    ("finalists", "which"), [(ONE, "a retraining with another seed"), (TWO, "a student of the finalists")]
)
@pytest.mark.parametrize("kind", ["diverged", "memory", "killed", "hung"])
def test_where_no_student_can_be_trained_the_winners_own_training_is_delivered_and_the_reason_said(
    tmp_path: Path, digits_split: Split, kind: str, finalists: list[Finalist], which: str
) -> None:
    trainer = failing(digits_split.confirmation.labels, TrainingFailed(kind, "the loss is nan"), 0, 1)
    final = final_round(tmp_path, digits_split, trainer)
    winner = confirm(final, finalists)[0]
    (record,) = refit(final, winner, n_seeds=2)
    assert kept(final) == (record,)
    assert record.seed == winner.seed
    assert record.rule.endswith(f"{which} failed ({kind}): the loss is nan")
    assert build_ensemble(final, winner) is None


def test_the_next_student_takes_the_place_of_one_that_failed(tmp_path: Path, digits_split: Split) -> None:
    trainer = failing(digits_split.confirmation.labels, TrainingFailed("diverged", "the loss is nan"), 0)
    final = final_round(tmp_path, digits_split, trainer, workers=1)
    records = refit(final, confirm(final, ONE)[0], n_seeds=3)
    assert kept(final) == tuple(records)
    assert [record.seed_index for record in records] == [0, 1]


def test_a_bug_in_a_student_ends_the_run_with_its_trace(tmp_path: Path, digits_split: Split) -> None:
    trainer = failing(digits_split.confirmation.labels, TrainingFailed("error", "KeyError", "the trace"), 0)
    final = final_round(tmp_path, digits_split, trainer)
    with pytest.raises(TrainingFailed, match="KeyError") as caught:
        refit(final, confirm(final, ONE)[0], n_seeds=1)
    assert caught.value.trace == "the trace"


def test_no_student_is_begun_when_the_time_is_over(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    winner = confirm(final, ONE)[0]
    seconds = iter([0.0])
    late = replace(final, clock=Clock(10.0, now=lambda: next(seconds, 11.0)))
    (record,) = refit(late, winner, n_seeds=2)
    assert trainer.students == []
    assert record.rule.endswith("the timeout left no time for a retraining with another seed")


def test_cores_are_shared_by_all_trainings_of_a_round(tmp_path: Path, digits_split: Split) -> None:
    for n_seeds, n_threads in ((1, 4), (2, 2), (3, 1), (8, 1)):
        trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
        final = final_round(tmp_path / str(n_seeds), digits_split, trainer, workers=4)
        refit(final, confirm(final, ONE)[0], n_seeds)
        assert {task.n_threads for task in trainer.students} == {n_threads}


@pytest.mark.parametrize(("finalists", "cost"), [(ONE, 1.0), (TWO, COST_OF_TEACHERS)])
@pytest.mark.parametrize("n_seeds", [1, 2])
def test_under_a_timeout_students_are_as_long_as_fits_by_the_winners_speed_and_may_become_longer(
    tmp_path: Path, digits_split: Split, finalists: list[Finalist], cost: float, n_seeds: int
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)  # a second each
    final = final_round(tmp_path, digits_split, trainer, clock=Clock(timeout=400, now=lambda: 0.0))
    winner = confirm(final, finalists, FinalistsPlan(len(finalists), 0.01))[0]
    refit(final, winner, n_seeds)
    left = final.clock.seconds_left_for_training()
    assert left is not None
    speed = final.speed_of_one_worker(winner, trained_finalists(final))
    fitting = SHARE_OF_TIME * left / final.seconds_together([cost / speed] * n_seeds)
    assert [task.n_planned_images for task in trainer.students] == [pytest.approx(fitting, abs=1)] * n_seeds
    assert {task.seconds_limit for task in trainer.students} == {left}, "the test set is to be opened in time"
    n_most = round(MOST_LENGTHS * N_EPOCHS * final.n_searched_images)
    assert {task.n_most_images for task in trainer.students} == {n_most}


def test_students_that_wait_for_one_another_do_not_become_longer(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer, clock=Clock(timeout=400, now=lambda: 0.0), workers=1)
    winner = confirm(final, ONE, FinalistsPlan(1, 0.01))[0]
    refit(final, winner, n_seeds=3)
    assert {task.n_most_images for task in trainer.students} == {trainer.students[0].n_planned_images}
