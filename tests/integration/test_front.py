"""A whole run for networks of every size, killed in the middle of its last trainings and gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import optuna
import pytest

from fmnist.data.find import find_data
from fmnist.data.split import load_test
from search.records.files import StudyFiles
from search.records.models import BestRecipe, EvaluationRecord, FrontPointRecord
from tests.support.spaces import QUICK
from tests.support.wider import replaced

pytestmark = [pytest.mark.slow, pytest.mark.trains, pytest.mark.process]

RUN = [sys.executable, "-m", "search.run", "--dataset", "digits", "--study", "s", "--trials", "6", "--front"]
VARIED = {  # three widths: 8, 16 and 32
    "{ low = 8, high = 16, step = 8 }": "{ choices = [8, 16, 32] }",
    "block1_filters = 16": "block1_filters = 32",
}
ENDINGS = (".keras", ".tflite", "-int8-full.tflite", ".onnx")


@dataclass(frozen=True)
class Finished:
    """The study, and what its two runs said."""

    files: StudyFiles
    killed: str
    resumed: str

    @property
    def points(self) -> tuple[FrontPointRecord, ...]:
        """Its networks, the cheapest first."""
        return self.files.read_front()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("front")
    space = folder / "varied.toml"
    space.write_text(replaced(QUICK.read_text(encoding="utf-8"), VARIED), encoding="utf-8")
    words = [*RUN, "--space", str(space), "--studies-dir", str(folder / "studies")]
    said = ""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            said += line
            if "student 0 of " in line:  # the first of them has ended
                run.send_signal(signal.SIGKILL)
    resumed = subprocess.run(words, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    return Finished(StudyFiles(folder / "studies" / "s"), said, resumed.stdout)


def test_every_size_is_delivered_in_every_format(finished: Finished) -> None:
    sizes = [point.multiply_adds for point in finished.points]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3, "three widths; the default is in beside a better one of its width"
    for point in finished.points:
        folder = finished.files.front / point.name
        assert all((folder / f"{point.name}{ending}").stat().st_size > 1000 for ending in ENDINGS)


def test_every_file_gives_the_classes_of_its_network_in_its_own_runtime(finished: Finished) -> None:
    test = load_test(find_data("digits"))
    arrays = finished.files.read_test_arrays()
    assert arrays.front_probabilities is not None
    for place, point in enumerate(finished.points):
        accuracy = float(np.mean(arrays.front_probabilities[place].argmax(axis=1) == test.labels))
        assert accuracy > 0.8
        for record in finished.files.of_point(point.name).read_export_records():
            assert record.failure is None
            assert record.accuracy == pytest.approx(accuracy, abs=0.02)
            if record.format != "litert-int8-full":
                assert record.n_same_class == record.n_images == len(test)


def test_run_that_goes_on_repeats_no_training_that_had_ended(finished: Finished) -> None:
    ended = [line.split()[1] for line in finished.killed.splitlines() if " finalist " in line]
    assert len(ended) == len(finished.points)
    assert not any(" finalist " in line and "confirmed" in line for line in finished.resumed.splitlines()[:-20])
    first = next(line for line in finished.killed.splitlines() if "student 0 of " in line)
    name = first.split("student 0 of ")[1].split()[0]
    assert f"student 0 of {name} " not in finished.resumed
    assert finished.resumed.count("student 0 of ") < len(finished.points)


def test_test_set_is_opened_once_for_all_networks(finished: Finished) -> None:
    assert finished.resumed.count("opening the test set") == 1
    evaluation = finished.files.read_json(EvaluationRecord, finished.files.test)
    assert len(evaluation.front_accuracies) == len(finished.points)
    for place, point in enumerate(finished.points):
        files = finished.files.of_point(point.name)
        best = files.read_json(BestRecipe, files.best_recipe)
        assert best.retrainings[0].test_accuracy == evaluation.front_accuracies[place]


def test_study_has_two_directions_with_names(finished: Finished) -> None:
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{finished.files.storage}")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["selection accuracy", "log10 of multiply-adds"]
    assert study.best_trials


def test_end_of_the_run_names_every_network_with_its_accuracy(finished: Finished) -> None:
    line = next(line for line in finished.resumed.splitlines() if "front by weights: " in line)
    assert all(f"{point.name} " in line for point in finished.points)
    assert f"front      {finished.files.front}" in finished.resumed


def test_report_and_command_have_the_front(finished: Finished) -> None:
    report = json.loads(finished.files.report_json.read_text())
    assert [row["name"] for row in report["front"]] == [point.name for point in finished.points]
    command = finished.files.read_command()
    assert "--front" in command and "--export" not in command
    html = finished.files.report_html.read_text()
    assert all(point.name in html for point in finished.points)
