"""Fashion-MNIST, wherever its four official files may be, gzipped as published or unpacked.

Either form is checked by its own md5 sums. What is recorded is the sums of the published, gzipped files, as the pixels
are the same: a study that was begun with one form goes on with the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fmnist.data.arrays.idx.names import find_idx_sets, parse_idx_name
from fmnist.data.checksums import md5_of_file
from fmnist.data.idx import (
    IDX_NAMES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    read_images,
    read_labels,
)
from fmnist.data.images import LabelledImages
from fmnist.data.named.keras_cache import keras_cache
from fmnist.data.source import DataSource, build_source
from fmnist.errors import UserError
from fmnist.paths import absolute, expanded

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
UNPACKED_MD5 = {
    TRAIN_IMAGES: "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    TRAIN_LABELS: "9018921c3c673c538a1fc5bad174d6f9",
    TEST_IMAGES: "8181f5470baa50b63fa0f6fddb340f0a",
    TEST_LABELS: "15d484375f8d13e6eb1aabb0c3f46965",
}
UNPACKED_BYTES = {TRAIN_IMAGES: 47_040_016, TRAIN_LABELS: 60_008, TEST_IMAGES: 7_840_016, TEST_LABELS: 10_008}


def fashion_mnist_source(
    data_dir: Path | None, places: Sequence[Path] | None, download: Callable[[], Path]
) -> DataSource:
    """Find Fashion-MNIST, download it if need be, and check that its files are the official ones.

    Args:
        data_dir: The one folder to look in; None: see `find_fashion_mnist`.
        places: Folders to look in otherwise; None: `usual_places()`.
        download: Gets the files and returns their folder, or raises UserError with the reason.

    Raises:
        UserError: There are no files to be had, or they are not the official ones.
    """
    if places is None:
        places = usual_places()
    folder = find_fashion_mnist(data_dir, places)
    if folder is None:
        try:
            folder = download()
        except UserError as error:
            raise UserError(
                f"no Fashion-MNIST in {', '.join(map(str, places))}, and the download failed ({error}); pass "
                "--data-dir with a folder that holds the four files, or stay offline with --dataset digits"
            ) from error
        if missing_files(folder):
            raise UserError(f"{_missing_in_words(folder)} after the download; pass --data-dir, or --dataset digits")
    files = files_in(folder)
    require_official(files, folder)

    def read(images_name: str, labels_name: str) -> LabelledImages:
        return LabelledImages(read_images(files[images_name]), read_labels(files[labels_name]))

    return build_source(
        dataset="fashion-mnist",
        folder=folder,
        checksums=dict(FASHION_MNIST_MD5),
        class_names=CLASS_NAMES,
        image_shape=(28, 28, 1),
        test=read(TEST_IMAGES, TEST_LABELS),
        read_train=lambda: read(TRAIN_IMAGES, TRAIN_LABELS),
        read_test=lambda: read(TEST_IMAGES, TEST_LABELS),
    )


def find_fashion_mnist(data_dir: Path | None = None, places: Sequence[Path] | None = None) -> Path | None:
    """Find the folder with the four files, gzipped or not, which are neither read nor checked. Never downloads.

    Args:
        data_dir: The one folder to look in; None: that of $FMNIST_DATA_DIR, if it is set.
        places: Folders to look in otherwise, in turn; None: `usual_places()`.

    Returns:
        None if no place has any of the files.

    Raises:
        UserError: A folder that was asked for, or one that holds some of the files, does not hold all.
    """
    asked_for, option = data_dir, "--data-dir"
    if asked_for is None and os.environ.get("FMNIST_DATA_DIR"):
        asked_for, option = Path(os.environ["FMNIST_DATA_DIR"]), "$FMNIST_DATA_DIR"
    if asked_for is not None:
        folder = absolute(expanded(asked_for))  # the test images are read much later
        if missing_files(folder):
            raise UserError(f"{_missing_in_words(folder)}; put them there or leave {option} out")
        return folder
    if places is None:
        places = usual_places()
    for folder in places:
        missing = missing_files(folder)
        if not missing:
            return folder
        if len(missing) < len(IDX_NAMES) and folder != fashion_mnist_cache():  # there, Keras fetches the rest
            raise UserError(f"{_missing_in_words(folder)}; complete the folder, delete it, or pass --data-dir")
    return None


def usual_places() -> tuple[Path, ...]:
    """List the folders where Fashion-MNIST is looked for when nobody says where, in order; Keras' cache is last."""
    bases = [Path.cwd()]
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file():  # else the package is installed, and this is no folder of the user's
        bases.append(checkout)
    places = []
    for folder in ("data/fashion-mnist", "../shared/fashion-mnist"):
        for base in bases:
            places.append(Path(os.path.normpath(base / folder)))
    return (*dict.fromkeys(places), fashion_mnist_cache())


def fashion_mnist_cache() -> Path:
    """Name the folder where Keras keeps Fashion-MNIST."""
    return keras_cache("fashion-mnist")


def files_in(folder: Path) -> dict[str, Path]:
    """Find which files of a folder are the four, by their names: one of IDX_NAMES -> file. Some may be missing."""
    found = find_idx_sets(folder).get("")
    return {} if found is None else found.paths


def missing_files(folder: Path) -> list[str]:
    """List which of the four files a folder does not hold: all if it does not exist or may not be looked into."""
    found = files_in(folder)
    return [f"{name}.gz" for name in IDX_NAMES if name not in found]


def require_official(files: dict[str, Path], folder: Path) -> None:
    """Check the md5 of each of the four files, gzipped or not.

    Args:
        files: One of IDX_NAMES -> file.
        folder: Where they are.

    Raises:
        UserError: One is not the official one. The message tells cut, swapped and altered files apart.
    """
    wrong = []
    for path in files.values():
        checksum = md5_of_file(path)
        if checksum != official_md5(path):
            wrong.append(difference_from_official(path, checksum))
    if wrong:
        remedy = "fetch them again"
        if folder == fashion_mnist_cache():
            remedy = "delete what is wrong, to have it downloaded again"
        raise UserError(
            f"the files of Fashion-MNIST in {folder} must be the official ones, but {'; '.join(wrong)}; {remedy}"
        )


def official_md5(path: Path) -> str:
    """Return the md5 that a file must have, by its name: as published, or unpacked."""
    parsed = parse_idx_name(path.name)
    assert parsed is not None
    return FASHION_MNIST_MD5[f"{parsed.role}.gz"] if parsed.is_gzipped else UNPACKED_MD5[parsed.role]


def difference_from_official(path: Path, checksum: str) -> str:
    """Say what is wrong with a file that has another md5 than the official one: swapped, cut or altered."""
    for name, official in {**FASHION_MNIST_MD5, **UNPACKED_MD5}.items():
        if official == checksum:
            return f"{path.name} holds the content of {name}: were files swapped?"
    parsed = parse_idx_name(path.name)
    assert parsed is not None
    expected = FASHION_MNIST_BYTES[f"{parsed.role}.gz"] if parsed.is_gzipped else UNPACKED_BYTES[parsed.role]
    n_bytes = path.stat().st_size
    if n_bytes < expected:
        return f"{path.name} is cut: {n_bytes:,} of {expected:,} bytes"
    return f"{path.name} is altered: {n_bytes:,} bytes with md5 {checksum}, not {official_md5(path)}"


def _missing_in_words(folder: Path) -> str:
    where = str(folder)
    if not os.path.isdir(folder):
        where += ", which is not a folder"
    return f"Fashion-MNIST is four files, but missing {', '.join(missing_files(folder))} in {where}"
