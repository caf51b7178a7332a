"""What labels say, in folders, tables, data sets and lists, is the class of the model that they mean. No Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fmnist.errors import UserError
from fmnist.model.metadata import ModelMetadata
from fmnist.predict.evaluation import labelled_items
from fmnist.predict.items import read_inputs
from fmnist.predict.labels import ClassFinder, labels_of_caller, read_table
from tests.support.made_images import write_idx

NAMES = ("T-shirt/top", "Ankle boot", "bag")
METADATA = ModelMetadata(NAMES, (8, 8, 1), background=0.0)
IMAGES = np.zeros((4, 8, 8), np.uint8)


def truth_of(images: Any, metadata: ModelMetadata = METADATA, say: Any = pytest.fail) -> list[int]:
    """The class of each image that `evaluate` compares the model with."""
    return labelled_items(read_inputs(images), None, metadata, say)[1].tolist()


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(IMAGES[0]).save(path)
    return path


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["bag", "Bag", "BAG"], [2, 2, 2]),
        (["T-shirt_top", "t-shirt top", "T-shirt/top", "T_Shirt-Top"], [0, 0, 0, 0]),
        (["ankle_boot", "2", "bag"], None),
        (["2", "0"], [2, 0]),
        (["4"], None),
        (["boot"], None),
    ],
)
def test_names_mean_a_class_in_any_case_and_numbers_where_there_is_no_name(
    labels: list[str], expected: list[int] | None
) -> None:
    classes = ClassFinder(NAMES)
    if expected is None:
        with pytest.raises(UserError, match=r"must be classes of the model \(T-shirt/top, Ankle boot, bag\), but got"):
            classes.find_all(labels, "labels")
    else:
        assert classes.find_all(labels, "labels").tolist() == expected


def test_name_that_could_be_two_classes_is_none_unless_it_is_exact() -> None:
    classes = ClassFinder(("a b", "a_b"))
    assert classes.find_all(["a_b", "a b"], "labels").tolist() == [1, 0]
    with pytest.raises(UserError, match="but got 'A-B'"):
        classes.find_all(["A-B"], "labels")


def test_labels_of_a_caller_keep_their_spelling_where_it_makes_a_class() -> None:
    classes = ClassFinder(("AB", "Ab"))
    assert labels_of_caller(np.array(["Ab", "AB", "Ab"]), 3, classes, pytest.fail).tolist() == [1, 0, 1]


def test_numbers_are_names_where_the_classes_are_called_by_numbers() -> None:
    """As those of a data set are whose labels begin with 1."""
    assert ClassFinder(("1", "2", "3")).find_numbers(np.array([1, 3]), "y").tolist() == [0, 2]
    with pytest.raises(UserError, match="but got 0"):
        ClassFinder(("1", "2", "3")).find_numbers(np.array([0, 1]), "y")


def test_numbers_up_to_the_number_of_classes_begin_with_1_and_that_is_said() -> None:
    said: list[str] = []
    assert ClassFinder(NAMES).find_numbers(np.array([1, 3, 3]), "y", said.append).tolist() == [0, 2, 2]
    assert said == ["y number the classes from 1 to 3: 1 is T-shirt/top"]
    assert ClassFinder(NAMES).find_numbers(np.array([1, 2]), "y", pytest.fail).tolist() == [1, 2]


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1, 2],
        np.array([2.0, 0, 1, 2]),
        [[2], [0], [1], [2]],
        np.eye(3)[[2, 0, 1, 2]],
        ["bag", "T-shirt/top", "Ankle boot", "BAG"],
        np.array([b"bag", b"T-shirt/top", b"Ankle boot", b"bag"]),
    ],
    ids=["numbers", "decimals", "column", "one-hot", "names", "bytes"],
)
def test_labels_of_a_caller_have_the_forms_of_training(labels: Any) -> None:
    said: list[str] = []
    assert labels_of_caller(labels, 4, ClassFinder(NAMES), said.append).tolist() == [2, 0, 1, 2]


def test_class_folders_are_those_right_below_what_is_named(tmp_path: Path) -> None:
    for name in ("T-shirt_top/a.png", "bag/sub/b.png", "ANKLE BOOT/c.png", "bag/d.png"):
        picture(tmp_path / "new" / name)
    assert truth_of(tmp_path / "new") == [1, 0, 2, 2]
    picture(tmp_path / "bag" / "e.png")
    assert truth_of([tmp_path / "bag", tmp_path / "new" / "T-shirt_top" / "a.png"]) == [2, 0]


def test_class_folder_may_be_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "bag" / "a.png")
    monkeypatch.chdir(tmp_path / "bag")
    assert truth_of(["a.png", "."]) == [2, 2]


def test_table_names_files_from_its_own_folder_on(tmp_path: Path) -> None:
    path = picture(tmp_path / "pictures" / "a.png")
    for content in (
        "file,label\npictures/a.png,bag\n",
        "\ufeffLabel;other;File\r\nBag;1;pictures/a.png\r\n\r\n",
        'image\tclass\n"pictures/a.png"\t"bag"\n',
        f"filename,category\n{path},bag",
    ):
        (tmp_path / "t.csv").write_text(content, encoding="utf-8")
        assert truth_of(tmp_path / "t.csv") == [2]
        assert [row.path for row in read_table(str(tmp_path / "t.csv"), labelled=True)] == [str(path)]
    (tmp_path / "t.csv").write_text("file\npictures/a.png\n")
    assert read_table(str(tmp_path / "t.csv"), labelled=False)[0].label is None


def test_labels_of_a_data_set_are_those_of_its_images(tmp_path: Path) -> None:
    say: Any = [].append
    np.savez(tmp_path / "a.npz", x_train=IMAGES[:1], y_train=[0], x_test=IMAGES, y_test=[0, 1, 2, 1])
    assert truth_of(tmp_path / "a.npz", say=say) == [0, 1, 2, 1]
    np.savez(tmp_path / "b.npz", IMAGES, np.array([0, 1, 2, 1]))
    assert truth_of(tmp_path / "b.npz") == [0, 1, 2, 1]
    np.savez(tmp_path / "c.npz", x=IMAGES, y=np.array(["bag", "bag", "Ankle boot", "bag"]))
    assert truth_of(tmp_path / "c.npz") == [2, 2, 1, 2]
    np.save(tmp_path / "x_test.npy", IMAGES)
    np.save(tmp_path / "y_test.npy", np.eye(3)[[2, 1, 0, 0]])
    assert truth_of(tmp_path / "x_test.npy") == [2, 1, 0, 0]
    folder = write_idx(tmp_path / "idx", (IMAGES[:2], np.array([0, 1])), (IMAGES, np.array([2, 2, 1, 0])))
    assert truth_of(folder, say=say) == [2, 2, 1, 0]
    assert truth_of(folder / "train-images-idx3-ubyte") == [0, 1]


def test_classes_that_a_data_set_names_in_another_order_are_found_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGES, y=[0, 1, 2, 0], class_names=np.array(["bag", "T-shirt top", "ankle boot"]))
    assert truth_of(tmp_path / "a.npz") == [2, 0, 1, 2]
    folder = write_idx(tmp_path / "idx", (IMAGES[:2], np.array([0, 1])), (IMAGES, np.array([0, 1, 1, 0])))
    (folder / "classes.txt").write_text("bag\nankle boot\n")
    assert truth_of(folder / "t10k-images-idx3-ubyte") == [2, 1, 1, 2]


def test_empty_folder_has_no_label_and_is_named_as_unreadable(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "bag" / "a.png")
    assert truth_of([tmp_path / "empty", tmp_path / "bag"]) == [-1, 2]
