"""The options of the dashboard's command. Light, so that --help and a bad option answer at once."""

from __future__ import annotations

from pathlib import Path

from fmnist.options import option, options
from search.cli import check_study_name, shown_url
from search.records.files import StudyFiles, require_study

HOST = "127.0.0.1"
USUAL_PORT = 8080


@options
class DashboardOptions:
    """Which study to show, and where. Raises UserError for a study that is not there."""

    name: str = option("the study", positional=True, metavar="NAME")
    studies_dir: Path = option("where studies live", default=Path("studies"), metavar="DIR")
    port: int | None = option(
        f"of {HOST}",
        default=None,
        ge=0,
        le=65535,
        default_shown=f"{USUAL_PORT}, or a free one if that is taken",
        remedy="0 takes any that is free",
        metavar="N",
    )
    storage: str | None = option(
        "Optuna's storage with the trials; then the study needs no folder here",
        default=None,
        default_shown="as it was made with",
        without_secret=shown_url,
        metavar="URL",
    )
    until_input_ends: bool = option("end when standard input ends (for scripts)", default=False)

    def __post_init__(self) -> None:
        check_study_name(self.name, f"name a study's folder in {self.studies_dir}")
        if self.storage is None:
            require_study(self.studies_dir, self.name, "the dashboard")

    @property
    def files(self) -> StudyFiles:
        """The study's folder, which may be missing where a storage is given."""
        return StudyFiles(self.studies_dir / self.name)
