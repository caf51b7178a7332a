"""A folder and all below it, listed once: which pictures lie where? No picture is opened here.

Links are followed; hidden and tool-made files and folders are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fmnist.data.decode import picture_suffixes
from fmnist.data.image_folder.names import is_passed_over, loose, natural
from fmnist.errors import UserError, unreadable


@dataclass(frozen=True, eq=False)
class Folder:
    """What a folder holds, everything in natural order."""

    path: Path
    pictures: tuple[Path, ...]  # directly in it, told by their names
    others: tuple[Path, ...]  # other files, broken links included
    folders: tuple[Folder, ...]

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @cached_property
    def n_pictures(self) -> int:
        """How many pictures are in it and below it."""
        return len(self.pictures) + sum(folder.n_pictures for folder in self.folders)

    @cached_property
    def filled(self) -> tuple[Folder, ...]:
        """The folders in it that have pictures, in them or below them."""
        return tuple(folder for folder in self.folders if folder.n_pictures)

    @cached_property
    def is_empty(self) -> bool:
        """Whether there is no file in it or below it."""
        return not self.pictures and not self.others and all(folder.is_empty for folder in self.folders)

    def pictures_below(self) -> Iterator[Path]:
        """List the pictures in it and below it, folder by folder."""
        yield from self.pictures
        for folder in self.folders:
            yield from folder.pictures_below()

    def others_below(self) -> Iterator[Path]:
        """List the other files in it and below it, folder by folder."""
        yield from self.others
        for folder in self.folders:
            yield from folder.others_below()

    def folders_below(self) -> Iterator[Folder]:
        """List the folders below it that have pictures, at any depth."""
        for folder in self.filled:
            yield folder
            yield from folder.folders_below()

    def unwrapped(self) -> Folder:
        """Go down while there is one folder only and more folders in that: to what the wrappers hold."""
        folder = self
        while len(folder.filled) == 1 and folder.filled[0].filled:
            folder = folder.filled[0]
        return folder

    def content(self) -> frozenset[str]:
        """Name the folders that it holds, wrappers aside, so that those of two parts can be compared."""
        return frozenset(loose(folder.name) for folder in self.unwrapped().filled)


def read_tree(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Folder:
    """List a folder and all below it.

    Args:
        folder: Where to begin.
        above: Device and inode of the folders on the way here, by which a link that leads back is recognised.

    Raises:
        UserError: A folder cannot be read or contains itself.
    """
    try:
        status = folder.stat()
        names = os.listdir(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise UserError(f"folders must not contain themselves, but {folder} is a link back to one above it; delete it")
    pictures, others, folders = [], [], []
    for name in sorted(names, key=natural):
        path = folder / name
        if is_passed_over(name):
            continue
        if os.path.isdir(path):
            folders.append(read_tree(path, (*above, identity)))
        elif path.suffix.lower() in picture_suffixes():
            pictures.append(path)
        else:
            others.append(path)
    return Folder(folder, tuple(pictures), tuple(others), tuple(folders))
