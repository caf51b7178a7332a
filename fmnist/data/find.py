"""Find a data set by its name or its path, of whichever kind it is."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from fmnist.data.archives.source import find_packed, lone_content, packed_source
from fmnist.data.arrays.idx.files import idx_source
from fmnist.data.arrays.idx.names import has_idx_files
from fmnist.data.arrays.kinds import can_open, find_opener
from fmnist.data.arrays.source import arrays_source
from fmnist.data.checks import refuse_picture_options
from fmnist.data.image_folder.reading import class_folders_source
from fmnist.data.image_folder.tree import read_tree
from fmnist.data.named.sources import WITH_FILES, named_source
from fmnist.data.source import DataSource
from fmnist.data.tables.files import find_tables
from fmnist.data.tables.source import tables_source
from fmnist.errors import UserError, first_few, unreadable
from fmnist.paths import absolute, expanded, require_utf8
from fmnist.reading import ARRAY_SUFFIXES, DATASETS, Reading, named_dataset


def find_data(
    dataset: str,
    data_dir: Path | None = None,
    reading: Reading | None = None,
    *,
    places: Sequence[Path] | None = None,
    download: Callable[[], Path] | None = None,
) -> DataSource:
    """Find and check a data set.

    Args:
        dataset: One of DATASETS in any usual spelling, or the path of class folders of pictures, of pictures with a
            table of labels, of a folder of IDX files, of arrays in a form of `fmnist.data.arrays.kinds`, of tables of
            images, or of a zip or tar archive of these.
        data_dir: The one place to look for the files of a data set that has a name; None: Keras' cache, and for
            Fashion-MNIST $FMNIST_DATA_DIR if it is set, else `places`.
        reading: How to read a user's own images.
        places: Folders where Fashion-MNIST may be, tried in turn; None: those of
            `fmnist.data.named.fashion_mnist.usual_places()`.
        download: Gets the files of a data set that has a name if they are nowhere, and returns where they are; None:
            Keras downloads them.

    Raises:
        UserError: There is no such data set, or something of it cannot be used.
    """
    reading = reading or Reading()
    name = named_dataset(dataset)
    if data_dir is not None and name not in WITH_FILES:
        raise UserError(f"--data-dir is for {', '.join(WITH_FILES)}, but got {dataset!r}; leave --data-dir out")
    if name is not None and not reading.is_plain:
        raise UserError(
            f"--image-size, --colour and --skip-unreadable are for images of your own, but got {dataset!r}; leave them "
            "out"
        )
    if name is not None:
        return named_source(name, data_dir, reading, places, download)
    source = find_own_images(dataset, reading)
    if source.dataset in DATASETS:  # a folder of that name is not the data set of that name
        source = dataclasses.replace(source, dataset=f"./{source.dataset}")
    return source


def find_own_images(dataset: str, reading: Reading) -> DataSource:
    """Find and check images of the user's own: `find_data` for a path."""
    path = absolute(expanded(dataset))
    require_utf8(path.resolve(), "the dataset")
    is_folder = dataset != "" and os.path.isdir(path)
    open_arrays = None
    if dataset != "" and not (is_folder and has_idx_files(path)):
        open_arrays = find_opener(path.resolve())
        packed = None if is_folder or open_arrays is not None else find_packed(path)
        if packed is not None:
            return packed_source(packed, reading, find_own_images)
        if open_arrays is None and (source := tables_source(path, reading)) is not None:
            return source
    if is_folder and not has_idx_files(path) and open_arrays is None:
        if (inner := lone_numbers(path)) is not None:
            source = find_own_images(str(inner), reading)
            where = f"what {path} holds is read from {inner.relative_to(path)}"
            return dataclasses.replace(source, dataset=path.resolve().name, notes=(where, *source.notes))
        refuse_folder_around(path.resolve())
        return class_folders_source(path.resolve(), reading)
    if open_arrays is not None or is_folder:
        place = path.resolve()
        refuse_picture_options(reading, place)
        if open_arrays is None:
            return idx_source(place, reading)
        return arrays_source(open_arrays(place), reading, place.name if is_folder else None)
    raise UserError(
        f"the dataset must be {', '.join(DATASETS)} or a folder of images (class folders, pictures with a table "
        f"labels.csv, the four IDX files, arrays or tables) or an {', '.join(ARRAY_SUFFIXES)}, CSV or Parquet file, or "
        f"a zip or tar of these, but got {dataset!r}; check the spelling of --dataset"
    )


def lone_numbers(folder: Path) -> Path | None:
    """Find the arrays, IDX files or tables that a folder holds through folders with nothing else in them.

    None if it holds them itself, or something else. Downloads come so: `mnist/snapshots/9ab3/data/train.parquet`.
    """
    try:
        inner = lone_content(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
    if inner == folder:
        return None
    if has_idx_files(inner) or find_opener(inner.resolve()) is not None or find_tables(inner) is not None:
        return inner
    return None


def refuse_folder_around(folder: Path) -> None:
    """Raise UserError if a folder holds no picture, but IDX files or arrays one folder down, or a file of arrays."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise unreadable(folder, error) from error
    found = []
    for name in names:
        is_file = name.lower().endswith(ARRAY_SUFFIXES)
        if is_file or has_idx_files(folder / name) or (os.path.isdir(folder / name) and can_open(folder / name)):
            found.append(folder / name)
    if found and not read_tree(folder).n_pictures:
        raise UserError(
            f"the dataset must be what holds the images, but {folder} is a folder around {first_few(found)}; pass "
            f"--dataset {shlex.quote(str(found[0]))}"
        )
