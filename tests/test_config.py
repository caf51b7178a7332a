"""The options of a study: defaults, what follows from them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist.errors import UserError
from fmnist.reading import DATASETS
from search.config import MAX_SEED, StudyConfig
from search.machine import default_workers
from search.run import parse


def test_defaults_are_a_hundred_trials_of_fashion_mnist_on_every_core() -> None:
    config = StudyConfig("mine")
    assert (config.trials, config.dataset, config.workers) == (100, "fashion-mnist", default_workers())
    assert (config.seed, config.timeout, config.refit_seeds) == (0, None, 3)


def test_formats_of_exports_are_spelt_out_in_one_order() -> None:
    names = ("keras", "savedmodel", "litert", "litert-int8", "onnx")
    assert parse(["--export", "all"])[0].export == StudyConfig("mine", export=["onnx,all"]).export == names


def test_folder_is_the_name_below_the_studies() -> None:
    assert StudyConfig("mine", studies_dir=Path("out")).folder == Path("out/mine")


@pytest.mark.parametrize("dataset", DATASETS)
def test_named_data_sets_bring_their_own_space(dataset) -> None:
    path = StudyConfig("mine", dataset=dataset).space_path
    assert path.stem == dataset and path.is_file()


def test_images_of_ones_own_have_a_space_written_for_them() -> None:
    assert StudyConfig("mine", dataset="some/folder").space_path is None
    assert StudyConfig("mine", dataset="some/folder", space=Path("s.toml")).space_path == Path("s.toml")


def test_what_is_mirrored_is_said_by_a_space_file_where_there_is_one() -> None:
    with pytest.raises(UserError, match=r"--flip is for the default space .* but got the space s.toml; "):
        StudyConfig("mine", dataset="some/folder", space=Path("s.toml"), flip=True)


def test_named_space_file_wins() -> None:
    assert StudyConfig("mine", dataset="digits", space=Path("s.toml")).space_path == Path("s.toml")


@pytest.mark.parametrize("name", ["a", "0", "Study_1.2-b", "a" * 64])
def test_plain_names_are_accepted(name) -> None:
    assert StudyConfig(name).study == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\n", "ä", "a" * 65, "a\\b", "a:b"])
def test_names_that_are_no_plain_folder_are_refused(name) -> None:
    with pytest.raises(UserError, match=r"study's name must be .* but got .*--study"):
        StudyConfig(name)


@pytest.mark.parametrize("seed", [0, MAX_SEED])
def test_both_ends_of_the_seeds_are_accepted(seed) -> None:
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
def test_values_that_cannot_be_used_are_refused(field, value, message) -> None:
    with pytest.raises(UserError, match=message):
        StudyConfig("mine", **{field: value})


def test_bfloat16_is_refused_where_the_processor_lacks_it(monkeypatch) -> None:
    monkeypatch.setattr("search.config.has_bfloat16", lambda: False)
    assert StudyConfig("s").precision == "auto"
    with pytest.raises(UserError, match="--precision bfloat16 needs a processor with amx_bf16 or avx512_bf16"):
        StudyConfig("s", precision="bfloat16")
