"""What refused IDX files, archives and Fashion-MNIST say is done to them, and they are read."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from fmnist.data.arrays.idx.files import CLASSES_FILE
from fmnist.data.find import find_data
from fmnist.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from fmnist.data.named import fashion_mnist
from fmnist.data.split import load_train, pixel_statistics
from fmnist.reading import Reading
from tests.support.data_sets import no_download
from tests.support.made_images import idx
from tests.support.remedies import Remedy, needs_remedy

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (60, 8, 8), dtype=np.uint8), (np.arange(60) % 3).astype(np.uint8)
TRAIN, TEST = (IMAGES, LABELS), (IMAGES[:9], LABELS[:9])


def read(path: Path, **reading: Any) -> None:
    pixel_statistics(load_train(find_data(str(path), reading=Reading(**reading)), seed=0).train.images)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four whole files."""
    write(tmp_path / "mine")
    return tmp_path / "mine"


def write(
    folder: Path, train: tuple[np.ndarray, np.ndarray] = TRAIN, test: tuple[np.ndarray, np.ndarray] = TEST
) -> None:
    folder.mkdir(exist_ok=True)
    names = ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS))
    for pair, arrays in zip(names, (train, test), strict=True):
        for name, array in zip(pair, arrays, strict=True):
            (folder / name).write_bytes(idx(array))


def whole(folder: Path) -> None:
    write(folder)


def remove_test_labels(folder: Path) -> None:
    (folder / TEST_LABELS).unlink()


def cut_header(folder: Path) -> None:
    (folder / TRAIN_IMAGES).write_bytes((folder / TRAIN_IMAGES).read_bytes()[:6])


def cut(folder: Path) -> None:
    (folder / TRAIN_IMAGES).write_bytes((folder / TRAIN_IMAGES).read_bytes()[:-64])


def put_a_page_in_its_place(folder: Path) -> None:
    (folder / TRAIN_IMAGES).unlink()
    (folder / f"{TRAIN_IMAGES}.gz").write_text("<html>404</html>")


def remove_the_page(folder: Path) -> None:
    (folder / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(idx(IMAGES)))


def swap(folder: Path) -> None:
    images, labels = folder / TRAIN_IMAGES, folder / TRAIN_LABELS
    images_content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(images_content)


def write_text(folder: Path) -> None:
    (folder / TRAIN_LABELS).write_text("0 1 2 0 1 2")


def leave_a_number_out(folder: Path) -> None:
    write(folder, (IMAGES, LABELS * 2), (TEST[0], TEST[1] * 2))


def leave_a_label_out(folder: Path) -> None:
    write(folder, (IMAGES[:50], LABELS[:50]), (TEST[0], TEST[1]))
    (folder / TRAIN_LABELS).write_bytes(idx(LABELS))


def label_test_as_unknown(folder: Path) -> None:
    write(folder, test=(TEST[0], TEST[1] + 1))


def leave_no_test(folder: Path) -> None:
    write(folder, test=(TEST[0][:0], TEST[1][:0]))


def one_class(folder: Path) -> None:
    write(folder, (IMAGES, LABELS * 0), (TEST[0], TEST[1] * 0))


def no_image(folder: Path) -> None:
    write(folder, (IMAGES[:0], LABELS[:0]))


def too_few(folder: Path) -> None:
    write(folder, (IMAGES[:6], LABELS[:6]))


def one_colour(folder: Path) -> None:
    write(folder, (np.full_like(IMAGES, 7), LABELS))


def two_channels(folder: Path) -> None:
    write(folder, (np.stack([IMAGES] * 2, axis=-1), LABELS))


def name_two_classes(folder: Path) -> None:
    (folder / CLASSES_FILE).write_text("a\nb\n")


def name_three_classes(folder: Path) -> None:
    (folder / CLASSES_FILE).write_text("a\nb\nc\n", encoding="utf-8")


def name_a_class_twice(folder: Path) -> None:
    (folder / CLASSES_FILE).write_text("a\nb\nb\n")


def name_in_another_encoding(folder: Path) -> None:
    (folder / CLASSES_FILE).write_text("a\nb\nä\n", encoding="latin-1")


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("a folder of IDX files must hold all four, but {} lacks {}; add them", remove_test_labels, whole),
        Remedy("{} is cut: {} bytes end within its header; fetch it again", cut_header, whole),
        Remedy("its header promises {} = {} bytes, but got {}; fetch it again", cut, whole),
        Remedy(
            "{} must be a whole gzip file, but is cut or damaged ({}); fetch it again",
            put_a_page_in_its_place,
            remove_the_page,
        ),
        Remedy("holds {} where {} are expected: are image and label files swapped?", swap, swap),
        Remedy("{} must be an IDX file of {} ({}), but got {}", write_text, whole),
        Remedy("labels must be 0 to k - 1 with none left out", leave_a_number_out, whole),
        Remedy("every image needs a label, but there are {} images in {}", leave_a_label_out, whole),
        Remedy("test labels must be {} to {} as {}, but in {} one is {}; number both", label_test_as_unknown, whole),
        Remedy("there must be test images, but in {} there is none; add some of each class", leave_no_test, whole),
        Remedy("labels must be of two classes or more, but in {} all are {}; add", one_class, whole),
        Remedy("there must be images of two classes or more, but in {} there is no image; add", no_image, whole),
        Remedy("{}, but in {} {}; add images or leave the class out", too_few, whole),
        Remedy("images must differ somewhere, but every pixel is {}; check the image files", one_colour, whole),
        Remedy("must hold images of 1 or 3 channels, n x height x width x channels", two_channels, whole),
        Remedy("there must be one name for each class", name_two_classes, name_three_classes),
        Remedy("must name each class in a line of its own, but got {}; fix it", name_a_class_twice, name_three_classes),
        Remedy("{} must be a text file in UTF-8, but: {}; save it so", name_in_another_encoding, name_three_classes),
    ],
    ids=str,
)
def test_folder_is_read_once_it_is_put_right(folder: Path, remedy: Remedy) -> None:
    read(folder)
    remedy.refused(folder)
    with needs_remedy(remedy.says):
        read(folder)
    remedy.followed(folder)
    for colour in folder.glob("*idx4*"):
        colour.unlink()
    read(folder)


def test_file_that_goes_during_a_run_is_restored(folder: Path) -> None:
    source = find_data(str(folder))
    remove_test_labels(folder)
    with needs_remedy("{} must be readable, but: {}; check the file and its permissions"):
        source.read_test()
    whole(folder)
    source.read_test()


@pytest.mark.parametrize("kind", ["idx", "npz"])
def test_image_size_takes_images_that_are_too_small_or_too_large(tmp_path: Path, kind: str) -> None:
    small, large = (save_images(tmp_path, kind, side) for side in (2, 80))
    with needs_remedy("images need sides of {} pixels or more, but those in {} are {} x {}; {}"):
        read(small)
    with needs_remedy("images may have sides of {} pixels at most, but those in {} are {} x {}; pass --image-size N"):
        read(large)
    read(small, image_size=16)
    read(large, image_size=16)


def save_images(folder: Path, kind: str, side: int) -> Path:
    images = RNG.integers(0, 256, (60, side, side), dtype=np.uint8)
    path = folder / f"{side}.{kind}"
    if kind == "idx":
        write(path, (images, LABELS), (images[:9], LABELS[:9]))
    else:
        np.savez(path, x_train=images, y_train=LABELS)
    return path


def test_image_size_makes_training_and_test_images_alike(tmp_path: Path) -> None:
    folder, archive, smaller = tmp_path / "mine", tmp_path / "mine.npz", TEST[0][:, :6, :6]
    write(folder, test=(smaller, TEST[1]))
    np.savez(archive, x_train=IMAGES, y_train=LABELS, x_test=smaller, y_test=TEST[1])
    with needs_remedy(
        "training and test images must have one shape, but those in {} have {} instead of {}; make them alike, or"
    ):
        read(folder)
    with needs_remedy(
        "training and test images must have one shape, but those in {} have {} instead of {}; make them alike, or"
    ):
        read(archive)
    read(folder, image_size=8)
    read(archive, image_size=8)


def test_fewer_images_take_less_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 54 * 64))
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=IMAGES, y_train=LABELS)
    with needs_remedy("GB of memory, and as much again while they are split, but {} GB are free; {}"):
        read(path)
    np.savez(path, x_train=IMAGES[:54], y_train=LABELS[:54])
    read(path)


GOOD = {"x_train": IMAGES, "y_train": LABELS, "x_test": TEST[0], "y_test": TEST[1]}
OBJECTS = np.array([[1], [1, 2]], dtype=object)


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy(
            "{} must hold x_{} and y_{}, but got {} alone; add the other, or leave it out too",
            {"y_test": None},
            {"x_test": None},
        ),
        Remedy("{} must hold arrays x_train and y_train, but got {}; {}", {"x_train": None, "y_train": None}, GOOD),
        Remedy(
            "{} must have one array for each part, but got {}; leave all but one out",
            {"train_images": IMAGES},
            {"train_images": None},
        ),
        Remedy(
            "must hold images and labels, for training and perhaps for testing, but got arrays without names",
            {**dict.fromkeys(GOOD), "arr_0": IMAGES, "arr_1": LABELS[:50]},
            {"arr_0": None, "arr_1": None, **GOOD},
        ),
        Remedy(
            "must have the shape (n, height, width), with 1 or 3 channels", {"x_train": IMAGES[:, None, None]}, GOOD
        ),
        Remedy(
            "must have its channels at the end, or else at the beginning, but {} can be read both ways",
            {"x_train": np.zeros((60, 3, 8, 3), np.uint8)},
            GOOD,
        ),
        Remedy(
            "must be whole numbers from 0 to 255, or decimal numbers from 0 to 1, but got {}; {}",
            {"x_train": IMAGES / 127.5 - 1},
            {"x_train": np.round(127.5 * ((IMAGES / 127.5 - 1) + 1)).astype("uint8")},
        ),
        Remedy(
            "must be numbers, whole from 0 to 255 or decimal from 0 to 1, but got {}; {}",
            {"x_train": IMAGES.astype(str)},
            GOOD,
        ),
        Remedy(
            "{} must be whole numbers from 0 to 255 as the training images are, but got {}; multiply by",
            {"x_test": TEST[0] / 255},
            {"x_test": np.round(TEST[0] / 255 * 255)},
        ),
        Remedy(
            "{} must be numbers from 0 to 1 as the training images are, but got {}; divide by the same number",
            {"x_train": IMAGES / 255},
            {"x_test": TEST[0] / 255},
        ),
        Remedy(
            "of its values are NaN or infinite; fix them, then {}", {"x_train": np.full(IMAGES.shape, np.nan)}, GOOD
        ),
        Remedy("every image needs a label, but there are {} images in {}", {"y_train": LABELS[:50]}, GOOD),
        Remedy(
            "{} must be the class of each image, (n,), as whole numbers or texts, or one-hot rows, but got {}; {}",
            {"y_train": np.eye(3)[LABELS] * 0.9},
            {"y_train": (np.eye(3)[LABELS] * 0.9).argmax(axis=1)},
        ),
        Remedy(
            "{} must be texts as the training labels are, but got {} {}; write the names of the classes",
            {"y_train": np.array(["ant", "bee", "cat"])[LABELS]},
            {"y_test": np.array(["ant", "bee", "cat"])[TEST[1]]},
        ),
        Remedy(
            "{} must have {} columns with a single 1 in each row, as the training labels have",
            {"y_train": np.eye(3)[LABELS]},
            {"y_test": np.eye(3)[TEST[1]]},
        ),
        Remedy(
            "test labels must be classes of the training labels, but in {} there is {}; leave these images out",
            {"y_train": LABELS.astype(str), "y_test": np.array(["0", "1", "other"])[TEST[1]]},
            {"x_test": TEST[0][TEST[1] < 2], "y_test": TEST[1][TEST[1] < 2].astype(str)},
        ),
        Remedy("{} must number the classes from 0 to {} at most", {"y_train": LABELS.astype(int) - 1}, GOOD),
        Remedy(
            "must be one text for each class, but got {} {}; save np.array([...]) of the names",
            {"class_names": np.array([1, 2, 3])},
            {"class_names": np.array(["a", "b", "c"])},
        ),
        Remedy("{} must hold numbers, but {} holds Python objects", {"x_train": OBJECTS}, GOOD),
    ],
    ids=str,
)
def test_archive_is_read_once_it_is_saved_again(tmp_path: Path, remedy: Remedy) -> None:
    path = tmp_path / "mine.npz"
    with needs_remedy(remedy.says):
        save_and_read(path, {**GOOD, **remedy.refused})
    save_and_read(path, {**GOOD, **remedy.refused, **remedy.followed})


def save_and_read(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    read(path)


def test_archive_that_is_none_or_damaged_is_saved_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_text("no archive")
    with needs_remedy("{} must be an .npz archive, but is none, or cut; save it again with np.savez"):
        read(path)
    np.savez(path, **GOOD)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with needs_remedy("{} must be a whole file of NumPy, but: {}; save it again with {}"):
        read(path)
    save_and_read(path, GOOD)


def test_archive_that_may_not_be_read_is_no_damaged_one(tmp_path: Path) -> None:
    from fmnist.data.arrays.numpy_files import headers_of, read_headers

    path = tmp_path / "a" / "mine.npz"
    path.mkdir(parents=True)  # root may read anything but a folder as a file
    with needs_remedy("{} must be readable, but: {}; check the file and its permissions"):
        read_headers(path)
    with needs_remedy("{} must be readable, but: {}; check the file and its permissions"):
        headers_of(path.parent)
    path.rmdir()
    save_and_read(path, GOOD)


def test_labels_below_0_are_numbered_from_0(tmp_path: Path) -> None:
    from fmnist.data.checks import check_train_labels

    with needs_remedy("labels must be 0 or more, but in {} one is {}; number the classes from 0"):
        check_train_labels(LABELS.astype(int) - 1, "y", None, 1)
    assert check_train_labels(LABELS.astype(int), "y", None, 1) == 3


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four small files that are taken for the official ones."""
    contents = {
        f"{name}.gz": gzip.compress(idx(array))
        for name, array in zip(
            (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS), (*digits_28(60), *digits_28(9)), strict=True
        )
    }
    md5s = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST_MD5", md5s)
    monkeypatch.setattr(
        fashion_mnist, "FASHION_MNIST_BYTES", {name: len(content) for name, content in contents.items()}
    )
    monkeypatch.delenv("FMNIST_DATA_DIR", raising=False)
    return contents


def digits_28(n: int) -> tuple[np.ndarray, np.ndarray]:
    return RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8)


def put(contents: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def test_fashion_mnist_is_had_from_a_folder_or_left_for_the_digits(tmp_path: Path, official: dict[str, bytes]) -> None:
    with needs_remedy("no Fashion-MNIST in {}, and the download failed ({}); pass --data-dir"):
        find_data("fashion-mnist", places=[tmp_path / "none"], download=no_download)
    with needs_remedy("{} after the download; pass --data-dir, or --dataset digits"):
        find_data("fashion-mnist", places=[tmp_path / "none"], download=lambda: tmp_path)
    find_data("fashion-mnist", put(official, tmp_path / "mine"))
    find_data("digits")


def test_data_dir_without_the_files_gets_them_or_is_left_out(
    tmp_path: Path, official: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [put(official, tmp_path / "there")]
    for data_dir in (tmp_path / "mine", None):  # None: from the environment
        monkeypatch.setenv("FMNIST_DATA_DIR", str(tmp_path / "mine"))
        with needs_remedy("{}; put them there or leave {} out"):
            find_data("fashion-mnist", data_dir, places=places)
    monkeypatch.delenv("FMNIST_DATA_DIR")
    find_data("fashion-mnist", places=places)
    find_data("fashion-mnist", put(official, tmp_path / "mine"), places=places)


def test_folder_with_some_of_the_files_is_completed_or_deleted(tmp_path: Path, official: dict[str, bytes]) -> None:
    some = put(dict(list(official.items())[:2]), tmp_path / "some")
    places = [some, put(official, tmp_path / "there")]
    with needs_remedy("{}; complete the folder, delete it, or pass --data-dir"):
        find_data("fashion-mnist", places=places)
    find_data("fashion-mnist", tmp_path / "there", places=places)
    for path in some.iterdir():
        path.unlink()
    some.rmdir()
    find_data("fashion-mnist", places=places)
    find_data("fashion-mnist", places=[put(official, some)])


def test_files_of_fashion_mnist_that_are_altered_are_fetched_again(tmp_path: Path, official: dict[str, bytes]) -> None:
    folder = put({**official, f"{TRAIN_IMAGES}.gz": b"cut"}, tmp_path / "mine")
    with needs_remedy("the files of Fashion-MNIST in {} must be the official ones, but {}; {}"):
        find_data("fashion-mnist", folder)
    find_data("fashion-mnist", put(official, folder))


def test_path_in_another_encoding_is_renamed(tmp_path: Path) -> None:
    from fmnist.paths import require_utf8

    with needs_remedy("the path of {} must be UTF-8, but got {}; rename what is not"):
        require_utf8(tmp_path / "sch\udcf6n", "a dataset")
    require_utf8(tmp_path / "schön", "a dataset")


def test_file_that_may_not_be_read_is_one_that_may(folder: Path) -> None:
    (folder / CLASSES_FILE).mkdir()  # root may read anything but a folder as a file
    with needs_remedy("{} must be readable, but: {}; check the file and its permissions"):
        read(folder)
    (folder / CLASSES_FILE).rmdir()
    name_three_classes(folder)
    read(folder)
