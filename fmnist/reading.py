"""What may be asked of the images? The data sets that have a name, and how a user's own images are to be read.

The tables that commands are checked against stand here, without the code that reads images: they load in no time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fmnist.errors import UserError

DATASETS = (
    "fashion-mnist",
    "digits",
    "mnist",
    "cifar10",
    "cifar100",
    "kmnist",
    "emnist-letters",
    "emnist-balanced",
    "emnist-digits",
    "emnist-mnist",
    "emnist-bymerge",
    "emnist-byclass",
)
MIRRORED_DATASETS = ("fashion-mnist", "cifar10", "cifar100")  # those whose mirror images still show their class
OTHER_NAMES = {"kuzushijimnist": "kmnist"}  # in small letters alone -> one of DATASETS
ARCHIVE_SUFFIX, MATLAB_SUFFIX = ".npz", ".mat"
ARRAY_SUFFIXES = (ARCHIVE_SUFFIX, MATLAB_SUFFIX)  # of the files that may hold a user's own images
# Those that archives of folders usually have. They are recognised by their content.
PACKED_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz")
Colour = Literal["grey", "rgb"]
COLOURS: dict[str, Literal[1, 3]] = {"grey": 1, "rgb": 3}  # --colour -> channels
GREY_WORDS, COLOUR_WORDS = ("grey", "gray", "greyscale", "grayscale"), ("rgb", "colour", "color")
COLOUR_SPELLINGS = dict.fromkeys(GREY_WORDS, "grey") | dict.fromkeys(COLOUR_WORDS, "rgb")  # -> one of COLOURS
IMAGE_SIZES = (8, 128)  # smallest and largest that --image-size takes


def named_dataset(dataset: str) -> str | None:
    """Tell which data set a text names, in any usual spelling: `cifar-10`, `MNIST`, `fashion_mnist`.

    A name that is spelt as in DATASETS is always that data set. In another spelling, a file or folder counts first.

    Returns:
        One of DATASETS; None for anything else, such as a path.
    """
    if dataset in DATASETS:
        return dataset
    letters = re.sub(r"[-_ ]", "", dataset).lower()
    found = OTHER_NAMES.get(letters)
    for name in DATASETS:
        if letters == name.replace("-", ""):
            found = name
    if found is None or os.path.lexists(dataset):
        return None
    return found


@dataclass(frozen=True)
class Reading:
    """How a user's own images are to be read. Raises UserError for an image size out of range."""

    image_size: int | None = None  # pixels, of the square that each is fitted into; None: they stay as they are
    colour: str | None = None  # one of COLOURS, that pictures are turned into; None: as they are, all alike
    skip_unreadable: bool = False  # leave out the picture files that cannot be read
    seed: int = 0  # draws the test set if the data have none
    on_progress: Callable[[int, int], None] = lambda n_read, n_files: None  # of picture files; may raise, to end it

    def __post_init__(self) -> None:
        low, high = IMAGE_SIZES
        if self.image_size is not None and not low <= self.image_size <= high:
            raise UserError(f"--image-size must be between {low} and {high} pixels, but got {self.image_size}")

    @property
    def is_plain(self) -> bool:
        """Whether no option changes what is read: all that named data sets allow."""
        return (self.image_size, self.colour, self.skip_unreadable) == (None, None, False)


def without_suffix(name: str) -> str:
    """Take the suffix of arrays or of an archive off the name of a file: `shoes` for `shoes.npz` and `shoes.tar.gz`."""
    for suffix in (*ARRAY_SUFFIXES, *PACKED_SUFFIXES):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name
