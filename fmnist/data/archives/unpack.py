"""An archive -> a folder with what is in it, unless it could do harm there.

Everything is looked at before anything is written: names, links, and the bytes that there will be.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fmnist.data.archives.entries import Entry, Kind, TooMuch, damaged, opened_archive
from fmnist.data.image_folder.names import is_passed_over
from fmnist.errors import UserError, unreadable

LARGE = 1_000_000_000  # bytes that every archive may have
RATIO = 100  # a larger one may have so many times its own size: pictures hardly shrink, arrays by 10 or 20
BLOCK = 4096  # bytes that a file takes on a disk at least
CHUNK = 1 << 20


def free_space(folder: Path) -> int:
    """Say how many bytes are free on the disk of a folder."""
    return shutil.disk_usage(folder).free


def unpack(
    archive: Path,
    folder: Path,
    *,
    free_bytes: Callable[[Path], int] = free_space,
    large: int = LARGE,
    on_progress: Callable[[], None] = lambda: None,
) -> int:
    """Unpack an archive. Hidden and tool-made files and folders are left out.

    Args:
        archive: A file for which `fmnist.data.archives.entries.is_archive` is true.
        folder: An empty folder, by its real path.
        free_bytes: Says how many bytes are free for a folder.
        large: From how many bytes on an archive may have RATIO times its own size and no more.
        on_progress: Called now and then; may raise, to end it.

    Returns:
        The number of files and links.

    Raises:
        UserError: The archive is damaged or encrypted, would write outside the folder, or more than there is room for.
    """
    try:
        limit = max(large, RATIO * archive.stat().st_size)
    except OSError as error:
        raise unreadable(archive, error) from error
    try:
        n_bytes = _check(archive, limit, on_progress)
        free = free_bytes(folder)
        if n_bytes > free:
            raise UserError(
                f"unpacking {archive} takes {n_bytes / 1e9:,.1f} GB, but {folder.parent.parent} has {free / 1e9:,.1f} "
                "GB free; make room there, or set TMPDIR to a folder on a larger disk"
            )
        return _Writer(archive, folder, limit, on_progress).write_all()
    except TooMuch as error:
        raise UserError(
            f"an archive may unpack to {large / 1e9:,.1f} GB, or else to {RATIO} times its own size, but {archive} "
            "has more; if you trust it, unpack it yourself and pass the folder"
        ) from error


def _check(archive: Path, limit: int, on_progress: Callable[[], None]) -> int:
    """Add up the bytes that unpacking will take. Raises UserError, or TooMuch beyond `limit`."""
    n_bytes = 0
    with opened_archive(archive, limit) as entries:
        for entry in entries:
            on_progress()
            if not safe_parts(archive, entry):
                continue
            n_bytes += max(1, -(-entry.size // BLOCK)) * BLOCK
            if n_bytes > limit:
                raise TooMuch
    return n_bytes


def safe_parts(archive: Path, entry: Entry) -> tuple[str, ...]:
    """Split an entry's name into folders and the name in the last; empty if it is to be left out.

    Raises:
        UserError: It would be outside of where the archive is unpacked, or no file or folder.
    """
    parts = [part for part in entry.name.split("/") if part not in ("", ".")]
    if entry.name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:[/\\]", entry.name):
        raise UserError(
            f"an archive must unpack into one folder, but {archive} holds {entry.name!r}, which leads out of it; if "
            "you trust it, unpack it yourself and pass the folder"
        )
    if any(map(is_passed_over, parts)):
        return ()
    if entry.kind is Kind.OTHER:
        raise UserError(
            f"an archive must hold files and folders, but in {archive} {entry.name!r} is a device or a pipe; pack the "
            "folder without it"
        )
    return tuple(parts)


class _Writer:
    """Writes an archive's entries below a folder, and nowhere else."""

    def __init__(self, archive: Path, folder: Path, limit: int, on_progress: Callable[[], None]) -> None:
        self._archive = archive
        self._folder = folder
        self._limit = limit
        self._on_progress = on_progress
        self._n_bytes = 0  # written so far

    def write_all(self) -> int:
        """Write everything, links last so that nothing is written through one. Returns how many files and links."""
        n_files, links = 0, []
        with opened_archive(self._archive, self._limit) as entries:
            for entry in entries:
                self._on_progress()
                parts = safe_parts(self._archive, entry)
                if not parts:
                    continue
                path = self._folder.joinpath(*parts)
                if entry.kind is Kind.LINK:
                    links.append((path, entry))
                elif entry.kind is Kind.FOLDER:
                    with self._naming(entry):
                        path.mkdir(parents=True, exist_ok=True)
                else:
                    self._write_file(path, entry)
                    n_files += 1
        for path, entry in links:
            self._write_link(path, entry)
        return n_files + len(links)

    def _write_file(self, path: Path, entry: Entry) -> None:
        with self._naming(entry):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # the last of several with one name counts
        if entry.kind is Kind.HARD_LINK:
            self._write_hard_link(path, entry)
            return
        n_bytes = 0
        with entry.open() as source, self._creating(path, entry) as write:
            while chunk := source.read(CHUNK):
                n_bytes += len(chunk)
                self._n_bytes += len(chunk)
                if self._n_bytes > self._limit:
                    raise TooMuch
                write(chunk)
                self._on_progress()
        if n_bytes != entry.size:
            raise damaged(self._archive, f"{entry.name!r} has {n_bytes:,} bytes instead of {entry.size:,}")

    @contextmanager
    def _creating(self, path: Path, entry: Entry) -> Iterator[Callable[[bytes], None]]:
        """A new file to write to, whose errors name it; those of reading the archive are told apart."""
        with self._naming(entry):
            file = path.open("xb")

        def write(chunk: bytes) -> None:
            with self._naming(entry):
                file.write(chunk)

        with file:
            yield write

    def _write_hard_link(self, path: Path, entry: Entry) -> None:
        """Give a file that was written before a second name."""
        source = self._folder / os.path.normpath(entry.target)
        is_inside = source.is_relative_to(self._folder) and ".." not in source.parts
        if not is_inside or not source.exists() or not stat.S_ISREG(source.lstat().st_mode):
            raise self._leads_out(entry)
        with self._naming(entry):
            os.link(source, path)

    def _write_link(self, path: Path, entry: Entry) -> None:
        """Write a link to something in the folder, in a folder that is not reached by another link."""
        with self._naming(entry):
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.realpath(path.parent) != str(path.parent):
                raise self._leads_out(entry)
            path.symlink_to(entry.target)
        if not Path(os.path.realpath(path)).is_relative_to(self._folder) or os.path.isabs(entry.target):
            path.unlink()
            raise self._leads_out(entry)

    def _leads_out(self, entry: Entry) -> UserError:
        return UserError(
            f"links in an archive must lead to what is in it, but in {self._archive} {entry.name!r} leads to "
            f"{entry.target!r}; pack the folder with the files themselves (tar --dereference, zip without -y)"
        )

    @contextmanager
    def _naming(self, entry: Entry) -> Iterator[None]:
        """Name the entry that cannot be written."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._archive} must unpack into {self._folder.parent.parent}, but {entry.name!r} does not: "
                f"{error.strerror or error}; unpack it yourself and pass the folder"
            ) from error
