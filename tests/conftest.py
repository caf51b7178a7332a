from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything loads TensorFlow; worker processes inherit it
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as workers have it: the same numbers here, to the bit

import pytest

from fmnist.data.find import find_data
from fmnist.data.named import fashion_mnist_folder
from fmnist.data.split import Split, load_train
from fmnist.errors import UserError

# The files that take longest, first: of two processes that take file by file, none is left with one of them at the end.
LONGEST_FIRST = ("test_pipeline", "test_machines", "test_page", "test_api", "test_datasets", "test_baselines")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.stem) if item.path.stem in LONGEST_FIRST else 99)
    wanting = [item for item in items if "realdata" in item.keywords]
    reason = _why_no_real_data() if wanting else None
    for item in wanting if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))


def _why_no_real_data() -> str | None:
    """None where the four files of Fashion-MNIST are in one of the usual places. Tests never download them."""
    try:
        folder = fashion_mnist_folder()
    except UserError as error:
        return str(error)
    return "no Fashion-MNIST in the usual places; name its folder in $FMNIST_DATA_DIR" if folder is None else None


@pytest.fixture(scope="session")
def digits_split() -> Split:
    """Real images that every machine has: 959 to train on, 239 each to select and to confirm on."""
    return load_train(find_data("digits"), seed=0)
