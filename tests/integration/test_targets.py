"""A whole run that aims at a small and fast file, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from search.records.files import StudyFiles
from search.records.models import TargetOutcome
from tests.support.spaces import QUICK
from tests.support.wider import replaced

pytestmark = [pytest.mark.slow, pytest.mark.trains, pytest.mark.process]

RUN = [sys.executable, "-m", "search.run", "--dataset", "digits", "--study", "s", "--trials", "8"]
TARGETS = ["--max-bytes", "15kB", "--max-ms", "50"]
VARIED = {  # from 6 to 33 kB
    "n_dense = 0": "n_dense = { low = 0, high = 1 }",
    "{ low = 8, high = 16, step = 8 }": "{ low = 8, high = 48, step = 8 }",
    "block1_filters = 16": "block1_filters = 16\nn_dense = 0",
}


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    space = folder / "varied.toml"
    space.write_text(replaced(QUICK.read_text(encoding="utf-8"), VARIED), encoding="utf-8")
    words = [*RUN, "--space", str(space), "--studies-dir", str(folder / "studies"), *options]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFiles, str]:
    folder = tmp_path_factory.mktemp("targets")
    done = run(folder, *TARGETS)
    assert done.returncode == 0, done.stderr
    return StudyFiles(folder / "studies" / "s"), done.stdout


def test_delivered_file_is_as_small_and_as_fast_as_was_asked(finished: tuple[StudyFiles, str]) -> None:
    files, _ = finished
    outcome = files.read_json(TargetOutcome, files.target_outcome)
    assert outcome.is_kept
    assert outcome.n_bytes == (files.exports / "best-int8-full.tflite").stat().st_size <= 15_000
    assert outcome.milliseconds is not None and 0 < outcome.milliseconds <= 50


def test_trained_networks_are_those_that_were_predicted_to_fit(finished: tuple[StudyFiles, str]) -> None:
    files, _ = finished
    rows = files.history.read_text().splitlines()
    assert any(" is over max_bytes = 15,000" in row for row in rows)
    assert any("complete" in row for row in rows)


def test_run_and_report_say_what_came_of_the_targets(finished: tuple[StudyFiles, str]) -> None:
    files, said = finished
    assert "measuring 12 untrained networks as litert-int8-full" in said
    assert "12 networks as litert-int8-full predict the others' bytes within some " in said
    assert ", within 15.0 kB, and takes " in said
    report = json.loads(files.report_json.read_text())
    assert report["target"]["is_kept"] is True
    assert report["target"]["max_bytes"] == 15_000
    for text in (files.report_html.read_text(), files.report_markdown.read_text()):
        assert "Asked for by --max-bytes or --max-ms: best-int8-full.tflite has " in text


def test_command_of_the_study_has_its_targets_and_goes_on_without_measuring(finished: tuple[StudyFiles, str]) -> None:
    files, _ = finished
    assert "--max-bytes 15000 --max-ms 50.0" in files.read_command()
    again = run(files.root.parents[1], *TARGETS)
    assert again.returncode == 0, again.stderr
    assert "measuring" not in again.stdout


def test_study_with_another_target_is_refused(finished: tuple[StudyFiles, str]) -> None:
    files, _ = finished
    refused = run(files.root.parents[1], "--max-bytes", "20kB", "--max-ms", "50")
    assert refused.returncode == 2
    assert "was made with max_bytes = 15000, but now it is 20000; pass --max-bytes 15000, or" in refused.stderr
