"""Ctrl-C and a notebook's stop button in every phase of a run from Python: it ends soon, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
from optuna.trial import TrialState
from PIL import Image

from fmnist.training.history import HistoryPoint
from search import Callback, Interrupted, StudyConfig, open_objective, run_study
from search.callbacks.reporter import Reporter
from search.records.files import StudyFiles
from search.records.models import FINISHED_STATES, TrialRecord
from search.study.optuna_private import uncached_storage_of
from search.study.study import open_finished
from search.study.trials import read_trials
from tests.support.interrupts import PHASES, signalled, standing_still
from tests.support.kernel import kernel_in
from tests.support.spaces import QUICK

ROOT = Path(__file__).parents[2]
SOON = 10.0  # seconds; a machine that does nothing else takes less than one


def config_in(folder: Path, **options: Any) -> StudyConfig:
    given = {"trials": 4, "workers": 2, "refit_seeds": 2, "baselines": True, **options}
    return StudyConfig(study="s", dataset="digits", studies_dir=folder, **given)


def trials_of(config: StudyConfig) -> list[TrialRecord]:
    study = open_finished(StudyFiles(config.folder))
    try:
        return read_trials(study)
    finally:
        uncached_storage_of(study).engine.dispose()


def finished_of(trials: list[TrialRecord]) -> dict[int, TrialRecord]:
    return {trial.number: trial for trial in trials if trial.state in FINISHED_STATES}


def records_of(config: StudyConfig) -> dict[str, bytes]:
    """What the study's phases after the search have finished."""
    kept = {}
    for folder in ("confirm", "refit", "baselines"):
        for path in (config.folder / folder).glob("*"):
            kept[f"{folder}/{path.name}"] = path.read_bytes()
    return kept


def interrupted(config: StudyConfig, phase: str, **how: Any) -> float:
    """Run the study until it stands still in a phase, and press Ctrl-C there; seconds until it has ended."""
    begun = threading.Event()
    with signalled(begun) as sent, pytest.raises(KeyboardInterrupt):
        run_study(config, worker_processes=standing_still(phase, begun), **how)
    return time.monotonic() - sent[0]


@pytest.mark.studies
def test_ctrl_c_ends_every_phase_soon_and_the_same_call_goes_on_with_nothing_lost(tmp_path: Path) -> None:
    """Each resumed run ends in the next phase, so it shows what the one before has kept."""
    config = config_in(tmp_path)
    handler, threads = signal.getsignal(signal.SIGINT), set(threading.enumerate())
    seconds: dict[str, float] = {}
    trials: list[TrialRecord] = []
    records: dict[str, bytes] = {}
    for phase in PHASES:
        seconds[phase] = interrupted(config, phase)
        assert signal.getsignal(signal.SIGINT) is handler
        assert set(threading.enumerate()) == threads
        assert not list(config.folder.rglob(".*-*")) and not (config.folder / "split").exists()  # half-written, scratch
        trials_before, records_before = trials, records
        trials, records = trials_of(config), records_of(config)
        assert not [trial for trial in trials if trial.state == "running"]
        assert finished_of(trials_before).items() <= finished_of(trials).items()
        assert records_before.items() <= records.items()
    assert len(trials) == 4
    assert max(seconds.values()) < SOON, seconds


@pytest.mark.studies
def test_trials_that_ran_at_ctrl_c_run_again_under_their_numbers_and_with_their_parameters(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    interrupted(config, "trials", search_only=True)
    before = trials_of(config)
    assert {trial.state for trial in before} == {"waiting"}
    run_study(config, search_only=True, worker_processes=standing_still(None))
    after = trials_of(config)
    assert [trial.number for trial in after if trial.state in FINISHED_STATES] == [0, 1, 2, 3]
    for old, new in zip(before, after, strict=False):
        assert old.params.items() <= new.params.items()


@pytest.mark.studies
@pytest.mark.parametrize("phase", ["trials", "evaluate"])
def test_ctrl_c_again_and_again_breaks_no_clean_up(tmp_path: Path, phase: str) -> None:
    config, begun, threads = config_in(tmp_path, baselines=False), threading.Event(), set(threading.enumerate())
    is_running = True

    def press(number: int, frame: object) -> None:
        if is_running:  # a late one would end the tests
            raise KeyboardInterrupt

    def run() -> None:
        nonlocal is_running
        try:
            run_study(config, worker_processes=standing_still(phase, begun))
        finally:
            is_running = False

    before = signal.signal(signal.SIGINT, press)
    try:
        with signalled(begun, *[0.002] * 2000), pytest.raises(KeyboardInterrupt):
            run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert set(threading.enumerate()) == threads
    assert not [trial for trial in trials_of(config) if trial.state == "running"]
    interrupted(config, "evaluate")  # the study is free, and goes on from here
    assert len(finished_of(trials_of(config))) == 4


@pytest.mark.studies
def test_search_that_its_time_has_ended_is_not_taken_up_again_once_finalists_are_trained(tmp_path: Path) -> None:
    config = config_in(tmp_path, trials=1_000_000, timeout=10, refit_seeds=1, baselines=False)
    interrupted(config, "evaluate")
    before, finalists = trials_of(config), records_of(config)
    assert finalists and len(before) < config.trials
    interrupted(config, "evaluate")
    assert trials_of(config) == before
    assert finalists.items() <= records_of(config).items()
    run_study(config, search_only=True, worker_processes=standing_still(None))  # it may still be searched on
    assert len(trials_of(config)) > len(before)


class AtPhase(Reporter):
    """Sets an event when the run begins a phase of its own, without workers."""

    def __init__(self, phase: str, begun: threading.Event) -> None:
        self._phase = phase
        self._begun = begun

    def say(self, text: str, level: str = "", *, wrap: bool = True) -> None:
        if self._phase in text:
            self._begun.set()


@pytest.mark.studies
def test_ctrl_c_ends_the_reading_of_many_pictures_and_leaves_no_folder(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)  # slow to decode
    picture = tmp_path / "picture.png"
    Image.fromarray(pixels).save(picture, compress_level=0)
    for label in range(3):
        folder = tmp_path / "images" / f"class {label}"
        folder.mkdir(parents=True)
        for i in range(200):
            os.link(picture, folder / f"{i}.png")
    config = StudyConfig(study="s", dataset=str(tmp_path / "images"), image_size=32, studies_dir=tmp_path / "studies")
    begun, threads = threading.Event(), set(threading.enumerate())
    begun.set()
    with signalled(begun) as sent, pytest.raises(KeyboardInterrupt):
        run_study(config, worker_processes=standing_still(None))
    assert time.monotonic() - sent[0] < SOON
    assert set(threading.enumerate()) == threads
    assert not (tmp_path / "studies").exists()


@pytest.mark.studies
def test_run_in_another_thread_is_ended_by_its_event_and_touches_no_signal(tmp_path: Path) -> None:
    config, stop, begun = config_in(tmp_path), threading.Event(), threading.Event()
    handler, outcome = signal.getsignal(signal.SIGINT), []

    def run() -> None:
        try:
            run_study(config, stop=stop, worker_processes=standing_still("trials", begun))
        except BaseException as error:
            outcome.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(60)
    assert signal.getsignal(signal.SIGINT) is handler
    stop.set()
    thread.join(SOON)
    assert outcome == [Interrupted]
    assert {trial.state for trial in trials_of(config)} == {"waiting"}


class Raising(Callback):
    """Has a bug, of any kind, in one training."""

    def __init__(self, label: str, error: BaseException) -> None:
        self._label = label
        self._error = error

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        if label.startswith(self._label):
            raise self._error


@pytest.mark.studies
@pytest.mark.parametrize(
    ("label", "error"),
    [
        ("trial 2", KeyboardInterrupt("mine")),
        ("finalist", ZeroDivisionError("mine")),
        ("conv-", KeyboardInterrupt("mine")),
    ],
)
def test_what_a_callback_raises_comes_out_with_its_trace_and_the_study_goes_on(
    tmp_path: Path, label: str, error: BaseException
) -> None:
    config, threads = config_in(tmp_path), set(threading.enumerate())
    with pytest.raises(type(error), match="mine") as caught:
        run_study(config, callbacks=[Raising(label, error)], worker_processes=standing_still(None))
    assert "on_evaluation" in {entry.name for entry in caught.traceback}
    assert set(threading.enumerate()) == threads
    assert not [trial for trial in trials_of(config) if trial.state == "running"]
    before = records_of(config)
    interrupted(config, "evaluate")
    assert before.items() <= records_of(config).items()
    assert len(trials_of(config)) == 4


@pytest.mark.studies
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.follows("the objective of open_objective must be opened in a with block")
def test_ctrl_c_ends_a_study_of_ones_own_soon_and_its_objective_goes_on(tmp_path: Path, n_jobs: int) -> None:
    config, begun = config_in(tmp_path, workers=2), threading.Event()
    with open_objective(config, worker_processes=standing_still("trials", begun)) as objective:
        study = optuna.create_study(direction="maximize", pruner=objective.pruner)
        for n_interrupts in (1, 2):
            begun.clear()
            with signalled(begun) as sent, pytest.raises(KeyboardInterrupt):
                study.optimize(objective, n_trials=6, n_jobs=n_jobs)
            assert time.monotonic() - sent[0] < SOON
            assert {trial.state for trial in study.trials} == {TrialState.FAIL}
            assert {trial.user_attrs["reason"] for trial in study.trials} == {"interrupted"}
            assert len(study.trials) <= n_interrupts * n_jobs
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


SCRIPT = """
import signal, sys, threading
from search import Callback, StudyConfig, run_study
from tests.support.training.fakes import fake_workers

class Saying(Callback):
    def on_evaluation(self, label, point, best_accuracy):
        print("evaluated", label, flush=True)

if __name__ == "__main__":
    config = StudyConfig(study="s", dataset="digits", trials=4, workers=2, studies_dir=sys.argv[1])
    run_study(config, search_only=True, callbacks=[Saying()], worker_processes=fake_workers)
    print("done", flush=True)
"""


@pytest.mark.process
def test_ctrl_c_ends_a_script_with_its_processes_as_it_ends_any_python(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FAKE_SECONDS": "1"}
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert "evaluated trial" in process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
        _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT  # which a shell reports as 130
    assert said.rstrip().splitlines()[-1] == "KeyboardInterrupt"
    assert "Interrupted" not in said
    _, alive = psutil.wait_procs(children, timeout=10)
    assert children and not alive
    config = StudyConfig(study="s", dataset="digits", trials=4, workers=2, studies_dir=tmp_path)
    assert {trial.state for trial in trials_of(config)} == {"waiting"}
    again = subprocess.run(command, cwd=ROOT, env=environment | {"FAKE_SECONDS": "0"}, capture_output=True, text=True)
    assert again.stdout.splitlines()[-1] == "done", again.stderr


CELL = """
import sys; sys.path.insert(0, {root!r})
import os, signal, threading
from search import StudyConfig, Terminal, run_study
from tests.support.interrupts import standing_still
config = StudyConfig(study="s", dataset="digits", trials=4, workers=2, studies_dir={folder!r}, refit_seeds=2)
class Telling:
    def set(self): print("begun", flush=True)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, "before")
"""


@pytest.mark.process
def test_stop_button_of_a_notebook_ends_the_cell_in_every_phase_and_the_cell_goes_on_when_run_again(
    tmp_path: Path,
) -> None:
    pytest.importorskip("ipykernel", reason="needs the extra test")
    manager_of = pytest.importorskip("jupyter_client.manager", reason="needs the extra test")
    manager, client = manager_of.start_new_kernel(kernel_name="python3")
    try:
        run_cell(client, CELL.format(root=str(ROOT), folder=str(tmp_path)))
        for phase in ("trials", "confirm", "refit", "average", "evaluate"):
            code = f"run_study(config, Terminal(), worker_processes=standing_still({phase!r}, Telling()))"
            seconds, reply = run_cell(client, code, when_begun=manager.interrupt_kernel)
            assert reply["ename"] == "KeyboardInterrupt", reply
            assert len(reply["traceback"]) < 10  # frames: of the cell and the call
            assert seconds < SOON
        _, reply = run_cell(client, "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler")
        assert reply["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    config = StudyConfig(study="s", dataset="digits", trials=4, workers=2, studies_dir=tmp_path, refit_seeds=2)
    assert len([trial for trial in trials_of(config) if trial.state in FINISHED_STATES]) == 4


def run_cell(client: Any, code: str, when_begun: Any = None) -> tuple[float, dict[str, Any]]:
    """Run a cell, and call a function when it prints "begun"; seconds from then on, and the kernel's reply."""
    message = client.execute(code, stop_on_error=False)  # else the kernel drops what comes soon after
    started = time.monotonic()
    while when_begun is not None:
        said = client.get_iopub_msg(timeout=60)
        content = said["content"]
        if said["parent_header"].get("msg_id") != message:  # of the cell before
            continue
        if "begun" in content.get("text", ""):
            time.sleep(0.05)
            started = time.monotonic()
            when_begun()
            break
        assert "ename" not in content, content
    while True:
        reply = client.get_shell_msg(timeout=60)
        if reply["parent_header"].get("msg_id") == message:
            return time.monotonic() - started, reply["content"]


REAL_CELL = """
import time
from pathlib import Path
from search import Callback, StudyConfig, Terminal, run_study

class Waiting(Callback):  # so that the run cannot end before it is interrupted, however fast it is
    def on_training_start(self, label, what, n_planned_images):
        while label == "trial 1" and not Path("interrupted").exists():
            time.sleep(0.01)

config = StudyConfig(study="s", dataset="digits", trials=3, workers=1, refit_seeds=1, space="quick.toml")
study = run_study(config, Terminal(), callbacks=[Waiting()])
study
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(900)
def test_stop_button_ends_a_real_search_and_its_cell_finishes_the_study_when_run_again(tmp_path: Path) -> None:
    shutil.copyfile(QUICK, tmp_path / "quick.toml")
    config = StudyConfig(study="s", dataset="digits", studies_dir=tmp_path / "studies")
    pressed: list[float] = []
    with kernel_in(tmp_path) as kernel:

        def press_stop() -> None:
            pressed.append(time.monotonic())
            kernel.interrupt()
            (tmp_path / "interrupted").touch()

        stopped = kernel.run(REAL_CELL, when=r"trials 1/3 ", act=press_stop)
        seconds, before = time.monotonic() - pressed[0], finished_of(trials_of(config))
        again = kernel.run(REAL_CELL)
        assert kernel.run("print(study.is_finished)").printed == "True\n"
    assert stopped.error == "KeyboardInterrupt" and seconds < SOON
    (output,) = stopped.outputs
    assert "stopped after " in output["text/html"] and "the same call goes on from here" in output["text/plain"]
    assert 0 in before
    assert again.error is None and before.items() <= finished_of(trials_of(config)).items()
    run, card = again.outputs
    assert "done in " in run["text/html"] and "test accuracy" in card["text/html"]
    assert stopped.complaints == again.complaints == ""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(900)
def test_real_study_that_is_interrupted_again_and_again_comes_to_its_end(tmp_path: Path) -> None:
    config = config_in(tmp_path, trials=2, refit_seeds=1, baselines=False, export=("keras",), space=QUICK)
    phases = ["study s", "opening the test set", "exporting best.keras"]
    seconds = {}
    for phase in phases:
        begun = threading.Event()
        with signalled(begun) as sent, pytest.raises(KeyboardInterrupt):
            run_study(config, AtPhase(phase, begun))
        seconds[phase] = time.monotonic() - sent[0]
    study = run_study(config)
    assert study.is_finished and [trial.number for trial in study.trials] == [0, 1]
    assert study.exports[0].failure is None
    begun = threading.Event()
    with signalled(begun) as sent, pytest.raises(KeyboardInterrupt):  # while the report is written again
        run_study(config, AtPhase("is finished", begun))
    seconds["report"] = time.monotonic() - sent[0]
    again = run_study(config)
    assert json.loads(again.files.report_json.read_text())["test"]["accuracy"]["mean"] == study.test_mean
    assert not [path for path in tmp_path.rglob(".*") if path.is_file() and not re.search("lock", path.name)]
    assert max(seconds.values()) < SOON, seconds
