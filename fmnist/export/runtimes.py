"""What does a saved model predict by its own runtime alone, and how fast? A script, for a fresh process each time.

    python runtimes.py predict RUNTIME MODEL IMAGES OUT N_THREADS
    python runtimes.py measure RUNTIME MODEL N_THREADS

RUNTIME: keras, tensorflow, ai_edge_litert or onnxruntime; everything else that could load a model is out of reach, this
project above all, so the script is self-contained on purpose and repeats a line or two of it. It needs Python 3.9,
NumPy and the runtime, and no more, so that it runs on a board too. IMAGES: .npy, raw pixels 0 to 255, (n, height,
width, channels). Written: OUT.npy, probabilities float32 (n, n_classes). The last line of standard output is a JSON
object: the runtime's version and what was measured, or `error`, why it does not run the model.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

OUT_OF_REACH = {
    "keras": ("ai_edge_litert", "onnxruntime"),
    "tensorflow": ("keras", "ai_edge_litert", "onnxruntime"),
    "ai_edge_litert": ("keras", "tensorflow", "onnxruntime"),
    "onnxruntime": ("keras", "tensorflow", "ai_edge_litert"),
}
IMPORTED = {"ai_edge_litert": "ai_edge_litert.interpreter"}  # where it is not the package itself
BATCH_SIZE = 256
LONGEST_REASON = 200  # characters
WARM_UP_SECONDS = 0.1
STRETCH_SECONDS = 0.1
FEWEST_SECONDS = 1.0  # of calls that are timed
LONGEST_SECONDS = 10.0
N_CALLS = {1: 100, BATCH_SIZE: 20}  # at least, by images a call, unless they would take too long
FEWEST_CALLS = 5  # however long they take


class Model(NamedTuple):
    """A model that its runtime has loaded."""

    predict: Callable[[np.ndarray], np.ndarray]  # float32 (n, height, width, channels) -> float32 (n, n_classes)
    image_shape: tuple[int, ...]  # height, width, channels
    unaccelerated: Callable[[], list[str] | None] = lambda: None  # operations without fast kernels; None: unknown


def main(task: str, runtime: str, model: str, *rest: str) -> int:
    """Do what the arguments say, for which see the module.

    Returns:
        The exit code: 0, or 1 where the runtime raises something. Its trace goes to standard error.
    """
    out_of_reach: dict[str, Any] = dict.fromkeys(("fmnist", "search", *OUT_OF_REACH[runtime]))
    sys.modules.update(out_of_reach)  # None: not to be imported, wherever it is installed
    try:
        found = TASKS[task](runtime, model, *rest)
        found["runtime"] = f"{runtime} {version(runtime.replace('_', '-'))}"
    except Exception as error:  # a runtime raises whatever it likes of a file that it cannot run
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {str(error).strip()[:LONGEST_REASON]}"}
    print(f"\n{json.dumps(found)}", flush=True)
    return 1 if "error" in found else 0


def write_predictions(runtime: str, model: str, images_path: str, out: str, n_threads: str) -> dict[str, Any]:
    """Write the probabilities of the images into OUT.npy."""
    images = np.load(images_path, mmap_mode="r")
    predict = LOADERS[runtime](model, int(n_threads)).predict
    probabilities = []
    for start in range(0, len(images), BATCH_SIZE):
        probabilities.append(predict(images[start : start + BATCH_SIZE].astype(np.float32)))
    np.save(f"{out}.npy", np.concatenate(probabilities))
    return {}


def measure(runtime: str, model: str, n_threads: str) -> dict[str, Any]:
    """Time the model on noise and find what memory it takes.

    Returns:
        Milliseconds an image, see `Timing.quietest_median`, and what 95 % of the calls take at most, for one image a
        call and for 256; the number of calls; bytes of memory, None where the system does not tell: those of the
        process with its runtime alone, and the most that it had when it predicted images one at a time; operations
        without fast kernels; and the processor.
    """
    importlib.import_module(IMPORTED.get(runtime, runtime))
    found: dict[str, Any] = {"processor": processor(), "n_threads": int(n_threads), "runtime_bytes": memory("VmRSS")}
    timings = []
    for size in N_CALLS:
        loaded = LOADERS[runtime](model, int(n_threads))  # once for each size: a runtime may prepare itself for one
        timings.append(Timing(loaded, size))
        if size == 1:
            found["peak_bytes"] = memory("VmHWM")
            found["unaccelerated"] = loaded.unaccelerated()
    unfinished = timings
    while unfinished:
        for timing in unfinished:  # in turn, so that each has its calls spread over the time of both
            timing.add_stretch()
        unfinished = [timing for timing in unfinished if not timing.is_enough()]
    for timing in timings:
        found[f"milliseconds_by_{timing.size}"] = timing.quietest_median() / timing.size
        found[f"p95_milliseconds_by_{timing.size}"] = timing.p95() / timing.size
        found[f"n_calls_by_{timing.size}"] = timing.n_calls()
    return found


class Timing:
    """Calls of a model with so many images of noise, after some that don't count: how long each took.

    What else a machine does, or another virtual machine on the same core, slows calls for a second or more at a time.
    So calls are timed in stretches of a tenth of a second.

    Args:
        model: What is called.
        size: Images a call.
    """

    def __init__(self, model: Model, size: int) -> None:
        self.size = size
        self._predict = model.predict
        shape = (size, *model.image_shape)
        self._images = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
        self._stretches: list[list[float]] = []  # milliseconds of each call
        self._call_for(WARM_UP_SECONDS)

    def add_stretch(self) -> None:
        """Call the model for a tenth of a second, and note how long each call took."""
        self._stretches.append(self._call_for(STRETCH_SECONDS))

    def is_enough(self) -> bool:
        """Whether there are as many calls as their figures need, or more would take too long."""
        seconds = sum(map(sum, self._stretches)) / 1000
        is_long = seconds >= LONGEST_SECONDS and self.n_calls() >= FEWEST_CALLS
        return is_long or (seconds >= FEWEST_SECONDS and self.n_calls() >= N_CALLS[self.size])

    def n_calls(self) -> int:
        """Return the number of calls that count."""
        return sum(map(len, self._stretches))

    def quietest_median(self) -> float:
        """Return what a call takes where nothing else runs, in milliseconds: the smallest median of a stretch."""
        return min(float(np.median(stretch)) for stretch in self._stretches)

    def p95(self) -> float:
        """Return what 95 % of all calls take at most, in milliseconds."""
        return float(np.percentile(np.concatenate(self._stretches), 95))

    def _call_for(self, seconds: float) -> list[float]:
        """Call the model until so many seconds are over, once at least. Returns milliseconds of each call."""
        milliseconds = []
        started = time.perf_counter()
        while True:
            begun = time.perf_counter()
            self._predict(self._images)
            ended = time.perf_counter()
            milliseconds.append(1000 * (ended - begun))
            if ended - started >= seconds:
                return milliseconds


def memory(what: str) -> int | None:
    """Read a figure of this process's memory, in bytes, from Linux; None elsewhere.

    what: VmRSS, what it has now, or VmHWM, the most that it has had. The maximum that `resource` knows is no less than
    that of the process which started this one.
    """
    try:
        with open("/proc/self/status") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name == what:
                    return 1024 * int(value.split()[0])
    except OSError:
        pass
    return None


def processor() -> str:
    """Name what this runs on: the board, the processor, or failing that the machine's kind."""
    for path, start in (("/proc/device-tree/model", ""), ("/proc/cpuinfo", "model name")):
        try:
            with open(path, errors="replace") as file:
                lines = [line for line in file if line.startswith(start)]
        except OSError:
            continue
        if lines:
            return lines[0].split(": ")[-1].strip(" \0\n")
    return platform.processor() or platform.machine()


def with_keras(model: str, n_threads: int) -> Model:
    """Load a .keras file by Keras."""
    limit_tensorflow(n_threads)
    import keras

    loaded: Any = keras.saving.load_model(model, compile=False)
    return Model(loaded.predict_on_batch, tuple(loaded.inputs[0].shape[1:]))


def with_tensorflow(model: str, n_threads: int) -> Model:
    """Load a SavedModel by TensorFlow, without Keras."""
    limit_tensorflow(n_threads)
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    serve = loaded.signatures["serving_default"]
    ((pixels, specification),), (output,) = serve.structured_input_signature[1].items(), serve.structured_outputs

    def predict(batch: np.ndarray) -> np.ndarray:
        assert loaded is not None  # kept alive: the signature does not hold its variables
        return serve(**{pixels: tf.constant(batch)})[output].numpy()

    return Model(predict, tuple(specification.shape[1:]))


def limit_tensorflow(n_threads: int) -> None:
    """Have TensorFlow compute on this many threads."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(n_threads)


def with_litert(model: str, n_threads: int) -> Model:
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
        if pixels["dtype"] == np.uint8:  # takes raw pixels as they are
            batch = batch.round().astype(np.uint8)
        interpreter.set_tensor(pixels["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    return Model(predict, tuple(map(int, pixels["shape"][1:])), lambda: outside_delegates(interpreter))


def outside_delegates(interpreter: Any) -> list[str] | None:
    """Name the operations, each once, that no delegate has taken over, such as XNNPACK with its fast kernels.

    None where the interpreter does not tell. A delegate's node stands beside those that it replaces: what its outputs
    are computed from, back to its inputs.
    """
    try:
        nodes = interpreter._get_ops_details()
    except AttributeError:
        return None
    makers = {tensor: node for node in nodes if node["op_name"] != "DELEGATE" for tensor in node["outputs"]}
    replaced: set[int] = set()
    for delegate in nodes:
        if delegate["op_name"] != "DELEGATE":
            continue
        inputs, open_tensors = set(delegate["inputs"]), list(delegate["outputs"])
        while open_tensors:
            tensor = open_tensors.pop()
            node = makers.get(tensor)
            if tensor not in inputs and node is not None and node["index"] not in replaced:
                replaced.add(node["index"])
                open_tensors.extend(node["inputs"])
    names = [node["op_name"] for node in nodes if node["op_name"] != "DELEGATE" and node["index"] not in replaced]
    return sorted(set(names))


def with_onnxruntime(model: str, n_threads: int) -> Model:
    """Load an .onnx file by ONNX Runtime."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it would leave an id of this machine in the home folder
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (pixels,) = session.get_inputs()

    def predict(batch: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {pixels.name: batch})[0])

    return Model(predict, tuple(pixels.shape[1:]))


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"predict": write_predictions, "measure": measure}
LOADERS: dict[str, Callable[[str, int], Model]] = {
    "keras": with_keras,
    "tensorflow": with_tensorflow,
    "ai_edge_litert": with_litert,
    "onnxruntime": with_onnxruntime,
}

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
