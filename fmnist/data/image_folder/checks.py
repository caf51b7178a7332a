"""Do the pictures of a folder go together, and what is there to say about them?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fmnist.data.checks import note_constant
from fmnist.data.checksums import digests_of
from fmnist.data.image_folder.files import PictureFiles
from fmnist.errors import UserError, first_few
from fmnist.reading import Reading

COLOUR_NAMES = {1: "grey", 3: "in colour"}
N_KINDS = 3  # of sizes that an error names, beside the commonest


def check_alike(folder: Path, parts: Sequence[PictureFiles]) -> None:
    """Raise UserError if pictures differ in colour or size, naming those of the rarer kinds.

    Args:
        folder: The data set, for the message.
        parts: All pictures, as they were read: fitted into one size if that was asked for.
    """
    files = [path for part in parts for path in part.files]
    shapes = np.concatenate([part.shapes for part in parts]).tolist()
    by_colour = _rows_by_kind([COLOUR_NAMES[n_channels] for _, _, n_channels in shapes])
    if len(by_colour) > 1:
        raise UserError(
            f"pictures must be all grey or all in colour, but in {folder} "
            f"{_kinds_in_words(folder, files, by_colour)}; pass --colour grey or --colour rgb, to turn all into that"
        )
    by_size = _rows_by_kind([f"{height} x {width}" for height, width, _ in shapes])
    if len(by_size) > 1:
        raise UserError(
            f"pictures must have one size, but in {folder} {_kinds_in_words(folder, files, by_size)}; pass "
            "--image-size N, such as 32, which fits each into N x N pixels"
        )


def _rows_by_kind(kinds: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each kind, the commonest kind first."""
    rows: dict[str, list[int]] = {}
    for row, kind in enumerate(kinds):
        rows.setdefault(kind, []).append(row)
    return dict(sorted(rows.items(), key=lambda item: -len(item[1])))


def _kinds_in_words(folder: Path, files: Sequence[Path], rows_by_kind: dict[str, list[int]]) -> str:
    """Such as `310 are grey, 2 are in colour (a.png, b.png)`: the commonest without names."""
    (first, rows), *others = rows_by_kind.items()
    texts = [f"{len(rows):,} are {first}"]
    for kind, rows_of_kind in others[:N_KINDS]:
        names = first_few([shown_name(folder, files[row]) for row in rows_of_kind])
        verb = "are"
        if len(rows_of_kind) == 1:
            verb = "is"
        texts.append(f"{len(rows_of_kind):,} {verb} {kind} ({names})")
    if len(others) > N_KINDS:
        texts.append(f"there are {len(others) - N_KINDS:,} more kinds")
    return ", ".join(texts)


def note_pictures(folder: Path, train: PictureFiles, test: PictureFiles, reading: Reading) -> list[str]:
    """Write sentences about what is unusual in the pictures, and about what reading them has changed.

    Args:
        folder: The data set, below which files are named.
        train: The training pictures, pixels included.
        test: The test pictures.
        reading: How they were read.
    """
    notes = note_constant(train.is_constant, lambda row: shown_name(folder, train.files[row]))
    notes += note_repeated(folder, train, test)
    if reading.colour == "grey":
        notes.append("All pictures are read as grey ones")
    elif reading.colour is not None:
        notes.append("All pictures are read in colour")
    notes += note_fitted(np.concatenate([train.own_sizes, test.own_sizes]), reading.image_size)
    return notes


def note_fitted(own_sizes: np.ndarray, side: int | None) -> list[str]:
    """Write a sentence about the sizes that were fitted into a square; none if nothing was.

    Args:
        own_sizes: int32 (n, 2), height and width of each picture.
        side: Of the square; None if pictures kept their size.
    """
    sizes = np.unique(own_sizes, axis=0)
    if side is None or sizes.tolist() == [[side, side]]:
        return []
    by_area = sizes[np.argsort(sizes.prod(axis=1), kind="stable")]
    (height, width), (last_height, last_width) = by_area[0], by_area[-1]
    own = f"{height} x {width}"
    if len(by_area) > 1:
        own += f" to {last_height} x {last_width}"
    return [f"Pictures of {own} pixels are fitted into {side} x {side}, the border repeated along the shorter side"]


def note_repeated(folder: Path, train: PictureFiles, test: PictureFiles) -> list[str]:
    """Write sentences that name the files with the same pixels. For data of all kinds they are counted elsewhere."""
    assert train.images is not None  # training pictures are read to be kept
    first_with: dict[bytes, Path] = {}
    repeated, shared = [], []
    for path, digest in zip(train.files, digests_of(train.images), strict=True):
        first = first_with.setdefault(digest, path)
        if first is not path:
            repeated.append(f"{shown_name(folder, path)} is {shown_name(folder, first)}")
    for path, digest in zip(test.files, test.digests, strict=True):
        if digest in first_with:
            shared.append(f"{shown_name(folder, path)} is {shown_name(folder, first_with[digest])}")
    notes = []
    if repeated:
        notes.append(f"Training pictures that occur twice: {first_few(repeated)}")
    if shared:
        notes.append(f"Test pictures that are training pictures too: {first_few(shared)}")
    return notes


def shown_name(folder: Path, path: Path) -> str:
    """Name a file below the data set's folder, bytes that are no UTF-8 (an old archive's) written as `\\xe9`."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")


def counted(n: int, noun: str) -> str:
    """Write a number of things with the verb that follows, such as `1 file is` and `2 files are`."""
    if n == 1:
        return f"1 {noun} is"
    return f"{n:,} {noun}s are"
