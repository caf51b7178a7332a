"""The final round with a fake trainer: who gets in, who wins, what the retraining follows, what a kill repeats."""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from fmnist.baselines.catalog import BASELINES
from fmnist.data.find import find_data
from fmnist.data.source import DataSource
from fmnist.data.split import Split, load_test, save_split
from fmnist.errors import UserError
from fmnist.export.formats import ExportRecord
from fmnist.metrics.robustness import changes
from fmnist.model.metadata import ModelMetadata, read_metadata
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from fmnist.training.history import HistoryPoint
from search.callbacks.base import Callback
from search.records.files import StudyFiles
from search.records.io import read_json
from search.records.models import BestRecipe, ConfirmRecord, DataRecord, TrialRecord
from search.refit.baselines import fit_baselines, missing_baselines
from search.refit.confirmation import EarlyConfirmation, confirm
from search.refit.evaluation import evaluate
from search.refit.exports import make_exports
from search.refit.finalists import choose_finalists, sure_finalists
from search.refit.retraining import refit
from search.refit.round import FinalRound
from search.refit.schedule import SHARE_OF_TIME, Clock, full_training_images, stop_share
from search.worker.tasks import (
    BaselinePredictTask,
    BaselineResult,
    BaselineTask,
    Interrupted,
    PredictTask,
    Trainer,
    TrainingFailed,
    TrainingSite,
    TrainResult,
    TrainTask,
)

pytestmark = pytest.mark.trains

N_EPOCHS = 4


def recipe(filters: int) -> Recipe:
    architecture = Architecture((8, 8, 1), 10, (Block(filters, 1, 3),))
    return Recipe(architecture, TrainingPlan(n_epochs=N_EPOCHS))


def trial(number: int, value: float | None, state: str = "complete", origin: str = "sampler", **more) -> TrialRecord:
    fields = {"recipe": recipe(number + 1).to_dict(), **more}
    return TrialRecord(number, state, value, params={}, origin=origin, reason="", **fields)


# --- who gets in


def test_best_complete_trials_are_finalists_best_first() -> None:
    trials = [trial(number, value=0.1 * number) for number in range(8)]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [7, 6, 5, 4, 3]
    assert [finalist.trial for finalist in choose_finalists(trials, n_finalists=3)] == [7, 6, 5]


def test_price_of_multiply_adds_lets_the_cheaper_of_near_equals_in() -> None:
    trials = [trial(n, 0.9 + 0.001 * n, multiply_adds=1_000_000 * 2**n) for n in range(7)]
    assert [each.trial for each in choose_finalists(trials, accuracy_per_doubling=0.002)] == [0, 1, 2, 3, 4]


def test_default_takes_the_last_place_even_where_it_was_worst() -> None:
    trials = [trial(0, 0.01, origin="default"), *(trial(number, value=0.1 * number) for number in range(1, 9))]
    assert [each.trial for each in choose_finalists(trials)] == [8, 7, 6, 5, 0]


def test_default_whose_trial_was_killed_is_still_a_finalist() -> None:
    trials = [trial(0, None, state="failed", origin="default"), trial(1, 0.9)]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [1, 0]


def test_infeasible_default_is_no_finalist() -> None:
    trials = [trial(0, None, state="infeasible", origin="default"), trial(1, 0.9)]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [1]


def test_equal_recipes_are_one_finalist_with_the_better_score() -> None:
    same = recipe(16).to_dict()
    trials = [trial(1, 0.5, recipe=same), trial(2, 0.7, recipe=same), trial(3, 0.6)]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [2, 3]


def test_default_cut_by_the_clock_is_a_finalist_alone() -> None:
    trials = [trial(0, None, state="pruned", origin="default"), trial(1, None, state="pruned")]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [0]


def test_places_that_no_complete_trial_takes_go_to_those_that_the_clock_has_ended_by_rung_and_accuracy() -> None:
    def cut(number: int, rung: int, accuracy: float | None) -> TrialRecord:
        more = {"state": "pruned", "rung_images": rung, "rung_accuracy": accuracy}
        return trial(number, None, out_of_time=True, **more)

    judged = trial(6, None, state="pruned", rung_images=64_000, rung_accuracy=0.99)
    trials = [trial(1, 0.5), cut(2, 16_000, 0.9), cut(3, 64_000, 0.7), cut(4, 64_000, 0.8), cut(5, 0, None), judged]
    found = choose_finalists(trials)
    assert [finalist.trial for finalist in found] == [1, 4, 3, 2]
    assert [finalist.search_accuracy for finalist in found] == [0.5, None, None, None]
    against_time = choose_finalists(trials, n_finalists=3, against_time=True)
    assert [finalist.trial for finalist in against_time] == [1, 6, 4]


def test_pruned_failed_and_infeasible_trials_are_no_finalists() -> None:
    trials = [trial(n, None, state=state) for n, state in enumerate(("pruned", "failed", "infeasible"))]
    with pytest.raises(UserError, match=r"no trial of this study was trained to its end.*raise --trials or --timeout"):
        choose_finalists(trials)


def test_finalists_are_sure_when_the_trials_that_still_run_cannot_push_them_out() -> None:
    done = [trial(0, 0.01, origin="default"), *(trial(number, value=0.1 * number) for number in range(1, 7))]
    running = [trial(number, None, state="running") for number in range(7, 12)]
    assert [each.trial for each in sure_finalists([*done, *running[:1]], 0.0)] == [6, 5, 4, 0]
    assert [each.trial for each in sure_finalists([*done, *running[:4]], 0.0)] == [0]
    assert sure_finalists([*done, *running], 0.0) == []
    for values in ([0.9], [0.0]):  # whatever the running one becomes
        ended = [*done, *(trial(7 + i, value) for i, value in enumerate(values))]
        assert {6, 5, 4, 0} < {each.trial for each in choose_finalists(ended)}


def test_nobody_is_sure_while_the_default_itself_still_runs() -> None:
    assert sure_finalists([trial(0, None, state="running", origin="default")], 0.0) == []


# --- the round


@pytest.fixture
def source() -> DataSource:
    return find_data("digits")


class FakeTrainer:
    """Scores a recipe by its filters, on the confirmation split as told; remembers its tasks."""

    def __init__(self, labels: np.ndarray, confirm_accuracy: Callable[[int], float], best_share: float = 1.0) -> None:
        self.tasks: list[TrainTask] = []
        self._labels = labels
        self._confirm_accuracy = confirm_accuracy
        self._best_share = best_share

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        self.tasks.append(task)
        n_images = task.n_stop_images or task.n_planned_images
        validated = {} if task.fit_on == "together" else {"validation_loss": 0.1, "validation_accuracy": 0.9}
        at_best = HistoryPoint(round(n_images * self._best_share), 1.0, 0.1, 0.2, 0.9, **validated)
        yield at_best
        if task.save_to is not None:
            with zipfile.ZipFile(task.save_to, "w") as archive:
                archive.writestr("config.json", f"model of seed {task.seed}")
        yield TrainResult(
            history=(at_best,),
            best=at_best if validated else None,
            n_images=n_images,
            seconds=1.0,
            seconds_in_steps=0.9,
            stopped_by="stop point" if task.n_stop_images else "end",
            peak_memory_mb=100.0,
            confirmation_probabilities=self._probabilities(task) if task.score_on_confirmation else None,
        )

    def _probabilities(self, task: TrainTask) -> np.ndarray:
        filters = task.recipe.architecture.blocks[0].filters
        n_right = round(self._confirm_accuracy(filters) * len(self._labels))
        predicted = np.where(np.arange(len(self._labels)) < n_right, self._labels, (self._labels + 1) % 10)
        return np.eye(10, dtype=np.float32)[predicted]


class Peaking(FakeTrainer):
    """Best, at 95 %, in the middle of the schedule; `last_accuracy` at its end."""

    last_accuracy: float

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        *_, result = super().__call__(task)
        if task.fit_on == "together":
            yield result
            return
        middle, end = round(task.n_planned_images / 2), task.n_planned_images
        best = replace(result.history[0], n_images=middle, validation_accuracy=0.95)
        last = replace(best, n_images=end, validation_accuracy=self.last_accuracy)
        yield replace(result, history=(best, last), best=best)


def final_round(tmp_path: Path, split: Split, trainer: Trainer, **more) -> FinalRound:
    files = StudyFiles(tmp_path / "study")
    files.root.mkdir(exist_ok=True, parents=True)
    save_split(split, files.split)
    n_images = {"train": len(split.train), "selection": len(split.selection), "confirmation": len(split.confirmation)}
    data = DataRecord("digits", "", {}, tuple("0123456789"), (8, 8, 1), n_images, {}, 1.0, 1.0, "", 0)
    data = replace(data, background=40.0, object_share=1.0, contrast=255.0)
    fields = {
        "files": files,
        "site": TrainingSite(files.split, 1.0, 1.0, len(split.train), None),
        "data": data,
        "study_seed": 0,
        "trainer": trainer,
        "predict": lambda task: np.zeros((1, 10)),
        "workers": 2,
        "clock": Clock(None),
        "stop": threading.Event(),
        "callback": Callback(),
    }
    return FinalRound(**{**fields, **more})


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


@pytest.mark.parametrize(("n_best", "n_last", "share"), [(238, 237, 1.0), (239, 239, 1.0), (239, 230, 0.1)])
def test_neither_one_image_nor_nothing_left_to_gain_stops_a_retraining(n_best: int, n_last: int, share: float) -> None:
    """Of 239 images so many are right at the best look and at the last, where patience ended the confirmation."""
    best, last = (HistoryPoint(n, 1.0, 0.1, 0.2, 0.9, 0.1, right / 239) for n, right in ((100, n_best), (600, n_last)))
    record = ConfirmRecord(1, "sampler", {}, 0, None, 0.9, 0.9, (best, last), best, 1000, 600, 1.0, "", 1.0)
    assert stop_share(record, 239) == share


class CutShort(FakeTrainer):
    """The timeout ends each retraining after 640 images."""

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        *_, result = super().__call__(task)
        yield replace(result, n_images=640, stopped_by="time limit") if task.fit_on == "together" else result


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


def test_model_that_scores_otherwise_outside_the_project_is_not_reported(
    tmp_path: Path, digits_split: Split, source: DataSource
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    right = np.eye(10, dtype=np.float32)[load_test(source).labels]
    final = final_round(tmp_path, digits_split, trainer, predict=lambda task: right)
    refit(final, confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0], n_seeds=1)
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs))).save(final.files.model)
    with pytest.raises(RuntimeError, match=r"best.keras scores 0\.\d+ when loaded outside the project, but 1.0 inside"):
        evaluate(final, source, n_trials_asked=1)
    assert not final.files.test.exists()


# --- baselines


class FakeFitter:
    """Fits baselines, or raises what it is told to for one of them; remembers its tasks."""

    def __init__(self, errors: dict[str, BaseException] | None = None) -> None:
        self.tasks: list[BaselineTask] = []
        self.errors = errors or {}

    def __call__(self, task: BaselineTask) -> Iterator[HistoryPoint | BaselineResult]:
        self.tasks.append(task)
        yield HistoryPoint(100, 1.0, 0.1, 0.2, 0.9)
        if task.name in self.errors:
            raise self.errors[task.name]
        task.save_to.write_text(f"model of {task.name}")
        yield BaselineResult(1437, 10, 15, 2.5, "trained for 15 epochs", 300.0)

    @property
    def names(self) -> list[str]:
        return [task.name for task in self.tasks]


NAMES = [baseline.name for baseline in BASELINES]


def test_baselines_are_fitted_one_after_another_with_all_threads_and_seeds_of_their_own(
    tmp_path: Path, digits_split: Split
) -> None:
    fitter = FakeFitter()
    final = final_round(tmp_path, digits_split, fitter, workers=4)
    records = fit_baselines(final, memory_limit_mb=5000)
    assert fitter.names == [record.name for record in records] == NAMES
    assert {task.n_threads for task in fitter.tasks} == {4}
    assert {task.memory_limit_mb for task in fitter.tasks} == {5000}
    assert len({task.seed for task in fitter.tasks}) == len(NAMES)
    assert {record.published_accuracy for record in records} == {None}  # which notebooks give for Fashion-MNIST alone
    assert records[0].n_images == 1437 and records[0].seconds == 2.5 and records[0].failure is None
    assert all(final.files.baseline_model(each).read_text() == f"model of {each.name}" for each in BASELINES)
    assert final.files.read_ledger()["baselines"] > 0


def test_baselines_of_fashion_mnist_bear_what_their_notebooks_give(tmp_path: Path, digits_split: Split) -> None:
    final = final_round(tmp_path, digits_split, FakeFitter())
    final = replace(final, data=replace(final.data, dataset="fashion-mnist"))
    records = fit_baselines(final, None)
    assert [record.published_accuracy for record in records[:4]] == [0.89, 0.91, 0.91, None]


def test_fitted_baselines_are_not_fitted_again_after_a_stop(tmp_path: Path, digits_split: Split) -> None:
    fitter = FakeFitter({NAMES[2]: Interrupted()})
    final = final_round(tmp_path, digits_split, fitter)
    with pytest.raises(Interrupted):
        fit_baselines(final, None)
    assert [baseline.name for baseline in missing_baselines(final.files)] == NAMES[2:]
    again = FakeFitter()
    fit_baselines(replace(final, trainer=again), None)
    assert (fitter.names, again.names) == (NAMES[:3], NAMES[2:])
    fit_baselines(replace(final, trainer=again), None)
    assert again.names == NAMES[2:]


def test_baseline_that_fails_is_recorded_with_its_reason_and_the_others_go_on(
    tmp_path: Path, digits_split: Split
) -> None:
    fitter = FakeFitter({NAMES[1]: TrainingFailed("killed", "the process was killed", "its trace")})
    final = final_round(tmp_path, digits_split, fitter)
    records = fit_baselines(final, None)
    assert fitter.names == NAMES
    assert [record.name for record in records if record.failure] == [NAMES[1]]
    failed = records[1]
    assert (failed.failure, failed.reason, failed.trace) == (
        "killed",
        "failed (killed): the process was killed",
        "its trace",
    )
    assert (failed.n_images, failed.peak_memory_mb) == (None, None)
    assert not final.files.baseline_model(BASELINES[1]).exists()
    assert missing_baselines(final.files) == []


@pytest.fixture
def fitted(tmp_path: Path, digits_split: Split) -> FinalRound:
    """A final round with a retrained winner and all baselines but the first, which failed."""
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    refit(final, confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0], n_seeds=1)
    _save_constant_model(final.files)
    fit_baselines(replace(final, trainer=FakeFitter({NAMES[0]: TrainingFailed("error", "a bug")})), None)
    return final


def constant(task: PredictTask) -> np.ndarray:
    """What a model says that calls everything class 0."""
    shape = (len(task.images), 10)
    return np.zeros((len(changes()), *shape) if task.changed else shape, np.float32)


class FakePredictor:
    """Says class 0 of everything, as the constant model does, and of baselines their number; or raises for one."""

    def __init__(self, errors: dict[str, BaseException] | None = None) -> None:
        self.names: list[str] = []  # of baselines
        self.errors = errors or {}

    def __call__(self, task: PredictTask | BaselinePredictTask) -> np.ndarray:
        if isinstance(task, PredictTask):
            return constant(task)
        self.names.append(task.name)
        if task.name in self.errors:
            raise self.errors[task.name]
        assert task.model.read_text() == f"model of {task.name}"
        return np.full(len(task.images), NAMES.index(task.name), np.uint8)


def test_baselines_predict_when_the_test_set_is_opened_and_their_models_are_removed(
    fitted: FinalRound, source: DataSource
) -> None:
    predictor = FakePredictor()
    evaluate(replace(fitted, predict=predictor), source, n_trials_asked=1)
    assert predictor.names == NAMES[1:]
    first, *others = fitted.files.read_baselines()
    assert (first.record.failure, first.predicted) == ("error", None)
    assert [set(outcome.predicted.tolist()) for outcome in others] == [{i} for i in range(1, len(NAMES))]
    assert all(len(outcome.predicted) == 360 for outcome in others)
    assert {path.suffix for path in fitted.files.baselines.iterdir()} == {".json", ".npz"}


def test_baselines_that_have_predicted_do_not_again_after_a_stop(fitted: FinalRound, source: DataSource) -> None:
    stopped, again = FakePredictor({NAMES[3]: Interrupted()}), FakePredictor()
    with pytest.raises(Interrupted):
        evaluate(replace(fitted, predict=stopped), source, n_trials_asked=1)
    assert not fitted.files.test.exists()
    evaluate(replace(fitted, predict=again), source, n_trials_asked=1)
    assert (stopped.names, again.names) == (NAMES[1:4], NAMES[3:])


def test_baseline_that_cannot_predict_is_recorded_with_its_reason(fitted: FinalRound, source: DataSource) -> None:
    predictor = FakePredictor({NAMES[4]: TrainingFailed("memory", "no room")})
    evaluate(replace(fitted, predict=predictor), source, n_trials_asked=1)
    outcome = fitted.files.read_baselines()[4]
    assert (outcome.record.failure, outcome.record.reason) == ("memory", "failed (memory): no room")
    assert outcome.predicted is None
    assert predictor.names == NAMES[1:]
    assert {path.suffix for path in fitted.files.baselines.iterdir()} == {".json", ".npz"}


# --- the test set


def test_test_set_is_opened_once(tmp_path: Path, digits_split: Split, source: DataSource) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    opened: list[PredictTask] = []
    final = final_round(tmp_path, digits_split, trainer)
    _save_constant_model(final.files)
    final = replace(final, predict=lambda task: (opened.append(task), constant(task))[1])
    refit(final, confirm(final, choose_finalists([trial(1, 0.9)]), 1, 1000)[0], n_seeds=2)
    _save_constant_model(final.files)
    first = evaluate(final, source, n_trials_asked=1)
    assert evaluate(final, source, n_trials_asked=9) == first
    assert len(opened) == 5  # once per seed, with mirrored images, and once with all changes
    assert [row.change for row in first.changed] == [change.name for change in changes()]
    arrays = final.files.read_test_arrays()
    assert arrays.probabilities.shape == (2, 360, 10)
    assert len(arrays.mistake_images) == 360 - round(first.delivered_accuracy * 360)


def _save_constant_model(files: StudyFiles) -> None:
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Dense(10, kernel_initializer="zeros")(keras.layers.Flatten()(inputs))).save(
        files.model
    )


# --- exports


class FakeExporter:
    """Exports by writing a file, or fails as it is told to; remembers what it was asked for."""

    def __init__(self, failures: dict[str, str] | None = None, stop_before: str | None = None) -> None:
        self.asked: list[str] = []
        self.how: dict[str, object] = {}
        self._failures = failures or {}
        self._stop_before = stop_before

    def __call__(self, model: Path, names: list[str], folder: Path, **how) -> Iterator[ExportRecord]:
        self.asked, self.how = [*self.asked, *names], how
        folder.mkdir(exist_ok=True)
        for name in names:
            if name == self._stop_before:
                raise Interrupted
            record = ExportRecord(name, f"{model.stem}.{name}", 1.0, how["n_threads"], len(how["images"]))
            if name in self._failures:
                yield replace(record, failure=self._failures[name])
            else:
                (folder / record.file).write_text("whole")
                yield replace(record, largest_difference=1e-7, n_same_class=len(how["images"]))


@pytest.fixture
def make(tmp_path: Path, source: DataSource) -> Callable[[FakeExporter, str], list[ExportRecord]]:
    def run(export: FakeExporter, names: str, stop: threading.Event | None = None) -> list[ExportRecord]:
        files, stop = StudyFiles(tmp_path), stop or threading.Event()
        return make_exports(files, source, names.split(), 2, stop, Callback(), export=export)

    return run


def test_exports_are_compared_on_the_whole_test_set(tmp_path: Path, make, source: DataSource) -> None:
    export, test = FakeExporter(), load_test(source)
    records = make(export, "keras onnx")
    assert [record.format for record in records] == export.asked == ["keras", "onnx"]
    assert np.array_equal(export.how["images"], test.images) and np.array_equal(export.how["labels"], test.labels)
    assert export.how["n_threads"] == 2
    assert StudyFiles(tmp_path).read_export_records() == records
    assert StudyFiles(tmp_path).read_ledger()["exports"] > 0


def test_exports_that_are_there_are_not_made_again(tmp_path: Path, make) -> None:
    with pytest.raises(Interrupted):
        make(FakeExporter(stop_before="litert"), "keras litert onnx")
    again = FakeExporter()
    assert [record.format for record in make(again, "keras litert onnx")] == ["keras", "litert", "onnx"]
    assert again.asked == ["litert", "onnx"]
    (tmp_path / "exports" / "best.onnx").unlink()
    make(again, "keras onnx")
    assert again.asked == ["litert", "onnx", "onnx"]


def test_export_that_failed_is_tried_again_when_it_is_asked_for_again(make) -> None:
    first, again = FakeExporter({"onnx": "no such layer"}), FakeExporter()
    assert [record.failure for record in make(first, "keras onnx")] == [None, "no such layer"]
    assert [record.failure for record in make(again, "keras")] == [None, "no such layer"]
    assert again.asked == []
    assert [record.failure for record in make(again, "onnx")] == [None, None]


def test_exports_stop_when_the_run_does(make) -> None:
    stop, export = threading.Event(), FakeExporter()
    make(export, "onnx", stop)
    export.how["check_cancelled"]()
    stop.set()
    with pytest.raises(Interrupted):
        export.how["check_cancelled"]()


def test_reserve_counts_finalists_and_retrainings() -> None:
    n_images = {"train": 100, "selection": 10, "confirmation": 10}
    data = DataRecord("d", "", {}, (), (8, 8, 1), n_images, {}, 1.0, 1.0, "", 0)
    one_worker = 10 * (3 * 0.4 * 100 + 3 * 120)
    assert full_training_images(10, data, n_refits=3, workers=1) == one_worker
    assert full_training_images(10, data, n_refits=3, workers=2) == one_worker / 2


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


class UnderWay(FakeTrainer):
    """Retrains at so many images per second, after a second in which nothing is learned; confirms at half the speed."""

    def __init__(self, labels: np.ndarray, speed: float) -> None:
        super().__init__(labels, lambda filters: 0.5)
        self._speed = speed

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        *_, result = super().__call__(task)
        if task.fit_on == "together":
            seconds = min(task.seconds_limit, 1 + task.n_planned_images / self._speed)
            end = round(self._speed * (seconds - 1))
            marks = [*range(task.report_every_images, end, task.report_every_images), end]
            history = tuple(HistoryPoint(n, 1 + n / self._speed, 0.1, 0.2, 0.9) for n in marks)
            yield replace(result, history=history, seconds=seconds)
        else:
            yield replace(result, seconds=2 * result.n_images / self._speed)


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
