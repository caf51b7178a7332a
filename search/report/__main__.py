"""Write the report of a finished study, compare two, or pick a network: `python -m search.report NAME [NAME]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import optuna

from fmnist.cli import complain, exit_code_of
from fmnist.errors import UserError
from fmnist.options import option, options, parse_options
from fmnist.output import printable
from fmnist.paths import shown_path
from search.cli import check_study_name, shown_url, take_password_off_the_command_line
from search.records.files import StudyFiles, require_study
from search.report.pick import (
    DEFAULT_FORMAT,
    QUANTITIES,
    known_format,
    pick_and_copy,
    read_conditions,
    require_empty,
)
from search.results.reading import read_finished_study, require_finished
from search.results.result import FinishedStudy
from search.study.study import open_finished
from search.study.trials import read_trials


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0, or 2 for input that cannot be used, said in one line."""
    return exit_code_of(lambda: run(argv))


def run(argv: Sequence[str] | None) -> int:
    """Write what the command line asks for, and print where it is. Raises UserError for input that cannot be used."""
    if argv is None:
        take_password_off_the_command_line()
    options = parse(sys.argv[1:] if argv is None else argv)
    if options.pick is not None:
        return run_pick(options, options.pick)
    from search.dashboard.publish import publish_report  # they load Matplotlib, whose settings may be unreadable
    from search.report.charts.fonts import fonts_for
    from search.report.comparison.page import write_comparison
    from search.report.page import report_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    studies = [StudyFiles(folder) for folder in options.folders]
    for files in studies:
        files.checksums.say = partial(print, file=sys.stderr)
    for files in studies:  # first of all: a study under way may have no trials to open yet
        require_finished(files)
    if len(studies) == 1:
        (files,) = studies
        study = open_finished(files, options.storage)
        finished = report_study(files, study)
        publish_report(study, finished)
        print(printable(f"report: {shown_path(files.report_html)}"))
    else:
        finished, other = (_read(files, options.storage) for files in studies)
        print(printable(f"comparison: {write_comparison(finished, other, options.studies_dir)}"))
    note = fonts_for(finished.data.class_names).note()
    if note is not None:
        complain("note", note)
    return 0


def run_pick(options: ReportOptions, conditions: str) -> int:
    """Copy the network that fits the conditions, and say which it is. Returns the exit code."""
    files = StudyFiles(options.folders[0])
    files.checksums.say = partial(print, file=sys.stderr)
    for line in pick_and_copy(files, conditions, options.format or DEFAULT_FORMAT, options.to):
        print(printable(line))
    return 0


def _read(files: StudyFiles, storage: str | None) -> FinishedStudy:
    trials = read_trials(open_finished(files, storage))
    return read_finished_study(files, trials, command=files.read_command(), importances=None)


@options
class ReportOptions:
    """What to report on. Raises UserError for studies that are not there or are not one or two."""

    names: tuple[str, ...] = option("a finished study, or two to compare", positional=True, metavar="NAME")
    studies_dir: Path = option("where studies live", default=Path("studies"), metavar="DIR")
    storage: str | None = option(
        "Optuna's storage with the trials",
        default=None,
        default_shown="as each study was made with",
        without_secret=shown_url,
        metavar="URL",
    )

    pick: str | None = option(
        "copy the most accurate network of a study made with --front, on its confirmation split, that keeps to these: "
        f"{', '.join(QUANTITIES)}, each with < or <=, joined by commas",
        default=None,
        default_shown="write the report",
        metavar='"bytes<96kB, ms<2"',
    )
    to: Path | None = option(
        "folder that --pick copies the network's files to", default=None, default_shown="./NAME-NETWORK", metavar="DIR"
    )
    format: str | None = option(
        "the file that --pick measures by bytes and ms", default=None, default_shown=DEFAULT_FORMAT, metavar="FORMAT"
    )

    def __post_init__(self) -> None:
        if len(self.names) > 2 or len(set(self.names)) < len(self.names):
            raise UserError(
                f"a report takes one study, a comparison two different ones, but got {' '.join(self.names)}; "
                f"name one or two"
            )
        for name in self.names:
            check_study_name(name, f"name a study's folder in {self.studies_dir}")
            require_study(self.studies_dir, name, "a report")
        if self.pick is None:
            self._require_pick()
            self._require_writable()
        else:
            self._check_pick(self.pick)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the studies, in their order."""
        return tuple(self.studies_dir / name for name in self.names)

    def _require_pick(self) -> None:
        given = {"--to": self.to, "--format": self.format}
        for name in [name for name, value in given.items() if value is not None]:
            raise UserError(
                f"{name} is for the network that --pick copies, but got {given[name]} alone; pass --pick "
                '"bytes<96kB", or leave it out'
            )

    def _check_pick(self, conditions: str) -> None:
        if len(self.names) > 1:
            raise UserError(f"--pick takes one study, but got {' '.join(self.names)}; name one")
        read_conditions(conditions)
        if self.format is not None:
            known_format(self.format)
        if self.to is not None:
            require_empty(self.to)

    def _require_writable(self) -> None:
        folder = self.folders[0] if len(self.names) == 1 else self.studies_dir
        if not os.access(folder, os.W_OK):
            raise UserError(f"cannot write to {folder}; copy the studies to a folder of yours, and pass --studies-dir")


def parse(argv: Sequence[str]) -> ReportOptions:
    """Read the options of the command. Raises UserError for those that cannot be used."""
    return parse_options(
        ReportOptions,
        argv,
        prog="python -m search.report",
        description="Write the report of a finished study anew, from its records: report.html, report.md and "
        "report.json in its folder. With two studies, compare them: compare-A-B.html and compare-A-B.json beside "
        "their folders. With --pick, copy a network of one that was made with --front.",
    )


if __name__ == "__main__":
    sys.exit(main())
