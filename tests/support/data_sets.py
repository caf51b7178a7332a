"""Data sets that are found, refused and compared."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.find import find_data
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource
from fmnist.errors import UserError
from fmnist.reading import Reading


def labels_of(n: int) -> np.ndarray:
    return (np.arange(n) % 3).astype(np.uint8)


def write_idx_file(path: Path, array: np.ndarray, magic: int | None = None) -> None:
    magic = {1: 2049, 3: 2051}[array.ndim] if magic is None else magic
    content = struct.pack(f">{1 + array.ndim}i", magic, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_folder(folder: Path, *, n_train: int = 72, n_test: int = 9, side: int = 6, suffix: str = ".gz") -> Path:
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, n in (("train", n_train), ("t10k", n_test)):
        images = generator.integers(0, 256, (n, side, side + 1), dtype=np.uint8)
        write_idx_file(folder / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx_file(folder / f"{prefix}-labels-idx1-ubyte{suffix}", labels_of(n))
    return folder


def no_download() -> Path:
    raise UserError("no network")


def found(path: Path, **reading: Any) -> DataSource:
    return find_data(str(path), reading=Reading(**reading))


def refused(path: Path, complaint: str, **reading: Any) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        found(path, **reading)
    assert "\n" not in str(caught.value)


def multiset(images: LabelledImages) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(images.images, images.labels, strict=True))
