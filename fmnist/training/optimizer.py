"""By which rule do weights follow their gradients? Adam, AdamW, Muon and SGD, in few operations of TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Sequence

import keras
import tensorflow as tf

from fmnist.recipe import TrainingPlan

# Offsets and scales, by a variable's path such as block1_norm1/beta: decay is for the kernels.
WITHOUT_DECAY = r"(^|/)(bias|gamma|beta)$"
OUTPUT_KERNEL = r"(^|/)logits/kernel$"  # is left to AdamW, as Jordan et al. 2024 do


class Optimizer:
    """Moves weights along their gradients by the plan's rule.

    Set `learning_rate` before every step, then call `apply` with a gradient for each weight, in order. No schedule
    object ends up in a model.

    The numbers are those of Keras' Adam, AdamW and SGD with Nesterov momentum, by TensorFlow's one operation for each
    weight instead of a dozen: 3 to 7 % of a step's time, and 0.2 s of tracing (n = 2 networks, twice each). Weight
    decay is decoupled (Loshchilov and Hutter 2019), times the learning rate, and spares biases and the scales and
    offsets of normalization.

    Muon (Jordan et al. 2024) makes the step of each hidden kernel orthogonal, so that all its directions are learned
    at the same rate; biases, normalization and the output layer take AdamW's steps. Steps are scaled to the root mean
    square of AdamW's, so one learning rate and one weight decay serve all weights (Liu et al. 2025). Keras' Muon does
    the same, but leaves convolutions to AdamW; here their kernels are matrices of (height * width * channels, filters).

    Args:
        plan: names the optimizer, its peak learning rate and its weight decay.
        weights: the variables to move, such as a model's `trainable_variables`.
    """

    MOMENTUM = 0.9  # of sgd
    BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # of adam and adamw
    MUON_MOMENTUM = 0.95
    MUON_ROOT_MEAN_SQUARE = 0.2  # of a step at learning rate 1

    def __init__(self, plan: TrainingPlan, weights: Sequence[keras.Variable]) -> None:
        self._plan = plan
        self._weights = [weight.value for weight in weights]
        self._decays = [plan.weight_decay > 0 and not re.search(WITHOUT_DECAY, weight.path) for weight in weights]
        self._rules = [_rule_of(plan.optimizer, weight) for weight in weights]
        self._learning_rate = _zeros(())
        self._n_steps = _zeros(())
        self._moments = []
        for weight, rule in zip(weights, self._rules, strict=True):
            n_moments = 2 if rule == "adam" else 1
            self._moments.append([_zeros(weight.shape) for _ in range(n_moments)])
        self.learning_rate = plan.peak_learning_rate

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; a new one takes effect without tracing again."""
        return float(self._learning_rate)

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._learning_rate.assign(rate)

    def restart(self) -> None:
        """Forget every step, as a new optimizer would."""
        self._n_steps.assign(0.0)
        for moments in self._moments:
            for moment in moments:
                moment.assign(tf.zeros_like(moment))

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """Make one step, traced or eagerly. gradients: one for each weight, of its shape."""
        self._n_steps.assign_add(1.0)
        for weight, gradient, rule, moments, decays in zip(
            self._weights, gradients, self._rules, self._moments, self._decays, strict=True
        ):
            if decays:
                weight.assign_sub(weight * (self._learning_rate * self._plan.weight_decay))
            if rule == "momentum":
                self._apply_momentum(weight, gradient, *moments)
            elif rule == "muon":
                self._apply_muon(weight, gradient, *moments)
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

    def _apply_muon(self, weight: tf.Variable, gradient: tf.Tensor, velocity: tf.Variable) -> None:
        velocity.assign(self.MUON_MOMENTUM * velocity + gradient)
        ahead = gradient + self.MUON_MOMENTUM * velocity  # Nesterov's look ahead
        matrix = tf.reshape(ahead, (-1, weight.shape[-1]))
        # The entries of an orthogonal matrix have a root mean square of 1 / sqrt(its longer side).
        scale = self.MUON_ROOT_MEAN_SQUARE * max(_sides_of(matrix)) ** 0.5
        step = tf.reshape(orthogonalize(matrix) * scale, weight.shape)
        weight.assign_sub(self._learning_rate * step)

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


def orthogonalize(matrix: tf.Tensor) -> tf.Tensor:
    """Return the orthogonal matrix nearest to this one, roughly: its singular values end between 0.7 and 1.2.

    Five Newton-Schulz steps with the coefficients of Jordan et al. 2024, chosen for speed and not for exactness.
    matrix: float32 (rows, columns).
    """
    n_rows, n_columns = _sides_of(matrix)
    is_tall = n_rows > n_columns
    wide = tf.transpose(matrix) if is_tall else matrix  # the products are squares of the shorter side
    wide = wide / (tf.norm(wide) + 1e-7)
    for _ in range(5):
        square = tf.matmul(wide, wide, transpose_b=True)
        wide = 3.4445 * wide + tf.matmul(-4.7750 * square + 2.0315 * tf.matmul(square, square), wide)
    return tf.transpose(wide) if is_tall else wide


def _sides_of(matrix: tf.Tensor) -> tuple[int, int]:
    """Return the rows and columns of a matrix, which are known when a step is traced."""
    n_rows, n_columns = matrix.shape.as_list()
    assert n_rows is not None and n_columns is not None
    return n_rows, n_columns


def _rule_of(optimizer: str, weight: keras.Variable) -> str:
    """Name the rule by which a weight moves: momentum, muon or adam."""
    if optimizer == "sgd":
        return "momentum"
    if optimizer == "muon" and len(weight.shape) >= 2 and not re.search(OUTPUT_KERNEL, weight.path):
        return "muon"
    return "adam"


def _zeros(shape: Sequence[int]) -> tf.Variable:
    return tf.Variable(tf.zeros(shape), trainable=False)
