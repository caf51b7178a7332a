"""Generated bad input: whatever is wrong is said in one line, with exit code 2, and no study is begun."""

from __future__ import annotations

import contextlib
import gzip
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from fmnist.cli import EXIT_USER_ERROR
from fmnist.data.find import find_data
from fmnist.data.idx import IDX_NAMES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from fmnist.data.split import load_train
from fmnist.errors import UserError
from search.run import main, parse
from search.system.shipped import SHIPPED_SPACES
from tests.support.made_images import idx
from tests.support.spaces import space_from

pytestmark = pytest.mark.studies

DIGITS_LINES = (SHIPPED_SPACES / "digits.toml").read_text(encoding="utf-8").splitlines()
generated = settings(
    max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def refused_in_one_line(*options: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder, "studies")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--studies-dir", str(studies), *options])
        assert (code, err.getvalue().count("\n")) == (EXIT_USER_ERROR, 1), err.getvalue()
        assert err.getvalue().startswith("error: ")
        assert not list(studies.rglob("*")), "a study was begun"


def is_good(read: Callable[[], object]) -> bool:
    """Whether it can be read; what cannot must be the user's error, and no other."""
    try:
        read()
    except UserError:
        return False
    return True


VALUES = st.one_of(
    st.integers(-(10**6), 10**9).map(str),
    st.floats().map(str),
    st.text(max_size=8).map(repr),
    st.sampled_from(["true", "[]", "{}", "{ low = 3, high = 1 }", "{ choices = [] }", "{ low = 0.0, high = nan }"]),
    st.sampled_from(
        ["{ low = 1, high = 9, step = 0 }", "{ low = 0, high = 8, log = true }", "[[[[1]]]]", "2026-01-01"]
    ),
    st.sampled_from(['{ choices = ["max", "min"] }', "{ low = 1 }", "{ high = 1e400, low = 1 }", '"""', "1_000_"]),
)


@st.composite
def space_texts(draw: st.DrawFn) -> str:
    """The digits space with up to three lines changed, dropped, doubled or broken."""
    lines = list(DIGITS_LINES)
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["value", "drop", "double", "key", "garbage"]))
        if change == "value" and "=" in lines[i]:
            lines[i] = f"{lines[i].partition('=')[0]}= {draw(VALUES)}"
        elif change == "drop":
            lines[i] = ""
        elif change == "double":
            lines.insert(i, lines[i])
        elif change == "key" and "=" in lines[i]:
            lines[i] = f"{draw(st.text(max_size=6))}{lines[i]}"
        elif change == "garbage":
            lines[i] = draw(st.text(max_size=30))
    return "\n".join(lines)


@generated
@given(space_texts())
def test_bad_space_file_is_refused_in_one_line(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "space.toml")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        assume(not is_good(lambda: space_from(path, (8, 8, 1), 10)))
        refused_in_one_line("--dataset", "digits", "--space", str(path))


@settings(generated, max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_as_a_space_file_are_refused_in_one_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "space.toml")
        path.write_bytes(content)
        refused_in_one_line("--dataset", "digits", "--space", str(path))


@pytest.fixture(scope="module")
def good_files() -> dict[str, bytes]:
    generator = np.random.default_rng(0)
    files = {}
    for images_name, labels_name, n in ((TRAIN_IMAGES, TRAIN_LABELS, 60), (TEST_IMAGES, TEST_LABELS, 20)):
        files[images_name] = idx(generator.integers(0, 256, (n, 8, 8), dtype=np.uint8))
        files[labels_name] = idx((np.arange(n) % 2).astype(np.uint8))
    assert set(files) == set(IDX_NAMES)
    return files


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    kind = draw(st.sampled_from(["cut", "header", "append", "empty", "garbage", "cut gzip", "broken gzip"]))
    position, value = draw(st.integers(0, 15)), draw(st.integers(0, 255))
    share, extra = draw(st.floats(0, 0.999)), draw(st.binary(min_size=1, max_size=40))
    return {
        "cut": lambda content: content[: int(share * len(content))],
        "header": lambda content: content[:position] + bytes([value]) + content[position + 1 :],
        "append": lambda content: content + extra,
        "empty": lambda content: b"",
        "garbage": lambda content: extra,
        "cut gzip": lambda content: gzip.compress(content)[: 12 + int(share * 30)],
        "broken gzip": lambda content: gzip.compress(content)[:20] + extra + gzip.compress(content)[20 + len(extra) :],
    }[kind]


@generated
@given(st.sampled_from(sorted(IDX_NAMES)), damages())
def test_damaged_image_file_is_refused_in_one_line(
    good_files: dict[str, bytes], name: str, damage: Callable[[bytes], bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for each, content in good_files.items():
            damaged = damage(content) if each == name else content
            suffix = ".gz" if damaged[:2] == b"\x1f\x8b" else ""
            Path(folder, each + suffix).write_bytes(damaged)
        assume(not is_good(lambda: load_train(find_data(folder), seed=0)))
        refused_in_one_line("--dataset", folder, "--study", "s")


@pytest.fixture(scope="module")
def good_picture() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


NAMES_OF_FOLDERS = st.sampled_from(
    ["train", "test", "val", "Testing", "cat", "dog", "class 2", "class 10", ".x", "a.png"]
)
NAMES_OF_FILES = st.sampled_from(["a.png", "b.jpg", "c.GIF", "d.txt", ".hidden.png", "e", "f.npz", TRAIN_LABELS])


@settings(generated, max_examples=150)
@given(
    st.lists(
        st.tuples(st.lists(NAMES_OF_FOLDERS, max_size=3), NAMES_OF_FILES, st.integers(0, 16), damages()), max_size=6
    )
)
def test_folder_of_whatever_is_read_or_refused_in_one_line(
    good_picture: bytes, written: list[tuple[list[str], str, int, Callable[[bytes], bytes]]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for folders, name, n_good, damage in written:
            place = Path(folder, "set", *folders)
            # some names are a file's elsewhere, or a folder's
            with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                place.mkdir(parents=True, exist_ok=True)
                for i in range(n_good):
                    (place / f"{i}.png").write_bytes(good_picture)
                (place / name).write_bytes(damage(good_picture))
        Path(folder, "set").mkdir(exist_ok=True)
        try:
            source = find_data(str(Path(folder, "set")))
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert len(load_train(source, seed=0).together()) >= 24


@settings(generated, max_examples=100)
@given(damages())
def test_damaged_archive_is_read_or_refused_in_one_line(damage: Callable[[bytes], bytes]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    stream = io.BytesIO()
    np.savez(stream, x_train=images, y_train=np.arange(60) % 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "set.npz")
        path.write_bytes(damage(stream.getvalue()))
        try:
            source = find_data(str(path))
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert len(load_train(source, seed=0).together()) == 50


WORDS = st.one_of(st.text(max_size=12), st.integers().map(str), st.floats().map(str), st.just("--trials"), st.just(""))
OPTION_NAMES = """
    study trials timeout seed space max-parameters sampler pruner workers refit-seeds memory-limit precision storage
    dataset data-dir tries image-size colour flip skip-unreadable
"""
NAMES = st.sampled_from([f"--{name}" for name in OPTION_NAMES.split()])


@generated
@given(st.lists(st.tuples(NAMES, WORDS), min_size=1, max_size=3))
def test_bad_options_are_refused_in_one_line(pairs: list[tuple[str, str]]) -> None:
    options = [word for pair in pairs for word in pair]
    assume(not {"-h", "--help"} & set(options))
    assume(not is_good(lambda: parse(options)))
    refused_in_one_line(*options)


@settings(generated, max_examples=150)
@given(st.text(min_size=1, max_size=30).filter(lambda text: not text.startswith("-")))
def test_any_text_as_a_storage_is_refused_in_one_line(text: str) -> None:
    refused_in_one_line("--dataset", "digits", "--storage", text)
