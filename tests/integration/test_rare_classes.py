"""400 images of one class and 15 of another: by accuracy the rare one is given up, by balanced accuracy it is found."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from search.records.files import StudyFiles
from search.run import main
from search.system.shipped import SHIPPED_SPACES
from tests.support.rare_class import N_COMMON, N_RARE, rare_class

pytestmark = [pytest.mark.slow, pytest.mark.trains]

SHORT = {
    "first_rung_images = 4_000": "first_rung_images = 500",
    "search_images = 16_000": "search_images = 2_000",
    "report_every_images = 1_000": "report_every_images = 500",
    "n_epochs = 30": "n_epochs = 6",
}


@dataclass(frozen=True)
class Finished:
    """A study of a rare class that has come to its end."""

    files: StudyFiles
    said: str

    @property
    def report(self) -> dict:
        return json.loads(self.files.report_json.read_text())


def run(folder: Path, *options: str) -> Finished:
    """Search three configurations, as the command with these options does."""
    images, labels = rare_class(N_COMMON, N_RARE)
    test_images, test_labels = rare_class(320, 100, seed=1)
    arrays = {"x_train": images, "y_train": labels, "x_test": test_images, "y_test": test_labels}
    np.savez(folder / "rare.npz", **arrays)
    text = (SHIPPED_SPACES / "digits.toml").read_text(encoding="utf-8")
    for long, short in SHORT.items():
        text = text.replace(long, short)
    (folder / "short.toml").write_text(text)
    words = ["--dataset", str(folder / "rare.npz"), "--space", str(folder / "short.toml"), "--pruner", "none"]
    words += ["--studies-dir", str(folder / "studies"), "--trials", "3", "--workers", "1"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*words, *options]) == 0
    return Finished(StudyFiles(folder / "studies" / "rare"), out.getvalue())


def test_accuracy_gives_the_rare_class_up_and_the_run_says_what_would_not(tmp_path: Path) -> None:
    finished = run(tmp_path)
    assert finished.report["test"]["balanced_accuracy"] < 0.6
    common, rare = (score["recall"] for score in finished.report["test"]["per_class"])
    assert common > 0.9 and rare < 0.2
    assert finished.said.count("pass --metric balanced_accuracy") == 1
    assert "metric" not in finished.report


def test_balanced_accuracy_alone_finds_it(tmp_path: Path) -> None:
    finished = run(tmp_path, "--metric", "balanced_accuracy")
    report = finished.report
    assert report["test"]["balanced_accuracy"] > 0.9
    assert min(score["recall"] for score in report["test"]["per_class"]) > 0.85
    assert report["metric"]["name"] == "balanced_accuracy" and report["metric"]["class_weights"] == "balanced"
    assert report["metric"]["test"]["values"][0] == pytest.approx(report["test"]["balanced_accuracy"])
    assert "pass --metric balanced_accuracy" not in finished.said
    assert "test balanced accuracy 9" in finished.said and "test accuracy" in finished.said
    assert json.loads(finished.files.best_recipe.read_text())["class_weights"] == "balanced"
    for page in (finished.files.report_html, finished.files.report_markdown, finished.files.model_card):
        assert "compared by balanced accuracy" in page.read_text()
