"""Who wins on the confirmation split, and how long its trainings are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist.data.split import Split
from fmnist.training.history import HistoryPoint
from search.refit.confirmation import EarlyConfirmation, confirm
from search.refit.finalists import choose_finalists
from search.refit.schedule import SHARE_OF_TIME, Clock
from search.worker.tasks import Interrupted, TrainingFailed, TrainResult, TrainTask
from tests.support.training.fake_trainer import N_EPOCHS, FakeTrainer, final_round, trial


def test_winner_is_best_on_the_confirmation_split_not_in_the_search(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: {2: 0.8, 3: 0.9, 4: 0.7}[filters])
    final = final_round(tmp_path, digits_split, trainer)
    finalists = choose_finalists([trial(1, 0.95), trial(2, 0.90), trial(3, 0.99)])
    records = confirm(final, finalists, 1, images_per_second=1000)
    assert [record.trial for record in records] == [2, 1, 3]
    assert records[0].confirm_accuracy == pytest.approx(0.9, abs=0.005)
    assert records[0].search_accuracy == 0.90


def test_finalists_are_trained_for_a_part_of_the_full_length_with_seeds_of_their_own(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    confirm(final_round(tmp_path, digits_split, trainer), choose_finalists([trial(1, 0.9), trial(2, 0.8)]), 1, 1000)
    assert {task.n_planned_images for task in trainer.tasks} == {round(0.4 * N_EPOCHS * len(digits_split.train))}
    assert len({task.seed for task in trainer.tasks}) == 2


def test_confirmed_trial_stays_in_the_race_when_others_have_taken_its_place(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: {2: 0.9, 3: 0.7, 4: 0.8}[filters])
    final = final_round(tmp_path, digits_split, trainer)
    confirm(final, choose_finalists([trial(1, 0.9)]), 1, images_per_second=1000)
    records = confirm(final, choose_finalists([trial(2, 0.95), trial(3, 0.94)]), 1, images_per_second=1000)
    assert [record.trial for record in records] == [1, 3, 2]


def test_confirmed_finalists_are_not_trained_again(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)
    confirm(final, choose_finalists([trial(1, 0.9), trial(2, 0.8)]), 1, 1000)
    assert [task.recipe.architecture.blocks[0].filters for task in trainer.tasks] == [2, 3]


def test_timeout_shortens_all_finalists_by_the_same_share(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    clock = Clock(timeout=20.0, now=lambda: 0.0)
    final = final_round(tmp_path, digits_split, trainer, clock=clock, workers=1)
    confirm(final, choose_finalists([trial(1, 0.9), trial(2, 0.8)]), 1, images_per_second=100)
    # 92 % of 20 s at 100 images a second, for two finalists and a retraining on all images, one after the other.
    n_train, n_all = len(digits_split.train), len(digits_split.together())
    share = SHARE_OF_TIME * 2000 / (N_EPOCHS * (2 * 0.4 * n_train + n_all))
    assert {task.n_planned_images for task in trainer.tasks} == {round(0.4 * share**2 * N_EPOCHS * n_train)}


@pytest.mark.parametrize(("seconds", "length"), [(13.0, 500), (1.25, 50), (500.0, 1534)])
def test_confirmation_is_as_long_as_the_trainings_that_chose_if_that_takes_no_more_than_a_fifth_of_the_time(
    tmp_path: Path, digits_split: Split, seconds: float, length: int
) -> None:
    """At 400 images a second, two finalists: 0.2 of 1.25 seconds are 50 images for each; 1,534 are 0.4 of the whole."""
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer, clock=Clock(seconds, now=lambda: 0.0), workers=1)
    trials = [trial(1, 0.9, rung_images=500), trial(2, 0.8, rung_images=500)]
    confirm(final, choose_finalists(trials), 1, images_per_second=400)
    assert {task.n_planned_images for task in trainer.tasks} == {length}


def test_one_finalist_of_a_long_training_makes_no_confirmation_longer(tmp_path: Path, digits_split: Split) -> None:
    lengths = []
    for folder, others in (("alone", 0), ("several", 1_000)):
        trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
        final = final_round(tmp_path / folder, digits_split, trainer, clock=Clock(20.0, now=lambda: 0.0), workers=1)
        trials = [trial(1, 0.9, rung_images=1_000), trial(2, 0.8, rung_images=others)]
        confirm(final, choose_finalists(trials), 1, images_per_second=100)
        lengths += {task.n_planned_images for task in trainer.tasks}
    assert lengths[0] < lengths[1] <= 1_000


def test_finalist_that_cannot_be_trained_is_left_out(tmp_path: Path, digits_split: Split) -> None:
    good = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)

    def trainer(task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        if task.recipe.architecture.blocks[0].filters == 2:
            raise TrainingFailed("diverged", "loss is nan")
        yield from good(task)

    final = final_round(tmp_path, digits_split, trainer)
    records = confirm(final, choose_finalists([trial(1, 0.9), trial(2, 0.8)]), 1, 1000)
    assert [record.trial for record in records] == [2]
    with pytest.raises(TrainingFailed, match="loss is nan"):
        confirm(final_round(tmp_path / "alone", digits_split, trainer), choose_finalists([trial(1, 0.9)]), 1, 1000)


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
        records = confirm(final, finalists, 1, 1000, early)
    assert sorted(task.recipe.architecture.blocks[0].filters for task in quick.tasks) == [2, 3]
    assert {task.n_planned_images for task in quick.tasks} == {round(0.4 * N_EPOCHS * len(digits_split.train))}
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
        assert [record.trial for record in confirm(final, finalists, 1, 1000, early)] == [1]
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
