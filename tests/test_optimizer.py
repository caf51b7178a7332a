from __future__ import annotations

import keras
import numpy as np
import pytest

from fmnist.optimizer import build_optimizer, learning_rate_at
from fmnist.recipe import SCHEDULES, TrainingPlan


def rates(n_steps: int, **plan) -> np.ndarray:
    return np.array([learning_rate_at(TrainingPlan(**plan), step, n_steps) for step in range(n_steps)])


def network() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d"), keras.layers.BatchNormalization()])


def test_constant_schedule_stays_at_the_peak():
    assert set(rates(7, schedule="constant", peak_learning_rate=0.01)) == {0.01}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("n_steps", [1, 2, 50])
def test_every_rate_is_above_0_and_at_most_the_peak(schedule, warmup_fraction, n_steps):
    values = rates(n_steps, schedule=schedule, warmup_fraction=warmup_fraction, peak_learning_rate=0.01)
    assert (values > 0).all()
    assert (values <= 0.01).all()


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_the_rate_climbs_for_the_warm_up_and_falls_after_it(schedule):
    values = rates(1000, schedule=schedule, warmup_fraction=0.2, peak_learning_rate=1.0)
    assert (np.diff(values[:200]) > 0).all()
    assert (np.diff(values[200:]) < 0).all()
    assert values.max() == pytest.approx(1, abs=0.01)
    assert values[-1] < 0.001


def test_one_cycle_follows_its_formula():
    values = rates(10, schedule="one_cycle", warmup_fraction=0.2, peak_learning_rate=1.0)
    np.testing.assert_allclose(values[:4], [0.25, 0.75, 0.75 / 0.8, 0.65 / 0.8])


def test_cosine_is_halfway_down_in_the_middle():
    values = rates(101, schedule="cosine", warmup_fraction=0.0, peak_learning_rate=1.0)
    assert values[50] == pytest.approx(0.5)


@pytest.mark.parametrize("step", [-1, 5])
def test_a_step_outside_the_schedule_is_refused(step):
    with pytest.raises(ValueError, match=r"at least 0 and below n_steps, but got step="):
        learning_rate_at(TrainingPlan(), step, 5)


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        (TrainingPlan(optimizer="adam", weight_decay=0.0), keras.optimizers.Adam),
        (TrainingPlan(optimizer="adamw", weight_decay=0.1), keras.optimizers.AdamW),
        (TrainingPlan(optimizer="sgd", weight_decay=0.1), keras.optimizers.SGD),
        (TrainingPlan(optimizer="sgd", weight_decay=0.0), keras.optimizers.SGD),
    ],
)
def test_each_optimizer_is_built_at_the_peak_rate(plan, kind):
    optimizer = build_optimizer(plan)
    assert type(optimizer) is kind
    assert float(optimizer.learning_rate) == pytest.approx(plan.peak_learning_rate)


def test_sgd_has_nesterov_momentum():
    optimizer = build_optimizer(TrainingPlan(optimizer="sgd"))
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_shrinks_kernels_by_rate_times_decay_and_spares_all_else(name):
    model = network()
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    optimizer = build_optimizer(TrainingPlan(optimizer=name, weight_decay=0.1, peak_learning_rate=0.5))
    optimizer.build(model.trainable_variables)
    optimizer.apply_gradients([(np.zeros(v.shape, np.float32), v) for v in model.trainable_variables])
    values = {variable.name: variable.numpy() for variable in model.trainable_variables}
    np.testing.assert_allclose(values.pop("kernel"), 0.95, rtol=1e-6)
    assert set(values) == {"bias", "gamma", "beta"}
    assert all((value == 1).all() for value in values.values())


def test_a_new_rate_takes_effect_without_tracing_again():
    n_traces = 0

    def loss(targets, outputs):
        nonlocal n_traces
        n_traces += 1  # Python runs only while the step is traced
        return keras.ops.mean((targets - outputs) ** 2)

    model = network()
    model.compile(build_optimizer(TrainingPlan(optimizer="sgd", weight_decay=0.0)), loss=loss)
    x, y = np.random.default_rng(0).random((5, 4), np.float32), np.eye(5, 3, dtype=np.float32)
    before = model.get_layer("d").get_weights()[0]
    model.optimizer.learning_rate = 0.0
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.get_layer("d").get_weights()[0], before)
    n_traces_at_first = n_traces
    for rate in (1.0, 0.5, 0.25):
        model.optimizer.learning_rate = rate
        model.train_on_batch(x, y)
    assert np.abs(model.get_layer("d").get_weights()[0] - before).max() > 1e-3
    assert n_traces == n_traces_at_first
