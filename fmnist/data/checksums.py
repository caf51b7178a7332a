"""What tells files and images apart without keeping them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fmnist.errors import unreadable

DIGEST_BYTES = 16  # two different images share a digest once in 2 ** 128


def digest_of(image: np.ndarray) -> bytes:
    """Equal for images that are the same, pixel by pixel, and for no others. image: uint8 (height, width, channels)."""
    return hashlib.blake2b(image.tobytes(), digest_size=DIGEST_BYTES).digest()


def digests_of(images: np.ndarray) -> list[bytes]:
    return [digest_of(image) for image in images]


def md5(*contents: bytes) -> str:
    """Of all of them, one after the other."""
    return md5_of_all(contents)


def md5_of_all(contents: Iterable[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def md5_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
