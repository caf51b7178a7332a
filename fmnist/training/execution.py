"""How does TensorFlow compute in this process? On how many threads, to the same bits or not, in which precision.

All settings are TensorFlow's own and hold for the whole process, so that training processes alone use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


def limit_threads(n_threads: int) -> None:
    """Have TensorFlow compute on this many threads.

    Results are the same to the bit only for the same number; with several threads a step learns from its batch in as
    many parts (see `TrainStep`). Call it before TensorFlow has run anything.

    Raises:
        RuntimeError: TensorFlow has already run something with another number.
    """
    tf.config.threading.set_intra_op_parallelism_threads(n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(n_threads)


def make_deterministic() -> None:
    """Have TensorFlow take operations that give the same bits each time, also on a GPU, or raise where it has none."""
    tf.config.experimental.enable_op_determinism()


@contextmanager
def bfloat16_arithmetic(wanted: bool) -> Iterator[None]:
    """Have TensorFlow rewrite the graphs that run in the block to bfloat16, if wanted.

    Convolutions and matrix products are computed in bfloat16, the rest where that saves a conversion. Keras' own mixed
    precision would leave its mark in the saved model, and was slower with gelu (images/s against float32, one probe
    each: 1.34 against 1.12; 1.51 against 1.47 with relu).
    """
    if not wanted:
        yield
        return
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": False})
