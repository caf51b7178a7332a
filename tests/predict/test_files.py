"""Which pictures are found, in which order, and what they contain."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fmnist.data.decode import UnreadablePicture
from fmnist.predict.files import find_picture_files, read_content
from tests.support.drawings import drawing, written


def test_folder_is_searched_in_order_and_says_what_it_skips(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("b.png", "a/z.JPG", "a/sub/c.webp", "a/sub/d.avif", "c.gif", ".hidden/x.png", "._b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        written(folder / name, drawing("RGB"))
    (folder / "notes.txt").write_text("text")
    (folder / "d.png").write_text("text")
    (folder / "e.png").symlink_to("nowhere.png")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    said: list[str] = []
    found = list(find_picture_files([str(folder)], said.append))
    names = [Path(each.path).relative_to(folder).as_posix() for each in found]
    assert names == ["a/sub/c.webp", "a/sub/d.avif", "a/z.JPG", "b.png", "c.gif", "d.png", "e.png"]
    assert not any(each.error for each in found)
    assert said == [f"{folder}: skipped 5 that are no picture file: ._b.png, .hidden, loop and 2 more"]


def test_tool_made_folders_are_skipped_as_in_training(tmp_path: Path) -> None:
    for name in ("a.png", "@eaDir/a.png", "sub/__MACOSX/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    said: list[str] = []
    found = list(find_picture_files([str(tmp_path)], said.append))
    assert [each.path for each in found] == [str(tmp_path / "a.png")]
    assert said == [f"{tmp_path}: skipped 2 that are no picture file: @eaDir, __MACOSX"]


def test_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (found,) = find_picture_files([str(tmp_path)], pytest.fail)
    assert (found.path, found.error) == (str(tmp_path), "no picture in this folder")


def test_named_files_are_not_judged_by_their_names(tmp_path: Path) -> None:
    places = [str(tmp_path / "a"), "-", str(tmp_path / "missing.txt")]
    assert [each.path for each in find_picture_files(places, pytest.fail)] == places


def test_content_may_come_from_standard_input_or_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"content")))
    assert read_content("-") == b"content"
    reading, writing = os.pipe()
    os.write(writing, b"content")
    os.close(writing)
    assert read_content(f"/dev/fd/{reading}") == b"content"
    os.close(reading)


@pytest.mark.parametrize("source", ["file", "-"])
def test_content_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr("fmnist.predict.files.MAX_BYTES", 5)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"123456")))
    (tmp_path / "file").write_bytes(b"123456")
    with pytest.raises(UnreadablePicture, match=r"^larger than 5 bytes$"):
        read_content(str(tmp_path / source) if source == "file" else source)


def test_name_that_no_file_can_have_is_unreadable() -> None:
    with pytest.raises(UnreadablePicture, match="null"):
        read_content("a\0b")


def test_file_without_permission_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", drawing())
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # permissions do not bind the superuser
        os.seteuid(65534)
    try:
        with pytest.raises(UnreadablePicture, match=r"^Permission denied$"):
            read_content(str(path))
    finally:
        os.seteuid(user)
