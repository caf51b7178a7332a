"""The command, what it refuses, and who may ask the dashboard."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from search.dashboard.__main__ import main
from search.dashboard.server import guarded
from tests.support.made_study import make_study
from tests.support.made_trials import Made, store_trials

ROOT = Path(__file__).resolve().parents[2]


def test_study_that_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing", "--studies-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: the dashboard needs a study of {tmp_path}, but got nothing, which it has not; "
        "pass the folder of your studies as --studies-dir\n"
    )
    assert main(["nothing", "--storage", f"sqlite:///{tmp_path}/no.db"]) == 2
    assert "no.db is missing" in capsys.readouterr().err
    assert not (tmp_path / "no.db").exists()


def test_study_whose_database_is_gone_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_study(tmp_path / "made", Made(n_trials=4))
    assert main(["made", "--studies-dir", str(tmp_path)]) == 2
    assert "study.db is missing" in capsys.readouterr().err


def test_port_that_is_taken_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store_trials(*make_study(tmp_path / "made", Made(n_trials=4)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["made", "--studies-dir", str(tmp_path), "--port", str(port)]) == 2
    assert f"but {port} is not (Address already in use)" in capsys.readouterr().err


@pytest.mark.process
def test_help_answers_without_optuna() -> None:
    script = "import sys, search.dashboard.__main__ as it; it.parse(['--help'])"
    loaded = "import atexit, sys; atexit.register(lambda: print('optuna' in sys.modules))"
    child = subprocess.run([sys.executable, "-c", f"{loaded}; {script}"], cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert child.stdout.endswith("False\n")
    assert "--storage" in child.stdout


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_HOST": "127.0.0.1:8080"}, 200),
        ({"HTTP_HOST": "localhost:9000", "HTTP_ORIGIN": "http://localhost:9000"}, 200),
        ({"HTTP_HOST": "127.0.0.1:8080", "HTTP_ORIGIN": "https://elsewhere.example"}, 403),
        ({"HTTP_HOST": "127.0.0.1:8080", "HTTP_ORIGIN": "null"}, 403),
        ({"HTTP_HOST": "elsewhere.example:8080"}, 403),
        ({}, 403),
    ],
)
def test_pages_of_other_sites_get_no_answer(headers: dict[str, str], status: int) -> None:
    def application(environ: dict, start_response: Callable) -> list[bytes]:
        start_response("200 OK", [])
        return []

    answered: list[str] = []
    guarded(application)(dict(headers), lambda status, _: answered.append(status))
    assert [int(it.split()[0]) for it in answered] == [status]
