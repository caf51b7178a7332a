"""A folder of IDX files is a data set; what is cut, swapped or does not fit is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.find import find_data
from fmnist.data.idx import IDX_NAMES
from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test, load_train
from fmnist.errors import UserError
from tests.support.data_sets import found, labels_of, multiset, refused, write_folder, write_idx_file
from tests.support.made_images import digits_of_each, idx, in_colour


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "shapes")


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_folder_of_idx_files_is_a_dataset(tmp_path: Path, suffix: str) -> None:
    source = find_data(str(write_folder(tmp_path / "shapes", suffix=suffix)))
    split, test = load_train(source, 0), load_test(source)
    assert (source.dataset, source.image_shape, source.class_names) == ("shapes", (6, 7, 1), ("0", "1", "2"))
    assert set(source.checksums) == {name + suffix for name in IDX_NAMES}
    assert len(split.together()) == 72 and test.images.shape == (9, 6, 7, 1)


def test_load_train_never_reads_the_test_files(folder: Path) -> None:
    source = find_data(str(folder))
    for path in folder.glob("t10k-*"):
        path.unlink()
    assert len(load_train(source, 0).train) == 48
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte.gz must be readable, but: No such file"):
        load_test(source)


def test_folder_with_one_idx_file_lacks_the_other_three(tmp_path: Path) -> None:
    write_idx_file(tmp_path / "train-labels-idx1-ubyte", labels_of(72))
    with pytest.raises(UserError, match=r"lacks train-images\S+, t10k-images\S+, t10k-labels\S+; add them$"):
        find_data(str(tmp_path))


def test_missing_file_is_named(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"lacks t10k-labels-idx1-ubyte\[.gz\]; add them$"):
        find_data(str(folder))


@pytest.mark.parametrize("name", [f"{name}.gz" for name in IDX_NAMES])
@pytest.mark.parametrize("keep", [5, 15, -5, -30])
def test_cut_gzip_file_is_named_before_anything_is_loaded(folder: Path, name: str, keep: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:keep])
    with pytest.raises(UserError, match=rf"{name} must be a whole gzip file, but is cut or damaged"):
        find_data(str(folder))


def test_damaged_gzip_file_is_named(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz must be a whole gzip file"):
        find_data(str(folder))


def test_web_page_in_place_of_a_gzip_file_is_named(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte.gz").write_text("<html>not found</html>")
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte.gz must be a whole gzip file.*fetch it again"):
        find_data(str(folder))


@pytest.mark.parametrize(("keep", "complaint"), [(2, "got None"), (10, "end within its header"), (-1, "is cut: its")])
def test_cut_plain_file_is_named(tmp_path: Path, keep: int, complaint: str) -> None:
    folder = write_folder(tmp_path, suffix="")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=f"train-images-idx3-ubyte.*{complaint}"):
        find_data(str(folder))


def test_file_that_is_too_long_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, suffix="")
    with (folder / "t10k-images-idx3-ubyte").open("ab") as file:
        file.write(b"0")
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte is too long"):
        find_data(str(folder))


def test_swapped_files_are_recognised(folder: Path) -> None:
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"
    shutil.copy(images, labels)
    with pytest.raises(UserError, match="holds images where labels are expected: are image and label files swapped"):
        find_data(str(folder))


def test_wrong_magic_number_is_named(folder: Path) -> None:
    write_idx_file(folder / "train-labels-idx1-ubyte.gz", labels_of(72), magic=1234)
    with pytest.raises(UserError, match=r"must be an IDX file of labels \(magic number 2049\), but got 1234"):
        find_data(str(folder))


@pytest.mark.parametrize(("prefix", "n"), [("train", 75), ("t10k", 10)])
def test_images_without_labels_are_refused(folder: Path, prefix: str, n: int) -> None:
    write_idx_file(folder / f"{prefix}-labels-idx1-ubyte.gz", labels_of(n))
    with pytest.raises(
        UserError, match=rf"images in .*{prefix}-images.* and {n} labels in .*{prefix}-labels-idx1-ubyte"
    ):
        find_data(str(folder))


def test_labels_with_a_gap_are_refused(folder: Path) -> None:
    write_idx_file(folder / "train-labels-idx1-ubyte.gz", labels_of(72) * 2)
    with pytest.raises(UserError, match="goes up to 4; absent: 1, 3; number the classes from 0"):
        find_data(str(folder))


def test_one_class_is_refused(folder: Path) -> None:
    write_idx_file(folder / "train-labels-idx1-ubyte.gz", np.zeros(72, np.uint8))
    with pytest.raises(UserError, match=r"two classes or more, but in .* all are 0; add"):
        find_data(str(folder))


def test_test_labels_unknown_in_training_are_refused(folder: Path) -> None:
    write_idx_file(folder / "t10k-labels-idx1-ubyte.gz", np.full(9, 3, np.uint8))
    with pytest.raises(UserError, match=r"test labels must be 0 to 2 .* one is 3"):
        find_data(str(folder))


def test_empty_test_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is none"):
        find_data(str(write_folder(tmp_path, n_test=0)))


def test_class_with_too_few_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"at least 12 training images, but in .* class 2 has 11"):
        find_data(str(write_folder(tmp_path, n_train=35)))


def test_small_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sides of 4 pixels or more, but those in .* are 3 x 4"):
        find_data(str(write_folder(tmp_path, side=3)))


def test_test_images_of_another_size_are_refused(folder: Path) -> None:
    write_idx_file(folder / "t10k-images-idx3-ubyte.gz", np.zeros((9, 8, 8), np.uint8))
    with pytest.raises(
        UserError,
        match=r"training and test images must have one shape, but those in .* have 8 x 8 x 1 instead of 6 x 7 x 1",
    ):
        find_data(str(folder))


@pytest.fixture
def idx_folder(tmp_path: Path) -> Callable[..., Path]:
    def write(make: Callable[[np.ndarray], np.ndarray] = lambda images: images, rank: int = 3, **files: bytes) -> Path:
        folder = tmp_path / "bytes"
        folder.mkdir()
        for prefix, n, first in (("train", 12, 0), ("t10k", 3, 12)):
            images, labels = digits_of_each([n] * 3, first=first)
            (folder / f"{prefix}-images-idx{rank}-ubyte").write_bytes(idx(make(images)))
            (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_bytes(content)
        return folder

    return write


@pytest.mark.parametrize("rank", [3, 4])
def test_idx_files_of_four_dimensions_hold_colour_images(idx_folder: Callable[..., Path], rank: int) -> None:
    source = found(idx_folder(in_colour, rank))
    assert source.image_shape == (16, 16, 3) and source.class_names == ("0", "1", "2")
    expected = in_colour(digits_of_each([12] * 3)[0])
    assert multiset(load_train(source, 0).together()) == multiset(LabelledImages(expected, digits_of_each([12] * 3)[1]))
    assert load_test(source).images.shape == (9, 16, 16, 3)


def test_idx_files_of_two_channels_are_refused(idx_folder: Callable[..., Path]) -> None:
    folder = idx_folder(lambda images: np.stack([images] * 2, axis=-1))
    refused(folder, r"1 or 3 channels, .* but its header says 36 x 16 x 16 x 2; write it again")


def test_idx_images_are_fitted_into_the_size_asked_for(idx_folder: Callable[..., Path]) -> None:
    source = found(idx_folder(), image_size=20)
    assert source.image_shape == (20, 20, 1) and load_test(source).images.shape == (9, 20, 20, 1)


def test_classes_file_names_the_classes_of_idx_files(idx_folder: Callable[..., Path]) -> None:
    source = found(idx_folder(classes_txt=b"\xef\xbb\xbfnull\n eins \nzwei \xc3\xa4\n"))
    assert source.class_names == ("null", "eins", "zwei ä")
    assert "classes.txt" in source.checksums  # other names would be another data set


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a\nb\n", "one name for each class, but got 2 for the 3 classes in .*; fix the list of names"),
        (b"a\nb\nb\n", r"classes.txt must name each class .* but got b twice; fix it"),
        (b"a\n\nc\n", r"classes.txt must name each class in a line of its own, but got ''; fix it"),
        (b"a\nb\nc\xff", r"classes.txt must be a text file in UTF-8, but: .*; save it so"),
    ],
    ids=["too few", "twice", "empty line", "not UTF-8"],
)
def test_classes_file_that_does_not_fit_is_refused(
    idx_folder: Callable[..., Path], content: bytes, complaint: str
) -> None:
    refused(idx_folder(classes_txt=content), complaint)


def test_idx_images_of_one_colour_are_told(idx_folder: Callable[..., Path]) -> None:
    def with_two_blank(images: np.ndarray) -> np.ndarray:
        images = images.copy()
        images[[0, 5]] = 9
        return images

    (note,) = found(idx_folder(with_two_blank)).notes
    assert "2 images are of one colour" in note and "training image 0" in note
