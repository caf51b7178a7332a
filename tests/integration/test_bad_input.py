"""What a user may get wrong: one line on standard error, exit code 2, nothing left behind of a study that is new."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

from fmnist.baselines.catalog import BASELINES
from fmnist.cli import EXIT_USER_ERROR
from fmnist.data.find import find_data
from fmnist.data.idx import IDX_NAMES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from fmnist.data.split import load_train
from search.config import SHIPPED_SPACES, StudyConfig
from search.provenance import study_identity
from search.records.files import StudyFiles
from search.records.io import write_json
from search.records.models import BaselineRecord, EvaluationRecord
from search.run import main
from search.study.study import check_identity
from tests.support.fakes import fake_workers
from tests.support.spaces import space_from

DIGITS_TEXT = (SHIPPED_SPACES / "digits.toml").read_text(encoding="utf-8")


@pytest.fixture
def studies(tmp_path) -> Path:
    return tmp_path / "studies"


@pytest.fixture
def refused(studies, capsys, monkeypatch) -> Callable[..., str]:
    """Run the command with these options and give what follows `error: `. The options may name another studies-dir."""
    monkeypatch.delenv("FMNIST_DATA_DIR", raising=False)

    def run(*options: object) -> str:
        before = snapshot(studies)
        code = main(["--studies-dir", str(studies), *map(str, options)])
        output = capsys.readouterr()
        lines = output.err.splitlines()
        assert (code, len(lines)) == (EXIT_USER_ERROR, 1), output.err
        assert lines[0].startswith("error: ")
        assert "Traceback" not in output.out
        assert snapshot(studies) == before, "a study was begun or changed"
        return lines[0].removeprefix("error: ")

    return run


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file below, with its content. A lock that is held for the look at an old study may stay."""
    paths = [path for path in folder.rglob("*") if path.name != "run.lock"]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def say(message: str, *parts: str) -> None:
    """Claim that the message has these parts, in this order."""
    position = 0
    for part in parts:
        assert part in message[position:], f"{part!r} is not in {message[position:]!r}"
        position = message.index(part, position) + len(part)


# Options


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--trials", "0"], ["--trials must be at least 1", "got 0"]),
        (["--trials", "-5"], ["--trials must be at least 1", "got -5"]),
        (["--trials", "abc"], ["--trials", "invalid int value: 'abc'", "--help"]),
        (["--trials", "1.5"], ["--trials", "invalid int value: '1.5'", "--help"]),
        (["--trials", "1\n2"], ["--trials", "invalid int value", "--help"]),
        (["--trials"], ["--trials", "expected one argument", "--help"]),
        (["--workers", "0"], ["--workers must be at least 1", "got 0"]),
        (["--refit-seeds", "0"], ["--refit-seeds must be at least 1", "got 0"]),
        (["--timeout", "0"], ["--timeout must be a positive number of seconds", "got 0"]),
        (["--timeout", "-1"], ["--timeout must be a positive number of seconds", "got -1"]),
        (["--timeout", "nan"], ["--timeout must be a positive number of seconds", "got nan"]),
        (["--timeout", "inf"], ["--timeout must be a positive number of seconds", "got inf"]),
        (["--timeout", "1h"], ["--timeout", "invalid float value: '1h'", "--help"]),
        (["--seed", "-1"], ["--seed must be between 0 and", "got -1"]),
        (["--seed", str(2**32)], ["--seed must be between 0 and", "got 4294967296"]),
        (["--max-parameters", "0"], ["--max-parameters must be at least 1", "got 0"]),
        (["--memory-limit", "0"], ["--memory-limit must be at least 1", "got 0"]),
        (["--sampler", "gp"], ["--sampler", "'gp'", "tpe", "--help"]),
        (["--pruner", "hyperband"], ["--pruner", "'hyperband'", "asha", "--help"]),
        (["--image-size", "1000"], ["--image-size must be between 8 and 128 pixels", "got 1000"]),
        (
            ["--image-size", "32"],
            ["are for images of your own", "got 'fashion-mnist'", "leave them out"],
        ),
        (["--colour", "green"], ["--colour", "'green'", "grey", "--help"]),
        (
            ["--flip"],
            ["--flip is for the default space", "fashion-mnist.toml", "flip = true", "--space"],
        ),
        (["--precision", "half"], ["--precision", "'half'", "bfloat16", "--help"]),
        (["--export", "coreml"], ["--export must be all or some of keras, ", "onnx", "got 'coreml'"]),
        (["--export", "onnx,"], ["--export must be all or some of", "got ''"]),
        (["--export"], ["--export", "expected one argument", "--help"]),
        (["--study", "a/b"], ["study's name must be", "got 'a/b'", "--study"]),
        (["--study", ""], ["study's name must be", "got ''", "--study"]),
        (["--study", "../up"], ["study's name must be", "got '../up'", "--study"]),
        (["--dataset", "my shoes"], ["study's name must be", "got 'my shoes'", "choose one with --study"]),
        (["--trails", "5"], ["unrecognized arguments: --trails 5", "--help"]),
        (["--tri", "5"], ["unrecognized arguments: --tri 5", "--help"]),
        (["--odd\nline"], ["unrecognized arguments: --odd line", "--help"]),
        (["stray"], ["unrecognized arguments: stray", "--help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_option_that_cannot_be_used(refused, studies, options, parts):
    say(refused(*options), *parts)
    assert not studies.exists()


def test_export_whose_runtime_is_not_installed(refused, studies, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    say(
        refused("--dataset", "digits", "--export", "all"),
        "--export onnx needs onnxruntime",
        "not installed",
        "'fmnist-search[onnx]'",
    )
    assert not studies.exists()


# Data


def idx(array: np.ndarray) -> bytes:
    magic = 2049 if array.ndim == 1 else 2051
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def shoes(tmp_path) -> Path:
    """A small data set of four whole files: 3 classes, 40 training and 12 test images of 8 x 8 pixels."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "shoes"
    folder.mkdir()
    for images, labels, n in ((TRAIN_IMAGES, TRAIN_LABELS, 40), (TEST_IMAGES, TEST_LABELS, 12)):
        (folder / f"{images}.gz").write_bytes(gzip.compress(idx(rng.integers(0, 256, (n, 8, 8)))))
        (folder / f"{labels}.gz").write_bytes(gzip.compress(idx(np.arange(n) % 3)))
    return folder


@pytest.fixture
def refused_shoes(refused, shoes, studies) -> Callable[[], str]:
    def run() -> str:
        message = refused("--dataset", shoes, "--space", SHIPPED_SPACES / "digits.toml")
        assert not studies.exists()
        return message

    return run


def test_unknown_data_set(refused, studies):
    message = refused("--dataset", "fashion-mnits")
    say(message, "must be fashion-mnist, digits or a folder", "got 'fashion-mnits'", "spelling of --dataset")
    assert not studies.exists()


def test_empty_folder_as_data_set(refused, tmp_path, studies):
    (tmp_path / "empty").mkdir()
    say(
        refused("--dataset", tmp_path / "empty"),
        "empty must hold a folder of pictures for each class",
        "no folder",
        "sort",
    )
    assert not studies.exists()


@pytest.mark.parametrize("name", IDX_NAMES)
def test_cut_file(refused_shoes, shoes, name):
    path = shoes / f"{name}.gz"
    path.write_bytes(path.read_bytes()[:-12])
    say(refused_shoes(), str(path), "whole gzip file", "cut or damaged", "fetch it again")


def test_file_that_ends_before_its_header_says(refused_shoes, shoes):
    path = shoes / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-64]))
    say(refused_shoes(), str(path), "is cut", "40 x 8 x 8 = 2,560 bytes", "got 2,496", "fetch it again")


def test_image_and_label_files_that_are_swapped(refused_shoes, shoes):
    images, labels = shoes / f"{TRAIN_IMAGES}.gz", shoes / f"{TRAIN_LABELS}.gz"
    swapped = images.read_bytes(), labels.read_bytes()
    labels.write_bytes(swapped[0])
    images.write_bytes(swapped[1])
    say(refused_shoes(), "holds images where labels are expected", "swapped?")


def test_text_with_the_name_of_a_gzip_file(refused_shoes, shoes):
    (shoes / f"{TEST_LABELS}.gz").write_text("<html>404</html>")
    say(refused_shoes(), TEST_LABELS, "whole gzip file", "fetch it again")


def test_images_without_any_difference(refused_shoes, shoes):
    (shoes / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(idx(np.full((40, 8, 8), 7))))
    say(refused_shoes(), "images must differ somewhere", "every pixel is 7", "check the image files")


def test_images_too_small_for_the_space(refused, shoes, studies):
    options = ("--dataset", shoes, "--space", SHIPPED_SPACES / "fashion-mnist.toml")
    say(refused(*options), "fashion-mnist.toml", "8 x 8 pixels carry at most 3 blocks", "another --space")
    assert not studies.exists()


def test_data_dir_without_files(refused, tmp_path, studies):
    say(refused("--data-dir", tmp_path), "four files", "missing train-images", str(tmp_path), "leave --data-dir out")
    say(refused("--data-dir", tmp_path / "none"), "four files", "none, which is not a folder")
    assert not studies.exists()


def test_data_dir_beside_another_data_set(refused, tmp_path):
    say(
        refused("--dataset", "digits", "--data-dir", tmp_path),
        "--data-dir is for",
        "got 'digits'",
        "leave --data-dir out",
    )


# Search spaces


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("n_blocks = { low = 1, high = 3 }", "n_block = 3", ["n_block is not a key", "did you mean n_blocks"]),
        ("low = 1, high = 3", "low = 3, high = 1", ["n_blocks: low must not be above high", "low = 3, high = 1"]),
        ("low = 16, high = 128, log", "low = 0, high = 128, log", ["dense_units.low", "between 1 and", "got 0"]),
        ("kernel_size = 3", "kernel_size = 4", ["kernel_size must be one of 1, 3, 5", "got 4"]),
        ("low = 1, high = 3", "low = 1, high = 4", ["8 x 8 pixels carry at most 3 blocks", "got 4", "lower it"]),
        ("n_blocks = {", "n_blocks = {{", ["not valid TOML", "line 17"]),
    ],
    ids=["unknown key", "low above high", "low of 0", "unknown choice", "too deep", "not TOML"],
)
def test_space_that_cannot_be_searched(refused, tmp_path, studies, old, new, parts):
    path = tmp_path / "mine.toml"
    path.write_text(DIGITS_TEXT.replace(old, new, 1), encoding="utf-8")
    say(refused("--dataset", "digits", "--space", path), str(path), *parts)
    assert not studies.exists()


def test_space_that_is_not_there(refused, tmp_path, studies):
    say(
        refused("--dataset", "digits", "--space", tmp_path / "none.toml"),
        "no search-space file",
        "none.toml",
        "--space",
    )
    say(refused("--dataset", "digits", "--space", tmp_path), str(tmp_path), "Is a directory", "--space")
    assert not studies.exists()


# A study that was made with something else


@pytest.fixture
def made(studies) -> StudyFiles:
    """A study of the digits as its first run leaves it before the first training."""
    config = StudyConfig("digits", dataset="digits", studies_dir=studies)
    source = find_data("digits")
    space = space_from(config.space_path, source.image_shape, len(source.class_names))
    files = StudyFiles(config.folder)
    check_identity(files, study_identity(config, source, space, load_train(source, config.seed)))
    return files


def test_study_with_another_space(refused, made, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(DIGITS_TEXT.replace("n_blocks = { low = 1, high = 3 }", "n_blocks = { low = 1, high = 2 }"))
    message = refused("--dataset", "digits", "--space", path)
    say(message, "study digits was made with space.architecture.n_blocks.high = 3", "now it is 2", "restore", "--study")


def test_study_with_another_seed(refused, made):
    say(
        refused("--dataset", "digits", "--seed", "1"), "made with seed = 0", "now it is 1", "restore it", "--study NAME"
    )


@pytest.mark.parametrize(
    ("option", "value", "parts"),
    [
        ("--sampler", "random", ["sampler = tpe", "now it is random"]),
        ("--pruner", "none", ["pruner = asha", "now it is none"]),
        ("--max-parameters", "9", ["max_parameters = None", "now it is 9"]),
    ],
)
def test_study_with_another_way_to_search(refused, made, option, value, parts):
    say(refused("--dataset", "digits", option, value), "study digits was made with", *parts)


def test_study_with_other_data(refused, made, shoes):
    options = ("--dataset", shoes, "--study", "digits", "--space", SHIPPED_SPACES / "digits.toml")
    say(refused(*options), "study digits was made with data_checksums", "start a new study")


def test_study_that_a_named_storage_refuses_leaves_nothing_by_which_its_correction_would_be_refused(
    studies, tmp_path, capsys
):
    url = f"sqlite:///{tmp_path / 'named.db'}"
    optuna.create_study(study_name="digits", storage=url).set_user_attr("identity", {"seed": 5})
    options = ["--studies-dir", str(studies), "--dataset", "digits", "--storage", url]
    for seed in ("6", "7"):
        assert main([*options, "--seed", seed]) == EXIT_USER_ERROR
        say(capsys.readouterr().err, "study digits was made with", "restore it")
        assert {path.name for path in (studies / "digits").iterdir()} <= {"run.lock"}


def test_study_whose_trials_are_gone(studies, capsys):
    """Others by their numbers would be taken for those that were confirmed."""
    options = ["--studies-dir", str(studies), "--dataset", "digits", "--trials", "4", "--search-only"]
    assert main(options, worker_processes=fake_workers) == 0
    files = StudyFiles(studies / "digits")
    optuna.delete_study(study_name="digits", storage=f"sqlite:///{files.storage}")
    assert main(options, worker_processes=fake_workers) == EXIT_USER_ERROR
    say(capsys.readouterr().err, "the trials of study digits are gone", "restore them", "--study NAME")


def test_study_that_has_opened_its_test_set_takes_no_more_trials(refused, made):
    write_json(made.test, EvaluationRecord("2024-01-01T00:00:00+00:00", 360, (0.9,), 0.9, 1.0, n_trials_asked=5))
    message = refused("--dataset", "digits", "--trials", "6")
    say(message, "study digits has opened its test set (with --trials 5)", "no more trials", "--study NAME")


def test_study_that_has_opened_its_test_set_takes_no_baselines(refused, made):
    write_json(made.test, EvaluationRecord("2024-01-01T00:00:00+00:00", 360, (0.9,), 0.9, 1.0, n_trials_asked=100))
    options = ("--dataset", "digits", "--baselines")
    message = refused(*options)
    say(message, "study digits has opened its test set without the baselines three-convolutions, conv-pool-dense, ")
    say(message, "so it takes none any more", "leave --baselines out", "--study NAME")
    first = BASELINES[0]
    write_json(
        made.baseline_record(first.name), BaselineRecord(first.name, first.kind, first.description, None, 0, "", 1.0)
    )
    say(refused(*options), "without the baselines conv-pool-dense, ")


def test_study_is_said_to_be_in_use(refused, made):
    import filelock

    with filelock.FileLock(made.lock):
        say(refused("--dataset", "digits"), "in use by another run", "--study")


# Places that cannot be written to


def test_studies_below_a_file(refused, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "studies"):
        say(refused("--dataset", "digits", "--studies-dir", place), "cannot write to", str(place), "--studies-dir")
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody may write to")
def test_studies_where_nobody_may_write(refused):
    say(refused("--dataset", "digits", "--studies-dir", "/proc/x"), "cannot write to /proc/x/digits", "--studies-dir")


def test_study_whose_name_is_a_file(refused, studies):
    studies.mkdir()
    (studies / "digits").write_text("")
    say(refused("--dataset", "digits"), "cannot write to", "digits (File exists)", "--studies-dir")


# Storage

PASSWORD = "s3cr:t/word"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_database_that_is_not_running_or_has_no_driver(refused, studies, closed_port):
    url = f"postgresql://user:s3cret@127.0.0.1:{closed_port}/studies"
    message = refused("--dataset", "digits", "--storage", url)
    say(message, f"--storage postgresql://user:***@127.0.0.1:{closed_port}/studies")
    assert "needs a database driver" in message or "does not answer" in message
    assert "s3cret" not in message
    assert not studies.exists()


def test_sqlite_in_a_folder_that_is_not_there(refused, tmp_path, studies):
    url = f"sqlite:///{tmp_path / 'none' / 'study.db'}"
    say(refused("--dataset", "digits", "--storage", url), f"--storage {url} does not answer", "unable to open", "check")
    assert not studies.exists() and not (tmp_path / "none").exists()


def test_sqlite_in_a_file_that_is_no_database(refused, tmp_path, studies):
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be read as one" * 20)
    url = f"sqlite:///{tmp_path / 'notes.txt'}"
    say(refused("--dataset", "digits", "--storage", url), f"--storage {url} does not answer", "file is not a database")
    assert not studies.exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_sqlite_in_memory(refused, studies, url):
    say(refused("--dataset", "digits", "--storage", url), "must be a file", f"got {url}", "try sqlite:///study.db")
    assert not studies.exists()


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("nonsense", ["must be a URL such as", "got 'nonsense'"]),
        ("", ["must be a URL such as", "got ''"]),
        (f"postgresql//user:{PASSWORD}@host/db", ["must be a URL such as", "got 'postgresql//user:***@host/db'"]),
        (f"user:{PASSWORD}@host", ["must be a URL such as", "got 'user:***@host'"]),
        (f"postgresql://user:{PASSWORD}@host:port/db", ["got 'postgresql://user:***@host:port/db'", "%XX"]),
        (f"mongodb://user:{PASSWORD}@host/db", ["must be SQLite or PostgreSQL", "got mongodb://user:***@host/db"]),
        (f"postgresql://user:a@{PASSWORD}@host/db", ["postgresql://user:***@host/db"]),
        ("postgresql://user:a@s3cr@host/db", ["postgresql://user:***@host/db must have one @", "%40"]),
        (f"mongodb://host/db?user=me&password={PASSWORD}&x=1", ["mongodb://host/db?user=me&password=***&x=1"]),
    ],
)
def test_storage_that_cannot_be_read_keeps_its_password_to_itself(refused, studies, url, parts):
    message = refused("--dataset", "digits", "--storage", url)
    say(message, *parts)
    assert "s3cr" not in message and "word@" not in message
    assert not studies.exists()


def test_passwords_stay_out_of_the_files_of_a_study():
    config = StudyConfig("digits", dataset="digits", storage="postgresql://user:s3cret@host/db")
    source = find_data("digits")
    space = space_from(config.space_path, source.image_shape, len(source.class_names))
    identity = study_identity(config, source, space, load_train(source, config.seed))
    assert identity["storage"] == "postgresql://user:***@host/db"
    assert "s3cret" not in json.dumps(identity)
