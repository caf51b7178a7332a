"""How is a Keras model converted to other formats? By a script, so that whoever starts it loads no TensorFlow.

    python -I conversion.py FOLDER

It knows nothing of this project, as the model does not, and imports nothing of it: where it repeats a line of the
project's, that is on purpose. FOLDER/request.json says what to do (see `Request`); FOLDER/calibration.npy has training
images, raw pixels (n, height, width, channels), for the formats that compute in 8 bits. Written into FOLDER: images.npy
where it is not there yet, reference.npy (float32 (n, n_classes), what the Keras model says of these images), a file or
folder for each format, and results.jsonl, a line for whatever has happened.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

N_NOISE_IMAGES = 256  # where none are given
BATCH_SIZE = 256
LONGEST_LINE = 200  # characters of a reason
ONNX_OPSET = 15  # of 2021: ONNX Runtime reads it since version 1.10


@dataclass(frozen=True)
class Request:
    """What to convert."""

    model: str  # path of a .keras file
    shown: str  # what the user calls it, for messages
    files: dict[str, str]  # format, one of CONVERTERS -> name of the file to write
    n_threads: int


class Unusable(Exception):
    """The model or the images are not what an export can start from. The message is one line."""


def main(folder: Path) -> None:
    """Do what FOLDER/request.json asks. A format that fails is told in results.jsonl, and the others go on."""
    request = Request(**json.loads((folder / "request.json").read_text(encoding="utf-8")))
    tf.config.threading.set_intra_op_parallelism_threads(request.n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(request.n_threads)
    try:
        model = load(Path(request.model), request.shown)
        write_reference_predictions(model, folder)
    except Unusable as error:
        append_result(folder, unusable=str(error))
        return
    source = Source(model, folder)
    for name, file_name in request.files.items():
        append_result(folder, begun=name)
        started = time.monotonic()
        try:
            CONVERTERS[name](source, folder / file_name)
            outcome = {}
        except Exception as error:  # whatever a converter does not understand; its trace is kept
            outcome = {"error": in_one_line(error), "trace": traceback.format_exc()}
        append_result(folder, ended=name, seconds=time.monotonic() - started, **outcome)


def append_result(folder: Path, **what: Any) -> None:
    """Add a line to results.jsonl: `unusable`, `begun`, or `ended` with its seconds and, if it failed, the error."""
    with open(folder / "results.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")


def in_one_line(error: BaseException) -> str:
    """Give an error's kind and the first line of what it says, cut where that is long."""
    kind = type(error).__name__
    lines = str(error).strip().splitlines()
    return f"{kind}: {lines[0][:LONGEST_LINE]}" if lines else kind


def load(path: Path, shown: str) -> keras.Model:
    """Load a .keras file. Raises Unusable unless it takes one batch of images and gives one of vectors.

    shown: what the message calls it.
    """
    try:
        model: Any = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever the file's damage leads to
        raise Unusable(f"{shown} must load with plain Keras, but: {in_one_line(error)}") from error
    inputs, outputs = (keras.tree.flatten(getattr(model, name, None)) for name in ("inputs", "outputs"))
    shapes = [tuple(tensor.shape) for tensor in (*inputs, *outputs) if tensor is not None]
    if [len(shape) for shape in shapes] != [4, 2] or None in shapes[0][1:]:
        raise Unusable(
            f"{shown} must take images, (n, height, width, channels), and give probabilities, (n, classes), "
            f"but has {' and '.join(map(str, shapes)) or 'no inputs and outputs of its own'}"
        )
    return model


def write_reference_predictions(model: keras.Model, folder: Path) -> None:
    """Write what the model says of the images into reference.npy, and first images.npy where it is not there.

    Raises Unusable where they are not of the model's size, or where it does not give probabilities.
    """
    shape = tuple(model.inputs[0].shape[1:])
    path = folder / "images.npy"
    if not path.exists():
        np.save(path, np.random.default_rng(0).integers(0, 256, (N_NOISE_IMAGES, *shape), dtype=np.uint8))
    images = np.load(path, mmap_mode="r")
    calibration = folder / "calibration.npy"
    for given in (images, np.load(calibration, mmap_mode="r") if calibration.exists() else images):
        if given.shape[1:] != shape:
            raise Unusable(f"images must be (n, {', '.join(map(str, shape))}) for this model, but got {given.shape}")
    predicted = []
    for start in range(0, len(images), BATCH_SIZE):
        predicted.append(model.predict_on_batch(images[start : start + BATCH_SIZE].astype(np.float32)))
    reference = np.concatenate(predicted)
    if not np.allclose(reference.sum(axis=1), 1, atol=1e-3) or reference.min() < 0:
        raise Unusable("the model must give probabilities, but its outputs for an image do not add up to 1")
    np.save(folder / "reference.npy", reference.astype(np.float32))


class Source:
    """What all formats are made from: the model, its part for inference, and a SavedModel of that."""

    def __init__(self, model: keras.Model, folder: Path) -> None:
        self.model = model
        self._folder = folder

    @functools.cached_property
    def inference(self) -> keras.Model:
        """The model as it predicts, without layers that are there for training only, such as random flips.

        What Keras exports of the model itself goes on flipping. It computes the same in fewer operations: see
        `simplified`.
        """
        shape = self.model.inputs[0].shape[1:]
        pixels = keras.Input(shape, dtype="float32", name="pixels")
        inference = keras.Model(pixels, simplified(self.model)(pixels, training=False), name=self.model.name)
        inference(tf.zeros((1, *shape)))  # Keras exports to ONNX only what has been called once
        return inference

    @functools.cached_property
    def saved(self) -> Path:
        """The folder of a SavedModel of `inference`."""
        path = self._folder / "intermediate"
        self.inference.export(path, format="tf_saved_model", verbose=False)
        return path

    @functools.cached_property
    def onnx(self) -> Path:
        """An ONNX file of `inference`. Raises RuntimeError for an operation that ONNX does not have."""
        path = self._folder / "intermediate.onnx"
        _teach_erfc()
        with _no_unsupported_operations():
            self.inference.export(path, format="onnx", opset_version=ONNX_OPSET, verbose=False)
        return path

    @functools.cached_property
    def calibration(self) -> np.ndarray:
        """Training images, float32 (n, height, width, channels), with a pixel of 0 and one of 255 among them.

        What is computed in 8 bits has 256 steps over the range that these images show. With both ends in it, the steps
        of the input are whole pixels, and raw ones go in as they are.
        """
        images = np.load(self._folder / "calibration.npy").astype(np.float32)
        images[0].flat[0], images[0].flat[-1] = 0, 255
        return images


def simplified(model: keras.Model) -> keras.Model:
    """Return the same function in fewer operations: what saves time in training costs some in a file.

    - A network normalizes the fewer pixels behind a pooling in less time. But right behind a convolution, converters
      make normalization and ReLU part of it, which spares their operations and their rounding to 8 bits. A maximum
      stays the same one, to the bit, where nothing is multiplied by a negative number; a mean always, but for rounding.
    - Where maps are flattened, their size is known: what would be computed of it for each batch is not.
    """
    if isinstance(model, keras.Sequential):
        return model
    chains = find_chains(model)
    skipped = {id(layer) for _, *after in chains.values() for layer in after}
    members = {id(layer): simplified(layer) for layer in model.operations if isinstance(layer, keras.Model)}

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if id(layer) in skipped:
            return inputs[0]
        if id(layer) in chains:
            pooling, *after = chains[id(layer)]
            values = inputs[0]
            for each in (*after, pooling):
                values = each(values)
            return values
        if isinstance(layer, keras.layers.Flatten) and None not in inputs[0].shape[1:]:
            return keras.ops.reshape(inputs[0], (-1, math.prod(inputs[0].shape[1:])))
        return members.get(id(layer), layer)(*inputs, **options)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def find_chains(model: keras.Model) -> dict[int, list[Any]]:
    """Find the poolings that `simplified` has after what comes behind them.

    Returns:
        By the id of a pooling behind a convolution: the pooling, the normalization behind it and, behind a maximum, the
        ReLU behind that, if there is one. Nothing of a network that uses a layer twice.
    """
    if any(len(layer._inbound_nodes) != 1 for layer in model.operations):
        return {}
    made_by: dict[int, Any] = {}
    used_by: dict[int, list[Any]] = {}
    for layer in model.operations:
        made_by.update((id(tensor), layer) for tensor in keras.tree.flatten(layer.output))
        for tensor in keras.tree.flatten(layer.input):
            used_by.setdefault(id(tensor), []).append(layer)

    def only_user(layer: Any) -> Any:
        users = used_by.get(id(layer.output), ())
        return users[0] if len(users) == 1 else None

    chains: dict[int, list[Any]] = {}
    for pooling in model.operations:
        if not isinstance(pooling, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D):
            continue
        convolution, norm = made_by[id(pooling.input)], only_user(pooling)
        is_max, is_linear = isinstance(pooling, keras.layers.MaxPooling2D), False
        if isinstance(convolution, keras.layers.Conv2D) and only_user(convolution) is pooling:
            is_linear = convolution.activation is keras.activations.linear
        if not is_linear or not isinstance(norm, keras.layers.BatchNormalization) or norm.axis not in (-1, 3):
            continue
        if is_max and norm.scale and np.asarray(keras.ops.convert_to_numpy(norm.gamma), np.float32).min() < 0:
            continue
        chains[id(pooling)] = [pooling, norm]
        behind = only_user(norm)
        if is_max and getattr(behind, "activation", None) is keras.activations.relu and not behind.weights:
            chains[id(pooling)].append(behind)
    return chains


def to_keras(source: Source, path: Path) -> None:
    """Save the model without optimizer and loss."""
    model = source.model
    keras.Model(model.inputs, model.outputs, name=model.name).save(path)  # the same layers, never compiled


def to_saved_model(source: Source, path: Path) -> None:
    """Save the model as a folder for TensorFlow."""
    for folder, _, files in os.walk(source.saved):
        target = path / os.path.relpath(folder, source.saved)
        target.mkdir()  # copytree would copy TensorFlow's permissions, which heed no umask
        for name in files:
            shutil.copyfile(os.path.join(folder, name), target / name)


def to_litert(source: Source, path: Path) -> None:
    """Save the model for LiteRT, in float32."""
    path.write_bytes(_litert_converter(source).convert())


def to_litert_int8(source: Source, path: Path) -> None:
    """Save the model for LiteRT with weights in 8 bits, what flows between layers in float32.

    That is dynamic-range quantization.
    """
    converter = _litert_converter(source)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(converter.convert())


def to_litert_int8_full(source: Source, path: Path) -> None:
    """Save the model for LiteRT with weights and activations in 8 bits: raw pixels in as uint8, probabilities out.

    That is post-training full integer quantization (Jacob et al. 2018).

    Raises:
        RuntimeError: the file would not take raw pixels as they are.
    """
    converter = _litert_converter(source)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in source.calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    content = converter.convert()
    (pixels,) = tf.lite.Interpreter(model_content=content).get_input_details()
    if pixels["quantization"] != (1.0, 0):
        raise RuntimeError(f"the input has steps of {pixels['quantization']} instead of whole pixels from 0")
    path.write_bytes(content)


def _litert_converter(source: Source) -> tf.lite.TFLiteConverter:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source.saved))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # others need TensorFlow to run
    return converter


def to_onnx(source: Source, path: Path) -> None:
    """Save the model for ONNX. Raises RuntimeError for an operation that ONNX does not have."""
    shutil.copyfile(source.onnx, path)


def to_onnx_int8(source: Source, path: Path) -> None:
    """Save the model for ONNX with weights and activations in 8 bits, pixels and probabilities in float32.

    That is ONNX Runtime's static quantization, in which each operation stands between a quantization and its reverse.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        """Gives the images in batches."""

        def __init__(self) -> None:
            self._starts = iter(range(0, len(source.calibration), BATCH_SIZE))

        def get_next(self) -> Any:
            """Return the next batch; None at the end."""
            start = next(self._starts, None)
            return None if start is None else {"pixels": source.calibration[start : start + BATCH_SIZE]}

    prepared = path.with_name("intermediate-prepared.onnx")
    quant_pre_process(source.onnx, prepared, skip_symbolic_shape=True)  # joins normalizations and convolutions
    quantize_static(
        prepared,
        path,
        Images(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


@functools.cache
def _teach_erfc() -> None:
    """Teach tf2onnx that erfc(x) = 1 - erf(x): ONNX has no erfc, by which TensorFlow computes an exact GELU."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        """How tf2onnx handles the operation."""

        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:  # the first version of ONNX that has erf
            """Replace the node by erf and a subtraction."""
            (output,), name = node.output, node.name
            shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
            ctx.remove_node(name)
            erf = ctx.make_node("Erf", node.input)
            one = ctx.make_const(f"{name}_one", np.ones((), np.float32))
            ctx.make_node(
                "Sub", [one.output[0], erf.output[0]], name=name, outputs=[output], shapes=[shape], dtypes=[dtype]
            )


@contextmanager
def _no_unsupported_operations() -> Iterator[None]:
    """Raise RuntimeError where tf2onnx meets operations that it does not know.

    Left alone, it writes them into the file as they are, says so in its log, and succeeds.
    """
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("tf2onnx")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    if said:
        raise RuntimeError(f"tf2onnx: {said[0]}")


CONVERTERS: dict[str, Callable[[Source, Path], None]] = {
    "keras": to_keras,
    "savedmodel": to_saved_model,
    "litert": to_litert,
    "litert-int8": to_litert_int8,
    "litert-int8-full": to_litert_int8_full,
    "onnx": to_onnx,
    "onnx-int8": to_onnx_int8,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
