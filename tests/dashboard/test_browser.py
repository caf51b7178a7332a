"""What a browser shows of a real study in the dashboard."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from search.records.files import StudyFiles
from tests.support.chromium import chromium, needs_chromium
from tests.support.spaces import QUICK

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> StudyFiles:
    folder = tmp_path_factory.mktemp("studies")
    options = ("--dataset", "digits", "--space", str(QUICK), "--trials", "5", "--dashboard")
    command = [sys.executable, "-m", "search.run", *options, "--studies-dir", str(folder)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "dashboard: http://127.0.0.1:" in outcome.stdout
    return StudyFiles(folder / "digits")


@contextmanager
def browsing(files: StudyFiles) -> Iterator[tuple[Page, str, list[str]]]:
    """A page, the address of the study, and what the browser complains about."""
    command = [sys.executable, "-m", "search.dashboard", files.root.name, "--studies-dir", str(files.root.parent)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with (
        subprocess.Popen([*command, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as it,
        chromium() as browser,
    ):
        address = it.stdout.readline().split()[-1]
        page, complaints = browser.new_page(viewport={"width": 1400, "height": 1000}), []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda got: complaints.append(got.url) if got.status >= 400 else None)
        try:
            yield page, address, complaints
            it.send_signal(signal.SIGINT)
            assert it.wait(timeout=20) == 0
        finally:
            it.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_chromium
def test_browser_shows_history_importance_notes_and_pictures_of_a_real_study(digits: StudyFiles) -> None:
    expect.set_options(timeout=30_000)  # of a busy machine
    with browsing(digits) as (page, address, complaints):
        page.goto(address)
        expect(page.get_by_text("selection accuracy").first).to_be_visible()
        expect(page.get_by_role("heading", name="Hyperparameter Importance")).to_be_visible()
        page.goto(f"{address}/note")
        expect(page.get_by_role("heading", name="digits: complete")).to_be_visible()
        expect(page.get_by_text("Test accuracy").first).to_be_visible()
        page.goto(f"{address}/trials?numbers=0")
        expect(page.get_by_text(re.compile(r"of the portfolio\): (trained to the end|stopped early)"))).to_be_visible()
        pictures = page.locator('img[src^="/artifacts/"]')
        expect(pictures).to_have_count(3)
        page.wait_for_function("[...document.images].every(it => it.complete && it.naturalWidth > 400)")
        assert min(it.bounding_box()["width"] for it in pictures.all()) > 400
        wide, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= shown
        assert complaints == []
