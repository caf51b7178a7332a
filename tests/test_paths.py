"""Paths of every legal kind: a leading `~`, a current folder that is gone, words of a command."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from hypothesis import given

from fmnist.errors import UserError
from fmnist.options import option, options, parse_options, to_arguments
from fmnist.paths import absolute, expanded, require_lengths, shown_path
from tests.support.paths import LEGAL_NAMES


@options
class Places:
    """Options of both kinds that take paths."""

    out: Path = option("a folder", default=Path("out"))
    data: str = option("a name or a path", default="digits", takes_path=True)
    rest: tuple[str, ...] = option("files", default=(), takes_path=True)


@given(name=LEGAL_NAMES, data=LEGAL_NAMES)
def test_command_that_is_written_out_names_the_same_paths(name: str, data: str) -> None:
    places = Places(out=Path("x", name), data=f"./{data}")
    assert parse_options(Places, to_arguments(places)) == places


@pytest.mark.parametrize("name", ["-x", "--out", "~x", "-1"])
def test_name_like_an_option_or_a_home_folder_is_written_as_a_path(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    places = Places(out=Path(name))
    assert to_arguments(places) == ["--out", f"./{name}"]
    assert parse_options(Places, to_arguments(places)) == places


def test_home_is_expanded_alike_in_options_and_from_python(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/people/me")
    user = pwd.getpwuid(os.getuid())
    assert parse_options(Places, ["--out", "~/a", "--data=~/b"]) == Places(out=Path("~/a"), data="~/b")
    places = Places(out=Path("~/a"), data="~", rest=("~/c", "d"))
    assert (places.out, places.data, places.rest) == (Path("/people/me/a"), "/people/me", ("/people/me/c", "d"))
    assert Places(out=Path(f"~{user.pw_name}/a")).out == Path(user.pw_dir, "a")


def test_home_without_its_variable_is_the_users(monkeypatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    assert expanded("~/a") == Path(pwd.getpwuid(os.getuid()).pw_dir, "a")


def test_tilde_inside_and_variables_stay_as_they_are(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/people/me")
    for text in ("a~b", "a/~", "$HOME/x", "./~"):
        assert Places(data=text).data == text


def test_file_that_a_shell_names_with_a_tilde_is_that_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("~").touch(), Path("~1.png").touch()
    assert Places(rest=tuple(sorted(os.listdir()))).rest == ("~", "~1.png")


@pytest.mark.follows("~ must stand for a home folder")
def test_home_of_nobody_is_refused_and_its_remedies_work(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"~ must stand for a home folder, but got '~nobody-here/x'.*\./~nobody-here/x"):
        Places(out=Path("~nobody-here/x"))
    assert parse_options(Places, ["--out", "./~nobody-here/x"]).out == Path("~nobody-here/x")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_text_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="--out must be a path, but got"):
        parse_options(Places, ["--out", path])


@pytest.mark.follows("a relative path needs a current folder")
def test_deleted_current_folder_is_refused_for_relative_paths_only(tmp_path: Path, monkeypatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UserError, match="got 'studies', and the current folder has been deleted; change to one"):
        absolute("studies")
    assert absolute(tmp_path) == shown_path(tmp_path) == tmp_path
    os.chdir(tmp_path)
    assert absolute("studies") == tmp_path / "studies"


def test_paths_are_shown_as_one_would_type_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "a" / "b") == Path("a/b")
    assert shown_path(tmp_path.parent / "b") == tmp_path.parent / "b"
    monkeypatch.chdir("/")
    assert shown_path(tmp_path) == tmp_path


@pytest.mark.follows("a name in a path must be {} bytes at most")
@pytest.mark.follows("the path of a folder for results must be {} bytes at most")
def test_path_without_room_below_is_refused() -> None:
    with pytest.raises(UserError, match=r"255 bytes at most, but .* has one of 256; choose another"):
        require_lengths(Path("/", "ä" * 128), "choose another")
    require_lengths(Path("/", "ä" * 127), "choose another")
    with pytest.raises(UserError, match=r"3,840 bytes at most, but .* 3,900 from the root on; choose another"):
        require_lengths(Path("/a" * 1950), "choose another")
    require_lengths(Path("/a" * 1920), "choose another")


def test_value_that_begins_with_a_dash_is_refused_and_its_remedy_works(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--out: expected one argument; write one that begins with - as --out=VALUE"):
        parse_options(Places, ["--out", "-x"])
    assert parse_options(Places, ["--out=-x"]).out == Path("-x")
