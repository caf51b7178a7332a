"""The options of a study: defaults, what follows from them, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.find import find_data
from fmnist.errors import UserError
from fmnist.export.formats import FORMATS
from fmnist.reading import DATASETS
from search.config import MAX_SEED, StudyConfig
from search.provenance import as_arguments
from search.run import parse


def test_defaults_are_a_hundred_trials_of_fashion_mnist_on_every_core() -> None:
    config = StudyConfig("mine")
    assert (config.trials, config.dataset, config.workers) == (100, "fashion-mnist", None)
    assert (config.seed, config.timeout, config.refit_seeds) == (0, None, 1)


def test_formats_of_exports_are_spelt_out_in_one_order() -> None:
    names = tuple(format.name for format in FORMATS)
    assert parse(["--export", "all"])[0].export == StudyConfig("mine", export=["onnx,all"]).export == names


def test_folder_is_the_name_below_the_studies() -> None:
    assert StudyConfig("mine", studies_dir=Path("out")).folder == Path("out/mine")


@pytest.mark.parametrize("dataset", ["fashion-mnist", "digits"])
def test_fashion_mnist_and_digits_bring_their_own_space(dataset) -> None:
    path = StudyConfig("mine", dataset=dataset).space_path
    assert path.stem == dataset and path.is_file()


@pytest.mark.parametrize("dataset", DATASETS[2:])
def test_other_named_data_sets_have_a_space_written_for_them(dataset) -> None:
    assert StudyConfig("mine", dataset=dataset).space_path is None


def test_what_is_mirrored_follows_the_data_set() -> None:
    mirrored = {name for name in DATASETS if StudyConfig("mine", dataset=name).mirrors}
    assert mirrored == {"fashion-mnist", "cifar10", "cifar100"}
    assert StudyConfig("mine", dataset="mnist", flip=True).mirrors and not StudyConfig("mine", dataset="shoes").mirrors


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("MNIST", "mnist"),
        ("cifar-10", "cifar10"),
        ("CIFAR_100", "cifar100"),
        ("fashion_mnist", "fashion-mnist"),
        ("FashionMNIST", "fashion-mnist"),
        ("emnist letters", "emnist-letters"),
        ("Kuzushiji-MNIST", "kmnist"),
    ],
)
def test_usual_spellings_of_a_data_set_are_its_name(spelling, name) -> None:
    assert StudyConfig("mine", dataset=spelling).dataset == name
    assert parse(["--dataset", spelling])[0].study == name


def test_folder_counts_before_another_spelling_of_a_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("MNIST", "mnist"):
        Path(folder).mkdir()
    assert StudyConfig("mine", dataset="MNIST").dataset == "MNIST"
    assert (
        StudyConfig("mine", dataset="mnist").is_named_data and not StudyConfig("mine", dataset="./mnist").is_named_data
    )


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
        ("workers", -2, "--workers must be between 1 and 1024, but got -2"),
        ("refit_seeds", 0, "--refit-seeds must be between 1 and 10000, but got 0"),
        ("max_parameters", 0, "--max-parameters must be at least 1, but got 0"),
        ("max_bytes", 0, "--max-bytes must be at least 1, but got 0"),
        (
            "max_bytes",
            "96 parsecs",
            "--max-bytes must be a number of bytes or a size in B, .*, but got '96 parsecs'; pass",
        ),
        ("max_bytes", "-1kB", "--max-bytes must be a number of bytes or a size in B, .*, but got '-1kB'; pass"),
        ("max_ms", 0, "--max-ms must be a number of milliseconds above 0, but got 0"),
        ("target", "tflite", "--target must be one of keras, .*, onnx-int8, but got 'tflite'"),
        ("target", "onnx", "--target is the file that --max-bytes and --max-ms are about, but got 'onnx' alone; pass"),
        (
            "on",
            "ssh pi python3 -",
            "--on is where --max-ms is measured, but got 'ssh pi python3 -' alone; pass --max-ms",
        ),
        ("memory_limit_mb", 0, "--memory-limit must be at least 1, but got 0"),
        ("seed", -1, "--seed must be between 0 and 4294967295, but got -1"),
        ("seed", MAX_SEED + 1, "--seed must be between 0 and 4294967295"),
        ("image_size", 7, "--image-size must be between 8 and 128 pixels, but got 7"),
        ("colour", "blue", "--colour must be one of grey, rgb, but got 'blue'$"),
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


@pytest.mark.parametrize(
    ("size", "n_bytes"), [("96kB", 96_000), ("1.5 MB", 1_500_000), ("64KiB", 65_536), ("500", 500), (500, 500)]
)
def test_sizes_may_have_units(size, n_bytes) -> None:
    assert StudyConfig("mine", max_bytes=size).max_bytes == n_bytes


def test_file_that_has_to_be_small_or_fast_is_exported() -> None:
    assert StudyConfig("mine", max_bytes=1000).export == ("litert-int8-full",)
    assert StudyConfig("mine", max_ms=2, target="onnx", export="keras").export == ("keras", "onnx")
    assert StudyConfig("mine").export == ()


def test_folder_is_not_timed() -> None:
    with pytest.raises(
        UserError, match="--max-ms is measured of a single file, but got --target savedmodel, which is a"
    ):
        StudyConfig("mine", target="savedmodel", max_ms=1)
    assert StudyConfig("mine", target="savedmodel", max_bytes=1000).has_targets


def test_bfloat16_is_refused_where_the_processor_lacks_it(monkeypatch) -> None:
    monkeypatch.setattr("search.system.option_checks.has_bfloat16", lambda: False)
    assert StudyConfig("s").precision == "auto"
    with pytest.raises(UserError, match="--precision bfloat16 needs a processor with amx_bf16 or avx512_bf16"):
        StudyConfig("s", precision="bfloat16")


@pytest.mark.parametrize(
    "words", ["onnx,keras", ["onnx", "keras"], ("keras", "onnx"), {"keras", "onnx"}, "keras, onnx"]
)
def test_formats_may_be_joined_or_in_any_collection(words) -> None:
    assert StudyConfig("mine", export=words).export == ("keras", "onnx")


def test_formats_that_come_twice_are_one_and_no_format_is_none() -> None:
    assert StudyConfig("mine", export="keras").export == StudyConfig("mine", export=["keras", "keras"]).export
    assert StudyConfig("mine", export=[]).export == ()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("study", Path("mine"), r"--study must be a name, but got .*\(PosixPath\); pass a text such as 'digits'"),
        ("trials", True, r"--trials must be a whole number, but got True \(bool\)"),
        ("trials", None, "--trials must be a whole number, but got None"),
        ("seed", "0", r"--seed must be a whole number, but got '0' \(str\); leave out the quotes"),
        ("timeout", "5m", r"--timeout must be a positive number of seconds, but got '5m' \(str\)"),
        ("workers", 10**6, "--workers must be between 1 and 1024, but got 1000000"),
        ("refit_seeds", 10**9, "--refit-seeds must be between 1 and 10000, but got 1000000000"),
        (
            "dataset",
            np.zeros((5, 8, 8)),
            r"--dataset must be a name or a path, but got an array of float64",
        ),
        ("dataset", {"x_train": 1}, r"--dataset must be a name or a path, but got .* \(dict\); write arrays to a file"),
        ("studies_dir", "", r"--studies-dir must be a path, but got '' \(str\)"),
        ("export", 5, r"--export must be all or some of keras, .*, but got 5 \(int\)"),
        ("export", None, r"--export must be all or some of keras, .*, but got None"),
        ("export", "ONNX", r"--export must be all or some of keras, .*, but got 'ONNX'; did you mean onnx\?"),
        ("export", ["keras", "onxx"], r"but got 'onxx'; did you mean onnx\?"),
        ("sampler", "TPE", r"--sampler must be one of tpe, random, but got 'TPE'; did you mean tpe\?"),
        ("colour", "grye", r"--colour must be one of grey, rgb, but got 'grye'; did you mean grey\?"),
        ("storage", Path("x.db"), r"--storage must be a URL such as sqlite:///study.db, but got a value of type "),
    ],
)
def test_values_of_another_kind_are_refused(field, value, message) -> None:
    with pytest.raises(UserError, match=message) as refused:
        StudyConfig(**{"study": "mine"} | {field: value})
    assert "\n" not in str(refused.value)


def test_arrays_are_passed_in_a_file_as_the_refusal_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x_train, y_train = rng.integers(0, 256, (200, 8, 8), np.uint8), np.arange(200) % 4
    with pytest.raises(UserError, match=r"numpy.savez\(path, x_train=..., y_train=...\), named .npz, and pass its"):
        StudyConfig("mine", dataset=x_train)
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=x_train, y_train=y_train)
    config = StudyConfig("mine", dataset=path)
    assert config.dataset == str(path)
    assert len(find_data(config.dataset).class_names) == 4


def test_paths_may_be_texts_and_numbers_numpy_s() -> None:
    given = StudyConfig(
        "mine",
        dataset=Path("digits"),
        studies_dir="out",
        space=b"s.toml",
        trials=np.int64(5),
        timeout=np.float32(60),
        seed=7.0,
        baselines=np.bool_(True),
    )
    plain = StudyConfig(
        "mine",
        dataset="digits",
        studies_dir=Path("out"),
        space=Path("s.toml"),
        trials=5,
        timeout=60.0,
        seed=7,
        baselines=True,
    )
    assert given == plain and repr(given) == repr(plain)
    assert as_arguments(given) == as_arguments(plain)


def test_repr_hides_a_password() -> None:
    config = StudyConfig("mine", storage="postgresql://me:s3cret@host/db")
    assert repr(config) == "StudyConfig(study='mine', storage='postgresql://me:***@host/db')"
    assert "s3cret" not in repr(
        dataclass(frozen=True)(type("Derived", (StudyConfig,), {}))("mine", storage=config.storage)
    )
    with pytest.raises(UserError) as refused:
        StudyConfig("mine", storage=b"postgresql://me:s3cret@host/db")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, "none"),
        ({"metric": "log_loss"}, "none"),
        ({"metric": "balanced_accuracy"}, "balanced"),
        ({"metric": "macro_f1"}, "balanced"),
        ({"metric": "macro_f1", "class_weights": "none"}, "none"),
        ({"class_weights": "balanced"}, "balanced"),
    ],
)
def test_losses_weigh_classes_where_the_metric_counts_them_alike_unless_it_is_said(
    options: dict[str, str], weights: str
) -> None:
    assert StudyConfig("mine", **options).loss_weights == weights
