"""Many pictures, in files or elsewhere -> one array, read by threads that hold few files at a time.

A file that cannot be read becomes a reason instead of an error, so that one error can name them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fmnist.data.checksums import digest_of, md5
from fmnist.data.decode import Form, HeicUnreadable, UnreadablePicture, decode, without_warnings
from fmnist.data.images import Shape

FILES_AT_ONCE = 64  # one thread's share: more would let an interruption wait, fewer would cost time

Progress = Callable[[int, int], None]  # (files read, of how many); an exception from it ends the reading
ReadContent = Callable[[Path], bytes]  # of a picture, by its path; raises UnreadablePicture or OSError
OpenContents = Callable[[], AbstractContextManager[ReadContent]]  # around the reading of many, for whatever that needs


def read_file(path: Path) -> bytes:
    """Read a picture file.

    Raises:
        UnreadablePicture: There is none, or something else of that name.
        OSError: It may not be read.
    """
    if not os.path.lexists(path):
        raise UnreadablePicture("no file of that name")
    if not os.path.isfile(path):  # reading a pipe would wait for its writer
        raise UnreadablePicture("not a file")
    return path.read_bytes()


def on_disk() -> AbstractContextManager[ReadContent]:
    """Open nothing: each picture is a file of its own, which `read_file` reads."""
    return nullcontext(read_file)


@dataclass(eq=False)
class PictureFiles:
    """What reading many files gave, in their order."""

    files: Sequence[Path]
    images: (
        np.ndarray | None
    )  # uint8 (n, height, width, channels); None if they were not to be kept, or none is readable
    shapes: np.ndarray  # int32 (n, 3): height, width, channels as read; 0 for an unreadable file
    own_sizes: np.ndarray  # int32 (n, 2): height, width before it was fitted
    is_constant: np.ndarray  # bool (n,): all its pixels are the same
    md5s: list[str]  # of the files' bytes; "" for an unreadable file
    digests: list[bytes]  # of the pixels, if they were not kept
    failures: dict[int, str] = field(default_factory=dict)  # row -> why that file is unreadable
    lacking_heic: list[int] = field(default_factory=list)  # rows of those that an optional module would read

    @classmethod
    def unread(cls, files: Sequence[Path]) -> PictureFiles:
        """Make room for what these files will give, except for their pixels."""
        n = len(files)
        return cls(
            files=files,
            images=None,
            shapes=np.zeros((n, 3), np.int32),
            own_sizes=np.zeros((n, 2), np.int32),
            is_constant=np.zeros(n, bool),
            md5s=[""] * n,
            digests=[b""] * n,
        )

    def readable_rows(self) -> list[int]:
        """List the rows of the files that could be read."""
        return [row for row in range(len(self.files)) if row not in self.failures]

    def without_failures(self) -> PictureFiles:
        """Select what the readable files gave."""
        if not self.failures:
            return self
        rows = self.readable_rows()
        images = self.images
        if images is not None:
            images = images[rows]
        return PictureFiles(
            files=[self.files[row] for row in rows],
            images=images,
            shapes=self.shapes[rows],
            own_sizes=self.own_sizes[rows],
            is_constant=self.is_constant[rows],
            md5s=[self.md5s[row] for row in rows],
            digests=[self.digests[row] for row in rows],
        )


def read_pictures(
    files: Sequence[Path],
    form: Form,
    *,
    opened: OpenContents = on_disk,
    keep: bool = True,
    check_shape: Callable[[Shape], None] = lambda shape: None,
    on_progress: Progress = lambda n_read, n_files: None,
) -> PictureFiles:
    """Read picture files.

    Args:
        files: In the order of the result.
        form: How pictures are to come out.
        opened: Gives what reads the content of each, called by several threads at a time.
        keep: Hold the pixels of all pictures that have the shape of the first readable one; else their digests.
        check_shape: Called with that shape before memory is taken; what it raises passes through.
        on_progress: Called after the first file and then about every FILES_AT_ONCE files.
    """
    found = PictureFiles.unread(files)
    with without_warnings(), opened() as read:
        reader = _Reader(found, form, read)
        n_begun = _read_first(reader, keep, check_shape)
        on_progress(n_begun, len(files))
        _read_rest(reader, n_begun, on_progress)
    return found


def _read_first(reader: _Reader, keep: bool, check_shape: Callable[[Shape], None]) -> int:
    """Read up to the first readable file, which says what memory to take. Returns how many files that were."""
    found = reader.found
    for row in range(len(found.files)):
        pixels = reader.read_row(row)
        if pixels is None:
            continue
        height, width, n_channels = pixels.shape
        check_shape((height, width, n_channels))
        if keep:
            found.images = np.empty((len(found.files), *pixels.shape), np.uint8)
        reader.store(row, pixels)
        return row + 1
    return len(found.files)


def _read_rest(reader: _Reader, first: int, on_progress: Progress) -> None:
    """Read the files from row `first` on, by threads."""
    n_files = len(reader.found.files)

    def read_share(start: int) -> int:
        rows = range(start, min(start + FILES_AT_ONCE, n_files))
        for row in rows:
            pixels = reader.read_row(row)
            if pixels is not None:
                reader.store(row, pixels)
        return len(rows)

    executor = ThreadPoolExecutor(n_threads(), thread_name_prefix="pictures")
    try:
        n_done = first
        for n_read in executor.map(read_share, range(first, n_files, FILES_AT_ONCE)):
            n_done += n_read
            on_progress(n_done, n_files)
    finally:
        executor.shutdown(cancel_futures=True)


def n_threads() -> int:
    """Say how many threads read pictures: one for each core, as decoding leaves Python's lock, and one for the disk."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) + 1
    return (os.cpu_count() or 1) + 1


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads pictures into their rows of `found`. Threads share it, each with rows of its own."""

    found: PictureFiles
    form: Form
    content_of: ReadContent

    def read_row(self, row: int) -> np.ndarray | None:
        """Return the pixels of one picture; None if it is unreadable, and the reason is noted."""
        found = self.found
        try:
            content = self.content_of(found.files[row])
            picture = decode(content, self.form)
        except UnreadablePicture as error:
            if isinstance(error, HeicUnreadable):
                found.lacking_heic.append(row)
            found.failures[row] = str(error)
            return None
        except OSError as error:
            found.failures[row] = error.strerror or str(error)
            return None
        except MemoryError:
            found.failures[row] = "needs more memory than there is"
            return None
        found.md5s[row] = md5(content)
        found.shapes[row], found.own_sizes[row] = picture.pixels.shape, picture.own_size
        found.is_constant[row] = (picture.pixels == picture.pixels[0, 0]).all()
        return picture.pixels

    def store(self, row: int, pixels: np.ndarray) -> None:
        """Keep the pixels if they have the shape that is kept, or their digest where none are kept."""
        if self.found.images is None:
            self.found.digests[row] = digest_of(pixels)
        elif pixels.shape == self.found.images.shape[1:]:
            self.found.images[row] = pixels
