from __future__ import annotations

import gzip
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fmnist.data import checks
from fmnist.data.find import find_data
from fmnist.data.idx import IDX_NAMES
from fmnist.data.images import LabelledImages
from fmnist.data.named import (
    FASHION_MNIST_MD5,
    difference_from_official,
    find_fashion_mnist,
    keras_cache,
    usual_places,
)
from fmnist.data.split import load_test, load_train, open_split, pixel_statistics, save_split, split_indices
from fmnist.errors import UserError

N_CLASSES = 3


def write_idx(path: Path, array: np.ndarray, magic: int | None = None) -> None:
    magic = {1: 2049, 3: 2051}[array.ndim] if magic is None else magic
    content = struct.pack(f">{1 + array.ndim}i", magic, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def labels_of(n: int) -> np.ndarray:
    return (np.arange(n) % N_CLASSES).astype(np.uint8)


def write_folder(folder: Path, *, n_train: int = 72, n_test: int = 9, side: int = 6, suffix: str = ".gz") -> Path:
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, n in (("train", n_train), ("t10k", n_test)):
        images = generator.integers(0, 256, (n, side, side + 1), dtype=np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", labels_of(n))
    return folder


def write_fakes(folder: Path, names=tuple(FASHION_MNIST_MD5)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"0" * 1000)
    return folder


def no_download() -> Path:
    raise UserError("no network")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "shapes")


@pytest.fixture(autouse=True)
def nobody_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FMNIST_DATA_DIR", raising=False)


# Names


def test_unknown_dataset_names_what_is_known() -> None:
    with pytest.raises(UserError, match=r"must be fashion-mnist, digits or a folder .* but got 'fasion-mnist'"):
        find_data("fasion-mnist")


@pytest.mark.parametrize("dataset", ["", "~nobody-of-this-name/data"])
def test_dataset_that_is_no_folder_is_unknown(dataset) -> None:
    with pytest.raises(UserError, match="must be fashion-mnist, digits or a folder"):
        find_data(dataset)


def test_data_dir_is_refused_for_other_datasets(tmp_path) -> None:
    with pytest.raises(UserError, match="leave --data-dir out"):
        find_data("digits", tmp_path)


# Digits


def test_digits_are_uint8_images_of_full_range() -> None:
    source = find_data("digits")
    split, test = load_train(source, 0), load_test(source)
    together = split.together()
    assert source.folder is None and source.image_shape == (8, 8, 1) and len(source.class_names) == 10
    assert len(together) + len(test) == 1797 and len(test) == 360
    assert together.images.dtype == np.uint8 and together.images.shape[1:] == (8, 8, 1)
    assert together.images.min() == 0 and together.images.max() == 255


def test_digits_test_set_does_not_depend_on_the_seed_and_meets_no_training_image() -> None:
    source = find_data("digits")
    test = {image.tobytes() for image in load_test(source).images}
    for seed in (0, 1):
        train = {image.tobytes() for image in load_train(source, seed).together().images}
        assert len(train & test) == 0


# Splits


def test_same_seed_gives_same_split_and_zero_is_a_seed_like_any_other() -> None:
    source = find_data("digits")
    first, second, other = load_train(source, 0), load_train(source, 0), load_train(source, 1)
    assert first.checksum == second.checksum != other.checksum
    np.testing.assert_array_equal(first.selection.images, second.selection.images)
    assert first.seed == 0 and other.seed == 1


def test_split_of_a_small_set_gives_a_sixth_each_and_loses_nothing(digits_split) -> None:
    n = len(digits_split.together())
    assert len(digits_split.selection) == len(digits_split.confirmation) == n // 6
    assert len(digits_split.train) == n - 2 * (n // 6)


def test_split_of_a_large_set_gives_a_twelfth_each(tmp_path) -> None:
    source = find_data(str(write_folder(tmp_path, n_train=12_000, side=4)))
    split = load_train(source, 5)
    assert (len(split.train), len(split.selection), len(split.confirmation)) == (10_000, 1_000, 1_000)


def testsplit_indices_are_disjoint_sorted_and_stratified():
    labels = labels_of(12_000)
    parts = split_indices(labels, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(12_000))
    for part in parts:
        assert (np.diff(part) > 0).all()
        assert np.ptp(np.bincount(labels[part])) <= 1


def test_split_survives_the_rarest_class_allowed() -> None:
    labels = np.zeros(12_000, np.uint8)
    labels[: checks.MIN_IMAGES_PER_CLASS] = 1
    assert all(1 in labels[part] for part in split_indices(labels, 0))


def test_saved_split_opens_as_equal_memory_maps(digits_split, tmp_path) -> None:
    save_split(digits_split, tmp_path / "split")
    opened = open_split(tmp_path / "split")
    assert (opened.checksum, opened.seed) == (digits_split.checksum, digits_split.seed)
    for name in ("train", "selection", "confirmation"):
        ours, theirs = getattr(digits_split, name), getattr(opened, name)
        assert isinstance(theirs.images, np.memmap) and not theirs.images.flags.writeable
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_labelled_images_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels must be uint8 \(2,\)"):
        LabelledImages(np.zeros((2, 4, 4, 1), np.uint8), np.zeros(3, np.uint8))


def test_labelled_images_of_wrong_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images must be uint8 \(n, h, w, c\), but got float64"):
        LabelledImages(np.zeros((2, 4, 4, 1)), np.zeros(2, np.uint8))


# Pixel statistics


def test_pixel_statistics_agree_with_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2_345, 5, 5, 1), dtype=np.uint8)
    assert pixel_statistics(images) == pytest.approx((images.mean(), images.std()))


def test_constant_images_have_no_statistics() -> None:
    with pytest.raises(UserError, match="every pixel is 7"):
        pixel_statistics(np.full((3, 4, 4, 1), 7, np.uint8))


def test_pixel_statistics_want_bytes() -> None:
    with pytest.raises(ValueError, match="images must be uint8 and not empty, but got float64"):
        pixel_statistics(np.zeros((1, 4, 4, 1)))


# Folders


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_folder_of_idx_files_is_a_dataset(tmp_path, suffix) -> None:
    source = find_data(str(write_folder(tmp_path / "shapes", suffix=suffix)))
    split, test = load_train(source, 0), load_test(source)
    assert (source.dataset, source.image_shape, source.class_names) == ("shapes", (6, 7, 1), ("0", "1", "2"))
    assert set(source.checksums) == {name + suffix for name in IDX_NAMES}
    assert len(split.together()) == 72 and test.images.shape == (9, 6, 7, 1)


def test_load_train_never_reads_the_test_files(folder) -> None:
    source = find_data(str(folder))
    for path in folder.glob("t10k-*"):
        path.unlink()
    assert len(load_train(source, 0).train) == 48
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz, but neither exists any longer"):
        load_test(source)


def test_folder_with_one_idx_file_lacks_the_other_three(tmp_path) -> None:
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels_of(72))
    with pytest.raises(UserError, match=r"lacks train-images\S+, t10k-images\S+, t10k-labels\S+$"):
        find_data(str(tmp_path))


def test_missing_file_is_named(folder) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"lacks t10k-labels-idx1-ubyte\[.gz\]$"):
        find_data(str(folder))


@pytest.mark.parametrize("name", [f"{name}.gz" for name in IDX_NAMES])
@pytest.mark.parametrize("keep", [5, 15, -5, -30])
def test_cut_gzip_file_is_named_before_anything_is_loaded(folder, name, keep) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:keep])
    with pytest.raises(UserError, match=rf"{name} must be a whole gzip file, but is cut or damaged"):
        find_data(str(folder))


def test_damaged_gzip_file_is_named(folder) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz must be a whole gzip file"):
        find_data(str(folder))


def test_web_page_in_place_of_a_gzip_file_is_named(folder) -> None:
    (folder / "train-labels-idx1-ubyte.gz").write_text("<html>not found</html>")
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte.gz must be a whole gzip file.*fetch it again"):
        find_data(str(folder))


@pytest.mark.parametrize(("keep", "complaint"), [(2, "got None"), (10, "end within its header"), (-1, "is cut: its")])
def test_cut_plain_file_is_named(tmp_path, keep, complaint) -> None:
    folder = write_folder(tmp_path, suffix="")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=f"train-images-idx3-ubyte.*{complaint}"):
        find_data(str(folder))


def test_file_that_is_too_long_is_named(tmp_path) -> None:
    folder = write_folder(tmp_path, suffix="")
    with (folder / "t10k-images-idx3-ubyte").open("ab") as file:
        file.write(b"0")
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte is too long"):
        find_data(str(folder))


def test_swapped_files_are_recognised(folder) -> None:
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"
    shutil.copy(images, labels)
    with pytest.raises(UserError, match="holds images where labels are expected: are image and label files swapped"):
        find_data(str(folder))


def test_wrong_magic_number_is_named(folder) -> None:
    write_idx(folder / "train-labels-idx1-ubyte.gz", labels_of(72), magic=1234)
    with pytest.raises(UserError, match=r"must be an IDX file of labels \(magic number 2049\), but got 1234"):
        find_data(str(folder))


@pytest.mark.parametrize(("prefix", "n"), [("train", 75), ("t10k", 10)])
def test_images_without_labels_are_refused(folder, prefix, n) -> None:
    write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels_of(n))
    with pytest.raises(UserError, match=rf"{prefix}-images.* and {prefix}-labels-idx1-ubyte {n} labels"):
        find_data(str(folder))


def test_labels_with_a_gap_are_refused(folder) -> None:
    write_idx(folder / "train-labels-idx1-ubyte.gz", labels_of(72) * 2)
    with pytest.raises(UserError, match="goes up to 4; absent: 1, 3; number the classes from 0"):
        find_data(str(folder))


@pytest.mark.parametrize("n_train", [0, 72])
def test_one_class_or_none_is_refused(folder, n_train) -> None:
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.zeros(n_train, np.uint8))
    with pytest.raises(UserError, match="k at least 2"):
        find_data(str(folder))


def test_test_labels_unknown_in_training_are_refused(folder) -> None:
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.full(9, 3, np.uint8))
    with pytest.raises(UserError, match=r"test labels must be 0 to 2 .* one is 3"):
        find_data(str(folder))


def test_empty_test_set_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="there is none"):
        find_data(str(write_folder(tmp_path, n_test=0)))


def test_class_with_too_few_images_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"at least 12 training images, but in .* class 2 has 11"):
        find_data(str(write_folder(tmp_path, n_train=35)))


def test_small_images_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"sides of 4 pixels or more, but those in .* are 3 x 4"):
        find_data(str(write_folder(tmp_path, side=3)))


def test_test_images_of_another_size_are_refused(folder) -> None:
    write_idx(folder / "t10k-images-idx3-ubyte.gz", np.zeros((9, 8, 8), np.uint8))
    with pytest.raises(UserError, match="training and test images must have one size"):
        find_data(str(folder))


# Fashion-MNIST: where it is looked for


def test_data_dir_that_lacks_files_is_an_error_however_many_places_hold_them(tmp_path) -> None:
    asked_for = write_fakes(tmp_path / "asked", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
    complaint = r"missing train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz in .*asked; .* leave --data-dir out"
    with pytest.raises(UserError, match=complaint):
        find_data("fashion-mnist", asked_for, places=[write_fakes(tmp_path / "full")], download=no_download)


def test_data_dir_that_does_not_exist_is_an_error(tmp_path) -> None:
    with pytest.raises(UserError, match="nowhere, which is not a folder"):
        find_data("fashion-mnist", tmp_path / "nowhere", download=no_download)


def test_environment_names_the_place_and_data_dir_overrules_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FMNIST_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"leave \$FMNIST_DATA_DIR out"):
        find_fashion_mnist(places=[write_fakes(tmp_path / "full")])
    assert find_fashion_mnist(tmp_path / "full") == tmp_path / "full"


def test_places_without_any_file_are_passed_over(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    places = [tmp_path / "nowhere", tmp_path / "empty", write_fakes(tmp_path / "full"), tmp_path / "partial"]
    write_fakes(places[3], ["train-images-idx3-ubyte.gz"])
    assert find_fashion_mnist(places=places) == places[2]
    assert find_fashion_mnist(places=places[:2]) is None


def test_place_with_some_files_is_an_error(tmp_path) -> None:
    partial = write_fakes(tmp_path / "partial", list(FASHION_MNIST_MD5)[1:])
    with pytest.raises(UserError, match=r"missing train-images-idx3-ubyte.gz in .*partial; complete the folder"):
        find_data("fashion-mnist", places=[partial, write_fakes(tmp_path / "full")], download=no_download)


def test_what_is_missing_in_keras_cache_is_downloaded(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    cache = write_fakes(keras_cache(), list(FASHION_MNIST_MD5)[1:])
    with pytest.raises(UserError, match="must be the official ones"):  # it went as far as that
        find_data("fashion-mnist", places=[cache], download=lambda: write_fakes(cache))


def test_no_file_and_no_network_lists_the_places_and_the_offline_command(tmp_path) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(UserError, match=r"/a, .*/b, .*\(no network\).*--data-dir.*--dataset digits") as caught:
        find_data("fashion-mnist", places=places, download=no_download)
    assert "\n" not in str(caught.value)


def test_download_that_leaves_files_out_is_an_error(tmp_path) -> None:
    with pytest.raises(UserError, match=r"missing train-images.* after the download"):
        find_data("fashion-mnist", places=[], download=lambda: tmp_path)


def test_download_is_checked_as_well(tmp_path) -> None:
    with pytest.raises(UserError, match="must be the official ones"):
        find_data("fashion-mnist", places=[], download=lambda: write_fakes(tmp_path / "cache"))


def test_usual_places_follow_the_working_folder_and_keras_home(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    places = usual_places()
    assert places[0] == tmp_path / "data" / "fashion-mnist"
    assert tmp_path.parent / "shared" / "fashion-mnist" in places
    assert Path(__file__).parents[3] / "shared" / "fashion-mnist" in places
    assert places[-1] == tmp_path / "keras" / "datasets" / "fashion-mnist"


# Fashion-MNIST: what is wrong with it


def test_cut_and_altered_files_are_told_apart(tmp_path) -> None:
    folder = write_fakes(tmp_path)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"0" * 5_148)
    complaint = r"train-images-idx3-ubyte.gz is cut: 1,000 of 26,421,880 bytes.*t10k-labels-idx1-ubyte.gz is altered"
    with pytest.raises(UserError, match=complaint):
        find_data("fashion-mnist", folder)


def test_swapped_official_files_are_recognised(tmp_path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"0")
    message = difference_from_official(path, FASHION_MNIST_MD5["train-labels-idx1-ubyte.gz"])
    assert message.endswith("holds the content of train-labels-idx1-ubyte.gz: were files swapped?")


@pytest.mark.process
def test_finding_data_leaves_keras_unloaded() -> None:
    script = "import sys; from fmnist.data.find import find_data; find_data('digits'); print('keras' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "False"


@pytest.mark.realdata
def test_real_files_split_into_50000_5000_and_5000() -> None:
    source = find_data("fashion-mnist", download=no_download)
    split = load_train(source, 0)
    assert (len(split.train), len(split.selection), len(split.confirmation)) == (50_000, 5_000, 5_000)
    for part in (split.train, split.selection, split.confirmation):
        assert np.ptp(np.bincount(part.labels)) == 0
    assert pixel_statistics(split.together().images) == pytest.approx((0.2860 * 255, 0.3530 * 255), abs=0.02)


@pytest.mark.realdata
def test_real_test_files_hold_10000_balanced_images() -> None:
    test = load_test(find_data("fashion-mnist", download=no_download))
    assert test.images.shape == (10_000, 28, 28, 1) and np.bincount(test.labels).tolist() == [1_000] * 10
