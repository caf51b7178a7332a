"""Find a data set by its name or its path, of whichever kind it is."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from fmnist.data.archives.source import find_packed, packed_source
from fmnist.data.arrays.numpy_files import NumpyArrays
from fmnist.data.arrays.source import arrays_source
from fmnist.data.idx import has_idx_files, idx_source
from fmnist.data.image_folder.reading import class_folders_source
from fmnist.data.image_folder.tree import read_tree
from fmnist.data.named import digits_source, download_with_keras, fashion_mnist_source
from fmnist.data.source import DataSource
from fmnist.errors import UserError, first_few, unreadable
from fmnist.paths import absolute, expanded, require_utf8
from fmnist.reading import ARCHIVE_SUFFIX, DATASETS, Reading


def find_data(
    dataset: str,
    data_dir: Path | None = None,
    reading: Reading | None = None,
    *,
    places: Sequence[Path] | None = None,
    download: Callable[[], Path] = download_with_keras,
) -> DataSource:
    """Find and check a data set.

    Args:
        dataset: One of DATASETS, or the path of class folders of pictures, of pictures with a table of labels, of a
            folder of IDX files, of an .npz file, or of a zip or tar archive of these.
        data_dir: The one place to look for Fashion-MNIST; None: $FMNIST_DATA_DIR if it is set, else `places`.
        reading: How to read a user's own images.
        places: Folders where Fashion-MNIST may be, tried in turn; None: `fmnist.data.named.usual_places()`.
        download: Gets Fashion-MNIST if no place has it, and returns its folder.

    Raises:
        UserError: There is no such data set, or something of it cannot be used.
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
        return fashion_mnist_source(data_dir, places, download)
    if dataset == "digits":
        return digits_source()
    source = find_own_images(dataset, reading)
    if source.dataset in DATASETS:  # a folder of that name is not the data set of that name
        source = dataclasses.replace(source, dataset=f"./{source.dataset}")
    return source


def find_own_images(dataset: str, reading: Reading) -> DataSource:
    """Find and check images of the user's own: `find_data` for a path."""
    path = absolute(expanded(dataset))
    require_utf8(path.resolve(), "the dataset")
    is_folder = dataset != "" and os.path.isdir(path)
    packed = None if is_folder else find_packed(path)
    if packed is not None:
        return packed_source(packed, reading, find_own_images)
    if is_folder and not has_idx_files(path):
        refuse_folder_around(path.resolve())
        return class_folders_source(path.resolve(), reading)
    if reading.colour is not None or reading.skip_unreadable:
        raise UserError(
            f"--colour and --skip-unreadable are for class folders of pictures, but got {dataset!r}; leave them out"
        )
    if is_folder:
        return idx_source(path.resolve(), reading)
    if path.suffix.lower() == ARCHIVE_SUFFIX and os.path.isfile(path):
        return arrays_source(NumpyArrays(path.resolve()), reading)
    raise UserError(
        f"the dataset must be {', '.join(DATASETS)} or a folder of images (class folders, pictures with a table "
        f"labels.csv, or the four IDX files) or an {ARCHIVE_SUFFIX} file, or a zip or tar of these, but got "
        f"{dataset!r}; check the spelling of --dataset"
    )


def refuse_folder_around(folder: Path) -> None:
    """Raise UserError if a folder holds no picture, but IDX files one folder down, or an archive."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise unreadable(folder, error) from error
    found = []
    for name in names:
        if has_idx_files(folder / name) or name.lower().endswith(ARCHIVE_SUFFIX):
            found.append(folder / name)
    if found and not read_tree(folder).n_pictures:
        raise UserError(
            f"the dataset must be what holds the images, but {folder} is a folder around {first_few(found)}; pass "
            f"--dataset {shlex.quote(str(found[0]))}"
        )
