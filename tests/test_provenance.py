"""The command that makes a study, rebuilt from its options."""

from __future__ import annotations

import shlex

import pytest

from fmnist.export.formats import ExportRecord
from search.provenance import as_arguments, command_with_exports, describe_environment
from search.records.files import StudyFiles
from search.records.io import write_json
from search.run import parse
from search.worker.resources import local_resources


def test_arguments_of_the_report_give_the_same_study_again() -> None:
    options = ["--dataset", "digits", "--trials", "7", "--memory-limit", "2048", "--workers", "3", "--timeout", "60"]
    options += ["--baselines", "--export", "litert-int8,keras"]
    config, _ = parse(options)
    assert parse(as_arguments(config))[0] == config
    own, _ = parse(["--dataset", "x/shoes.npz", "--image-size", "32", "--flip", "--skip-unreadable", "--colour", "rgb"])
    assert own.study == "shoes"
    assert parse(["--study", "shoes", *as_arguments(own)])[0] == own


def test_exports_asked_for_later_join_the_command_that_makes_the_study(tmp_path) -> None:
    files = StudyFiles(tmp_path)
    files.command.write_text("python -m search.run --dataset 'my shoes' --study shoes\n")
    for names in (["onnx"], ["keras", "onnx"]):
        for name in names:
            for model in ("best.keras", "ensemble.keras"):
                write_json(files.export_record(name, model), ExportRecord(name, "file", 1.0, 2, 360, model=model))
        files.command.write_text(command_with_exports(files))
        words = ["--dataset", "my shoes", "--study", "shoes", "--export", ",".join(sorted(names))]
        assert files.read_command() == shlex.join(["python", "-m", "search.run", *words])


@pytest.mark.process
def test_choice_of_gpus_is_recorded_and_what_is_ignored_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = parse([])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    without = describe_environment(config, local_resources(config))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert describe_environment(config, local_resources(config)) == {
        **without,
        "CUDA_VISIBLE_DEVICES": "",
        "gpu": False,
    }
