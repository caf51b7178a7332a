"""The data sets that have a name: Fashion-MNIST, wherever its files may be, and scikit-learn's digits.

Keras is asked for its download in a process of its own, so that the asking process never loads TensorFlow.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.data.checksums import md5, md5_of_file
from fmnist.data.idx import IDX_NAMES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, read_pair
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource, build_source
from fmnist.data.split import stratified
from fmnist.environment import clean_environment, python_command
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

# A stalled connection must end in an error, and urllib knows no timeout of its own.
SECONDS_TO_END = 1.0  # that an interrupted download has to remove its file
DOWNLOAD_SCRIPT = (
    "import socket; socket.setdefaulttimeout(60); from keras.datasets import fashion_mnist; fashion_mnist.load_data()"
)


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
    return build_source(
        dataset="fashion-mnist",
        folder=folder,
        checksums=official_checksums(folder),
        class_names=CLASS_NAMES,
        image_shape=(28, 28, 1),
        test=read_pair(folder, TEST_IMAGES, TEST_LABELS),
        read_train=lambda: read_pair(folder, TRAIN_IMAGES, TRAIN_LABELS),
        read_test=lambda: read_pair(folder, TEST_IMAGES, TEST_LABELS),
    )


def find_fashion_mnist(data_dir: Path | None = None, places: Sequence[Path] | None = None) -> Path | None:
    """Find the folder with the four files, which are neither read nor checked. Never downloads.

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
        if len(missing) < len(IDX_NAMES) and folder != keras_cache():  # there, Keras fetches the rest
            raise UserError(f"{_missing_in_words(folder)}; complete the folder, delete it, or pass --data-dir")
    return None


def usual_places() -> tuple[Path, ...]:
    """List the folders where Fashion-MNIST is looked for when nobody says where, in order; Keras' cache is last."""
    bases = [Path.cwd()]
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():  # else the package is installed, and this is no folder of the user's
        bases.append(checkout)
    places = []
    for folder in ("data/fashion-mnist", "../shared/fashion-mnist"):
        for base in bases:
            places.append(Path(os.path.normpath(base / folder)))
    return (*dict.fromkeys(places), keras_cache())


def keras_cache() -> Path:
    """Name the folder where Keras keeps Fashion-MNIST, by Keras' own rules.

    That is a folder for temporary files if the home cannot be written to.
    """
    home = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    if os.path.exists(home) and not os.access(home, os.W_OK) and not os.path.exists(home / "datasets/fashion-mnist"):
        temporary = Path("/tmp")
        if not os.path.isdir(temporary):
            temporary = Path(tempfile.gettempdir())
        home = temporary / ".keras"
    return home / "datasets" / "fashion-mnist"


def download_with_keras() -> Path:
    """Let Keras download the four files into its cache, in a process of its own.

    Raises:
        UserError: It cannot; the message is the reason alone.
    """
    cache = keras_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{cache} cannot be made: {error.strerror}") from error
    with tempfile.TemporaryDirectory() as home:  # has the cache, and no file of settings that Keras would heed
        script = Path(home, "download.py")
        script.write_text(DOWNLOAD_SCRIPT, encoding="utf-8")
        os.symlink(cache.parent.absolute(), Path(home, "datasets"))
        returncode, said = _run_download(script, {"KERAS_HOME": home, "CUDA_VISIBLE_DEVICES": "-1"})
    if returncode == 0:
        return cache
    lines = said.strip().splitlines() or [f"Keras ended with code {returncode}"]
    raise UserError(lines[-1].strip())


def _run_download(script: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Run the script, and return its exit code and what it said on standard error."""
    with subprocess.Popen(
        python_command(script),
        env=clean_environment({"TF_CPP_MIN_LOG_LEVEL": "3", **variables}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for this process, which ends the other one
    ) as child:
        try:
            _, said = child.communicate()
        except BaseException:
            end_download(child)
            raise
    return child.returncode, said


def end_download(child: subprocess.Popen[str]) -> None:
    """End Keras as Ctrl-C does, upon which it removes the file that is not complete: the next run fetches it again."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        child.kill()


def missing_files(folder: Path) -> list[str]:
    """List which of the four files a folder does not hold: all if it does not exist or may not be looked into."""
    # os.path, here and elsewhere: unlike Path's methods it says no, rather than raise, where permission is lacking
    return [name for name in FASHION_MNIST_MD5 if not os.path.isfile(folder / name)]


def official_checksums(folder: Path) -> dict[str, str]:
    """Compute the md5 of each of the four files.

    Raises:
        UserError: One is not the official one. The message tells cut, swapped and altered files apart.
    """
    checksums = {name: md5_of_file(folder / name) for name in FASHION_MNIST_MD5}
    wrong = []
    for name, checksum in checksums.items():
        if checksum != FASHION_MNIST_MD5[name]:
            wrong.append(difference_from_official(folder / name, checksum))
    if wrong:
        remedy = "fetch them again"
        if folder == keras_cache():
            remedy = "delete what is wrong, to have it downloaded again"
        raise UserError(
            f"the files of Fashion-MNIST in {folder} must be the official ones, but {'; '.join(wrong)}; {remedy}"
        )
    return checksums


def difference_from_official(path: Path, checksum: str) -> str:
    """Say what is wrong with a file that has another md5 than the official one: swapped, cut or altered."""
    for name, official in FASHION_MNIST_MD5.items():
        if official == checksum:
            return f"{path.name} holds the content of {name}: were files swapped?"
    n_bytes, expected = path.stat().st_size, FASHION_MNIST_BYTES[path.name]
    if n_bytes < expected:
        return f"{path.name} is cut: {n_bytes:,} of {expected:,} bytes"
    return f"{path.name} is altered: {n_bytes:,} bytes with md5 {checksum}, not {FASHION_MNIST_MD5[path.name]}"


def _missing_in_words(folder: Path) -> str:
    where = str(folder)
    if not os.path.isdir(folder):
        where += ", which is not a folder"
    return f"Fashion-MNIST is four files, but missing {', '.join(missing_files(folder))} in {where}"


def digits_source() -> DataSource:
    """Make scikit-learn's digits a data set. The fifth that is its test set never depends on a study's seed."""
    train, test = read_digits()
    arrays = (train.images, train.labels, test.images, test.labels)
    return build_source(
        dataset="digits",
        folder=None,
        checksums={"digits": md5(*(array.tobytes() for array in arrays))},
        class_names="0123456789",
        image_shape=(8, 8, 1),
        test=test,
        read_train=lambda: read_digits()[0],
        read_test=lambda: read_digits()[1],
    )


def read_digits() -> tuple[LabelledImages, LabelledImages]:
    """Read the training and the test images of scikit-learn's digits, their 17 greys spread over 0 to 255."""
    from sklearn.datasets import load_digits  # here: scikit-learn takes a second that readers of IDX files save

    digits: Any = load_digits()
    images = np.round(digits.images[..., np.newaxis] * 255 / 16).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    train, test = stratified(np.arange(len(labels)), labels, math.ceil(len(labels) / 5), seed=0)
    everything = LabelledImages(images, labels)
    return everything.rows(train), everything.rows(test)
