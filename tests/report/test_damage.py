"""A report is made of files that are what was written, or it is not made: each file in turn, damaged in each way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fmnist.errors import UserError
from search.records.files import StudyFiles
from search.records.io import read_json
from search.records.models import DataRecord, TrialRecord
from search.report.analysis.evidence import Evidence
from search.report.text.overview import same_in_fresh_process
from search.results.reading import read_finished_study
from search.results.result import FinishedStudy
from tests.support.damage import DAMAGES, damage
from tests.support.made_study import make_study
from tests.support.made_trials import Made

SMALL = Made(n_trials=4, n_seeds=2, n_finalists=2, n_test=60, n_train=200, with_baselines=True, with_exports=True)
Study = tuple[StudyFiles, list[TrialRecord]]


def read(root: Path, trials: list[TrialRecord], said: list[str] | None = None) -> FinishedStudy:
    """What the report is made of, with what it reads when its parts are drawn."""
    files = StudyFiles(root)
    files.checksums.say = (said if said is not None else []).append
    study = read_finished_study(files, trials, command=files.read_command(), importances=None)
    assert Evidence(study).finalists and Evidence(study).ensemble
    return study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    files, trials = make_study(tmp_path_factory.mktemp("studies") / "made", SMALL)
    shutil.copyfile(files.model, files.refit_model(0))
    files.exports.mkdir(exist_ok=True)
    for record in files.read_export_records():
        if record.failure is None:
            (files.exports / record.file).write_text(f"the model as {record.format}")
    files.begin_checksums()
    manifest = files.checksums.manifest
    assert manifest is not None
    manifest.adopted = None  # as if each had been entered when it was written
    for record in files.read_export_records():
        if record.failure is None:
            files.checksums.record(files.exports / record.file)
    files.checksums.record(files.config)
    return files, trials


@pytest.fixture(scope="module")
def before(made: Study) -> FinishedStudy:
    return read(made[0].root, made[1])


@pytest.fixture
def study(made: Study, tmp_path: Path) -> Study:
    shutil.copytree(made[0].root, tmp_path / "made")
    return StudyFiles(tmp_path / "made"), made[1]


READ = (
    *("config.json", "data.json", "samples.npz", "test.json", "test.npz", "best.keras", "ledger.json"),
    *("environment.json", "command.txt", "refit/seed-0.json", "refit/seed-1.json", "exports/onnx.json"),
    *("confirm/trial-0000.json", "confirm/trial-0000.npz", "checksums.json", "copies/test.json"),
    *("refit/student-0.json", "refit/student-0.npz", "ensemble.json"),
)


SOME = ("gone", "flip")


@pytest.mark.parametrize(
    "kind", [*SOME, *(pytest.param(kind, marks=pytest.mark.slow) for kind in DAMAGES if kind not in SOME)]
)
@pytest.mark.parametrize("name", READ)
def test_every_file_of_a_report_is_as_it_was_written(study: Study, before: FinishedStudy, name: str, kind: str) -> None:
    files, trials = study
    damage(files.root / name, kind)
    said: list[str] = []
    after = read(files.root, trials, said)
    assert (after.test, after.refits, after.confirmed, after.exports, after.seconds) == (
        *(before.test, before.refits, before.confirmed, before.exports, before.seconds),
    )
    assert (after.students, after.ensemble) == (before.students, before.ensemble)
    assert (after.arrays.probabilities == before.arrays.probabilities).all()
    assert len(said) == (0 if name.startswith("copies/") else 1)


@pytest.mark.parametrize("kind", DAMAGES)
def test_export_that_is_not_what_was_compared_is_not_claimed(study: Study, before: FinishedStudy, kind: str) -> None:
    files, trials = study
    damage(files.exports / "best.tflite", kind)
    after = read(files.root, trials)
    assert len(after.exported) == len(before.exported) - 1
    (failure,) = [record.failure for record in after.exports if record.file == "best.tflite"]
    assert failure is not None and failure.endswith("--export litert makes it anew")


def test_model_and_its_twin_lost_together_are_named(study: Study) -> None:
    files, trials = study
    for path in (files.model, files.refit_model(0)):
        path.unlink()
    with pytest.raises(
        UserError, match=r"best\.keras is missing, .*python -m search\.refit --recipe .*best_recipe\.json"
    ):
        read(files.root, trials)


def test_ensemble_that_is_lost_or_changed_is_named(study: Study) -> None:
    files, trials = study
    files.ensemble.write_text("another model")
    with pytest.raises(UserError, match=r"ensemble\.keras is not as it was .*search\.refit --recipe .*ensemble_recipe"):
        read(files.root, trials)


def test_swapped_test_records_of_two_studies_are_each_restored(study: Study, tmp_path: Path) -> None:
    files, trials = study
    shutil.copytree(files.root, tmp_path / "other")
    other = StudyFiles(tmp_path / "other")
    own = files.read_json(DataRecord, files.data)
    shutil.copyfile(other.test, files.data)
    assert read(files.root, trials).data == own
    assert read_json(DataRecord, files.data) == own


def test_report_of_a_version_without_checksums_says_that_nothing_was_compared(study: Study) -> None:
    files, trials = study
    assert same_in_fresh_process(read(files.root, trials)).endswith("gives the same accuracy.")
    shutil.rmtree(files.checksums.copies)
    files.checksums.path.unlink()
    old = same_in_fresh_process(read(files.root, trials))
    assert "whether the study's files are still the same was not checked" in old


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("samples.npz", "run the study on"),
        ("best.keras", "run the study on"),
        ("refit/seed-0.json", "restore what is lost, or start a new study"),
        ("test.json", "restore what is lost, or start a new study"),
        ("test.npz", "restore what is lost, or start a new study"),
    ],
)
def test_file_that_a_version_without_checksums_lost_is_named_with_what_helps(
    study: Study, name: str, remedy: str
) -> None:
    files, trials = study
    shutil.rmtree(files.checksums.copies)
    files.checksums.path.unlink()
    good = (files.root / name).read_bytes()
    (files.root / name).unlink()
    with pytest.raises(UserError, match=rf"has no {name}; {remedy}"):
        read(files.root, trials)
    (files.root / name).write_bytes(good)
    assert read(files.root, trials).is_finished
