"""What does an exported file say of itself? Its classes, its input and its licence, where its format has a place.

LiteRT files hold them as TensorFlow Lite Model Metadata, schema 1.1.0, with the class names in `labels.txt`: Android
Studio and MediaPipe read them, and any zip program lists the labels. ONNX files hold them as metadata properties. What
a runtime computes is not changed.

What the converter calls the tensors inside of a LiteRT file is taken out: its long names of Keras's layers are a tenth
of the smallest files, and no runtime reads them.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.model.metadata import ModelMetadata

LABELS = "labels.txt"  # of a LiteRT file: a class a line, by label
METADATA_NAME, METADATA_IDENTIFIER = "TFLITE_METADATA", b"M001"
OLDEST_PARSER = "1.0.0"  # of the metadata's schema that knows all fields below
INPUT = "raw pixels from 0 to 255; the model standardizes them itself"
OUTPUT = "probabilities of the classes, in the order of their labels"
# Numbers of the schema: of its unions and enumerations.
IMAGE_PROPERTIES, NORMALIZATION_OPTIONS = 2, 1
RGB, GRAYSCALE = 1, 2
TENSOR_AXIS_LABELS = 2


def describe(path: Path, runtime: str, metadata: ModelMetadata, license: str | None) -> None:
    """Have an exported file say what its model's metadata do.

    Args:
        path: Of the file, which is written anew.
        runtime: That loads it; nothing is written for those whose format has no place.
        metadata: Of the model.
        license: Name of the model's licence, such as Apache-2.0; None: nothing is said of one.
    """
    if runtime == "ai_edge_litert":
        path.write_bytes(described_litert(path.read_bytes(), metadata, license))
    elif runtime == "onnxruntime":
        describe_onnx(path, metadata, license)


def describe_onnx(path: Path, metadata: ModelMetadata, license: str | None) -> None:
    """Write class names, the kind of input and output, and the licence into an ONNX file, as metadata properties."""
    import onnx

    model = onnx.load(path)
    properties = {"class_names": json.dumps(metadata.class_names, ensure_ascii=False), "input": INPUT, "output": OUTPUT}
    if license is not None:
        properties["license"] = license
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, path)


def described_litert(content: bytes, metadata: ModelMetadata, license: str | None) -> bytes:
    """Return the content of a LiteRT file with its metadata, and the class names in a zip archive behind it.

    Its inputs and outputs keep their names, all other tensors have none any more.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools.flatbuffer_utils import convert_bytearray_to_object, convert_object_to_bytearray

    model: Any = convert_bytearray_to_object(bytearray(content))
    buffer: Any = schema.BufferT()
    entry: Any = schema.MetadataT()
    buffer.data = np.frombuffer(litert_metadata(metadata, license), np.uint8)
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    for graph in model.subgraphs:
        named = {*graph.inputs, *graph.outputs}
        for place, tensor in enumerate(graph.tensors):
            if place not in named:
                tensor.name = None
    archive = io.BytesIO(bytes(convert_object_to_bytearray(model)))
    with zipfile.ZipFile(archive, "a") as file:
        lines = [" ".join(name.splitlines()) for name in metadata.class_names]  # a class a line, whatever its name
        file.writestr(zipfile.ZipInfo(LABELS), "".join(f"{line}\n" for line in lines))
    return archive.getvalue()


def litert_metadata(metadata: ModelMetadata, license: str | None) -> bytes:
    """Return the metadata of a LiteRT file, in bytes.

    They are a FlatBuffer, in which a field has its number by its place in the schema's table.
    """
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    write = Tables(builder)
    height, width, n_channels = metadata.image_shape
    size = write.table({0: ("Uint32", width), 1: ("Uint32", height)})
    color_space = GRAYSCALE if n_channels == 1 else RGB
    image = write.table({0: ("Int8", color_space), 1: ("UOffsetTRelative", size)})
    content = write.table({0: ("Uint8", IMAGE_PROPERTIES), 1: ("UOffsetTRelative", image)})
    as_it_is = write.table({0: write.floats([0.0]), 1: write.floats([1.0])})  # mean and standard deviation
    unit = write.table({0: ("Uint8", NORMALIZATION_OPTIONS), 1: ("UOffsetTRelative", as_it_is)})
    pixels = write.table(
        {
            0: write.text("pixels"),
            1: write.text(INPUT),
            3: ("UOffsetTRelative", content),
            4: write.tables([unit]),
            5: ("UOffsetTRelative", write.table({0: write.floats([255.0]), 1: write.floats([0.0])})),
        }
    )
    labels = write.table({0: write.text(LABELS), 1: write.text("a class a line"), 2: ("Int8", TENSOR_AXIS_LABELS)})
    probabilities = write.table({0: write.text("probabilities"), 1: write.text(OUTPUT), 6: write.tables([labels])})
    subgraph = write.table({2: write.tables([pixels]), 3: write.tables([probabilities])})
    model = {
        0: write.text("image classifier"),
        1: write.text(f"Names one of {len(metadata.class_names)} classes of images."),
        3: write.tables([subgraph]),
        7: write.text(OLDEST_PARSER),
    }
    if license is not None:
        model[5] = write.text(license)
    builder.Finish(write.table(model), METADATA_IDENTIFIER)
    return bytes(builder.Output())


class Tables:
    """Writes tables of a FlatBuffer from the fields that they have, each as its kind and its value or place.

    Args:
        builder: Writes.
    """

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def table(self, fields: dict[int, tuple[str, int]]) -> int:
        """Write a table and return its place. fields: by number, none of which is the default 0."""
        builder = self._builder
        builder.StartObject(max(fields) + 1)
        for number, (kind, value) in fields.items():
            getattr(builder, f"Prepend{kind}Slot")(number, value, 0)
        return builder.EndObject()

    def text(self, text: str) -> tuple[str, int]:
        """Write a text and return it as a field."""
        return "UOffsetTRelative", self._builder.CreateString(text)

    def floats(self, values: Sequence[float]) -> tuple[str, int]:
        """Write numbers of 32 bits and return them as a field."""
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        return "UOffsetTRelative", self._builder.EndVector()

    def tables(self, places: Sequence[int]) -> tuple[str, int]:
        """Write a list of tables and return it as a field."""
        self._builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self._builder.PrependUOffsetTRelative(place)
        return "UOffsetTRelative", self._builder.EndVector()
