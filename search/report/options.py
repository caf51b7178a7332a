"""The command line of the report, checked: which studies, and where they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist.cli import OneLineParser
from fmnist.errors import UserError
from search.cli import check_study_name
from search.records.files import StudyFiles


@dataclass(frozen=True)
class ReportOptions:
    """What to report on. Raises UserError for studies that are not there or are not one or two."""

    names: tuple[str, ...]  # one study to report on, or two to compare
    studies_dir: Path  # where their folders are
    storage: str | None  # URL of Optuna's storage with their trials; None: as each study's configuration says

    def __post_init__(self) -> None:
        if len(self.names) > 2 or len(set(self.names)) < len(self.names):
            raise UserError(
                f"a report takes one study, a comparison two different ones, but got {' '.join(self.names)}; "
                f"name one or two"
            )
        for name in self.names:
            check_study_name(name, f"name a study's folder in {self.studies_dir}")
            require_study(self.studies_dir, name, "a report")
        self._require_writable()

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(self.studies_dir / name for name in self.names)

    def _require_writable(self) -> None:
        folder = self.folders[0] if len(self.names) == 1 else self.studies_dir
        if not os.access(folder, os.W_OK):
            raise UserError(f"cannot write to {folder}; copy the studies to a folder of yours, and pass --studies-dir")


def require_study(studies_dir: Path, name: str, what: str) -> None:
    """Raises UserError where the study has no folder there. what: needs it, in words."""
    if not os.path.isfile(StudyFiles(studies_dir / name).config):
        there = sorted(path.parent.name for path in studies_dir.glob("*/config.json"))
        known = f"choose among {', '.join(there)}" if there else "pass the folder of your studies as --studies-dir"
        raise UserError(f"{what} needs a study of {studies_dir}, but got {name}, which it has not; {known}")


def parse(argv: Sequence[str]) -> ReportOptions:
    """Raises UserError for options that cannot be used."""
    options = _parser().parse_args(argv)
    return ReportOptions(tuple(options.names), options.studies_dir, options.storage)


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m search.report",
        description="Write the report of a finished study anew, from its records: report.html, report.md and "
        "report.json in its folder. With two studies, compare them: compare-A-B.html and compare-A-B.json beside "
        "their folders.",
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="a finished study, or two to compare")
    parser.add_argument(
        "--studies-dir", type=Path, default=Path("studies"), metavar="DIR", help="where studies live (default: studies)"
    )
    parser.add_argument(
        "--storage", metavar="URL", help="Optuna's storage with the trials (default: as each study was made with)"
    )
    return parser
