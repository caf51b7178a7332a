"""Where trainings take place: Ray is loaded for a cluster alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from search.cluster.place import place_of
from search.config import StudyConfig
from search.worker.resources import local_resources
from tests.support.reporting import Saying

ROOT = Path(__file__).parents[2]


def test_without_a_cluster_it_is_this_machine_and_nothing_is_said(tmp_path: Path) -> None:
    config, reporter = StudyConfig("s", dataset="digits", workers=3), Saying()
    started: list[tuple[Path, threading.Event]] = []

    def start(log: Path, stop: threading.Event) -> Any:
        started.append((log, stop))

    stop = threading.Event()
    with place_of(config, reporter, start) as place:
        assert place.resources == local_resources(config)
        place.start_workers(tmp_path / "log", stop)
    assert started == [(tmp_path / "log", stop)] and reporter.said == []


@pytest.mark.process
def test_run_on_this_machine_does_not_load_ray() -> None:
    code = "import sys, search.run, search.pipeline, search.context; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
