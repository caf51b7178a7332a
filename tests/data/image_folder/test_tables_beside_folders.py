"""Where folders could be classes, a table that names their pictures is used or refused, unless it says the same."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from fmnist.data.image_folder.layout import find_layout
from fmnist.data.image_folder.names import TEST, TRAIN
from fmnist.errors import UserError
from tests.support.made_images import touch
from tests.support.remedies import Remedy, needs_remedy

Rows = list[list[str]]
N = 24
HEADER = ["file", "label"]


def write_table(path: Path, rows: Iterable[Sequence[object]], encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows(rows)
    return path


def good_rows() -> Rows:
    """Every fourth picture of each folder is odd, which goes across the folders."""
    return [[f"{i:05}.png", "odd" if i % 4 < 2 else "even"] for i in range(N)]


@pytest.fixture
def shares(tmp_path: Path) -> Path:
    """Pictures in images/a and images/b, which could be classes."""
    return touch(tmp_path, *(f"images/{'ab'[i % 2]}/{i:05}.png" for i in range(N)))


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Pictures in cats/ and dogs/."""
    return touch(tmp_path, *(f"{('cats', 'dogs')[i % 2]}/{i:05}.png" for i in range(N)))


def labels_like_the_folders() -> Rows:
    return [[f"{i:05}.png", ("cat", "dog")[i % 2]] for i in range(N)]


def mapped(rows: Rows, change: Callable[[str], str]) -> Rows:
    return [[change(name), label] for name, label in rows]


# --- shares of a data set, and a table with a fault


def alike(rows: Rows) -> Rows:
    return rows


FAULTS = [
    Remedy(
        "every picture that {} names must be in {}, but {} of {} are not: {}; add them, or delete",
        lambda rows: [HEADER, *rows, ["gone.png", "odd"]],
        lambda rows: [HEADER, *rows],
    ),
    Remedy(
        "every picture that {} names must be in {}, but {} of {} are not: {}; add them, or delete",
        lambda rows: [*rows, ["gone.png", "odd"]],
        alike,
    ),
    Remedy(
        "a picture must have one class and be in one part, but in {} {} has both {} and {}; delete the row",
        lambda rows: [HEADER, *rows, [rows[0][0], "even"]],
        lambda rows: [HEADER, *rows],
    ),
    Remedy(
        "{} must call the pictures in {} as they are called, but {} of {} rows do not: {}; write the {} as the files",
        lambda rows: [HEADER, *mapped(rows, lambda name: name.replace("png", "jpg"))],
        lambda rows: [HEADER, *rows],
    ),
    Remedy(
        "{} must call the pictures in {} as they are called, but {} of {} rows do not: {}; write the {} as the files",
        lambda rows: [["name", "level"], *mapped(rows, lambda name: name.replace("png", "jpg"))],
        lambda rows: [HEADER, *rows],
    ),
    Remedy(
        "{} must call the pictures in {} as they are called, but {} of {} rows do not: {}; write the {} as the files",
        lambda rows: mapped(rows, lambda name: name.replace("png", "jpg")),
        lambda rows: [HEADER, *rows],
    ),
    Remedy(
        "every row of a table must have as many values, but in {} row {} has {} instead of {}; fix it, and put values",
        lambda rows: [HEADER, *rows, ["00001.png", "odd", "x"]],
        lambda rows: [HEADER, *rows],
    ),
    Remedy(
        "one column of {} must hold the classes, but {} may; name it label and delete the others",
        lambda rows: [["file", "class", "target"], *([*row, i % 3] for i, row in enumerate(rows))],
        lambda rows: [HEADER, *rows],
    ),
    Remedy(
        "every picture must have one class, but in {} {} rows have several, or none, among the columns {}; leave these",
        lambda rows: [
            ["file", "odd", "even"],
            *([name, int(i % 4 < 2), int(i < 2 or i % 4 > 1)] for i, (name, _) in enumerate(rows)),
        ],
        lambda rows: [HEADER, *rows],
    ),
    Remedy(
        "a table beside pictures must tell which column names them and which their classes, but {} in {} does not;",
        lambda rows: [[name, label, "left" if i % 3 else "right"] for i, (name, label) in enumerate(rows)],
        lambda rows: [["file", "label", "side"], *([*row, "left"] for row in rows)],
    ),
]


@pytest.mark.parametrize("remedy", FAULTS, ids=str)
def test_faults_of_a_table_are_refused_where_folders_could_be_classes(shares: Path, remedy: Remedy) -> None:
    path = write_table(shares / "labels.csv", remedy.refused(good_rows()))
    with needs_remedy(remedy.says) as caught:
        find_layout(shares)
    assert str(caught.value).endswith(", or move labels.csv away to go by the folders (a/, b/)")
    write_table(path, remedy.followed(good_rows()))
    assert_goes_by_table(shares)
    write_table(path, remedy.refused(good_rows()))
    path.unlink()
    assert find_layout(shares).class_names == ("a", "b")


def assert_goes_by_table(folder: Path) -> None:
    if (folder / "labels.csv").read_text(encoding="utf-8").startswith("file,"):
        assert find_layout(folder).class_names == ("even", "odd")
        return
    with pytest.raises(UserError, match="it must be clear what the classes are"):  # columns without names are a guess
        find_layout(folder)


@pytest.mark.parametrize(
    ("encoding", "rows"), [("utf-16", good_rows()), ("latin-1", [[name, f"größe {x}"] for name, x in good_rows()])]
)
def test_table_in_another_encoding_is_refused_or_moved_away(shares: Path, encoding: str, rows: Rows) -> None:
    path = write_table(shares / "labels.csv", [HEADER, *rows], encoding)
    with needs_remedy("{}, or move {} away to go by the folders ({})") as caught:
        find_layout(shares)
    assert "save it as CSV UTF-8" in str(caught.value) and ("UTF-16" in str(caught.value)) == (encoding == "utf-16")
    write_table(path, [HEADER, *rows])
    assert len(find_layout(shares).class_names) == 2 and find_layout(shares).tables == (path,)


def test_name_in_both_folders_is_refused_until_the_folder_is_written_too(shares: Path) -> None:
    touch(shares, "images/b/00000.png")
    path = write_table(shares / "labels.csv", [HEADER, *good_rows()])
    with needs_remedy("every row of {} must stand for one picture, but {} may be {}; write the folder as well"):
        find_layout(shares)
    write_table(path, [HEADER, ["images/a/00000.png", "odd"], *good_rows()[1:]])
    assert find_layout(shares).class_names == ("even", "odd")


@pytest.mark.parametrize("n", [3, 8])
def test_labels_of_few_pictures_are_refused_with_the_choice(shares: Path, n: int) -> None:
    path = write_table(shares / "labels.csv", [HEADER, *good_rows()[:n]])
    with needs_remedy(
        "it must be clear what the classes are, but in {} both the folders ({}) and the labels in {} ({})"
    ):
        find_layout(shares)
    path.unlink()
    assert find_layout(shares).class_names == ("a", "b")


@pytest.mark.parametrize("change", [str, lambda name: str(int(name[:-4]))])
def test_labels_without_names_of_columns_are_refused_with_the_choice(
    shares: Path, change: Callable[[str], str]
) -> None:
    write_table(shares / "x.csv", mapped(good_rows(), change))
    with needs_remedy(
        "it must be clear what the classes are, but in {} both the folders ({}) and the labels in {} ({})"
    ):
        find_layout(shares)
    (shares / "all").mkdir()
    for path in shares.rglob("*.png"):
        path.rename(shares / "all" / path.name)
    assert find_layout(shares).class_names == ("even", "odd")


# --- classes, and a table of something else


@pytest.mark.parametrize(
    "rows",
    [
        [HEADER, *([f"other{i}.png", "xy"[i % 2]] for i in range(N))],
        [HEADER, *([f"other{i}.png", "xy"[i % 2]] for i in range(2 * N)), ["00000.png", "x"]],
        [["file", "width", "height"], *([name, i % 3, i % 5] for i, (name, _) in enumerate(good_rows()))],
        [["file", "caption"], *([name, f"text {i}"] for i, (name, _) in enumerate(good_rows()))],
        [["epoch", "label", "loss"], *([i, i % 3, i / 7] for i in range(5))],
        [["file", "age", "label"], *([f"other{i}", i, i % 2] for i in range(10))],
        [HEADER],
        [HEADER, *labels_like_the_folders()],
        [HEADER, *labels_like_the_folders(), ["gone.png", "cat"]],
        [HEADER, *mapped(labels_like_the_folders(), lambda name: name.replace("png", "jpg"))],
        [HEADER, *mapped(labels_like_the_folders(), lambda name: str(int(name[:-4])))],
        [["file", "class", "target"], *([*row, i % 5] for i, row in enumerate(labels_like_the_folders()))],
        [HEADER, *labels_like_the_folders(), ["1", "2", "3"]],
    ],
)
@pytest.mark.parametrize("name", ["metadata.csv", "labels.csv"])
def test_class_folders_count_beside_a_table_that_says_nothing_else(classes: Path, rows: Rows, name: str) -> None:
    write_table(classes / name, rows)
    if "width" in rows[0] and name == "labels.csv":
        with needs_remedy("{}, or move {} away to go by the folders ({})"):
            find_layout(classes)
        return
    assert find_layout(classes).class_names == ("cats", "dogs") and not find_layout(classes).tables


def test_names_that_are_in_every_class_folder_are_told_apart_by_their_label(tmp_path: Path) -> None:
    touch(tmp_path, "{cats,dogs}/{1,2,3}.png")
    write_table(tmp_path / "metadata.csv", [HEADER, *([f"{i}.png", x] for i in (1, 2, 3) for x in ("Cats", "dogs"))])
    assert find_layout(tmp_path).class_names == ("cats", "dogs")


def test_column_that_is_not_called_label_is_told(classes: Path) -> None:
    write_table(classes / "metadata.csv", [["file", "camera"], *good_rows()])
    layout = find_layout(classes)
    assert layout.class_names == ("cats", "dogs")
    assert layout.notes[-1].startswith("The classes are the folders, as no column of metadata.csv is called label")


# --- spellings


def test_labels_that_differ_in_capitals_or_spaces_are_one_class(tmp_path: Path) -> None:
    touch(tmp_path, "{1,2,3,4,5,6,7,8}.png")
    labels = ["even", " EVEN", "even", "Odd  one", "odd one", "odd one", "eVEN", "ODD ONE"]
    rows = [[f"{i}.png", label, "test" if i > 6 else "train"] for i, label in enumerate(labels, 1)]
    write_table(tmp_path / "labels.csv", [[*HEADER, "split"], *rows, ["1.png", "Even", "train"]])
    layout = find_layout(tmp_path)
    for part, counts in ((TRAIN, [3, 3]), (TEST, [1, 1])):
        assert [each.name for each in layout.parts[part]] == ["even", "odd one"]
        assert [len(each.files) for each in layout.parts[part]] == counts
    assert layout.notes[1] == (
        "Labels that differ in capitals or spaces alone are one class: "
        "even (also EVEN, Even, eVEN), odd one (also 'Odd  one', 'ODD ONE')"
    )


def test_signs_and_single_letters_make_classes(tmp_path: Path) -> None:
    touch(tmp_path, "{1,2,3,4}.png")
    write_table(tmp_path / "labels.csv", [HEADER, ["1", "a"], ["2", "A"], ["3", "-1"], ["4", "1"]])
    assert set(find_layout(tmp_path).class_names) == {"a", "A", "-1", "1"}


# --- leading zeros


@pytest.mark.parametrize("change", [lambda i: f"{i}", lambda i: f"{i}.png", lambda i: f"images/{i:08}.png"])
def test_leading_zeros_are_forgiven_where_no_picture_can_be_mistaken(
    shares: Path, change: Callable[[int], str]
) -> None:
    rows = [[change(i), label] for i, (_, label) in enumerate(good_rows())]
    if "/" in change(0):
        (shares / "images").rename(shares / "x")
        (shares / "x" / "a").rename(shares / "images")
        for path in (shares / "x" / "b").iterdir():
            path.rename(shares / "images" / path.name)
        (shares / "x" / "b").rmdir()
        (shares / "x").rmdir()
    write_table(shares / "labels.csv", [["id", "label"], *rows])
    layout = find_layout(shares)
    assert {path.stem: each.name for each in layout.parts[TRAIN] for path in each.files} == {
        name[:-4]: label for name, label in good_rows()
    }
    assert any("Leading zeros do not count in labels.csv: " in note and "00000.png" in note for note in layout.notes)


@pytest.mark.parametrize("spoiled", [["0000", "odd"], ["99", "odd"]])
def test_leading_zeros_are_asked_for_where_a_picture_could_be_mistaken(tmp_path: Path, spoiled: list[str]) -> None:
    touch(tmp_path, *(name for name, _ in good_rows()))
    rows = [[str(i), label] for i, (_, label) in enumerate(good_rows())]
    path = write_table(tmp_path / "labels.csv", [["id", "label"], *rows, spoiled])
    with needs_remedy(
        "{} must call the pictures in {} as they are called, but {} of {} rows do not: {}; write the {} as the files"
    ) as caught:
        find_layout(tmp_path)
    assert "0 where there is 00000.png" in str(caught.value) and "write the leading zeros" in str(caught.value)
    write_table(path, [["id", "label"], *good_rows()])
    assert find_layout(tmp_path).class_names == ("even", "odd")
