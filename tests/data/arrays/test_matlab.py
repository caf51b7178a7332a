"""MATLAB files are a data set: SVHN's, EMNIST's, and those with everyday names. What is damaged is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
from scipy.io import savemat
from scipy.io.matlab import MatlabObject
from scipy.sparse import csr_array

from fmnist.data.arrays.matlab.contents import images_first, unpacked_bytes
from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test, load_train
from tests.support.data_sets import found, multiset, refused
from tests.support.made_images import digits_of_each, in_colour
from tests.support.remedies import Remedy, needs_remedy

RNG = np.random.default_rng(0)
X, Y = digits_of_each([12] * 3)
X_TEST, Y_TEST = digits_of_each([3] * 3, first=12)
PLAIN = {"x_train": X, "y_train": Y, "x_test": X_TEST, "y_test": Y_TEST}
EXPECTED = multiset(LabelledImages(X[..., np.newaxis], Y))
SVHN_IMAGES, SVHN_DIGITS = RNG.integers(0, 256, (150, 32, 32, 3), dtype=np.uint8), np.arange(150) % 10


def save(path: Path, variables: dict[str, Any], **options: Any) -> Path:
    savemat(path, {name: value for name, value in variables.items() if value is not None}, **options)
    return path


def write_svhn(folder: Path) -> Path:
    """Two files as SVHN has them: the images' number last, labels in a column, 10 for the digit 0."""
    folder.mkdir()
    for name, first, last in (("train_32x32.mat", 0, 120), ("test_32x32.mat", 120, 150)):
        digits = SVHN_DIGITS[first:last]
        labels = np.where(digits == 0, 10, digits).astype(np.uint8)[:, np.newaxis]
        images = np.moveaxis(SVHN_IMAGES[first:last], 0, -1)
        save(folder / name, {"X": images, "y": labels}, do_compression=True)
    return folder


def test_svhn_is_a_folder_whose_label_10_is_the_digit_0(tmp_path: Path) -> None:
    source = found(write_svhn(tmp_path / "housenumbers"))
    assert (source.dataset, source.image_shape) == ("housenumbers", (32, 32, 3))
    assert source.class_names == tuple("0123456789")
    assert sorted(source.checksums) == ["test_32x32.mat", "train_32x32.mat"]
    expected = LabelledImages(SVHN_IMAGES[:120], SVHN_DIGITS[:120].astype(np.uint8))
    assert multiset(load_train(source, 0).together()) == multiset(expected)
    np.testing.assert_array_equal(load_test(source).labels, SVHN_DIGITS[120:])
    assert source.notes == ("These are SVHN's files, in which the label 10 is the digit 0: it is read as 0",)


def test_one_file_of_svhn_is_a_data_set_with_a_test_set_drawn(tmp_path: Path) -> None:
    labels = np.where(SVHN_DIGITS == 0, 10, SVHN_DIGITS)
    source = found(save(tmp_path / "extra_32x32.mat", {"X": np.moveaxis(SVHN_IMAGES, 0, -1), "y": labels}))
    assert (source.class_names, len(load_test(source))) == (tuple("0123456789"), 25)


def test_labels_from_1_to_10_of_other_images_stay_classes_1_to_10(tmp_path: Path) -> None:
    variables = {"X": np.moveaxis(SVHN_IMAGES[:, :16], 0, -1), "y": SVHN_DIGITS + 1.0}
    source = found(save(tmp_path / "mine_32x32.mat", variables))
    assert source.class_names == tuple(map(str, range(1, 11)))
    assert not any("SVHN" in note for note in source.notes)


def test_extra_files_of_a_folder_are_named_and_not_read(tmp_path: Path) -> None:
    folder = write_svhn(tmp_path / "svhn")
    (folder / "extra_32x32.mat").write_bytes(b"not even looked at")
    assert "MATLAB files that nothing reads: extra_32x32.mat" in found(folder).notes


def emnist(mapping: list[list[int]], first_label: int = 0) -> dict[str, Any]:
    """A struct as EMNIST has it: each image's columns one after the other. Images of three digits, 16 x 16."""

    def part(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        by_columns = np.stack([image.ravel(order="F") for image in images])
        return {"images": by_columns, "labels": labels[:, np.newaxis].astype(float) + first_label}

    return {"dataset": {"train": part(X, Y), "test": part(X_TEST, Y_TEST), "mapping": np.array(mapping, np.uint8)}}


@pytest.mark.parametrize("is_compressed", [True, False])
def test_characters_of_emnist_stand_upright_and_are_named_by_its_mapping(tmp_path: Path, is_compressed: bool) -> None:
    variables = emnist([[0, 48], [1, 65], [2, 98]])
    source = found(save(tmp_path / "emnist-balanced.mat", variables, do_compression=is_compressed))
    assert (source.dataset, source.class_names, source.image_shape) == (
        "./emnist-balanced",
        ("0", "A", "b"),
        (16, 16, 1),
    )
    assert multiset(load_train(source, 0).together()) == EXPECTED
    np.testing.assert_array_equal(load_test(source).images[..., 0], X_TEST)
    assert "stored column by column" in source.notes[0] and len(source.notes) == 1


def test_letters_of_emnist_from_1_have_capital_and_small_names(tmp_path: Path) -> None:
    source = found(save(tmp_path / "letters.mat", emnist([[3, 67, 99], [1, 65, 97], [2, 66, 98]], first_label=1)))
    assert source.class_names == ("Cc", "Aa", "Bb")  # in the mapping's order, which labels follow
    labels = load_test(source).labels
    assert labels.tolist() == [1] * 3 + [2] * 3 + [0] * 3


@pytest.mark.parametrize(
    "bad",
    [
        {"train": np.zeros(3)},
        {"train": {"images": X.reshape(36, -1)[:, :250], "labels": Y}},
        {"train": {"images": X.reshape(36, -1), "labels": Y + 0.5}},
        {"train": {"images": X.reshape(36, -1), "labels": Y + 7}},
        {"mapping": np.zeros((3, 1))},
        {"mapping": np.array([[0, -1], [1, 65], [2, 66]])},
        {"mapping": np.array([[0, 2**40], [1, 65], [2, 66]])},
        {"mapping": "text"},
    ],
    ids=str,
)
def test_struct_that_is_not_as_emnist_has_it_is_saved_as_arrays(tmp_path: Path, bad: dict[str, Any]) -> None:
    variables = emnist([[0, 48], [1, 65], [2, 98]])
    path = save(tmp_path / "mine.mat", {"dataset": {**variables["dataset"], **bad}})
    with needs_remedy("a struct dataset in {} must be as EMNIST has it, but {}; fetch the file again, or save arrays"):
        found(path)
    assert multiset(load_train(found(save(path, PLAIN)), 0).together()) == EXPECTED


WRITINGS = {
    "plain": PLAIN,
    "number last": {**PLAIN, "x_train": np.moveaxis(X, 0, -1), "x_test": np.moveaxis(X_TEST, 0, -1)},
    "channel and number last": {
        **PLAIN,
        "x_train": np.moveaxis(X[..., np.newaxis], 0, -1),
        "x_test": np.moveaxis(X_TEST[..., np.newaxis], 0, -1),
    },
    "in rows": {**PLAIN, "x_train": X.reshape(36, -1), "x_test": X_TEST.reshape(9, -1)},
    "in columns": {**PLAIN, "x_train": X.reshape(36, -1).T, "x_test": X_TEST.reshape(9, -1).T},
    "doubles": {name: value.astype(float) for name, value in PLAIN.items()},
    "from 0 to 1": {**PLAIN, "x_train": X / 255, "x_test": X_TEST / 255},
    "truth values": {**PLAIN, "x_train": X > 99, "x_test": X_TEST > 99},
    "other names": {"train_x": X, "train_labels": Y, "testX": X_TEST, "testY": Y_TEST},
    "from 1": {**PLAIN, "y_train": Y + 1, "y_test": Y_TEST + 1},
    "one-hot": {**PLAIN, "y_train": np.eye(3)[Y], "y_test": np.eye(3)[Y_TEST]},
    "one-hot in columns": {**PLAIN, "y_train": np.eye(3)[Y].T, "y_test": np.eye(3)[Y_TEST].T},
    "cells": {**PLAIN, "y_train": Y.astype(str).astype(object), "y_test": Y_TEST.astype(str).astype(object)},
    "characters": {**PLAIN, "y_train": Y.astype(str), "y_test": Y_TEST.astype(str)},
}


@pytest.mark.parametrize("variables", WRITINGS.values(), ids=WRITINGS)
def test_everyday_writings_are_one_data_set(tmp_path: Path, variables: dict[str, Any]) -> None:
    source = found(save(tmp_path / "shapes.mat", variables))
    train, test = (images[..., np.newaxis] for images in (X, X_TEST))
    if variables["x_train" if "x_train" in variables else "train_x"].dtype == bool:
        train, test = (np.where(images > 99, 255, 0).astype(np.uint8) for images in (train, test))
    assert multiset(load_train(source, 0).together()) == multiset(LabelledImages(train, Y))
    assert multiset(load_test(source)) == multiset(LabelledImages(test, Y_TEST))


@pytest.mark.parametrize("options", [{"format": "4"}, {"do_compression": True}, {"oned_as": "column"}], ids=str)
def test_versions_and_compression_change_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    rows = {**PLAIN, "x_train": X.reshape(36, -1), "x_test": X_TEST.reshape(9, -1)}
    assert multiset(load_train(found(save(tmp_path / "old.mat", rows, **options)), 0).together()) == EXPECTED


def test_file_is_known_by_its_content_under_another_name(tmp_path: Path) -> None:
    save(tmp_path / "shapes.mat", PLAIN).rename(tmp_path / "shapes.data")
    assert found(tmp_path / "shapes.data").class_names == ("0", "1", "2")


def test_classes_are_named_and_validation_images_join(tmp_path: Path) -> None:
    more = {"x_val": X_TEST, "y_val": Y_TEST, "class_names": np.array(["cat", "null", "ä"], object), "seed": 7}
    source = found(save(tmp_path / "shapes.mat", {**PLAIN, **more}))
    assert source.class_names == ("cat", "null", "ä") and len(load_train(source, 0).together()) == 45
    assert source.notes == ("Variables that nothing reads: seed", "x_val in shapes.mat joins the training images")


def test_folder_has_a_file_for_each_part_whatever_its_variables_name(tmp_path: Path) -> None:
    save(tmp_path / "train.mat", {"x": in_colour(X), "y": Y, "class_names": np.array(["a", "b", "c"], object)})
    save(tmp_path / "test.mat", {"x_test": in_colour(X_TEST), "y_test": Y_TEST})
    source = found(tmp_path)
    assert (source.class_names, source.image_shape, len(load_test(source))) == (("a", "b", "c"), (16, 16, 3), 9)


def test_file_that_is_version_7_3_is_saved_again(tmp_path: Path) -> None:
    path = tmp_path / "shapes.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x_train"] = X
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    with needs_remedy("{} must be a MATLAB file of version 7 or before, but is of version 7.3 (HDF5); save it again"):
        found(path)
    found(save(path, PLAIN))


def cut(content: bytes, share: float) -> bytes:
    return content[: int(share * len(content))]


DAMAGES = {
    "empty": lambda content: b"",
    "in the header": lambda content: content[:100],
    "behind the header": lambda content: content[:132],
    "a page": lambda content: b"<html>404</html>" * 20,
    "text of Octave": lambda content: b"# Created by Octave 8.4.0\n# name: x\n# type: matrix\n",
    "zeros": lambda content: content[:200] + bytes(len(content) - 200),
    **{f"cut at {share}": lambda content, share=share: cut(content, share) for share in (0.3, 0.7, 0.99)},
}


@pytest.mark.parametrize("is_compressed", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_fetched_or_saved_again(tmp_path: Path, damage: str, is_compressed: bool) -> None:
    for variables in (PLAIN, emnist([[0, 48], [1, 65], [2, 98]])):
        path = save(tmp_path / "shapes.mat", variables, do_compression=is_compressed)
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
        refused(path, "shapes.mat")
        found(save(path, variables))


@pytest.mark.parametrize("number", [0, 8, 14, 15, 99])
@pytest.mark.parametrize("is_compressed", [True, False])
def test_values_of_a_type_that_would_crash_scipy_are_refused(tmp_path: Path, number: int, is_compressed: bool) -> None:
    path = save(tmp_path / "shapes.mat", PLAIN)
    content = bytearray(path.read_bytes())
    content[content.index(b"x_train") + 8] = number  # the type of the numbers, 2 for bytes
    if is_compressed:
        end = 136 + struct.unpack_from("<I", content, 132)[0]
        variable = zlib.compress(content[128:end])
        content[128:end] = struct.pack("<2I", 15, len(variable)) + variable
    path.write_bytes(content)
    refused(path, f"shapes.mat must be a whole MATLAB file, but: an element has the type {number}; fetch it again")


def test_cells_that_are_nested_deeply_or_promise_too_many_are_refused(tmp_path: Path) -> None:
    cells = np.array(["a"], object)
    for _ in range(40):
        outer = np.empty(1, object)
        outer[0] = cells
        cells = outer
    path = save(tmp_path / "shapes.mat", {**PLAIN, "y_train": cells})
    refused(path, "cells are nested more than 30 deep")
    save(path, {**PLAIN, "y_train": Y.astype(str).astype(object)})
    content = bytearray(path.read_bytes())
    place = content.index(b"y_train") - 16
    content[place : place + 8] = struct.pack("<2i", 2**16, 2**15 - 1)
    path.write_bytes(content)
    refused(path, "a variable has 39 elements instead of 2,147,418,115")


def test_numbers_that_claim_to_have_imaginary_parts_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "shapes.mat", PLAIN)
    content = bytearray(path.read_bytes())
    content[content.index(b"x_train") - 39] |= 8  # SciPy would go on behind the variable, and crash
    path.write_bytes(content)
    refused(path, "shapes.mat must be a whole MATLAB file, but: a variable has 4 elements instead of 5")


def test_complex_numbers_are_no_pixels_and_no_matter_elsewhere(tmp_path: Path) -> None:
    path = save(tmp_path / "shapes.mat", {**PLAIN, "filters": np.ones((3, 3)) * 1j, "handle": OBJECT})
    assert "Variables that nothing reads: filters, handle" in found(path).notes
    refused(save(path, {**PLAIN, "x_train": X * 1j}), "x_train in .* must be numbers, .* but got complex128; save them")


def test_version_4_of_a_machine_whose_numbers_scipy_does_not_read_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "old.mat", {"x": X.reshape(36, -1), "y": Y}, format="4")
    content = bytearray(path.read_bytes())
    content[:4] = struct.pack("<i", 2000)  # doubles of a VAX: SciPy warns, and goes on
    path.write_bytes(content)
    refused(path, "old.mat must be a whole MATLAB file, but: .*VAX.*; fetch it again")


def test_file_that_is_cut_says_so(tmp_path: Path) -> None:
    path = save(tmp_path / "shapes.mat", PLAIN)
    path.write_bytes(cut(path.read_bytes(), 0.5))
    with needs_remedy(
        "{} must be a whole MATLAB file, but: {}; fetch it again, or save it again with save(..., '-v7')"
    ):
        found(path)
    found(save(path, PLAIN))


OBJECT = MatlabObject(np.array([[(1,)]], [("a", "O")]), "categorical")


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("must be an array of {}, but is a MATLAB {}; convert it", {"y_train": OBJECT}, {"y_train": Y}),
        Remedy("must be an array of {}, but is a MATLAB {}; convert it", {"x_train": {"a": 1}}, {"x_train": X}),
        Remedy(
            "must be an array of {}, but is a MATLAB {}; convert it",
            {"x_train": csr_array(X.reshape(36, -1))},
            {"x_train": csr_array(X.reshape(36, -1)).toarray()},
        ),
        Remedy(
            "{} must be a cell array of texts, but holds others; write the classes as texts",
            {"y_train": np.array([np.array([1, 2]), "a"] * 18, object)},
            {"y_train": Y},
        ),
        Remedy(
            "must be a cell array of texts, one for each class, but got {} {}; save it as",
            {"class_names": np.arange(3)},
            {"class_names": np.array(["cat", "dog", "cow"], object)},
        ),
        Remedy("must hold arrays x_train and y_train, but got {}; {}", {"x_train": None, "y_train": None}, PLAIN),
    ],
    ids=str,
)
def test_file_is_read_once_it_is_saved_as_the_message_says(tmp_path: Path, remedy: Remedy) -> None:
    path = save(tmp_path / "shapes.mat", {**PLAIN, **remedy.refused})
    with needs_remedy(remedy.says):
        found(path)
    found(save(path, {**PLAIN, **remedy.refused, **remedy.followed}))


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("must be an array of {}, but is a MATLAB {}; convert it", 16, PLAIN),  # a function handle
        Remedy("must hold numbers and cell arrays alone, but has an object, such as a string array", 17, PLAIN),
        Remedy("must be an array of {}, but is a MATLAB {}; convert it", 99, PLAIN),  # of no known class
    ],
    ids=str,
)
def test_functions_and_newer_objects_are_converted(tmp_path: Path, remedy: Remedy) -> None:
    path = save(tmp_path / "shapes.mat", PLAIN)
    content = bytearray(path.read_bytes())
    content[content.index(b"y_train") - 32] = remedy.refused  # the variable's class: SciPy writes none of these
    path.write_bytes(content)
    with needs_remedy(remedy.says):
        found(path)
    found(save(path, remedy.followed))


def test_images_that_could_have_their_number_first_or_last_are_reshaped(tmp_path: Path) -> None:
    square, labels = RNG.integers(0, 256, (30, 20, 30), dtype=np.uint8), np.arange(30) % 2
    path = save(tmp_path / "shapes.mat", {"X": square, "y": labels})
    with needs_remedy("must have one dimension of {}, the number of labels, but its shape is {}; reshape it to"):
        found(path)
    source = found(save(path, {"X": square.reshape(30, 20, 1, 30), "y": labels}))
    assert source.image_shape == (30, 20, 1)
    np.testing.assert_array_equal(images_first(square.reshape(30, 20, 1, 30), 30, "")[7, ..., 0], square[..., 7])


def test_folder_has_one_file_for_each_part(tmp_path: Path) -> None:
    for name in ("train.mat", "train_old.mat", "test.mat"):
        save(tmp_path / name, {"X": X, "y": Y})
    with needs_remedy("{} must hold one MATLAB file for each part, but got {}; leave all but one out"):
        found(tmp_path)
    (tmp_path / "train_old.mat").unlink()
    assert len(load_test(found(tmp_path))) == 36


def test_file_of_a_part_has_one_array_of_images(tmp_path: Path) -> None:
    save(tmp_path / "train.mat", {"X": X, "images": X, "y": Y})
    save(tmp_path / "test.mat", {"X": X_TEST, "y": Y_TEST})
    with needs_remedy("{} must hold one array of images and one of labels, but got {}; name them X and y, and"):
        found(tmp_path)
    save(tmp_path / "train.mat", {"X": X, "y": Y})
    found(tmp_path)


def test_folder_around_a_file_is_passed_through(tmp_path: Path) -> None:
    path = save(tmp_path / "shapes.mat", PLAIN)
    assert found(tmp_path).checksums == found(path).checksums


@pytest.mark.parametrize("kind", ["plain", "emnist"])
def test_images_larger_than_memory_are_refused_by_what_the_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    variables = PLAIN if kind == "plain" else emnist([[0, 48], [1, 65], [2, 98]])
    path = save(tmp_path / "shapes.mat", variables, do_compression=True)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 35 * 256))
    refused(path, r"images of .* take 0.0 GB of memory, .*; use fewer images")


def test_bytes_are_counted_without_unpacking_them(tmp_path: Path) -> None:
    packed = save(tmp_path / "a.mat", {"x": np.zeros((1000, 784), np.uint8)}, do_compression=True)
    assert packed.stat().st_size < 5000
    assert 784_000 <= unpacked_bytes(packed) < 785_000
    plain = save(tmp_path / "b.mat", {"x": np.zeros((1000, 784), np.uint8)})
    assert unpacked_bytes(plain) == unpacked_bytes(packed)
    header = packed.read_bytes()[:128]
    packed.write_bytes(header[:124] + b"\x01\x00MI" + struct.pack(">2I", 14, 8) + bytes(8))  # of a big-endian machine
    assert unpacked_bytes(packed) == 8
