"""Checksums of files and digests of images: what tells them apart without keeping them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fmnist.errors import unreadable

DIGEST_BYTES = 16  # two different images share a digest once in 2 ** 128


def digest_of(image: np.ndarray) -> bytes:
    """Compute a digest that is equal for images that agree in every pixel, and for no others.

    Args:
        image: uint8 (height, width, channels). The shape is no part of the digest.
    """
    return hashlib.blake2b(image.tobytes(), digest_size=DIGEST_BYTES).digest()


def digests_of(images: np.ndarray) -> list[bytes]:
    """Compute the digest of every image, in their order. images: uint8 (n, height, width, channels)."""
    return [digest_of(image) for image in images]


def md5(*contents: bytes) -> str:
    """Compute one md5 over several pieces of content, as if they were one, in hexadecimal digits."""
    return md5_of_all(contents)


def md5_of_all(contents: Iterable[bytes]) -> str:
    """Compute what `md5` does of content that need not be in memory at once."""
    digest = hashlib.md5(usedforsecurity=False)
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def md5_of_file(path: Path) -> str:
    """Compute the md5 of a file's bytes, in hexadecimal digits. Raises UserError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
