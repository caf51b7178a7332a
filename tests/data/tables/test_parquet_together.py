"""Parquet files that go together agree on their classes by name, and on what their columns hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test, load_train
from tests.support.data_sets import found, multiset, refused
from tests.support.made_images import NAMES, digits_of_each
from tests.support.made_parquet import PICTURE, columns_of, pictures_of, write
from tests.support.remedies import needs_remedy

X, Y = digits_of_each([15] * 3, side=8)
X_TEST, Y_TEST = digits_of_each([3] * 3, side=8, first=15)
TRAIN_NAMES = [NAMES[label] for label in Y]
TEST_NAMES = [NAMES[label] for label in Y_TEST]
MIXED = np.random.default_rng(0).permutation(45)
REVERSED = NAMES[::-1]


def as_pictures(images: np.ndarray) -> pa.Array:
    return pa.array(pictures_of(images), PICTURE)


def as_lists(images: np.ndarray) -> pa.Array:
    return pa.array(images.tolist())


def write_named(path: Path, images: pa.Array, names: Sequence[str], order: Sequence[str] | None) -> Path:
    """order: how the file numbers the classes; None: labels are texts."""
    labels = pa.array(list(names)) if order is None else pa.array([list(order).index(name) for name in names])
    return write(path, {"image": images, "label": labels}, order)


@pytest.fixture(params=[as_pictures, as_lists])
def column_of(request: pytest.FixtureRequest) -> Any:
    """What makes a column of images."""
    return request.param


@pytest.mark.parametrize(
    ("orders", "note"),
    [
        ((NAMES, NAMES, REVERSED), "or their order, differ in test.parquet from train-0.parquet"),
        ((NAMES, REVERSED, NAMES), "or their order, differ in train-1.parquet from train-0.parquet"),
        ((REVERSED, NAMES, (*NAMES, "more")), "or their order, differ in train-1.parquet, test.parquet from train-0"),
        ((NAMES, NAMES, None), ""),
        ((None, REVERSED, NAMES), "or their order, differ in test.parquet from train-1.parquet"),
        ((NAMES, NAMES, NAMES), ""),
    ],
    ids=["test", "training", "all", "texts in one", "texts in one, orders in the others", "none"],
)
def test_labels_are_matched_by_name_where_files_number_the_classes_otherwise(
    tmp_path: Path, column_of: Any, orders: Sequence[Sequence[str] | None], note: str
) -> None:
    for i, rows in enumerate((MIXED[:22], MIXED[22:])):
        names = [TRAIN_NAMES[row] for row in rows]
        write_named(tmp_path / "a" / f"train-{i}.parquet", column_of(X[rows]), names, orders[i])
    write_named(tmp_path / "a" / "test.parquet", column_of(X_TEST), TEST_NAMES, orders[2])
    source = found(tmp_path / "a")
    train, test = load_train(source, 0).together(), load_test(source)
    assert sorted(source.class_names) == sorted(NAMES)
    number_of = np.array([source.class_names.index(name) for name in NAMES], np.uint8)
    assert multiset(train) == multiset(LabelledImages(X[..., np.newaxis], number_of[Y]))
    np.testing.assert_array_equal(test.labels, number_of[Y_TEST])
    notes = [sentence for sentence in source.notes if sentence.startswith("The names of the classes")]
    assert len(notes) == bool(note) and all(note in sentence for sentence in notes)


def test_validation_file_in_another_order_is_matched_by_name_too(tmp_path: Path, column_of: Any) -> None:
    write_named(tmp_path / "a" / "train.parquet", column_of(X), TRAIN_NAMES, NAMES)
    write_named(tmp_path / "a" / "validation.parquet", column_of(X_TEST), TEST_NAMES, REVERSED)
    write_named(tmp_path / "a" / "test.parquet", column_of(X_TEST), TEST_NAMES, NAMES)
    train = load_train(found(tmp_path / "a"), 0).together()
    images, labels = np.concatenate([X, X_TEST]), np.concatenate([Y, Y_TEST])
    assert multiset(train) == multiset(LabelledImages(images[..., np.newaxis], labels))


def test_name_that_training_lacks_is_refused(tmp_path: Path, column_of: Any) -> None:
    other = (*NAMES[:2], "others")
    write_named(tmp_path / "a" / "train.parquet", column_of(X), TRAIN_NAMES, NAMES)
    write_named(
        tmp_path / "a" / "test.parquet", column_of(X_TEST), [other[NAMES.index(name)] for name in TEST_NAMES], other
    )
    with needs_remedy("test labels must be classes of the training labels, but in {} there is {}; leave these images"):
        found(tmp_path / "a")
    rows = Y_TEST < 2
    names = [name for name, is_left in zip(TEST_NAMES, rows, strict=True) if is_left]
    write_named(tmp_path / "a" / "test.parquet", column_of(X_TEST[rows]), names, other)
    assert len(load_test(found(tmp_path / "a"))) == 6


def test_files_without_names_beside_several_orders_get_names(tmp_path: Path, column_of: Any) -> None:
    for i, order in enumerate((NAMES, REVERSED)):
        write_named(tmp_path / "a" / f"train-{i}.parquet", column_of(X), TRAIN_NAMES, order)
    write(tmp_path / "a" / "test.parquet", {"image": column_of(X_TEST), "label": pa.array(Y_TEST)})
    with needs_remedy("files that number the classes in different orders must all name them, but {} and {} differ"):
        found(tmp_path / "a")
    write_named(tmp_path / "a" / "test.parquet", column_of(X_TEST), TEST_NAMES, None)
    assert load_test(found(tmp_path / "a")).labels.tolist() == Y_TEST.tolist()
    write_named(tmp_path / "a" / "test.parquet", column_of(X_TEST), TEST_NAMES, REVERSED)
    assert load_test(found(tmp_path / "a")).labels.tolist() == Y_TEST.tolist()


@pytest.mark.parametrize("nameless", ["train.parquet", "test.parquet"])
def test_file_without_names_has_those_of_the_others_and_it_is_said(
    tmp_path: Path, column_of: Any, nameless: str
) -> None:
    for name, images, labels in (("train.parquet", X, Y), ("test.parquet", X_TEST, Y_TEST)):
        columns = {"image": column_of(images), "label": pa.array(labels.astype(np.int64))}
        write(tmp_path / "a" / name, columns, None if name == nameless else NAMES)
    source = found(tmp_path / "a")
    assert source.class_names == NAMES and load_test(source).labels.tolist() == Y_TEST.tolist()
    assert any(note.startswith(f"Labels in {nameless}, which does not name the classes") for note in source.notes)


def test_fine_labels_are_taken_as_in_cifar_100_of_the_hub(tmp_path: Path) -> None:
    coarse = ["animals", "things"]
    for name, images, labels in (("train.parquet", X, Y), ("test.parquet", X_TEST, Y_TEST)):
        table = pa.table({"img": as_pictures(images), "fine_label": pa.array(labels), "coarse_label": labels // 2})
        labelled = {"fine_label": NAMES, "coarse_label": coarse}
        features = {column: {"_type": "ClassLabel", "names": names} for column, names in labelled.items()}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        (tmp_path / "a").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "a" / name)
    source = found(tmp_path / "a")
    assert source.class_names == NAMES and load_test(source).labels.tolist() == Y_TEST.tolist()
    assert "fine_label is read as the label, and not coarse_label" in source.notes


def test_classes_have_the_names_beside_their_numbers(tmp_path: Path, column_of: Any) -> None:
    names = ["toad", "ant", "bee"]
    for name, images, labels in (("train.parquet", X, Y), ("test.parquet", X_TEST, Y_TEST)):
        columns = {"image": column_of(images), "label": pa.array(labels)}
        write(tmp_path / "a" / name, {**columns, "label_name": [names[label] for label in labels]})
    source = found(tmp_path / "a")
    assert source.class_names == ("ant", "bee", "toad")
    assert [source.class_names[label] for label in load_test(source).labels] == [names[label] for label in Y_TEST]
    assert "The names of the classes are those in label_name, which label numbers" in source.notes
    write(tmp_path / "a" / "test.parquet", {"image": column_of(X_TEST), "label": pa.array(Y_TEST)})
    refused(tmp_path / "a", "must have the same columns, but .*test.parquet lacks label_name")
    write(tmp_path / "a" / "test.parquet", {"image": column_of(X_TEST)})
    assert any(note.startswith("test.parquet has no labels") for note in found(tmp_path / "a").notes)


@pytest.mark.parametrize(
    "images",
    [
        pa.array([{"bytes": None, "path": f"{i}.png"} for i in range(45)], PICTURE),
        pa.array([{"bytes": None, "path": f"{i}.png"} for i in range(45)]),
        pa.array([{"path": f"{i}.png"} for i in range(45)]),
        pa.array([f"{i}.png" for i in range(45)]),
        pa.nulls(45, pa.binary()),
        pa.nulls(45, PICTURE),
    ],
    ids=["no bytes", "a type of none", "paths", "texts", "no binary", "nothing"],
)
@pytest.mark.parametrize("options", [{}, {"write_statistics": False}], ids=["statistics", "without"])
@pytest.mark.parametrize("reading", [{}, {"skip_unreadable": True}], ids=["", "skip"])
def test_pictures_are_embedded(tmp_path: Path, images: pa.Array, options: dict, reading: dict) -> None:
    path = write(tmp_path / "a" / "train.parquet", {"image": images, "label": pa.array(Y)}, **options)
    with needs_remedy("{} must hold the pictures themselves, but they are not embedded: {} has at most their paths"):
        found(tmp_path / "a", **reading)
    write(path, columns_of(X, Y), **options)
    assert len(load_test(found(tmp_path / "a", **reading))) == 7


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (as_pictures(X), as_lists(X), "holds lists of numbers and in train-0.parquet pictures; write it"),
        (as_lists(X), as_pictures(X), "holds pictures and in train-0.parquet lists of numbers; write it"),
        (as_lists(X), pa.array(Y), "holds numbers and in train-0.parquet lists of numbers; write it"),
        (as_pictures(X), pa.array(TRAIN_NAMES), "holds texts and in train-0.parquet pictures; write it"),
    ],
)
def test_columns_hold_the_same_in_all_files(tmp_path: Path, first: pa.Array, second: pa.Array, says: str) -> None:
    write(tmp_path / "a" / "train-0.parquet", {"image": first, "label": pa.array(Y)})
    for name in ("train-1.parquet", "test.parquet"):
        path = write(tmp_path / "a" / name, {"image": second, "label": pa.array(Y)})
        with needs_remedy("tables of one data set must have the same in each column, but {} in {} holds {}") as caught:
            found(tmp_path / "a")
        assert says in str(caught.value) and name in str(caught.value)
        write(path, {"image": first, "label": pa.array(Y)})
        found(tmp_path / "a")
        path.unlink()


def test_labels_are_texts_or_numbers_in_all_training_files(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train-0.parquet", columns_of(X, Y))
    path = write(tmp_path / "a" / "train-1.parquet", columns_of(X, TRAIN_NAMES))
    with needs_remedy("tables of one data set must have the same in each column, but {} in {} holds {}") as caught:
        found(tmp_path / "a")
    assert "label in " in str(caught.value) and "holds numbers and in train-1.parquet texts" in str(caught.value)
    write(path, columns_of(X, Y))
    assert found(tmp_path / "a").class_names == ("0", "1", "2")


def test_decimal_labels_number_the_names(tmp_path: Path) -> None:
    assert found(write(tmp_path / "a.parquet", columns_of(X, Y.astype(float)), NAMES)).class_names == NAMES


def test_name_of_two_classes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns_of(X, Y), ["ant", "bee", "bee"])
    with needs_remedy("{} must name each class in a line of its own, but got {}; fix it"):
        found(path)
    assert found(write(path, columns_of(X, Y), ["ant", "bee", "cat"])).class_names == ("ant", "bee", "cat")


def test_test_file_without_labels_beside_one_with_labels_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train.parquet", columns_of(X, Y))
    write(tmp_path / "a" / "test-0.parquet", columns_of(X_TEST, Y_TEST))
    write(tmp_path / "a" / "test-1.parquet", {"image": as_pictures(X_TEST)})
    refused(tmp_path / "a", "must have the same columns, but .*test-1.parquet lacks label; write it")


def test_labels_of_several_test_files_are_named_by_their_file(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train.parquet", columns_of(X, Y + 1))
    write(tmp_path / "a" / "test-0.parquet", columns_of(X_TEST, Y_TEST + 1))
    write(tmp_path / "a" / "test-1.parquet", columns_of(X_TEST, Y_TEST))
    refused(tmp_path / "a", "1 to 3 as in training, which begins with 1, but in .*test-1.parquet one is 0; number")
