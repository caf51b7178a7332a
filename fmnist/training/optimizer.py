"""The rule by which weights follow gradients, and the learning rate of every step."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import keras
import tensorflow as tf

from fmnist.recipe import TrainingPlan

# Offsets and scales, by a variable's path such as block1_norm1/beta: decay is for the kernels.
WITHOUT_DECAY = r"(^|/)(bias|gamma|beta)$"


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


class Optimizer:
    """The plan's rule over these weights: call `apply` with a gradient for each, in order, and set `learning_rate`
    before every step. No schedule object ends up in a model.

    The numbers are those of Keras' Adam, AdamW and SGD with Nesterov momentum, by TensorFlow's one operation for each
    weight instead of a dozen: 3 to 7 % of a step's time, and 0.2 s of tracing (n = 2 networks, twice each). Weight
    decay is decoupled, times the learning rate, and spares biases and the scales and offsets of normalization.
    """

    MOMENTUM = 0.9  # of sgd
    BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # of adam and adamw

    def __init__(self, plan: TrainingPlan, weights: Sequence[keras.Variable]) -> None:
        self._plan = plan
        self._weights = [weight.value for weight in weights]
        self._decays = [plan.weight_decay > 0 and not re.search(WITHOUT_DECAY, weight.path) for weight in weights]
        self._learning_rate = _state(())
        self._n_steps = _state(())
        n_moments = 1 if plan.optimizer == "sgd" else 2
        self._moments = [[_state(weight.shape) for _ in range(n_moments)] for weight in weights]
        self.learning_rate = plan.peak_learning_rate

    @property
    def learning_rate(self) -> float:
        return float(self._learning_rate)

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._learning_rate.assign(rate)

    def restart(self) -> None:
        """Forget every step."""
        for state in (self._n_steps, *itertools.chain(*self._moments)):
            state.assign(tf.zeros_like(state))

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """One step, traced or at once."""
        self._n_steps.assign_add(1.0)
        for weight, gradient, moments, decays in zip(
            self._weights, gradients, self._moments, self._decays, strict=True
        ):
            if decays:
                weight.assign_sub(weight * (self._learning_rate * self._plan.weight_decay))
            if self._plan.optimizer == "sgd":
                self._apply_momentum(weight, gradient, *moments)
            else:
                self._apply_adam(weight, gradient, *moments)

    def _apply_momentum(self, weight: tf.Variable, gradient: tf.Tensor, velocity: tf.Variable) -> None:
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=weight.handle,
            accum=velocity.handle,
            lr=self._learning_rate,
            grad=gradient,
            momentum=self.MOMENTUM,
            use_nesterov=True,
        )

    def _apply_adam(self, weight: tf.Variable, gradient: tf.Tensor, mean: tf.Variable, square: tf.Variable) -> None:
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=mean.handle,
            v=square.handle,
            beta1_power=tf.pow(self.BETA_1, self._n_steps),
            beta2_power=tf.pow(self.BETA_2, self._n_steps),
            lr=self._learning_rate,
            beta1=self.BETA_1,
            beta2=self.BETA_2,
            epsilon=self.EPSILON,
            grad=gradient,
        )


def _state(shape: Sequence[int]) -> tf.Variable:
    return tf.Variable(tf.zeros(shape), trainable=False)
