"""The command line of the report, checked: which studies, and where they are."""

from __future__ import annotations

import os
from pathlib import Path

from fmnist.errors import UserError
from search.records.files import StudyFiles


def require_study(studies_dir: Path, name: str, what: str) -> None:
    """Raises UserError where the study has no folder there. what: needs it, in words."""
    if not os.path.isfile(StudyFiles(studies_dir / name).config):
        there = sorted(path.parent.name for path in studies_dir.glob("*/config.json"))
        known = f"choose among {', '.join(there)}" if there else "pass the folder of your studies as --studies-dir"
        raise UserError(f"{what} needs a study of {studies_dir}, but got {name}, which it has not; {known}")
