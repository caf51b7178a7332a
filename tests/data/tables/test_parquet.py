"""Parquet files are data sets: of pictures, as the Hugging Face hub has them, and of pixels."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fmnist.data.image_folder.names import natural
from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test, load_train
from tests.support.data_sets import found, multiset, refused
from tests.support.made_images import NAMES, digits_of_each, encoded, in_colour, write_divided
from tests.support.made_parquet import PICTURE, columns_of, pictures_of, write
from tests.support.remedies import needs_remedy

X, Y = digits_of_each([15] * 3, side=8)
X_TEST, Y_TEST = digits_of_each([3] * 3, side=8, first=15)
TRAIN, TEST = columns_of(X, Y.astype(np.int64)), columns_of(X_TEST, Y_TEST.astype(np.int64))


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """As the hub has a data set: two files to train on, one to test on, in data/."""
    folder = tmp_path / "signs"
    for i, rows in enumerate((slice(0, 20), slice(20, None))):
        columns = {name: column[rows] for name, column in TRAIN.items()}
        write(folder / "data" / f"train-0000{i}-of-00002.parquet", columns, NAMES, row_group_size=7)
    write(folder / "data" / "test-00000-of-00001.parquet", TEST, NAMES)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Signs\n")
    return folder


def everything(path: Path, **reading: Any) -> list[tuple[bytes, int]]:
    """All images and labels, to train and to test on."""
    source = found(path, **reading)
    return sorted(multiset(load_train(source, 0).together()) + multiset(load_test(source)))


ALL_TRAIN = multiset(LabelledImages(X[..., np.newaxis], Y))


def test_snapshot_of_the_hub_is_a_data_set(snapshot: Path) -> None:
    source = found(snapshot)
    assert (source.dataset, source.class_names, source.image_shape) == ("signs", NAMES, (8, 8, 1))
    assert [Path(name).name[:14] for name in source.checksums] == ["train-00000-of", "train-00001-of", "test-00000-of-"]
    assert multiset(load_train(source, 0).together()) == ALL_TRAIN
    assert load_test(source).labels.tolist() == Y_TEST.tolist()
    np.testing.assert_array_equal(load_test(source).images, X_TEST[..., np.newaxis])
    assert source.notes == ()


@pytest.mark.parametrize("reading", [{"image_size": 16}, {"image_size": 12, "colour": "grey"}, {"colour": "rgb"}])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_pictures_are_the_same_in_class_folders_and_in_parquet(tmp_path: Path, reading: dict, format: str) -> None:
    colour = in_colour(X)
    contents = []
    for i, (image, label) in enumerate(zip(colour, Y, strict=True)):
        path = tmp_path / "mine" / NAMES[label] / f"{i}.{format.lower()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(Image.fromarray(image), format))
        contents.append(path)
    contents.sort(key=lambda path: (natural(path.parent.name), natural(path.name)))
    images = pa.array([{"bytes": path.read_bytes(), "path": path.name} for path in contents], PICTURE)
    write(tmp_path / "mine.parquet", {"image": images, "label": [path.parent.name for path in contents]})
    folders, table = found(tmp_path / "mine", **reading), found(tmp_path / "mine.parquet", **reading)
    assert table.class_names == folders.class_names and table.picture_form == folders.picture_form
    assert load_train(table, 0).checksum == load_train(folders, 0).checksum
    for part in ("train", "selection", "confirmation"):
        ours, theirs = getattr(load_train(table, 0), part), getattr(load_train(folders, 0), part)
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert table.test_checksum == folders.test_checksum


BYTES = pa.array([picture["bytes"] for picture in pictures_of(X) if picture])
NUMBERS = pa.array(Y.astype(np.int64))


@pytest.mark.parametrize(
    "columns",
    [
        {"image": BYTES, "label": NUMBERS},
        {"img": BYTES.cast(pa.large_binary()), "fine": NUMBERS},
        {
            "label": NUMBERS.cast(pa.uint8()),
            "picture": TRAIN["image"],
            "file_name": pa.array(list(map(str, range(45)))),
        },
        {"label": NUMBERS.cast(pa.string()).dictionary_encode(), "image": TRAIN["image"]},
        {"label": pa.array(Y + 1), "image": TRAIN["image"]},
        {"image": pa.array(list(X.reshape(45, -1))), "label": NUMBERS},
        {"image": pa.array(X.tolist(), pa.list_(pa.list_(pa.uint8(), 8), 8)), "label": NUMBERS},
        {"image": pa.array((X[..., np.newaxis] / 255).tolist()), "label": NUMBERS},
        {"label": NUMBERS, **{f"pixel{i}": column for i, column in enumerate(X.reshape(45, -1).T)}},
        {"image": TRAIN["image"], "thumbnail": BYTES, "label": NUMBERS},
    ],
    ids=[
        "binary",
        "other names",
        "with names of files",
        "categories",
        "labels from 1",
        "lists of numbers",
        "lists of rows",
        "lists of rows with a channel, from 0 to 1",
        "a column a pixel",
        "other pictures",
    ],
)
@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a"])
def test_one_file_is_a_data_set_whatever_its_columns_and_its_name(tmp_path: Path, columns: dict, name: str) -> None:
    path = write(tmp_path / name, columns)
    assert everything(path) == ALL_TRAIN
    assert found(path).notes[-1].startswith("There is no test table, so 7 of the 45 images")


def test_link_to_a_file_without_a_name_is_called_by_its_own(tmp_path: Path) -> None:
    write(tmp_path / "blobs" / "0f3a", TRAIN)
    (tmp_path / "signs.parquet").symlink_to(tmp_path / "blobs" / "0f3a")
    assert found(tmp_path / "signs.parquet").dataset == "signs"


def test_table_in_text_that_is_called_parquet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    np.savetxt(path, np.column_stack([Y, X.reshape(45, -1)]), "%d", ",")
    assert everything(path) == ALL_TRAIN


@pytest.mark.parametrize(
    "names",
    [
        ("train.parquet", "test.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("mnist/mnist/train-00000-of-00001.parquet", "mnist/mnist/test-00000-of-00001.parquet"),
        ("data/train-00000-of-00001-8f2c3d.parquet", "data/validation-00000-of-00001-77aa01.parquet"),
    ],
)
def test_parts_are_told_by_the_names_of_files_and_folders(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, columns in zip(names, (TRAIN, TEST), strict=True):
        write(tmp_path / "mine" / name, columns)
    source = found(tmp_path / "mine")
    images = load_train(source, 0).together()
    if "validation" in names[1]:
        assert len(images) + len(load_test(source)) == 54
        assert "join the training images" in source.notes[0]
    else:
        assert multiset(images) == ALL_TRAIN and load_test(source).labels.tolist() == Y_TEST.tolist()


def test_files_without_a_part_are_all_to_train_on(tmp_path: Path) -> None:
    for i, rows in enumerate((slice(0, 20), slice(20, None))):
        write(tmp_path / "mine" / f"{i:04}.parquet", {name: column[rows] for name, column in TRAIN.items()})
    assert everything(tmp_path / "mine") == ALL_TRAIN


@pytest.mark.parametrize("labels", [pa.array([-1] * 9), pa.nulls(9, pa.int64()), None], ids=["-1", "none", "no column"])
def test_test_files_without_labels_are_left_alone(snapshot: Path, labels: pa.Array | None) -> None:
    columns = {"image": TEST["image"], "label": labels}
    write(snapshot / "data" / "test-00000-of-00001.parquet", {k: v for k, v in columns.items() if v is not None}, NAMES)
    source = found(snapshot)
    assert any(note.startswith("test-00000-of-00001.parquet has no labels, so that no") for note in source.notes)
    assert source.notes[-1].startswith("There is no test table with labels, so 7 of the 45 images")


def test_classes_without_pictures_are_named(snapshot: Path) -> None:
    write(snapshot / "a.parquet", TRAIN, [*NAMES, "ghost"])
    source = found(snapshot / "a.parquet")
    assert source.class_names == NAMES and "Classes without a picture to train on: ghost" in source.notes
    pixels = pa.array(list(X.reshape(45, -1)))
    write(snapshot / "b.parquet", {"image": pixels, "label": NUMBERS}, [*NAMES, "ghost"])
    assert found(snapshot / "b.parquet").class_names == NAMES


def test_numbers_that_are_left_out_name_no_class(tmp_path: Path) -> None:
    source = found(write(tmp_path / "a.parquet", columns_of(X, np.array([0, 2, 10])[Y])))
    assert source.class_names == ("0", "2", "10")


CARD = """---
license: mit
dataset_info:
  features:
  - name: label
    dtype:
      class_label:
        names:
          '0': {}
          '1': {}
          '2': 'it''s other'
  splits:
  - name: train
---
# Signs
"""


def test_card_names_the_classes_where_files_do_not(snapshot: Path) -> None:
    (snapshot / "README.md").write_text(CARD.format("another", "one"))
    for path in (snapshot / "data").iterdir():
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    source = found(snapshot)
    assert source.class_names == ("another", "one", "it's other")
    assert "The names of the classes are those in README.md" in source.notes
    assert multiset(load_train(source, 0).together()) == ALL_TRAIN


@pytest.mark.parametrize("card", ["", "---\n---\n", CARD.format("same", "same"), CARD.replace("'2'", "'7'")])
def test_card_that_does_not_name_them_is_passed_over(tmp_path: Path, card: str) -> None:
    write(tmp_path / "mine" / "train.parquet", TRAIN)
    (tmp_path / "mine" / "README.md").write_text(card)
    assert found(tmp_path / "mine").class_names == ("0", "1", "2")


def test_parquet_beside_class_folders_is_left_alone(tmp_path: Path) -> None:
    write_divided(tmp_path / "mine")
    write(tmp_path / "mine" / "train.parquet", TRAIN)
    assert found(tmp_path / "mine").checksums.keys() == {"training pictures", "test pictures"}


@pytest.mark.parametrize("content", [b"no picture", b"", None])
def test_unreadable_picture_is_named_by_its_row_and_skipped(tmp_path: Path, content: bytes | None) -> None:
    pictures = [{"bytes": content, "path": "cut.png"}, *pictures_of(X)]
    columns = {"image": pa.array(pictures, PICTURE), "label": pa.array([0, *Y.tolist()])}
    path = write(tmp_path / "a.parquet", columns)
    with needs_remedy("every picture must be readable, but in {} {} not: {}; fix or delete them, or pass") as caught:
        found(path)
    assert "1 picture is not: row 0 (" in str(caught.value)
    assert everything(path, skip_unreadable=True) == ALL_TRAIN
    write(path, TRAIN)
    assert everything(path) == ALL_TRAIN


def test_pictures_that_differ_are_named_by_their_rows(tmp_path: Path) -> None:
    pictures = pictures_of(X)
    pictures[3] = {"bytes": encoded(Image.new("L", (9, 8))), "path": None}
    path = write(tmp_path / "a.parquet", {"image": pa.array(pictures, PICTURE), "label": NUMBERS})
    refused(path, r"pictures must have one size, but in .*a.parquet 44 are 8 x 8, 1 is 8 x 9 \(row 3\)")


def test_pictures_that_changed_during_a_run_are_named(snapshot: Path) -> None:
    source = found(snapshot)
    path = snapshot / "data" / "test-00000-of-00001.parquet"
    right = path.read_bytes()
    write(path, columns_of(255 - X_TEST, Y_TEST.astype(np.int64)), NAMES)
    with needs_remedy("pictures must stay as they were when the run began, but in {} {} changed or gone: {}"):
        load_test(source)
    path.write_bytes(right)
    assert len(load_test(source)) == 9


def test_cut_or_damaged_file_is_fetched_again(snapshot: Path) -> None:
    path = snapshot / "data" / "train-00001-of-00002.parquet"
    right = path.read_bytes()
    for content in (right[:10], right[:-8], right[: len(right) // 2], right[:200] + bytes(300) + right[500:]):
        path.write_bytes(content)
        with needs_remedy("{} must be a whole Parquet file, but: {}; fetch it again"):
            found(snapshot)
    path.write_bytes(right)
    assert len(load_train(found(snapshot), 0).together()) == 45


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:0", b"<html>", b"", b"a"])
def test_what_stands_in_the_place_of_a_file_is_named(snapshot: Path, content: bytes) -> None:
    path = snapshot / "data" / "train-00001-of-00002.parquet"
    right = path.read_bytes()
    path.write_bytes(content)
    with needs_remedy("{} must be {}, as its name says, but holds {}; fetch it again, or give it the name of what"):
        found(snapshot)
    path.write_bytes(right)
    assert len(load_train(found(snapshot), 0).together()) == 45


def test_missing_file_of_several_is_fetched_too(snapshot: Path) -> None:
    path = snapshot / "data" / "train-00001-of-00002.parquet"
    path.rename(snapshot / "away")
    with needs_remedy("{} must hold all {} files of {}, but got {}; fetch the others too"):
        found(snapshot)
    (snapshot / "away").rename(path)
    assert len(load_train(found(snapshot), 0).together()) == 45


def test_several_data_sets_are_one_each(snapshot: Path) -> None:
    write(snapshot / "large" / "train.parquet", TRAIN)
    with needs_remedy("{} must hold the tables of one data set, but got {}; pass --dataset {}") as caught:
        found(snapshot)
    assert everything(Path(str(caught.value).partition("--dataset ")[2])) == ALL_TRAIN
    assert len(load_train(found(snapshot / "data"), 0).together()) == 45


def test_tables_of_two_kinds_are_of_one(snapshot: Path) -> None:
    np.savetxt(snapshot / "train.csv", np.column_stack([Y, X.reshape(45, -1)]), "%d", ",")
    with needs_remedy("{} must hold tables of one kind, but got {} and {}; move those of one kind away"):
        found(snapshot)
    (snapshot / "train.csv").unlink()
    assert len(load_train(found(snapshot), 0).together()) == 45


def test_column_of_pictures_is_called_image(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"left": BYTES, "right": BYTES, "label": NUMBERS})
    with needs_remedy("must have one column of pictures as bytes, or of pixels as numbers, but got {}; call it image"):
        found(path)
    assert everything(write(path, {"left": BYTES, "image": BYTES, "label": NUMBERS})) == ALL_TRAIN


def test_column_of_labels_is_called_label(tmp_path: Path) -> None:
    columns = {"image": BYTES, "fine": NUMBERS, "coarse": NUMBERS}
    path = write(tmp_path / "a.parquet", columns)
    with needs_remedy("must have one column of labels, but it is not told which, of {}; name the columns, that one"):
        found(path)
    source = found(write(path, {"image": BYTES, "label": NUMBERS, "coarse": NUMBERS}))
    assert "Columns that nothing reads: coarse" in source.notes


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns_of(np.concatenate([X[:1], X]), [None, *Y.tolist()]))
    with needs_remedy("every image needs a label, but in {} {} of {} rows have none; leave these rows out"):
        found(path)
    pq.write_table(pq.read_table(path).slice(1), path)
    assert everything(path) == ALL_TRAIN


@pytest.mark.parametrize("label", [-1, 3])
def test_rows_of_a_class_without_a_name_are_left_out(tmp_path: Path, label: int) -> None:
    path = write(tmp_path / "a.parquet", columns_of(np.concatenate([X[:1], X]), [label, *Y.tolist()]), NAMES)
    with needs_remedy("{} in {} must number the {} classes that the file names, from 0 to {}, but got {} to {}; leave"):
        found(path)
    pq.write_table(pq.read_table(path).slice(1), path)
    assert everything(path) == ALL_TRAIN


def test_files_of_other_columns_are_moved_away(snapshot: Path) -> None:
    write(snapshot / "data" / "test-00000-of-00001.parquet", {"picture": TEST["image"], "label": TEST["label"]})
    with needs_remedy(
        "tables of one data set must have the same columns, but {} lacks {}; write it with them, or move"
    ):
        found(snapshot)
    write(snapshot / "data" / "test-00000-of-00001.parquet", TEST)
    assert len(load_test(found(snapshot))) == 9


@pytest.mark.parametrize("row", [[1, 2, 3], None, [None] * 64])
def test_rows_of_other_lengths_are_left_out(tmp_path: Path, row: list[Any] | None) -> None:
    images = pa.array([row, *X.reshape(45, -1).tolist()], pa.list_(pa.int64()))
    path = write(tmp_path / "a.parquet", {"image": images, "label": pa.array([0, *Y.tolist()])})
    with needs_remedy("must have as many numbers for each image as for the others, but got {}; leave these rows out"):
        found(path)
    pq.write_table(pq.read_table(path).slice(1), path)
    assert everything(path) == ALL_TRAIN


def test_smaller_row_groups_take_less_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", TRAIN)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=6_000))
    with needs_remedy("{} must be read in pieces that fit the memory, but one takes {} GB and {} GB are free; write"):
        found(path)
    write(path, TRAIN, row_group_size=10)
    assert everything(path) == ALL_TRAIN


def test_parquet_without_its_reader_says_what_to_install(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "pyarrow", None)
        patched.setitem(sys.modules, "pyarrow.parquet", None)
        with needs_remedy("{} needs {}, which is not installed; run pip install 'fmnist-search[{}]'") as caught:
            found(snapshot)
    assert str(caught.value).endswith("pip install 'fmnist-search[parquet]'")
    found(snapshot)
