"""A zip or tar archive -> DataSource: it is unpacked into a temporary folder, which is read as any other.

A path may lead into an archive: `shoes.zip/part1` is what lies there. So the paths in messages and their remedies,
which name the archive and never the temporary folder, can be passed on.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fmnist.data.archives.entries import is_archive
from fmnist.data.archives.unpack import unpack
from fmnist.data.image_folder.names import is_passed_over, part_name
from fmnist.data.image_folder.tree import read_tree
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource
from fmnist.data.tables.files import CSV_SUFFIXES, PARQUET_SUFFIX
from fmnist.errors import UserError, first_few
from fmnist.reading import ARCHIVE_SUFFIX, ARRAY_SUFFIXES, PACKED_SUFFIXES, Reading, without_suffix

LONE_SUFFIXES = (*ARRAY_SUFFIXES, *CSV_SUFFIXES, PARQUET_SUFFIX)  # of files that may be all of a data set
OTHER_ARCHIVES = (".rar", ".7z", ".zst", ".lz4", ".lzma", ".z", ".cab", ".iso")  # that Python cannot unpack
DATASET_OPTION = re.compile(r"(?<=--dataset )('(?:[^']|'\"'\"')*'|[\w@%+=:,./-]*[\w@%+=:/-])")


@dataclass(frozen=True)
class PackedPath:
    """A path that leads to an archive, or into one."""

    archive: Path
    inside: Path  # relative, `.` for all of it


def find_packed(path: Path) -> PackedPath | None:
    """Find the archive that a path leads to or into; None if it leads to none. An .npz file is none, though a zip.

    Raises:
        UserError: A file is called like an archive, and cannot be unpacked.
    """
    for place in (path, *path.parents):
        if not os.path.isfile(place):
            continue
        name = place.name.lower()
        if name.endswith(ARCHIVE_SUFFIX):
            return None
        if is_archive(place):
            return PackedPath(place.resolve(), path.relative_to(place))
        if name.endswith(PACKED_SUFFIXES):
            raise UserError(
                f"{place} must be a whole zip or tar archive, but is neither, or cut or damaged; fetch it again, or "
                "unpack it and pass the folder"
            )
        if name.endswith(OTHER_ARCHIVES):
            raise UserError(
                f"an archive must be a zip or a tar (.tar, .tar.gz, .tar.bz2, .tar.xz), but got {place.name!r}; unpack "
                "it and pass the folder"
            )
        return None
    return None


def packed_source(packed: PackedPath, reading: Reading, find: Callable[[str, Reading], DataSource]) -> DataSource:
    """Unpack an archive and make what it holds a data set, called like the archive.

    Args:
        packed: Where it is.
        reading: How the images are to be read.
        find: Finds and checks the data set in a folder or file.

    Raises:
        UserError: The archive cannot be unpacked, or what it holds is no data set.
    """
    unpacked = Unpacked(packed.archive, lambda: reading.on_progress(0, 0))
    with unpacked.naming_the_archive():
        place = unpacked.folder / packed.inside
        if packed.inside == Path():
            place = lone_content(unpacked.folder)
        if not os.path.lexists(place):
            raise UserError(
                f"--dataset must lead to what an archive holds, but there is no {str(packed.inside)!r} in "
                f"{packed.archive}; check the spelling, or pass the archive itself"
            )
        try:
            source = find(str(place), reading)
        except UserError as error:
            refuse_inner_archives(place, error)
            raise
    dataset = without_suffix((packed.archive / packed.inside).name)
    return replace(
        source,
        dataset=dataset,
        folder=packed.archive / packed.inside,
        read_train=UnpackedReader(unpacked, source.read_train),
        read_test=UnpackedReader(unpacked, source.read_test),
        notes=tuple(map(unpacked.in_words, source.notes)),
    )


class Unpacked:
    """A temporary folder with what an archive holds. It is removed with the object, or at the end of the process.

    Args:
        archive: By its real path.
        on_progress: Called now and then while it is unpacked; may raise, to end it.

    Raises:
        UserError: The archive cannot be unpacked, or holds no file.
    """

    def __init__(self, archive: Path, on_progress: Callable[[], None] = lambda: None) -> None:
        self._archive = archive
        self._on_progress = on_progress
        room = Path(os.path.realpath(tempfile.mkdtemp(prefix="fmnist-search-")))
        weakref.finalize(self, remove_in_process, room, os.getpid())
        self.folder = room / (without_suffix(archive.name).strip(".") or "archive")
        self._n_files = self._unpack()

    def restore(self) -> None:
        """Unpack again if files are gone: systems tidy their temporary folders, and studies take days."""
        if count_files(self.folder) != self._n_files:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._unpack()

    @contextmanager
    def naming_the_archive(self) -> Iterator[None]:
        """Name the archive instead of the temporary folder in the error of a block."""
        try:
            yield
        except UserError as error:
            raise UserError(self.in_words(str(error))) from error

    def in_words(self, text: str) -> str:
        """Name the archive instead of the temporary folder in a sentence, quoted for a shell in options."""
        return DATASET_OPTION.sub(self._quoted_again, text).replace(str(self.folder), str(self._archive))

    def _quoted_again(self, option: re.Match[str]) -> str:
        (path,) = shlex.split(option[1])
        return shlex.quote(path.replace(str(self.folder), str(self._archive)))

    def _unpack(self) -> int:
        self.folder.mkdir(mode=0o700, parents=True)
        if not unpack(self._archive, self.folder, on_progress=self._on_progress):
            raise UserError(
                f"{self._archive} must hold pictures or arrays, but holds no file; pack the folder of your images"
            )
        return count_files(self.folder)


class UnpackedReader:
    """A reader of images in an archive's temporary folder, which lives as long as the reader does."""

    def __init__(self, unpacked: Unpacked, read: Callable[[], LabelledImages]) -> None:
        self._unpacked = unpacked
        self._read = read

    def __call__(self) -> LabelledImages:
        with self._unpacked.naming_the_archive():
            self._unpacked.restore()
            return self._read()


def remove_in_process(folder: Path, pid: int) -> None:
    """Remove a folder, but not in a process that was forked from the one that made it."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def count_files(folder: Path) -> int:
    """Count the files in a folder and below it, 0 if it does not exist."""
    return sum(len(files) for _, _, files in os.walk(folder))


def lone_content(folder: Path) -> Path:
    """Go down while there is nothing but one folder, unless it is called like a part of a data set, or one file."""
    while os.path.isdir(folder):
        names = [name for name in os.listdir(folder) if not is_passed_over(name)]
        if len(names) != 1:
            return folder
        child = folder / names[0]
        if not os.path.isdir(child) and not names[0].lower().endswith(LONE_SUFFIXES):
            return folder
        if part_name(names[0]) is not None:
            return folder
        folder = child
    return folder


def refuse_inner_archives(place: Path, error: UserError) -> None:
    """Raise UserError if something that is no data set holds archives and no picture. error: why it is none."""
    if not os.path.isdir(place):
        return
    tree = read_tree(place)
    inner = [path for path in tree.others_below() if path.name.lower().endswith(PACKED_SUFFIXES)]
    if inner and not tree.n_pictures:
        raise UserError(
            f"an archive must hold the images themselves, but in {place} they are packed once more, in "
            f"{first_few([path.name for path in inner])}; unpack it, and pass --dataset with one of those in it"
        ) from error
