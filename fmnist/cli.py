"""What all commands have in common: errors in one line, exit codes, an end at Ctrl-C that loses nothing; where a path
leads."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from fmnist.errors import UserError

EXIT_FAILURE = 1  # what was asked for could not be made
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


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that can be seen: where permission is lacking, os.path says no
    rather than raise."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if os.path.exists(each))
