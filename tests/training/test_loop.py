from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from fmnist.data.images import LabelledImages
from fmnist.model.inference import predict_probabilities
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from fmnist.scoring import METRICS, score_of
from fmnist.training.batches import Batch
from fmnist.training.history import HistoryPoint, best_point
from fmnist.training.loop import Diverged, Training, train
from fmnist.training.precision import has_bfloat16
from fmnist.training.schedule import learning_rate_at
from fmnist.training.step import TrainStep
from fmnist.training.teachers import Teachers

pytestmark = pytest.mark.trains

PLAN = TrainingPlan(batch_size=50, flip=False, shift=1, erasing=0.2)
ARCHITECTURE = Architecture((8, 8, 1), 10, (Block(8, 1, 3), Block(12, 1, 3)), head="flatten", head_dropout=0.1)


def digits(start: int, end: int) -> LabelledImages:
    source = load_digits()
    images = (source.images[start:end, :, :, None] * 15).astype(np.uint8)
    return LabelledImages(images, source.target[start:end].astype(np.uint8))


TRAIN, VALIDATION = digits(0, 1020), digits(1020, 1400)


def quick(seed: int = 0, validation: LabelledImages | None = VALIDATION, **changes) -> Training:
    """A training of about a second. `changes`: arguments of `train`, or fields of the plan."""
    plan_changes = {name: changes.pop(name) for name in list(changes) if name in TrainingPlan.__dataclass_fields__}
    arguments = {"n_planned_images": 2000, "report_every_images": 500, "pixel_mean": 75.0, "pixel_std": 90.0}
    return train(Recipe(ARCHITECTURE, replace(PLAN, **plan_changes)), TRAIN, validation, seed, **arguments | changes)


@pytest.fixture(scope="module")
def training() -> Training:
    return quick(n_planned_images=5000, report_every_images=1000)


@pytest.fixture(scope="module")
def short() -> Training:
    return quick()


def without_seconds(training: Training) -> list[HistoryPoint]:
    return [replace(point, seconds=0.0) for point in training.history]


def marks(training: Training) -> list[int]:
    return [point.n_images for point in training.history]


def validation_accuracy(training: Training) -> float:
    probabilities = predict_probabilities(training.model, VALIDATION.images)
    return float(np.mean(probabilities.argmax(axis=1) == VALIDATION.labels))


def test_a_network_learns_digits(training) -> None:
    assert training.stopped_by == "end"
    assert training.best.validation_accuracy > 0.7
    assert training.history[-1].train_loss < training.history[0].train_loss
    assert training.n_images == 5000


def test_same_seed_gives_identical_history_and_reports_it_as_it_comes(short) -> None:
    seen = []
    again = quick(on_progress=seen.append)
    assert without_seconds(again) == without_seconds(short)
    assert tuple(seen) == again.history
    assert [point.seconds for point in seen] == sorted(point.seconds for point in seen)


def test_a_train_step_used_again_gives_the_history_of_a_new_one(short) -> None:
    train_step = TrainStep(Recipe(ARCHITECTURE, PLAN), 75.0, 90.0, 50, seed=7)
    quick(seed=3, train_step=train_step)
    again = quick(train_step=train_step)
    assert without_seconds(again) == without_seconds(short)
    assert validation_accuracy(again) == validation_accuracy(short)


@pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")
def test_bfloat16_learns_about_the_same_and_hands_over_a_float32_model(short) -> None:
    train_step = TrainStep(Recipe(ARCHITECTURE, PLAN), 75.0, 90.0, 50, seed=0, bfloat16=True)
    rounded = quick(train_step=train_step)
    losses = [[point.train_loss for point in training.history] for training in (rounded, short)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(*losses, rtol=0.1)
    assert validation_accuracy(rounded) == rounded.best.validation_accuracy  # predicted in float32, both
    assert {weight.dtype for weight in rounded.model.weights} == {"float32"}


def test_a_train_step_of_another_recipe_is_refused() -> None:
    train_step = TrainStep(Recipe(ARCHITECTURE, PLAN), 75.0, 90.0, 50, seed=0)
    with pytest.raises(ValueError, match="its own recipe and batch size only"):
        quick(train_step=train_step, label_smoothing=0.3)


def test_averaged_weights_are_validated_and_handed_over_while_the_training_goes_its_own_way(short) -> None:
    averaged = quick(averaging=0.2)
    assert [point.train_loss for point in averaged.history] == [point.train_loss for point in short.history]
    assert [point.validation_loss for point in averaged.history] != [point.validation_loss for point in short.history]
    assert validation_accuracy(averaged) == averaged.best.validation_accuracy


def test_averaging_calms_a_constant_rate() -> None:
    plan = {"schedule": "constant", "optimizer": "sgd", "weight_decay": 0.0, "peak_learning_rate": 0.3}
    rough, smooth = (quick(n_planned_images=10_000, **plan, averaging=share) for share in (0.0, 0.3))
    assert smooth.history[-1].validation_loss < rough.history[-1].validation_loss


def test_another_seed_gives_another_history(short) -> None:
    assert without_seconds(quick(seed=1)) != without_seconds(short)


def test_validating_does_not_change_the_training_and_without_it_there_is_no_best_point(short) -> None:
    blind = quick(validation=None)
    assert [point.train_loss for point in blind.history] == [point.train_loss for point in short.history]
    assert blind.best is None
    assert blind.history[-1].validation_loss is None


@pytest.mark.parametrize("batch_size", [32, 300])
def test_marks_coincide_whatever_the_batch_size(batch_size) -> None:
    training = quick(batch_size=batch_size, n_planned_images=1700)
    assert marks(training) == [500, 1000, 1500, 1700]
    assert abs(training.n_images - 1700) <= batch_size / 2


def test_batches_longer_than_the_marks_report_all_of_them() -> None:
    training = quick(batch_size=600, n_planned_images=1200, report_every_images=200)
    assert marks(training) == [200, 400, 600, 800, 1000, 1200]


def test_a_batch_is_at_most_all_images() -> None:
    training = quick(batch_size=5000, n_planned_images=2040, report_every_images=1020)
    assert training.n_images == 2040


def test_the_best_point_is_restored(training) -> None:
    assert training.best is best_point(training.history)
    assert validation_accuracy(training) == training.best.validation_accuracy


def test_early_stopping_ends_at_the_mark_and_restores_the_best_point() -> None:
    # A rate that soon spoils the network: the best point is an early one.
    training = quick(
        n_planned_images=50_000, patience_images=2000, optimizer="sgd", weight_decay=0.0, peak_learning_rate=5.0
    )
    assert training.stopped_by == "early stopping"
    assert training.history[-1].n_images == training.best.n_images + 2000
    assert validation_accuracy(training) == training.best.validation_accuracy


def test_the_stop_point_keeps_the_length_of_the_schedule(short) -> None:
    cut = quick(n_stop_images=1000)
    assert cut.stopped_by == "stop point"
    assert without_seconds(cut) == without_seconds(short)[:2]


def test_a_stop_point_between_marks_is_a_mark_too() -> None:
    assert marks(quick(n_stop_images=700)) == [500, 700]


def test_a_stop_point_past_the_end_is_the_end(short) -> None:
    training = quick(n_stop_images=9000)
    assert training.stopped_by == "end"
    assert without_seconds(training) == without_seconds(short)


def test_the_time_limit_ends_the_training_with_a_last_validation() -> None:
    training = quick(n_planned_images=10_000_000, report_every_images=100_000, seconds_limit=1.5)
    assert training.stopped_by == "time limit"
    assert training.seconds < 10
    assert training.history[-1].n_images == training.n_images
    assert training.best is not None


class SlowedClock:
    """Time that passes with steps alone: a second for each until the machine becomes slower, then three."""

    def __init__(self, n_fast_steps: int) -> None:
        self._n_fast_steps = n_fast_steps
        self._n_steps = 0
        self._seconds = 0.0

    def monotonic(self) -> float:
        return self._seconds

    def on_step(self, n_images: int, n_planned_images: int) -> None:
        self._n_steps += 1
        self._seconds += 1 if self._n_steps <= self._n_fast_steps else 3


def test_training_that_becomes_slow_on_the_way_goes_through_its_whole_schedule_in_time(monkeypatch) -> None:
    clock = SlowedClock(n_fast_steps=100)
    monkeypatch.setattr("fmnist.training.loop.time", clock)
    planned = {"n_planned_images": 10_000, "report_every_images": 2000}  # 200 steps
    training = quick(**planned, seconds_limit=210.0, ends_in_time=True, on_step=clock.on_step)
    assert training.stopped_by == "end"
    assert 130 * 50 <= training.n_images <= 137 * 50
    assert 195 <= training.seconds <= 210
    last = training.history[-1]
    assert last.n_images == training.reschedulings[-1].n_planned_images
    assert last.learning_rate < 0.1 * PLAN.peak_learning_rate
    repeated = quick(**planned, reschedulings=training.reschedulings)
    assert without_seconds(repeated) == without_seconds(training)
    for weights, again in zip(training.model.get_weights(), repeated.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, again)


def test_training_that_is_fast_enough_keeps_its_length(monkeypatch) -> None:
    clock = SlowedClock(n_fast_steps=1000)
    monkeypatch.setattr("fmnist.training.loop.time", clock)
    training = quick(n_planned_images=2000, seconds_limit=60.0, ends_in_time=True, on_step=clock.on_step)
    assert (training.reschedulings, training.n_images, training.stopped_by) == ((), 2000, "end")


def test_training_that_is_faster_than_planned_becomes_longer_where_it_may(monkeypatch) -> None:
    clock = SlowedClock(n_fast_steps=1000)
    monkeypatch.setattr("fmnist.training.loop.time", clock)
    planned = {"n_planned_images": 2000, "report_every_images": 1000}  # 40 steps
    lengths = []

    def on_step(n_images: int, n_planned_images: int) -> None:
        clock.on_step(n_images, n_planned_images)
        lengths.append(n_planned_images)

    training = quick(**planned, seconds_limit=60.0, ends_in_time=True, n_most_images=9000, on_step=on_step)
    assert (lengths[0], lengths[-1]) == (2000, training.reschedulings[-1].n_planned_images)
    assert training.stopped_by == "end"
    assert 57 * 50 <= training.n_images <= 60 * 50
    assert training.history[-1].learning_rate < 0.1 * PLAN.peak_learning_rate
    repeated = quick(**planned, reschedulings=training.reschedulings)
    assert without_seconds(repeated) == without_seconds(training)


def test_training_that_is_to_end_in_time_needs_a_time() -> None:
    with pytest.raises(ValueError, match="ends_in_time needs a time to end in; pass seconds_limit"):
        quick(ends_in_time=True)


def test_learning_rates_follow_the_schedule(short) -> None:
    expected = [learning_rate_at(PLAN, (step + 0.5) / 40) for step in (9, 19, 29, 39)]
    assert [point.learning_rate for point in short.history] == expected


def test_a_huge_rate_diverges_long_before_the_next_mark() -> None:
    plan = {"optimizer": "sgd", "weight_decay": 0.0, "peak_learning_rate": 10.0, "schedule": "constant"}
    explosive = {"batch_normalization": False, "activation": "gelu", "pooling": "average"}
    architecture = replace(ARCHITECTURE, blocks=(Block(8, 2, 3),) * 2, **explosive)
    recipe = Recipe(architecture, replace(PLAN, **plan))
    arguments = {"n_planned_images": 100_000, "report_every_images": 50_000, "pixel_mean": 75.0, "pixel_std": 1.0}
    with pytest.raises(Diverged, match=r"the training loss is not finite after \d?\d?,?\d{2,3} images"):
        train(recipe, TRAIN, VALIDATION, 0, **arguments)


def test_broken_weights_behind_a_finite_loss_are_noticed_at_the_mark() -> None:
    """Max pooling passes over NaN, so that a network can be broken and have a finite loss."""
    train_step = TrainStep(Recipe(ARCHITECTURE, PLAN), 75.0, 90.0, 50, seed=0)
    train_step.model.get_layer("block1_conv1").set_weights([np.full((3, 3, 1, 8), np.nan)])
    with pytest.raises(Diverged, match=r"the (weights are|training loss is) not finite after 50 images"):
        quick(train_step=train_step, report_every_images=50)


def test_an_exception_of_on_progress_ends_the_training() -> None:
    def prune(point: HistoryPoint) -> None:
        raise InterruptedError(f"pruned at {point.n_images}")

    with pytest.raises(InterruptedError, match="pruned at 500"):
        quick(on_progress=prune)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_planned_images": 0}, "must be at least 1, but got n_planned_images=0"),
        ({"n_stop_images": 0}, "must be at least 1, but got .*n_stop_images=0"),
        ({"report_every_images": 0}, "must be at least 1, but got .*report_every_images=0"),
        ({"patience_images": 0}, "patience_images must be at least 1"),
        ({"patience_images": 5, "validation": None}, "early stopping needs a validation set"),
        ({"validation": LabelledImages(np.zeros((2, 9, 8, 1), np.uint8), np.zeros(2, np.uint8))}, "images must be"),
        ({"validation": LabelledImages(np.zeros((1, 8, 8, 1), np.uint8), np.array([10], np.uint8))}, "below 10"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        quick(**arguments)


def steps_of(*, taught: bool) -> TrainStep:
    architecture = replace(ARCHITECTURE, head_dropout=0.0, batch_normalization=False)
    return TrainStep(Recipe(architecture, replace(PLAN, label_smoothing=0.2)), 75.0, 90.0, 50, seed=0, taught=taught)


TEACHER = np.random.default_rng(0).dirichlet(np.ones(10), 50).astype(np.float32)


def test_loss_of_a_taught_step_is_nine_tenths_the_teachers() -> None:
    batch, step = Batch(TRAIN.images[:50], TRAIN.labels[:50], TEACHER), steps_of(taught=True)
    for _ in range(5):
        step.learn(batch, 1e-3)
    network = keras.Model(step.model.inputs, step.model.get_layer("logits").output)
    logits = np.array(network([batch.images.astype(np.float32)]))
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    smoothed = 0.8 * np.eye(10)[batch.labels] + 0.02
    of_labels = -(smoothed * log_probabilities).sum(axis=1).mean()
    of_teacher = -(TEACHER * log_probabilities).sum(axis=1).mean()
    assert abs(of_labels - of_teacher) > 0.01
    loss, _ = step.learn(batch, 1e-3)
    assert loss == pytest.approx(0.1 * of_labels + 0.9 * of_teacher, rel=1e-4)


def test_step_that_is_not_taught_learns_from_the_labels_alone() -> None:
    losses = []
    for teacher in (None, TEACHER):
        step = steps_of(taught=False)
        losses.append([step.learn(Batch(TRAIN.images[:50], TRAIN.labels[:50], teacher), 1e-3) for _ in range(3)])
    assert losses[0] == losses[1]


def test_a_student_comes_to_say_what_its_teacher_says_whatever_the_labels() -> None:
    model = quick(n_planned_images=10_000).model

    def teacher(images: np.ndarray) -> np.ndarray:
        return np.roll(predict_probabilities(model, images), 1, axis=1)  # the class after the one that it sees

    student = quick(validation=None, teacher=teacher, n_planned_images=10_000)
    predicted = predict_probabilities(student.model, VALIDATION.images).argmax(axis=1)
    assert np.mean(predicted == (VALIDATION.labels + 1) % 10) > 0.6


def test_teacher_is_asked_for_the_images_as_the_student_sees_them() -> None:
    asked: list[np.ndarray] = []

    def teacher(images: np.ndarray) -> np.ndarray:
        asked.append(images)
        return np.full((len(images), 10), 0.1, np.float32)

    training = quick(validation=None, teacher=teacher, erasing=1.0, n_epochs=1)
    assert sum(map(len, asked)) == training.n_images
    known = {image.tobytes() for image in TRAIN.images}
    seen = [image.tobytes() in known for images in asked for image in images]
    assert not any(seen), "every image is erased somewhere"
    without = quick(validation=None, erasing=1.0, n_epochs=1)
    assert marks(without) == marks(training)


def test_teachers_say_the_weighted_mean_of_what_they_predict(tmp_path: Path) -> None:
    paths, models = [], [quick(seed).model for seed in (0, 1)]
    for i, model in enumerate(models):
        paths.append(tmp_path / f"{i}.keras")
        model.save(paths[-1])
    teachers = Teachers(paths, (0.25, 0.75))
    first, second = (predict_probabilities(model, VALIDATION.images) for model in models)
    said = teachers(VALIDATION.images)
    np.testing.assert_allclose(said, 0.25 * first + 0.75 * second, atol=1e-6)
    assert said.dtype == np.float32
    np.testing.assert_array_equal(Teachers(paths, (0.25, 0.75))(VALIDATION.images), said)


def test_taught_step_without_a_teachers_probabilities_is_refused() -> None:
    with pytest.raises(ValueError, match="a taught step needs a teacher's probabilities"):
        steps_of(taught=True).learn(Batch(TRAIN.images[:50], TRAIN.labels[:50]), 1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_score_of_a_point_is_that_of_its_network_on_the_validation_images(metric: str, short: Training) -> None:
    training = quick(metric=metric)
    expected = score_of(metric, VALIDATION.labels, predict_probabilities(training.model, VALIDATION.images))
    assert training.best.score == pytest.approx(expected)
    assert (training.best.validation_score is None) is (metric == "accuracy")
    scores = [point.score for point in training.history]
    assert training.best is training.history[scores.index(max(scores))]
    losses = [[point.train_loss for point in each.history] for each in (training, short)]
    assert losses[0] == losses[1], "the metric chooses among points and changes none of them"


@pytest.mark.parametrize("is_taught", [False, True])
def test_loss_of_each_image_counts_by_the_weight_of_its_label(is_taught: bool) -> None:
    """Also what label smoothing and teachers say of it."""
    plain = Architecture((8, 8, 1), 10, (Block(8, 1, 3),), batch_normalization=False)
    recipe = Recipe(plain, replace(PLAN, batch_size=20, label_smoothing=0.2))
    weights = np.linspace(0.5, 3.0, 10)
    images, labels = TRAIN.images[:20], TRAIN.labels[:20]
    taught = np.full((20, 10), 0.1, np.float32) if is_taught else None
    step = TrainStep(recipe, 75.0, 90.0, 20, seed=0, taught=is_taught, class_weights=weights)
    probabilities = step.probabilities(images).astype(np.float64)
    targets = 0.8 * np.eye(10)[labels] + 0.02
    if is_taught:
        targets = 0.1 * targets + 0.9 * taught
    expected = np.mean(weights[labels] * -(targets * np.log(probabilities)).sum(axis=1))
    loss, _ = step.learn(Batch(images, labels, taught), learning_rate=1e-3)
    assert loss == pytest.approx(expected, rel=1e-4)


def test_equal_weights_learn_what_no_weights_do(short: Training) -> None:
    step = TrainStep(Recipe(ARCHITECTURE, PLAN), 75.0, 90.0, 50, seed=0, class_weights=np.ones(10))
    losses = [[point.train_loss for point in each.history] for each in (quick(train_step=step), short)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_class_with_a_large_weight_is_found_more_often(short: Training) -> None:
    weights = np.full(10, 0.5)
    weights[3] = 5.5
    step = TrainStep(Recipe(ARCHITECTURE, PLAN), 75.0, 90.0, 50, seed=0, class_weights=weights)
    n_named = []
    for model in (quick(train_step=step).model, short.model):
        n_named.append(np.sum(predict_probabilities(model, VALIDATION.images).argmax(axis=1) == 3))
    assert n_named[0] > n_named[1]
