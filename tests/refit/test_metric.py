"""By balanced accuracy, the network that finds the rare class wins, is delivered and leads the ensemble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.images import LabelledImages
from fmnist.data.split import Split
from fmnist.scoring import Metric, score_of
from search.records.io import read_json
from search.records.models import BestRecipe, EnsembleRecipe, MemberRecord
from search.refit.confirmation import confirm
from search.refit.ensemble import choose_average, finalists_of
from search.refit.finalists import choose_finalists
from search.refit.retraining import refit
from search.refit.round import FinalRound
from search.worker.tasks import TrainingSite, TrainTask
from tests.support.training.fake_trainer import FakeTrainer, filters_of, final_round, is_student, recipe, trial

LABELS = np.repeat(np.arange(10, dtype=np.uint8), [91, *[1] * 9])
ALWAYS_0, FINDS_RARE = 2, 3  # filters of a network that answers class 0, and of one with more mistakes among these


def probabilities_of(filters: int) -> np.ndarray:
    predicted = np.zeros(len(LABELS), np.int64)
    if filters == FINDS_RARE:
        predicted = LABELS.astype(np.int64)
        predicted[:20] = 1  # of class 0: 80 of 100 right, against 91
    return (0.9 * np.eye(10)[predicted] + 0.01).astype(np.float32)


class ByFilters(FakeTrainer):
    """Networks that predict as `probabilities_of` says; students as told."""

    def __init__(self, of_students: Callable[[int], np.ndarray] = probabilities_of) -> None:
        super().__init__(LABELS, lambda filters: 0.0)
        self._of_students = of_students

    def _probabilities(self, task: TrainTask) -> np.ndarray:
        return (self._of_students if is_student(task) else probabilities_of)(filters_of(task))


FINALISTS = choose_finalists([trial(ALWAYS_0 - 1, 0.9), trial(FINDS_RARE - 1, 0.8)])


def round_by(metric: Metric, folder: Path, split: Split, trainer: FakeTrainer) -> FinalRound:
    images = np.zeros((len(LABELS), 8, 8, 1), np.uint8)
    uneven = replace(split, confirmation=LabelledImages(images, LABELS))
    final = final_round(folder, uneven, trainer)
    final.files.begin_checksums()
    site = TrainingSite(final.files.split, 1.0, 1.0, 9, None, metric=metric, class_weights="balanced")
    return replace(final, site=site)


@pytest.mark.parametrize(
    ("metric", "best"),
    [("accuracy", ALWAYS_0), ("balanced_accuracy", FINDS_RARE), ("macro_f1", FINDS_RARE), ("log_loss", ALWAYS_0)],
)
def test_winner_is_best_by_the_metric_and_both_figures_are_recorded(
    tmp_path: Path, digits_split: Split, metric: Metric, best: int
) -> None:
    winner = confirm(round_by(metric, tmp_path, digits_split, ByFilters()), FINALISTS)[0]
    assert winner.recipe == recipe(best).to_dict()
    predicted = probabilities_of(best)
    assert winner.confirm_accuracy == score_of("accuracy", LABELS, predicted)
    assert winner.score == score_of(metric, LABELS, predicted)
    assert (winner.confirm_score is None) is (metric == "accuracy")


@pytest.mark.parametrize(("metric", "is_delivered"), [("accuracy", True), ("balanced_accuracy", False)])
def test_student_with_more_right_that_loses_the_rare_classes_is_delivered_by_accuracy_alone(
    tmp_path: Path, digits_split: Split, metric: Metric, is_delivered: bool
) -> None:
    final = round_by(metric, tmp_path, digits_split, ByFilters(lambda filters: probabilities_of(ALWAYS_0)))
    winner = confirm(final, FINALISTS[1:])[0]
    delivered = refit(final, winner, n_seeds=1)
    assert (delivered[0].seed != winner.seed) is is_delivered
    assert len(final.files.read_student_records()) == 1


@pytest.mark.parametrize(("metric", "heaviest"), [("log_loss", ALWAYS_0), ("balanced_accuracy", FINDS_RARE)])
def test_ensemble_counts_classes_as_the_metric_does(
    tmp_path: Path, digits_split: Split, metric: Metric, heaviest: int
) -> None:
    final = round_by(metric, tmp_path, digits_split, ByFilters())
    confirm(final, FINALISTS)
    members = choose_average(final, finalists_of(final)).members
    assert members[0].model == f"confirm/trial-{heaviest - 1:04}.keras"
    assert isinstance(members[0], MemberRecord) and members[0].weight > 0.5


def test_trainings_and_recipes_have_the_weights_of_the_study(tmp_path: Path, digits_split: Split) -> None:
    trainer = ByFilters()
    final = round_by("balanced_accuracy", tmp_path, digits_split, trainer)
    refit(final, confirm(final, FINALISTS)[0], n_seeds=1)
    assert {(task.class_weights, task.metric) for task in trainer.tasks} == {("balanced", "balanced_accuracy")}
    assert len(trainer.students) == 1
    assert read_json(BestRecipe, final.files.best_recipe).class_weights == "balanced"
    assert EnsembleRecipe.__dataclass_fields__["class_weights"].default == "none", "of studies from before"


def test_finalists_are_the_best_by_score_whatever_their_accuracy() -> None:
    scored = [trial(number, -0.1 * number, origin="sampler") for number in range(1, 7)]  # negative log losses
    assert [finalist.trial for finalist in choose_finalists(scored, n_finalists=3)] == [1, 2, 3]
    cut = trial(9, None, state="pruned", out_of_time=True, rung_images=4000, rung_accuracy=0.9, rung_score=-0.05)
    other = trial(8, None, state="pruned", out_of_time=True, rung_images=4000, rung_accuracy=0.95, rung_score=-0.5)
    assert [finalist.trial for finalist in choose_finalists([*scored[:2], other, cut])] == [1, 2, 9, 8]
