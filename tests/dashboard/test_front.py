"""What a browser shows of a study of two values in the dashboard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from search.records.files import StudyFiles
from tests.dashboard.test_browser import ROOT, browsing
from tests.support.chromium import needs_chromium


@pytest.fixture
def searched(tmp_path: Path) -> StudyFiles:
    """Trials of a search that trains nothing."""
    options = ("--dataset", "digits", "--trials", "12", "--front", "--search-only", "--sampler", "random")
    command = [sys.executable, "-m", "tests.support.training.fakes", *options, "--studies-dir", str(tmp_path)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return StudyFiles(tmp_path / "digits")


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(300)
@needs_chromium
def test_browser_shows_the_pareto_front_of_score_and_cost(searched: StudyFiles) -> None:
    expect.set_options(timeout=30_000)
    with browsing(searched) as (page, address, complaints):
        page.goto(address)
        expect(page.get_by_text("Pareto Front").first).to_be_visible()
        expect(page.get_by_text("selection accuracy").first).to_be_visible()
        expect(page.get_by_text("log10 of multiply-adds").first).to_be_visible()
        assert complaints == []
