"""Split labelled images into training, selection and confirmation split; the test images have a loader of their own."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.data.checksums import md5
from fmnist.data.images import LabelledImages, joined
from fmnist.data.source import DataSource, held_out_size, stratified
from fmnist.errors import UserError


@dataclass(frozen=True, eq=False)
class Split:
    """The training images in three parts without overlap; the test images are elsewhere."""

    train: LabelledImages  # what networks learn from
    selection: LabelledImages  # what the search compares on
    confirmation: LabelledImages  # what the finalists are compared on, unseen by the search
    checksum: str  # md5 over the three index arrays
    seed: int

    def together(self) -> LabelledImages:
        """All three parts, one after the other: what the winner is retrained on."""
        return joined(self.train, self.selection, self.confirmation)


def load_train(source: DataSource, seed: int) -> Split:
    """Read the training images and split them, stratified by class. Same seed, same split. The test images stay
    unread.

    Selection and confirmation get n // 12 images each, n // 6 each below 12,000 images; train gets the rest.
    """
    everything = source.read_train()
    parts = _split_indices(everything.labels, seed)
    return Split(
        *(everything.rows(part) for part in parts),
        checksum=md5(*(part.astype("<i8").tobytes() for part in parts)),
        seed=seed,
    )


def load_test(source: DataSource) -> LabelledImages:
    """Read the test images. Whoever calls this opens the test set: see `search.refit.retraining`."""
    return source.read_test()


def save_split(split: Split, folder: Path) -> None:
    """Write a split for other processes to open. `split.json` comes last: where it is, all is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "selection", "confirmation"):
        part = getattr(split, name)
        np.save(folder / f"{name}-images.npy", part.images)
        np.save(folder / f"{name}-labels.npy", part.labels)
    (folder / "split.json").write_text(json.dumps({"checksum": split.checksum, "seed": split.seed}))


def open_split(folder: Path) -> Split:
    """Open what `save_split` wrote. Arrays are read-only memory maps, so that processes share their pages."""
    fields = json.loads((folder / "split.json").read_text())
    parts = {
        name: LabelledImages(
            np.load(folder / f"{name}-images.npy", mmap_mode="r"), np.load(folder / f"{name}-labels.npy", mmap_mode="r")
        )
        for name in ("train", "selection", "confirmation")
    }
    return Split(**parts, **fields)


def pixel_statistics(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over all pixels, in units of 0 to 255. images: uint8, any shape, at least one image.
    Raises UserError if every pixel is the same: such images cannot be normalised, or told apart."""
    if images.dtype != np.uint8 or images.size == 0:
        raise ValueError(f"images must be uint8 and not empty, but got {images.dtype} {images.shape}")
    values, counts = np.arange(256), _histogram(images)
    mean = np.average(values, weights=counts)
    std = math.sqrt(np.average((values - mean) ** 2, weights=counts))
    if std == 0:
        raise UserError(f"images must differ somewhere, but every pixel is {int(mean)}; check the image files")
    return float(mean), std


def _split_indices(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train, selection, confirmation: sorted int64 indices, so that each part keeps the file's order."""
    n_held_out = held_out_size(len(labels))
    rest, confirmation = stratified(np.arange(len(labels)), labels, n_held_out, seed)
    train, selection = stratified(rest, labels, n_held_out, seed)
    return train, selection, confirmation


def _histogram(images: np.ndarray) -> np.ndarray:
    """How many pixels have each value: int64 (256,). In chunks, as bincount makes an int64 copy of what it gets."""
    chunks = np.array_split(images, math.ceil(len(images) / 1000))
    return sum(np.bincount(chunk.ravel(), minlength=256) for chunk in chunks)
