"""The rule by which weights follow gradients, and the learning rate of every step."""

from __future__ import annotations

import math

import keras

from fmnist.recipe import TrainingPlan

# Offsets and scales, by variable name: decay is for the kernels. On TensorFlow, Keras matches the names of TensorFlow's
# variables, such as block1_norm1/beta:0; the slash spares a layer that happens to be called beta.
WITHOUT_DECAY = r"(^|/)(bias|gamma|beta)(:\d+)?$"


def learning_rate_at(plan: TrainingPlan, step: int, n_steps: int) -> float:
    """The learning rate of one step, 0 <= step < n_steps: the plan's peak times a share.

    With t = (step + 1/2) / n_steps, the middle of the step, and w = warmup_fraction:

        constant   1
        one_cycle  t / w while t < w, then (1 - t) / (1 - w)
        cosine     t / w while t < w, then (1 + cos(pi (t - w) / (1 - w))) / 2

    As t is never 0 or 1, no step has a rate of 0. Raises ValueError if the step lies outside.
    """
    if not 0 <= step < n_steps:
        raise ValueError(f"a step must be at least 0 and below n_steps, but got {step=}, {n_steps=}")
    if plan.schedule == "constant":
        return plan.peak_learning_rate
    progress, warmup = (step + 0.5) / n_steps, plan.warmup_fraction
    if progress < warmup:
        return plan.peak_learning_rate * progress / warmup
    descent = (progress - warmup) / (1 - warmup)  # 0 at the peak, 1 at the end
    share = 1 - descent if plan.schedule == "one_cycle" else (1 + math.cos(math.pi * descent)) / 2
    return plan.peak_learning_rate * share


def averaging_rate_at(plan: TrainingPlan, step: int, n_steps: int) -> float:
    """How far the average of the weights moves towards the weights after one step: 0 to 1.

    The exponential average remembers about `plan.averaging * n_steps` steps, less at the start, where it would else
    hold on to the initial weights: (1 + step) / (10 + step) is the most that is kept (as in TensorFlow's own
    ExponentialMovingAverage). Polyak and Juditsky 1992.
    """
    memory = max(1.0, plan.averaging * n_steps)
    kept = min(1 - 1 / memory, (1 + step) / (10 + step))
    return 1 - kept


def build_optimizer(plan: TrainingPlan) -> keras.optimizers.Optimizer:
    """The plan's optimizer at its peak learning rate. The training loop sets the rate before every step: no schedule
    object ends up in a model.

    Weight decay is decoupled, times the learning rate, and spares biases and the scales and offsets of normalization.
    """
    optimizer = _new_optimizer(plan)
    if plan.weight_decay > 0:
        optimizer.exclude_from_weight_decay(var_names=[WITHOUT_DECAY])
    return optimizer


def _new_optimizer(plan: TrainingPlan) -> keras.optimizers.Optimizer:
    rate = plan.peak_learning_rate
    if plan.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    if plan.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=plan.weight_decay)
    decay = plan.weight_decay if plan.weight_decay > 0 else None
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay)
