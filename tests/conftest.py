"""Which tests run, in which order, and what a test that says nothing of itself may not do."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything loads TensorFlow; worker processes inherit it
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as workers have it: the same numbers here, to the bit

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist.data.find import find_data
from fmnist.data.named.fashion_mnist import find_fashion_mnist
from fmnist.data.split import Split, load_train
from fmnist.errors import UserError

# The files that take longest, first: of two processes that take file by file, none is left with one of them at the end.
LONGEST_FIRST = (
    *("test_docs", "test_pipeline", "test_supervisor", "test_interrupts", "test_workers", "test_fitting", "test_page"),
    *("test_surroundings", "test_whole_run", "test_head", "test_estimator", "test_front", "test_wheel", "test_steps"),
)
HEAVY_MARKS = {"slow", "trains", "process", "renders", "studies"}
WHOLE_FILE_TRAINS = re.compile(r"^pytestmark = .*\btrains\b", re.MULTILINE)
STARTS_A_PROCESS = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec"}  # audit events
LOADS_TENSORFLOW = {"tensorflow", "keras"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--light",
        action="store_true",
        help="only tests that load no TensorFlow, start no process, run no study and draw no report",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --light, files whose tests all train are not even imported: they load TensorFlow at their top."""
    if not config.getoption("--light") or collection_path.suffix != ".py":
        return None
    return True if WHOLE_FILE_TRAINS.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.stem) if item.path.stem in LONGEST_FIRST else 99)
    if config.getoption("--light"):
        heavy = [item for item in items if is_heavy(item)]
        config.hook.pytest_deselected(items=heavy)
        items[:] = [item for item in items if not is_heavy(item)]
    wanting = [item for item in items if "realdata" in item.keywords]
    reason = _why_no_real_data() if wanting else None
    for item in wanting if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C mean what it means in a terminal, also to processes that tests start.

    What a shell starts in the background, as CI may, ignores it, and its children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_heavy(item: pytest.Item) -> bool:
    return any(mark.name in HEAVY_MARKS for mark in item.iter_markers())


class Watch:
    """What the light test under way has done that only a marked test may do."""

    current: str | None = None  # the light test's name
    broken: list[str] = []  # noqa: RUF012

    @classmethod
    def hear(cls, event: str, arguments: tuple[object, ...]) -> None:
        if cls.current is None:
            return
        if event in STARTS_A_PROCESS:
            cls.broken.append("it starts a process: mark it `process`")
        elif event == "import" and arguments[0] in LOADS_TENSORFLOW:
            cls.broken.append("it loads TensorFlow: mark it `trains`")


sys.addaudithook(Watch.hear)


@pytest.fixture(autouse=True)
def marks_are_true(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test without a mark loads no TensorFlow and starts no process, so that `make check` stays quick."""
    if is_heavy(request.node):
        yield
        return
    Watch.current, Watch.broken = request.node.name, []
    try:
        yield
    finally:
        Watch.current = None
    assert not Watch.broken, Watch.broken[0]


def _why_no_real_data() -> str | None:
    """None where the four files of Fashion-MNIST are in one of the usual places. Tests never download them."""
    try:
        folder = find_fashion_mnist()
    except UserError as error:
        return str(error)
    return "no Fashion-MNIST in the usual places; name its folder in $FMNIST_DATA_DIR" if folder is None else None


@pytest.fixture(scope="session")
def digits_split() -> Split:
    """Real images that every machine has: 959 to train on, 239 each to select and to confirm on."""
    return load_train(find_data("digits"), seed=0)
