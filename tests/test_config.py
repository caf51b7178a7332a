from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from fmnist.data.find import DATASETS
from fmnist.errors import UserError
from fmnist.export.formats import ExportRecord
from search.config import MAX_SEED, StudyConfig
from search.machine import default_workers
from search.provenance import as_arguments, command_with_exports
from search.records.files import StudyFiles
from search.records.io import write_json
from search.results import StudyResult
from search.run import RunOptions, exit_code, parse


def test_defaults_are_a_hundred_trials_of_fashion_mnist_on_every_core():
    config = StudyConfig("mine")
    assert (config.trials, config.dataset, config.workers) == (100, "fashion-mnist", default_workers())
    assert (config.seed, config.timeout, config.refit_seeds) == (0, None, 3)


def test_command_line_and_python_have_the_same_defaults():
    assert parse([]) == (StudyConfig("fashion-mnist"), RunOptions())


def test_every_option_reaches_its_field(monkeypatch):
    monkeypatch.setattr("search.extras.is_installed", lambda module: True)
    options = [
        *("--study", "mine", "--dataset", "some/folder", "--image-size", "32", "--colour", "grey", "--flip"),
        "--skip-unreadable",
    ]
    own, _ = parse(options)
    assert own == StudyConfig(
        "mine", dataset="some/folder", image_size=32, colour="grey", flip=True, skip_unreadable=True
    )
    options = [
        *("--study", "mine", "--trials", "7", "--timeout", "1.5", "--space", "s.toml", "--dataset", "digits"),
        *("--data-dir", "d", "--storage", "sqlite:///x.db", "--workers", "3", "--seed", "9", "--refit-seeds", "2"),
        *("--max-parameters", "1000", "--studies-dir", "out", "--sampler", "random", "--pruner", "median"),
        *("--memory-limit", "2048", "--precision", "float32", "--baselines", "--search-only", "--check", "--dashboard"),
        *("--export", "onnx", "--export", "litert,onnx", "--tensorboard", "tb", "--mlflow", "ml"),
    ]
    config, run_options = parse(options)
    expected = StudyConfig(
        study="mine",
        trials=7,
        timeout=1.5,
        space=Path("s.toml"),
        dataset="digits",
        data_dir=Path("d"),
        storage="sqlite:///x.db",
        workers=3,
        seed=9,
        refit_seeds=2,
        max_parameters=1000,
        studies_dir=Path("out"),
        sampler="random",
        pruner="median",
        precision="float32",
        memory_limit_mb=2048,
        baselines=True,
        dashboard=True,
        export=("litert", "onnx"),
        tensorboard=Path("tb"),
        mlflow=Path("ml"),
    )
    assert (config, run_options) == (expected, RunOptions(search_only=True, check=True))
    named = {
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) == getattr(own, field.name) == getattr(StudyConfig("fashion-mnist"), field.name)
    }
    assert not named, f"not set in this test: {named}"


def test_arguments_of_the_report_give_the_same_study_again():
    options = ["--dataset", "digits", "--trials", "7", "--memory-limit", "2048", "--workers", "3", "--timeout", "60"]
    options += ["--baselines", "--export", "litert-int8,keras"]
    config, _ = parse(options)
    assert parse(as_arguments(config))[0] == config
    own, _ = parse(["--dataset", "x/shoes.npz", "--image-size", "32", "--flip", "--skip-unreadable", "--colour", "rgb"])
    assert own.study == "shoes"
    assert parse(["--study", "shoes", *as_arguments(own)])[0] == own


def test_formats_of_exports_are_spelt_out_in_one_order():
    names = ("keras", "savedmodel", "litert", "litert-int8", "onnx")
    assert parse(["--export", "all"])[0].export == StudyConfig("mine", export=["onnx,all"]).export == names


def test_exports_asked_for_later_join_the_command_that_makes_the_study(tmp_path):
    files = StudyFiles(tmp_path)
    files.command.write_text("python -m search.run --dataset 'my shoes' --study shoes\n")
    for names in (["onnx"], ["keras", "onnx"]):
        for name in names:
            write_json(files.export_record(name), ExportRecord(name, "best", 1.0, 2, 360))
        files.command.write_text(command_with_exports(files))
        words = ["--dataset", "my shoes", "--study", "shoes", "--export", ",".join(sorted(names))]
        assert files.read_command() == shlex.join(["python", "-m", "search.run", *words])


def test_run_fails_where_an_export_that_it_was_asked_for_did():
    study = SimpleNamespace(
        exports=[
            SimpleNamespace(format="keras", failure=None),
            SimpleNamespace(format="onnx", failure="no such layer"),
        ]
    )
    codes = {names: exit_code(StudyConfig("mine", export=names), study) for names in [(), ("keras",), ("keras,onnx",)]}
    assert list(codes.values()) == [0, 0, 1]
    unfinished = StudyResult(files=StudyFiles(Path("mine")), config={}, trials=())
    assert exit_code(StudyConfig("mine", export=["onnx"]), unfinished) == 0  # --search-only


def test_study_is_named_after_its_data_set(tmp_path):
    assert parse(["--dataset", "digits"])[0].study == "digits"
    assert parse(["--dataset", str(tmp_path / "shoes")])[0].study == "shoes"
    assert parse(["--dataset", str(tmp_path / "shoes.NPZ")])[0].study == "shoes"


def test_folder_is_the_name_below_the_studies():
    assert StudyConfig("mine", studies_dir=Path("out")).folder == Path("out/mine")


@pytest.mark.parametrize("dataset", DATASETS)
def test_named_data_sets_bring_their_own_space(dataset):
    path = StudyConfig("mine", dataset=dataset).space_path
    assert path.stem == dataset and path.is_file()


def test_images_of_ones_own_have_a_space_written_for_them():
    assert StudyConfig("mine", dataset="some/folder").space_path is None
    assert StudyConfig("mine", dataset="some/folder", space=Path("s.toml")).space_path == Path("s.toml")


def test_what_is_mirrored_is_said_by_a_space_file_where_there_is_one():
    with pytest.raises(UserError, match=r"--flip is for the default space .* but got the space s.toml; "):
        StudyConfig("mine", dataset="some/folder", space=Path("s.toml"), flip=True)


def test_named_space_file_wins():
    assert StudyConfig("mine", dataset="digits", space=Path("s.toml")).space_path == Path("s.toml")


@pytest.mark.parametrize("name", ["a", "0", "Study_1.2-b", "a" * 64])
def test_plain_names_are_accepted(name):
    assert StudyConfig(name).study == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\n", "ä", "a" * 65, "a\\b", "a:b"])
def test_names_that_are_no_plain_folder_are_refused(name):
    with pytest.raises(UserError, match=r"study's name must be .* but got .*--study"):
        StudyConfig(name)


@pytest.mark.parametrize("seed", [0, MAX_SEED])
def test_both_ends_of_the_seeds_are_accepted(seed):
    assert StudyConfig("mine", seed=seed).seed == seed


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("trials", 0, "--trials must be at least 1, but got 0"),
        ("workers", -2, "--workers must be at least 1, but got -2"),
        ("refit_seeds", 0, "--refit-seeds must be at least 1, but got 0"),
        ("max_parameters", 0, "--max-parameters must be at least 1, but got 0"),
        ("memory_limit_mb", 0, "--memory-limit must be at least 1, but got 0"),
        ("seed", -1, "--seed must be between 0 and 4294967295, but got -1"),
        ("seed", MAX_SEED + 1, "--seed must be between 0 and 4294967295"),
        ("image_size", 7, "--image-size must be between 8 and 128 pixels, but got 7"),
        ("colour", "blue", "--colour must be one of grey, rgb, but got 'blue'"),
        ("timeout", 0, "--timeout must be a positive number of seconds, but got 0"),
        ("timeout", -1.0, "--timeout must be a positive number of seconds"),
        ("timeout", float("nan"), "--timeout must be a positive number of seconds, but got nan"),
        ("timeout", float("inf"), "--timeout must be a positive number of seconds, but got inf"),
        ("sampler", "gp", "--sampler must be one of tpe, random, but got 'gp'"),
        ("pruner", "hyperband", "--pruner must be one of asha, median, none, but got 'hyperband'"),
    ],
)
def test_values_that_cannot_be_used_are_refused(field, value, message):
    with pytest.raises(UserError, match=message):
        StudyConfig("mine", **{field: value})


def test_bfloat16_is_refused_where_the_processor_lacks_it(monkeypatch):
    monkeypatch.setattr("search.config.has_bfloat16", lambda: False)
    assert StudyConfig("s").precision == "auto"
    with pytest.raises(UserError, match="--precision bfloat16 needs a processor with amx_bf16 or avx512_bf16"):
        StudyConfig("s", precision="bfloat16")
