"""What is refused of a study that was begun before, and nothing of it changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import filelock
import optuna
import pytest

from fmnist.baselines.catalog import BASELINES
from fmnist.cli import EXIT_USER_ERROR
from fmnist.data.find import find_data
from fmnist.data.split import load_train
from search.config import StudyConfig
from search.provenance import study_identity
from search.records.files import StudyFiles
from search.records.io import write_json
from search.records.models import BaselineRecord, EvaluationRecord
from search.run import main
from search.study.study import check_identity
from search.system.shipped import SHIPPED_SPACES
from tests.support.messages import assert_says
from tests.support.spaces import space_from
from tests.support.training.fakes import fake_workers

DIGITS_TEXT = (SHIPPED_SPACES / "digits.toml").read_text(encoding="utf-8")


@pytest.fixture
def made(studies: Path) -> StudyFiles:
    """A study of the digits as its first run leaves it before the first training."""
    config = StudyConfig("digits", dataset="digits", studies_dir=studies)
    source = find_data("digits")
    space = space_from(config.space_path, source.image_shape, len(source.class_names))
    files = StudyFiles(config.folder)
    check_identity(files, study_identity(config, source, space, load_train(source, config.seed)))
    return files


def test_study_with_another_space(refused: Callable[..., str], made: StudyFiles, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(DIGITS_TEXT.replace("n_blocks = { low = 1, high = 3 }", "n_blocks = { low = 1, high = 2 }"))
    message = refused("--dataset", "digits", "--space", path)
    assert_says(
        message,
        "study digits was made with space.architecture.n_blocks.high = 3",
        "now it is 2",
        "space.toml in its folder",
        "--study",
    )


def test_study_with_another_seed(refused: Callable[..., str], made: StudyFiles) -> None:
    assert_says(
        refused("--dataset", "digits", "--seed", "1"),
        "made with seed = 0",
        "now it is 1",
        "pass --seed 0, or",
        "--study NAME",
    )


@pytest.mark.parametrize(
    ("option", "value", "parts"),
    [
        ("--sampler", "random", ["sampler = tpe", "now it is random"]),
        ("--pruner", "none", ["pruner = asha", "now it is none"]),
        ("--max-parameters", "9", ["without max_parameters", "now it is 9"]),
        ("--max-bytes", "9", ["without max_bytes", "now it is 9", "leave --max-bytes out, or"]),
        ("--max-multiply-adds", "9", ["without max_multiply_adds", "now it is 9", "leave --max-multiply-adds out, or"]),
    ],
)
def test_study_with_another_way_to_search(
    refused: Callable[..., str], made: StudyFiles, option: str, value: str, parts: list[str]
) -> None:
    assert_says(refused("--dataset", "digits", option, value), "study digits was made ", *parts)


def test_study_of_one_network_that_is_to_become_one_of_every_size(
    refused: Callable[..., str], made: StudyFiles
) -> None:
    message = refused("--dataset", "digits", "--front")
    assert_says(message, "study digits was made without front, but now with it; leave --front out, or")


@pytest.mark.process
def test_study_of_every_size_that_is_to_become_one_of_one_network(refused: Callable[..., str], studies: Path) -> None:
    options = ["--dataset", "digits", "--trials", "1", "--search-only"]
    assert main(["--studies-dir", str(studies), *options, "--front"], worker_processes=fake_workers) == 0
    assert_says(refused(*options), "study digits was made with front, but now without it; pass --front, or")


def test_study_with_other_data(refused: Callable[..., str], made: StudyFiles, shoes: Path) -> None:
    options = ("--dataset", shoes, "--study", "digits", "--space", SHIPPED_SPACES / "digits.toml")
    assert_says(refused(*options), "study digits was made with data_checksums", "start a new study")


def test_study_that_a_named_storage_refuses_leaves_nothing_by_which_its_correction_would_be_refused(
    studies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'named.db'}"
    optuna.create_study(study_name="digits", storage=url).set_user_attr("identity", {"seed": 5})
    options = ["--studies-dir", str(studies), "--dataset", "digits", "--storage", url]
    for seed in ("6", "7"):
        assert main([*options, "--seed", seed]) == EXIT_USER_ERROR
        assert_says(capsys.readouterr().err, "study digits was made with", "restore it")
        assert {path.name for path in (studies / "digits").iterdir()} <= {"run.lock"}


@pytest.mark.process
def test_study_whose_trials_are_gone(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Others by their numbers would be taken for those that were confirmed."""
    options = ["--studies-dir", str(studies), "--dataset", "digits", "--trials", "4", "--search-only"]
    assert main(options, worker_processes=fake_workers) == 0
    files = StudyFiles(studies / "digits")
    copy = files.checksums.copies / "study.db"
    copy.rename(studies / "backup.db")
    optuna.delete_study(study_name="digits", storage=f"sqlite:///{files.storage}")
    assert main(options, worker_processes=fake_workers) == EXIT_USER_ERROR
    assert_says(capsys.readouterr().err, "holds no study digits", "restore it", "--study NAME")
    (studies / "backup.db").rename(copy)
    assert main(options, worker_processes=fake_workers) == 0
    assert_says(capsys.readouterr().out, "restored from", "with the 4 trials", "the search is complete: ")


@pytest.mark.process
def test_edited_space_of_a_study_is_refused_until_it_is_deleted(
    refused: Callable[..., str], studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset", "digits", "--trials", "2", "--search-only"]
    assert main(["--studies-dir", str(studies), *options], worker_processes=fake_workers) == 0
    capsys.readouterr()
    space = StudyFiles(studies / "digits").space
    written = space.read_text()
    space.write_text(written.replace("n_blocks = { low = 1, high = 3 }", "n_blocks = { low = 1, high = 2 }"))
    message = refused(*options)
    assert_says(
        message, "space.toml must have the space", "n_blocks.high = 3, but it has 2", "delete it", "--study NAME"
    )
    space.unlink()
    assert main(["--studies-dir", str(studies), *options], worker_processes=fake_workers) == 0
    assert space.read_text() == written


def test_study_that_has_opened_its_test_set_takes_no_more_trials(refused: Callable[..., str], made: StudyFiles) -> None:
    write_json(made.test, EvaluationRecord("2024-01-01T00:00:00+00:00", 360, (0.9,), 0.9, 1.0, n_trials_asked=5))
    message = refused("--dataset", "digits", "--trials", "6")
    assert_says(message, "study digits has opened its test set (with --trials 5)", "no more trials", "--study NAME")


def test_study_that_has_opened_its_test_set_takes_no_baselines(refused: Callable[..., str], made: StudyFiles) -> None:
    write_json(made.test, EvaluationRecord("2024-01-01T00:00:00+00:00", 360, (0.9,), 0.9, 1.0, n_trials_asked=100))
    options = ("--dataset", "digits", "--baselines")
    message = refused(*options)
    assert_says(
        message, "study digits has opened its test set without the baselines three-convolutions, conv-pool-dense, "
    )
    assert_says(message, "so it takes none any more", "leave --baselines out", "--study NAME")
    first = BASELINES[0]
    write_json(
        made.baseline_record(first.name), BaselineRecord(first.name, first.kind, first.description, None, 0, "", 1.0)
    )
    assert_says(refused(*options), "without the baselines conv-pool-dense, ")


def test_study_is_said_to_be_in_use(refused: Callable[..., str], made: StudyFiles) -> None:
    with filelock.FileLock(made.lock):
        assert_says(refused("--dataset", "digits"), "in use by another run", "--study")
