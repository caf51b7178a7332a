"""What Optuna's dashboard shows of a study, who may ask it, and that it ends with the run that it stands beside."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
import optuna_dashboard
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.artifacts.exceptions import ArtifactNotFound
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from fmnist.training.history import HistoryPoint
from search.dashboard import artifacts
from search.dashboard.__main__ import main
from search.dashboard.artifacts import DrawnArtifacts
from search.dashboard.beside import beside_run, dashboard_command
from search.dashboard.notes import read_note, save_note
from search.dashboard.publish import DashboardPublisher, mark_finished, publish_report
from search.dashboard.server import guarded
from search.records.files import StudyFiles
from search.report.page import report_study
from search.study.objective import Outcome, RungEnd
from search.study.storage import open_storage
from search.study.study import open_finished
from tests.support.made_study import Made, make_study, store_trials

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BLOCKS = (Block(16, 1, 3), Block(32, 3, 3, dropout=0.1, residual=True))
RECIPE = Recipe(Architecture((16, 16, 1), 3, BLOCKS, dense_units=(20,), head_dropout=0.2), TrainingPlan())
NAMES = ("boot", "bag with $igns", "coat")


def rung(n_images: int, n_before: int) -> RungEnd:
    marks = range(n_images // 4, n_images + 1, n_images // 4)
    history = [HistoryPoint(mark, 1.0, 1e-3, 1.0, 0.6, 0.9, 0.5 + mark / n_images / 4) for mark in marks]
    return RungEnd(tuple(history), n_before, np.array([[20, 0, 1], [3, 18, 0], [0, 0, 25]]))


FAR = Outcome(RECIPE, "pruned after 4,000 images", 0.75, 12.0, (rung(1000, 0), rung(4000, 1000)), got_far=True)
NEAR = Outcome(RECIPE, "pruned after 1,000 images", 0.75, 2.0, (rung(1000, 0),), got_far=False)


@pytest.fixture
def files(tmp_path: Path) -> StudyFiles:
    files = StudyFiles(tmp_path / "mine")
    files.root.mkdir()
    return files


@pytest.fixture
def study(files: StudyFiles) -> optuna.Study:
    return optuna.create_study(study_name="mine", storage=open_storage(f"sqlite:///{files.storage}"))


def ended_trial(study: optuna.Study, files: StudyFiles, outcome: Outcome) -> optuna.trial.FrozenTrial:
    """A trial as the objective leaves it."""
    trial = study.ask()
    trial.set_user_attr("recipe", outcome.recipe.to_dict())
    DashboardPublisher(study, files, 5, (1000, 4000, 16000)).store_trial(trial, outcome)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return study.trials[trial.number]


# --- pictures and notes of trials


def test_trial_that_got_far_has_pictures_and_a_note(study: optuna.Study, files: StudyFiles) -> None:
    trial = ended_trial(study, files, FAR)
    found = get_all_artifact_meta(trial, storage=study._storage)
    assert {it.filename for it in found} == {"learning-curve.png", "confusion-matrix.png", "network.png"}
    store = DrawnArtifacts(files.artifacts, study._storage, NAMES)
    files.artifacts.mkdir()
    for it in found:
        with store.open_reader(it.artifact_id) as drawn, store.open_reader(it.artifact_id) as kept:
            png = drawn.read()
            assert Image.open(io.BytesIO(png)).width > 400
            assert kept.read() == png
    note = note_of(study, trial.number)
    assert "pruned after 4,000 images; 75.00 % selection accuracy" in note
    assert "3 convolutions 3 x 3 of 32 filters, residual, dropout 0.1" in note
    assert "AdamW" in note


def note_of(study: optuna.Study, number: int) -> str:
    """As the dashboard itself reads it."""
    return optuna_dashboard.get_note(optuna.trial.Trial(study, study.trials[number]._trial_id))


def test_trial_that_ended_early_has_a_note_alone(study: optuna.Study, files: StudyFiles) -> None:
    trial = ended_trial(study, files, NEAR)
    assert get_all_artifact_meta(trial, storage=study._storage) == []
    assert "pruned after 1,000 images" in note_of(study, trial.number)


def test_trial_that_runs_again_has_its_pictures_once(study: optuna.Study, files: StudyFiles) -> None:
    trial = study.ask()
    for _ in range(2):
        DashboardPublisher(study, files, 5, (1000, 4000)).store_trial(trial, FAR)
    assert len(get_all_artifact_meta(trial)) == 3


def test_full_folder_keeps_no_more_pictures_and_shows_them_all_the_same(
    study: optuna.Study, files: StudyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = ended_trial(study, files, FAR)
    files.artifacts.mkdir()
    monkeypatch.setattr(artifacts, "MOST_BYTES", 1000)
    store = DrawnArtifacts(files.artifacts, study._storage, NAMES)
    for it in get_all_artifact_meta(trial, storage=study._storage):
        assert store.open_reader(it.artifact_id).read().startswith(b"\x89PNG")
    assert list(files.artifacts.iterdir()) == []


def test_picture_that_nothing_is_known_of_is_not_found(study: optuna.Study, files: StudyFiles) -> None:
    store = DrawnArtifacts(files.artifacts, study._storage, None)
    for artifact_id in ("00000000-00", "0000ffff-01", "6b0b7ee2-47b6-4d5c-a8d5-3a9f8a3f9c11"):
        with pytest.raises(ArtifactNotFound):
            store.open_reader(artifact_id)


# --- the study's note


def test_shorter_note_leaves_nothing_of_the_longer_one(study: optuna.Study) -> None:
    save_note(study, "long " * 1000)
    save_note(study, "short")
    assert optuna_dashboard.get_note(study) == read_note(study) == "short"


def test_note_says_what_became_of_a_run(study: optuna.Study, files: StudyFiles) -> None:
    files.command.write_text("python -m search.run --study mine\n")
    with DashboardPublisher(study, files, 5, (1000, 4000)).open():
        assert read_note(study).startswith("## mine: running: searching\n")
        assert "`python -m search.run --study mine`" in read_note(study)
    assert read_note(study).startswith("## mine: interrupted\n")


def test_note_of_a_killed_run_is_set_right(study: optuna.Study, files: StudyFiles) -> None:
    DashboardPublisher(study, files, 5, (1000, 4000)).set_phase("searching")
    mark_finished(study, files)
    assert read_note(study).startswith("## mine: interrupted\n")


def test_note_that_its_owner_has_written_is_left_alone(study: optuna.Study, files: StudyFiles) -> None:
    save_note(study, "mine: don't touch")
    mark_finished(study, files)
    assert read_note(study) == "mine: don't touch"


def test_finished_study_shows_key_figures_and_pictures_of_its_report(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(n_trials=12))
    store_trials(files, trials)
    study = open_finished(files)
    for _ in range(2):  # built again, it has them once
        study_result = report_study(files, study)
        publish_report(study, study_result)
    note = optuna_dashboard.get_note(study)
    assert f"Test accuracy {100 * study_result.test_mean:.2f} %" in note
    assert f"Winner: trial {study_result.winner.trial}" in note
    found = get_all_artifact_meta(study)
    assert {"search-history.png", "finalists.png", "confusion-matrix.png"} <= {it.filename for it in found}
    assert len({it.filename for it in found}) == len(found)
    store = DrawnArtifacts(files.artifacts, study._storage, None)
    assert all(store.open_reader(it.artifact_id).read().startswith(b"\x89PNG") for it in found)


# --- the command


def test_study_that_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing", "--studies-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: the dashboard needs a study of {tmp_path}, but got nothing, which it has not; "
        "pass the folder of your studies as --studies-dir\n"
    )
    assert main(["nothing", "--storage", f"sqlite:///{tmp_path}/no.db"]) == 2
    assert "no.db is missing" in capsys.readouterr().err
    assert not (tmp_path / "no.db").exists()


def test_study_whose_database_is_gone_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_study(tmp_path / "made", Made(n_trials=4))
    assert main(["made", "--studies-dir", str(tmp_path)]) == 2
    assert "study.db is missing" in capsys.readouterr().err


def test_port_that_is_taken_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store_trials(*make_study(tmp_path / "made", Made(n_trials=4)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["made", "--studies-dir", str(tmp_path), "--port", str(port)]) == 2
    assert f"but {port} is not (Address already in use)" in capsys.readouterr().err


@pytest.mark.process
def test_help_answers_without_optuna() -> None:
    script = "import sys, search.dashboard.__main__ as it; it.parse(['--help'])"
    loaded = "import atexit, sys; atexit.register(lambda: print('optuna' in sys.modules))"
    child = subprocess.run([sys.executable, "-c", f"{loaded}; {script}"], cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert child.stdout.endswith("False\n")
    assert "--storage" in child.stdout


def test_printed_command_holds_no_password(files: StudyFiles) -> None:
    assert dashboard_command(StudyFiles(Path("studies/mine")), None) == "python -m search.dashboard mine"
    said = dashboard_command(files, "postgresql://me:s3cret@host/db")
    assert (
        said == f"python -m search.dashboard mine --studies-dir {files.root.parent} --storage postgresql://me@host/db"
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_HOST": "127.0.0.1:8080"}, 200),
        ({"HTTP_HOST": "localhost:9000", "HTTP_ORIGIN": "http://localhost:9000"}, 200),
        ({"HTTP_HOST": "127.0.0.1:8080", "HTTP_ORIGIN": "https://elsewhere.example"}, 403),
        ({"HTTP_HOST": "127.0.0.1:8080", "HTTP_ORIGIN": "null"}, 403),
        ({"HTTP_HOST": "elsewhere.example:8080"}, 403),
        ({}, 403),
    ],
)
def test_pages_of_other_sites_get_no_answer(headers: dict[str, str], status: int) -> None:
    def application(environ: dict, start_response: Callable) -> list[bytes]:
        start_response("200 OK", [])
        return []

    answered: list[str] = []
    guarded(application)(dict(headers), lambda status, _: answered.append(status))
    assert [int(it.split()[0]) for it in answered] == [status]


# --- beside a run


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError):  # also cut in the middle
        return False


@pytest.mark.process
def test_dashboard_beside_a_run_ends_with_it(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(n_trials=4))
    store_trials(files, trials)
    said: list[str] = []
    with beside_run(files, None, said.append):
        wait_until(lambda: bool(said))
        url = said[0].removeprefix("dashboard: ")
        assert url.startswith("http://127.0.0.1:")
        assert answers(url)
        assert answers(url.partition("/dashboard")[0] + "/static/bundle.js")  # without an Accept-Encoding
    assert not answers(url)
    assert len(said) == 1


RUN = """
import sys, time
from pathlib import Path
from search.dashboard.beside import beside_run
from search.records.files import StudyFiles
with beside_run(StudyFiles(Path(sys.argv[1])), None, lambda text: print(text, flush=True)):
    time.sleep(600)
"""


@pytest.mark.process
@pytest.mark.faults
def test_dashboard_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(n_trials=4))
    store_trials(files, trials)
    command = [sys.executable, "-c", textwrap.dedent(RUN), str(files.root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        url = run.stdout.readline().split()[-1]
        assert answers(url)
        run.send_signal(signal.SIGKILL)
        run.wait()
        wait_until(lambda: not answers(url), seconds=20)


@pytest.mark.process
@pytest.mark.faults
def test_dashboard_that_cannot_start_is_said_once_and_ends_nothing(files: StudyFiles) -> None:
    said: list[str] = []
    with beside_run(files, None, said.append):  # there is no such study
        wait_until(lambda: bool(said))
    assert len(said) == 1
    assert said[0].startswith("the dashboard has ended (error: the dashboard needs a study of")
    assert said[0].endswith("the search goes on without it")


# --- in a browser


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> StudyFiles:
    folder = tmp_path_factory.mktemp("studies")
    options = ("--dataset", "digits", "--trials", "5", "--refit-seeds", "1", "--dashboard")
    command = [sys.executable, "-m", "search.run", *options, "--studies-dir", str(folder)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "dashboard: http://127.0.0.1:" in outcome.stdout
    return StudyFiles(folder / "digits")


@contextmanager
def browsing(files: StudyFiles) -> Iterator[tuple[Page, str, list[str]]]:
    """A page, the address of the study, and what the browser complains about."""
    command = [sys.executable, "-m", "search.dashboard", files.root.name, "--studies-dir", str(files.root.parent)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with (
        subprocess.Popen([*command, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as it,
        sync_playwright() as playwright,
    ):
        address = it.stdout.readline().split()[-1]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, complaints = browser.new_page(viewport={"width": 1400, "height": 1000}), []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda got: complaints.append(got.url) if got.status >= 400 else None)
        try:
            yield page, address, complaints
            it.send_signal(signal.SIGINT)
            assert it.wait(timeout=20) == 0
        finally:
            it.kill()
            browser.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt-get install chromium")
def test_browser_shows_history_importance_notes_and_pictures_of_a_real_study(digits: StudyFiles) -> None:
    expect.set_options(timeout=30_000)  # of a busy machine
    with browsing(digits) as (page, address, complaints):
        page.goto(address)
        expect(page.get_by_text("selection accuracy").first).to_be_visible()
        expect(page.get_by_role("heading", name="Hyperparameter Importance")).to_be_visible()
        page.goto(f"{address}/note")
        expect(page.get_by_role("heading", name="digits: complete")).to_be_visible()
        expect(page.get_by_text("Test accuracy").first).to_be_visible()
        page.goto(f"{address}/trials?numbers=0")
        expect(page.get_by_text("of the portfolio): trained to the end")).to_be_visible()
        pictures = page.locator('img[src^="/artifacts/"]')
        expect(pictures).to_have_count(3)
        page.wait_for_function("[...document.images].every(it => it.complete && it.naturalWidth > 400)")
        assert min(it.bounding_box()["width"] for it in pictures.all()) > 400
        wide, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= shown
        assert complaints == []
