"""Small Parquet files, written by pyarrow as the Hugging Face hub has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.support.made_images import encoded

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pictures_of(images: np.ndarray, format: str = "PNG") -> list[dict[str, Any] | None]:
    return [{"bytes": encoded(Image.fromarray(image), format), "path": f"{i}.png"} for i, image in enumerate(images)]


def write(path: Path, columns: dict[str, Any], class_names: Sequence[str] | None = None, **options: Any) -> Path:
    """By pyarrow, with what the hub notes of class names if there are some."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if class_names is not None:
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": class_names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)
    return path


def columns_of(images: np.ndarray, labels: Any) -> dict[str, Any]:
    return {"image": pa.array(pictures_of(images), PICTURE), "label": pa.array(labels)}
