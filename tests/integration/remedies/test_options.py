"""What a refused option's message says is done to the words, which are read then."""

from __future__ import annotations

import os
import shutil
import socket
import tomllib
from pathlib import Path

import pytest

from fmnist.data.find import find_data
from fmnist.errors import UserError
from fmnist.export.__main__ import parse as parse_export
from fmnist.predict.predictions import predict, read_temperature
from fmnist.reading import Reading
from fmnist.values import require, require_callable
from search.config import StudyConfig
from search.dashboard.options import DashboardOptions
from search.dashboard.server import listen
from search.refit.__main__ import RefitOptions
from search.report.__main__ import ReportOptions
from search.run import parse
from search.system.extras import OPTIONAL_EXTRAS, require_writable
from search.system.shipped import SHIPPED_SPACES
from search.worker.resources import local_resources
from tests.support.made_study import make_study
from tests.support.remedies import Remedy, needs_remedy

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("the study's name must be 1 to {} letters", ["--study", "a/b"], ["--study", "a-b"]),
        Remedy("{} must be {}, but got {}{}", ["--export", "keras;onnx"], ["--export", "keras"]),
        Remedy(
            "--image-size must be between {} and {} pixels",
            ["--dataset", "x", "--image-size", "7"],
            ["--dataset", "x", "--image-size", "8"],
        ),
        Remedy(
            "--max-bytes must be a number of bytes or a size in {}, but got {}; pass one such as 96kB",
            ["--max-bytes", "96 parsecs"],
            ["--max-bytes", "96kB"],
        ),
        Remedy(
            "--target must be one of {}, but got {}{}", ["--target", "lite"], ["--target", "litert", "--max-ms", "1"]
        ),
        Remedy(
            "--target is the file that --max-bytes and --max-ms are about, but got {} alone; pass one of them, or "
            "--export {} to have that file",
            ["--target", "keras"],
            ["--export", "keras"],
        ),
        Remedy(
            "--on is where --max-ms is measured, but got {} alone; pass --max-ms, or leave it out",
            ["--on", "ssh pi python3 -"],
            ["--on", "ssh pi python3 -", "--max-ms", "1"],
        ),
        Remedy(
            "--front delivers networks of every size, but got --max-bytes or --max-ms, which are about one; leave them "
            'out, and take what fits by python -m search.report NAME --pick "bytes<96kB, ms<2"',
            ["--front", "--max-bytes", "96kB"],
            ["--front"],
        ),
        Remedy(
            "--front compares trials by accuracy and multiply-adds, but got --pruner median, which compares one value; "
            "choose asha or none",
            ["--front", "--pruner", "median"],
            ["--front", "--pruner", "none"],
        ),
        Remedy(
            "--max-ms is measured of a single file, but got --target {}, which is a folder; choose another",
            ["--max-ms", "1", "--target", "savedmodel"],
            ["--max-ms", "1", "--target", "litert"],
        ),
    ],
    ids=lambda remedy: " ".join(remedy.refused),
)
def test_words_of_the_command_are_read_once_changed_as_their_message_says(remedy: Remedy) -> None:
    with needs_remedy(remedy.says):
        parse(remedy.refused)
    parse(remedy.followed)


def test_help_is_what_a_wrong_word_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with needs_remedy("{}; see {} --help"):
        parse(["--trails", "5"])
    with pytest.raises(SystemExit) as ended:
        parse(["--help"])
    assert ended.value.code == 0
    assert "--trials N" in capsys.readouterr().out
    parse(["--trials", "5"])


def test_mirror_images_are_had_by_a_copy_of_the_space(tmp_path: Path) -> None:
    with needs_remedy("leave --flip out, write flip = true into a copy of that file, and pass the copy with --space"):
        parse(["--dataset", "digits", "--flip"])
    text = (SHIPPED_SPACES / "digits.toml").read_text(encoding="utf-8")
    copy = tmp_path / "mine.toml"
    copy.write_text(text.replace("flip = false", "flip = true"), encoding="utf-8")
    config, _ = parse(["--dataset", "digits", "--space", str(copy)])
    assert config.space_path == copy


def test_precision_that_the_processor_lacks_is_left_at_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.system.option_checks.has_bfloat16", lambda: False)
    with needs_remedy("--precision bfloat16 needs a processor with"):
        StudyConfig("s", dataset="digits", precision="bfloat16")
    monkeypatch.setattr("search.worker.resources.has_fast_bfloat16", lambda: False)
    assert not local_resources(StudyConfig("s", dataset="digits", precision="auto")).bfloat16


def test_extra_that_a_message_names_brings_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name, modules in OPTIONAL_EXTRAS.items():
        with monkeypatch.context() as patch:
            patch.setattr("search.system.extras.is_installed", lambda module: False)
            with needs_remedy("{} needs {}, which is not installed; run pip install 'fmnist-search[{}]'"):
                parse(["--dataset", "digits", f"--{name}", "auto" if name == "cluster" else str(tmp_path)])
        assert any(requirement.startswith(modules[0]) for requirement in extras[name])
    assert any(requirement.startswith("psycopg") for requirement in extras["postgresql"])


def test_options_of_own_images_are_left_out_for_named_ones(tmp_path: Path) -> None:
    with needs_remedy("--data-dir is for {}, but got {}; leave --data-dir out"):
        find_data("digits", tmp_path)
    with needs_remedy("--image-size, --colour and --skip-unreadable are for images of your own"):
        find_data("digits", reading=Reading(image_size=32))
    find_data("digits")


def test_data_set_is_spelled_as_it_is_called() -> None:
    with needs_remedy("the dataset must be {} or a folder of images"):
        find_data("digit")
    find_data("digits")


def test_folder_of_a_tracker_is_one_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with needs_remedy("must name a folder that can be written"):
        require_writable("tensorboard", tmp_path / "file")
    require_writable("tensorboard", tmp_path / "folder")


def test_remedy_that_an_option_declares_is_said_and_works() -> None:
    with pytest.raises(UserError, match="--port must be between 0 and 65535, but got -1; 0 takes any that is free"):
        DashboardOptions("a", port=-1)
    with listen(0, lambda environ, start: []) as server:
        assert server.server_port > 0


def test_port_that_is_taken_is_changed_or_left_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with needs_remedy("--port must be one that is free for you, but {} is not"):
            listen(taken.getsockname()[1], lambda environ, start: [])
        for port in (0, None):  # another, none
            listen(port, lambda environ, start: []).server_close()


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A folder with the study a; what is in its records no option reads."""
    make_study(tmp_path / "studies" / "a")
    return tmp_path / "studies"


def test_study_is_one_of_those_that_the_message_lists(studies: Path, tmp_path: Path) -> None:
    with needs_remedy("{} needs a study of {}, but got {}, which it has not; {}"):
        ReportOptions(("b",), studies_dir=studies)
    ReportOptions(("a",), studies_dir=studies)
    with needs_remedy("{} needs a study of {}, but got {}, which it has not; {}"):
        ReportOptions(("a",), studies_dir=tmp_path / "none")
    with needs_remedy("the study's name must be 1 to {} letters"):
        DashboardOptions("studies/a", studies_dir=studies)
    DashboardOptions("a", studies_dir=studies)


def test_report_takes_one_or_two(studies: Path) -> None:
    with needs_remedy("a report takes one study, a comparison two different ones"):
        ReportOptions(("a", "a"), studies_dir=studies)
    ReportOptions(("a",), studies_dir=studies)


def test_report_of_a_copy_can_be_written_where_the_study_cannot(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_accessible = os.access

    def nobody_writes_there(path: Path, mode: int) -> bool:
        return not Path(path).is_relative_to(studies) and is_accessible(path, mode)

    monkeypatch.setattr(os, "access", nobody_writes_there)  # root may write anywhere
    with needs_remedy("cannot write to {}; copy the studies to a folder of yours, and pass --studies-dir"):
        ReportOptions(("a",), studies_dir=studies)
    shutil.copytree(studies, tmp_path / "mine")
    ReportOptions(("a",), studies_dir=tmp_path / "mine")


def test_retrained_model_goes_into_a_file_called_keras_in_a_folder_of_yours(tmp_path: Path) -> None:
    recipe = tmp_path / "best_recipe.json"
    with needs_remedy("--out must be a file with the suffix .keras"):
        RefitOptions(recipe, out=tmp_path / "model.h5")
    with needs_remedy("cannot write to {} ({}); choose a file in a folder of yours with --out"):
        RefitOptions(recipe, out=tmp_path / "none" / "model.keras")
    RefitOptions(recipe, out=tmp_path / "model.keras")


def test_export_takes_a_model_by_its_path_and_leaves_it_in_its_place(tmp_path: Path) -> None:
    model = tmp_path / "best.keras"
    with needs_remedy("MODEL must be a .keras file, as studies deliver it, but got {}; check its path"):
        parse_export([str(model), "--format", "keras"])
    model.touch()
    (tmp_path / "file").touch()
    with needs_remedy("--out must be a folder that can be written to, but {} is not; choose another"):
        parse_export([str(model), "--format", "keras", "--out", str(tmp_path / "file")])
    with needs_remedy("the export would take the place of {} itself; choose another folder as --out"):
        parse_export([str(model), "--format", "keras", "--out", str(tmp_path)])
    parse_export([str(model), "--format", "keras", "--out", str(tmp_path / "exports")])


def test_temperature_is_a_number_or_a_file_that_holds_one(tmp_path: Path) -> None:
    model, path = Path("best.keras"), tmp_path / "temperature.json"
    with needs_remedy("--temperature takes a number or a file such as temperature.json"):
        read_temperature(str(path), model, pytest.fail)
    path.write_text("[1]")
    with needs_remedy('--temperature takes a JSON file with a number as "temperature"'):
        read_temperature(str(path), model, pytest.fail)
    path.write_text('{"temperature": 1.5}')
    assert read_temperature(str(path), model, pytest.fail) == 1.5
    with needs_remedy("--temperature must be from {} to {}"):
        read_temperature("0", model, pytest.fail)
    assert read_temperature("0.5", model, pytest.fail) == 0.5


def test_standard_input_is_named_once(tmp_path: Path) -> None:
    with needs_remedy("standard input holds one picture, but - was named more than once; name it once"):
        predict(tmp_path / "m.keras", ["-", "-"])
    with needs_remedy("a model must be a .keras file, but {}: {}; check the path"):  # named once, it gets to the model
        predict(tmp_path / "m.keras", ["-"])


def test_values_from_python_are_of_the_kind_that_is_asked_for() -> None:
    with needs_remedy("{} needs {}, which has no default; pass {}=...", TypeError):
        StudyConfig(dataset="digits")  # pyright: ignore[reportCallIssue]
    with needs_remedy("{} must be {}, but got {}{}"):
        StudyConfig(study="s", dataset="digits", trials="five")  # pyright: ignore[reportArgumentType]
    with needs_remedy("{} takes at most {} arguments, but got {}; pass them by name", TypeError):
        StudyConfig(*["s"] * 99)  # pyright: ignore[reportArgumentType]
    StudyConfig(study="s", dataset="digits", trials=5)
    with needs_remedy("{} must be {}, but got {}"):
        StudyConfig(study="s", dataset="digits", export=5)  # pyright: ignore[reportArgumentType]
    with needs_remedy("{} must be a function {}, but got {}"):
        require_callable(3, "on_progress", "(n_read, n_files)")
    require_callable(print, "on_progress", "(n_read, n_files)")
    with needs_remedy("{} must be {} or more, but got {}"):
        require(int, 0, "n", at_least=1)
    assert require(int, 1, "n", at_least=1) == 1
