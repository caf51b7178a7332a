"""What the retraining follows, what it delivers, what a kill repeats."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.data.source import DataSource
from fmnist.data.split import Split
from fmnist.model.metadata import ModelMetadata, read_metadata
from fmnist.recipe import TrainingPlan
from search.records.io import read_json
from search.records.models import BestRecipe, TrialRecord
from search.refit.confirmation import confirm
from search.refit.finalists import choose_finalists
from search.refit.retraining import refit
from search.refit.schedule import SHARE_OF_TIME, Clock
from tests.support.training.fake_trainer import (
    N_EPOCHS,
    CutShort,
    FakeTrainer,
    Peaking,
    UnderWay,
    final_round,
    recipe,
    trial,
)


@pytest.mark.parametrize(
    ("last_accuracy", "share"),
    [(0.9, 0.5), (0.94, 1.0), (0.95, 1.0)],  # of 239 images one standard error at 95 % is 1.4 points
)
def test_retraining_stops_where_the_confirmed_training_was_best_if_its_end_was_clearly_worse(
    tmp_path: Path, digits_split: Split, last_accuracy: float, share: float
) -> None:
    trainer = Peaking(digits_split.confirmation.labels, lambda filters: 0.5)
    trainer.last_accuracy = last_accuracy
    final = final_round(tmp_path, digits_split, trainer)
    winner = confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0]
    records = refit(final, winner, n_seeds=3)
    n_all = len(digits_split.together())
    tasks = trainer.tasks[1:]
    assert {task.fit_on for task in tasks} == {"together"}
    assert {task.n_planned_images for task in tasks} == {N_EPOCHS * n_all}
    assert {task.n_stop_images for task in tasks} == {round(share * N_EPOCHS * n_all)}
    assert [record.seed_index for record in records] == [0, 1, 2]
    assert len({record.seed for record in records}) == 3
    assert ("stopped at 50% of the schedule" if share < 1 else "the schedule to its end") in records[0].rule


def test_retraining_that_the_timeout_cut_says_so_and_is_cut_there_when_it_is_made_again(
    tmp_path: Path, source: DataSource, digits_split: Split
) -> None:
    final = final_round(tmp_path, digits_split, CutShort(digits_split.confirmation.labels, lambda filters: 0.5))
    record = refit(final, confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0], n_seeds=1)[0]
    share = 640 / record.n_planned_images
    assert record.n_cut_images == 640
    assert record.rule.endswith(f"cut by the timeout at {share:.0%} of the schedule")
    best = read_json(BestRecipe, final.files.best_recipe)
    assert [each.n_cut_images for each in best.retrainings] == [640]


def test_delivered_model_is_the_first_seed_never_the_best(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    records = refit(final, confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0], n_seeds=3)
    with zipfile.ZipFile(final.files.model) as archive:
        assert archive.read("config.json").decode() == f"model of seed {records[0].seed}"


def test_every_retrained_model_carries_its_class_names_and_what_its_images_look_like(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    refit(final, confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0], n_seeds=2)
    notes = ModelMetadata(tuple("0123456789"), (8, 8, 1), 40.0, 1.0, 255.0)
    paths = (final.files.refit_model(0), final.files.refit_model(1), final.files.model)
    assert [read_metadata(path) for path in paths] == [notes] * 3


def test_recipe_names_every_retraining_also_where_fewer_are_asked_for_later(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    winner = confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0]
    seeds = [record.seed for record in refit(final, winner, n_seeds=3)]
    assert len(refit(final, winner, n_seeds=2)) == 2
    assert [each.seed for each in read_json(BestRecipe, final.files.best_recipe).retrainings] == seeds


def test_retraining_of_another_winner_starts_afresh(tmp_path: Path, digits_split: Split) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5 + filters / 100)
    final = final_round(tmp_path, digits_split, trainer)
    refit(final, confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0], n_seeds=3)
    records = refit(final, confirm(final, choose_finalists([trial(1, 0.9), trial(2, 0.8)]), 1, 1000)[0], n_seeds=1)
    assert [record.trial for record in final.files.read_refit_records()] == [2]
    assert records[0].trial == 2


def test_cores_are_shared_by_all_trainings_of_a_round(tmp_path: Path, digits_split: Split) -> None:
    for n_seeds, n_threads in ((1, 4), (2, 2), (3, 1), (8, 1)):
        trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
        final = final_round(tmp_path / str(n_seeds), digits_split, trainer, workers=4)
        refit(final, confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0], n_seeds)
        assert {task.n_threads for task in trainer.tasks[1:]} == {n_threads}


@pytest.mark.parametrize(
    ("workers", "n_finalists", "n_seeds", "gain"),
    [
        (2, 2, 2, 1.0),  # each has a worker, before and now
        (2, 2, 1, 1.5),  # two threads instead of one
        (2, 1, 1, 1.0),  # two threads, as in its confirmation
        (4, 4, 3, 1.0),  # a core lies idle
        (2, 2, 4, 0.5),  # two on a worker
        (2, 3, 1, 2.25),  # three had two workers, and the one has both
    ],
)
def test_timeout_leaves_room_for_what_the_retrainings_threads_can_do(
    tmp_path: Path, digits_split: Split, workers: int, n_finalists: int, n_seeds: int, gain: float
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    clock = Clock(timeout=1.0, now=lambda: 0.0)
    final = final_round(tmp_path, digits_split, trainer, workers=workers, clock=clock)
    trials = [trial(number, 0.9, rung_images=500) for number in range(n_finalists)]
    winner = confirm(final, choose_finalists(trials), n_seeds, images_per_second=5_000)[0]
    refit(final, winner, n_seeds)
    in_a_second = winner.n_images  # each training takes one second here
    planned = round(SHARE_OF_TIME * in_a_second * gain)
    assert {task.n_planned_images for task in trainer.tasks[n_finalists:]} == {planned}


def one_by_one() -> TrialRecord:
    """Of a recipe that learns in so small batches that a second is enough to see some."""
    small_batches = replace(recipe(2), plan=TrainingPlan(n_epochs=N_EPOCHS, batch_size=1))
    return trial(1, 0.9, recipe=small_batches.to_dict())


@pytest.mark.parametrize("n_seeds", [1, 2, 3])
def test_retrainings_that_a_timeout_shortens_are_tried_first_as_they_will_run(
    tmp_path: Path, digits_split: Split, n_seeds: int
) -> None:
    trainer = UnderWay(digits_split.confirmation.labels, speed=7)
    final = final_round(tmp_path, digits_split, trainer, clock=Clock(timeout=400, now=lambda: 0.0))
    winner = confirm(final, choose_finalists([one_by_one()]), n_seeds, images_per_second=5)[0]
    refit(final, winner, n_seeds)
    tried, retrained = trainer.tasks[1 : n_seeds + 1], trainer.tasks[n_seeds + 1 :]
    assert [task.seconds_limit for task in tried] == [8] * n_seeds, "a fiftieth of the time that is left"
    assert not any(task.save_to for task in tried)
    assert {task.seconds_limit for task in retrained} == {384}, "the test set is to be opened in time"
    assert {task.n_threads for task in tried} == {task.n_threads for task in retrained}
    planned = round(SHARE_OF_TIME * 400 * 7)
    assert [task.n_planned_images for task in retrained] == [planned] * n_seeds, "each at this speed"


def test_retrainings_that_fit_in_for_sure_are_not_tried(tmp_path: Path, digits_split: Split) -> None:
    trainer = UnderWay(digits_split.confirmation.labels, speed=1_000)
    final = final_round(tmp_path, digits_split, trainer, clock=Clock(timeout=400, now=lambda: 0.0))
    winner = confirm(final, choose_finalists([one_by_one()]), 1, images_per_second=1_000)[0]
    refit(final, winner, 1)
    assert len(trainer.tasks) == 2


def test_speed_of_a_training_that_was_not_under_way_in_time_is_taken_from_the_confirmation(
    tmp_path: Path, digits_split: Split
) -> None:
    trainer = UnderWay(digits_split.confirmation.labels, speed=0.1)
    final = final_round(tmp_path, digits_split, trainer, clock=Clock(timeout=400, now=lambda: 0.0))
    winner = confirm(final, choose_finalists([one_by_one()]), 1, images_per_second=0.1)[0]
    refit(final, winner, 1)
    assert trainer.tasks[-1].n_planned_images == round(SHARE_OF_TIME * 400 * winner.n_images / winner.seconds)
