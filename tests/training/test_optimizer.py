from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fmnist.recipe import TrainingPlan
from fmnist.training.optimizer import Optimizer

pytestmark = pytest.mark.trains


def network() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d"), keras.layers.BatchNormalization()])


def keras_own(plan: TrainingPlan) -> keras.optimizers.Optimizer:
    """What Keras offers under the plan's name."""
    rate, decay = plan.peak_learning_rate, plan.weight_decay or None
    optimizer = {
        "adam": lambda: keras.optimizers.Adam(rate),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=plan.weight_decay),
        "sgd": lambda: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay),
    }[plan.optimizer]()
    if decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


PLANS = [
    TrainingPlan(optimizer="adam", weight_decay=0.0, peak_learning_rate=0.01),
    TrainingPlan(optimizer="adamw", weight_decay=0.1, peak_learning_rate=0.02),
    TrainingPlan(optimizer="sgd", weight_decay=0.1, peak_learning_rate=0.3),
    TrainingPlan(optimizer="sgd", weight_decay=0.0, peak_learning_rate=0.3),
]


@pytest.mark.parametrize("plan", PLANS)
def test_weights_go_where_keras_own_optimizer_takes_them(plan) -> None:
    keras.utils.set_random_seed(0)  # rounding errors are those of these weights, and no others
    ours, theirs = network(), network()
    theirs.set_weights(ours.get_weights())
    optimizer, reference = Optimizer(plan, ours.trainable_variables), keras_own(plan)
    assert optimizer.learning_rate == pytest.approx(plan.peak_learning_rate)
    generator = np.random.default_rng(0)
    for rate in (plan.peak_learning_rate, 0.001, 0.1, 0.1):
        gradients = [generator.normal(size=v.shape).astype(np.float32) for v in ours.trainable_variables]
        optimizer.learning_rate = reference.learning_rate = rate
        optimizer.apply([tf.constant(gradient) for gradient in gradients])
        reference.apply([tf.constant(gradient) for gradient in gradients], theirs.trainable_variables)
    for weight, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("plan", PLANS)
def test_a_restarted_optimizer_steps_like_a_new_one(plan) -> None:
    model = network()
    optimizer = Optimizer(plan, model.trainable_variables)
    before = model.get_weights()
    gradients = [tf.ones(v.shape) for v in model.trainable_variables]
    optimizer.apply(gradients)
    first = model.get_weights()
    optimizer.apply(gradients)
    optimizer.restart()
    model.set_weights(before)
    optimizer.apply(gradients)
    for weight, expected in zip(model.get_weights(), first, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_shrinks_kernels_by_rate_times_decay_and_spares_all_else(name) -> None:
    model = network()
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    plan = TrainingPlan(optimizer=name, weight_decay=0.1, peak_learning_rate=0.5)
    Optimizer(plan, model.trainable_variables).apply([tf.zeros(v.shape) for v in model.trainable_variables])
    values = {variable.name: variable.numpy() for variable in model.trainable_variables}
    np.testing.assert_allclose(values.pop("kernel"), 0.95, rtol=1e-6)
    assert set(values) == {"bias", "gamma", "beta"}
    assert all((value == 1).all() for value in values.values())


def test_a_new_rate_takes_effect_without_tracing_again() -> None:
    model = network()
    optimizer = Optimizer(TrainingPlan(optimizer="sgd", weight_decay=0.0), model.trainable_variables)
    gradients = [tf.ones(v.shape) for v in model.trainable_variables]
    step = tf.function(lambda: optimizer.apply(gradients))
    kernel = model.get_layer("d").kernel
    moved = []
    for rate in (0.0, 1.0, 0.5):
        before = kernel.numpy()
        optimizer.learning_rate = rate
        step()
        moved.append(float(np.abs(kernel.numpy() - before).max()))
    assert moved[0] == 0
    assert moved[1] > moved[2] > 0
    assert step.experimental_get_tracing_count() == 1
