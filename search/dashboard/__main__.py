"""The command that shows a study in Optuna's dashboard: `python -m search.dashboard NAME`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

from fmnist.cli import exit_code_of
from fmnist.options import parse_options
from search.cli import take_password_off_the_command_line
from search.dashboard.options import DashboardOptions
from search.worker.interrupts import Stop, ending_cleanly


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until Ctrl-C.

    Returns the exit code: 0, or 2 for input that cannot be used, said in one line.
    """

    def run() -> int:
        if argv is None:
            take_password_off_the_command_line()
        show(parse(sys.argv[1:] if argv is None else argv))
        return 0

    return exit_code_of(run)


def show(options: DashboardOptions) -> None:
    """Serve the dashboard until Ctrl-C, or until standard input ends if the options say so."""
    from search.dashboard.server import serve  # seconds: not for --help or a bad option

    stop = Stop()

    def watch_input() -> None:  # the other end of the pipe closes with the run's process, also where that is killed
        sys.stdin.buffer.read()
        stop.set()

    if options.until_input_ends:
        os.nice(10)  # the trainings go first
        threading.Thread(target=watch_input, daemon=True).start()
    with ending_cleanly(stop):
        serve(options, stop)


def parse(argv: Sequence[str]) -> DashboardOptions:
    """Read the options of the command. Raises UserError for those that cannot be used."""
    return parse_options(
        DashboardOptions,
        argv,
        prog="python -m search.dashboard",
        description="Show a study, running or finished, in Optuna's dashboard, on this machine alone: trials with "
        "notes, those that got far with pictures.",
    )


if __name__ == "__main__":
    sys.exit(main())
