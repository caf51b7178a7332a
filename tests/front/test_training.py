"""How the front's networks are trained in full and delivered, what a failure, a kill and a timeout change."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.split import Split
from fmnist.training.history import HistoryPoint
from search.config import StudyConfig
from search.front.choice import name_points
from search.front.phases import confirm_front, refit_front
from search.front.training import (
    LENGTH_BESIDE_STUDENTS_OF_FRONT,
    ClockShare,
    FullTraining,
    plan_front,
    plan_of_front,
    stretches_of,
    trained_points,
)
from search.records.models import BestRecipe, ConfirmRecord, TrialRecord
from search.refit.confirmation import confirm
from search.refit.finalists import finalist_of
from search.refit.round import FinalRound
from search.refit.schedule import MOST_LENGTHS, N_TEACHERS, STUDENT_LENGTH, Clock, seconds_together
from search.worker.tasks import TrainingFailed, TrainResult, TrainTask
from tests.support.training.fake_trainer import N_EPOCHS, Failing, FakeTrainer, filters_of, final_round, recipe, trial

SIZES = (2, 4, 8, 16)  # filters; the larger, the better
CONFIG = StudyConfig(study="s", dataset="digits", front=True)


def sized(number: int, filters: int, value: float | None = None, **more) -> TrialRecord:
    return trial(
        number,
        0.9 + filters / 1000 if value is None else value,
        recipe=recipe(filters).to_dict(),
        multiply_adds=1000 * filters,
        n_images=1000,
        seconds=filters / 10,
        **more,
    )


TRIALS = [sized(number, filters) for number, filters in enumerate(SIZES)]


def announce(phase: str, n_total: int = 0, n_done: int = 0) -> None:
    """As a run announces its phases; nobody listens."""


def front_of(final: FinalRound, n_seeds: int = 1, config: StudyConfig = CONFIG) -> ConfirmRecord:
    """Train and deliver the whole front, and return whose recipe best.keras has."""
    winner = confirm_front(final, TRIALS, config, 100, announce)
    return refit_front(final, winner, n_seeds, announce)


def trainer(split: Split, student_accuracy: float | None = None) -> FakeTrainer:
    return FakeTrainer(split.confirmation.labels, lambda filters: 0.8 + filters / 100, student_accuracy)


def model_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json").decode()


def test_every_network_is_confirmed_taught_and_delivered_in_a_folder_of_its_name(
    tmp_path: Path, digits_split: Split
) -> None:
    trains = trainer(digits_split, student_accuracy=0.99)
    final = final_round(tmp_path, digits_split, trains)
    winner = front_of(final)
    records = final.files.read_front()
    assert [record.trial for record in records] == [0, 1, 2, 3], "the cheapest first"
    assert winner.trial == 0, "of equally good ones"
    assert sorted(map(filters_of, trains.students)) == sorted(SIZES)
    for record in records:
        files = final.files.of_point(record.name)
        assert files.model == final.files.root / "front" / record.name / f"{record.name}.keras"
        assert model_of(files.model).startswith("model of seed ")
        best = files.read_json(BestRecipe, files.best_recipe)
        assert best.trial == record.trial
        assert 1 <= len(best.teachers) <= N_TEACHERS


def test_best_network_is_best_keras_with_all_that_it_was_chosen_from(tmp_path: Path, digits_split: Split) -> None:
    final = final_round(tmp_path, digits_split, trainer(digits_split))
    front_of(final)
    best = final.files.of_point(final.files.read_front()[-1].name)
    assert best.model.read_bytes() == final.files.model.read_bytes()
    assert best.best_recipe.read_text() == final.files.best_recipe.read_text()
    assert {path.name for path in final.files.refit.iterdir()} == {path.name for path in best.refit.iterdir()}


def test_network_that_is_best_only_once_it_is_taught_is_best_keras(tmp_path: Path, digits_split: Split) -> None:
    class Teaching(FakeTrainer):
        def _probabilities(self, task: TrainTask) -> np.ndarray:
            self._student_accuracy = 0.99 if filters_of(task) == 4 else 0.7
            return super()._probabilities(task)

    final = final_round(tmp_path, digits_split, Teaching(digits_split.confirmation.labels, lambda f: 0.8 + f / 100))
    winner = front_of(final)
    assert winner.trial == 1
    assert {record.trial for record in final.files.read_refit_records()} == {1}
    best = final.files.of_point(final.files.read_front()[1].name)
    assert final.files.model.read_bytes() == best.model.read_bytes()


def test_network_whose_student_is_worse_is_delivered_as_it_was_confirmed(tmp_path: Path, digits_split: Split) -> None:
    final = final_round(tmp_path, digits_split, trainer(digits_split, student_accuracy=0.85))
    front_of(final)
    taught = []
    for record in final.files.read_front():
        (training,) = final.files.of_point(record.name).read_refit_records()
        taught.append(bool(training.teachers))
    assert taught == [True, True, False, False], "0.82 and 0.84 are less, 0.88 and 0.96 more"


def test_every_network_has_as_many_students_as_are_asked_for(tmp_path: Path, digits_split: Split) -> None:
    trains = trainer(digits_split)
    front_of(final_round(tmp_path, digits_split, trains), n_seeds=2)
    assert sorted(map(filters_of, trains.students)) == sorted([*SIZES, *SIZES])
    assert {task.n_planned_images for task in trains.students} == {
        round(STUDENT_LENGTH * N_EPOCHS * (len(digits_split.train) + len(digits_split.selection)))
    }


def test_run_that_was_killed_trains_what_is_missing_only(tmp_path: Path, digits_split: Split) -> None:
    trains = trainer(digits_split)
    final = final_round(tmp_path, digits_split, trains)
    front_of(final)
    first, lost = final.files.read_front()[:2]
    files = final.files.of_point(first.name)
    for path in (files.student_record(0), files.student_model(0)):
        files.checksums.forget(path)
    files.checksums.forget(final.files.confirm_model(lost.trial))
    before = len(trains.tasks)
    front_of(final)
    again = trains.tasks[before:]
    assert sorted((filters_of(task), bool(task.teachers)) for task in again) == [(2, True), (4, False)]


def test_students_of_a_teacher_that_is_trained_again_are_too(tmp_path: Path, digits_split: Split) -> None:
    trains = trainer(digits_split)
    final = final_round(tmp_path, digits_split, trains)
    front_of(final)
    (student,) = final.files.of_point(final.files.read_front()[0].name).read_student_records()
    final.files.checksums.forget(final.files.root / student.teachers[0].model)
    before = len(trains.students)
    front_of(final)
    assert sorted(map(filters_of, trains.students[before:])) == sorted(SIZES)


def test_best_network_keeps_nothing_that_an_earlier_run_delivered(tmp_path: Path, digits_split: Split) -> None:
    final = final_round(tmp_path, digits_split, trainer(digits_split, student_accuracy=0.99))
    front_of(final, n_seeds=2)
    assert len(final.files.read_refit_records()) == 2
    for record in final.files.read_front():  # the first students turn out worse, so that none is delivered
        final.files.checksums.forget(final.files.of_point(record.name).refit)
    front_of(replace(final, trainer=trainer(digits_split, student_accuracy=0.1)), n_seeds=2)
    (delivered,) = final.files.read_refit_records()
    assert not delivered.teachers
    assert len(final.files.read_json(BestRecipe, final.files.best_recipe).retrainings) == 1


def test_network_whose_training_fails_is_no_part_of_the_front(tmp_path: Path, digits_split: Split) -> None:
    class Breaking(Failing):
        failure = staticmethod(lambda task: TrainingFailed("memory", "too much") if filters_of(task) == 4 else None)

    trains = Breaking(digits_split.confirmation.labels, lambda filters: 0.8 + filters / 100)
    final = final_round(tmp_path, digits_split, trains)
    front_of(final)
    assert [record.trial for record in final.files.read_front()] == [0, 2, 3]


def test_student_that_fails_leaves_the_finalist_with_the_reason(tmp_path: Path, digits_split: Split) -> None:
    class Breaking(Failing):
        failure = staticmethod(
            lambda task: TrainingFailed("memory", "too much") if task.teachers and filters_of(task) == 4 else None
        )

    trains = Breaking(digits_split.confirmation.labels, lambda filters: 0.8 + filters / 100, 0.99)
    final = final_round(tmp_path, digits_split, trains)
    front_of(final)
    (training,) = final.files.of_point(final.files.read_front()[1].name).read_refit_records()
    assert training.teachers == ()
    assert training.rule.endswith("a student of the finalists failed (memory): too much")


def test_bug_in_a_student_ends_the_run(tmp_path: Path, digits_split: Split) -> None:
    class Broken(Failing):
        failure = staticmethod(lambda task: TrainingFailed("error", "a bug") if task.teachers else None)

    final = final_round(tmp_path, digits_split, Broken(digits_split.confirmation.labels, lambda filters: 0.9))
    with pytest.raises(TrainingFailed, match="a bug"):
        front_of(final)


def test_network_that_is_no_longer_of_the_front_leaves_nothing(tmp_path: Path, digits_split: Split) -> None:
    final = final_round(tmp_path, digits_split, trainer(digits_split))
    front_of(final)
    old = final.files.read_front()[1]
    without = [each for each in TRIALS if each.number != old.trial]
    confirm_front(final, without, CONFIG, 100, announce)
    assert not (final.files.front / old.name).exists()
    assert old not in final.files.read_front()


# --- time


def test_small_networks_are_trained_for_longer_but_none_beyond_the_longest() -> None:
    assert stretches_of([1, 4, 16], 1.0) == [4.0, 2.0, 1.0]
    assert stretches_of([1, 10_000], 2.0) == [MOST_LENGTHS / 2.0, 1.0]


def together(seconds: Sequence[float]) -> float:
    return seconds_together(seconds, 2)


def test_students_follow_where_there_is_time_for_long_finalists_only() -> None:
    trainings = [FullTraining(seconds, 10 * round(seconds)) for seconds in (100.0, 200.0, 400.0, 800.0)]
    short, long = (plan_of_front(trainings, 1, seconds, together) for seconds in (1000.0, 20_000.0))
    assert short.seconds_kept == 0
    assert long.seconds_kept > 0 and long.share >= LENGTH_BESIDE_STUDENTS_OF_FRONT
    planned = []
    for training, stretch in zip(trainings, short.stretches([], 2), strict=True):
        planned.append(short.share * training.seconds * stretch)
    assert 900 < together(planned) <= 1000, "without students the finalists have all of it"


def test_networks_of_one_cost_are_trained_alike_however_fast_their_trials_were(
    tmp_path: Path, digits_split: Split
) -> None:
    trains = trainer(digits_split)
    same = recipe(8).to_dict()
    plan = {**same["plan"], "batch_size": 32}
    twins = [TRIALS[0], TRIALS[2], replace(TRIALS[2], number=9, recipe={**same, "plan": plan}, seconds=9.0, value=0.95)]
    final = final_round(tmp_path, digits_split, trains)
    points = [finalist_of(each) for each in twins]
    confirm(final, points, plan_front(final, points, 1, 100))
    lengths = [task.n_planned_images for task in trains.tasks if filters_of(task) == 8]
    assert len(lengths) == 2 and len(set(lengths)) == 1


def test_finalist_that_is_slower_than_planned_takes_no_other_ones_time(tmp_path: Path, digits_split: Split) -> None:
    asked: list[float] = []

    class Noting(FakeTrainer):
        def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
            asked.append(task.seconds_limit or math.inf)
            yield from super().__call__(task)

    trains = Noting(digits_split.confirmation.labels, lambda filters: 0.8 + filters / 100)
    clock = Clock(1000.0, now=lambda: 0.0)
    final = final_round(tmp_path, digits_split, trains, clock=clock, workers=1)
    points = [finalist_of(each) for each in TRIALS]
    plan = plan_front(final, points, 1, 100)
    confirm_front(final, TRIALS, replace(CONFIG, timeout=1000.0), 100, announce)
    assert plan.seconds <= 1000
    finalists = asked[: len(points)]
    assert finalists == sorted(finalists, reverse=True), "the costliest goes first"
    kept_back = 1000 - (clock.seconds_left_for_training() or 0.0)
    assert sum(finalists) <= 1000 - kept_back + 1 + len(points) * plan.seconds_kept


def test_round_that_is_resumed_keeps_the_time_of_its_students(tmp_path: Path, digits_split: Split) -> None:
    final = final_round(tmp_path, digits_split, trainer(digits_split))
    front_of(final)
    final.files.checksums.forget(final.files.confirm_model(0))
    clock = Clock(20_000.0, now=lambda: 0.0)
    plan = plan_front(replace(final, clock=clock), [finalist_of(each) for each in TRIALS], 1, 100)
    left = clock.seconds_left_for_training()
    assert left is not None and plan.seconds_kept > 0
    assert plan.seconds + plan.seconds_kept == pytest.approx(left)


def test_share_of_a_clock_counts_from_its_first_question() -> None:
    times = [0.0]
    clock = Clock(None)
    clock = Clock(100.0, now=lambda: times[0])
    clock.keep_for_testing(0.0)
    share = ClockShare(clock, 30.0)
    times[0] = 50.0
    assert share.seconds_left_for_training() == 30.0
    times[0] = 60.0
    assert share.seconds_left_for_training() == 20.0
    times[0] = 90.0
    assert share.seconds_left_for_training() == 0.0
    assert ClockShare(Clock(None), None).seconds_left_for_training() is None


def test_points_that_were_trained_are_found_with_their_own_files(tmp_path: Path, digits_split: Split) -> None:
    final = final_round(tmp_path, digits_split, trainer(digits_split))
    front_of(final)
    points = trained_points(final)
    folders = [final.files.front / point.record.name / "training" for point in points]
    assert [point.final.files.refit for point in points] == folders
    names = [record.name for record in name_points([finalist_of(each) for each in TRIALS])]
    assert [point.record.name for point in points] == names
