"""How does a command line become a run? `python -m search.run` searches, trains the best in full and reports.

Run it again to go on where it ended. Only what the options need is imported before they are read, so that --help and a
bad option answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from fmnist.cli import EXIT_FAILURE, EXIT_INTERRUPTED, OneLineParser, exit_code_of
from fmnist.option_fields import fields_of
from fmnist.options import add_options, option, options
from fmnist.paths import absolute, expanded
from fmnist.reading import named_dataset, without_suffix
from search.cli import legal_study_name, take_password_off_the_command_line
from search.config import DEFAULT_DATASET, STUDY, StudyConfig

if TYPE_CHECKING:
    from search.results.result import StudyResult

SHOWN = "what is shown"  # heading of --help


def main(argv: Sequence[str] | None = None, **seams: Any) -> int:
    """Run the command line.

    Args:
        argv: The words behind the program's name; None: those of this process.
        seams: Stand-ins for parts of the run, for tests: see `search.pipeline.run_study`.

    Returns:
        The exit code: 0; 1 where trainings keep failing, or an export fails; 2 for input that cannot be used, said in
        one line; 130 when interrupted. A bug keeps its trace.
    """

    def command() -> int:
        if argv is None:
            take_password_off_the_command_line()
        words = sys.argv[1:] if argv is None else argv
        return run(*parse(words), **seams)

    return exit_code_of(command)


@options
class RunOptions:
    """What concerns one run of a study and not the study."""

    search_only: bool = option(
        "stop after the search: the test set stays unopened, and trials can be added", default=False, group=STUDY
    )
    check: bool = option(
        "begin no study: validate all that a run needs, and estimate its time, memory and disk, in about a minute",
        default=False,
        group=STUDY,
    )
    verbosity: Literal["quiet", "normal", "verbose"] = option(
        "how much is shown",
        default="normal",
        switches={
            "quiet": "only what came out and what went wrong",
            "verbose": "also each training's start and every evaluation on the selection split",
        },
        group=SHOWN,
    )
    log_format: Literal["text", "json"] = option(
        "json: one object a line on standard output", default="text", group=SHOWN
    )


def parse(argv: Sequence[str]) -> tuple[StudyConfig, RunOptions]:
    """Read the study's options, and the run's, from a command line's words.

    Raises:
        UserError: The words or their values cannot be used.
    """
    parser = OneLineParser(
        prog="python -m search.run",
        description="Find a strong small CNN for an image data set, prove how good it is, hand it over. "
        "The same command again goes on where it ended.",
        allow_abbrev=False,
    )
    add_options(parser, StudyConfig)
    add_options(parser, RunOptions)
    given = vars(parser.parse_args(argv))
    of_run = {name: given.pop(name) for name in fields_of(RunOptions) if name in given}
    if "study" not in given:
        given["study"] = study_named_after(given.get("dataset", DEFAULT_DATASET))
    return StudyConfig(**given), RunOptions(**of_run)


def study_named_after(dataset: str) -> str:
    """Return the usual name of a data set's study: the data set's own, or one derived from its folder or file."""
    return legal_study_name(name_of_data(dataset))


def name_of_data(dataset: str) -> str:
    """Return the name of a data set, or that of its folder or file, without the suffix of a file of arrays."""
    known = named_dataset(dataset)
    if known is not None:
        return known
    path = expanded(dataset)
    if path.name in ("", ".."):  # the current folder, the one above it
        path = absolute(path).resolve()
    return without_suffix(path.name)


def tell_derived_name(study: str, dataset: str, say: Callable[[str], None]) -> None:
    """Say what the study is called, where that was derived from a name that no study can have."""
    name = name_of_data(dataset)
    if study != name and study == legal_study_name(name):
        say(f"the study is called {study}, after {name!r}; --study gives it another name")


def run(config: StudyConfig, options: RunOptions, **seams: Any) -> int:
    """Run a study, or only check it, and show it on the terminal.

    SIGINT, SIGTERM and SIGHUP end it cleanly: trainings stop, and everything that has finished is kept.

    Args:
        config: The study.
        options: What concerns this run alone.
        seams: Stand-ins for parts of the run, for tests: see `search.pipeline.run_study`.

    Returns:
        The exit code, see `main`.
    """
    from search.callbacks.json_lines import JsonReporter
    from search.callbacks.reporter import RESULT
    from search.callbacks.terminal import Terminal
    from search.estimate.check import check_run
    from search.pipeline import run_study
    from search.study.loop import SearchStopped
    from search.worker.interrupts import Stop, ending_cleanly
    from search.worker.tasks import Interrupted, TrainingFailed

    stop = Stop()
    reporter = JsonReporter if options.log_format == "json" else Terminal
    terminal = reporter(verbosity=options.verbosity)
    try:
        with ending_cleanly(stop), terminal:
            tell_derived_name(config.study, config.dataset, terminal.say)
            if options.check:
                return check_run(config, terminal, stop, search_only=options.search_only, **seams)
            study = run_study(config, terminal, stop, search_only=options.search_only, **seams)
    except Interrupted:
        message = "stopped"
        if not options.check:
            message += "; everything finished so far is kept. The same command goes on from here."
        terminal.say(message, RESULT)
        return EXIT_INTERRUPTED
    except (SearchStopped, TrainingFailed) as failure:
        trace = getattr(failure, "trace", "")
        print(f"error: {failure}\n{trace}".rstrip(), file=sys.stderr)
        return EXIT_FAILURE
    return exit_code(config, study)


def exit_code(config: StudyConfig, study: StudyResult) -> int:
    """Return EXIT_FAILURE if an export that was asked for has failed, else 0."""
    for record in study.exports:
        if record.failure and record.format in config.export:
            return EXIT_FAILURE
    return 0


if __name__ == "__main__":
    sys.exit(main())
