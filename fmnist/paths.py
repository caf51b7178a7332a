"""How are paths taken, named and shown? A leading `~`, a current folder that is gone, commands that are copied."""

from __future__ import annotations

import os
from pathlib import Path

from fmnist.errors import UserError

LONGEST_NAME = 255  # bytes of a file's name, on all usual file systems
LONGEST_PATH = 4095  # bytes, on Linux
ROOM_BELOW = 255  # bytes for what is written below a folder: the files of a SavedModel under way have the longest names


def expanded(path: str | Path) -> Path:
    """Replace a leading `~` or `~user` by the home folder it stands for, as `expanded_text` does."""
    return Path(expanded_text(os.fspath(path)))


def expanded_text(path: str) -> str:
    """Replace a leading `~` or `~user` by the home folder it stands for.

    Something of that very name counts first: a shell that fills in `*` names a file `~1.png` so. Variables such as
    `$HOME` are the shell's, and stay as they are.

    Raises:
        UserError: No home folder of that user is known. A folder `~user` would be made otherwise, by mistake.
    """
    if not path.startswith("~") or os.path.lexists(path):
        return path
    in_home = os.path.expanduser(path)
    if in_home == path:
        raise UserError(
            f"~ must stand for a home folder, but got {path!r}, and there is none of that name; write the folder out, "
            f"or ./{path} for one whose name begins so"
        )
    return in_home


def absolute(path: str | Path) -> Path:
    """Give the absolute path, so that it stays the same when the current folder changes. Links are kept.

    Raises:
        UserError: The path is relative to a current folder that has been deleted.
    """
    try:
        return Path(path).absolute()
    except FileNotFoundError:
        raise UserError(
            f"a relative path needs a current folder, but got {str(path)!r}, and the current folder has been deleted; "
            "change to one that is there (cd), or write the path from the root on"
        ) from None


def shown_path(path: Path) -> Path:
    """Name an absolute path as one would type it here: relative to the current folder, if it lies below that."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return path
    if here == Path(here.anchor) or not path.is_relative_to(here):
        return path
    return path.relative_to(here)


def as_word(path: str | Path) -> str:
    """Write a path so that a command takes it for one: no option (`-x`), and no home folder (`~x`)."""
    text = str(path)
    return f"./{text}" if text.startswith(("-", "~")) else text


def require_lengths(path: Path, remedy: str) -> None:
    """Raise UserError for a path of a folder that a file system takes no files below of, as it is too long.

    Args:
        path: Of the folder, which need not exist.
        remedy: What to do about it, the end of the message.
    """
    names = [os.fsencode(part) for part in absolute(path).parts]
    if max(map(len, names)) > LONGEST_NAME:
        raise UserError(
            f"a name in a path must be {LONGEST_NAME} bytes at most, but {path} has one of {max(map(len, names)):,}; "
            f"{remedy}"
        )
    n_bytes = len(os.fsencode(absolute(path)))
    if n_bytes > LONGEST_PATH - ROOM_BELOW:
        raise UserError(
            f"the path of a folder for results must be {LONGEST_PATH - ROOM_BELOW:,} bytes at most, but {path} has "
            f"{n_bytes:,} from the root on; {remedy}"
        )


def require_utf8(path: str | Path, option: str) -> None:
    """Raise UserError for a path that is not UTF-8, where it goes into records, as those are.

    Args:
        path: As given.
        option: What it came with, for the message.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"the path of {option} must be UTF-8, but got {os.fsencode(path)!r}; rename what is not, as it goes into "
            "the study's records"
        ) from None


def size_of(path: Path) -> int:
    """Count the bytes of a file, or of all files in a folder."""
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())
