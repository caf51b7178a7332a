"""What does a saved model predict by its own runtime alone? A script, started in a fresh process for each file.

    python -I runtimes.py RUNTIME MODEL IMAGES OUT N_THREADS

RUNTIME: keras, tensorflow, ai_edge_litert or onnxruntime; everything else that could load a model is out of reach, this
project above all, so the script is self-contained on purpose and repeats a line or two of it. IMAGES: .npy, raw pixels
0 to 255, (n, height, width, channels). Written: OUT.npy, probabilities float32 (n, n_classes), and OUT.json, the
runtime's version and its times, or why it does not run the model.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

OUT_OF_REACH = {
    "keras": ("ai_edge_litert", "onnxruntime"),
    "tensorflow": ("keras", "ai_edge_litert", "onnxruntime"),
    "ai_edge_litert": ("keras", "tensorflow", "onnxruntime"),
    "onnxruntime": ("keras", "tensorflow", "ai_edge_litert"),
}
BATCH_SIZE = 256
LONGEST_REASON = 200  # characters
N_CALLS = {1: 30, BATCH_SIZE: 5}  # that are timed, by images a call

Predict = Callable[[np.ndarray], np.ndarray]  # float32 (n, height, width, channels) -> float32 (n, n_classes)


def main(runtime: str, model: Path, images: Path, out: str, n_threads: int) -> int:
    """Run the model and write what is found, for the arguments see the module.

    Returns:
        The exit code: 0, or 1 where the runtime raises something. Its trace goes to standard error.
    """
    try:
        found = run(runtime, model, np.load(images, mmap_mode="r"), out, n_threads)
    except Exception as error:  # a runtime raises whatever it likes of a file that it cannot run
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {str(error).strip()[:LONGEST_REASON]}"}
    Path(f"{out}.json").write_text(json.dumps(found), encoding="utf-8")
    return 1 if "error" in found else 0


def run(runtime: str, model: Path, images: np.ndarray, out: str, n_threads: int) -> dict[str, str | float]:
    """Write the probabilities into OUT.npy and time the runtime.

    Args:
        runtime: name of one of LOADERS.
        model: its file or folder.
        images: uint8 or float32 (n, height, width, channels), raw pixels 0 to 255.
        out: OUT of the script.
        n_threads: of the runtime.

    Returns:
        The runtime with its version, and milliseconds an image by images a call.
    """
    out_of_reach: dict[str, Any] = dict.fromkeys(("fmnist", "search", *OUT_OF_REACH[runtime]))
    sys.modules.update(out_of_reach)  # None: not to be imported, wherever it is installed
    predict = LOADERS[runtime](model, n_threads)
    probabilities = []
    for start in range(0, len(images), BATCH_SIZE):
        probabilities.append(predict(images[start : start + BATCH_SIZE].astype(np.float32)))
    np.save(f"{out}.npy", np.concatenate(probabilities))
    times = {f"milliseconds_by_{size}": milliseconds_per_image(predict, images, size) for size in N_CALLS}
    return {"runtime": f"{runtime} {version(runtime.replace('_', '-'))}", **times}


def milliseconds_per_image(predict: Predict, images: np.ndarray, size: int) -> float:
    """Time several calls with so many images each, after one that is not timed; their median, for one image."""
    batch = np.resize(images[:size], (size, *images.shape[1:])).astype(np.float32)  # fewer images are repeated
    predict(batch)
    seconds = []
    for _ in range(N_CALLS[size]):
        started = time.perf_counter()
        predict(batch)
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds) / size


def with_keras(model: Path, n_threads: int) -> Predict:
    """Load a .keras file by Keras."""
    limit_tensorflow(n_threads)
    import keras

    loaded: Any = keras.saving.load_model(model, compile=False)
    return loaded.predict_on_batch


def with_tensorflow(model: Path, n_threads: int) -> Predict:
    """Load a SavedModel by TensorFlow, without Keras."""
    limit_tensorflow(n_threads)
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    serve = loaded.signatures["serving_default"]
    (pixels,), (output,) = serve.structured_input_signature[1], serve.structured_outputs

    def predict(batch: np.ndarray) -> np.ndarray:
        assert loaded is not None  # kept alive: the signature does not hold its variables
        return serve(**{pixels: tf.constant(batch)})[output].numpy()

    return predict


def limit_tensorflow(n_threads: int) -> None:
    """Have TensorFlow compute on this many threads."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(n_threads)


def with_litert(model: Path, n_threads: int) -> Predict:
    """Load a .tflite file by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=n_threads)
    (pixels,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    shape = None

    def predict(batch: np.ndarray) -> np.ndarray:
        nonlocal shape
        if batch.shape != shape:
            interpreter.resize_tensor_input(pixels["index"], batch.shape)
            interpreter.allocate_tensors()
            shape = batch.shape
        interpreter.set_tensor(pixels["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    return predict


def with_onnxruntime(model: Path, n_threads: int) -> Predict:
    """Load an .onnx file by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (pixels,) = session.get_inputs()

    def predict(batch: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {pixels.name: batch})[0])

    return predict


LOADERS: dict[str, Callable[[Path, int], Predict]] = {
    "keras": with_keras,
    "tensorflow": with_tensorflow,
    "ai_edge_litert": with_litert,
    "onnxruntime": with_onnxruntime,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
