"""What the tool's commands have in common: errors in one line, exit codes, an end at
Ctrl-C that loses nothing, no password where everyone can read it."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from fmnist.errors import UserError

EXIT_FAILURE = 1  # training fails again and again
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # what a shell reports after Ctrl-C


def exit_code_of(command: Callable[[], int]) -> int:
    """The command's own exit code; 2 for input that cannot be used and for a full disk, said in one line on standard
    error. A bug keeps its trace."""
    try:
        return command()
    except UserError as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)  # an argument may hold a line break
        return EXIT_USER_ERROR
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


@contextmanager
def ending_cleanly(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop`, once; a second one acts as it always does."""
    previous = {}

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()
        for signal_number, handler in previous.items():
            signal.signal(signal_number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, ask_to_stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class OneLineParser(argparse.ArgumentParser):
    """Its errors are the user's, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


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
