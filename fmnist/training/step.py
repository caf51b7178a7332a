"""A network and its optimizer, compiled once: steps of learning, the weights to hand over, predictions, a fresh start.

Keras' own `train_on_batch` traces a network several times and keeps metrics that nobody reads; here the step is traced
once. For the default recipe's network that is a second less per training process, at the same speed per step (CPU time,
n = 2 each: 0.9 s instead of 2.0 until the second step).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from fmnist.model.build import build_model
from fmnist.model.inference import in_chunks
from fmnist.recipe import Recipe
from fmnist.training.fused import with_fused_normalization
from fmnist.training.optimizer import Optimizer, averaging_rate_at, learning_rate_at

SMALLEST_SHARD = 16  # images: with fewer, batch statistics say little


class TrainStep:
    """What learns: call `learn` for each step, then take `weights`.

    With the plan's averaging, the weights to hand over are an exponential average over the last steps, the moving
    statistics of batch normalization included; the optimizer goes on from its own.

    batch_size: images of every step. bfloat16: steps convolve and multiply in bfloat16, summing up in float32; weights
    and predictions stay float32. Same seed, machine and number of threads: the same numbers, to the bit.
    """

    def __init__(
        self,
        recipe: Recipe,
        pixel_mean: float,
        pixel_std: float,
        batch_size: int,
        seed: int,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.recipe = recipe
        self.batch_size = batch_size
        self._bfloat16 = bfloat16
        self._pixel_statistics = (pixel_mean, pixel_std)
        self.model = self._new_model(seed)
        self._first_seed, self._first_values = seed, [variable.numpy() for variable in self.model.variables]
        self._optimizer = Optimizer(recipe.plan, self.model.trainable_variables)
        averages = recipe.plan.averaging > 0
        self._averages = [tf.Variable(weight, trainable=False) for weight in self.model.weights] if averages else None
        self._new_with: int | None = seed  # None once it has learned
        self._step = self._compiled_step()
        self._predict = self._compiled_prediction()

    def restart(self, seed: int) -> None:
        """Begin anew with other weights, as a new TrainStep would; nothing is compiled again."""
        if seed == self._new_with:
            return
        self._new_with = seed
        for ours, fresh in zip(self.model.variables, self._fresh_values(seed), strict=True):
            ours.assign(fresh)
        self._optimizer.restart()
        if self._averages:
            for average, weight in zip(self._averages, self.model.weights, strict=True):
                average.assign(weight)

    def learn(self, images: np.ndarray, labels: np.ndarray, step: int, n_steps: int) -> tuple[float, float]:
        """One step, number `step` of n_steps. images: uint8 (batch_size, height, width, channels), augmented; labels:
        uint8 (batch_size,). Returns loss (label smoothing included) and accuracy, both before the step."""
        plan, self._new_with = self.recipe.plan, None
        self._optimizer.learning_rate = learning_rate_at(plan, step, n_steps)  # assigns a variable, 0.1 ms
        rate = averaging_rate_at(plan, step, n_steps) if self._averages else 0.0
        with _convolving_in_bfloat16(self._bfloat16):
            loss, accuracy = self._step(tf.constant(images), tf.constant(labels), tf.constant(rate, tf.float32))
        return float(loss), float(accuracy)

    def weights(self) -> list[np.ndarray]:
        """The weights to validate and to hand over, as `model.get_weights` orders them."""
        return [variable.numpy() for variable in self._averages or self.model.weights]

    def probabilities(self, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
        """What `weights` predict: float32 (n, n_classes). images: uint8 (n, height, width, channels), n > 0. The
        learning goes on from its own weights."""
        own = self.model.get_weights()
        self.model.set_weights(self.weights())
        predicted = in_chunks(lambda chunk: self._predict(tf.constant(chunk)).numpy(), images, batch_size)
        self.model.set_weights(own)
        return predicted

    def _fresh_values(self, seed: int) -> list[np.ndarray]:
        """Of all variables of a new model. A trial's rungs share a seed, and building takes a tenth of a second."""
        if seed == self._first_seed:
            return self._first_values
        return [variable.numpy() for variable in self._new_model(seed).variables]

    def _new_model(self, seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)  # initial weights and dropout
        return build_model(self.recipe.architecture, *self._pixel_statistics)

    def _compiled_step(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        model, plan, n_classes = self.model, self.recipe.plan, self.recipe.architecture.n_classes
        network = with_fused_normalization(keras.Model(model.inputs, model.get_layer("logits").output))
        weights = [variable.value for variable in model.trainable_variables]
        averages = self._averages or []
        averaged = [variable.value for variable in model.weights] if averages else []
        n_shards = _n_shards(self.batch_size)

        def gradients_of(images: tf.Tensor, labels: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
            targets = tf.one_hot(labels, n_classes)
            smoothed = targets * (1 - plan.label_smoothing) + plan.label_smoothing / n_classes
            with tf.GradientTape() as tape:
                logits = network(tf.cast(images, tf.float32), training=True)
                loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(smoothed, logits))
            hits = tf.equal(tf.argmax(logits, axis=1), tf.cast(labels, tf.int64))
            return tape.gradient(loss, weights), loss, tf.reduce_mean(tf.cast(hits, tf.float32))

        def step(images: tf.Tensor, labels: tf.Tensor, averaging_rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            shards = zip(tf.split(images, n_shards), tf.split(labels, n_shards), strict=True)
            gradients, losses, accuracies = zip(*(gradients_of(*shard) for shard in shards), strict=True)
            means = [tf.add_n(list(of_one_weight)) / n_shards for of_one_weight in zip(*gradients, strict=True)]
            self._optimizer.apply(means)
            for average, weight in zip(averages, averaged, strict=True):
                average.assign_add(averaging_rate * (weight - average))
            return tf.add_n(losses) / n_shards, tf.add_n(accuracies) / n_shards

        shape = (self.batch_size, *self.recipe.architecture.image_shape)
        signature = [
            tf.TensorSpec(shape, tf.uint8),
            tf.TensorSpec((self.batch_size,), tf.uint8),
            tf.TensorSpec((), tf.float32),
        ]
        return _compiled(step, signature)

    def _compiled_prediction(self) -> Callable[[tf.Tensor], tf.Tensor]:
        shape = (None, *self.recipe.architecture.image_shape)
        return _compiled(
            lambda images: self.model(tf.cast(images, tf.float32), training=False), [tf.TensorSpec(shape, tf.uint8)]
        )


def _n_shards(batch_size: int) -> int:
    """Into how many equal parts a batch is cut, which are computed side by side: one per thread, where it divides.

    Two threads in every layer train the default network 1.24 times as fast as one, two halves of the batch 1.75 times
    (one probe). Each part has batch statistics of its own (ghost batch normalization, Hoffer et al. 2017).
    """
    if tf.config.list_physical_devices("GPU"):
        return 1
    n_threads = tf.config.threading.get_intra_op_parallelism_threads()  # 0 where nobody has set it
    fitting = [n for n in range(1, n_threads + 1) if batch_size % n == 0 and batch_size // n >= SMALLEST_SHARD]
    return max(fitting, default=1)


@contextmanager
def _convolving_in_bfloat16(wanted: bool) -> Iterator[None]:
    """Have TensorFlow rewrite the graphs that run in here: convolutions and matrix products in bfloat16, the rest where
    it saves a conversion. Keras' own mixed precision would leave its mark in the saved model, and was slower with gelu
    (images/s against float32, one probe each: 1.34 against 1.12; 1.51 against 1.47 with relu)."""
    if not wanted:
        yield
        return
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": False})


def _compiled(function: Callable, signature: list[tf.TensorSpec]) -> Callable:
    """Traced now, so that the first step takes hardly longer than others and the account of steps stays honest."""
    # XLA on a GPU alone: it makes convolutions 2-5 times slower on a CPU.
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    return tf.function(
        function, input_signature=signature, autograph=False, jit_compile=has_gpu
    ).get_concrete_function()
