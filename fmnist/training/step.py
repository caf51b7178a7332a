"""What is one step of learning? A network and its optimizer, compiled once and used for one training after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from fmnist.model.build import build_model
from fmnist.model.inference import in_chunks
from fmnist.recipe import Recipe
from fmnist.training.batches import Batch
from fmnist.training.execution import bfloat16_arithmetic
from fmnist.training.forward import ForwardPass
from fmnist.training.optimizer import Optimizer

SMALLEST_SHARD = 16  # images: with fewer, batch statistics say little
TEACHER_WEIGHT = 0.9  # of the teacher's probabilities in a target; the label, smoothed, has the rest


class TrainStep:
    """A network that learns: call `learn` for each step, then take `weights`.

    With the plan's averaging, the weights to hand over are an exponential average over the last steps, the moving
    statistics of batch normalization included; the optimizer goes on from its own.

    Same seed, machine and number of threads: the same numbers, to the bit.

    Args:
        recipe: what learns, and how.
        pixel_mean: mean of the training images' pixels, 0 to 255.
        pixel_std: their standard deviation.
        batch_size: images of every step.
        seed: of the initial weights and of dropout.
        bfloat16: whether steps convolve and multiply in bfloat16, summing up in float32; weights and predictions stay
            float32.
        taught: whether steps learn from a teacher's probabilities too (distillation, Hinton et al. 2015, at
            temperature 1): they are TEACHER_WEIGHT of the target.
        class_weights: how much an image of each class counts in the loss, (n_classes,), of mean 1 over the training
            images (see `fmnist.scoring.weights_of_classes`); None: all count alike. An image's whole loss is
            multiplied by the weight of its label: also what label smoothing spreads over the other classes, and what
            the teachers say of it. So a student of finalists that weigh classes weighs what they teach in the same way.

    Attributes:
        recipe: as given.
        batch_size: as given.
        is_taught: `taught` as given.
        model: the network, with the weights of the last step.
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
        taught: bool = False,
        class_weights: np.ndarray | None = None,
    ) -> None:
        self.recipe = recipe
        self._class_weights = class_weights
        self.is_taught = taught
        self.batch_size = batch_size
        self._bfloat16 = bfloat16
        self._pixel_statistics = (pixel_mean, pixel_std)
        self.model = self._build(seed)
        self._forward = ForwardPass(self.model, recipe.architecture)
        self._first_seed = seed
        self._first_values = [variable.numpy() for variable in self.model.variables]
        self._unused_seed: int | None = seed  # the seed of a network that has not learned yet
        self._optimizer = Optimizer(recipe.plan, self.model.trainable_variables)
        self._averages: list[tf.Variable] = []  # one for each weight, or none without averaging
        if recipe.plan.averaging > 0:
            self._averages = [tf.Variable(weight, trainable=False) for weight in self.model.weights]
        shape = recipe.architecture.image_shape
        self._step = _compiled(
            self._make_step(),
            tf.TensorSpec((batch_size, *shape), tf.uint8),
            tf.TensorSpec((batch_size,), tf.uint8),
            tf.TensorSpec((batch_size, recipe.architecture.n_classes), tf.float32),
            tf.TensorSpec((), tf.float32),
        )
        self._predict = _compiled(
            lambda images: tf.nn.softmax(self._forward(tf.cast(images, tf.float32), training=False)),
            tf.TensorSpec((None, *shape), tf.uint8),
        )

    def restart(self, seed: int) -> None:
        """Begin anew with other weights, as a new TrainStep would; nothing is compiled again."""
        if seed == self._unused_seed:
            return
        self._unused_seed = seed
        if seed == self._first_seed:  # a trial's rungs share a seed, and building takes a tenth of a second
            fresh_values = self._first_values
        else:
            fresh_values = [variable.numpy() for variable in self._build(seed).variables]
        for variable, fresh in zip(self.model.variables, fresh_values, strict=True):
            variable.assign(fresh)
        self._optimizer.restart()
        if self._averages:
            for average, weight in zip(self._averages, self.model.weights, strict=True):
                average.assign(weight)

    def learn(self, batch: Batch, learning_rate: float, averaging_rate: float = 1.0) -> tuple[float, float]:
        """Make one step.

        Args:
            batch: of batch_size images, with a teacher's probabilities where the step `is_taught`.
            learning_rate: of this step, above 0.
            averaging_rate: how far the averages of the weights move towards the weights, 0 to 1; without the plan's
                averaging nothing is averaged.

        Returns:
            Loss (label smoothing and class weights included) and accuracy, both before the step.
        """
        self._unused_seed = None
        self._optimizer.learning_rate = learning_rate  # assigns a variable, 0.1 ms
        targets = self._targets_of(batch)
        with bfloat16_arithmetic(self._bfloat16):
            loss, accuracy = self._step(
                tf.constant(batch.images),
                tf.constant(batch.labels),
                tf.constant(targets),
                tf.constant(averaging_rate, tf.float32),
            )
        return float(loss), float(accuracy)

    def _targets_of(self, batch: Batch) -> np.ndarray:
        """Return the probabilities that a batch is to be given, float32 (batch_size, n_classes)."""
        n_classes, smoothing = self.recipe.architecture.n_classes, self.recipe.plan.label_smoothing
        hard = np.eye(n_classes, dtype=np.float32)[batch.labels]
        targets = hard * np.float32(1 - smoothing) + np.float32(smoothing / n_classes)
        if not self.is_taught:
            return targets
        if batch.taught is None:
            raise ValueError("a taught step needs a teacher's probabilities, but got a batch without them")
        return np.float32(1 - TEACHER_WEIGHT) * targets + np.float32(TEACHER_WEIGHT) * batch.taught

    def weights(self) -> list[np.ndarray]:
        """Copy the weights to validate and to hand over, in the order of `model.get_weights`."""
        return [variable.numpy() for variable in self._averages or self.model.weights]

    def probabilities(self, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
        """Predict with `weights`; learning goes on from its own weights afterwards.

        Args:
            images: uint8 (n, height, width, channels), n > 0.
            batch_size: images predicted at a time, at most.

        Returns:
            float32 (n, n_classes).
        """
        own = self.model.get_weights()
        self.model.set_weights(self.weights())
        predicted = in_chunks(lambda chunk: self._predict(tf.constant(chunk)).numpy(), images, batch_size)
        self.model.set_weights(own)
        return predicted

    def _build(self, seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)  # initial weights and dropout
        return build_model(self.recipe.architecture, *self._pixel_statistics)

    def _make_step(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """Write one step as operations of TensorFlow: images, labels, targets, averaging rate -> loss, accuracy."""
        model = self.model
        forward = self._forward
        weights = [variable.value for variable in model.trainable_variables]
        averaged = []
        if self._averages:
            averaged = list(zip(self._averages, [variable.value for variable in model.weights], strict=True))
        n_shards = _count_shards(self.batch_size)
        class_weights = None
        if self._class_weights is not None:
            class_weights = tf.constant(self._class_weights, tf.float32)

        def gradients_of(
            images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor
        ) -> tuple[Sequence, tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                logits = forward(tf.cast(images, tf.float32), training=True)
                losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
                if class_weights is not None:  # without them, nothing of the step changes
                    losses *= tf.gather(class_weights, tf.cast(labels, tf.int32))
                loss = tf.reduce_mean(losses)
            hits = tf.equal(tf.argmax(logits, axis=1), tf.cast(labels, tf.int64))
            return tape.gradient(loss, weights), loss, tf.reduce_mean(tf.cast(hits, tf.float32))

        def step(
            images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor, averaging_rate: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            shards = zip(*(tf.split(whole, n_shards) for whole in (images, labels, targets)), strict=True)
            gradients, losses, accuracies = zip(*(gradients_of(*shard) for shard in shards), strict=True)
            means = [tf.add_n(list(of_one_weight)) / n_shards for of_one_weight in zip(*gradients, strict=True)]
            self._optimizer.apply(means)
            for average, weight in averaged:
                average.assign_add(averaging_rate * (weight - average))
            return tf.add_n(losses) / n_shards, tf.add_n(accuracies) / n_shards

        return step


def _count_shards(batch_size: int) -> int:
    """Choose into how many equal parts a batch is cut, computed side by side: one per thread, where that divides it.

    Two threads in every layer train the default network 1.24 times as fast as one, two halves of the batch 1.75 times
    (one probe). Each part has batch statistics of its own (ghost batch normalization, Hoffer et al. 2017).
    """
    if tf.config.list_physical_devices("GPU"):
        return 1
    n_threads = tf.config.threading.get_intra_op_parallelism_threads()  # 0 where nobody has set it
    for n_shards in range(n_threads, 1, -1):
        if batch_size % n_shards == 0 and batch_size // n_shards >= SMALLEST_SHARD:
            return n_shards
    return 1


def _compiled(function: Callable, *signature: tf.TensorSpec) -> Callable:
    """Trace a function now, so that the first step takes hardly longer than others and times of steps stay honest."""
    # XLA on a GPU alone: it makes convolutions 2-5 times slower on a CPU.
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    return tf.function(
        function, input_signature=signature, autograph=False, jit_compile=has_gpu
    ).get_concrete_function()
