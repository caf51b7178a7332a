"""python -m search.run --check: what it refuses, what it says, and that it leaves nothing."""

from __future__ import annotations

import multiprocessing.util
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import filelock
import optuna
import pytest
import sqlalchemy

from fmnist.cli import EXIT_USER_ERROR
from search.estimate import check
from search.records.files import StudyFiles
from search.run import main
from search.targets.probing import aim
from search.worker.tasks import TrainingFailed
from tests.support.measured import Measured
from tests.support.postgres import Server, programs
from tests.support.training import fakes

pytestmark = pytest.mark.process  # most start fake workers

ROOT = Path(__file__).parents[2]
DIGITS = ("--dataset", "digits", "--study", "tried", "--trials", "4", "--workers", "2")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made; not the fork server's, whose socket may have a path of 107 characters."""
    multiprocessing.util.get_temp_dir()
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Check with trainings that train nothing. Gives the exit code and what was said, and claims that everything below
    the folder is as it was."""

    def run(*options: object) -> tuple[int, str, str]:
        before = snapshot(tmp_path)
        arguments = ["--check", "--studies-dir", str(tmp_path / "studies"), *map(str, options or DIGITS)]
        code = main(arguments, worker_processes=fakes.fake_workers)
        output = capsys.readouterr()
        assert snapshot(tmp_path) == before, "something was left or changed"
        return code, output.out, output.err

    return run


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file below, with its content."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A study whose search ended after four trials."""
    arguments = ["--studies-dir", str(tmp_path / "studies"), *DIGITS, "--search-only"]
    assert main(arguments, worker_processes=fakes.fake_workers) == 0
    return tmp_path / "studies" / "tried"


def test_networks_are_measured_for_a_target_and_nothing_of_it_is_left(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured()
    monkeypatch.setattr("search.context.aim", partial(aim, measure_networks=measured))
    code, out, err = checked(*DIGITS, "--max-bytes", "15kB")
    assert (code, err) == (0, "")
    assert "measuring 12 untrained networks as litert-int8-full" in out
    assert measured.n_calls == 1
    assert re.search(r"^measuring +\d+ s", out, re.MULTILINE), out


def test_run_that_can_start_is_said_to_and_nothing_is_left(checked, tmp_path: Path) -> None:
    code, out, err = checked()
    assert (code, err) == (0, "")
    assert "The run can start" in out
    for phase in ("search", "finalists", "students", "ensemble", "testing", "in all"):
        assert re.search(rf"^{phase} +.*\d (s|min|h)", out, re.MULTILINE), out
    assert not (tmp_path / "studies").exists()


def test_output_without_a_terminal_is_plain_and_fits_in_80_columns(checked) -> None:
    _, out, _ = checked()
    assert "\x1b" not in out
    too_long = [line for line in out.splitlines() if len(line) > 80 and "images/s" not in line]
    assert not too_long


def test_folders_of_trackers_are_left_to_the_run(checked, tmp_path: Path) -> None:
    assert checked(*DIGITS, "--tensorboard", str(tmp_path / "tb"))[0] == 0


def test_search_only_estimates_the_search_alone(checked) -> None:
    _, out, _ = checked(*DIGITS, "--search-only")
    assert "search" in out and "students" not in out


@pytest.mark.slow
@pytest.mark.parametrize("timeout", [(), ("--timeout", "600")])
def test_networks_of_every_size_are_counted_with_their_students_and_files(checked, timeout: tuple[str, ...]) -> None:
    code, said, _ = checked(*DIGITS, "--front", *timeout)
    rows = {line.split()[0] for line in said.splitlines() if line}
    assert code == 0
    assert {"search", "finalists", "students", "testing", "files"} <= rows


def test_timeout_says_what_it_leaves_room_for(checked) -> None:
    said = " ".join(checked(*DIGITS, "--timeout", "1e6")[1].split())
    assert re.search(
        r"--timeout 1e\+06 leaves room for 4 of 4 trials, \d finalists of [\d.]+ full trainings each, 1 student of 8",
        said,
    )
    said = " ".join(checked(*DIGITS[:-4], "--trials", "500", "--timeout", "2")[1].split())
    assert re.search(r"--timeout 2 leaves room for \d+ of 500 trials", said)


def test_study_that_can_go_on_is_told_with_what_is_left(checked, begun: Path) -> None:
    code, out, _ = checked(*DIGITS[:-4], "--trials", "10")
    assert code == 0
    assert "4 finished trials; 6 are left" in " ".join(out.split())


def test_writes_that_a_killed_run_has_left_beside_its_database_stay_there(checked, begun: Path, tmp_path: Path) -> None:
    files = StudyFiles(begun)
    connection = sqlite3.connect(files.storage)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    with connection:
        connection.execute("UPDATE trials SET state = 'WAITING' WHERE number = 3")
    temporary = Path(f"{files.storage}-wal")
    lost, kept = temporary.read_bytes(), files.storage.read_bytes()
    connection.close()
    files.storage.write_bytes(kept)
    temporary.write_bytes(lost)
    code, out, err = checked(*DIGITS[:-4], "--trials", "10")
    assert code == 0, err
    assert "3 finished trials; 7 are left" in " ".join(out.split())


def refusal(outcome: tuple[int, str, str]) -> str:
    code, _, err = outcome
    assert (code, len(err.splitlines())) == (EXIT_USER_ERROR, 1), err
    return err.removeprefix("error: ").strip()


def test_study_with_another_identity_is_refused_as_the_run_would(checked, begun: Path, tmp_path: Path, capsys) -> None:
    other = [*DIGITS, "--seed", "7"]
    said = refusal(checked(*other))
    assert "was made with" in said
    assert main(["--studies-dir", str(tmp_path / "studies"), *other], worker_processes=fakes.fake_workers) == 2
    assert capsys.readouterr().err.strip() == f"error: {said}"


def test_identity_that_is_in_a_named_storage_alone_counts_too(checked, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'named.db'}"
    study = optuna.create_study(study_name="tried", storage=url)
    study.set_user_attr("identity", {"seed": 5})
    assert "study tried was made with" in refusal(checked(*DIGITS, "--storage", url))


def test_folder_that_another_run_holds_is_refused(checked, begun: Path) -> None:
    with filelock.FileLock(StudyFiles(begun).lock):
        assert "is in use by another run" in refusal(checked())
    assert checked()[0] == 0


def test_storage_that_another_run_holds_is_refused(checked, tmp_path: Path) -> None:
    path = tmp_path / "named.db"
    with filelock.FileLock(f"{path}.lock"):
        assert "is in use by another run, and SQLite" in refusal(checked(*DIGITS, "--storage", f"sqlite:///{path}"))


def test_folder_that_cannot_be_made_is_refused(checked, tmp_path: Path) -> None:
    (tmp_path / "studies").write_text("a file")
    assert "cannot write to" in refusal(checked())


def test_network_file_system_is_refused(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.study.storage.opening.network_file_system", lambda path: "nfs4")
    assert "SQLite loses data on a network file system" in refusal(checked())


def test_database_that_does_not_answer_is_refused(checked) -> None:
    assert "does not answer" in refusal(checked(*DIGITS, "--storage", "postgresql://someone@127.0.0.1:1/none"))


def test_space_with_a_slip_is_refused(checked, tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text("[limits]\n")
    assert str(path) in refusal(checked(*DIGITS, "--space", path))


def test_limits_that_leave_no_network_are_refused(checked) -> None:
    assert "some network must be within the limits" in refusal(checked(*DIGITS, "--max-parameters", "1"))


def test_full_disk_is_refused_before_it_is_full(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "free_bytes", lambda folder: 1000)
    assert "must have room for about" in refusal(checked())


def test_memory_limit_that_no_training_keeps_is_refused(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TrainingFailed("memory", "the process used 300 MB, over its limit of 1 MB")

    monkeypatch.setattr(check, "seconds_to_first_training", fail)
    assert "300 MB, over its limit of 1 MB; raise --memory-limit" in refusal(checked(*DIGITS, "--memory-limit", "1"))


@pytest.mark.slow
def test_real_check_tries_networks_and_leaves_the_folder_as_it_was(tmp_path: Path, scratch: Path) -> None:
    short = Path(tempfile.mkdtemp(dir="/tmp"))  # for the fork server's socket
    command = [sys.executable, "-m", "search.run", "--check", *DIGITS, "--studies-dir", str(tmp_path / "studies")]
    environment = os.environ | {"TMPDIR": str(short)}
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert child.returncode == 0, child.stderr
    assert "The run can start." in child.stdout
    assert "images/s" in child.stdout
    assert list(tmp_path.rglob("*")) == [scratch]
    short.rmdir()  # it is empty


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.skipif(programs() is None, reason="no PostgreSQL server's programs here")
def test_database_has_the_same_rows_before_and_after(checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def content() -> dict[str, list]:
        engine = sqlalchemy.create_engine(server.url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            tables = sqlalchemy.inspect(connection).get_table_names()
            return {
                table: sorted(map(str, connection.execute(sqlalchemy.text(f'SELECT * FROM "{table}"'))))
                for table in tables
            }

    monkeypatch.setattr("tempfile.tempdir", None)  # the server's user may not look into ours
    with Server() as server:
        options = (*DIGITS, "--storage", server.url)
        assert content() == {}
        assert checked(*options)[0] == 0
        assert content() == {}, "an empty database stays empty"
        arguments = ["--studies-dir", str(tmp_path / "studies"), *options, "--search-only"]
        assert main(arguments, worker_processes=fakes.fake_workers) == 0
        before = content()
        code, out, _ = checked(*options[:-6], "--trials", "9", "--storage", server.url)
        assert code == 0 and "4 finished trials; 5 are left" in " ".join(out.split())
        assert "was made with" in refusal(checked(*options, "--seed", "3"))
        assert content() == before
