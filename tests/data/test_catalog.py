"""Data sets that have a name are found in Keras' cache or in --data-dir, with the names of their classes."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.arrays.parts import Part
from fmnist.data.find import find_data
from fmnist.data.named.catalog import CATALOG, CIFAR_10, CIFAR_100, MNIST, NamedSet
from fmnist.data.named.keras_cache import keras_cache
from fmnist.data.named.sources import catalogued_source
from fmnist.data.split import load_test, load_train
from fmnist.errors import UserError
from fmnist.reading import DATASETS, Reading
from tests.support.data_sets import no_download
from tests.support.made_images import idx
from tests.support.remedies import needs_remedy

Arrays = tuple[np.ndarray, np.ndarray]  # images and labels


@pytest.fixture(autouse=True)
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras' cache is empty, and nothing in the current folder is called like a data set."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "keras"


def made(named: NamedSet, n_each: int = 12, seed: int = 0) -> Arrays:
    """Random images of all classes, labels from 0."""
    n_classes, (height, width, n_channels) = len(named.class_names), named.image_shape
    shape = (n_each * n_classes, height, width) + ((n_channels,) if n_channels > 1 else ())
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return images, (np.arange(len(images)) % n_classes).astype(np.uint8)


def write_npz(path: Path, named: NamedSet) -> Path:
    train, test = made(named), made(named, 1, seed=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    return path


def write_idx(folder: Path, named: NamedSet, prefix: str = "", test: str = "t10k", first: int = 0) -> Arrays:
    """Write the four IDX files, the classes numbered from `first`. Returns the training images and labels from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    train = made(named)
    for part, (images, labels) in (("train", train), (test, made(named, 1, seed=1))):
        (folder / f"{prefix}{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images), 1))
        (folder / f"{prefix}{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels + first), 1))
    return train


def official(named: NamedSet, folder: Path, names: Sequence[str]) -> NamedSet:
    """The data set, whose official files are these."""
    assert named.keras is not None
    md5s = {name: hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest() for name in names}
    return dataclasses.replace(named, keras=dataclasses.replace(named.keras, md5s=md5s))


class MadeBatches:
    """Stands in for the reader of CIFAR's pickles: a folder that holds one .npz under the names of the batches."""

    has_test, wanted_test = True, "test_batch"

    def __init__(self, place: Path) -> None:
        self.place = place
        self.files = sorted(place.iterdir())

    def _part(self, part: str) -> Part:
        with np.load(self.files[0]) as arrays:
            return Part(arrays[f"x_{part}"], arrays[f"y_{part}"], f"{part} images", f"{part} labels")

    def read_train(self) -> list[Part]:
        return [self._part("train")]

    def read_test(self) -> Part:
        return self._part("test")

    def class_names(self) -> tuple[str, ...]:
        return ("as", "the", "file", "says")

    def notes(self) -> list[str]:
        return []


def write_batches(folder: Path, named: NamedSet) -> Path:
    assert named.keras is not None
    folder.mkdir(parents=True)
    for name in named.keras.md5s:
        write_npz(folder / "made.npz", named).rename(folder / name)
    return folder


def test_every_name_is_known_and_names_its_classes_once() -> None:
    assert set(DATASETS) == {"fashion-mnist", "digits", *CATALOG}
    counts = {name: len(named.class_names) for name, named in CATALOG.items()}
    assert counts == {
        "mnist": 10,
        "cifar10": 10,
        "cifar100": 100,
        "kmnist": 10,
        "emnist-letters": 26,
        "emnist-balanced": 47,
        "emnist-digits": 10,
        "emnist-mnist": 10,
        "emnist-bymerge": 47,
        "emnist-byclass": 62,
    }
    assert all(len(set(named.class_names)) == len(named.class_names) for named in CATALOG.values())


def test_classes_have_the_names_that_their_labels_stand_for() -> None:
    assert CATALOG["cifar10"].class_names[3] == "cat" and CATALOG["cifar100"].class_names[1] == "aquarium_fish"
    assert list(CIFAR_100.class_names) == sorted(CIFAR_100.class_names)
    balanced = CATALOG["emnist-balanced"].class_names
    assert "".join(balanced) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert CATALOG["kmnist"].class_names[:3] == ("o", "ki", "su")


def test_mnist_is_read_from_keras_cache_without_a_download(keras_home: Path) -> None:
    path = write_npz(keras_home / "datasets" / "mnist.npz", MNIST)
    source = catalogued_source(official(MNIST, path.parent, ["mnist.npz"]), None, Reading(), no_download)
    assert (source.dataset, source.folder, source.image_shape) == ("mnist", path, (28, 28, 1))
    assert source.class_names == tuple("0123456789") and list(source.checksums) == ["mnist.npz"]
    assert len(load_test(source)) == 10 and len(load_train(source, 0).together()) == 120


def test_mnist_that_is_not_cached_is_downloaded() -> None:
    cache = keras_cache("mnist.npz")
    write_npz(cache, MNIST)
    named = official(MNIST, cache.parent, ["mnist.npz"])
    content = cache.read_bytes()
    cache.unlink()
    calls = []

    def download() -> Path:
        calls.append(cache.write_bytes(content))
        return cache

    assert len(catalogued_source(named, None, Reading(), download).test_digests) == 10 and len(calls) == 1


@pytest.mark.parametrize("place", ["cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-py"])
def test_cifar_is_read_from_the_batches_in_keras_cache_by_its_own_class_names(keras_home: Path, place: str) -> None:
    folder = write_batches(keras_home / "datasets" / place, CIFAR_10)
    named = official(CIFAR_10, folder, [path.name for path in folder.iterdir()])
    source = catalogued_source(named, None, Reading(), no_download, MadeBatches)
    assert (source.dataset, source.image_shape) == ("cifar10", (32, 32, 3))
    assert source.class_names == CIFAR_10.class_names and set(source.checksums) == set(named.keras.md5s)


@pytest.mark.parametrize("named", [CIFAR_10, CIFAR_100], ids=["cifar10", "cifar100"])
@pytest.mark.parametrize("is_inside", [True, False])
def test_cifar_is_read_from_its_folder_or_the_one_around_it(tmp_path: Path, named: NamedSet, is_inside: bool) -> None:
    folder = write_batches(tmp_path / "mine" / named.keras.places[-1], named)
    data_dir = folder if is_inside else tmp_path / "mine"
    source = catalogued_source(named, data_dir, Reading(), no_download, MadeBatches)
    assert source.folder == folder and source.class_names == named.class_names


def test_mnist_is_read_from_idx_files_or_an_archive_of_ones_own(tmp_path: Path) -> None:
    write_idx(tmp_path / "idx" / "raw", MNIST)
    archive = write_npz(tmp_path / "npz" / "mnist.npz", MNIST)
    sources = [find_data("mnist", place) for place in (tmp_path / "idx", tmp_path / "npz", archive)]
    assert len({source.test_checksum for source in sources}) == 1
    assert {source.dataset for source in sources} == {"mnist"}


def test_kmnist_is_read_from_four_archives_with_an_array_each(tmp_path: Path) -> None:
    named = CATALOG["kmnist"]
    train = write_idx(tmp_path / "idx", named)
    (tmp_path / "npz").mkdir()
    for part, (images, labels) in (("train", train), ("test", made(named, 1, seed=1))):
        np.savez(tmp_path / "npz" / f"kmnist-{part}-imgs.npz", images)
        np.savez(tmp_path / "npz" / f"kmnist-{part}-labels.npz", labels)
    archives, files = find_data("kmnist", tmp_path / "npz"), find_data("kmnist", tmp_path / "idx")
    assert archives.class_names == files.class_names == named.class_names
    assert archives.test_checksum == files.test_checksum
    assert (load_train(archives, 0).train.images == load_train(files, 0).train.images).all()


def test_emnist_letters_are_turned_upright_and_called_by_their_letters(tmp_path: Path) -> None:
    named = CATALOG["emnist-letters"]
    images, _ = write_idx(tmp_path / "gzip", named, "emnist-letters-", "test", first=1)
    write_idx(tmp_path / "gzip", CATALOG["emnist-digits"], "emnist-digits-", "test")
    source = find_data("emnist-letters", tmp_path)
    assert source.class_names == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    everything = source.read_train()
    assert (everything.images[5, :, :, 0] == images[5].T).all() and everything.labels[:3].tolist() == [0, 1, 2]
    assert any("turned upright" in note for note in source.notes) and any(
        "from 1 to 26" in note for note in source.notes
    )
    assert len(find_data("emnist-digits", tmp_path).class_names) == 10


def test_other_spellings_and_folders_of_the_same_name(tmp_path: Path) -> None:
    write_idx(tmp_path / "mine", MNIST)
    assert find_data("MNIST", tmp_path / "mine").dataset == "mnist"
    write_idx(Path("mnist"), MNIST)
    (note,) = find_data("mnist", tmp_path / "mine").notes
    assert "--dataset ./mnist would read" in note
    assert find_data("./mnist").dataset == "./mnist"


def test_files_that_keras_has_no_download_for_are_put_into_a_folder(tmp_path: Path) -> None:
    with needs_remedy("the data set {} must be in a folder, as Keras has no download for it"):
        find_data("kmnist", download=no_download)
    write_idx(tmp_path / "mine", CATALOG["kmnist"])
    find_data("kmnist", tmp_path / "mine")


def test_folder_without_the_files_gets_them(tmp_path: Path) -> None:
    for name in ("kmnist", "cifar10", "emnist-letters"):
        with needs_remedy("a folder of {} must hold {} ({}), but there is no such file in {}; put them there, or pass"):
            find_data(name, tmp_path / "mine")
    write_idx(tmp_path / "mine", CATALOG["kmnist"])
    find_data("kmnist", tmp_path / "mine")


def test_folder_that_lacks_one_of_the_files_gets_it(tmp_path: Path) -> None:
    named = CATALOG["emnist-digits"]
    write_idx(tmp_path, named, "emnist-digits-", "test")
    (tmp_path / "emnist-digits-test-labels-idx1-ubyte.gz").unlink()
    with needs_remedy("a folder of IDX files must hold all four, but {} lacks {}; add them") as caught:
        find_data("emnist-digits", tmp_path)
    assert "lacks emnist-digits-test-labels-idx1-ubyte[.gz]" in str(caught.value)
    write_idx(tmp_path, named, "emnist-digits-", "test")
    find_data("emnist-digits", tmp_path)


def test_no_network_is_no_matter_with_a_folder(tmp_path: Path) -> None:
    with needs_remedy("no {} at {}, and Keras' download failed ({}); pass --data-dir with a folder that holds {}, or"):
        find_data("mnist", download=no_download)
    write_idx(tmp_path / "mine", MNIST)
    find_data("mnist", tmp_path / "mine", download=no_download)
    find_data("digits", download=no_download)


def test_download_that_brings_nothing_is_replaced_by_a_folder(tmp_path: Path) -> None:
    with needs_remedy(
        "{} must be at {} after Keras' download, but is not; pass --data-dir with a folder that holds {}"
    ):
        find_data("mnist", download=lambda: tmp_path)
    write_idx(tmp_path / "mine", MNIST)
    find_data("mnist", tmp_path / "mine")


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("spoil", "complaint"), [(damage, "test_batch has another md5 than"), (Path.unlink, "test_batch is missing")]
)
def test_cached_file_that_is_not_the_official_one_is_downloaded_again(
    keras_home: Path, spoil: Callable[[Path], object], complaint: str
) -> None:
    folder = write_batches(keras_home / "datasets" / "cifar-10-batches-py", CIFAR_10)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    named = official(CIFAR_10, folder, sorted(contents))
    spoil(folder / "test_batch")
    with needs_remedy(
        "the files of {} in Keras' cache must be the official ones, but {}; delete {}, to have"
    ) as caught:
        catalogued_source(named, None, Reading(), no_download, MadeBatches)
    assert complaint in str(caught.value)
    place = Path(re.search(r"delete (\S+), to", str(caught.value))[1])
    for path in place.iterdir():
        path.unlink()
    place.rmdir()

    def download() -> Path:
        folder.mkdir()
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        return folder

    catalogued_source(named, None, Reading(), download, MadeBatches)


def test_images_of_another_size_are_a_data_set_of_ones_own(tmp_path: Path) -> None:
    smaller = dataclasses.replace(MNIST, image_shape=(20, 20, 1))
    write_idx(tmp_path / "mine", smaller)
    with needs_remedy("images of {} must be {}, but those in {} are {}; pass --data-dir with {}, or the folder"):
        find_data("mnist", tmp_path / "mine")
    assert find_data(str(tmp_path / "mine")).image_shape == (20, 20, 1)
    write_idx(tmp_path / "mine", MNIST)
    find_data("mnist", tmp_path / "mine")


def test_images_of_ones_own_take_no_data_dir(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data-dir is for fashion-mnist, mnist, .*, but got 'digits'; leave"):
        find_data("digits", tmp_path)
