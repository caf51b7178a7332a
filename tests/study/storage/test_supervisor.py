"""A study in PostgreSQL: one run at a time has it, whatever happens to runs and database, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from fmnist.errors import UserError
from search.study.optuna_private import id_of
from search.study.storage.opening import StudyStorage, look_into_storage, open_storage
from search.study.storage.retry import RetryPolicy
from search.study.storage.supervisor import Claim, hold_in_postgresql, refuse_held
from search.study.study import check_shared_identity
from tests.support.postgres import PASSWORD, Server, programs
from tests.support.spaces import QUICK
from tests.support.training.fake_process import SECONDS_VARIABLE, accuracy_of

ROOT = Path(__file__).parents[3]
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


def another(server: Server) -> StudyStorage:
    """The same database, as another run has it."""
    return open_storage(server.url)


def claimed(storage: StudyStorage, claim: Claim, name: str = "s") -> optuna.Study:
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    claim(study)
    return study


@pytest.mark.follows("study {} is in use by another run ({}), and takes one at a time; wait for its end")
def test_second_run_is_told_who_has_the_study_until_that_ends(server: Server, storage: StudyStorage) -> None:
    us = f"{os.getpid()} on {socket.gethostname()}"
    other = another(server)
    with hold_in_postgresql(storage, "s") as claim:
        for _ in range(2):  # before it is claimed, and after
            with pytest.raises(UserError, match=f"study s is in use by another run .*process {us}"):
                refuse_held(other, "s")
            study = claimed(storage, claim)
        assert study.user_attrs["supervisor"]["run"] == f"process {us}"
        with pytest.raises(UserError, match="choose another name with --study"):
            hold_in_postgresql(other, "s").__enter__()
        with hold_in_postgresql(other, "named otherwise"):
            pass
        study.ask()  # the one that has it goes on
    with hold_in_postgresql(other, "s") as claim:
        claimed(other, claim).ask()


def test_run_that_has_a_study_keeps_it_through_an_outage(server: Server, storage: StudyStorage) -> None:
    with hold_in_postgresql(storage, "kept") as claim:
        study = claimed(storage, claim, "kept")
        server.stop()
        server.start()
        study.tell(study.ask(), 0.5)
        with pytest.raises(UserError, match="in use by another run"):
            refuse_held(another(server), "kept")


@pytest.mark.follows("study {} was taken over by another run ({}) while its database was away, so this one ends; wait")
def test_run_whose_study_was_taken_over_in_an_outage_writes_nothing_more(server: Server, storage: StudyStorage) -> None:
    other_storage = another(server)
    with hold_in_postgresql(storage, "lost") as claim:
        study = claimed(storage, claim, "lost")
        trial = study.ask()
        server.stop()
        server.start()
        with hold_in_postgresql(other_storage, "lost") as claim_of_other:
            other = claimed(other_storage, claim_of_other, "lost")
            for _ in range(2):
                with pytest.raises(UserError, match="taken over by another run"):
                    study.tell(trial, 0.5)
            assert other.trials[0].state == TrialState.RUNNING
        with pytest.raises(UserError, match="taken over by another run"):
            study.ask()  # nor once the other has ended: it may have done anything
    with hold_in_postgresql(storage, "lost") as claim:
        assert claimed(storage, claim, "lost").trials[0].state == TrialState.RUNNING


@pytest.mark.follows("the connection to {} was cut while study {} was opened; run the same command again")
def test_outage_before_the_study_is_claimed_ends_the_run(server: Server, storage: StudyStorage) -> None:
    with hold_in_postgresql(storage, "early") as claim:
        server.stop()
        server.start()
        with pytest.raises(UserError, match="was cut while study early was opened; run the same command again"):
            claimed(storage, claim, "early")
    with hold_in_postgresql(storage, "early") as claim:
        claimed(storage, claim, "early")


def test_machine_that_died_without_a_word_is_noticed_within_half_a_minute(storage: StudyStorage) -> None:
    with storage.engine.connect() as connection:
        settings = [f"tcp_keepalives_{name}" for name in ("idle", "interval", "count")]
        values = [int(connection.scalar(sqlalchemy.text(f"SHOW {setting}"))) for setting in settings]
    idle, interval, count = values
    assert 0 < idle + interval * count <= 30


def made_role(server: Server, name: str, *grants: str) -> str:
    """Make a user of the database, and return the URL by which it connects."""
    engine = sqlalchemy.create_engine(server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE ROLE {name} LOGIN PASSWORD 'word'"))
        for grant in grants:
            connection.execute(sqlalchemy.text(grant.format(name)))
    return f"postgresql://{name}:word@127.0.0.1:{server.port}/postgres"


def test_database_without_a_second_connection_is_refused_in_one_line(server: Server, storage: StudyStorage) -> None:
    new_study(storage)  # the tables are there
    url = made_role(server, "few", "ALTER ROLE {} CONNECTION LIMIT 1", "GRANT ALL ON ALL TABLES IN SCHEMA public TO {}")
    with pytest.raises(UserError, match=r"does not answer \(.*too many connections for role") as refused:
        open_storage(url)
    assert "\n" not in str(refused.value)


def test_user_who_may_not_make_the_tables_is_told_so_by_a_run_as_by_a_check(server: Server, tmp_path: Path) -> None:
    url = made_role(server, "weak", "CREATE SCHEMA empty", "ALTER ROLE {} SET search_path = empty")
    for opened in (open_storage, lambda url: look_into_storage(url, tmp_path)):
        with pytest.raises(UserError, match="is empty, and its user may not create tables there; grant that"):
            opened(url)


def test_study_of_a_version_that_shared_it_among_machines_goes_on(server: Server, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        old_storage = RDBStorage(server.url, heartbeat_interval=15, grace_period=150)
    old = optuna.create_study(study_name="old", storage=old_storage, direction="maximize")
    old.set_user_attr("supervisor elsewhere:/data/studies/old", {"python": "3.11"})
    for value in (0.5, None):
        trial = old.ask()
        trial.set_user_attr("owner", {"host": "elsewhere", "pid": 12, "started": 1.0})
        old_storage.record_heartbeat(id_of(trial))
        if value is not None:
            trial.set_user_attr("reason", "complete")
            old.tell(trial, value)
    run = start(server, tmp_path, "old", 6)
    assert run.wait(timeout=120) == 0, tail(tmp_path)
    trials = optuna.load_study(study_name="old", storage=another(server)).trials
    assert len(trials) == 6 and trials[0].value == 0.5
    assert all(trial.state.is_finished() for trial in trials)
    assert trials[1].user_attrs["n_losses"] == 1


def test_what_differs_between_machines_is_refused_by_name(server: Server, storage: StudyStorage) -> None:
    study = new_study(storage)
    check_shared_identity(study, {"data_checksums": {"train": "a"}, "storage": "postgresql://db/x"})
    other = optuna.load_study(study_name=study.study_name, storage=another(server))
    check_shared_identity(other, {"data_checksums": {"train": "a"}, "storage": "postgresql://127.0.0.1/x"})
    with pytest.raises(UserError, match=r"data_checksums\.train = a, but now it is b"):
        check_shared_identity(other, {"data_checksums": {"train": "b"}})


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


def test_transaction_that_stood_still_for_too_long_is_tried_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.study.storage.opening.IDLE_SECONDS", 1)
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
    folder.mkdir(exist_ok=True, parents=True)
    log = (folder / "run.txt").open("ab")
    environment = {**os.environ, SECONDS_VARIABLE: str(seconds)}
    return subprocess.Popen([*command, *places, *options], cwd=ROOT, env=environment, stdout=log, stderr=log)


def check_ledger(server: Server, study_name: str, folders: list[Path], n_trials: int) -> None:
    """Exactly the trials asked for, each with the reports that its seed gives, and each of these was sent."""
    trials = optuna.load_study(study_name=study_name, storage=another(server)).trials
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
def test_runs_are_killed_and_go_on_elsewhere_while_the_database_is_restarted(server: Server, tmp_path: Path) -> None:
    n_trials, n_kills = 90, 3
    folders = [tmp_path / f"machine-{i}" for i in range(n_kills + 1)]
    with ExitStack() as stack:
        for i, folder in enumerate(folders):
            run = start(server, folder, "moved", n_trials, seconds=0.03)
            stack.callback(run.kill)
            wait_for_trials(server, "moved", (i + 1) * n_trials // 10)  # the last has more than half of them to go
            server.stop()
            time.sleep(1)
            server.start()
            if i < n_kills:
                run.kill()
                run.wait()
        assert run.wait(timeout=600) == 0, tail(folders[-1])
    assert "answers again" in (folders[-1] / "run.txt").read_text()
    check_ledger(server, "moved", folders, n_trials)
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


def test_second_run_is_refused_and_leaves_the_first_alone(server: Server, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = start(server, tmp_path / "a", "both", 1000, seconds=0.2)
        stack.callback(first.kill)
        wait_for_trials(server, "both", 1)
        for name, more in (("b", ()), ("c", ("--check",))):
            other = start(server, tmp_path / name, "both", 1000, *more)
            assert other.wait(timeout=120) == 2, tail(tmp_path / name)
            said = tail(tmp_path / name).splitlines()[-1]
            assert f"in use by another run (fmnist-search, process {first.pid} on {socket.gethostname()})" in said
        first.send_signal(signal.SIGINT)
        assert first.wait(timeout=60) == 130, tail(tmp_path / "a")
    assert not (tmp_path / "b" / "both" / "config.json").exists()
    trials = optuna.load_study(study_name="both", storage=another(server)).trials
    n_ended = sum(trial.state.is_finished() for trial in trials)
    last = start(server, tmp_path / "b", "both", n_ended + 3)
    assert last.wait(timeout=120) == 0, tail(tmp_path / "b")
    ended = [trial for trial in trials if trial.state.is_finished()]
    after = optuna.load_study(study_name="both", storage=another(server)).trials
    assert [after[trial.number] for trial in ended] == ended
    assert sum(trial.state.is_finished() for trial in after) == n_ended + 3


def real_run(server: Server, folder: Path, n_trials: int, *more: str) -> subprocess.Popen[str]:
    options = ["--dataset", "digits", "--study", "whole", "--space", str(QUICK), "--workers", "1", "--pruner", "none"]
    places = ["--storage", server.url, "--studies-dir", str(folder), "--trials", str(n_trials)]
    command = [sys.executable, "-m", "search.run", *options, *places, *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_study_that_another_machine_has_finished_takes_nothing_more(server: Server, tmp_path: Path) -> None:
    first = real_run(server, tmp_path / "a", 1)
    said = first.communicate(timeout=280)[0]
    assert first.returncode == 0, said
    (report,) = tmp_path.glob("*/whole/report.html")

    second = real_run(server, tmp_path / "b", 1)
    place = f"its model and report are at {socket.gethostname()}:{report.parent}"
    assert place in second.communicate(timeout=60)[0]
    assert second.returncode == 0
    more = real_run(server, tmp_path / "c", 2)
    assert "error: study whole has opened its test set" in more.communicate(timeout=60)[0]
    assert more.returncode == 2
    late = real_run(server, tmp_path / "d", 1, "--baselines")
    assert "error: study whole has opened its test set without the baselines" in late.communicate(timeout=60)[0]
    assert late.returncode == 2
