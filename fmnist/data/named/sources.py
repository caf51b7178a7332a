"""A data set that has a name -> DataSource: its files in Keras' cache, or in a folder of the user's."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fmnist.data.arrays.cifar.batches import CifarBatches
from fmnist.data.arrays.idx.files import IdxArrays
from fmnist.data.arrays.idx.names import IdxSet, find_idx_sets, require_all_four
from fmnist.data.arrays.numpy_files import is_numpy_folder
from fmnist.data.arrays.parts import ArrayFiles, Part
from fmnist.data.arrays.per_class import numpy_files
from fmnist.data.arrays.source import arrays_source
from fmnist.data.checksums import md5_of_file
from fmnist.data.named.catalog import CATALOG, KerasFiles, NamedSet
from fmnist.data.named.digits import digits_source
from fmnist.data.named.fashion_mnist import fashion_mnist_cache, fashion_mnist_source
from fmnist.data.named.keras_cache import download_with_keras, keras_cache
from fmnist.data.source import DataSource
from fmnist.errors import UserError
from fmnist.paths import absolute, expanded
from fmnist.reading import ARCHIVE_SUFFIX, DATASETS, Reading

Download = Callable[[], Path]  # gets the files and returns where they are, or raises UserError with the reason
OpenPickles = Callable[[Path], ArrayFiles]  # of a folder with the batches of CIFAR
WITH_FILES = tuple(name for name in DATASETS if name != "digits")  # those that --data-dir is for
SUBFOLDERS = ("", "raw", "gzip")  # of a folder, where IDX files are; torchvision has them in raw, EMNIST in gzip


def named_source(
    name: str, data_dir: Path | None, reading: Reading, places: Sequence[Path] | None, download: Download | None
) -> DataSource:
    """Find and check a data set that has a name.

    Args:
        name: One of DATASETS.
        data_dir: The folder, or the archive, that holds its files; None: Keras' cache and other usual places.
        reading: Its seed draws the test set of an archive that has none.
        places: Folders where Fashion-MNIST may be; None: the usual ones.
        download: Gets the files if they are nowhere; None: Keras does.

    Raises:
        UserError: There are no files to be had, or they are not those of the data set.
    """
    if name == "digits":
        return digits_source()
    if name == "fashion-mnist":
        if download is None:
            download = functools.partial(download_with_keras, "fashion_mnist", fashion_mnist_cache())
        return fashion_mnist_source(data_dir, places, download)
    return catalogued_source(CATALOG[name], data_dir, reading, download)


def catalogued_source(
    named: NamedSet,
    data_dir: Path | None,
    reading: Reading,
    download: Download | None = None,
    open_pickles: OpenPickles | None = None,
) -> DataSource:
    """Find and check a data set of the catalog. See `named_source`; `open_pickles` reads the batches of CIFAR."""
    open_pickles = open_pickles or CifarBatches
    if data_dir is not None:
        files = files_in(named, absolute(expanded(data_dir)), open_pickles)
    elif named.keras is not None:
        files = cached_files(named, named.keras, download, open_pickles)
    else:
        raise UserError(
            f"the data set {named.name} must be in a folder, as Keras has no download for it, but got no --data-dir; "
            f"put {named.files} there ({named.origin}), and pass --data-dir with the folder"
        )
    source = arrays_source(_WithNames(files, named.class_names, notes_on(named, files)), reading, dataset=named.name)
    if source.image_shape != named.image_shape:
        raise UserError(
            f"images of {named.name} must be {_in_words(named.image_shape)}, but those in {files.place} are "
            f"{_in_words(source.image_shape)}; pass --data-dir with {named.files}, or the folder as --dataset"
        )
    return source


def notes_on(named: NamedSet, files: ArrayFiles) -> list[str]:
    """Write sentences about what may be mistaken: a folder of the same name, images that lie on their side."""
    notes = []
    if os.path.lexists(named.name):
        notes.append(f"There is something called {named.name} here too, which --dataset ./{named.name} would read")
    if named.is_emnist and not isinstance(files, IdxArrays):
        notes.append("The images are taken as the archive has them; in EMNIST's own files they lie on their side")
    return notes


def cached_files(
    named: NamedSet, keras: KerasFiles, download: Download | None, open_pickles: OpenPickles
) -> ArrayFiles:
    """Open the files in Keras' cache, which downloads them if it does not have them, and check their sums.

    Raises:
        UserError: They cannot be had, or they are not the official ones.
    """
    place = find_in_cache(keras)
    if place is None:
        cache = keras_cache(keras.places[0])
        if download is None:
            download = functools.partial(download_with_keras, keras.module, cache)
        try:
            download()
        except UserError as error:
            raise UserError(
                f"no {named.name} at {cache}, and Keras' download failed ({error}); pass --data-dir with a folder that "
                f"holds {named.files}, or stay offline with --dataset digits"
            ) from error
        place = find_in_cache(keras)
        if place is None:
            raise UserError(
                f"{named.name} must be at {cache} after Keras' download, but is not; pass --data-dir with a folder "
                f"that holds {named.files}"
            )
    require_official(named, keras, place)
    return open_pickles(place) if named.has_pickles else numpy_files(place)


def find_in_cache(keras: KerasFiles) -> Path | None:
    """Find the file or folder in Keras' cache; None if it is not there."""
    for place in keras.places:
        path = keras_cache(place)
        if os.path.exists(path):
            return path
    return None


def require_official(named: NamedSet, keras: KerasFiles, place: Path) -> None:
    """Raise UserError if a file in Keras' cache is missing or has another md5 than the official one."""
    wrong = []
    for name, md5 in keras.md5s.items():
        path = place / name if os.path.isdir(place) else place
        if not os.path.isfile(path):
            wrong.append(f"{name} is missing")
        elif md5_of_file(path) != md5:
            wrong.append(f"{name} has another md5 than {md5}")
    if wrong:
        raise UserError(
            f"the files of {named.name} in Keras' cache must be the official ones, but {'; '.join(wrong)}; delete "
            f"{place}, to have it downloaded again"
        )


def files_in(named: NamedSet, place: Path, open_pickles: OpenPickles) -> ArrayFiles:
    """Open the files of a data set that a folder holds, or an archive.

    Raises:
        UserError: The folder holds none, or lacks some.
    """
    if named.has_pickles and named.keras is not None:
        first = next(iter(named.keras.md5s))
        for folder in (place, *[place / name for name in named.keras.places]):
            if os.path.isfile(folder / first):
                return open_pickles(folder)
    archive = find_archive(named, place)
    if archive is not None:
        return numpy_files(archive)
    if os.path.isdir(place) and is_numpy_folder(place):
        return numpy_files(place)
    found = find_idx(named, place)
    if found is not None:
        require_all_four(found)
        return IdxArrays(found, is_turned=named.is_emnist)
    where = str(place) if os.path.exists(place) else f"{place}, which does not exist"
    raise UserError(
        f"a folder of {named.name} must hold {named.files} ({named.origin}), but there is no such file in {where}; put "
        "them there, or pass another --data-dir"
    )


def find_archive(named: NamedSet, place: Path) -> Path | None:
    """Find the .npz file that holds a data set: the place itself, or the file of its name in it."""
    if os.path.isfile(place) and place.suffix.lower() == ARCHIVE_SUFFIX:
        return place
    archive = place / f"{named.name}{ARCHIVE_SUFFIX}"
    return archive if os.path.isfile(archive) else None


def find_idx(named: NamedSet, place: Path) -> IdxSet | None:
    """Find the IDX files of a data set in a folder: those with its name in front, or those without any."""
    for subfolder in SUBFOLDERS:
        sets = find_idx_sets(place / subfolder)
        for prefix in (named.name, ""):
            if prefix in sets:
                return sets[prefix]
    return None


class _WithNames:
    """Files of arrays whose classes are named by the catalog, with more notes. Everything else is theirs."""

    def __init__(self, files: ArrayFiles, class_names: tuple[str, ...], notes: Sequence[str]) -> None:
        self.place = files.place
        self._files = files
        self._class_names = class_names
        self._notes = notes

    @property
    def files(self) -> Sequence[Path]:
        return self._files.files

    @property
    def has_test(self) -> bool:
        return self._files.has_test

    @property
    def wanted_test(self) -> str:
        return self._files.wanted_test

    def read_train(self) -> Sequence[Part]:
        return self._files.read_train()

    def read_test(self) -> Part:
        return self._files.read_test()

    def class_names(self) -> tuple[str, ...]:
        return self._class_names

    def notes(self) -> list[str]:
        return [*self._notes, *self._files.notes()]


def _in_words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
