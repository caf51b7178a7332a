"""Which picture files were named or lie in the folders that were named, and what do they contain?"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from fmnist.data.decode import UnreadablePicture, picture_suffixes
from fmnist.data.image_folder.names import is_passed_over

MAX_BYTES = 500_000_000  # of a file: 100 million pixels, stored plainly
STDIN = "-"
N_NAMED = 3  # of the files that are skipped in a folder


@dataclass(frozen=True)
class PictureFile:
    """A picture file that was named or found, or what stands in its place."""

    path: str
    error: str | None = None  # why there is nothing to open


def find_picture_files(places: Sequence[str], say: Callable[[str], None]) -> Iterator[PictureFile]:
    """Find every picture that is named, and all in the folders that are named, sorted, subfolders included.

    In folders, files count by their suffix; hidden and tool-made ones and links to folders do not.

    Args:
        places: Files, folders, and STDIN for standard input.
        say: Hears how many files of a folder are skipped, and the names of the first.
    """
    for place in places:
        if place == STDIN or not os.path.isdir(place):
            yield PictureFile(place)
            continue
        skipped = _Skipped()
        n_found = 0
        for file in _files_below(place, skipped):
            n_found += 1
            yield file
        if skipped.n:
            say(f"{place}: skipped {skipped.in_words()}")
        if n_found == 0:
            yield PictureFile(place, "no picture in this folder")


@dataclass
class _Skipped:
    n: int = 0
    names: list[str] = field(default_factory=list)  # the first few

    def add(self, path: str) -> None:
        self.n += 1
        if len(self.names) < N_NAMED:
            self.names.append(os.path.basename(path))

    def in_words(self) -> str:
        text = f"{self.n:,} that are no picture file: {', '.join(self.names)}"
        if self.n == 1:
            text = f"1 that is no picture file: {self.names[0]}"
        if self.n > len(self.names):
            text += f" and {self.n - len(self.names):,} more"
        return text


def _files_below(folder: str, skipped: _Skipped) -> Iterator[PictureFile]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield PictureFile(folder, error.strerror or str(error))
        return
    for entry in entries:
        if is_passed_over(entry.name):
            skipped.add(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path, skipped)
        elif is_picture_entry(entry):
            yield PictureFile(entry.path)
        else:
            skipped.add(entry.path)


def is_picture_entry(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry of a folder should be opened as a picture.

    A link that leads nowhere counts, so that opening it names it. A pipe does not, as its writer would be waited for,
    and neither does a link to a folder, which may lead back to where it lies.
    """
    if os.path.splitext(entry.name)[1].lower() not in picture_suffixes():
        return False
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))


def read_content(path: str) -> bytes:
    """Read the content of a file, a pipe, or standard input if the path is STDIN.

    Raises:
        UnreadablePicture: There is no such file, it may not be read, or it is too large.
    """
    try:
        if path == STDIN:
            return _read_limited(sys.stdin.buffer)
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size > MAX_BYTES:
                raise UnreadablePicture(f"larger than {MAX_BYTES:,} bytes")
            return _read_limited(file)
    except OSError as error:
        raise UnreadablePicture(error.strerror or str(error)) from error
    except ValueError as error:  # a null character in the name
        raise UnreadablePicture(str(error).splitlines()[0]) from error


def _read_limited(stream: IO[bytes]) -> bytes:
    content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnreadablePicture(f"larger than {MAX_BYTES:,} bytes")
    return content
