"""The report of a study that was widened says which trials are of which space."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.records.io import write_json
from search.records.models import SpaceRecord, SpacesRecord
from tests.support.made_study import Made, make_study, write_made_report


@pytest.mark.renders
def test_report_says_how_many_trials_each_space_had_and_what_grew(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(n_trials=10))
    grown = ("architecture.n_blocks: 1 to 2 -> 1 to 3",)
    write_json(files.spaces, SpacesRecord((SpaceRecord("spaces/1.toml", 0), SpaceRecord("spaces/2.toml", 7, grown))))
    content = write_made_report(files, trials)
    assert [(space["first_trial"], space["grown"]) for space in content["spaces"]] == [(0, []), (7, list(grown))]
    said = "The search drew 7 trials in its first space, and 3 after that was widened"
    for path in (files.report_markdown, files.report_html):
        assert said in path.read_text(encoding="utf-8")
    assert "`spaces.json`, `spaces/`" in files.guide.read_text(encoding="utf-8")
