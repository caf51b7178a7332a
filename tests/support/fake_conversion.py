"""A conversion without TensorFlow, in the place of `fmnist.export.conversion`.

What becomes of a format is what the "model" says, whose config is format -> fate, see `write_fates`. Its images have
4 x 4 pixels, its classes are 3. Like the real one it is run by its path and imports nothing of the project.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zipfile
from pathlib import Path

import numpy as np

WEIGHTS = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32) / 400


def main(folder: Path) -> None:
    request = json.loads((folder / "request.json").read_text())
    with zipfile.ZipFile(request["model"]) as archive:
        fates = json.loads(archive.read("config.json"))
    if "unusable" in fates:
        append_result(folder, unusable=fates["unusable"])
        return
    if "dies" in fates:
        sys.exit("no memory")
    write_reference_predictions(folder)
    for name, file in request["files"].items():
        append_result(folder, begun=name)
        outcome = convert(fates[name], folder / file)
        append_result(folder, ended=name, seconds=1.5, **outcome)


def write_fates(path: Path, fates: dict[str, str]) -> None:
    """Write a .keras file of which the formats have these fates."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(fates))


def append_result(folder: Path, **what: object) -> None:
    with open(folder / "results.jsonl", "a") as file:
        file.write(json.dumps(what) + "\n")


def write_reference_predictions(folder: Path) -> None:
    if not (folder / "images.npy").exists():
        np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (256, 4, 4, 1), dtype=np.uint8))
    logits = np.load(folder / "images.npy").reshape(-1, 16).astype(np.float32) @ WEIGHTS
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.save(folder / "reference.npy", exponentials / exponentials.sum(axis=1, keepdims=True))


def convert(fate: str, path: Path) -> dict[str, str]:
    match fate:
        case "right":
            write_onnx(path, WEIGHTS)
        case "wrong":
            write_onnx(path, WEIGHTS * 1.01)
        case "not finite":
            write_onnx(path, WEIGHTS * np.nan)
        case "of another shape":
            write_onnx(path, WEIGHTS[:, :2])
        case "garbage":
            path.write_bytes(b"no model")
        case "raises":
            path.write_bytes(b"half a mod")
            return {"error": "ValueError: no such layer", "trace": "its trace"}
        case "dies":
            os._exit(9)
        case "hangs":
            time.sleep(600)
    return {}


def write_onnx(path: Path, weights: np.ndarray) -> None:
    from onnx import TensorProto, helper, numpy_helper, save_model

    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 4, 4, 1])
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", weights.shape[1]])
    weights = numpy_helper.from_array(np.ascontiguousarray(weights), "weights")
    graph = helper.make_graph(nodes, "fake", [pixels], [output], [weights])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
