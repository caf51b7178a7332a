"""The dashboard beside a run ends with it, whatever ends that."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from search.dashboard.beside import beside_run, dashboard_command
from search.records.files import StudyFiles
from tests.support.made_study import make_study
from tests.support.made_trials import Made, store_trials

ROOT = Path(__file__).resolve().parents[2]

RUN = """
import sys, time
from pathlib import Path
from search.dashboard.beside import beside_run
from search.records.files import StudyFiles
with beside_run(StudyFiles(Path(sys.argv[1])), None, lambda text: print(text, flush=True)):
    time.sleep(600)
"""


def test_printed_command_holds_no_password(files: StudyFiles) -> None:
    assert dashboard_command(StudyFiles(Path("studies/mine")), None) == "python -m search.dashboard mine"
    said = dashboard_command(files, "postgresql://me:s3cret@host/db")
    assert (
        said == f"python -m search.dashboard mine --studies-dir {files.root.parent} --storage postgresql://me@host/db"
    )


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError):  # also cut in the middle
        return False


@pytest.mark.process
def test_dashboard_beside_a_run_ends_with_it(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(n_trials=4))
    store_trials(files, trials)
    said: list[str] = []
    with beside_run(files, None, said.append):
        wait_until(lambda: bool(said))
        url = said[0].removeprefix("dashboard: ")
        assert url.startswith("http://127.0.0.1:")
        assert answers(url)
        assert answers(url.partition("/dashboard")[0] + "/static/bundle.js")  # without an Accept-Encoding
    assert not answers(url)
    assert len(said) == 1


@pytest.mark.process
@pytest.mark.faults
def test_dashboard_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(n_trials=4))
    store_trials(files, trials)
    command = [sys.executable, "-c", textwrap.dedent(RUN), str(files.root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        url = run.stdout.readline().split()[-1]
        assert answers(url)
        run.send_signal(signal.SIGKILL)
        run.wait()
        wait_until(lambda: not answers(url), seconds=20)


@pytest.mark.process
@pytest.mark.faults
def test_dashboard_that_cannot_start_is_said_once_and_ends_nothing(files: StudyFiles) -> None:
    said: list[str] = []
    with beside_run(files, None, said.append):  # there is no such study
        wait_until(lambda: bool(said))
    assert len(said) == 1
    assert said[0].startswith("the dashboard has ended (error: the dashboard needs a study of")
    assert said[0].endswith("the search goes on without it")
