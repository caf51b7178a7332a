"""Find, check and read images: `find_data` -> `load_train` -> Split. `load_test` stands apart, for one caller.

Two data sets have a name, Fashion-MNIST and scikit-learn's digits; any folder with the four IDX files is a third kind.
Does not cover: augmentation, normalisation, colour images in IDX files. Keras is asked for its download in a process
of its own, so that the asking process never loads TensorFlow.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fmnist.errors import UserError

DATASETS = ("fashion-mnist", "digits")
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
IDX_NAMES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

# The sums and sizes of the files since 2017-08-31, when byte-equal duplicates were removed.
FASHION_MNIST_MD5 = {
    f"{TRAIN_IMAGES}.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    f"{TRAIN_LABELS}.gz": "25c81989df183df01b3e8a0aad5dffbe",
    f"{TEST_IMAGES}.gz": "bef4ecab320f06d8554ea6380940ec79",
    f"{TEST_LABELS}.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
FASHION_MNIST_BYTES = {
    f"{TRAIN_IMAGES}.gz": 26_421_880,
    f"{TRAIN_LABELS}.gz": 29_515,
    f"{TEST_IMAGES}.gz": 4_422_102,
    f"{TEST_LABELS}.gz": 5_148,
}

MIN_IMAGES_PER_CLASS = 12  # a twelfth each for selection and confirmation is then at least one image
MIN_SIDE = 4  # pixels
LARGE_SET = 12_000  # images from which a twelfth (1,000 images or more) is enough to select on

_MAGIC = {1: 2049, 3: 2051}  # unsigned bytes in 1 and 3 dimensions
_KIND = {1: "labels", 3: "images"}
# A stalled connection must end in an error, and urllib knows no timeout of its own.
_DOWNLOAD = (
    "import socket; socket.setdefaulttimeout(60); from keras.datasets import fashion_mnist; fashion_mnist.load_data()"
)


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and what they show, in the file's order."""

    images: np.ndarray  # uint8 (n, height, width, channels), 0 to 255
    labels: np.ndarray  # uint8 (n,), 0 to n_classes - 1

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 (n, h, w, c), but got {self.images.dtype} {self.images.shape}")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.uint8:
            raise ValueError(
                f"labels must be uint8 ({len(self.images)},), but got {self.labels.dtype} {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataSource:
    """A data set that was found and checked; nothing of it is in memory."""

    dataset: str  # "fashion-mnist", "digits" or the folder's name
    folder: Path | None  # where the four IDX files are; None: bundled with scikit-learn
    checksums: dict[str, str]  # file name -> md5; for digits one entry over the arrays' bytes
    class_names: tuple[str, ...]  # by label
    image_shape: tuple[int, int, int]  # height, width, channels


@dataclass(frozen=True, eq=False)
class Split:
    """The training images in three parts without overlap; the test images are elsewhere."""

    train: LabelledImages  # what networks learn from
    selection: LabelledImages  # what the search compares on
    confirmation: LabelledImages  # what the finalists are compared on, unseen by the search
    checksum: str  # md5 over the three index arrays
    seed: int

    def together(self) -> LabelledImages:
        """All three parts, one after the other: what the winner is retrained on."""
        return joined(self.train, self.selection, self.confirmation)


def joined(*parts: LabelledImages) -> LabelledImages:
    """One after the other."""
    return LabelledImages(
        np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts])
    )


def find_data(
    dataset: str,
    data_dir: Path | None = None,
    *,
    places: Sequence[Path] | None = None,
    download: Callable[[], Path] | None = None,
) -> DataSource:
    """Find and check a data set by name, or the folder `dataset`. Raises UserError if there is none to be had, or if a
    file is missing, cut, altered or swapped.

    `data_dir` (or else $FMNIST_DATA_DIR) is the one place to look for Fashion-MNIST. Without it, `places` (default:
    `usual_places()`) are tried in turn, then `download` (default: `download_with_keras`) gives a folder.
    """
    if data_dir is not None and dataset != "fashion-mnist":
        raise UserError(f"--data-dir is for the dataset fashion-mnist, but got {dataset!r}; leave --data-dir out")
    if dataset == "fashion-mnist":
        return _fashion_mnist(data_dir, places, download or download_with_keras)
    if dataset == "digits":
        return _digits_source()
    folder = _expanded(dataset)
    if dataset and os.path.isdir(folder):
        return _folder_source(folder.resolve())
    raise UserError(
        f"the dataset must be {', '.join(DATASETS)} or a folder with the four IDX files, but got {dataset!r}; "
        "check the spelling of --dataset"
    )


def load_train(source: DataSource, seed: int) -> Split:
    """Read the training images and split them, stratified by class. Same seed, same split. The test files' images
    stay unread.

    Selection and confirmation get n // 12 images each, n // 6 each below 12,000 images; train gets the rest.
    """
    everything = _digits_parts()[0] if source.folder is None else _read_pair(source.folder, TRAIN_IMAGES, TRAIN_LABELS)
    parts = _split_indices(everything.labels, seed)
    return Split(
        *(LabelledImages(everything.images[part], everything.labels[part]) for part in parts),
        checksum=_md5(*(part.astype("<i8").tobytes() for part in parts)),
        seed=seed,
    )


def load_test(source: DataSource) -> LabelledImages:
    """Read the test images. Whoever calls this opens the test set: see `search.refit`."""
    return _digits_parts()[1] if source.folder is None else _read_pair(source.folder, TEST_IMAGES, TEST_LABELS)


def save_split(split: Split, folder: Path) -> None:
    """Write a split for other processes to open. `split.json` comes last: where it is, all is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "selection", "confirmation"):
        part = getattr(split, name)
        np.save(folder / f"{name}-images.npy", part.images)
        np.save(folder / f"{name}-labels.npy", part.labels)
    (folder / "split.json").write_text(json.dumps({"checksum": split.checksum, "seed": split.seed}))


def open_split(folder: Path) -> Split:
    """Open what `save_split` wrote. Arrays are read-only memory maps, so that processes share their pages."""
    fields = json.loads((folder / "split.json").read_text())
    parts = {
        name: LabelledImages(
            np.load(folder / f"{name}-images.npy", mmap_mode="r"), np.load(folder / f"{name}-labels.npy", mmap_mode="r")
        )
        for name in ("train", "selection", "confirmation")
    }
    return Split(**parts, **fields)


def pixel_statistics(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over all pixels, in units of 0 to 255. images: uint8, any shape, at least one image.
    Raises UserError if every pixel is the same: such images cannot be normalised, or told apart."""
    if images.dtype != np.uint8 or images.size == 0:
        raise ValueError(f"images must be uint8 and not empty, but got {images.dtype} {images.shape}")
    values, counts = np.arange(256), _histogram(images)
    mean = np.average(values, weights=counts)
    std = math.sqrt(np.average((values - mean) ** 2, weights=counts))
    if std == 0:
        raise UserError(f"images must differ somewhere, but every pixel is {int(mean)}; check the image files")
    return float(mean), std


# Fashion-MNIST: where it may be


def usual_places() -> tuple[Path, ...]:
    """Where Fashion-MNIST is looked for when nobody says where, in order; Keras' cache is last."""
    bases = dict.fromkeys((Path.cwd(), Path(__file__).resolve().parents[1]))
    folders = ("data/fashion-mnist", "../shared/fashion-mnist")
    places = (Path(os.path.normpath(base / folder)) for folder in folders for base in bases)
    return (*dict.fromkeys(places), keras_cache())


def keras_cache() -> Path:
    """The folder where Keras keeps Fashion-MNIST; like Keras, a temporary one where the home cannot be written to."""
    home = _expanded(os.environ.get("KERAS_HOME") or "~/.keras")
    if os.path.exists(home) and not os.access(home, os.W_OK) and not os.path.exists(home / "datasets/fashion-mnist"):
        home = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / ".keras"
    return home / "datasets" / "fashion-mnist"


def fashion_mnist_folder(data_dir: Path | None = None, places: Sequence[Path] | None = None) -> Path | None:
    """The folder that holds the four files, unread and unchecked; None if no place has any. Never downloads. Raises
    UserError if a folder that was asked for, or one that holds some of the files, does not hold all."""
    asked_for = _asked_for(data_dir)
    if asked_for is not None:
        folder, option = asked_for
        if _missing(folder):
            raise UserError(f"{_missing_from(folder)}; put them there or leave {option} out")
        return folder
    for folder in usual_places() if places is None else places:
        missing = _missing(folder)
        if missing and len(missing) < len(IDX_NAMES):
            raise UserError(f"{_missing_from(folder)}; complete the folder, delete it, or pass --data-dir")
        if not missing:
            return folder
    return None


def download_with_keras() -> Path:
    """Let Keras download the four files into its cache, in a process of its own. Raises UserError with the reason if
    it cannot."""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    child = subprocess.run(
        [sys.executable, "-c", _DOWNLOAD],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if child.returncode != 0:
        lines = child.stderr.strip().splitlines()
        raise UserError(lines[-1].strip() if lines else f"Keras ended with code {child.returncode}")
    return keras_cache()


def _fashion_mnist(data_dir: Path | None, places: Sequence[Path] | None, download: Callable[[], Path]) -> DataSource:
    places = usual_places() if places is None else places
    folder = fashion_mnist_folder(data_dir, places)
    if folder is None:
        folder = _downloaded(places, download)
    return DataSource("fashion-mnist", folder, _checked_sums(folder), CLASS_NAMES, (28, 28, 1))


def _downloaded(places: Sequence[Path], download: Callable[[], Path]) -> Path:
    try:
        folder = download()
    except UserError as error:
        raise UserError(
            f"no Fashion-MNIST in {', '.join(map(str, places))}, and the download failed ({error}); pass --data-dir "
            "with a folder that holds the four files, or stay offline with --dataset digits"
        ) from error
    if _missing(folder):
        raise UserError(f"{_missing_from(folder)} after the download; pass --data-dir, or --dataset digits")
    return folder


def _asked_for(data_dir: Path | None) -> tuple[Path, str] | None:
    """The folder that the user named, and how."""
    if data_dir is not None:
        return _expanded(data_dir), "--data-dir"
    named = os.environ.get("FMNIST_DATA_DIR")
    return (_expanded(named), "$FMNIST_DATA_DIR") if named else None


def _expanded(path: str | Path) -> Path:
    return Path(os.path.expanduser(path))


def _missing(folder: Path) -> list[str]:
    # os.path, here and elsewhere: unlike Path's methods it says no, rather than raise, where permission is lacking
    return [name for name in FASHION_MNIST_MD5 if not os.path.isfile(folder / name)]


def _missing_from(folder: Path) -> str:
    where = str(folder) if os.path.isdir(folder) else f"{folder}, which is not a folder"
    return f"Fashion-MNIST is four files, but missing {', '.join(_missing(folder))} in {where}"


def _checked_sums(folder: Path) -> dict[str, str]:
    sums = {name: _md5_of_file(folder / name) for name in FASHION_MNIST_MD5}
    wrong = [_what_is_wrong(folder / name, md5) for name, md5 in sums.items() if md5 != FASHION_MNIST_MD5[name]]
    if wrong:
        remedy = "delete what is wrong, to have it downloaded again" if folder == keras_cache() else "fetch them again"
        raise UserError(
            f"the files of Fashion-MNIST in {folder} must be the official ones, but {'; '.join(wrong)}; {remedy}"
        )
    return sums


def _what_is_wrong(path: Path, md5: str) -> str:
    n_bytes, expected = path.stat().st_size, FASHION_MNIST_BYTES[path.name]
    owners = [name for name, known in FASHION_MNIST_MD5.items() if known == md5]
    if owners:
        return f"{path.name} holds the content of {owners[0]}: were files swapped?"
    if n_bytes < expected:
        return f"{path.name} is cut: {n_bytes:,} of {expected:,} bytes"
    return f"{path.name} is altered: {n_bytes:,} bytes with md5 {md5}, not {FASHION_MNIST_MD5[path.name]}"


# scikit-learn's digits


def _digits_source() -> DataSource:
    parts = _digits_parts()
    md5 = _md5(*(array.tobytes() for part in parts for array in (part.images, part.labels)))
    return DataSource("digits", None, {"digits": md5}, tuple("0123456789"), (8, 8, 1))


def _digits_parts() -> tuple[LabelledImages, LabelledImages]:
    """Train and test. The fifth that is the test set never depends on a study's seed."""
    from sklearn.datasets import load_digits  # here: scikit-learn takes a second that readers of IDX files save

    digits = load_digits()
    images = np.round(digits.images[..., np.newaxis] * 255 / 16).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    train, test = _stratified(np.arange(len(labels)), labels, math.ceil(len(labels) / 5), seed=0)
    return LabelledImages(images[train], labels[train]), LabelledImages(images[test], labels[test])


# Folders with IDX files


def _folder_source(folder: Path) -> DataSource:
    """All checks that need no image: an error now is better than one when the search is over."""
    missing = [f"{name}[.gz]" for name in IDX_NAMES if _member(folder, name) is None]
    if missing:
        raise UserError(f"a dataset folder must hold the four IDX files, but {folder} lacks {', '.join(missing)}")
    n_classes = _check_train_labels(_require_member(folder, TRAIN_LABELS))
    _check_test_labels(_require_member(folder, TEST_LABELS), n_classes)
    shape = _check_images(folder, TRAIN_IMAGES, TRAIN_LABELS)
    if _check_images(folder, TEST_IMAGES, TEST_LABELS) != shape:
        raise UserError(f"training and test images must have one size, but those in {folder} differ")
    files = [_require_member(folder, name) for name in IDX_NAMES]
    class_names = tuple(str(label) for label in range(n_classes))
    return DataSource(folder.name, folder, {file.name: _md5_of_file(file) for file in files}, class_names, (*shape, 1))


def _check_train_labels(path: Path) -> int:
    """The number of classes."""
    counts = np.bincount(_read_idx(path, 1))
    absent = np.flatnonzero(counts == 0)
    if len(counts) < 2 or len(absent):
        which = f"; absent: {', '.join(map(str, absent[:10]))}" if len(absent) else ""
        raise UserError(
            f"labels must be 0 to k - 1 with none left out and k at least 2, but {path} goes up to {len(counts) - 1}"
            f"{which}; number the classes from 0"
        )
    if counts.min() < MIN_IMAGES_PER_CLASS:
        raise UserError(
            f"a class needs at least {MIN_IMAGES_PER_CLASS} training images, but class {counts.argmin()} in {path} has "
            f"{counts.min()}; add images or leave the class out"
        )
    return len(counts)


def _check_test_labels(path: Path, n_classes: int) -> None:
    labels = _read_idx(path, 1)
    if len(labels) == 0 or labels.max() >= n_classes:
        received = f"one is {labels.max()}" if len(labels) else "there is none"
        raise UserError(f"test labels must be 0 to {n_classes - 1} as in training, but in {path} {received}; mend it")


def _check_images(folder: Path, images_name: str, labels_name: str) -> tuple[int, int]:
    """Height and width."""
    path = _require_member(folder, images_name)
    n_images, height, width = _idx_shape(path, 3)
    n_labels = _idx_shape(_require_member(folder, labels_name), 1)[0]
    if n_images != n_labels:
        raise UserError(
            f"every image needs a label, but {path} holds {n_images:,} images and {labels_name} {n_labels:,} labels; "
            "take both files from one data set"
        )
    if min(height, width) < MIN_SIDE:
        raise UserError(f"images need sides of {MIN_SIDE} pixels or more, but those in {path} are {height} x {width}")
    return height, width


def _member(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}.gz", folder / name)
    return next((path for path in candidates if os.path.isfile(path)), None)


def _require_member(folder: Path, name: str) -> Path:
    path = _member(folder, name)
    if path is None:
        raise UserError(f"{folder} must hold {name} or {name}.gz, but neither is there any more; put it back")
    return path


# The IDX format: a magic number, the size of each dimension (32-bit big-endian), then the bytes


def _read_pair(folder: Path, images_name: str, labels_name: str) -> LabelledImages:
    images = _read_idx(_require_member(folder, images_name), 3)
    return LabelledImages(images[..., np.newaxis], _read_idx(_require_member(folder, labels_name), 1))


def _read_idx(path: Path, n_dimensions: int) -> np.ndarray:
    """uint8, read-only."""
    with _idx_file(path, n_dimensions) as (shape, file):
        content = file.read()
    _require_whole(path, len(content), shape)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _idx_shape(path: Path, n_dimensions: int) -> tuple[int, ...]:
    """What the header says, after the rest was counted and thrown away: so test images are checked, not looked at."""
    with _idx_file(path, n_dimensions) as (shape, file):
        n_bytes = sum(len(chunk) for chunk in iter(lambda: file.read(1 << 20), b""))
    _require_whole(path, n_bytes, shape)
    return shape


@contextmanager
def _idx_file(path: Path, n_dimensions: int) -> Iterator[tuple[tuple[int, ...], IO[bytes]]]:
    """The shape in the header, and the file, standing behind it."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield _idx_header(path, file, n_dimensions), file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} must be a whole gzip file, but is cut or damaged ({error}); fetch it again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _idx_header(path: Path, file: IO[bytes], n_dimensions: int) -> tuple[int, ...]:
    header = file.read(4 + 4 * n_dimensions)
    magic = struct.unpack(">i", header[:4])[0] if len(header) >= 4 else None
    kind = _KIND[n_dimensions]
    for other, name in _KIND.items():
        if magic == _MAGIC[other] != _MAGIC[n_dimensions]:
            raise UserError(f"{path} holds {name} where {kind} are expected: are image and label files swapped?")
    if magic != _MAGIC[n_dimensions]:
        raise UserError(f"{path} must be an IDX file of {kind} (magic number {_MAGIC[n_dimensions]}), but got {magic}")
    if len(header) < 4 + 4 * n_dimensions:
        raise UserError(f"{path} is cut: {len(header)} bytes end within its header; fetch it again")
    return struct.unpack(f">{n_dimensions}I", header[4:])


def _require_whole(path: Path, n_bytes: int, shape: tuple[int, ...]) -> None:
    expected = math.prod(shape)
    if n_bytes != expected:
        size = " x ".join(map(str, shape))
        state = "is cut" if n_bytes < expected else "is too long"
        raise UserError(
            f"{path} {state}: its header promises {size} = {expected:,} bytes, but got {n_bytes:,}; fetch it again"
        )


# Splitting, counting, sums


def _split_indices(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train, selection, confirmation: sorted int64 indices, so that each part keeps the file's order."""
    n_held_out = len(labels) // (12 if len(labels) >= LARGE_SET else 6)
    rest, confirmation = _stratified(np.arange(len(labels)), labels, n_held_out, seed)
    train, selection = _stratified(rest, labels, n_held_out, seed)
    return train, selection, confirmation


def _stratified(indices: np.ndarray, labels: np.ndarray, n_second: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split  # here: see _digits_parts

    first, second = train_test_split(indices, test_size=n_second, stratify=labels[indices], random_state=seed)
    return np.sort(first), np.sort(second)


def _histogram(images: np.ndarray) -> np.ndarray:
    """How many pixels have each value: int64 (256,). In chunks, as bincount makes an int64 copy of what it gets."""
    chunks = np.array_split(images, math.ceil(len(images) / 1000))
    return sum(np.bincount(chunk.ravel(), minlength=256) for chunk in chunks)


def _md5(*contents: bytes) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def _md5_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} must be readable, but: {error.strerror or error}; check the file and its permissions")
