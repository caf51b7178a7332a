"""Find, check and read images: `find_data` -> `load_train` -> Split. `load_test` stands apart, for one caller.

Two data sets have a name, Fashion-MNIST and scikit-learn's digits. One's own are class folders of pictures
(`fmnist.data.image_folder.reading`), a folder of IDX files (`fmnist.data.idx_folder`) or an .npz archive (`fmnist.data.npz`). Does not
cover: augmentation, normalisation. Keras is asked for its download in a process of its own, so that the asking process
never loads TensorFlow.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fmnist.data.checksums import md5, md5_of_file
from fmnist.data.idx_folder import (
    IDX_NAMES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    read_pair,
)
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource, build_source, describe_test_set, stratified
from fmnist.errors import UserError

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

# A stalled connection must end in an error, and urllib knows no timeout of its own.
_DOWNLOAD = (
    "import socket; socket.setdefaulttimeout(60); from keras.datasets import fashion_mnist; fashion_mnist.load_data()"
)


# Fashion-MNIST: where it may be


def usual_places() -> tuple[Path, ...]:
    """Where Fashion-MNIST is looked for when nobody says where, in order; Keras' cache is last."""
    bases = [Path.cwd()]
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():  # else the package is installed, and this is no folder of the user's
        bases.append(checkout)
    folders = ("data/fashion-mnist", "../shared/fashion-mnist")
    places = (Path(os.path.normpath(base / folder)) for folder in folders for base in bases)
    return (*dict.fromkeys(places), keras_cache())


def keras_cache() -> Path:
    """The folder where Keras keeps Fashion-MNIST; like Keras, a temporary one where the home cannot be written to."""
    home = expanded(os.environ.get("KERAS_HOME") or "~/.keras")
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
        if missing and len(missing) < len(IDX_NAMES) and folder != keras_cache():  # there, Keras fetches the rest
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


def fashion_mnist(data_dir: Path | None, places: Sequence[Path] | None, download: Callable[[], Path]) -> DataSource:
    places = usual_places() if places is None else places
    folder = fashion_mnist_folder(data_dir, places)
    if folder is None:
        folder = _downloaded(places, download)
    return build_source(
        "fashion-mnist",
        folder,
        _checked_sums(folder),
        CLASS_NAMES,
        (28, 28, 1),
        **describe_test_set(read_pair(folder, TEST_IMAGES, TEST_LABELS)),
        read_train=lambda: read_pair(folder, TRAIN_IMAGES, TRAIN_LABELS),
        read_test=lambda: read_pair(folder, TEST_IMAGES, TEST_LABELS),
    )


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
        return expanded(data_dir), "--data-dir"
    named = os.environ.get("FMNIST_DATA_DIR")
    return (expanded(named), "$FMNIST_DATA_DIR") if named else None


def require_utf8(path: Path) -> None:
    """It goes into the study's records."""
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"the path of a dataset must be UTF-8, but got {os.fsencode(path)!r}; rename what is not"
        ) from None


def expanded(path: str | Path) -> Path:
    return Path(os.path.expanduser(path))


def _missing(folder: Path) -> list[str]:
    # os.path, here and elsewhere: unlike Path's methods it says no, rather than raise, where permission is lacking
    return [name for name in FASHION_MNIST_MD5 if not os.path.isfile(folder / name)]


def _missing_from(folder: Path) -> str:
    where = str(folder) if os.path.isdir(folder) else f"{folder}, which is not a folder"
    return f"Fashion-MNIST is four files, but missing {', '.join(_missing(folder))} in {where}"


def _checked_sums(folder: Path) -> dict[str, str]:
    sums = {name: md5_of_file(folder / name) for name in FASHION_MNIST_MD5}
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


def digits_source() -> DataSource:
    parts = _digits_parts()
    checksum = md5(*(array.tobytes() for part in parts for array in (part.images, part.labels)))
    return build_source(
        "digits",
        None,
        {"digits": checksum},
        "0123456789",
        (8, 8, 1),
        **describe_test_set(parts[1]),
        read_train=lambda: _digits_parts()[0],
        read_test=lambda: _digits_parts()[1],
    )


def _digits_parts() -> tuple[LabelledImages, LabelledImages]:
    """Train and test. The fifth that is the test set never depends on a study's seed."""
    from sklearn.datasets import load_digits  # here: scikit-learn takes a second that readers of IDX files save

    digits = load_digits()
    images = np.round(digits.images[..., np.newaxis] * 255 / 16).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    train, test = stratified(np.arange(len(labels)), labels, math.ceil(len(labels) / 5), seed=0)
    everything = LabelledImages(images, labels)
    return everything.rows(train), everything.rows(test)


# Splitting, counting
