"""Folders of .npy and .npz files are a data set: one array a class, or images and labels by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from fmnist.data.arrays.names import without_common_words
from fmnist.data.arrays.per_class import shortened
from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test, load_train
from tests.support.data_sets import found, multiset, refused
from tests.support.made_images import digits_of_each, in_colour, write_pictures
from tests.support.remedies import Remedy, needs_remedy

X, Y = digits_of_each([18] * 3)
X_TEST, Y_TEST = digits_of_each([3] * 3, first=18)
EXPECTED = multiset(LabelledImages(X[..., np.newaxis], Y))
PARTS = {"x_train": X, "y_train": Y, "x_test": X_TEST, "y_test": Y_TEST}


Writer = Callable[[Path, Mapping[str, np.ndarray]], Path]


def of_class(label: int) -> np.ndarray:
    return X[label == Y]


def save(folder: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """A .npy file for each array."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def save_archives(folder: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """An .npz file for each array, which has no name in it: NumPy calls it arr_0."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.savez_compressed(folder / f"{name}.npz", array)
    return folder


def all_of(path: Path) -> list[tuple[bytes, int]]:
    source = found(path)
    return sorted(multiset(load_train(source, 0).together()) + multiset(load_test(source)))


@pytest.mark.parametrize("prefix", ["", "full_numpy_bitmap_"], ids=["plain", "as QuickDraw's"])
def test_arrays_are_classes_in_natural_order_called_by_their_files(tmp_path: Path, prefix: str) -> None:
    rows = {f"{prefix}{name}": of_class(i).reshape(18, -1) for i, name in enumerate(["cat 2", "cat 10", "The Tower"])}
    folder = save(tmp_path / "quickdraw.v1", rows)
    source = found(folder)
    assert (source.dataset, source.class_names) == ("quickdraw.v1", ("cat 2", "cat 10", "The Tower"))
    assert source.image_shape == (16, 16, 1) and len(source.checksums) == 3
    assert all_of(folder) == EXPECTED
    shortening = f": {prefix}cat 2 is cat 2" if prefix else ""
    assert source.notes[0] == f"Each of the 3 arrays is a class, called by the array's name{shortening}"
    assert any("There is no array of test images, so 9 of the 54 images" in note for note in source.notes)


@pytest.mark.parametrize(
    "make",
    [
        lambda images: images,
        lambda images: images[..., np.newaxis],
        lambda images: images[:, np.newaxis],
        lambda images: images.reshape(18, -1),
        lambda images: images / 255,
        lambda images: images.astype(np.int64),
    ],
    ids=["grey", "channels last", "channels first", "rows", "from 0 to 1", "long integers"],
)
def test_every_form_of_images_is_read(tmp_path: Path, make: Callable[[np.ndarray], np.ndarray]) -> None:
    assert all_of(save(tmp_path / "shapes", {name: make(of_class(i)) for i, name in enumerate("abc")})) == EXPECTED


def test_archive_of_arrays_called_by_classes_is_a_data_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "animals.npz", dog=of_class(1), cat=of_class(0), emu=of_class(2))
    source = found(tmp_path / "animals.npz")
    assert source.class_names == ("cat", "dog", "emu") and list(source.checksums) == ["animals.npz"]
    assert len(all_of(tmp_path / "animals.npz")) == 54


def test_archives_of_one_array_are_classes_called_by_their_files(tmp_path: Path) -> None:
    folder = save_archives(tmp_path / "animals", {name: of_class(i) for i, name in enumerate("abc")})
    assert found(folder).class_names == ("a", "b", "c") and all_of(folder) == EXPECTED


def test_colour_images_of_a_class_each(tmp_path: Path) -> None:
    folder = save(tmp_path / "animals", {name: in_colour(of_class(i)) for i, name in enumerate("abc")})
    assert found(folder).image_shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["full_numpy_bitmap_cat", "full_numpy_bitmap_The Eiffel Tower"], ["cat", "The Eiffel Tower"]),
        (["cat-images", "dog-images"], ["cat", "dog"]),
        (["data_cat_npy", "data_dog_npy"], ["cat", "dog"]),
        (["big cat", "big dog"], ["big cat", "big dog"]),
        (["image", "image_2"], ["image", "image_2"]),
        (["full", "full_moon"], ["full", "full_moon"]),
        (["images_cat", "data_dog"], ["images_cat", "data_dog"]),
        (["data_a b", "data a b"], ["a b", "a b"]),
    ],
)
def test_only_words_that_no_class_has_are_left_out_of_names(names: list[str], short: list[str]) -> None:
    if len(set(short)) < len(short):
        short = names
    assert shortened(names) == short


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["kmnist-train-imgs", "kmnist-train-labels"], ["train_imgs", "train_labels"]),
        (["my_set_x_train", "my_set_y_train"], ["x_train", "y_train"]),
        (["train_x", "train_y"], ["train_x", "train_y"]),
        (["x_train", "x_test"], ["x_train", "x_test"]),
        (["arr_0", "arr_1"], ["arr_0", "arr_1"]),
        (["cat", "dog"], ["cat", "dog"]),
        (["a"], ["a"]),
    ],
)
def test_names_lose_words_that_all_begin_with_unless_they_say_a_role(names: list[str], short: list[str]) -> None:
    assert without_common_words(names) == short


@pytest.mark.parametrize("name_of", [lambda name: name, lambda name: f"mnist_{name}"], ids=["plain", "with a prefix"])
@pytest.mark.parametrize("write", [save, save_archives])
def test_files_of_one_array_called_by_parts_are_images_and_labels(
    tmp_path: Path, write: Writer, name_of: Callable[[str], str]
) -> None:
    folder = write(tmp_path / "mine", {name_of(name): array for name, array in PARTS.items()})
    source = found(folder)
    assert (source.class_names, len(source.checksums), source.notes) == (("0", "1", "2"), 4, ())
    assert multiset(load_train(source, 0).together()) == EXPECTED
    assert multiset(load_test(source)) == multiset(LabelledImages(X_TEST[..., np.newaxis], Y_TEST))


def test_files_of_kmnist_are_a_data_set(tmp_path: Path) -> None:
    names = ("kmnist-train-imgs", "kmnist-train-labels", "kmnist-test-imgs", "kmnist-test-labels")
    folder = save_archives(tmp_path / "kmnist", dict(zip(names, PARTS.values(), strict=True)))
    (folder / "kmnist_classmap.csv").write_text("index,codepoint,char\n")
    source = found(folder)
    assert sorted(source.checksums) == sorted(f"{name}.npz" for name in names)
    assert multiset(load_train(source, 0).together()) == EXPECTED and len(load_test(source)) == 9


def test_folder_of_npy_names_its_classes_and_holds_images_out(tmp_path: Path) -> None:
    folder = save(tmp_path, {"images": X, "labels": Y, "class_names": np.array(["a", "b", "c"])})
    source = found(folder)
    assert source.class_names == ("a", "b", "c")
    assert any("There is no x_test, so 9 of the 54 images" in note for note in source.notes)


def test_folder_with_pictures_is_one_of_pictures_whatever_arrays_lie_there(tmp_path: Path) -> None:
    write_pictures(tmp_path, X, Y)
    save(tmp_path, {"a": of_class(0), "b": of_class(1)})
    assert found(tmp_path).picture_form is not None


@pytest.mark.parametrize(
    "arrays",
    [
        {"train": X.reshape(54, -1), "test": X_TEST.reshape(9, -1)},
        {"x_train": X, "x_test": X_TEST},
        {"cat": of_class(0), "dog": of_class(1), "labels": Y},
        {"cat": of_class(0), "numbers": np.arange(36)},
        {"picture 1": X[0], "picture 2": X[1]},
        {"picture 1": in_colour(X)[0], "picture 2": in_colour(X)[1]},
        {"cat": X},
    ],
    ids=["parts", "images of parts", "labels", "one is no image", "pictures", "pictures in colour", "one"],
)
def test_arrays_that_may_be_something_else_are_not_taken_for_classes(tmp_path: Path, arrays: dict) -> None:
    refused(save(tmp_path / "mine", arrays), "must hold .* but got .*; ")


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_parts_without_labels_get_them(tmp_path: Path, kind: str) -> None:
    def write(arrays: dict[str, np.ndarray]) -> Path:
        if kind == "folder":
            return save(tmp_path / "mine", arrays)
        np.savez(tmp_path / "mine.npz", **arrays)
        return tmp_path / "mine.npz"

    path = write({"train": X, "test": X_TEST})
    with needs_remedy("must hold arrays x_train and y_train, but got {}; {}"):
        found(path)
    assert len(load_test(found(write(PARTS)))) == 9


def test_shares_of_a_data_set_are_renamed_after_classes_or_saved_with_labels(tmp_path: Path) -> None:
    folder = save(tmp_path / "mine", {f"part_{i}": of_class(i) for i in range(3)})
    with needs_remedy("{} must hold an array for each class, called by its name, but got {}, as shares of a data set"):
        found(folder)
    for i, name in enumerate(["cat", "dog", "emu"]):
        (folder / f"part_{i}.npy").rename(folder / f"{name}.npy")
    assert found(folder).class_names == ("cat", "dog", "emu")
    assert len(all_of(save(tmp_path / "other", {"x_train": X, "y_train": Y}))) == 54


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy(
            "training and test images must have one shape, but those in {} have {} instead of {}; make them alike, or",
            {"cat": of_class(0)[:, :8]},
            {"cat": of_class(0)},
        ),
        Remedy("{}, but in {} {}; add images or leave the class out", {"cat": of_class(0)[:9]}, {"cat": of_class(0)}),
        Remedy(
            "must hold numbers, but {} holds Python objects",
            {"cat": np.array([[1], [1, 2]], object)},
            {"cat": of_class(0)},
        ),
    ],
    ids=str,
)
def test_folder_is_read_once_its_files_are_put_right(tmp_path: Path, remedy: Remedy) -> None:
    arrays = {"dog": of_class(1), "emu": of_class(2)}
    folder = save(tmp_path / "mine", {**arrays, **remedy.refused})
    with needs_remedy(remedy.says):
        found(folder)
    found(save(folder, {**arrays, **remedy.followed}))


def test_sizes_that_differ_are_fitted_where_an_image_size_is_asked_for(tmp_path: Path) -> None:
    folder = save(tmp_path, {"cat": of_class(0)[:, :8], "dog": of_class(1)})
    assert found(folder, image_size=12).image_shape == (12, 12, 1)


@pytest.mark.parametrize("write", [save, save_archives])
def test_cut_file_of_a_folder_is_saved_again(tmp_path: Path, write: Writer) -> None:
    folder = write(tmp_path / "mine", {"cat": of_class(0), "dog": of_class(1)})
    (path,) = folder.glob("dog.*")
    path.write_bytes(path.read_bytes()[:-30])
    refused(folder, rf"{path.name} must be .*; save it again with np.save")
    write(folder, {"dog": of_class(1)})
    found(folder)


def test_file_of_a_folder_that_is_no_array_is_saved_again(tmp_path: Path) -> None:
    folder = save(tmp_path / "mine", PARTS)
    (folder / "x_test.npy").write_text("<html>404</html>")
    with needs_remedy("{} must be a whole file of NumPy, but: {}; save it again with {}"):
        found(folder)
    found(save(folder, PARTS))


def test_more_than_memory_holds_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "mine", {"cat": of_class(0), "dog": of_class(1)})
    for path in folder.iterdir():
        with path.open("r+b") as file:
            file.truncate(128 + 10)  # what is left of the values would be missed if they were read
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 35 * 256))
    refused(folder, "36 images of 16 x 16 x 1 take .* of memory, .*; use fewer images")


def test_array_below_a_folder_is_proposed_only_if_it_can_be_opened(tmp_path: Path) -> None:
    save(tmp_path / "mine", PARTS)
    (tmp_path / "notes").mkdir()
    np.save(tmp_path / "notes" / "curve.npy", np.arange(3))
    refused(tmp_path, f"is a folder around {tmp_path / 'mine'}; pass --dataset {tmp_path / 'mine'}")
    found(tmp_path / "mine")
