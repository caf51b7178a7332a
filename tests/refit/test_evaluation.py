"""What is scored when the test set is opened, and that it is opened once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from fmnist.data.source import DataSource
from fmnist.data.split import Split, load_test
from fmnist.errors import UserError
from fmnist.metrics.robustness import changes
from search.refit.baselines import fit_baselines
from search.refit.confirmation import confirm
from search.refit.evaluation import evaluate
from search.refit.finalists import choose_finalists
from search.refit.retraining import refit
from search.refit.round import FinalRound
from search.worker.tasks import Interrupted, PredictorTask, PredictTask, TrainingFailed
from tests.support.training.fake_trainer import (
    NAMES,
    FakeFitter,
    FakePredictor,
    FakeTrainer,
    constant,
    final_round,
    save_constant_model,
    trial,
)

pytestmark = pytest.mark.trains


def test_model_that_scores_otherwise_outside_the_project_is_not_reported(
    tmp_path: Path, digits_split: Split, source: DataSource
) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    right = np.eye(10, dtype=np.float32)[load_test(source).labels]
    final = final_round(tmp_path, digits_split, trainer, predict=lambda task: right)
    refit(final, confirm(final, choose_finalists([trial(1, 0.9)]))[0], n_seeds=1)
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs))).save(final.files.model)
    with pytest.raises(RuntimeError, match=r"best.keras scores 0\.\d+ when loaded outside the project, but 1.0 inside"):
        evaluate(final, source, n_trials_asked=1)
    assert not final.files.test.exists()


@pytest.fixture
def fitted(tmp_path: Path, digits_split: Split) -> FinalRound:
    """A final round with a retrained winner and all baselines but the first, which failed."""
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    final = final_round(tmp_path, digits_split, trainer)
    refit(final, confirm(final, choose_finalists([trial(1, 0.9)]))[0], n_seeds=1)
    save_constant_model(final.files)
    fit_baselines(replace(final, trainer=FakeFitter({NAMES[0]: TrainingFailed("error", "a bug")})))
    return final


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


def test_run_that_loses_its_study_while_the_test_set_is_open_keeps_nothing_of_it(
    fitted: FinalRound, source: DataSource
) -> None:
    predictor, answers = FakePredictor(), [None, UserError("the study was taken over by another run")]

    def require_hold() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    before = set(fitted.files.root.rglob("*"))
    with pytest.raises(UserError, match="taken over"):
        evaluate(replace(fitted, predict=predictor), source, 1, require_hold)
    assert not answers and not predictor.names
    assert set(fitted.files.root.rglob("*")) == before


def test_baseline_that_cannot_predict_is_recorded_with_its_reason(fitted: FinalRound, source: DataSource) -> None:
    predictor = FakePredictor({NAMES[4]: TrainingFailed("memory", "no room")})
    evaluate(replace(fitted, predict=predictor), source, n_trials_asked=1)
    outcome = fitted.files.read_baselines()[4]
    assert (outcome.record.failure, outcome.record.reason) == ("memory", "failed (memory): no room")
    assert outcome.predicted is None
    assert predictor.names == NAMES[1:]
    assert {path.suffix for path in fitted.files.baselines.iterdir()} == {".json", ".npz"}


def test_test_set_is_opened_once(tmp_path: Path, digits_split: Split, source: DataSource) -> None:
    trainer = FakeTrainer(digits_split.confirmation.labels, lambda filters: 0.5)
    opened: list[PredictorTask] = []
    final = final_round(tmp_path, digits_split, trainer)
    save_constant_model(final.files)
    final = replace(final, predict=lambda task: (opened.append(task), constant(task))[1])
    refit(final, confirm(final, choose_finalists([trial(1, 0.9)]))[0], n_seeds=2)
    save_constant_model(final.files)
    first = evaluate(final, source, n_trials_asked=1)
    assert evaluate(final, source, n_trials_asked=9) == first
    predicted = [task for task in opened if isinstance(task, PredictTask)]
    assert len(predicted) == 5  # once per seed, with mirrored images, and once with all changes
    assert [row.change for row in first.changed] == [change.name for change in changes()]
    arrays = final.files.read_test_arrays()
    assert arrays.probabilities.shape == (2, 360, 10)
    assert len(arrays.mistake_images) == 360 - round(first.delivered_accuracy * 360)
