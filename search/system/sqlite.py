"""Where is an SQLite file, and is it whole? Its URL and its path, one from the other, for paths of every kind."""

from __future__ import annotations

import os
import sqlite3
import urllib.parse
from pathlib import Path

from fmnist.errors import UserError
from fmnist.paths import absolute, expanded

BUSY_SECONDS = 60  # how long SQLite waits for a reader such as the dashboard
LONGEST_SQLITE_PATH = 504  # bytes: of its 512, SQLite keeps some for the names of its files beside the database


def sqlite_path(url: str) -> Path:
    """Give the absolute path of the file that an SQLite URL names; `sqlite_url` is the way back."""
    _, _, path = url.partition(":///")
    return absolute(expanded(urllib.parse.unquote(path, errors="surrogateescape")))


def sqlite_url(path: Path) -> str:
    """Write the URL of an SQLite file, with what would be read as something else than a path (`?`, `#`, `%`) as %XX.

    All else stays as it is: SQLAlchemy reads back no %XX before version 2.1.
    """
    text = str(absolute(path))
    for character in "%?#":
        text = text.replace(character, urllib.parse.quote(character))
    return f"sqlite:///{text}"


def require_sqlite_path(path: Path, remedy: str) -> None:
    """Raise UserError for a path that is longer than those that SQLite opens.

    Args:
        path: Of the file, which need not exist.
        remedy: What to do about it, the end of the message.
    """
    n_bytes = len(os.fsencode(absolute(path)))
    if n_bytes > LONGEST_SQLITE_PATH:
        raise UserError(
            f"the path of an SQLite file must be {LONGEST_SQLITE_PATH} bytes at most, from the root on, but "
            f"{absolute(path)} has {n_bytes:,}; {remedy}"
        )


def damage_of_sqlite(path: Path) -> str | None:
    """Say what SQLite finds wrong with a file; None if nothing is. An empty file is an empty database."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return None if found == "ok" else " ".join(found.split())
