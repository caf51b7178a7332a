"""Small data sets of one's own, made from scikit-learn's digits: folders of pictures, IDX files, .npz archives."""

from __future__ import annotations

import io
import itertools
import re
import struct
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("class 2", "class 10", "other")  # in natural order, which is not that of plain text


@cache
def digits(side: int = 16, n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The digits below n_classes, enlarged: uint8 (n, side, side), about 180 of each; labels uint8 (n,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits(n_class=n_classes)
    pixels = np.round(bunch.images * 255 / 16).astype(np.uint8)
    enlarged = [Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) for image in pixels]
    return np.stack([np.asarray(image) for image in enlarged]), bunch.target.astype(np.uint8)


def digits_of_each(counts: Sequence[int], side: int = 16, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """So many of each digit, beginning with its `first`."""
    images, labels = digits(side, len(counts))
    rows = np.concatenate([np.flatnonzero(labels == label)[first:][:n] for label, n in enumerate(counts)])
    return images[rows], labels[rows]


def in_colour(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each in two colours of its own: uint8 (n, side, side, 3)."""
    generator = np.random.default_rng(seed)
    dark = generator.integers(0, 100, (len(images), 1, 1, 3))
    light = generator.integers(140, 256, (len(images), 1, 1, 3))
    return np.round(dark + (light - dark) * (images[..., np.newaxis] / 255)).astype(np.uint8)


def write_pictures(folder: Path, images: np.ndarray, labels: np.ndarray, names: Sequence[str] = NAMES) -> Path:
    """A folder for each class, with PNG files in it."""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / names[label] / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, compress_level=1)
    return folder


def write_divided(
    folder: Path,
    n_train: int = 12,
    n_test: int = 3,
    *,
    side: int = 16,
    make: Callable[[np.ndarray], np.ndarray] = lambda images: images,
    parts: tuple[str, str] = ("train", "test"),
) -> Path:
    """train/ and test/ with so many pictures of each class."""
    for part, n, first in ((parts[0], n_train, 0), (parts[1], n_test, n_train)):
        images, labels = digits_of_each([n] * len(NAMES), side, first)
        write_pictures(folder / part, make(images), labels)
    return folder


def touch(folder: Path, *names: str) -> Path:
    """Empty files, with their folders. `train/{cat,dog}/a.png` makes two, and a name that ends in / a folder."""
    for name in names:
        alternatives = [part.split(",") if i % 2 else [part] for i, part in enumerate(re.split("[{}]", name))]
        for parts in itertools.product(*alternatives):
            path = folder / "".join(parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.touch()
    return folder


def idx(array: np.ndarray) -> bytes:
    """As an IDX file of unsigned bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> Path:
    """The four files, not gzipped. Each part: images and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, (images, labels) in (("train", train), ("t10k", test)):
        (folder / f"{prefix}-images-idx{images.ndim}-ubyte").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


def encoded(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """As the content of a file."""
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def white_tiff_of_12_bits(side: int) -> bytes:
    """By hand: Pillow reads such files, and cannot write them. side: even."""
    size = side * side * 12 // 8
    # Width, height, bits, no compression, black is 0, where the pixels are, channels, rows, bytes.
    tags = ((256, side), (257, side), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, size))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + size) + b"\xff" * size + directory + bytes(4)
