"""The server of training processes: what the machine does to it fails no training, and nothing of the caller's does."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from fmnist.errors import UserError
from search.worker.local import WorkerProcesses
from search.worker.tasks import Interrupted, PredictTask, TrainingFailed
from tests.support.training import light

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
Start = Callable[..., WorkerProcesses]


def task(name: str | Path = "model") -> Any:
    return PredictTask(Path(name), np.zeros(0))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start processes that load nothing; they are ended after the test."""
    started: list[WorkerProcesses] = []

    def begin(
        serve: Callable[..., None] = light.answer,
        preload: Sequence[str] = ("tests.support.training.light",),
        log: Path = tmp_path / "worker.log",
        stop: threading.Event | None = None,
    ) -> WorkerProcesses:
        started.append(WorkerProcesses(log, stop or threading.Event(), serve=serve, preload=preload))
        return started[-1]

    yield begin
    for workers in started:
        workers.close()


def alive() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE}


def test_processes_and_their_server_end_with_the_block(start: Start) -> None:
    before = alive()
    with start(light.hang) as workers:
        messages = workers.train(task())
        pids = next(messages)
        assert set(pids) <= alive()
    assert alive() == before


def test_many_threads_share_a_server_and_leave_nothing_open(start: Start) -> None:
    workers = start()
    n_open = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(16) as executor:
        said = list(executor.map(lambda i: workers.predict(task(f"/{i}")), range(100)))
    assert said == [Path(f"/{i}") for i in range(100)]
    assert len(os.listdir("/proc/self/fd")) == n_open


def test_relative_paths_are_those_of_the_caller(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = start()
    monkeypatch.chdir(tmp_path)
    assert workers.predict(task("model")) == tmp_path / "model"


def test_what_libraries_print_goes_to_the_log(start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start(light.talk).predict(task())
    assert (tmp_path / "worker.log").read_text() == "in a library\na warning of a library\n"
    assert capfd.readouterr() == ("", "")


def test_full_disk_under_the_log_is_no_failure_of_a_training(start: Start) -> None:
    assert start(light.answer, log=Path("/dev/full")).predict(task("/m")) == Path("/m")


def test_log_that_cannot_be_opened_is_said_and_the_remedy_helps(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    with pytest.raises(
        UserError, match=r"must let training processes start, but .*Not a directory; free .*disk"
    ) as said:
        start(log=folder / "log")
    assert "\n" not in str(said.value)
    folder.unlink()
    folder.mkdir()
    assert start(log=folder / "log").predict(task("/m")) == Path("/m")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_of_the_terminal_or_a_notebook_are_left_to_the_supervisor(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    messages = start(light.answer_late).train(task(tmp_path / "go on"))
    pid, server = next(messages)
    assert os.getpgid(pid) == os.getpgid(server) == os.getpgrp(), "Ctrl-Z is to stop them as well"
    os.kill(pid, number)
    os.kill(server, number)
    (tmp_path / "go on").touch()
    assert list(messages) == [tmp_path / "go on"]


@pytest.mark.faults
def test_killed_server_is_started_anew(start: Start, tmp_path: Path) -> None:
    workers = start(light.answer_late)
    (tmp_path / "go on").touch()
    (_, first), _ = workers.train(task(tmp_path / "go on"))
    os.kill(first, signal.SIGKILL)
    (_, second), path = workers.train(task(tmp_path / "go on"))
    assert second != first and path == tmp_path / "go on"


@pytest.mark.faults
def test_training_survives_its_server(start: Start, tmp_path: Path) -> None:
    messages = start(light.answer_late).train(task(tmp_path / "go on"))
    _, server = next(messages)
    os.kill(server, signal.SIGKILL)
    (tmp_path / "go on").touch()
    assert list(messages) == [tmp_path / "go on"]


@pytest.mark.faults
def test_training_that_outlives_its_server_is_ended_as_others_are(start: Start) -> None:
    messages = start(light.hang).train(task())
    pid, server = next(messages)
    os.kill(server, signal.SIGKILL)
    messages.close()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.faults
def test_training_that_is_killed_with_its_server_is_the_machine_s_fault(start: Start, tmp_path: Path) -> None:
    workers = start(light.answer_late)
    messages = workers.train(task(tmp_path / "go on"))
    for pid in reversed(next(messages)):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(UserError, match=r"the one that starts them was killed.*; free memory, .*the same command"):
        list(messages)
    (tmp_path / "go on").touch()
    assert len(list(workers.train(task(tmp_path / "go on")))) == 2


@pytest.mark.faults
def test_killed_training_alone_is_a_failed_training(start: Start) -> None:
    messages = start(light.hang).train(task())
    os.kill(next(messages)[0], signal.SIGKILL)
    with pytest.raises(TrainingFailed, match=r"killed \(exit code -9\), as the system does when memory runs out"):
        list(messages)


def test_library_that_does_not_load_is_named_in_one_line_and_its_trace_is_in_the_log(
    start: Start, tmp_path: Path
) -> None:
    workers = start(preload=["tests.support.training.broken"])
    with pytest.raises(
        UserError, match=r"load their libraries, but ImportError: libcublas\.so\.12: cannot.*; see .*log"
    ):
        workers.predict(task())
    assert "Traceback" in (tmp_path / "worker.log").read_text()


def test_server_that_dies_again_and_again_ends_the_run(start: Start) -> None:
    workers = start(preload=["tests.support.training.fatal"])
    with pytest.raises(
        UserError, match=r"ended 3 times in a row \(exit code -9\); free memory, .*; *it goes on|goes on"
    ):
        workers.predict(task())


def test_machine_that_lacks_something_for_a_moment_is_waited_for(start: Start) -> None:
    workers = start(light.answer)
    workers.predict(task())
    (server,) = psutil.Process().children()
    before = server.rlimit(psutil.RLIMIT_NOFILE)
    server.rlimit(psutil.RLIMIT_NOFILE, (3, before[1]))
    repair = threading.Timer(0.5, server.rlimit, (psutil.RLIMIT_NOFILE, before))
    repair.start()
    assert workers.predict(task("/m")) == Path("/m")


def test_wait_for_the_machine_ends_when_the_run_is_to_stop(start: Start) -> None:
    stop = threading.Event()
    workers = start(light.answer, stop=stop)
    workers.predict(task())
    (server,) = psutil.Process().children()
    server.rlimit(psutil.RLIMIT_NOFILE, (3, server.rlimit(psutil.RLIMIT_NOFILE)[1]))
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Interrupted):
        workers.predict(task())


def test_too_many_open_files_are_said_in_one_line_and_the_remedy_helps(start: Start) -> None:
    workers = start()
    workers.predict(task())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened[0] + 1, hard))
    try:
        with pytest.raises(
            UserError, match=r"Too many open files; .*open files \(ulimit\), or lower --workers"
        ) as said:
            start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(opened[0])
    assert "\n" not in str(said.value)
    assert start().predict(task("/m")) == Path("/m")


WITHOUT_GUARD = """
import threading
from pathlib import Path
import numpy as np
from search.worker.local import WorkerProcesses
from search.worker.tasks import PredictTask
from tests.support.training import light
with WorkerProcesses(Path("worker.log"), threading.Event(), serve=light.answer, preload=[light.__name__]) as workers:
    print(workers.predict(PredictTask(Path("/m"), np.zeros(0))))
"""
ABOVE = {
    "nothing": "",
    "a forkserver": """
import multiprocessing
multiprocessing.set_start_method("forkserver")
multiprocessing.set_forkserver_preload(["__main__", "no_such_module"])
multiprocessing.forkserver.ensure_running()
""",
    "settings": """
import decimal, locale, multiprocessing, os, signal, sys, warnings
multiprocessing.set_start_method("spawn")
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.environ.clear()
os.environ["PYTHONWARNINGS"] = "error"
warnings.simplefilter("error")
decimal.getcontext().prec = 1
sys.path += [3, "relative", "", "/no/such/folder"]
sys.setrecursionlimit(200)
""",
}


def run_python(words: Sequence[str], folder: Path, text: str = "") -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    child = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, input=text, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    return child.stdout


@pytest.mark.parametrize("above", ABOVE)
def test_script_needs_no_guard_and_may_set_what_it_likes(tmp_path: Path, above: str) -> None:
    (tmp_path / "script.py").write_text(ABOVE[above] + WITHOUT_GUARD)
    assert run_python(["script.py"], tmp_path) == "/m\n"


@pytest.mark.parametrize("words", [["-"], ["-c", WITHOUT_GUARD]])
def test_program_need_not_be_a_file_that_can_be_imported(tmp_path: Path, words: list[str]) -> None:
    assert run_python(words, tmp_path, WITHOUT_GUARD) == "/m\n"
