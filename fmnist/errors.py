"""The one kind of error that is the user's to fix, and the words that such errors share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

N_NAMED = 5  # of many things that are wrong, how many a message names


class UserError(Exception):
    """The input cannot be used.

    The message is one line: the requirement, what was received, the remedy. `main` functions print it and exit with
    code 2; every other exception is a bug and keeps its trace.
    """


def unreadable(path: Path, error: OSError) -> UserError:
    """Build the error to raise when a file or folder cannot be read.

    Args:
        path: The file or folder, as the message should name it.
        error: What the system said.
    """
    return UserError(f"{path} must be readable, but: {error.strerror or error}; check the file and its permissions")


def not_installed(option: str, modules: Sequence[str], extras: Sequence[str]) -> UserError:
    """Build the error to raise when an option needs modules that are not installed.

    Args:
        option: As the user typed it, such as `--tensorboard`.
        modules: What cannot be imported.
        extras: The optional dependencies of this project that bring them.
    """
    return UserError(
        f"{option} needs {', '.join(modules)}, which is not installed; run "
        f"pip install 'fmnist-search[{','.join(extras)}]'"
    )


def first_few(names: Sequence[object]) -> str:
    """List names for a message, such as `a.png, b.png and 3 more`: the first N_NAMED, then the number of the others."""
    shown = ", ".join(map(str, names[:N_NAMED]))
    n_more = len(names) - N_NAMED
    if n_more > 0:
        return f"{shown} and {n_more:,} more"
    return shown
