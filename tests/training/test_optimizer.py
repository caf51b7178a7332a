from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fmnist.recipe import TrainingPlan
from fmnist.training.optimizer import Optimizer, orthogonalize

pytestmark = pytest.mark.trains


def network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, name="d"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(5, name="wide"),
            keras.layers.Dense(2, name="logits"),
        ]
    )


def keras_own(plan: TrainingPlan) -> keras.optimizers.Optimizer:
    """What Keras offers under the plan's name."""
    rate, decay = plan.peak_learning_rate, plan.weight_decay or None
    optimizer = {
        "adam": lambda: keras.optimizers.Adam(rate),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=plan.weight_decay),
        "muon": lambda: keras.optimizers.Muon(
            rate, weight_decay=plan.weight_decay, adam_weight_decay=plan.weight_decay, exclude_layers=["logits"]
        ),
        "sgd": lambda: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay),
    }[plan.optimizer]()
    if decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


PLANS = [
    TrainingPlan(optimizer="adam", weight_decay=0.0, peak_learning_rate=0.01),
    TrainingPlan(optimizer="adamw", weight_decay=0.1, peak_learning_rate=0.02),
    TrainingPlan(optimizer="muon", weight_decay=0.1, peak_learning_rate=0.02),
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


@pytest.mark.parametrize("name", ["adamw", "muon", "sgd"])
def test_decay_shrinks_kernels_by_rate_times_decay_and_spares_all_else(name) -> None:
    model = network()
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    plan = TrainingPlan(optimizer=name, weight_decay=0.1, peak_learning_rate=0.5)
    Optimizer(plan, model.trainable_variables).apply([tf.zeros(v.shape) for v in model.trainable_variables])
    for variable in model.trainable_variables:
        expected = 0.95 if variable.name == "kernel" else 1
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6, err_msg=variable.path)


def test_muon_moves_the_kernel_of_a_convolution_as_the_matrix_of_its_patches_and_filters() -> None:
    convolution = keras.Sequential([keras.Input((3, 3, 2)), keras.layers.Conv2D(5, 3, name="c")])
    dense = keras.Sequential([keras.Input((18,)), keras.layers.Dense(5, name="d")])
    kernel, bias = convolution.get_weights()
    dense.set_weights([kernel.reshape(18, 5), bias])
    plan = TrainingPlan(optimizer="muon", weight_decay=0.1, peak_learning_rate=0.02)
    gradient = np.random.default_rng(0).normal(size=kernel.shape).astype(np.float32)
    for model in (convolution, dense):
        of_kernel = tf.reshape(tf.constant(gradient), model.trainable_variables[0].shape)
        Optimizer(plan, model.trainable_variables).apply([of_kernel, tf.zeros(5)])
    np.testing.assert_allclose(convolution.get_weights()[0].reshape(18, 5), dense.get_weights()[0], rtol=1e-6)
    moved = kernel * (1 - 0.02 * 0.1) - convolution.get_weights()[0]
    assert np.sqrt(np.mean(moved**2)) == pytest.approx(0.02 * 0.2, rel=0.3)  # the root mean square of AdamW's steps


@pytest.mark.parametrize("shape", [(30, 7), (7, 30), (9, 9)])
def test_an_orthogonalized_matrix_keeps_its_directions_and_makes_them_about_equally_strong(shape) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    left, strengths, right = np.linalg.svd(matrix, full_matrices=False)
    result = orthogonalize(tf.constant(matrix)).numpy()
    in_its_directions = left.T @ result @ right.T
    assert strengths.max() / strengths.min() > 2
    assert np.diag(in_its_directions).min() > 0.6 and np.diag(in_its_directions).max() < 1.3
    np.testing.assert_allclose(in_its_directions - np.diag(np.diag(in_its_directions)), 0, atol=1e-4)


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
