"""Errors that are the user's to fix, and the words that several of them share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

N_NAMED = 5  # of many that are wrong


class UserError(Exception):
    """The input cannot be used. The message is one line: the requirement, what was received, the remedy.

    `main` functions print it and exit with code 2; every other exception is a bug and keeps its trace.
    """


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the error for a file or folder that cannot be read."""
    return UserError(f"{path} must be readable, but: {error.strerror or error}; check the file and its permissions")


def not_installed(option: str, modules: Sequence[str], extras: Sequence[str]) -> UserError:
    """Return the error for an option that needs modules of optional extras of this project."""
    return UserError(
        f"{option} needs {', '.join(modules)}, which is not installed; run "
        f"pip install 'fmnist-search[{','.join(extras)}]'"
    )


def first_few(names: Sequence[object]) -> str:
    """Return the first N_NAMED and how many there are beyond them, such as `a.png, b.png and 3 more`."""
    shown = ", ".join(map(str, names[:N_NAMED]))
    n_more = len(names) - N_NAMED
    return f"{shown} and {n_more:,} more" if n_more > 0 else shown
