"""Who wins on the confirmation split, and how long its trainings are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.data.split import Split
from fmnist.training.history import HistoryPoint
from search.refit.confirmation import (
    EarlyConfirmation,
    confirm,
    forget_finalist,
    plan_confirmations,
    trained_finalists,
)
from search.refit.ensemble import build_ensemble
from search.refit.finalists import choose_finalists, finalist_of
from search.refit.retraining import refit
from search.refit.schedule import FINALIST_LENGTH, Clock, FinalistsPlan
from search.worker.tasks import Interrupted, TrainingFailed, TrainResult, TrainTask
from tests.support.training.fake_trainer import N_EPOCHS, FakeTrainer, filters_of, final_round, trial


def test_winner_is_best_on_the_confirmation_split_not_in_the_search(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: {2: 0.8, 3: 0.9, 4: 0.7}[filters])
    final = final_round(tmp_path, digits_split, trainer)
    finalists = choose_finalists([trial(1, 0.95), trial(2, 0.90), trial(3, 0.99)])
    records = confirm(final, finalists)
    assert [record.trial for record in records] == [2, 1, 3]
    assert records[0].confirm_accuracy == pytest.approx(0.9, abs=0.005)
    assert records[0].search_accuracy == 0.90


TWO = choose_finalists([trial(1, 0.9), trial(2, 0.8)])


def test_finalists_learn_from_all_images_but_those_that_compare_them_with_seeds_of_their_own(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    records = confirm(final, TWO)
    n_planned = round(FINALIST_LENGTH * N_EPOCHS * len(digits_split.searched()))
    assert {task.n_planned_images for task in trainer.tasks} == {n_planned}
    assert {task.fit_on for task in trainer.tasks} == {"searched"}
    assert not any(task.patience_images or task.n_stop_images for task in trainer.tasks)
    assert len({task.seed for task in trainer.tasks}) == 2
    assert all(final.files.confirm_model(record.trial).is_file() for record in records)
    assert [(record.selection_accuracy, record.best) for record in records] == [(None, None)] * 2


def test_confirmed_trial_stays_in_the_race_when_others_have_taken_its_place(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: {2: 0.9, 3: 0.7, 4: 0.8}[filters])
    final = final_round(tmp_path, digits_split, trainer)
    confirm(final, choose_finalists([trial(1, 0.9)]))
    records = confirm(final, choose_finalists([trial(2, 0.95), trial(3, 0.94)]))
    assert [record.trial for record in records] == [1, 3, 2]


def test_confirmed_finalists_are_not_trained_again(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    confirm(final, choose_finalists([trial(1, 0.9)]))
    confirm(final, choose_finalists([trial(1, 0.9), trial(2, 0.8)]))
    assert [task.recipe.architecture.blocks[0].filters for task in trainer.tasks] == [2, 3]


@pytest.mark.parametrize(("n_finalists", "limit"), [(1, 8000), (2, 4000), (3, 8000 / 3), (4, 4000)])
def test_finalists_that_run_at_a_time_share_the_memory(
    tmp_path: Path, digits_split: Split, n_finalists: int, limit: float
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    finalists = [finalist_of(trial(number, 0.9)) for number in range(1, n_finalists + 1)]
    confirm(final_round(tmp_path, digits_split, trainer, workers=2), finalists)
    assert [task.memory_limit_mb for task in trainer.tasks] == [pytest.approx(limit)] * n_finalists


def test_a_timeout_changes_the_length_of_all_finalists_by_the_same_share(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    clock = Clock(timeout=20.0, now=lambda: 0.0)
    final = final_round(tmp_path, digits_split, trainer, clock=clock, workers=1)
    fast, slow = (replace(each, images_per_second=speed) for each, speed in zip(TWO, (200.0, 100.0), strict=True))
    plan = plan_confirmations(final, [[fast], [fast, slow]], n_students=2, n_test=100)
    confirm(final, [fast, slow], plan)
    n_full = N_EPOCHS * final.n_searched_images
    assert {task.n_planned_images for task in trainer.tasks} == {round(plan.share * n_full)}
    assert 0 < plan.share < 8


def test_finalists_with_a_worker_each_learn_until_the_slowest_ends(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer, clock=Clock(timeout=260.0, now=lambda: 0.0), workers=2)
    fast, slow = (replace(each, images_per_second=speed) for each, speed in zip(TWO, (200.0, 100.0), strict=True))
    plan = plan_confirmations(final, [[fast], [fast, slow]], n_students=2, n_test=100)
    assert plan.n_finalists == 2 and plan.seconds_kept
    confirm(final, [fast, slow], plan)
    n_full = N_EPOCHS * final.n_searched_images
    lengths = {task.recipe.architecture.blocks[0].filters: task.n_planned_images for task in trainer.tasks}
    assert lengths == {2: 2 * round(plan.share * n_full), 3: round(plan.share * n_full)}


@pytest.mark.parametrize("first", [0, 1], ids=["the faster", "the slower"])
def test_interrupted_round_ends_with_the_lengths_that_it_began_with(
    tmp_path: Path, digits_split: Split, first: int
) -> None:
    clock = Clock(timeout=260.0, now=lambda: 0.0)
    two = [replace(each, images_per_second=speed) for each, speed in zip(TWO, (200.0, 100.0), strict=True)]

    def lengths(folder: Path, interrupted: bool) -> set[int]:
        trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
        final = final_round(folder, digits_split, trainer, clock=clock, workers=2)
        plan = plan_confirmations(final, [two[:1], two], n_students=2, n_test=100)
        confirm(final, two, plan)
        if interrupted:
            forget_finalist(final.files, two[1 - first].trial)
            again = plan_confirmations(final, [two[:1], two], n_students=2, n_test=100)
            half_an_image = 0.5 / (N_EPOCHS * final.n_searched_images)  # lengths are whole images
            assert (again.n_finalists, again.share) == (2, pytest.approx(plan.share, abs=half_an_image))
            confirm(final, two, again)
        return {record.n_planned_images for record in trained_finalists(final)}

    assert lengths(tmp_path / "a", interrupted=True) == lengths(tmp_path / "b", interrupted=False)


def test_finalists_added_by_a_later_run_are_as_long_as_those_that_are_done(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    confirm(final, TWO[:1], FinalistsPlan(1, 0.25))
    confirm(final, TWO, plan_confirmations(final, [TWO[:1], TWO], n_students=2, n_test=100))
    assert len({task.n_planned_images for task in trainer.tasks}) == 1


def test_finalist_that_cannot_be_trained_is_left_out(tmp_path: Path, digits_split: Split) -> None:
    good = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)

    def trainer(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        if task.recipe.architecture.blocks[0].filters == 2:
            raise TrainingFailed("diverged", "loss is nan")
        yield from good(task)

    final = final_round(tmp_path, digits_split, trainer)
    records = confirm(final, choose_finalists([trial(1, 0.9), trial(2, 0.8)]))
    assert [record.trial for record in records] == [2]
    with pytest.raises(TrainingFailed, match="loss is nan"):
        confirm(final_round(tmp_path / "alone", digits_split, trainer), choose_finalists([trial(1, 0.9)]))


@pytest.mark.parametrize("suffix", [".keras", ".npz"])
def test_finalist_whose_file_is_lost_is_trained_again_with_all_that_rests_on_it(
    tmp_path: Path, digits_split: Split, suffix: str
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: filters / 10, student_accuracy=0.5)
    final = final_round(tmp_path, digits_split, trainer)
    final.files.begin_checksums()
    winner = confirm(final, TWO)[0]
    refit(final, winner, n_seeds=1)
    build_ensemble(final, winner)
    lost = final.files.confirm_model(winner.trial).with_suffix(suffix)
    for path in (lost, final.files.checksums.copies / "confirm" / lost.name):
        path.unlink(missing_ok=True)
    n_before = len(trainer.tasks)
    assert [record.trial for record in confirm(final, TWO)] == [2, 1]
    assert [filters_of(task) for task in trainer.tasks[n_before:]] == [3]
    assert final.files.read_student_records() == [], "it was the teacher"
    refit(final, winner, n_seeds=1)
    assert len(trainer.students) == 2


def test_finalist_whose_training_a_kill_ended_before_its_record_is_trained_again(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    final.files.begin_checksums()
    confirm(final, TWO)
    final.files.checksums.forget(final.files.confirm_record(1))
    assert len(confirm(final, TWO)) == 2
    assert sorted(filters_of(task) for task in trainer.tasks) == [2, 2, 3]


def test_finalists_of_an_earlier_version_are_trained_in_full_and_its_records_go(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    for record in confirm(final, choose_finalists([trial(1, 0.9), trial(7, 0.8)])):
        final.files.write_json(final.files.confirm_record(record.trial), replace(record, fit_on="train"))
        final.files.confirm_model(record.trial).unlink()
    final.files.begin_checksums()
    assert sorted(record.trial for record in confirm(final, TWO)) == [1, 2]
    assert sorted(record.trial for record in final.files.read_confirm_records()) == [1, 2]


def test_finalist_begun_beside_the_search_is_trained_once_and_says_what_time_it_took_from_it(
    tmp_path: Path, digits_split: Split
) -> None:
    quick = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    search_ended = threading.Event()

    def trainer(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        if not quick.tasks:  # the first, which the search's end overtakes
            search_ended.wait(10)
        yield from quick(task)

    final = final_round(tmp_path, digits_split, trainer)
    finalists = choose_finalists([trial(1, 0.9), trial(2, 0.8)])
    with EarlyConfirmation(final) as early:
        early.begin_one(finalists)
        time.sleep(0.05)
        early.search_has_ended()
        search_ended.set()
        records = confirm(final, finalists, early=early)
    assert sorted(task.recipe.architecture.blocks[0].filters for task in quick.tasks) == [2, 3]
    n_planned = round(FINALIST_LENGTH * N_EPOCHS * len(digits_split.searched()))
    assert {task.n_planned_images for task in quick.tasks} == {n_planned}
    of_trial = {record.trial: record for record in records}
    assert 0.04 < of_trial[2].seconds_beside_search < 5  # the one that trains longest was begun
    assert of_trial[1].seconds_beside_search == 0


def test_finalist_that_failed_beside_the_search_is_left_out_and_not_tried_again(
    tmp_path: Path, digits_split: Split
) -> None:
    good = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    failed: list[int] = []

    def trainer(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        if (filters := task.recipe.architecture.blocks[0].filters) == 3:
            failed.append(filters)
            raise TrainingFailed("diverged", "loss is nan")
        yield from good(task)

    final = final_round(tmp_path, digits_split, trainer)
    finalists = choose_finalists([trial(1, 0.9), trial(2, 0.8)])
    with EarlyConfirmation(final) as early:
        early.begin_one(finalists)
        early.search_has_ended()
        assert [record.trial for record in confirm(final, finalists, early=early)] == [1]
    assert failed == [3]


def test_confirmation_beside_a_search_that_breaks_is_ended(tmp_path: Path, digits_split: Split) -> None:
    stop = threading.Event()

    def trainer(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        assert stop.wait(10), "nobody stopped it"
        raise Interrupted
        yield

    final = final_round(tmp_path, digits_split, trainer, stop=stop)
    with pytest.raises(KeyError, match="a bug"), EarlyConfirmation(final) as early:
        early.begin_one(choose_finalists([trial(1, 0.9)]))
        raise KeyError("a bug")
    assert final.files.read_confirm_records() == []


def test_bug_in_a_confirmation_beside_a_search_ends_the_search_and_comes_out(
    tmp_path: Path, digits_split: Split
) -> None:
    def trainer(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        raise ZeroDivisionError("of a callback")
        yield

    final = final_round(tmp_path, digits_split, trainer)
    with pytest.raises(ZeroDivisionError, match="of a callback"), EarlyConfirmation(final) as early:
        early.begin_one(choose_finalists([trial(1, 0.9)]))
        assert final.stop.wait(10), "the search goes on"
        raise Interrupted
