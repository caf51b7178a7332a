"""What a zip or tar archive holds, read entry by entry. An archive is recognised by its content, not by its name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import IO

from fmnist.errors import UserError, unreadable

COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}  # how a file begins -> its opener
ENCRYPTED, UTF8_NAME = 0x1, 0x800  # flags of a zip's entry
LONGEST_TARGET = 4096  # bytes of a link's target in a zip
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
    *(EOFError, NotImplementedError, ValueError, struct.error),
)


class Kind(Enum):
    """What an entry becomes when it is unpacked."""

    FILE = auto()
    FOLDER = auto()
    LINK = auto()
    HARD_LINK = auto()  # a second name of an entry before it
    OTHER = auto()  # a device or a pipe


class TooMuch(Exception):
    """An archive decompresses to more bytes than it may."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A file, folder or link in an archive. It can be opened until the next one is asked for."""

    name: str  # with / between folders; bytes that are no UTF-8 as `os.fsdecode` gives them
    kind: Kind
    size: int  # bytes that the archive says it has
    open: Callable[[], IO[bytes]]
    target: str = ""  # of a link


def is_archive(path: Path) -> bool:
    """Tell whether a file is a zip, or a tar, compressed or not. Raises UserError if it cannot be read."""
    try:
        return zipfile.is_zipfile(path) or _is_tar(path)
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def opened_archive(path: Path, limit: int) -> Iterator[Iterator[Entry]]:
    """Open an archive to go through its entries once.

    Args:
        path: Of a file for which `is_archive` is true.
        limit: How many bytes a compressed tar may have when it is decompressed.

    Raises:
        UserError: The archive is cut, damaged, encrypted or compressed in an unknown way, at any point of the block.
        TooMuch: It has more bytes than `limit`.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _zip_entries(path, archive)
        else:
            with _decompressed(path) as file:
                yield _tar_entries(_Limited(file, limit))
    except NotImplementedError as error:
        raise UserError(
            f"{path} must be compressed in a way that Python knows, but: {_first_line(error)}; unpack it with the "
            "program it was made by and pass the folder"
        ) from error
    except DAMAGE as error:
        raise damaged(path, _first_line(error)) from error
    except OSError as error:
        if error.errno is None:  # of a decompressor, not of the system
            raise damaged(path, _first_line(error)) from error
        raise unreadable(path, error) from error


def damaged(path: Path, reason: str) -> UserError:
    """Build the error to raise when an archive is cut or damaged. reason: in a few words."""
    return UserError(f"{path} must be a whole zip or tar archive, but is cut or damaged ({reason}); fetch it again")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _zip_entries(path: Path, archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        if info.flag_bits & ENCRYPTED:
            raise UserError(
                f"an archive must be readable without a password, but {path} is encrypted; unpack it with the password "
                "and pass the folder"
            )
        name = _zip_name(info)
        mode = info.external_attr >> 16
        opener = partial(archive.open, info)
        if info.is_dir() or name.endswith("/"):
            yield Entry(name, Kind.FOLDER, 0, opener)
        elif stat.S_ISLNK(mode):
            with archive.open(info) as file:
                yield Entry(name, Kind.LINK, 0, opener, os.fsdecode(file.read(LONGEST_TARGET)))
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            yield Entry(name, Kind.OTHER, 0, opener)
        else:
            yield Entry(name, Kind.FILE, info.file_size, opener)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name that was meant: often it is UTF-8 without saying so, and sometimes folders are separated by \\."""
    name = info.filename
    if not info.flag_bits & UTF8_NAME:
        name = os.fsdecode(name.encode("cp437", "surrogateescape"))
    if "/" not in name:
        name = name.replace("\\", "/")
    return name


def _tar_entries(file: _Limited) -> Iterator[Entry]:
    with tarfile.open(fileobj=file, mode="r:") as archive:  # pyright: ignore[reportArgumentType, reportCallIssue]
        while (info := archive.next()) is not None:
            n_bytes = info.size if info.isreg() else 0
            yield Entry(info.name, _tar_kind(info), n_bytes, partial(_content, archive, info), info.linkname)
            archive.members.clear()  # it would keep them all
        # A damaged header ends the iteration as the two empty blocks at the end do.
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("its end is missing")


def _tar_kind(info: tarfile.TarInfo) -> Kind:
    if info.isreg():
        return Kind.FILE
    if info.isdir():
        return Kind.FOLDER
    if info.issym():
        return Kind.LINK
    if info.islnk():
        return Kind.HARD_LINK
    return Kind.OTHER


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    assert file is not None  # it is a regular file
    return file


class _Limited:
    """A file of which no more than `limit` bytes are read, nor skipped: each has to be decompressed."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file = file
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes. Raises TooMuch."""
        parts = []
        while size:  # bit by bit, as a header may ask for any number
            part = self._file.read(min(size, io.DEFAULT_BUFFER_SIZE) if size > 0 else io.DEFAULT_BUFFER_SIZE)
            if not part:
                break
            parts.append(part)
            size -= len(part)
            self._require_within(self._file.tell())
        return b"".join(parts)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position from the beginning. Raises TooMuch."""
        assert whence == os.SEEK_SET
        self._require_within(position)
        return self._file.seek(position)

    def tell(self) -> int:
        """Return the position from the beginning."""
        return self._file.tell()

    def close(self) -> None:
        """Leave the file open: whoever opened it closes it."""

    def _require_within(self, position: int) -> None:
        if position > self._limit:
            raise TooMuch


def _decompressed(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        start = file.read(8)
    for magic, opener in COMPRESSED.items():
        if start.startswith(magic):
            return opener(path)  # pyright: ignore[reportReturnType]  they read as any binary file does
    return path.open("rb")


def _is_tar(path: Path) -> bool:
    """Whether the first block is a header: `tarfile.is_tarfile` would read on as far as that asks for."""
    try:
        with _decompressed(path) as file:
            block = file.read(tarfile.BLOCKSIZE)
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.EOFHeaderError:  # pyright: ignore[reportAttributeAccessIssue]
        return True  # an empty one
    except (*DAMAGE, tarfile.HeaderError):
        return False
    except OSError as error:
        if error.errno is None:
            return False
        raise
    return True
