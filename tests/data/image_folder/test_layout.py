"""Which picture belongs to which class, told from folders alone: the files here are empty."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist.data.image_folder.layout import find_layout
from fmnist.data.image_folder.names import TRAIN, natural
from fmnist.errors import UserError
from tests.support.made_images import touch


def files_of(folder: Path, part: str = TRAIN) -> dict[str, list[str]]:
    classes = find_layout(folder).parts[part]
    return {each.name: [str(path.relative_to(folder)) for path in each.files] for each in classes}


def test_class_is_a_folder_with_its_pictures(tmp_path) -> None:
    touch(tmp_path, "cat/a.png", "cat/b.JPG", "dog/c.webp")
    assert files_of(tmp_path) == {"cat": ["cat/a.png", "cat/b.JPG"], "dog": ["dog/c.webp"]}


def test_pictures_in_folders_below_belong_to_the_class(tmp_path) -> None:
    touch(tmp_path, "cat/z.png", "cat/small/2.png", "cat/small/10.png", "dog/c.png")
    assert files_of(tmp_path)["cat"] == ["cat/z.png", "cat/small/2.png", "cat/small/10.png"]


def test_classes_and_files_are_in_natural_order(tmp_path) -> None:
    touch(tmp_path, "class 10/a.png", "class 2/10.png", "class 2/9.png", "Class 1/a.png")
    assert find_layout(tmp_path).class_names == ("Class 1", "class 2", "class 10")
    assert files_of(tmp_path)["class 2"] == ["class 2/9.png", "class 2/10.png"]


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_names_can_be_put_in_natural_order(names) -> None:
    ordered = sorted(names, key=natural)
    assert sorted(ordered) == sorted(names)
    assert sorted(reversed(names), key=natural) == ordered  # whatever order they came in


def test_hidden_files_and_what_archives_leave_are_not_looked_at(tmp_path) -> None:
    touch(tmp_path, "cat/a.png", "dog/a.png", "cat/.DS_Store", "cat/._a.png", ".git/x/a.png", "__MACOSX/cat/a.png")
    layout = find_layout(tmp_path)
    assert layout.class_names == ("cat", "dog") and layout.ignored == ()
    assert files_of(tmp_path)["cat"] == ["cat/a.png"]


def test_what_is_no_picture_of_a_class_is_passed_over_and_told(tmp_path) -> None:
    touch(tmp_path, "train/cat/a.png", "train/dog/a.png", "train/all.png", "train/cat/a.xml", "readme.txt")
    passed_over = {str(path.relative_to(tmp_path)) for path in find_layout(tmp_path).ignored}
    assert passed_over == {"train/all.png", "train/cat/a.xml", "readme.txt"}


def test_links_to_folders_and_files_are_followed(tmp_path) -> None:
    touch(tmp_path / "elsewhere", "cat/a.png")
    folder = touch(tmp_path / "set", "dog/a.png")
    (folder / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (folder / "dog" / "b.png").symlink_to(tmp_path / "elsewhere" / "cat" / "a.png")
    assert files_of(folder) == {"cat": ["cat/a.png"], "dog": ["dog/a.png", "dog/b.png"]}


# What cannot be used


def test_link_that_leads_back_is_refused(tmp_path) -> None:
    touch(tmp_path, "cat/a.png", "dog/a.png")
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    with pytest.raises(UserError, match=r"must not contain themselves, but .*cat/again is a link back .*; delete it"):
        find_layout(tmp_path)


def test_link_to_the_data_set_itself_is_refused(tmp_path) -> None:
    folder = touch(tmp_path / "set", "cat/a.png", "dog/a.png")
    (folder / "dog" / "set").symlink_to(folder)
    with pytest.raises(UserError, match="must not contain themselves"):
        find_layout(folder)


def test_link_to_itself_is_no_folder(tmp_path) -> None:
    touch(tmp_path, "cat/a.png", "dog/a.png")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    layout = find_layout(tmp_path)
    assert layout.class_names == ("cat", "dog") and layout.ignored == (tmp_path / "loop",)


@pytest.mark.parametrize(
    ("names", "received"),
    [
        ([], "got no folder"),
        (["a.png", "b.jpg", "c.txt"], "got 2 pictures and no folder"),
        (["train/a.png", "test/b.png"], "got 1 picture and no folder"),
    ],
    ids=["empty", "pictures alone", "parts without classes"],
)
def test_folder_without_class_folders_is_refused(tmp_path, names, received) -> None:
    touch(tmp_path, *names)
    with pytest.raises(UserError, match=f"must hold a folder of pictures for each class.*{received}.*; sort the"):
        find_layout(tmp_path)


def test_class_without_pictures_is_refused(tmp_path) -> None:
    touch(tmp_path, "train/cat/a.png", "train/dog/a.txt")
    with pytest.raises(UserError, match=r"must hold pictures, but in .*train there is none in dog; add some"):
        find_layout(tmp_path)


def test_class_name_that_cannot_be_printed_is_refused(tmp_path) -> None:
    touch(tmp_path, "cat/a.png", "d\tog/a.png")
    with pytest.raises(UserError, match=r"name must be printable, but got 'd\\tog'; rename it"):
        find_layout(tmp_path)


def test_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch) -> None:
    touch(tmp_path, "cat/a.png", "dog/a.png")

    def forbidden(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fmnist.data.image_folder.tree.os.listdir", forbidden)
    with pytest.raises(UserError, match=r"must be readable, but: Permission denied; check the file"):
        find_layout(tmp_path)
