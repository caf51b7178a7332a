"""Tables in text are data sets, whatever separates their fields and wherever the label is."""

from __future__ import annotations

import csv
import gzip
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test, load_train
from fmnist.data.tables import csv_files
from tests.support.data_sets import found, multiset, refused
from tests.support.made_images import NAMES, digits_of_each, in_colour, write_divided, write_pictures
from tests.support.remedies import needs_remedy

X, Y = digits_of_each([15] * 3, side=8)
X_TEST, Y_TEST = digits_of_each([3] * 3, side=8, first=15)
PIXELS = [f"pixel{i}" for i in range(1, 65)]
HEADER = ["label", *PIXELS]


def rows_of(images: np.ndarray, labels: np.ndarray | Sequence[object]) -> list[list[object]]:
    flat = images.reshape(len(images), -1).tolist()
    return [[label, *pixels] for label, pixels in zip(np.asarray(labels).tolist(), flat, strict=True)]


def write(path: Path, rows: Sequence[Sequence[object]], header: Sequence[str] | None = HEADER, **form: Any) -> Path:
    """By the csv module. form: options of its writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, **form)
        if header is not None:
            writer.writerow(header)
        writer.writerows(rows)
    return path


TRAIN, TEST = rows_of(X, Y), rows_of(X_TEST, Y_TEST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table to train on and one to test on."""
    write(tmp_path / "signs" / "signs_train.csv", TRAIN)
    write(tmp_path / "signs" / "signs_test.csv", TEST)
    return tmp_path / "signs"


def is_the_data_set(path: Path) -> None:
    """Claim that these are the digits, in their order, whatever was drawn of them."""
    source = found(path)
    images = load_train(source, 0).together()
    if source.notes and "held out" in source.notes[-1]:
        images = LabelledImages(
            np.concatenate([images.images, load_test(source).images]),
            np.concatenate([images.labels, load_test(source).labels]),
        )
    assert multiset(images) == multiset(LabelledImages(X[..., np.newaxis], Y))


def test_tables_give_the_same_data_set_as_arrays_do(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "signs.npz", x_train=X, y_train=Y, x_test=X_TEST, y_test=Y_TEST)
    tables, arrays = found(folder), found(tmp_path / "signs.npz")
    assert (tables.dataset, tables.class_names, tables.image_shape) == ("signs", ("0", "1", "2"), (8, 8, 1))
    assert list(tables.checksums) == ["signs_train.csv", "signs_test.csv"]
    assert load_train(tables, 0).checksum == load_train(arrays, 0).checksum
    np.testing.assert_array_equal(load_train(tables, 0).train.images, load_train(arrays, 0).train.images)
    assert tables.test_checksum == arrays.test_checksum
    np.testing.assert_array_equal(load_test(tables).images, X_TEST[..., np.newaxis])


def label_last(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    return [[*pixels, label] for label, *pixels in rows]


BY_TEXT = sorted(range(64), key=lambda i: PIXELS[i])  # pixel1, pixel10, pixel11, ...


@pytest.mark.parametrize(
    ("header", "rows", "form"),
    [
        ([*PIXELS, "Class"], label_last(TRAIN), {}),
        (HEADER, TRAIN, {"delimiter": ";"}),
        (HEADER, TRAIN, {"delimiter": "\t", "lineterminator": "\r\n"}),
        (HEADER, TRAIN, {"quoting": csv.QUOTE_ALL}),
        (["", *HEADER], [[i, *row] for i, row in enumerate(TRAIN)], {}),
        (["id", *HEADER], [[f"img {i}", *row] for i, row in enumerate(TRAIN)], {}),
        (["label", *map(str, range(64))], TRAIN, {}),
        (["label", *(f"{i}x{j}" for i in range(1, 9) for j in range(1, 9))], TRAIN, {}),
        (["label", *(PIXELS[i] for i in BY_TEXT)], [[row[0], *(row[1 + i] for i in BY_TEXT)] for row in TRAIN], {}),
        (HEADER, [[float(value) for value in row] for row in TRAIN], {}),
        (HEADER, [[row[0], *(value / 255 for value in row[1:])] for row in TRAIN], {}),
        (HEADER, [row for row in TRAIN for row in (row, [])], {}),
        (None, TRAIN, {}),
        (None, label_last(TRAIN), {}),
        (list(map(str, range(65))), TRAIN, {}),
        (["what", *PIXELS], TRAIN, {}),
    ],
    ids=[
        "label last, called class",
        "semicolons",
        "tabs",
        "quotation marks",
        "numbers of rows without a name",
        "names of rows",
        "pixels called by numbers",
        "pixels called by row and column",
        "pixels in the order of text",
        "decimal numbers",
        "from 0 to 1",
        "empty lines",
        "no names",
        "no names, label last",
        "names of numbers alone",
        "label of another name",
    ],
)
def test_other_ways_to_write_a_table_are_the_same(
    tmp_path: Path, header: list[str] | None, rows: list[list[object]], form: dict
) -> None:
    is_the_data_set(write(tmp_path / "a.csv", rows, header, **form))


def as_gzip(content: bytes) -> bytes:
    return gzip.compress(content)


def with_mark(content: bytes) -> bytes:
    return b"\xef\xbb\xbf" + content


@pytest.mark.parametrize(
    ("change", "name"),
    [(as_gzip, "a.csv.gz"), (as_gzip, "a.csv"), (with_mark, "a.csv"), (bytes, "a.txt"), (bytes, "a.data")],
)
def test_a_table_is_told_by_its_content(tmp_path: Path, change: Callable[[bytes], bytes], name: str) -> None:
    plain = write(tmp_path / "plain.csv", TRAIN).read_bytes()
    (tmp_path / name).write_bytes(change(plain))
    is_the_data_set(tmp_path / name)
    assert found(tmp_path / name).dataset == "a"


def test_one_table_has_a_test_set_drawn_and_says_so(tmp_path: Path) -> None:
    source = found(write(tmp_path / "train.csv", TRAIN), seed=3)
    assert len(load_test(source)) == 7 and len(load_train(source, 0).together()) == 38
    assert source.notes[-1] == (
        "There is no test table, so 7 of the 45 images, drawn by class with seed 3, are held out as the test set"
    )


def test_table_without_labels_is_no_test_set_and_it_is_said(folder: Path) -> None:
    write(folder / "signs_test.csv", [pixels for _, *pixels in TEST], PIXELS)
    write(folder / "sample_submission.csv", [[i, 0] for i in range(9)], ["ImageId", "Label"])
    source = found(folder)
    assert list(source.checksums) == ["signs_train.csv"]
    assert "signs_test.csv has no column of labels, so that no accuracy can be measured on it: it is left alone" in (
        source.notes
    )
    assert "Tables that nothing reads: sample_submission.csv" in source.notes
    assert source.notes[-1].startswith("There is no test table with labels, so 7 of the 45 images")


def test_table_without_names_nor_labels_is_no_test_set(folder: Path) -> None:
    write(folder / "signs_train.csv", TRAIN, None)
    write(folder / "signs_test.csv", [pixels for _, *pixels in TEST], None)
    assert list(found(folder).checksums) == ["signs_train.csv"]


def test_tables_without_names_agree_on_the_label(folder: Path) -> None:
    for name, rows in (("signs_train.csv", TRAIN), ("signs_test.csv", TEST)):
        write(folder / name, label_last(rows), None)
    source = found(folder)
    assert load_test(source).labels.tolist() == Y_TEST.tolist()
    assert any(note.startswith("The last column of ") and "is read as the label" in note for note in source.notes)


def test_validation_table_joins_the_training_images(folder: Path) -> None:
    write(folder / "signs_val.csv", TEST)
    source = found(folder)
    assert len(load_train(source, 0).together()) == 54
    assert any(note.startswith("The images of signs_val.csv join the training images") for note in source.notes)


@pytest.mark.parametrize("header", [HEADER, None], ids=["names of columns", "none"])
def test_labels_may_be_texts(folder: Path, header: list[str] | None) -> None:
    for name, images, labels in (("signs_train.csv", X, Y), ("signs_test.csv", X_TEST, Y_TEST)):
        write(folder / name, rows_of(images, [NAMES[label] for label in labels]), header)
    source = found(folder)
    assert source.class_names == NAMES and load_test(source).labels.tolist() == Y_TEST.tolist()


def test_numbers_that_are_left_out_name_no_class(folder: Path) -> None:
    for name, images, labels in (("signs_train.csv", X, Y), ("signs_test.csv", X_TEST, Y_TEST)):
        write(folder / name, rows_of(images, np.array([0, 2, 10])[labels]))
    source = found(folder)
    assert source.class_names == ("0", "2", "10") and load_test(source).labels.tolist() == Y_TEST.tolist()
    assert any("leaves numbers out: the 3 that occur are the classes" in note for note in source.notes)


@pytest.mark.parametrize("order", ["r{0} g{0} b{0}", "R R R", "pixel_{0}_blue pixel_{0}_red pixel_{0}_green"])
def test_names_tell_the_colours_of_pixels(tmp_path: Path, order: str) -> None:
    colour = in_colour(X)
    if order == "R R R":  # all red ones, then the green, then the blue
        columns = [(f"{channel}{i}", i, number) for number, channel in enumerate("RGB") for i in range(64)]
    else:
        columns = []
        for i in range(64):
            for name in order.format(i).split():
                (number,) = (n for n, word in enumerate(("red", "green", "blue")) if word in name or name[0] == word[0])
                columns.append((name, i, number))
    flat = colour.reshape(len(colour), 64, 3)
    rows = [[int(label), *(int(image[i, c]) for _, i, c in columns)] for label, image in zip(Y, flat, strict=True)]
    source = found(write(tmp_path / "a.csv", rows, ["label", *(name for name, _, _ in columns)]))
    together = sorted(multiset(load_train(source, 0).together()) + multiset(load_test(source)))
    assert source.image_shape == (8, 8, 3) and together == multiset(LabelledImages(colour, Y))


def test_tables_beside_class_folders_are_left_alone(tmp_path: Path) -> None:
    write_divided(tmp_path / "mine")
    write(tmp_path / "mine" / "train.csv", TRAIN)
    assert found(tmp_path / "mine").class_names == NAMES


def test_image_size_fits_the_images_of_tables(folder: Path) -> None:
    assert found(folder, image_size=16).image_shape == (16, 16, 1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,2,3", "line 5 has 3 fields instead of 65"),
        ("," + ",".join(["7"] * 64), "line 5 has no label"),
        ("1," + ",".join(["7"] * 63) + ",x", "line 5 has 'x' as field 65"),
        ("1," + ",".join(["7"] * 64) + ",8", "line 5 has 66 fields instead of 65"),
        ("1,," + ",".join(["7"] * 63), "line 5 has '' as field 2"),
    ],
)
def test_wrong_line_is_named_and_fixed(folder: Path, line: str, says: str) -> None:
    path = folder / "signs_train.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], line, *lines[5:]]))
    with needs_remedy("must be a whole table of numbers, but line {} {}; fix it, or fetch the file again") as caught:
        found(folder)
    assert says in str(caught.value)
    path.write_text("\n".join(lines))
    is_the_data_set(folder)


@pytest.mark.parametrize("form", [{"delimiter": ";"}, {"quoting": csv.QUOTE_ALL}], ids=["semicolons", "quoted"])
@pytest.mark.parametrize("header", [HEADER, None], ids=["names of columns", "none"])
def test_decimal_commas_are_points(folder: Path, form: dict, header: list[str] | None) -> None:
    rows = [[row[0], *(f"{value / 255:.6f}" for value in row[1:])] for row in TRAIN]
    commas = [[label, *(value.replace(".", ",") for value in pixels)] for label, *pixels in rows]
    (folder / "signs_test.csv").unlink()
    path = write(folder / "signs_train.csv", commas, header, **form)
    for place in (path, folder):
        with needs_remedy("{} must have numbers with decimal points, but line {} has {}; write points") as caught:
            found(place)
        assert f"line {1 if header is None else 2} has '0," in str(caught.value)
    is_the_data_set(write(path, rows, header, **form))


def test_table_without_rows_or_with_one_class_gets_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [])
    with needs_remedy("there must be images of two classes or more, but in {} there is no image; add some of each"):
        found(path)
    for rows in (TRAIN[:1], TRAIN[:15]):
        write(path, rows)
        with needs_remedy("labels must be of two classes or more, but in {} all are {}; add images of another class"):
            found(path)
    is_the_data_set(write(path, TRAIN))


def test_wrong_line_far_behind_is_named(tmp_path: Path) -> None:
    rows = [*TRAIN * 50, [0, 1]]
    with needs_remedy("must be a whole table of numbers, but line {} {}; fix it") as caught:
        found(write(tmp_path / "a.csv", rows))
    assert "line 2,252 has 2 fields" in str(caught.value)


def test_cut_gzip_is_fetched_again(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    whole = gzip.compress(write(tmp_path / "plain.csv", TRAIN).read_bytes())
    for n_bytes in (5, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:n_bytes])
        with needs_remedy("{} must be a whole gzip file, but is cut or damaged ({}); fetch it again"):
            found(path)
    path.write_bytes(whole)
    is_the_data_set(path)


def test_cut_table_in_a_folder_is_named(folder: Path) -> None:
    path = folder / "signs_train.csv"
    (folder / "signs_train.csv.gz").write_bytes(gzip.compress(path.read_bytes())[:40])
    path.unlink()
    refused(folder, r"signs_train.csv.gz must be a whole gzip file, but is cut or damaged")


def test_table_in_another_encoding_is_saved_in_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows_of(X, np.array(["ä", "b", "c"])[Y]))
    right = path.read_bytes()
    path.write_bytes(right.decode("utf-8").encode("latin-1"))
    with needs_remedy("{} must be a text file in UTF-8, but: {}; save it so"):
        found(path)
    path.write_bytes(right)
    assert found(path).class_names == ("b", "c", "ä")


def test_label_that_could_be_two_columns_is_named(tmp_path: Path) -> None:
    images = X.copy()
    images[:, -1, -1] = np.arange(45) % 3  # as good a label as the first column
    path = write(tmp_path / "a.csv", rows_of(images, Y), None)
    with needs_remedy("must have one column of labels, but it is not told which, of {}; name the columns, that one"):
        found(path)
    source = found(write(path, rows_of(images, Y)))
    assert len(source.class_names) == 3


def test_two_labels_are_one_and_another_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TRAIN, ["label", "target", *PIXELS[1:]])
    with needs_remedy("must have one column of labels, but it is not told which, of {}; name the columns, that one"):
        found(path)
    is_the_data_set(write(path, TRAIN))


def test_other_columns_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [[*row, 7] for row in TRAIN], [*HEADER, "weight"])
    with needs_remedy("must have as many columns of pixels as a square image, 784 for 28 x 28, but got {}; leave out"):
        found(path)
    is_the_data_set(write(path, TRAIN))


@pytest.mark.parametrize("name", ["labels.csv", "images/labels.csv", "meta/labels.csv"])
def test_table_that_names_pictures_is_read_by_its_folder(tmp_path: Path, name: str) -> None:
    folder = write_pictures(tmp_path / "my set", X, Y, ["images"] * 3)
    rows = [[f"{i:04}.png", NAMES[label]] for i, label in enumerate(Y)]
    path = write(folder / name, rows, ["file", "label"])
    with needs_remedy(
        "must have a label and the pixels of an image in each row, but the number of its columns is {}; if they"
    ) as caught:
        found(path)
    proposed = str(caught.value).rpartition("such as --dataset ")[2]
    assert found(Path(*shlex.split(proposed))).class_names == NAMES


def test_table_in_utf16_is_saved_in_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", TRAIN)
    text = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-16")
    with needs_remedy("{} must be a table in UTF-8, but is in UTF-16, as Unicode Text is; save it as CSV UTF-8"):
        found(path)
    path.write_text(text, encoding="utf-8-sig")
    is_the_data_set(path)


def test_labels_that_differ_in_capitals_or_spaces_are_one_class(folder: Path) -> None:
    names = ["Even", "odd", "two  words"]
    others = [" EVEN", "Odd", "Two words "]
    spelt = [[(others if i % 4 == 0 else names)[row[0]], *row[1:]] for i, row in enumerate(TRAIN)]
    path = write(folder / "signs_train.csv", spelt)
    write(folder / "signs_test.csv", [[["even", "ODD", "TWO WORDS"][row[0]], *row[1:]] for row in TEST])
    source = found(folder)
    assert source.class_names == ("Even", "odd", "two  words")
    (note,) = [note for note in source.notes if "one class" in note]
    assert note == (
        f"Labels in label in {path} that differ in capitals or spaces alone are one class: "
        "Even (also EVEN), odd (also Odd), two  words (also 'Two words')"
    )
    np.testing.assert_array_equal(load_test(source).labels, Y_TEST)


def test_letters_keep_their_capitals(folder: Path) -> None:
    for name, rows in (("signs_train.csv", TRAIN), ("signs_test.csv", TEST)):
        write(folder / name, [["Aa-"[row[0]], *row[1:]] for row in rows])
    assert set(found(folder).class_names) == {"A", "a", "-"}


def test_text_of_one_long_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x" * 300_000)
    refused(
        tmp_path / "a.csv",
        "a.csv must have a label and the pixels of an image in each row, but the number of its columns is 1; if",
    )


def test_pixels_in_colour_are_named(tmp_path: Path) -> None:
    rows = rows_of(in_colour(X), Y)
    path = write(tmp_path / "a.csv", rows, ["label", *(f"pixel{i}" for i in range(192))])
    with needs_remedy("must tell which colour each of its {} pixels is, but its columns are not named so; name them"):
        found(path)
    assert found(write(path, rows, ["label", *(f"{c}{i}" for i in range(64) for c in "rgb")])).image_shape == (8, 8, 3)


def test_tables_are_one_to_train_on_and_one_to_test_on(folder: Path) -> None:
    write(folder / "train2.csv", TRAIN)
    with needs_remedy("{} must hold one table to train on and one to test on, but got {}; name them train and test"):
        found(folder)
    (folder / "train2.csv").unlink()
    is_the_data_set(folder)


def test_table_to_test_on_needs_one_to_train_on(folder: Path) -> None:
    (folder / "signs_train.csv").unlink()
    with needs_remedy("{} must hold a table to train on, but got {}; rename it to train, or pass the table itself"):
        found(folder)
    write(folder / "signs_test.csv", TRAIN)
    is_the_data_set(folder / "signs_test.csv")
    (folder / "signs_test.csv").rename(folder / "train.csv")
    is_the_data_set(folder)


def test_options_of_pictures_are_left_out(folder: Path) -> None:
    with needs_remedy(
        "are for picture files, in folders, archives or Parquet, but {} holds pixels as numbers; leave them out"
    ):
        found(folder, colour="grey")
    is_the_data_set(folder)


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"\x89PNG\r\n", b"<!doctype html>", b"1,2\0,3"])
def test_something_else_that_is_called_csv_is_fetched_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with needs_remedy("{} must be {}, as its name says, but holds {}; fetch it again, or give it the name of what"):
        found(path)
    is_the_data_set(write(path, TRAIN))


def test_arrays_that_are_called_csv_are_read_as_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        np.savez(file, x_train=X, y_train=Y)
    is_the_data_set(path)


def test_picture_that_is_called_csv_gives_its_name_to_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    Image.fromarray(X[0]).save(path, "PNG")
    with needs_remedy("{} must be {}, as its name says, but holds {}; fetch it again, or give it the name of what"):
        found(path)
    path.rename(tmp_path / "a.png")
    is_the_data_set(write(path, rows_of(X, Y)))


def test_images_are_written_in_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "MAX_LINE", 2_000)  # that of the module would take long to write
    path = tmp_path / "a.csv"
    write(path, [[value for row in TRAIN for value in row]], None)
    with needs_remedy("must have an image in each line, but line {} is longer than {} characters; write each image"):
        found(path)
    is_the_data_set(write(path, TRAIN))


def test_table_that_fills_the_memory_is_refused_while_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with needs_remedy("GB of memory, and as much again while they are split, but {} GB are free; {}"):
        found(folder)
