"""What all commands share: errors in one line, and exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from fmnist.errors import UserError
from fmnist.output import OutputLost, printable, standard_streams

EXIT_FAILURE = 1  # what was asked for could not be made
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # what a shell reports after Ctrl-C


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command and return its exit code, with the user's errors as one line on standard error.

    Input that cannot be used and a full disk give EXIT_USER_ERROR, Ctrl-C gives EXIT_INTERRUPTED. A bug keeps its
    trace. Standard output takes any text, see `fmnist.output`; where it takes no more, the command ends, as it does at
    Ctrl-C if it can.

    Args:
        command: Does the work and returns the exit code of a run without errors.
    """
    with standard_streams() as output:
        try:
            exit_code = _exit_code_of(command)
            output.flush()
        except SystemExit:  # --help
            with suppress(OutputLost):
                output.flush()
            if output.failure is None:
                raise
            exit_code = EXIT_FAILURE
        except OutputLost:
            exit_code = EXIT_FAILURE
        if output.failure is not None:
            exit_code = _tell_lost_output(output.failure, was_asked_to_stop=output.was_asked_to_stop)
    return exit_code


def _exit_code_of(command: Callable[[], int]) -> int:
    try:
        return command()
    except UserError as error:
        complain("error", str(error).strip())
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if not is_disk_full(error) or isinstance(error, OutputLost):
            raise
        complain("error", "the disk is full; free some space, then the same command goes on from here")
        return EXIT_USER_ERROR


def _tell_lost_output(failure: OSError, *, was_asked_to_stop: bool) -> int:
    """Say that standard output takes no more, and return the exit code. `| head` wants nothing said of a listing."""
    goes_on = ""
    if was_asked_to_stop:
        goes_on = ". Everything finished so far is kept, and the same command goes on from here"
    if isinstance(failure, BrokenPipeError):
        if was_asked_to_stop:
            complain("error", f"stopped, since whoever read standard output has closed it{goes_on}")
        return EXIT_FAILURE
    reason = failure.strerror or str(failure)
    complain("error", f"standard output must be writable, but: {reason}; free some space or send it elsewhere{goes_on}")
    return EXIT_USER_ERROR


def complain(kind: str, text: str) -> None:
    """Print one line on standard error, such as `note: ...`."""
    print(f"{kind}: {printable(text)}", file=sys.stderr, flush=True)


def is_disk_full(error: BaseException | None) -> bool:
    """Tell whether a full disk is behind an error, at any depth: SQLite and Optuna wrap the system's own."""
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    return "disk is full" in str(error) or is_disk_full(error.__cause__ or error.__context__)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that reports wrong arguments as a UserError instead of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong as a UserError that names `--help`."""
        flag = re.search(r"(--[a-z-]+): expected one argument$", message)
        if flag is not None:
            message += f"; write one that begins with - as {flag[1]}=VALUE"
        raise UserError(f"{message}; see {self.prog} --help")


def nearest_existing(path: Path) -> Path:
    """Return the path itself if it exists, else the nearest folder above it that does.

    Where permission to look is lacking, a path counts as missing: `os.path.exists` says no instead of raising.
    """
    for each in (path.absolute(), *path.absolute().parents):
        if os.path.exists(each):
            return each
    raise AssertionError("the root of a file system always exists")
