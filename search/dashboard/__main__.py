"""Show a study in Optuna's dashboard: `python -m search.dashboard NAME`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

from fmnist.cli import ending_cleanly, exit_code_of
from fmnist.options import parse_options
from search.cli import take_password_off_the_command_line
from search.dashboard.server import DashboardOptions, serve


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until Ctrl-C. Returns the exit code: 0, or 2 for input that cannot be used, said in one
    line."""
    return exit_code_of(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    if argv is None:
        take_password_off_the_command_line()
    options = parse(sys.argv[1:] if argv is None else argv)
    stop = threading.Event()
    if options.until_input_ends:
        os.nice(10)  # the trainings go first
        threading.Thread(target=_watch_input, args=(stop,), daemon=True).start()
    with ending_cleanly(stop):
        serve(options, stop)
    return 0


def _watch_input(stop: threading.Event) -> None:
    """The other end of the pipe closes with the run's process, also where that is killed."""
    sys.stdin.buffer.read()
    stop.set()


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
