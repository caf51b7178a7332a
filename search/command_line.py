"""What the search's commands have in common: a full disk is one line, no password where everyone can read it."""

from __future__ import annotations

import errno
import os
import sys
import urllib.parse
from collections.abc import Callable

from fmnist import command_line
from fmnist.command_line import EXIT_USER_ERROR


def exit_code_of(command: Callable[[], int]) -> int:
    """The command's own exit code; 2 for input that cannot be used and for a full disk, said in one line on standard
    error. A bug keeps its trace."""
    try:
        return command_line.exit_code_of(command)
    except Exception as error:
        if not _is_disk_full(error):
            raise
        print("error: the disk is full; free some space, then the same command goes on from here", file=sys.stderr)
        return EXIT_USER_ERROR


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether that is the cause, or the cause's cause: SQLite and Optuna wrap it."""
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    return "disk is full" in str(error) or _is_disk_full(error.__cause__ or error.__context__)


def take_password_off_the_command_line() -> None:
    """Everyone on a machine can read command lines (ps). Start again without the password, which goes on in
    $PGPASSWORD: that is the owner's to read alone."""
    for i, word in enumerate(sys.orig_argv):
        url, password = without_password(word)
        if password is not None:
            os.environ["PGPASSWORD"] = password
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:i], url, *sys.orig_argv[i + 1 :]])


def without_password(word: str) -> tuple[str, str | None]:
    """A word of the command line that holds a PostgreSQL address, without its password, and that. None: it has none."""
    option, equals, url = word.partition("=") if word.startswith("--storage=") else ("", "", word)
    if not url.startswith("postgresql"):
        return word, None
    parts = urllib.parse.urlsplit(url)
    user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
    if not colon:
        return word, None
    host = parts.netloc.rpartition("@")[2]
    return option + equals + parts._replace(netloc=f"{user}@{host}").geturl(), urllib.parse.unquote(password)
