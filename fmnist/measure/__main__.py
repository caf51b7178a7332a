"""Measure model files from the command line: `python -m fmnist.measure best.tflite best-int8-full.tflite`."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fmnist.cli import exit_code_of
from fmnist.environment import command_words
from fmnist.export.formats import N_TIMED_THREADS
from fmnist.measure.measurement import Measurement, measure, runtime_of
from fmnist.options import option, options, parse_options
from fmnist.output import printable

N_BYTES_PER_MB = 1e6


@options
class MeasureOptions:
    """What to measure and where. Raises UserError for values that cannot be used."""

    files: tuple[Path, ...] = option("a .tflite, .onnx or .keras file", positional=True, metavar="FILE")
    on: str | None = option(
        'command that runs a Python program given on its standard input, such as "ssh pi python3 -": measures there; '
        "Python 3.9, NumPy and the file's runtime are needed there, nothing else",
        default=None,
        default_shown="here",
        metavar="COMMAND",
    )
    threads: int = option("threads of the runtime", default=N_TIMED_THREADS, ge=1, metavar="N")
    json: bool = option("print a line of JSON for each file, with every figure", default=False)

    def __post_init__(self) -> None:
        for path in self.files:
            runtime_of(path)
        command_words(self.on)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. A bug keeps its trace.

    Returns:
        The exit code: 0; 2 for input that cannot be used, said in one line; 130 when interrupted.
    """
    return exit_code_of(lambda: run(parse(sys.argv[1:] if argv is None else argv)))


def parse(argv: Sequence[str]) -> MeasureOptions:
    """Read the options of the command. Raises UserError for those that cannot be used."""
    return parse_options(
        MeasureOptions,
        argv,
        prog="python -m fmnist.measure",
        description="Measure how fast model files predict and what memory they take, each in a fresh process by its "
        "own runtime alone, here or on another machine.",
    )


def run(options: MeasureOptions) -> int:
    """Measure by these options, and show what was found. Returns the exit code."""
    console = Console()
    found = []
    for path in options.files:
        with console.status(f"measuring {printable(str(path))}", spinner="line"):  # nothing but on a terminal
            found.append(measure(path, on=options.on, n_threads=options.threads))
        if options.json:
            print(json.dumps(dataclasses.asdict(found[-1])), flush=True)
    if not options.json:
        show(console, found)
    return 0


def show(console: Console, found: Sequence[Measurement]) -> None:
    """Print a table of what was measured, and below it what the columns mean."""
    table = Table("file", "size", "1 image", "95 % within", "of 256", "memory", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for each in found:
        table.add_row(
            printable(each.file),
            f"{each.n_bytes / 1000:,.1f} kB",
            f"{each.milliseconds_by_1:.3f}",
            f"{each.p95_milliseconds_by_1:.3f}",
            f"{each.milliseconds_by_256:.3f}",
            memory_in_words(each),
        )
    console.print(table)

    def say(text: str) -> None:
        console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    for each in found:
        if each.unaccelerated:
            say(f"{each.file}: no fast kernels for {', '.join(each.unaccelerated)}")
    n_threads = found[0].n_threads
    say(
        "times: milliseconds an image, given one at a time (median, and what 95 % of the calls take at most) and in "
        f"batches of 256 (median), on {n_threads} thread{'s' if n_threads > 1 else ''} of {found[0].processor}"
    )
    say("memory: what a process takes to load the file and predict images one at a time, beside its runtime")
    say(f"runtimes: {', '.join(sorted({each.runtime for each in found}))}")


def memory_in_words(found: Measurement) -> str:
    """Write the memory that the file takes beside its runtime."""
    if found.peak_bytes is None or found.runtime_bytes is None:
        return "not known"
    return f"{(found.peak_bytes - found.runtime_bytes) / N_BYTES_PER_MB:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
