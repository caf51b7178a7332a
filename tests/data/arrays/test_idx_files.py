"""IDX files are found under all the names that they have in the wild, and read alike."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.arrays.idx.names import find_idx_sets, parse_idx_name
from fmnist.data.find import find_data
from fmnist.data.idx import IDX_NAMES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from fmnist.data.source import DataSource
from tests.support.data_sets import found, refused, write_idx_file
from tests.support.remedies import needs_remedy

PUBLISHED = {"images": "idx3-ubyte", "labels": "idx1-ubyte"}


def write(
    folder: Path,
    form: str = "{part}-{content}-{kind}",
    test: str = "t10k",
    *,
    first: int = 0,
    n_classes: int = 3,
    sides: tuple[int, int] = (6, 7),
) -> Path:
    """Write 24 training and 3 test images of each class, numbered from `first`, in files that are named by the form."""
    generator = np.random.default_rng(0)
    for part, n_each in (("train", 24), (test, 3)):
        images = generator.integers(0, 256, (n_each * n_classes, *sides), dtype=np.uint8)
        labels = (np.arange(len(images)) % n_classes + first).astype(np.uint8)
        for content, array in (("images", images), ("labels", labels)):
            path = folder / form.format(part=part, content=content, kind=PUBLISHED[content])
            path.parent.mkdir(parents=True, exist_ok=True)
            write_idx_file(path, array)
    return folder


def content(source: DataSource) -> tuple[bytes, str]:
    return source.read_train().images.tobytes(), source.test_checksum


@pytest.mark.parametrize("test", ["t10k", "test"])
@pytest.mark.parametrize(
    "form",
    [
        "{part}-{content}-{kind}",
        "{part}-{content}-{kind}.gz",
        "{part}-{content}.{kind}",
        "{part}-{content}.{kind}.gz",
        "{part}_{content}_{kind}",
        "{part}-{content}-{kind}/{part}-{content}-{kind}",
        "{part}-{content}.{kind}/{part}-{content}.{kind}",
        "{part}-{content}-{kind}.gz/{part}-{content}-{kind}",
        "shapes-{part}-{content}-{kind}.gz",
        "Shapes.v2_{part}-{content}-{kind}",
    ],
)
def test_files_are_found_by_their_usual_names(tmp_path: Path, form: str, test: str) -> None:
    source = found(write(tmp_path / "found", form, test))
    assert source.class_names == ("0", "1", "2") and source.image_shape == (6, 7, 1) and source.dataset == "found"
    assert content(source) == content(found(write(tmp_path / "published")))
    assert not source.notes


@pytest.mark.parametrize("change", [str.upper, str.title])
def test_capitals_and_small_letters_are_the_same(tmp_path: Path, change) -> None:
    folder = write(tmp_path / "changed")
    for path in list(folder.iterdir()):
        path.rename(folder / change(path.name))
    assert content(found(folder)) == content(found(write(tmp_path / "published")))
    zipped = write(tmp_path / "zipped", "{part}-{content}-{kind}.gz")
    for path in list(zipped.iterdir()):
        path.rename(zipped / change(path.name))
    assert content(found(zipped)) == content(found(folder))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train-images-idx3-ubyte.gz", TRAIN_IMAGES),
        ("emnist-letters-train-labels-idx1-ubyte", TRAIN_LABELS),
        ("TEST-IMAGES.IDX4-UBYTE", TEST_IMAGES),
        ("t10k-labels.idx1-ubyte", TEST_LABELS),
        ("train-images-idx1-ubyte", None),
        ("train-images.png", None),
        ("images-idx3-ubyte", None),
        ("train-images-idx3-ubyte.zip", None),
    ],
)
def test_name_says_which_of_the_four_a_file_is(name: str, role: str | None) -> None:
    parsed = parse_idx_name(name)
    assert (None if parsed is None else parsed.role) == role


def test_file_that_is_there_twice_is_read_once_and_said(tmp_path: Path) -> None:
    folder = write(write(tmp_path, "{part}-{content}-{kind}/{part}-{content}-{kind}"), "{part}-{content}.{kind}")
    source = found(folder)
    assert set(source.checksums) == {name.replace("-idx", ".idx") for name in IDX_NAMES}
    (note,) = source.notes
    assert "Files that nothing reads" in note and "train-labels-idx1-ubyte/train-labels-idx1-ubyte" in note


def test_labels_from_1_become_classes_from_0_that_keep_their_numbers(tmp_path: Path) -> None:
    source = found(write(tmp_path, first=1))
    assert source.class_names == ("1", "2", "3") and source.read_train().labels[:3].tolist() == [0, 1, 2]
    (note,) = source.notes
    assert "numbers the classes from 1 to 3" in note


def test_images_of_emnist_are_turned_upright_by_the_names_of_their_files(tmp_path: Path) -> None:
    plain = found(write(tmp_path / "plain"))
    turned = found(write(tmp_path / "emnist", "emnist-letters-{part}-{content}-{kind}.gz", "test", first=1))
    assert turned.image_shape == (7, 6, 1)
    assert (turned.read_train().images == plain.read_train().images.swapaxes(1, 2)).all()
    assert any("rows and columns of their images exchanged" in note for note in turned.notes)


def test_mapping_of_emnist_names_the_classes(tmp_path: Path) -> None:
    folder = write(tmp_path, "emnist-letters-{part}-{content}-{kind}.gz", "test", first=1)
    mapping = folder / "emnist-letters-mapping.txt"
    mapping.write_text("1 65 97\n2 66 98\n3 67 99\n")
    source = found(folder)
    assert source.class_names == ("A", "B", "C") and mapping.name in source.checksums
    (folder / "classes.txt").write_text("ay\nbee\ncee\n")
    assert found(folder).class_names == ("ay", "bee", "cee")


def test_mapping_that_is_another_text_is_restored_or_deleted(tmp_path: Path) -> None:
    folder = write(tmp_path, "emnist-digits-{part}-{content}-{kind}.gz", "test")
    mapping = folder / "emnist-digits-mapping.txt"
    mapping.write_text("0 48\n1 49\ntwo\n")
    with needs_remedy("{} must have a class in each line, its label and the code of its character, but line {} is {}"):
        found(folder)
    mapping.write_text("0 48\n1 49\n2 50\n")
    assert found(folder).class_names == ("0", "1", "2")
    mapping.unlink()
    assert found(folder).class_names == ("0", "1", "2")


def test_folder_of_several_data_sets_is_refused_with_the_choice(tmp_path: Path) -> None:
    folder = tmp_path / "g zip"
    write(folder, "emnist-letters-{part}-{content}-{kind}.gz", "test", first=1)
    write(folder, "emnist-digits-{part}-{content}-{kind}.gz", "test", n_classes=10, sides=(28, 28))
    with needs_remedy("a folder of IDX files must hold one data set, but {} holds {} ({}); {}") as caught:
        found(folder)
    assert "(emnist-digits, emnist-letters)" in str(caught.value)
    name, option, place = shlex.split(str(caught.value).partition("--dataset ")[2])
    assert (name, option) == ("emnist-digits", "--data-dir")
    assert find_data(name, Path(place)).class_names == tuple("0123456789")


def test_folder_of_several_unknown_data_sets_is_read_once_all_but_one_are_gone(tmp_path: Path) -> None:
    write(write(tmp_path), "other-{part}-{content}-{kind}")
    refused(tmp_path, r"holds 2 \(one without a name, other\); move the files of all but one elsewhere")
    for path in tmp_path.glob("other-*"):
        path.unlink()
    found(tmp_path)


def test_folder_that_cannot_be_looked_into_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert find_idx_sets(tmp_path / "file") == find_idx_sets(tmp_path / "nowhere") == {}
