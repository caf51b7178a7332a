"""Folders and databases that cannot be used: one line on standard error, exit code 2, no study begun."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist.data.find import find_data
from fmnist.data.split import load_train
from search.config import StudyConfig
from search.provenance import study_identity
from tests.support.messages import assert_says
from tests.support.spaces import space_from


def test_studies_below_a_file(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "studies"):
        assert_says(
            refused("--dataset", "digits", "--studies-dir", place), "cannot write to", str(place), "--studies-dir"
        )
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody may write to")
def test_studies_where_nobody_may_write(refused: Callable[..., str]) -> None:
    assert_says(
        refused("--dataset", "digits", "--studies-dir", "/proc/x"), "cannot write to /proc/x/digits", "--studies-dir"
    )


def test_study_whose_name_is_a_file(refused: Callable[..., str], studies: Path) -> None:
    studies.mkdir()
    (studies / "digits").write_text("")
    assert_says(refused("--dataset", "digits"), "cannot write to", "digits (File exists)", "--studies-dir")


PASSWORD = "s3cr:t/word"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_database_that_is_not_running_or_has_no_driver(
    refused: Callable[..., str], studies: Path, closed_port: int
) -> None:
    url = f"postgresql://user:s3cret@127.0.0.1:{closed_port}/studies"
    message = refused("--dataset", "digits", "--storage", url)
    assert_says(message, f"--storage postgresql://user:***@127.0.0.1:{closed_port}/studies")
    assert "needs a database driver" in message or "does not answer" in message
    assert "s3cret" not in message
    assert not studies.exists()


def test_sqlite_in_a_folder_that_is_not_there(refused: Callable[..., str], tmp_path: Path, studies: Path) -> None:
    url = f"sqlite:///{tmp_path / 'none' / 'study.db'}"
    assert_says(
        refused("--dataset", "digits", "--storage", url), f"--storage {url} does not answer", "No such file", "check"
    )
    assert not studies.exists() and not (tmp_path / "none").exists()


def test_sqlite_in_a_file_that_is_no_database(refused: Callable[..., str], tmp_path: Path, studies: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be read as one" * 20)
    url = f"sqlite:///{tmp_path / 'notes.txt'}"
    assert_says(
        refused("--dataset", "digits", "--storage", url),
        "notes.txt must be an SQLite database",
        "file is not a database",
    )
    assert not studies.exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_sqlite_in_memory(refused: Callable[..., str], studies: Path, url: str) -> None:
    assert_says(
        refused("--dataset", "digits", "--storage", url), "must be a file", f"got {url}", "try sqlite:///study.db"
    )
    assert not studies.exists()


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("nonsense", ["must be a URL such as", "got 'nonsense'"]),
        ("", ["must be a URL such as", "got ''"]),
        (f"postgresql//user:{PASSWORD}@host/db", ["must be a URL such as", "got 'postgresql//user:***@host/db'"]),
        (f"user:{PASSWORD}@host", ["must be a URL such as", "got 'user:***@host'"]),
        (f"postgresql://user:{PASSWORD}@host:port/db", ["got 'postgresql://user:***@host:port/db'", "%XX"]),
        (f"mongodb://user:{PASSWORD}@host/db", ["must be SQLite or PostgreSQL", "got mongodb://user:***@host/db"]),
        (f"postgresql://user:a@{PASSWORD}@host/db", ["postgresql://user:***@host/db"]),
        ("postgresql://user:a@s3cr@host/db", ["postgresql://user:***@host/db must have one @", "%40"]),
        (f"mongodb://host/db?user=me&password={PASSWORD}&x=1", ["mongodb://host/db?user=me&password=***&x=1"]),
    ],
)
def test_storage_that_cannot_be_read_keeps_its_password_to_itself(
    refused: Callable[..., str], studies: Path, url: str, parts: list[str]
) -> None:
    message = refused("--dataset", "digits", "--storage", url)
    assert_says(message, *parts)
    assert "s3cr" not in message and "word@" not in message
    assert not studies.exists()


def test_passwords_stay_out_of_the_files_of_a_study() -> None:
    config = StudyConfig("digits", dataset="digits", storage="postgresql://user:s3cret@host/db")
    source = find_data("digits")
    space = space_from(config.space_path, source.image_shape, len(source.class_names))
    identity = study_identity(config, source, space, load_train(source, config.seed))
    assert identity["storage"] == "postgresql://user:***@host/db"
    assert "s3cret" not in json.dumps(identity)
