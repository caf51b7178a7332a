"""Several supervisors on one PostgreSQL: the budget stays exact, nothing is lost, one of them finishes the study."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from fmnist.errors import UserError
from search.study import leases
from search.study.leases import TrialLeases
from search.study.optuna_private import id_of
from search.study.retry import RetryPolicy
from search.study.storage import AlreadyQueued, BudgetSpent, StudyStorage, open_storage
from search.study.study import check_shared_identity
from tests.support.postgres import PASSWORD, Server, programs
from tests.support.spaces import QUICK
from tests.support.training.fake_process import SECONDS_VARIABLE, accuracy_of

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.process,
    pytest.mark.postgres,
    pytest.mark.skipif(programs() is None, reason="no PostgreSQL server here; install Debian's package postgresql"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def storage(server: Server) -> Iterator[StudyStorage]:
    storage = open_storage(server.url)
    storage.retry_policy = RetryPolicy(seconds=60)
    yield storage
    storage.engine.dispose()


def new_study(storage: StudyStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, direction="maximize")


def temporary(study: optuna.Study, server: Server) -> tuple[optuna.Study, StudyStorage]:
    """The same study, as another supervisor has it."""
    storage = open_storage(server.url)
    return optuna.load_study(study_name=study.study_name, storage=storage), storage


def test_budget_holds_for_two_supervisors(server: Server, storage: StudyStorage) -> None:
    study = new_study(storage)
    other, other_storage = temporary(study, server)
    storage.budget = other_storage.budget = 3
    for each in (study, other, study):
        each.ask()
    for each in (study, other):
        with pytest.raises(BudgetSpent):
            each.ask()


def test_portfolio_is_queued_once(server: Server, storage: StudyStorage) -> None:
    study = new_study(storage)
    other, _ = temporary(study, server)
    study.enqueue_trial({"x": 1}, user_attrs={"origin": "default"})
    with pytest.raises(AlreadyQueued):
        other.enqueue_trial({"x": 1}, user_attrs={"origin": "default"})


def test_live_trial_of_another_supervisor_is_left_alone(server: Server, storage: StudyStorage) -> None:
    study = new_study(storage)
    TrialLeases(study, storage).acquire()
    other, other_storage = temporary(study, server)
    assert TrialLeases(other, other_storage).requeue_lost() == []


def test_silent_trial_of_another_machine_waits_again(
    server: Server, storage: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases.socket, "gethostname", lambda: "elsewhere")
    study = new_study(storage)
    TrialLeases(study, storage).acquire()
    monkeypatch.undo()
    other, other_storage = temporary(study, server)
    other_storage.grace_period = 4
    assert TrialLeases(other, other_storage).requeue_lost() == []
    time.sleep(5)
    assert TrialLeases(other, other_storage).requeue_lost() == [0]
    assert other.trials[0].state == TrialState.WAITING


def test_trial_that_was_never_signed_waits_again(server: Server, storage: StudyStorage) -> None:
    study = new_study(storage)
    study.ask()
    other, other_storage = temporary(study, server)
    other_storage.grace_period = 0.5
    watching = TrialLeases(other, other_storage)
    assert watching.requeue_lost() == []
    time.sleep(1)
    assert watching.requeue_lost() == [0]


def test_trial_that_another_supervisor_ran_before_it_was_signed_is_passed_over(
    server: Server, storage: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(storage)
    other, _ = temporary(study, server)
    stood_still = TrialLeases(study, storage)
    beat = stood_still.send_heartbeat

    def finish_elsewhere_then_beat(trial_id: int) -> None:
        if trial_id == id_of(study.trials[0]):
            other.tell(0, 0.7)
        beat(trial_id)

    monkeypatch.setattr(stood_still, "send_heartbeat", finish_elsewhere_then_beat)
    assert stood_still.acquire().number == 1
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert stood_still.release() == [1]


def test_late_result_of_a_trial_that_waits_again_is_kept(server: Server, storage: StudyStorage) -> None:
    study = new_study(storage)
    slow = TrialLeases(study, storage)
    trial = slow.acquire()
    storage.requeue(id_of(trial), study.trials[0].user_attrs["owner"], 1)
    assert slow.finish(trial, TrialState.COMPLETE, 0.7)
    assert study.trials[0].value == 0.7


def test_late_result_of_a_trial_that_runs_elsewhere_is_kept_and_the_second_one_is_dropped(
    server: Server, storage: StudyStorage
) -> None:
    study = new_study(storage)
    slow = TrialLeases(study, storage)
    trial = slow.acquire()
    storage.requeue(id_of(trial), study.trials[0].user_attrs["owner"], 1)
    other, other_storage = temporary(study, server)
    quick = TrialLeases(other, other_storage)
    again = quick.acquire()
    assert again.number == trial.number
    assert slow.finish(trial, TrialState.COMPLETE, 0.7)
    assert not quick.finish(again, TrialState.COMPLETE, 0.7)
    assert len(study.trials) == 1


def test_trial_is_taken_back_from_its_own_owner_only(storage: StudyStorage) -> None:
    study = new_study(storage)
    trial = TrialLeases(study, storage).acquire()
    assert not storage.requeue(id_of(trial), {"host": "elsewhere", "pid": 1, "started": 0.0}, 1)
    assert study.trials[0].state == TrialState.RUNNING


def test_what_differs_between_machines_is_refused_by_name(server: Server, storage: StudyStorage) -> None:
    study = new_study(storage)
    check_shared_identity(study, {"data_checksums": {"train": "a"}, "storage": "postgresql://db/x"})
    other, _ = temporary(study, server)
    check_shared_identity(other, {"data_checksums": {"train": "a"}, "storage": "postgresql://127.0.0.1/x"})
    with pytest.raises(UserError, match=r"data_checksums\.train = a, but now it is b"):
        check_shared_identity(other, {"data_checksums": {"train": "b"}})


def test_one_at_a_time_leads(server: Server, storage: StudyStorage) -> None:
    other_storage = open_storage(server.url)
    leaders = (storage.leading("s"), other_storage.leading("s"), other_storage.leading("another"))
    with leaders[0] as first, leaders[1] as second, leaders[2] as of_another:
        assert (first(), second(), of_another()) == (True, False, True)
        assert first() and not second()
    for _ in range(100):  # the server notices within a moment that the connection, and the lock with it, is gone
        with other_storage.leading("s") as later:
            if later():
                return
        time.sleep(0.1)
    pytest.fail("nobody leads after the leader has left")


def test_database_that_goes_away_is_waited_for_and_said_once(server: Server, storage: StudyStorage) -> None:
    said: list[str] = []
    study = new_study(storage)
    storage.retry_policy = RetryPolicy(said.append, seconds=60)
    server.stop()
    restart = _later(1.5, server.start)
    trial = study.ask()
    restart.join()
    study.tell(trial, 0.5)
    assert [trial.value for trial in study.trials] == [0.5]
    assert ["does not answer" in said[0], "answers again" in said[1], len(said)] == [True, True, 2]
    assert 0 < storage.retry_policy.seconds_since_return() < 60


def test_leader_is_found_although_the_database_was_away(server: Server, storage: StudyStorage) -> None:
    server.stop()
    restart = _later(1, server.start)
    with storage.leading("after an outage") as leads:
        assert leads()
    restart.join()


def test_leader_that_an_outage_has_cut_off_leads_on_unless_another_took_over(
    server: Server, storage: StudyStorage
) -> None:
    other_storage = open_storage(server.url)
    with storage.leading("s") as first, other_storage.leading("s") as second:
        assert first()
        server.stop()
        server.start()
        assert first() and not second()
        server.stop()
        server.start()
        assert second() and not first()


def test_transaction_that_stood_still_for_too_long_is_tried_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.study.storage.IDLE_SECONDS", 1)
    storage = open_storage(server.url)
    storage.retry_policy = RetryPolicy(seconds=60)
    tries: list[bool] = []

    def stand_still_once() -> None:
        with storage.engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
            time.sleep(0 if tries else 1.5)
            tries.append(True)
            connection.execute(sqlalchemy.text("SELECT 2"))

    storage.retry_policy.call(stand_still_once)
    assert len(tries) == 2


def test_patience_ends_in_one_line(server: Server) -> None:
    storage = open_storage(server.url)
    study = new_study(storage)
    storage.retry_policy = RetryPolicy(seconds=0.5)
    server.stop()
    try:
        with pytest.raises(UserError, match=r"has not answered for 0 s .*the same command goes on from here"):
            study.ask()
    finally:
        server.start()


def _later(seconds: float, function: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, function)
    timer.start()
    return timer


def start(
    server: Server, folder: Path, study: str, n_trials: int, *options: str, seconds: float = 0.01
) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "tests.support.training.fakes",
        "--dataset",
        "digits",
        "--study",
        study,
        "--workers",
        "2",
    ]
    places = ["--storage", server.url, "--studies-dir", str(folder), "--trials", str(n_trials), "--search-only"]
    folder.mkdir(exist_ok=True)
    log = (folder / "run.txt").open("ab")
    environment = {**os.environ, SECONDS_VARIABLE: str(seconds), "FAKE_HEARTBEAT": "1 8 3"}
    return subprocess.Popen([*command, *places, *options], cwd=ROOT, env=environment, stdout=log, stderr=log)


def check_ledger(server: Server, study_name: str, folders: list[Path], n_trials: int) -> None:
    """Exactly the trials asked for, each with the reports that its seed gives, and each of these was sent."""
    trials = optuna.load_study(study_name=study_name, storage=open_storage(server.url)).trials
    assert len(trials) == n_trials
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    sent = {
        tuple(json.loads(line))
        for folder in folders
        for path in folder.rglob("reported.jsonl")
        for line in path.read_text().splitlines()
    }
    values_sent = {value for _, _, _, value in sent}
    assert {value for trial in trials for value in trial.intermediate_values.values()} <= values_sent
    assert all(accuracy_of(seed, length, n_images) == value for seed, length, n_images, value in sent)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_four_supervisors_one_killed_one_stopped_the_database_restarted_twice(server: Server, tmp_path: Path) -> None:
    n_trials = int(os.environ.get("MACHINES_TRIALS", "120"))
    folders = [tmp_path / f"machine-{i}" for i in range(4)]
    with ExitStack() as stack:
        runs = [start(server, folder, "four", n_trials) for folder in folders]
        for run in runs:
            stack.callback(run.kill)
        wait_for_trials(server, "four", n_trials // 8)
        runs[0].send_signal(signal.SIGKILL)
        runs[1].send_signal(signal.SIGSTOP)
        server.stop()
        time.sleep(1)
        server.start()
        wait_for_trials(server, "four", n_trials // 2)
        time.sleep(10)  # past the heartbeat's grace
        runs[1].send_signal(signal.SIGCONT)
        server.stop()
        server.start()
        assert [run.wait(timeout=600) for run in runs[1:]] == [0, 0, 0], [tail(folder) for folder in folders]
    check_ledger(server, "four", folders, n_trials)
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*.txt"))
    assert "Traceback" not in written
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes(), path


def tail(folder: Path) -> str:
    return (folder / "run.txt").read_text()[-2000:]


def wait_for_trials(server: Server, study_name: str, n: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            trials = optuna.load_study(study_name=study_name, storage=open_storage(server.url)).trials
        except (KeyError, UserError):  # not there yet
            trials = []
        if sum(trial.state.is_finished() for trial in trials) >= n:
            return
        time.sleep(0.5)
    raise TimeoutError(f"{n} trials did not finish")


@pytest.mark.slow
def test_password_is_not_on_the_command_line(server: Server, tmp_path: Path) -> None:
    with ExitStack() as stack:
        run = start(server, tmp_path, "quiet", 3, seconds=0.3)
        stack.callback(run.kill)
        wait_for_trials(server, "quiet", 1)
        command_line = Path(f"/proc/{run.pid}/cmdline").read_bytes()
        assert run.wait(timeout=120) == 0, tail(tmp_path)
    assert PASSWORD.encode() not in command_line
    assert b"postgresql://searcher@127.0.0.1" in command_line


def test_second_supervisor_leaves_when_the_search_is_complete(server: Server, tmp_path: Path) -> None:
    first, second = (start(server, tmp_path / name, "both", 6) for name in "ab")
    assert [first.wait(timeout=120), second.wait(timeout=120)] == [0, 0], [tail(tmp_path / name) for name in "ab"]
    check_ledger(server, "both", [tmp_path], 6)


def real_run(server: Server, folder: Path, n_trials: int, *more: str) -> subprocess.Popen[str]:
    options = ["--dataset", "digits", "--study", "whole", "--space", str(QUICK), "--workers", "1", "--pruner", "none"]
    places = ["--storage", server.url, "--studies-dir", str(folder), "--trials", str(n_trials)]
    command = [sys.executable, "-m", "search.run", *options, *places, *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_one_of_two_machines_confirms_and_retrains_and_a_third_is_told_where_the_report_is(
    server: Server, tmp_path: Path
) -> None:
    runs = [real_run(server, tmp_path / name, 3) for name in "ab"]
    said = [run.communicate(timeout=280)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    reports = [path for path in tmp_path.glob("*/whole/report.html")]
    assert len(reports) == 1
    (left,) = (text for text in said if "report.html" not in text)
    assert "the search is complete" in left or "is finished" in left

    third = real_run(server, tmp_path / "c", 3)
    assert f"its model and report are at {socket.gethostname()}:{reports[0].parent}" in third.communicate(timeout=60)[0]
    assert third.returncode == 0
    more = real_run(server, tmp_path / "d", 4)
    assert "error: study whole has opened its test set" in more.communicate(timeout=60)[0]
    assert more.returncode == 2
    late = real_run(server, tmp_path / "e", 3, "--baselines")
    assert "error: study whole has opened its test set without the baselines" in late.communicate(timeout=60)[0]
    assert late.returncode == 2
