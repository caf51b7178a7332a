"""Standard streams of a command: whatever they are connected to, words arrive, or their loss is said."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fmnist.cli import exit_code_of
from fmnist.errors import UserError
from fmnist.output import printable, standard_streams, stopping_when_unread

ROOT = Path(__file__).parents[1]
WORDS = "best 93 % · Fußball … 猫 \udcff"


def printing(text: str, exit_code: int = 0) -> Callable[[], int]:
    def command() -> int:
        print(text)
        return exit_code

    return command


@contextmanager
def standard_output(monkeypatch: pytest.MonkeyPatch, descriptor: int | str, encoding: str = "utf-8") -> Iterator[None]:
    """Standard output as Python opens it, leading to a descriptor or a file."""
    with open(descriptor, "w", encoding=encoding) as stream, monkeypatch.context() as context:
        context.setattr(sys, "stdout", stream)
        yield
        assert sys.stdout is stream and stream.errors == "strict", "the stream is not as it was"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", r"best 93 % - Fu\xdfball ~ \u732b \udcff"),
        ("latin-1", r"best 93 % · Fußball ~ \u732b \udcff"),
        ("cp1252", r"best 93 % · Fußball … \u732b \udcff"),
        ("cp437", r"best 93 % · Fußball ~ \u732b \udcff"),
        ("iso8859-15", r"best 93 % · Fußball ~ \u732b \udcff"),
        ("koi8-r", r"best 93 % · Fu\xdfball ~ \u732b \udcff"),
        ("shift_jis", r"best 93 % - Fu\xdfball … 猫 \udcff"),
        ("gb18030", r"best 93 % · Fußball … 猫 \udcff"),
        ("utf-16-le", r"best 93 % · Fußball … 猫 \udcff"),
        ("utf-8", r"best 93 % · Fußball … 猫 \udcff"),
    ],
)
def test_any_text_can_be_written_in_any_encoding(
    encoding: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standard_output(monkeypatch, str(tmp_path / "out"), encoding):
        assert exit_code_of(printing(WORDS)) == 0
    assert (tmp_path / "out").read_text(encoding=encoding) == f"{expected}\n"


def test_error_about_any_name_is_one_readable_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise UserError("no file 猫\nB\x1b[2J\u202e.png")

    with open(tmp_path / "err", "w", encoding="ascii") as stream, monkeypatch.context() as context:
        context.setattr(sys, "stderr", stream)
        assert exit_code_of(refuse) == 2
    assert (tmp_path / "err").read_text() == "error: no file \\u732b\\nB\\x1b[2J\\u202e.png\n"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("T-shirt/top", "T-shirt/top"),
        ("chien d'été", "chien d'été"),
        ("猫\u3000犬", "猫\u3000犬"),
        ("कुत्ता", "कुत्ता"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # noqa: RUF001
        ("👩\u200d🌾", "👩\u200d🌾"),
        ("red\x1b[31m", r"red\x1b[31m"),
        ("bell\x07\x08", r"bell\x07\x08"),
        ("two\r\nlines\ttab", r"two\r\nlines\ttab"),
        ("c1\x9b2J", r"c1\x9b2J"),
        ("gpj\u202e.exe", r"gpj\u202e.exe"),
        ("isolate\u2066", r"isolate\u2066"),
        ("para\u2029graph", r"para\u2029graph"),
        ("\ufeffmark", r"\ufeffmark"),
        ("torn\udce4", r"torn\udce4"),
    ],
)
def test_no_name_steers_the_terminal(name: str, shown: str) -> None:
    assert printable(name) == shown


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.follows("standard output must be writable, but: {}")
def test_full_disk_behind_standard_output_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with standard_output(monkeypatch, "/dev/full"):
        assert exit_code_of(printing("report: here")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: standard output must be writable, but: No space left on device; ")
    assert line.endswith("send it elsewhere")
    with standard_output(monkeypatch, str(tmp_path / "elsewhere")):  # the remedy
        assert exit_code_of(printing("report: here")) == 0
    assert (tmp_path / "elsewhere").read_text() == "report: here\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_help_that_cannot_be_written_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def show_help() -> int:
        print("usage")
        raise SystemExit(0)

    with standard_output(monkeypatch, "/dev/full"):
        assert exit_code_of(show_help) == 2


def test_reader_that_has_gone_ends_a_listing_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with standard_output(monkeypatch, writing):
        assert exit_code_of(printing("a")) == 1
    assert capsys.readouterr().err == ""


def test_reader_that_has_gone_asks_a_run_to_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = threading.Event()

    def run() -> int:
        with stopping_when_unread(stop):
            print("trial 0", flush=True)
            assert stop.is_set()
            for i in range(10_000):  # whoever still writes is not disturbed
                print(f"trial {i}", flush=True)
        return 130

    reading, writing = os.pipe()
    os.close(reading)
    with standard_output(monkeypatch, writing):
        assert exit_code_of(run) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: stopped, since whoever read standard output has closed it.")
    assert line.endswith("the same command goes on from here")


def test_slow_reader_of_a_pipe_that_does_not_block_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received: list[bytes] = []

    def read_slowly() -> None:
        while content := os.read(reading, 50_000):
            received.append(content)
            time.sleep(0.001)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    lines = [f"line {i}" for i in range(50_000)]
    with standard_output(monkeypatch, writing):
        assert exit_code_of(printing("\n".join(lines))) == 0
    reader.join()
    os.close(reading)
    assert b"".join(received).decode().splitlines() == lines


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["none", "in memory"])
def test_streams_that_are_no_files_are_written_to_as_they_are(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr(sys, "stdout", stream)
        context.setattr(sys, "stdin", None)
        assert exit_code_of(printing("猫")) == 0
        assert sys.stdout is stream and sys.stdin is None
    if stream is not None:
        assert stream.getvalue() == "猫\n"


def test_bug_keeps_its_trace_and_streams_are_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        print("begun")
        raise ZeroDivisionError

    with standard_output(monkeypatch, str(tmp_path / "out")), pytest.raises(ZeroDivisionError):
        exit_code_of(fail)
    assert (tmp_path / "out").read_text() == "begun\n"


def test_lines_come_one_by_one_where_they_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python flushes each line on a terminal, and everything at once with -u."""
    reading, writing = os.pipe()
    with open(writing, "w", buffering=1) as stream, monkeypatch.context() as context:
        context.setattr(sys, "stdout", stream)
        with standard_streams():
            print("trial 0")
            assert os.read(reading, 100) == b"trial 0\n"
    os.close(reading)


@pytest.mark.process
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    """Else a study's database would get what TensorFlow says on descriptor 2."""
    script = (
        "import os, sys; from fmnist.cli import exit_code_of\n"
        "def command():\n"
        "    file = open(sys.argv[1], 'w')\n"
        "    print('to standard output'); print('to standard error', file=sys.stderr); os.write(2, b'TensorFlow')\n"
        "    assert sys.stdin.read() == '' and file.fileno() > 2\n"
        "    file.write('data')\n"
        "    return 7\n"
        "sys.exit(exit_code_of(command))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "file")]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    child = subprocess.run(shell, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert child.returncode == 7, child.stderr
    assert (tmp_path / "file").read_text() == "data"
