"""Hold images out: for selection, confirmation and testing. The test images have a loader of their own."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.data.checksums import md5
from fmnist.data.images import LabelledImages, joined
from fmnist.data.source import DataSource
from fmnist.errors import UserError

LARGE_SET = 12_000  # images from which a twelfth (1,000 images or more) is enough to select on


@dataclass(frozen=True, eq=False)
class Split:
    """The training images in three parts without overlap; the test images are elsewhere."""

    train: LabelledImages  # what networks learn from
    selection: LabelledImages  # what the search compares on
    confirmation: LabelledImages  # what the finalists are compared on, unseen by the search
    checksum: str  # md5 over the three index arrays
    seed: int

    def searched(self) -> LabelledImages:
        """Copy training and selection part into one, in this order: what finalists learn from."""
        return joined(self.train, self.selection)

    def together(self) -> LabelledImages:
        """Copy all three parts into one, in their order."""
        return joined(self.train, self.selection, self.confirmation)


def load_train(source: DataSource, seed: int) -> Split:
    """Read the training images and split them, stratified by class. The test images stay unread.

    Selection and confirmation get n // 12 images each, n // 6 each below 12,000 images; train gets the rest. The same
    seed gives the same split. Each part keeps the order of the file.
    """
    everything = source.read_train()
    indices = split_indices(everything.labels, seed)
    train, selection, confirmation = (everything.rows(part) for part in indices)
    checksum = md5(*(part.astype("<i8").tobytes() for part in indices))
    return Split(train, selection, confirmation, checksum, seed)


def load_test(source: DataSource) -> LabelledImages:
    """Read the test images. Whoever calls this opens the test set: see `search.refit.evaluation`."""
    return source.read_test()


def split_indices(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the rows of the training, selection and confirmation split, stratified by class.

    Args:
        labels: uint8 (n,).
        seed: Draws both splits that are held out.

    Returns:
        Three sorted int64 arrays.
    """
    n_held_out = held_out_size(len(labels))
    rest, confirmation = stratified(np.arange(len(labels)), labels, n_held_out, seed)
    train, selection = stratified(rest, labels, n_held_out, seed)
    return train, selection, confirmation


def hold_out(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a test set from data that have none: `held_out_size` images, stratified by class.

    Args:
        labels: uint8 (n,).
        seed: Draws the test images.

    Returns:
        Rows to train on and rows to test on, two sorted int64 arrays.
    """
    return stratified(np.arange(len(labels)), labels, held_out_size(len(labels)), seed)


def held_out_size(n_images: int) -> int:
    """Say how many of so many images are held out at a time: a sixth, a twelfth of large sets."""
    if n_images >= LARGE_SET:
        return n_images // 12
    return n_images // 6


def note_held_out(n_test: int, n_images: int, seed: int, missing: str) -> str:
    """Write the sentence that tells of a drawn test set. missing: where one was looked for, such as `test folder`."""
    return (
        f"There is no {missing}, so {n_test:,} of the {n_images:,} images, drawn by class with seed {seed}, are held "
        "out as the test set"
    )


def stratified(indices: np.ndarray, labels: np.ndarray, n_second: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into two parts, each class in both by its share.

    Args:
        indices: int64, the rows to divide.
        labels: uint8 (n,), of all images, not of `indices` alone.
        n_second: Size of the second part.
        seed: Draws it.

    Returns:
        Two sorted int64 arrays.
    """
    from sklearn.model_selection import train_test_split  # here: it takes a second that many readers save

    first, second = train_test_split(indices, test_size=n_second, stratify=labels[indices], random_state=seed)
    return np.sort(first), np.sort(second)


def save_split(split: Split, folder: Path) -> None:
    """Write a split for other processes to open. `split.json` comes last: if it is there, the split is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "selection", "confirmation"):
        part = getattr(split, name)
        np.save(folder / f"{name}-images.npy", part.images)
        np.save(folder / f"{name}-labels.npy", part.labels)
    (folder / "split.json").write_text(json.dumps({"checksum": split.checksum, "seed": split.seed}))


def open_split(folder: Path) -> Split:
    """Open what `save_split` wrote. Arrays are read-only memory maps, so that processes share their pages."""

    def open_part(name: str) -> LabelledImages:
        return LabelledImages(
            np.load(folder / f"{name}-images.npy", mmap_mode="r"), np.load(folder / f"{name}-labels.npy", mmap_mode="r")
        )

    fields = json.loads((folder / "split.json").read_text())
    return Split(open_part("train"), open_part("selection"), open_part("confirmation"), **fields)


def pixel_statistics(images: np.ndarray) -> tuple[float, float]:
    """Compute mean and standard deviation over all pixels, in units of 0 to 255.

    Args:
        images: uint8 of any shape, with at least one pixel.

    Raises:
        UserError: Every pixel is the same: such images cannot be normalised, or told apart.
    """
    if images.dtype != np.uint8 or images.size == 0:
        raise ValueError(f"images must be uint8 and not empty, but got {images.dtype} {images.shape}")
    counts = np.zeros(256, np.int64)
    for chunk in np.array_split(images, math.ceil(len(images) / 1000)):  # bincount copies what it gets to int64
        counts += np.bincount(chunk.ravel(), minlength=256)
    values = np.arange(256)
    mean = np.average(values, weights=counts)
    std = math.sqrt(np.average((values - mean) ** 2, weights=counts))
    if std == 0:
        raise UserError(f"images must differ somewhere, but every pixel is {int(mean)}; check the image files")
    return float(mean), std
