"""Fashion-MNIST is looked for in its places and checked; digits are always there."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.find import find_data
from fmnist.data.idx import IDX_NAMES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from fmnist.data.named import fashion_mnist
from fmnist.data.named.fashion_mnist import (
    FASHION_MNIST_MD5,
    difference_from_official,
    fashion_mnist_cache,
    find_fashion_mnist,
    usual_places,
)
from fmnist.data.named.keras_cache import download_with_keras
from fmnist.data.split import load_test, load_train, pixel_statistics
from fmnist.errors import UserError
from tests.support.data_sets import no_download
from tests.support.made_images import idx


def write_fakes(folder: Path, names: Sequence[str] = tuple(FASHION_MNIST_MD5)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"0" * 1000)
    return folder


@pytest.fixture(autouse=True)
def nobody_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FMNIST_DATA_DIR", raising=False)


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


def test_data_dir_that_lacks_files_is_an_error_however_many_places_hold_them(tmp_path: Path) -> None:
    asked_for = write_fakes(tmp_path / "asked", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
    complaint = r"missing train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz in .*asked; .* leave --data-dir out"
    with pytest.raises(UserError, match=complaint):
        find_data("fashion-mnist", asked_for, places=[write_fakes(tmp_path / "full")], download=no_download)


def test_data_dir_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere, which is not a folder"):
        find_data("fashion-mnist", tmp_path / "nowhere", download=no_download)


def test_environment_names_the_place_and_data_dir_overrules_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMNIST_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"leave \$FMNIST_DATA_DIR out"):
        find_fashion_mnist(places=[write_fakes(tmp_path / "full")])
    assert find_fashion_mnist(tmp_path / "full") == tmp_path / "full"


def test_places_without_any_file_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    places = [tmp_path / "nowhere", tmp_path / "empty", write_fakes(tmp_path / "full"), tmp_path / "partial"]
    write_fakes(places[3], ["train-images-idx3-ubyte.gz"])
    assert find_fashion_mnist(places=places) == places[2]
    assert find_fashion_mnist(places=places[:2]) is None


def test_place_with_some_files_is_an_error(tmp_path: Path) -> None:
    partial = write_fakes(tmp_path / "partial", list(FASHION_MNIST_MD5)[1:])
    with pytest.raises(UserError, match=r"missing train-images-idx3-ubyte.gz in .*partial; complete the folder"):
        find_data("fashion-mnist", places=[partial, write_fakes(tmp_path / "full")], download=no_download)


def test_what_is_missing_in_keras_cache_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    cache = write_fakes(fashion_mnist_cache(), list(FASHION_MNIST_MD5)[1:])
    with pytest.raises(UserError, match="must be the official ones"):  # it went as far as that
        find_data("fashion-mnist", places=[cache], download=lambda: write_fakes(cache))


def test_no_file_and_no_network_lists_the_places_and_the_offline_command(tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(UserError, match=r"/a, .*/b, .*\(no network\).*--data-dir.*--dataset digits") as caught:
        find_data("fashion-mnist", places=places, download=no_download)
    assert "\n" not in str(caught.value)


def test_download_that_leaves_files_out_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing train-images.* after the download"):
        find_data("fashion-mnist", places=[], download=lambda: tmp_path)


def test_download_is_checked_as_well(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be the official ones"):
        find_data("fashion-mnist", places=[], download=lambda: write_fakes(tmp_path / "cache"))


def test_usual_places_follow_the_working_folder_and_keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    places = usual_places()
    assert places[0] == tmp_path / "data" / "fashion-mnist"
    assert tmp_path.parent / "shared" / "fashion-mnist" in places
    assert Path(__file__).parents[3] / "shared" / "fashion-mnist" in places
    assert places[-1] == tmp_path / "keras" / "datasets" / "fashion-mnist"


def test_cut_and_altered_files_are_told_apart(tmp_path: Path) -> None:
    folder = write_fakes(tmp_path)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"0" * 5_148)
    complaint = r"train-images-idx3-ubyte.gz is cut: 1,000 of 26,421,880 bytes.*t10k-labels-idx1-ubyte.gz is altered"
    with pytest.raises(UserError, match=complaint):
        find_data("fashion-mnist", folder)


def test_swapped_official_files_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"0")
    message = difference_from_official(path, FASHION_MNIST_MD5["train-labels-idx1-ubyte.gz"])
    assert message.endswith("holds the content of train-labels-idx1-ubyte.gz: were files swapped?")


@pytest.fixture
def both_forms(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four small files, gzipped and unpacked, that are taken for the official ones."""
    generator = np.random.default_rng(0)
    contents = {}
    for images_name, labels_name, n in ((TRAIN_IMAGES, TRAIN_LABELS, 60), (TEST_IMAGES, TEST_LABELS, 20)):
        contents[images_name] = idx(generator.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        contents[labels_name] = idx((np.arange(n) % 10).astype(np.uint8))
    contents |= {f"{name}.gz": gzip.compress(content) for name, content in contents.items()}
    md5s = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in contents.items()}
    for name in IDX_NAMES:
        monkeypatch.setitem(fashion_mnist.FASHION_MNIST_MD5, f"{name}.gz", md5s[f"{name}.gz"])
        monkeypatch.setitem(fashion_mnist.UNPACKED_MD5, name, md5s[name])
        monkeypatch.setitem(fashion_mnist.UNPACKED_BYTES, name, len(contents[name]))
    return contents


@pytest.mark.parametrize("form", ["{name}", "{name}/{name}", "dotted"])
def test_unpacked_files_are_the_same_data_set_as_the_published_ones(
    tmp_path: Path, both_forms: dict[str, bytes], form: str
) -> None:
    for name in IDX_NAMES:
        (tmp_path / "gz").mkdir(exist_ok=True)
        (tmp_path / "gz" / f"{name}.gz").write_bytes(both_forms[f"{name}.gz"])
        called = name.replace("-idx", ".idx") if form == "dotted" else form.format(name=name)
        path = tmp_path / "unpacked" / called
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(both_forms[name])
    packed = find_data("fashion-mnist", tmp_path / "gz")
    unpacked = find_data("fashion-mnist", places=[tmp_path / "unpacked"], download=no_download)
    assert packed.checksums == unpacked.checksums == fashion_mnist.FASHION_MNIST_MD5
    assert packed.test_checksum == unpacked.test_checksum
    assert (load_train(packed, 0).train.images == load_train(unpacked, 0).train.images).all()


def test_unpacked_file_that_is_altered_or_cut_is_refused(tmp_path: Path, both_forms: dict[str, bytes]) -> None:
    for name in IDX_NAMES:
        (tmp_path / name).write_bytes(both_forms[name])
    (tmp_path / TEST_LABELS).write_bytes(both_forms[TEST_LABELS][:-1] + b"9")
    (tmp_path / TRAIN_LABELS).write_bytes(both_forms[TRAIN_LABELS][:-1])
    complaint = r"train-labels-idx1-ubyte is cut: 67 of 68 bytes; t10k-labels-idx1-ubyte is altered: 28 bytes"
    with pytest.raises(UserError, match=complaint):
        find_data("fashion-mnist", tmp_path)


@pytest.mark.realdata
def test_real_files_split_into_50000_5000_and_5000() -> None:
    source = find_data("fashion-mnist", download=no_download)
    split = load_train(source, 0)
    assert (len(split.train), len(split.selection), len(split.confirmation)) == (50_000, 5_000, 5_000)
    for part in (split.train, split.selection, split.confirmation):
        assert np.ptp(np.bincount(part.labels)) == 0
    assert pixel_statistics(split.together().images) == pytest.approx((0.2860 * 255, 0.3530 * 255), abs=0.02)


@pytest.mark.realdata
def test_real_files_are_accepted_unpacked(tmp_path: Path) -> None:
    folder = find_fashion_mnist()
    assert folder is not None
    for name in IDX_NAMES:
        content = (folder / f"{name}.gz").read_bytes()
        (tmp_path / name).write_bytes(gzip.decompress(content))
    unpacked = find_data("fashion-mnist", tmp_path)
    assert unpacked.test_checksum == find_data("fashion-mnist", folder).test_checksum


@pytest.mark.realdata
def test_real_test_files_hold_10000_balanced_images() -> None:
    test = load_test(find_data("fashion-mnist", download=no_download))
    assert test.images.shape == (10_000, 28, 28, 1) and np.bincount(test.labels).tolist() == [1_000] * 10


@pytest.mark.process
def test_download_heeds_no_settings_of_keras_and_goes_to_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are there, of an image each, so that Keras needs no network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text("[]")
    cache = fashion_mnist_cache()
    cache.mkdir(parents=True)
    for name in FASHION_MNIST_MD5:
        content = bytes(9) if "labels" in name else bytes(16 + 28 * 28)
        (cache / name).write_bytes(gzip.compress(content))
    assert download_with_keras("fashion_mnist", cache) == cache
    assert (tmp_path / "keras.json").read_text() == "[]"
    assert sorted(path.name for path in cache.iterdir()) == sorted(FASHION_MNIST_MD5)
