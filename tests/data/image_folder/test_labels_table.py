"""Pictures beside a table of labels are the data set that they would be in class folders."""

from __future__ import annotations

import csv
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.image_folder.layout import find_layout
from fmnist.data.image_folder.names import TEST, TRAIN, VALIDATION
from fmnist.data.image_folder.tables import read_table
from fmnist.data.split import load_test, load_train
from fmnist.errors import UserError
from tests.support.data_sets import found
from tests.support.made_images import NAMES, digits_of_each, touch, write_divided, write_pictures
from tests.support.remedies import Remedy, needs_remedy

Rows = list[list[str]]


def write_table(path: Path, rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def flattened(classes: Path, folder: Path, pictures: str = "") -> Rows:
    """Copy the pictures of class folders into one folder and give the rows: name, class."""
    (folder / pictures).mkdir(parents=True, exist_ok=True)
    rows = []
    for path in sorted(classes.rglob("*.png")):
        shutil.copy(path, folder / pictures / path.name)
        rows.append([path.name, path.parent.name])
    return rows


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Class folders, 15 pictures each."""
    return write_pictures(tmp_path / "classes", *digits_of_each([15] * 3))


def without_suffix(rows: Rows) -> Rows:
    return [[name.removesuffix(".png"), label] for name, label in rows]


def assert_same(folder: Path, classes: Path) -> None:
    table, plain = found(folder), found(classes)
    assert table.class_names == plain.class_names == NAMES
    assert table.test_checksum == plain.test_checksum
    split, other = load_train(table, 0), load_train(plain, 0)
    assert split.checksum == other.checksum
    np.testing.assert_array_equal(split.together().images, other.together().images)
    np.testing.assert_array_equal(split.together().labels, other.together().labels)
    np.testing.assert_array_equal(load_test(table).images, load_test(plain).images)


# --- the same data


@pytest.mark.parametrize("table", ["labels.csv", "train.csv", "annotations.tsv", "trainLabels.csv", "meta/My Set.CSV"])
@pytest.mark.parametrize("pictures", ["", "images", "data/train_images"])
def test_table_gives_what_class_folders_give(tmp_path: Path, classes: Path, table: str, pictures: str) -> None:
    folder = tmp_path / "flat"
    rows = flattened(classes, folder, pictures)
    write_table(folder / table, [["file", "label"], *reversed(rows)], "\t" if table.endswith("tsv") else ",")
    assert_same(folder, classes)


@pytest.mark.parametrize(
    "header",
    [
        *(("file", "label"), ("filename", "class"), ("image", "target"), ("id", "breed"), ("path", "category")),
        *(
            ("image_id", "label"),
            ("ImageId", "ClassName"),
            ("Img Name", "dx"),
            ("name", "level"),
            ("id_code", "diagnosis"),
        ),
    ],
)
@pytest.mark.parametrize("change", [list, without_suffix])
def test_columns_have_their_everyday_names(
    tmp_path: Path, classes: Path, header: tuple[str, str], change: Callable[[Rows], Rows]
) -> None:
    rows = change(flattened(classes, tmp_path / "flat"))
    write_table(tmp_path / "flat" / "labels.csv", [header, *rows])
    assert_same(tmp_path / "flat", classes)
    write_table(tmp_path / "flat" / "labels.csv", [header[::-1], *(row[::-1] for row in rows)])
    assert_same(tmp_path / "flat", classes)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_header_delimiter_and_line_ends_do_not_matter(
    tmp_path: Path, classes: Path, delimiter: str, start: str
) -> None:
    rows = flattened(classes, tmp_path / "flat")
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "flat" / "labels.csv").write_text(start + text + "\r\n\r\n", encoding="utf-8")
    assert_same(tmp_path / "flat", classes)


@pytest.mark.parametrize(
    "written",
    ["images/{}", "./images/{}", "/mnt/someone/set/images/{}", "images\\{}", "C:\\set\\images\\{}", "flat/images/{}"],
)
def test_paths_may_begin_anywhere(tmp_path: Path, classes: Path, written: str) -> None:
    rows = flattened(classes, tmp_path / "flat", "images")
    write_table(tmp_path / "flat" / "t.csv", [["path", "label"], *([written.format(name), x] for name, x in rows)])
    assert_same(tmp_path / "flat", classes)


def test_pictures_may_lie_in_any_folders(tmp_path: Path, classes: Path) -> None:
    folder = tmp_path / "flat"
    rows = flattened(classes, folder)
    for i, (name, _) in enumerate(rows):
        (folder / f"images_{i % 2 + 1}").mkdir(exist_ok=True)
        (folder / name).rename(folder / f"images_{i % 2 + 1}" / name)
    write_table(folder / "labels.csv", [["image", "label"], *rows])
    assert_same(folder, classes)
    (folder / "images_1").rename(folder / "first")  # no longer called like shares, nor like classes
    (folder / "images_2").rename(folder / "second")
    assert_same(folder, classes)


def test_capitals_of_file_names_do_not_matter(tmp_path: Path, classes: Path) -> None:
    rows = flattened(classes, tmp_path / "flat")
    write_table(tmp_path / "flat" / "t.csv", [["image", "label"], *([name.upper(), label] for name, label in rows)])
    assert_same(tmp_path / "flat", classes)


def test_further_columns_are_no_hindrance(tmp_path: Path, classes: Path) -> None:
    rows = flattened(classes, tmp_path / "flat")
    header = ["", "lesion", "filename", "Image ID", "age", "label", "class_id"]
    further = [[i, f"x{i}", *row[:1], row[0][:-4], 40, row[1], NAMES.index(row[1])] for i, row in enumerate(rows)]
    write_table(tmp_path / "flat" / "labels.csv", [header, *further])
    assert_same(tmp_path / "flat", classes)
    assert any("pictures from filename, classes from label" in note for note in found(tmp_path / "flat").notes)


def test_one_column_for_each_class_is_read_and_told(tmp_path: Path, classes: Path) -> None:
    rows = flattened(classes, tmp_path / "flat")
    hot = [[name, *(f"{label == each:.1f}" for each in NAMES)] for name, label in rows]
    write_table(tmp_path / "flat" / "labels.csv", [["image", *NAMES], *hot])
    assert_same(tmp_path / "flat", classes)
    assert any("a class from each of the columns class 2, class 10, other" in x for x in found(tmp_path / "flat").notes)


def test_table_in_an_archive_is_read(tmp_path: Path, classes: Path) -> None:
    write_table(tmp_path / "flat" / "labels.csv", [["file", "label"], *flattened(classes, tmp_path / "flat", "images")])
    with zipfile.ZipFile(tmp_path / "shoes.zip", "w") as file:
        for path in sorted((tmp_path / "flat").rglob("*.*")):
            file.write(path, path.relative_to(tmp_path))
    assert_same(tmp_path / "shoes.zip", classes)


# --- parts


@pytest.mark.parametrize("column", ["split", "Set", "partition"])
@pytest.mark.parametrize("words", [("train", "test"), ("Training", "Testing"), ("TRAIN", "eval")])
def test_column_divides_the_pictures(tmp_path: Path, column: str, words: tuple[str, str]) -> None:
    divided = write_divided(tmp_path / "divided")
    rows = []
    for part, word in zip(("train", "test"), words, strict=True):
        for path in sorted((divided / part).rglob("*.png")):
            name = f"{part}{path.name}"
            (tmp_path / "flat").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "flat" / name)
            rows.append([name, path.parent.name, word])
    write_table(tmp_path / "flat" / "labels.csv", [["file", "label", column], *rows])
    assert_same(tmp_path / "flat", divided)
    assert "test pictures" in found(tmp_path / "flat").checksums
    write_table(tmp_path / "flat" / "labels.csv", rows)
    assert_same(tmp_path / "flat", divided)


def test_validation_rows_are_a_part(tmp_path: Path) -> None:
    touch(tmp_path, "{1,2,3,4,5}.png")
    rows = [["1", "a", "train"], ["2", "b", "train"], ["3", "a", "val"], ["4", "a", "test"], ["5", "b", "test"]]
    write_table(tmp_path / "labels.csv", [["id", "label", "split"], *rows])
    parts = find_layout(tmp_path).parts
    assert {part: [len(each.files) for each in classes] for part, classes in parts.items()} == {
        TRAIN: [1, 1],
        VALIDATION: [1, 0],
        TEST: [1, 1],
    }
    assert any("to validate on join the training pictures" in note for note in find_layout(tmp_path).notes)


def test_folders_of_parts_divide_the_pictures_of_one_table(tmp_path: Path) -> None:
    touch(tmp_path, "{train,test}/{1,2}.jpg")
    rows = [[f"{part}/{i}.jpg", label] for part in ("train", "test") for i, label in ((1, "a"), (2, "b"))]
    write_table(tmp_path / "labels.csv", [["file", "label"], *rows])
    assert set(find_layout(tmp_path).parts) == {TRAIN, TEST}


def test_table_for_each_part_divides_the_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "{train,test}/{1,2}.jpg")
    for part in ("train", "test"):
        write_table(tmp_path / f"{part}.csv", [["id", "label"], [1, "a"], [2, "b"]])
    layout = find_layout(tmp_path)
    assert [path.parent.name for each in layout.parts[TEST] for path in each.files] == ["test", "test"]
    assert [path.parent.name for each in layout.parts[TRAIN] for path in each.files] == ["train", "train"]


def test_pictures_of_a_competition_without_labels_are_left_alone_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "train/{1,2}.jpg", "test/{1,2,3}.jpg", "label_map.json")
    write_table(tmp_path / "train.csv", [["image_id", "label"], ["1.jpg", 0], ["2.jpg", 1]])
    write_table(tmp_path / "test.csv", [["image_id"], ["1.jpg"]])
    write_table(tmp_path / "sample_submission.csv", [["image_id", "label"], ["1.jpg", 0], ["2.jpg", 0]])
    layout = find_layout(tmp_path)
    assert set(layout.parts) == {TRAIN} and layout.class_names == ("0", "1")
    assert layout.notes[1] == "Left alone, having no label in train.csv: test/1.jpg, test/2.jpg, test/3.jpg"


# --- tables beside class folders


def test_class_folders_count_where_a_table_says_the_same(classes: Path) -> None:
    before = found(classes)
    rows = [[path.name, NAMES.index(path.parent.name)] for path in classes.rglob("*.png")]
    write_table(classes / "metadata.csv", [["filename", "label"], *rows])
    assert found(classes).class_names == before.class_names and found(classes).checksums == before.checksums
    write_table(classes / "metadata.csv", [["filename", "width"], *([name, 16] for name, _ in rows)])
    assert found(classes).class_names == before.class_names


def test_test_set_that_a_table_names_beside_class_folders_is_used(tmp_path: Path) -> None:
    touch(tmp_path, "Train/{0,1}/{a,b}.png", "Test/{c,d}.png")
    train = [[f"Train/{label}/{name}.png", label] for label in (0, 1) for name in "ab"]
    write_table(tmp_path / "Train.csv", [["Path", "ClassId"], *train])
    assert set(find_layout(tmp_path).parts) == {TRAIN}
    write_table(tmp_path / "Test.csv", [["Path", "ClassId"], ["Test/c.png", 0], ["Test/d.png", 1]])
    assert [[path.name for path in each.files] for each in find_layout(tmp_path).parts[TEST]] == [["c.png"], ["d.png"]]


def test_coarser_labels_than_the_folders_are_refused(tmp_path: Path, classes: Path) -> None:
    rows = [[path.name, str(path.parent.name == "other")] for path in classes.rglob("*.png")]
    table = write_table(classes / "labels.csv", [["file", "label"], *rows])
    with needs_remedy(
        "it must be clear what the classes are, but in {} both the folders ({}) and the labels in {} ({})"
    ):
        found(classes)
    flattened(classes, tmp_path / "flat", "all")
    shutil.copy(table, tmp_path / "flat")
    assert found(tmp_path / "flat").class_names == ("False", "True")
    table.unlink()
    assert found(classes).class_names == NAMES


# --- what is told


def test_pictures_without_a_row_are_told(tmp_path: Path, classes: Path) -> None:
    rows = flattened(classes, tmp_path / "flat", "images")
    shutil.copy(tmp_path / "flat" / "images" / rows[0][0], tmp_path / "flat" / "images" / "extra.png")
    write_table(tmp_path / "flat" / "labels.csv", [["file", "label"], *rows, [*rows[0]]])
    notes = found(tmp_path / "flat").notes
    assert "Left alone, having no label in labels.csv: images/extra.png" in notes
    assert "Rows of labels.csv that say what others say too: 1" in notes


def test_changed_label_changes_the_checksums(tmp_path: Path, classes: Path) -> None:
    rows = flattened(classes, tmp_path / "flat")
    rows.append(["extra.png", rows[0][1]])
    shutil.copy(tmp_path / "flat" / rows[0][0], tmp_path / "flat" / "extra.png")
    write_table(tmp_path / "flat" / "labels.csv", [["file", "label"], *rows])
    before = found(tmp_path / "flat").checksums
    rows[-1][1] = next(name for name in NAMES if name != rows[0][1])
    write_table(tmp_path / "flat" / "labels.csv", [["file", "label"], *rows])
    assert found(tmp_path / "flat").checksums != before


def test_table_of_pixels_beside_pictures_is_not_read(tmp_path: Path) -> None:
    touch(tmp_path, "{cat,dog}/{1,2}.png")
    write_table(tmp_path / "mnist.csv", [["label", *(f"pixel{i}" for i in range(20_000))], [0] * 20_001])
    assert read_table(tmp_path / "mnist.csv") is None
    assert find_layout(tmp_path).class_names == ("cat", "dog")


# --- what is refused


def relabelled(rows: Rows) -> Rows:
    return [["file", "label"], *rows]


def divided(rows: Rows, is_test: Callable[[int], bool]) -> Rows:
    parts = ["test" if is_test(i) else "train" for i in range(len(rows))]
    return [["file", "label", "split"], *([*row, part] for row, part in zip(rows, parts, strict=True))]


def one_hot(rows: Rows) -> Rows:
    return [["file", *NAMES], *([name, *(str(int(x == label)) for x in NAMES)] for name, label in rows)]


TABLES = [
    Remedy(
        "every picture that {} names must be in {}, but {} of {} are not: {}; add them, or delete their rows",
        lambda rows: [["file", "label"], *rows, ["gone.png", NAMES[0]]],
        relabelled,
    ),
    Remedy(
        "every picture that {} names must be in {}, but {} of {} are not: {}; add them, or delete their rows",
        lambda rows: [["gone.png", NAMES[0]], *rows],
        list,
    ),
    Remedy(
        "a picture must have one class and be in one part, but in {} {} has both {} and {}; delete the row",
        lambda rows: [["file", "label"], *rows, [rows[0][0], NAMES[2]]],
        relabelled,
    ),
    Remedy(
        "one column of {} must name the pictures, but {} and {} both may; delete the one that does not",
        lambda rows: [
            ["file", "image", "label"],
            *([rows[i][0], rows[i - 1][0], rows[i][1]] for i in range(len(rows))),
        ],
        relabelled,
    ),
    Remedy(
        "one column of {} must hold the classes, but {} may; name it label and delete the others",
        lambda rows: [["file", "class", "target"], *([*row, i % 2] for i, row in enumerate(rows))],
        relabelled,
    ),
    Remedy(
        "every picture must have one class, but in {} {} rows have several, or none, among the columns {}; leave these",
        lambda rows: [*one_hot(rows[1:]), [rows[0][0], 1, 1, 0]],
        lambda rows: one_hot(rows),
    ),
    Remedy(
        "every picture must have one class, but in {} {} rows have several, or none, among the columns {}; leave these",
        lambda rows: [["file", *NAMES], *([name, 1, 1, 0] for name, _ in rows)],
        relabelled,
    ),
    Remedy(
        "the column {} of {} must say train, val or test in each row, but says {}; write one of these, or give",
        lambda rows: [["file", "label", "split"], *([*row, i % 5] for i, row in enumerate(rows))],
        lambda rows: [["file", "label", "fold"], *([*row, i % 5] for i, row in enumerate(rows))],
    ),
    Remedy(
        "the column {} of {} must say train, val or test in each row, but says {}; write one of these, or give",
        lambda rows: [["file", "label", "split"], *([*row, ""] for row in rows)],
        lambda rows: [["file", "label", "split"], *([*row, "train"] for row in rows)],
    ),
    Remedy(
        "every row of a table must have as many values, but in {} row {} has {} instead of {}; fix it, and put values",
        lambda rows: [["file", "label"], *rows[:-1], [*rows[-1], "x"]],
        relabelled,
    ),
    Remedy(
        "{} in {} must name two classes at least to train on, but got {}; add rows of others",
        lambda rows: [["file", "label"], *([name, "x"] for name, _ in rows)],
        relabelled,
    ),
    Remedy(
        "a class is named by its label, so that must be printable, but {} has {}; rename it",
        lambda rows: [["file", "label"], *([name, f"{label}\u200bx\n"] for name, label in rows)],
        relabelled,
    ),
    Remedy(
        "the rows to train on and those of {} must have the same classes, but in {} of {} only one has {}; add rows of",
        lambda rows: divided(rows, lambda i: i < 3),
        lambda rows: divided(rows, lambda i: i % 15 < 3),
    ),
]


@pytest.mark.parametrize("remedy", TABLES, ids=str)
def test_table_is_read_once_it_says_what_the_message_asks_for(tmp_path: Path, classes: Path, remedy: Remedy) -> None:
    folder = tmp_path / "flat"
    rows = flattened(classes, folder)
    rows.sort(key=lambda row: NAMES.index(row[1]))
    path = write_table(folder / "labels.csv", remedy.refused(rows))
    with needs_remedy(remedy.says):
        found(folder)
    write_table(path, remedy.followed(rows))
    found(folder)


def test_two_tables_are_refused_until_one_is_moved_away(tmp_path: Path, classes: Path) -> None:
    rows = [["file", "label"], *flattened(classes, tmp_path / "flat")]
    for name in ("a.csv", "b.csv"):
        write_table(tmp_path / "flat" / name, rows)
    with needs_remedy(
        "labels must be in one table, or in train.csv and test.csv, but {} in {} all hold some; keep one"
    ):
        found(tmp_path / "flat")
    (tmp_path / "flat" / "b.csv").rename(tmp_path / "b.csv")
    assert_same(tmp_path / "flat", classes)


def test_name_of_several_pictures_is_refused_until_the_folder_is_written_too(tmp_path: Path) -> None:
    touch(tmp_path, "{x,y}/{1,2}.png")
    write_table(tmp_path / "labels.csv", [["file", "label"], ["1.png", "a"], ["2.png", "b"]])
    (tmp_path / "x").rename(tmp_path / "images_1")
    (tmp_path / "y").rename(tmp_path / "images_2")
    with needs_remedy("every row of {} must stand for one picture, but {} may be {}; write the folder as well"):
        find_layout(tmp_path)
    write_table(tmp_path / "labels.csv", [["file", "label"], ["images_1/1.png", "a"], ["images_1/2.png", "b"]])
    assert find_layout(tmp_path).class_names == ("a", "b")


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("{} must be a table in UTF-8, but: {}; save it as CSV UTF-8", "größe".encode("latin-1"), b""),
        Remedy("{} must be a table of text, but: {}; save it again as CSV", b"x" * 200_000 + b",x\r\n", b""),
    ],
    ids=str,
)
def test_table_that_cannot_be_read_is_saved_again(tmp_path: Path, classes: Path, remedy: Remedy) -> None:
    rows = flattened(classes, tmp_path / "flat")
    path = write_table(tmp_path / "flat" / "labels.csv", [["file", "label"], *rows])
    content = path.read_bytes()
    path.write_bytes(content + remedy.refused)
    with needs_remedy(remedy.says):
        found(tmp_path / "flat")
    path.write_bytes(content + remedy.followed)
    assert_same(tmp_path / "flat", classes)


def test_table_without_such_columns_is_given_them(tmp_path: Path, classes: Path) -> None:
    rows = flattened(classes, tmp_path / "flat")
    path = write_table(tmp_path / "flat" / "x.csv", [["width", "height"], *([16, 16] for _ in rows)])
    with pytest.raises(UserError, match=r"or label them in a table labels\.csv with the columns file and label"):
        found(tmp_path / "flat")
    path.unlink()
    write_table(tmp_path / "flat" / "labels.csv", [["file", "label"], *rows])
    assert_same(tmp_path / "flat", classes)
