"""An archive of arrays is a data set; what cannot be used is refused before it is read."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test, load_train
from tests.support.data_sets import found, multiset, refused
from tests.support.made_images import digits_of_each, in_colour

X, Y = digits_of_each([12] * 3)
X_TEST, Y_TEST = digits_of_each([3] * 3, first=12)


def renamed(*names: str) -> dict[str, np.ndarray | None]:
    """Return changes of an archive to these names for its four arrays."""
    usual = ("x_train", "y_train", "x_test", "y_test")
    ordered = sorted(zip(names, (X, Y, X_TEST, Y_TEST), strict=True), key=lambda pair: pair[0])
    return {**dict.fromkeys(usual), **dict(ordered)}


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Writes good arrays, some replaced, or left out where None."""

    def write(**replaced: object) -> Path:
        (x_train, y_train), (x_test, y_test) = digits_of_each([12] * 3), digits_of_each([3] * 3, first=12)
        arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, **replaced}
        path = tmp_path / "shapes.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return write


def test_archive_is_a_data_set(archive: Callable[..., Path]) -> None:
    source = found(archive())
    assert (source.dataset, source.class_names, source.image_shape) == ("shapes", ("0", "1", "2"), (16, 16, 1))
    assert list(source.checksums) == ["shapes.npz"] and source.notes == ()
    assert multiset(load_train(source, 0).together()) == multiset(LabelledImages(X[..., np.newaxis], Y))
    assert len(load_test(source)) == 9


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": X.astype(np.int64)[..., np.newaxis]},
        {"x_train": X[:, np.newaxis]},
        {"x_train": X.reshape(36, -1)},
        {"x_train": X.astype(float), "x_test": X_TEST.astype(np.float32)},
        {"x_train": (X / 255).astype(np.float32), "x_test": X_TEST / 255},
        {"y_train": Y.astype(np.int32)[:, np.newaxis]},
        {"y_train": np.eye(3)[Y], "y_test": np.eye(3)[Y_TEST]},
        {"y_train": Y.astype(float)},
        {"y_train": Y + 1, "y_test": Y_TEST + 1},
        {"y_train": Y.astype(str), "y_test": Y_TEST.astype(str)},
        {"y_train": Y.astype("S1"), "y_test": Y_TEST.astype("S1")},
        {"class_names": np.array(["0", "1", "2"])},
        renamed("train_images", "train_labels", "test_images", "test_labels"),
        renamed("X_train", "Y_train", "X_test", "Y_test"),
        renamed("trainX", "trainy", "testX", "testy"),
        renamed("images", "labels", "test-images", "test-labels"),
        renamed("arr_0", "arr_1", "arr_2", "arr_3"),
        renamed("arr_0", "arr_2", "arr_1", "arr_3"),
    ],
    ids=[
        "long integers with a channel",
        "channels first",
        "flat",
        "whole decimal numbers",
        "from 0 to 1",
        "labels in a column",
        "one-hot labels",
        "decimal labels",
        "labels from 1",
        "labels in words",
        "labels in bytes",
        "names",
        "Keras' words",
        "capitals",
        "one word",
        "without train",
        "without names",
        "without names, in the order of train_test_split",
    ],
)
def test_other_ways_to_write_the_same_are_the_same(archive: Callable[..., Path], arrays: dict) -> None:
    plain = load_train(found(archive()), 0)
    other = load_train(found(archive(**arrays)), 0)
    assert plain.checksum == other.checksum
    np.testing.assert_array_equal(plain.train.images, other.train.images)


def test_archive_in_colour(archive: Callable[..., Path]) -> None:
    source = found(archive(x_train=in_colour(X), x_test=in_colour(digits_of_each([3] * 3, first=12)[0])))
    assert source.image_shape == (16, 16, 3)


def test_archive_names_its_classes(archive: Callable[..., Path]) -> None:
    assert found(archive(class_names=np.array(["null", "one and a half", "ä"]))).class_names[1] == "one and a half"


@pytest.mark.parametrize("names", [None, np.array(["Odd", "even", "zero"])])
def test_text_labels_in_other_capitals_are_one_class(archive: Callable[..., Path], names: np.ndarray | None) -> None:
    texts = np.array(["zero", "even", "odd"])
    spelt = np.where(np.arange(len(Y)) % 4 == 0, np.char.upper(texts[Y]), texts[Y])
    source = found(archive(y_train=spelt, y_test=np.char.title(texts[Y_TEST]), class_names=names))
    assert source.class_names == (("even", "odd", "zero") if names is None else ("Odd", "even", "zero"))
    assert any("differ in capitals or spaces alone are one class: " in note for note in source.notes)
    said = [source.class_names[label].casefold() for label in load_test(source).labels]
    assert said == texts[Y_TEST].tolist()


def test_archive_without_a_test_set_holds_one_out_and_says_so(archive: Callable[..., Path]) -> None:
    images, labels = digits_of_each([30] * 3)
    source = found(archive(x_train=images, y_train=labels, x_test=None, y_test=None), seed=3)
    train, test = load_train(source, 0).together(), load_test(source)
    assert (len(train), len(test)) == (75, 15) and np.bincount(test.labels).tolist() == [5] * 3
    assert sorted(multiset(train) + multiset(test)) == multiset(LabelledImages(images[..., np.newaxis], labels))
    assert source.notes == (
        "There is no x_test, so 15 of the 90 images, drawn by class with seed 3, are held out as the test set",
    )


def test_validation_arrays_join_the_training_images(archive: Callable[..., Path]) -> None:
    images, labels = digits_of_each([4] * 3, first=30)
    source = found(archive(x_val=images, y_val=labels, other=np.arange(3)))
    assert len(load_train(source, 0).together()) == 48
    assert source.notes == ("x_val joins the training images", "Arrays that nothing reads: other")


def test_archive_is_fitted_into_the_size_asked_for(archive: Callable[..., Path]) -> None:
    source = found(archive(), image_size=8)
    assert source.image_shape == (8, 8, 1) and load_test(source).images.shape == (9, 8, 8, 1)


def with_one(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[7] = value
    return changed


BAD_ARCHIVES = {
    "lacks y_train": ({"y_train": None}, r"must hold x_train and y_train, but got x_train alone; add the other"),
    "lacks both": ({"x_train": None, "y_train": None}, r"must hold arrays x_train and y_train, but got x_test, y_test"),
    "test without labels": ({"y_test": None}, r"must hold x_test and y_test, but got x_test alone"),
    "0 to 1 in training alone": (
        {"x_train": (X / 255).astype(np.float32)},
        r"x_test in .* must be numbers from 0 to 1 as the training images are, but got uint8, 0 to \d+; divide by the",
    ),
    "0 to 1 in the test set alone": (
        {"x_test": X_TEST / 255},
        r"x_test in .* must be whole numbers from 0 to 255 as the training images are, but got float64, 0 to .*; multi",
    ),
    "decimal pixels": (
        {"x_train": X * 0.3},
        r"from 0 to 255, or decimal numbers from 0 to 1, but got float64, 0 to [\d.]+, not all of them whole; save",
    ),
    "-1 to 1": (
        {"x_train": X / 127.5 - 1},
        r"but got float64, -1 to .*; save them as uint8, from 0 to 255; of numbers from -1 to 1: np.round\(127.5",
    ),
    "16 bits": (
        {"x_train": X.astype(np.uint16) * 257},
        r"but got uint16, 0 to \d+; save them as uint8, from 0 to 255; of 16 bits: \(x // 257\).astype\('uint8'\)",
    ),
    "NaN": ({"x_train": with_one(X.astype(float), np.nan)}, r"1 of its values are NaN or infinite; fix them"),
    "infinite": ({"x_train": with_one(X.astype(float), np.inf)}, r"1 of its values are NaN or infinite; fix them"),
    "above 255": ({"x_train": with_one(X.astype(np.int32), 256)}, r"but got int32, 0 to 256; save them as uint8"),
    "below 0": ({"x_train": with_one(X.astype(np.int8), -1)}, r"but got int8, -\d+ to \d+; save them as uint8"),
    "texts": ({"x_train": X.astype(str)}, r"numbers, whole from 0 to 255 or .*, but got <U3; save them as uint8"),
    "objects": ({"x_train": np.array([X[0], None], object)}, r"x_train holds Python objects, which are not loaded"),
    "flat images of no square": (
        {"x_train": X.reshape(36, -1)[:, :200]},
        r"shape \(n, height, width\), .* but got \(36, 200\); reshape",
    ),
    "channels first or last": (
        {"x_train": np.zeros((36, 3, 32, 3), np.uint8)},
        r"but \(36, 3, 32, 3\) can be read both ways; make it uint8 \(n, height, width\), or cut or enlarge",
    ),
    "four channels": (
        {"x_train": np.stack([X] * 4, axis=-1)},
        r"with 1 or 3 channels at the end or in front, .* but got \(36, 16, 16, 4\); leave out the fourth channel",
    ),
    "no dimension": ({"x_train": np.uint8(3)}, r"shape \(n, height, width\), .* but got \(\); reshape"),
    "too large": (
        {"x_train": np.zeros((36, 80, 70), np.uint8)},
        r"64 pixels at most, but .* 80 x 70; pass --image",
    ),
    "too small": ({"x_train": X[:, :3]}, r"sides of 4 pixels or more, but .* are 3 x 16"),
    "labels lack one": ({"y_train": Y[1:]}, r"36 images in x_train in .* and 35 labels in y_train in .*; take both"),
    "probabilities as labels": (
        {"y_train": np.eye(3)[Y] * 0.7},
        r"y_train in .* must be the class of each image, .* got float64 \(36, 3\); y_train.argmax\(axis=1\) turns",
    ),
    "decimal labels": (
        {"y_train": Y + 0.5},
        r"the class of each image, .* got float64 \(36,\), not all of them whole; number",
    ),
    "labels in words alone": (
        {"y_train": Y.astype(str)},
        r"y_test in .* must be texts as the training labels are, but got uint8 \(9,\); write the names of the classes",
    ),
    "other words": (
        {"y_train": np.array(["ant", "bee", "cat"])[Y], "y_test": np.array(["ant", "bee", "dog"])[Y_TEST]},
        r"test labels must be classes of the training labels, but in y_test in .* there is dog; leave these images out",
    ),
    "one-hot labels in training alone": (
        {"y_train": np.eye(3)[Y]},
        r"y_test in .* must have 3 columns with a single 1 in each row, .* but got uint8 \(9,\); write them as those",
    ),
    "two arrays of training images": (
        {"train_images": X},
        r"one array for each part, but got .* and .*; leave all but",
    ),
    "arrays without names of any shape": (
        renamed("arr_0", "arr_1", "arr_3", "arr_2") | {"arr_0": X[1:]},
        r"images and labels, .* but got arrays without names of the shapes .*; name them x_train, y_train, x_test",
    ),
    "one class of three, by its name": (
        {"y_train": Y * 0 + 1, "class_names": np.array(["ant", "bee", "cat"])},
        r"two classes or more, but in y_train in .* all are bee; add images of another class",
    ),
    "test labels from 0 beside others from 1": (
        {"y_train": Y + 1},
        r"test labels must be 1 to 3 as in training, which begins with 1, but in y_test in .* one is 0; number both",
    ),
    "test labels from 1 beside others from 0": ({"y_test": Y_TEST + 1}, r"must be 0 to 2 .* one is 3; number both"),
    "256 beside 0": ({"y_train": Y.astype(int) * 128}, r"from 0 to 255 at most, but got 0 to 256; number them from 0"),
    "label below 0": ({"y_train": Y.astype(int) - 1}, r"from 0 to 255 at most, but got -1 to 1; number them from 0"),
    "label above 255": ({"y_train": Y.astype(int) + 255}, r"from 0 to 255 at most, but got 255 to 257; number them"),
    "gap": ({"y_train": Y * 2}, r"goes up to 4; absent: 1, 3; number the classes from 0"),
    "one class": ({"y_train": Y * 0}, r"two classes or more, but in y_train in .* all are 0; add images of"),
    "few of a class": (
        {"x_train": X[:-1], "y_train": Y[:-1]},
        r"at least 12 .* but in y_train in .* class 2 has 11; add",
    ),
    "unknown test label": (
        {"y_test": Y[:9] + 3},
        r"test labels must be 0 to 2 as in training, .* one is 3; number both",
    ),
    "empty test": (
        {"x_test": X[:0], "y_test": Y[:0]},
        r"there must be test images, but in y_test in .* there is none; add",
    ),
    "empty training": (
        {"x_train": X[:0], "y_train": Y[:0]},
        r"two classes or more, but in y_train in .* there is no image; add",
    ),
    "other test size": (
        {"x_test": X[:9, :8]},
        r"one shape, but those in x_test in .* have 8 x 16 x 1 instead of 16 x 16 x 1; make",
    ),
    "colour test": (
        {"x_test": in_colour(X[:9])},
        r"one shape, but those in x_test in .* have 16 x 16 x 3 instead of 16 x 16 x 1",
    ),
    "too few names": ({"class_names": np.array(["a", "b"])}, r"one name for each class, but got 2 for the 3 classes"),
    "numbers as names": (
        {"class_names": np.arange(3)},
        r"class_names in .* one text for each .* got int64 \(3,\)",
    ),
    "names twice": ({"class_names": np.array(["a", "b", "a"])}, r"class_names must name each class .* but got a twice"),
}


@pytest.mark.parametrize(("arrays", "complaint"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_archive_that_cannot_be_used_is_refused(archive: Callable[..., Path], arrays: dict, complaint: str) -> None:
    refused(archive(**arrays), complaint)


def test_objects_are_never_unpickled(archive: Callable[..., Path], tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)

    path = archive(y_train=np.array([Bomb()] * 36, object))
    refused(path, "y_train holds Python objects, which are not loaded, since that could run any code")
    assert not (tmp_path / "exploded").exists()


def test_archive_that_promises_more_than_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 64, 64, 3)}
    path = tmp_path / "huge.npz"
    with zipfile.ZipFile(path, "w") as zipped:
        for name, shape in (("x_train", header["shape"]), ("y_train", (10**9,))):
            with zipped.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
    refused(path, r"1,000,000,000 images of 64 x 64 x 3 take 12,288.0 GB of memory, .*; use fewer images")


@pytest.mark.parametrize("keep", [0, 10, 500, -30])
def test_cut_archive_is_named(archive: Callable[..., Path], keep: int) -> None:
    path = archive()
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, r"shapes.npz must be an .npz archive, but is none, or cut; save it again")


def test_archive_with_a_damaged_array_is_named(archive: Callable[..., Path]) -> None:
    path = archive()
    content = bytearray(path.read_bytes())
    content[4000:4020] = bytes(20)
    path.write_bytes(content)
    refused(path, r"shapes.npz must be a whole file of NumPy, but: Bad CRC-32.*; save it again")


def test_zip_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.npz"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("notes.txt", "no array")
    refused(path, r"notes.npz must be a whole file of NumPy, but: .*; save it again")
