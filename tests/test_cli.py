"""The command line: a password is taken out of what anyone on the machine may read, and Ctrl-C has its exit code."""

from __future__ import annotations

import signal

import pytest

from fmnist.cli import exit_code_of
from fmnist.errors import UserError
from search.cli import without_password


@pytest.mark.parametrize(
    ("word", "url", "password"),
    [
        ("postgresql://u:a%40b@h/d", "postgresql://u@h/d", "a@b"),
        ("--storage=postgresql+psycopg://u:p@h:1/d?x=1", "--storage=postgresql+psycopg://u@h:1/d?x=1", "p"),
        ("postgresql://u@h/d", "postgresql://u@h/d", None),
        ("postgresql://h/d", "postgresql://h/d", None),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db", None),
        ("--trials", "--trials", None),
    ],
)
def test_password_is_taken_out_of_a_word(word: str, url: str, password: str | None) -> None:
    assert without_password(word) == (url, password)


def test_ctrl_c_ends_any_command_with_its_exit_code_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it goes on")

    assert exit_code_of(command) == 130
    assert capsys.readouterr() == ("", "stopped\n")


def test_error_names_a_path_with_a_line_break_as_it_is_and_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise UserError("cannot write to a\nb/c\x0cd\u2028e; choose another")

    assert exit_code_of(command) == 2
    assert capsys.readouterr().err == "error: cannot write to a\\nb/c\\x0cd\\u2028e; choose another\n"
