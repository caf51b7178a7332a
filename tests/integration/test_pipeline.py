"""The whole path on real, small images: what a first command does, and what kills and second runs do to it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import numpy as np
import psutil
import pytest
from PIL import Image

from fmnist.baselines.catalog import BASELINES
from fmnist.data.find import find_data
from fmnist.data.split import load_test
from fmnist.recipe import Recipe
from search.records.files import StudyFiles
from search.records.io import read_arrays
from search.records.models import PHASES, ConfirmRecord, DataRecord, EvaluationRecord
from search.refit.schedule import FINALIST_LENGTH, STUDENT_LENGTH
from tests.support.spaces import QUICK
from tests.support.training.fake_process import SECONDS_VARIABLE

pytestmark = [pytest.mark.process, pytest.mark.timeout(300, func_only=True)]  # the time of the study is no test's

ROOT = Path(__file__).parents[2]
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


def command(studies_dir: Path, *options: str, module: str = "search.run") -> list[str]:
    return [sys.executable, "-m", module, "--dataset", "digits", "--studies-dir", str(studies_dir), *options]


def run(studies_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **NO_NETWORK, "KERAS_BACKEND": "jax"}  # as somebody has it who works with that
    return subprocess.run(command(studies_dir, *options), cwd=ROOT, env=environment, capture_output=True, text=True)


def run_quick(studies_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(studies_dir, "--space", str(QUICK), *options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study of three trials with baselines and an export, from nothing to the report, without network: folder and
    output of the run."""
    studies_dir = tmp_path_factory.mktemp("studies")
    outcome = run_quick(studies_dir, "--trials", "3", "--refit-seeds", "2", "--baselines", "--export", "litert")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    return studies_dir / "digits", outcome.stdout


@pytest.fixture(scope="module")
def report(finished: tuple[Path, str]) -> dict:
    return json.loads((finished[0] / "report.json").read_text())


def test_report_says_what_was_searched_chosen_and_spent(report: dict) -> None:
    assert report["study"] == "digits"
    assert sum(report["trials"][state] for state in ("complete", "pruned", "failed", "infeasible")) == 3
    assert report["best"].keys() >= {"trial", "params", "recipe"}
    assert report["validation"].keys() >= {"selection_accuracy", "confirm_accuracy"}
    assert report["test"]["accuracy"].keys() >= {"mean", "sd", "values", "wilson_95"}
    assert len(report["test"]["accuracy"]["values"]) in (1, 2), "the students, or the winner where none is better"
    assert report["test"].keys() >= {"macro_f1", "per_class", "confusion_matrix"}
    assert all(report["seconds"][phase] > 0 for phase in PHASES)
    assert report["images_trained"]["total"] > 10_000


def test_small_search_beats_chance_by_far(report: dict) -> None:
    assert report["test"]["accuracy"]["mean"] > 0.9


def test_every_baseline_is_fitted_before_the_test_set_is_opened_and_scores_on_it(finished: tuple[Path, str]) -> None:
    folder, said = finished
    outcomes, labels = StudyFiles(folder).read_baselines(), load_test(find_data("digits")).labels
    assert [outcome.record.name for outcome in outcomes] == [baseline.name for baseline in BASELINES]
    assert {outcome.record.failure for outcome in outcomes} == {None}
    assert all(np.mean(outcome.predicted == labels) > 0.9 for outcome in outcomes)
    assert {path.suffix for path in (folder / "baselines").iterdir()} == {".json", ".npz"}  # models are gone
    moments = [said.index(text) for text in ("fitting 9 baselines", "nearest-neighbours", "opening the test set")]
    assert moments == sorted(moments)


def test_export_scores_what_the_model_scores_and_is_made_after_the_test_set_was_opened(
    finished: tuple[Path, str], report: dict
) -> None:
    folder, said = finished
    files = StudyFiles(folder)
    accuracies = {"best": report["test"]["accuracy"]["delivered"]["value"]}
    if files.ensemble.exists():
        accuracies["ensemble"] = files.read_json(EvaluationRecord, files.test).ensemble_accuracy
    for record, (model, accuracy) in zip(files.read_export_records(), accuracies.items(), strict=True):
        assert (record.model, record.format, record.failure) == (f"{model}.keras", "litert", None)
        assert record.n_same_class == record.n_images == 360 and record.largest_difference < 1e-5
        assert record.accuracy == accuracy
        assert (folder / "exports" / f"{model}.tflite").stat().st_size == record.n_bytes
        assert said.index("opening the test set") < said.index("exporting best.keras") < said.index(f"{model}.tflite")


LOAD_AND_SCORE = """
import sys
sys.modules["fmnist"] = sys.modules["search"] = None  # not to be imported, wherever they are installed
import numpy, keras
arrays = numpy.load(sys.argv[2])
probabilities = keras.saving.load_model(sys.argv[1]).predict(arrays["images"], verbose=0)
print(float((probabilities.argmax(axis=1) == arrays["labels"]).mean()))
"""


def scored_outside(model: Path, folder: Path) -> float:
    """Return the test accuracy of a model in a Python that has Keras and nothing of this project."""
    test = load_test(find_data("digits"))
    np.savez(folder / "test.npz", images=test.images, labels=test.labels)
    command = [sys.executable, "-I", "-c", LOAD_AND_SCORE, str(model), str(folder / "test.npz")]
    outside = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return float(outside.stdout)


def test_best_keras_loads_without_the_project_and_scores_what_the_report_says(
    finished: tuple[Path, str], report: dict, tmp_path: Path
) -> None:
    accuracy = scored_outside(finished[0] / "best.keras", tmp_path)
    assert accuracy == report["test"]["accuracy"]["values"][0]
    assert accuracy == report["test"]["accuracy"]["delivered"]["value"]


def test_ensemble_loads_without_the_project_too_and_scores_what_was_recorded(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    files = StudyFiles(finished[0])
    record = files.read_ensemble_record()
    assert record is not None and len(record.members) > 1
    assert sum(member.weight for member in record.members) == pytest.approx(1)
    assert all((finished[0] / member.model).is_file() for member in record.members)
    recorded = files.read_json(EvaluationRecord, files.test).ensemble_accuracy
    assert scored_outside(files.ensemble, tmp_path) == pytest.approx(recorded, abs=1e-9)


def test_finalists_and_students_have_not_learned_from_the_confirmation_split(finished: tuple[Path, str]) -> None:
    files = StudyFiles(finished[0])
    data = files.read_json(DataRecord, files.data)
    learned_from = data.n_images["train"] + data.n_images["selection"]
    finalists, students = files.read_confirm_records(), files.read_student_records()
    assert len(finalists) == 3 and len(students) == 2
    assert {record.fit_on for record in [*finalists, *students]} == {"searched"}
    n_full = Recipe.from_dict(finalists[0].recipe).plan.n_epochs * learned_from
    for record in [*finalists, *students]:
        share = STUDENT_LENGTH if record in students else FINALIST_LENGTH
        assert record.n_planned_images == round(share * n_full)
        assert record.n_cut_images is None and record.n_planned_images - record.n_images < 64, "less than a batch"
    assert {student.trial for student in students} == {finalists_by_accuracy(finalists)[0].trial}
    assert all(student.teachers for student in students)


def test_first_student_is_delivered_unless_the_winner_itself_is_better(finished: tuple[Path, str]) -> None:
    files = StudyFiles(finished[0])
    winner = finalists_by_accuracy(files.read_confirm_records())[0]
    student, delivered = files.read_student_records()[0], files.read_refit_records()[0]
    chosen = files.confirm_model(winner.trial)
    if student.confirm_accuracy >= winner.confirm_accuracy:
        chosen = files.student_model(0)
    assert bool(delivered.teachers) == (chosen == files.student_model(0))
    assert files.model.read_bytes() == files.refit_model(0).read_bytes() == chosen.read_bytes()


def finalists_by_accuracy(records: Sequence[ConfirmRecord]) -> list[ConfirmRecord]:
    return sorted(records, key=lambda record: record.confirm_accuracy, reverse=True)


def test_run_says_who_is_trained_in_full_before_the_test_set_is_opened(finished: tuple[Path, str]) -> None:
    said = finished[1]
    phases = ("training 3 finalists", "training 2 students by trial ", "choosing the ensemble")
    moments = [said.index(text) for text in (*phases, "opening the test set")]
    assert moments == sorted(moments)
    for label in ("finalist 0", "student 0", "student 1"):
        assert re.search(rf"{label} +\d+\.\d\d% confirmed, trained to the end", said)


def test_delivered_model_names_what_pictures_show(finished: tuple[Path, str], tmp_path: Path) -> None:
    samples = read_arrays(StudyFiles(finished[0]).samples)["images"]  # of each digit some that it was trained on
    for digit, images in enumerate(samples):
        for i, image in enumerate(images):
            Image.fromarray(255 - image[..., 0]).save(tmp_path / f"{digit}-{i}.png")
    command = [sys.executable, "-m", "fmnist.predict", str(finished[0] / "best.keras"), str(tmp_path), "--json"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    found = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert len(found) == samples.shape[0] * samples.shape[1]
    assert all(each["inverted"] and not each["fitted"] for each in found)
    assert np.mean([Path(each["path"]).name[0] == each["class"] for each in found]) > 0.9


def test_report_opens_without_any_other_file(finished: tuple[Path, str]) -> None:
    html = (finished[0] / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", html)


def test_no_half_written_file_and_no_scratch_is_left(finished: tuple[Path, str]) -> None:
    names = {path.name for path in finished[0].rglob("*")}
    assert not [name for name in names if name.startswith(".")]
    assert "split" not in names


def test_finished_study_says_so_and_rebuilds_its_report(finished: tuple[Path, str], report: dict) -> None:
    (finished[0] / "report.html").unlink()
    environment = (finished[0] / "environment.json").read_bytes()
    outcome = run_quick(finished[0].parent, "--trials", "3", "--refit-seeds", "3", "--workers", "1")
    assert outcome.returncode == 0
    assert "study digits is finished" in outcome.stdout
    assert "it has 2 students: --refit-seeds 3 adds none to a finished study" in outcome.stdout
    assert (finished[0] / "environment.json").read_bytes() == environment
    assert (finished[0] / "report.html").exists()
    assert json.loads((finished[0] / "report.json").read_text())["test"] == report["test"]


def test_finished_study_may_be_asked_for_its_baselines_and_exports_or_not(finished: tuple[Path, str]) -> None:
    def times() -> dict[Path, int]:
        folders = (finished[0] / "baselines", finished[0] / "exports")
        return {path: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}

    before = times()
    for more in ([], ["--baselines", "--export", "litert"]):
        outcome = run_quick(finished[0].parent, "--trials", "3", "--refit-seeds", "2", *more)
        assert outcome.returncode == 0, outcome.stderr
        # the command that makes the study again
        assert re.search("--baselines .*--export litert\n", (finished[0] / "report.md").read_text())
    assert times() == before


def test_report_built_anew_from_the_records_is_the_same(finished: tuple[Path, str], report: dict) -> None:
    page = (finished[0] / "report.html").read_bytes()
    command = [sys.executable, "-m", "search.report", "digits", "--studies-dir", str(finished[0].parent)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout == f"report: {finished[0] / 'report.html'}\n"
    assert json.loads((finished[0] / "report.json").read_text()) == report
    assert (finished[0] / "report.html").read_bytes() == page


def test_study_whose_test_set_is_open_takes_no_more_trials(finished: tuple[Path, str]) -> None:
    outcome = run_quick(finished[0].parent, "--trials", "4", "--refit-seeds", "2")
    assert outcome.returncode == 2
    assert outcome.stderr.count("\n") == 1
    assert "has opened its test set" in outcome.stderr


def test_study_with_another_seed_is_refused(finished: tuple[Path, str]) -> None:
    outcome = run_quick(finished[0].parent, "--trials", "3", "--seed", "1")
    assert outcome.returncode == 2
    assert re.fullmatch(r"error: study digits was made with .*start a new study with --study NAME\n", outcome.stderr)


def test_output_without_a_terminal_is_plain_timed_lines(finished: tuple[Path, str]) -> None:
    assert "\x1b" not in finished[1]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in finished[1].splitlines())


@contextmanager
def started(studies_dir: Path, *options: str, module: str = "search.run", **variables: str) -> Iterator[Popen[str]]:
    words, environment = command(studies_dir, *options, module=module), os.environ | variables
    process = Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for(process: Popen[str], text: str) -> str:
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"the run ended without saying {text!r}")


def trial_states(studies_dir: Path) -> list[str]:
    with sqlite3.connect(studies_dir / "digits" / "study.db", timeout=60) as connection:
        states = [state for (state,) in connection.execute("SELECT state FROM trials ORDER BY number")]
    connection.close()
    return states


def wait_for_a_trial(process: Popen[str], studies_dir: Path) -> None:
    """Return while a trial of the run is running: one may have ended and the next not have begun."""
    while "RUNNING" not in trial_states(studies_dir) and process.poll() is None:
        time.sleep(0.01)


def kill_in_a_trial(process: Popen[str], studies_dir: Path) -> None:
    """Kill a run while one of its trials is running: it stands still meanwhile, so that none ends."""
    while True:
        process.send_signal(signal.SIGSTOP)
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            assert process.poll() is None, "the run has ended"
            time.sleep(0.001)
        if "RUNNING" in trial_states(studies_dir):
            process.kill()
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.faults
def test_search_that_is_killed_and_stopped_goes_on_to_exactly_its_trials(tmp_path: Path) -> None:
    options = ("--space", str(QUICK), "--trials", "40", "--search-only")  # none of three runs comes to the end
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        with started(tmp_path, *options) as process:
            wait_for(process, "trials ")
            wait_for_a_trial(process, tmp_path)
            if number == signal.SIGKILL:
                kill_in_a_trial(process, tmp_path)
            else:
                process.send_signal(number)
                wait_for(process, "The same command goes on from here")
                assert process.wait(timeout=20) == 130
        assert ("RUNNING" in trial_states(tmp_path)) is (number == signal.SIGKILL), number
    outcome = run(tmp_path, *options)
    assert outcome.returncode == 0, outcome.stderr
    states = trial_states(tmp_path)
    assert len(states) == 40
    assert set(states) <= {"COMPLETE", "PRUNED", "FAIL"}  # a wild learning rate may diverge


def times_of_finished(folder: Path) -> dict[Path, int]:
    """When each record of what has been trained, and its model, was written."""
    files = [path for place in ("confirm", "refit") for path in (folder / place).glob("[!.]*")]
    times = {path: path.stat().st_mtime_ns for path in files if path.suffix in (".json", ".keras")}
    return {path: time for path, time in times.items() if path.with_suffix(".json") in times}


MOMENTS = ("finalist ", "student 0 ", "opening the test set")


@pytest.mark.timeout(900)  # a whole run, begun four times
@pytest.mark.slow
@pytest.mark.faults
def test_run_killed_in_each_phase_after_the_search_repeats_nothing_finished(tmp_path: Path) -> None:
    options = ("--space", str(QUICK), "--trials", "2", "--refit-seeds", "2", "--workers", "1", "--pruner", "none")
    finished: dict[Path, int] = {}
    for moment in MOMENTS:
        with started(tmp_path, *options) as process:
            wait_for(process, moment)
            process.send_signal(signal.SIGKILL)
        before, finished = finished, times_of_finished(tmp_path / "digits")
        assert finished and before.items() <= finished.items(), moment
    outcome = run(tmp_path, *options)
    assert outcome.returncode == 0, outcome.stderr
    assert finished.items() <= times_of_finished(tmp_path / "digits").items()
    assert len(json.loads((tmp_path / "digits" / "report.json").read_text())["finalists"]) == 2
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]  # what was half written when the kill came


@pytest.mark.slow
def test_printed_dashboard_command_works_while_the_search_writes(tmp_path: Path) -> None:
    """The trainings are fakes, which report more often; there are too many to end before the dashboard is there."""
    options, module = ("--trials", "5000", "--search-only", "--workers", "4"), "tests.support.training.fakes"
    with started(tmp_path, *options, module=module, **{SECONDS_VARIABLE: "0.2"}) as process:
        line = wait_for(process, "dashboard: ")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        printed = [sys.executable, *shlex.split(line.split("dashboard: ")[1])[1:], "--port", port]
        with Popen(printed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as dashboard:
            wait_for(process, "trials ")
            wait_for_answers(f"http://127.0.0.1:{port}/api/studies/1", 20)
            dashboard.terminate()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=20) == 130, rest
    assert "The same command goes on from here" in rest
    assert "locked" not in rest


def wait_for_answers(url: str, n: int) -> None:
    """Ask again and again until so many answers have come. An error of the server's is raised."""
    n_answers, deadline = 0, time.monotonic() + 180
    while n_answers < n:
        assert time.monotonic() < deadline, f"{n_answers} answers came"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                n_answers += answer.status == 200
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, TimeoutError):
            pass  # it takes seconds to start
        time.sleep(0.2)
