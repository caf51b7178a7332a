"""What every command has in common: errors that are the user's to mend in one line, exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from fmnist.errors import UserError

EXIT_USER_ERROR = 2


def exit_code_of(command: Callable[[], int]) -> int:
    """The command's own exit code; 2 for input that cannot be used, said in one line on standard error. A bug keeps its
    trace."""
    try:
        return command()
    except UserError as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)  # an argument may hold a line break
        return EXIT_USER_ERROR


class OneLineParser(argparse.ArgumentParser):
    """Its errors are the user's, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")
