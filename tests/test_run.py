"""From a command line to a study's options, and from its result to an exit code."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist.errors import UserError
from fmnist.options import to_arguments
from search.cli import legal_study_name
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.results.result import StudyResult
from search.run import RunOptions, exit_code, parse, study_named_after, tell_derived_name


def test_command_line_and_python_have_the_same_defaults() -> None:
    assert parse([]) == (StudyConfig("fashion-mnist"), RunOptions())


def test_every_option_reaches_its_field(monkeypatch) -> None:
    monkeypatch.setattr("search.system.extras.is_installed", lambda module: True)
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
        *(
            "--data-dir",
            "d",
            "--storage",
            "sqlite:///x.db",
            "--workers",
            "3",
            "--cluster",
            "head:6379",
            "--seed",
            "9",
            "--refit-seeds",
            "3",
        ),
        *("--max-parameters", "1000", "--max-multiply-adds", "20000", "--max-bytes", "96kB", "--max-ms", "1.5"),
        *("--target", "litert", "--on", "ssh pi python3 -"),
        *("--studies-dir", "out", "--sampler", "random", "--pruner", "median"),
        *("--memory-limit", "2048", "--precision", "float32", "--baselines", "--search-only", "--check", "--dashboard"),
        *("--export", "onnx", "--export", "litert,onnx", "--tensorboard", "tb", "--mlflow", "ml"),
        *("--gpus-per-training", "0.5", "--insecure-cluster"),
        *("--start-from", "old", "--metric", "macro_f1", "--class-weights", "none"),
    ]
    config, run_options = parse(options)
    assert parse(["--study", "mine", "--widen"])[0].widen  # which goes without --start-from
    assert parse(["--study", "mine", "--front"])[0].front  # which goes without targets
    expected = StudyConfig(
        study="mine",
        trials=7,
        timeout=1.5,
        space=Path("s.toml"),
        dataset="digits",
        data_dir=Path("d"),
        storage="sqlite:///x.db",
        workers=3,
        cluster="head:6379",
        gpus_per_training=0.5,
        insecure_cluster=True,
        seed=9,
        refit_seeds=3,
        max_parameters=1000,
        max_multiply_adds=20000,
        max_bytes=96_000,
        max_ms=1.5,
        target="litert",
        on="ssh pi python3 -",
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
        start_from="old",
        metric="macro_f1",
        class_weights="none",
    )
    assert (config, run_options) == (expected, RunOptions(search_only=True, check=True))
    named = {
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) == getattr(own, field.name) == getattr(StudyConfig("fashion-mnist"), field.name)
    } - {"widen", "front"}
    assert not named, f"not set in this test: {named}"


def test_run_fails_where_an_export_that_it_was_asked_for_did() -> None:
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


def test_study_is_named_after_its_data_set(tmp_path) -> None:
    assert parse(["--dataset", "digits"])[0].study == "digits"
    assert parse(["--dataset", str(tmp_path / "shoes")])[0].study == "shoes"
    assert parse(["--dataset", str(tmp_path / "shoes.NPZ")])[0].study == "shoes"


@pytest.mark.parametrize(
    ("data", "study"),
    [
        ("my shoes", "my-shoes"),
        ("my shoes.npz", "my-shoes"),
        ("Schuhgröße/", "Schuhgro-e"),
        ("cafe\u0301", "cafe"),
        ("100% #1 [new]?", "100-1-new"),
        ("-rf", "rf"),
        ("...", "study"),
        ("画像", "study"),
        ("😀 smile", "smile"),
        ("con", "study-con"),
        ("Aux.npz", "study-Aux"),
        ("Con.mat", "study-Con"),
        ("a\nb\t", "a-b"),
        ("x" * 255, "x" * 64),
        ("caf\udce9", "caf"),
        ("my search.py", "my-search.py"),
    ],
)
def test_data_of_any_name_have_a_study_of_a_legal_name_which_is_said(tmp_path, monkeypatch, data, study) -> None:
    monkeypatch.chdir(tmp_path)
    name = study_named_after(f"./{data}")
    assert name == study == StudyConfig(name).study
    said: list[str] = []
    tell_derived_name(name, f"./{data}", said.append)
    assert len(said) == 1 and study in said[0] and "--study" in said[0]


def test_study_of_the_current_folder_and_the_one_above_are_named_after_them(tmp_path, monkeypatch) -> None:
    (tmp_path / "shoes" / "red").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shoes" / "red")
    assert [study_named_after(data) for data in (".", "..", "./", "../")] == ["red", "shoes", "red", "shoes"]
    assert study_named_after("/") == "study"
    assert [study_named_after(f"x/shoes{suffix}") for suffix in (".npz", ".zip", ".tar.gz")] == ["shoes"] * 3
    said: list[str] = []
    tell_derived_name("red", ".", said.append)
    assert not said


@given(st.text())
def test_name_that_is_suggested_for_any_text_is_accepted(text) -> None:
    name = legal_study_name(text)
    assert StudyConfig(name).study == name == legal_study_name(name)
    try:
        StudyConfig(text)
    except UserError as refusal:
        suggested = str(refusal).rpartition("such as ")[2]
        assert StudyConfig(suggested).study == suggested


@pytest.mark.parametrize(
    ("word", "colour"),
    [
        *((word, "grey") for word in ("grey", "gray", "Grey", "GRAY", "greyscale", "grayscale")),
        *((word, "rgb") for word in ("rgb", "RGB", "colour", "color", "Color")),
    ],
)
@pytest.mark.parametrize("option", ["--colour", "--color"])
def test_colour_is_understood_in_either_spelling(option: str, word: str, colour: str) -> None:
    config, _ = parse(["--dataset", "some/folder", option, word])
    assert config == StudyConfig("folder", dataset="some/folder", colour=colour)
    assert config == StudyConfig("folder", dataset="some/folder", colour=word)
    assert to_arguments(config)[-2:] == ["--colour", colour]


@pytest.mark.parametrize("word", ["purple", "", "rbg", "1"])
def test_other_colours_are_refused_with_the_choices(word: str) -> None:
    with pytest.raises(UserError, match=r"choose from '?grey'?, '?rgb'?"):
        parse(["--dataset", "some/folder", "--colour", word])
    with pytest.raises(UserError, match="--colour must be one of grey, rgb"):
        StudyConfig("folder", dataset="some/folder", colour=word)
