"""Find a data set by its name or its path."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fmnist.data.idx_folder import has_idx_files, idx_source
from fmnist.data.image_folder.reading import class_folders_source
from fmnist.data.named import digits_source, download_with_keras, expanded, fashion_mnist, require_utf8
from fmnist.data.npz import SUFFIX, archive_source
from fmnist.data.source import DataSource, Reading
from fmnist.errors import UserError

DATASETS = ("fashion-mnist", "digits")


def find_data(
    dataset: str,
    data_dir: Path | None = None,
    reading: Reading | None = None,
    *,
    places: Sequence[Path] | None = None,
    download: Callable[[], Path] | None = None,
) -> DataSource:
    """Find and check a data set by name, or the folder or .npz file `dataset`. Raises UserError if there is none to be
    had, or if something of it cannot be used.

    `data_dir` (or else $FMNIST_DATA_DIR) is the one place to look for Fashion-MNIST. Without it, `places` (default:
    `usual_places()`) are tried in turn, then `download` (default: `download_with_keras`) gives a folder. `reading`: how
    to read images of one's own.
    """
    reading = reading or Reading()
    if data_dir is not None and dataset != "fashion-mnist":
        raise UserError(f"--data-dir is for the dataset fashion-mnist, but got {dataset!r}; leave --data-dir out")
    if dataset in DATASETS and not reading.is_plain:
        raise UserError(
            f"--image-size, --colour and --skip-unreadable are for images of your own, but got {dataset!r}; leave them "
            "out"
        )
    if dataset == "fashion-mnist":
        return fashion_mnist(data_dir, places, download or download_with_keras)
    if dataset == "digits":
        return digits_source()
    return _own_source(dataset, expanded(dataset), reading)


def _own_source(dataset: str, path: Path, reading: Reading) -> DataSource:
    require_utf8(path)
    is_folder = dataset != "" and os.path.isdir(path)
    if is_folder and not has_idx_files(path):
        return class_folders_source(path.resolve(), reading)
    if reading.colour is not None or reading.skip_unreadable:
        raise UserError(
            f"--colour and --skip-unreadable are for class folders of pictures, but got {dataset!r}; leave them out"
        )
    if is_folder:
        return idx_source(path.resolve(), reading)
    if path.suffix.lower() == SUFFIX and os.path.isfile(path):
        return archive_source(path.resolve(), reading)
    raise UserError(
        f"the dataset must be {', '.join(DATASETS)} or a folder of images (class folders or the four IDX files) or an "
        f"{SUFFIX} file, but got {dataset!r}; check the spelling of --dataset"
    )
