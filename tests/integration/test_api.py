"""The tool from Python: a whole study as the command makes it, and its objective in a study of one's own."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

import search
from fmnist.errors import UserError
from fmnist.training.history import HistoryPoint
from search import Callback, FinishedStudy, Interrupted, StudyConfig, StudyResult, Terminal, open_objective, run_study
from search.callbacks.reporter import Reporter
from search.records.files import StudyFiles
from search.records.io import read_json
from search.records.models import FINISHED_STATES, BestRecipe
from search.refit.__main__ import main as refit_main
from search.study.study import open_finished
from search.study.trials import read_trials
from tests.support.spaces import QUICK
from tests.support.training.fakes import fake_workers

ROOT = Path(__file__).parents[2]


EXAMPLES = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs/python-api.md").read_text(encoding="utf-8"), flags=re.DOTALL
)


def example(word: str, folder: Path) -> dict[str, Any]:
    """Run the example of docs/python-api.md with this word in that folder, with quick trainings. Returns its names."""
    (code,) = (each for each in EXAMPLES if word in each)
    code, n_changed = re.subn('dataset="digits"', f'dataset="digits", space={str(QUICK)!r}', code)
    assert n_changed == 1
    names: dict[str, Any] = {}
    with contextlib.chdir(folder):
        exec(code, names)
    return names


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedStudy]:
    """A small study of the digits, made by the example of docs/python-api.md."""
    folder = tmp_path_factory.mktemp("api")
    study = example("test_interval", folder)["study"]
    with contextlib.chdir(folder):  # its paths are relative
        yield study


@pytest.mark.process
def test_a_study_made_from_python_gives_the_records_that_the_command_writes(finished: FinishedStudy) -> None:
    written = json.loads(finished.files.report_json.read_text())
    assert finished.test_mean == written["test"]["accuracy"]["mean"] > 0.8
    assert [trial.number for trial in finished.trials] == [0, 1, 2]
    assert finished.winner.trial == written["best"]["trial"]
    assert finished.files.model.exists()


@pytest.mark.process
def test_callback_is_called_in_every_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = example("Callback", tmp_path)["callback"]
    assert set(callback.by_label) == {"trial 0", "trial 1"}
    assert all(0.5 < accuracy <= 1 for accuracy in callback.by_label.values())
    said = capsys.readouterr().out.splitlines()
    for label, accuracy in callback.by_label.items():
        assert any(line.startswith(f"{label} {accuracy} ") for line in said)


@pytest.mark.process
def test_run_in_a_thread_is_stopped_by_the_callers_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("Interrupted", tmp_path)
    assert capsys.readouterr().out == "stopped; the same call goes on from here\n"


class Raising(Callback):
    """Hears of two trials to their ends, then has a bug."""

    def __init__(self) -> None:
        self.n_ended = 0

    def on_evaluation(self, label: str, point: HistoryPoint, best_accuracy: float | None) -> None:
        if self.n_ended == 2:
            raise ZeroDivisionError(f"in {label}")

    def on_training_end(self, label: str, reason: str) -> None:
        self.n_ended += 1


@pytest.mark.process
def test_bug_in_a_callback_ends_the_run_with_its_trace_and_loses_no_trial(tmp_path: Path) -> None:
    config = StudyConfig(study="s", dataset="digits", trials=6, workers=1, studies_dir=tmp_path)
    how = {"search_only": True, "worker_processes": fake_workers}
    with pytest.raises(ZeroDivisionError, match="in trial 2") as caught:
        run_study(config, callbacks=[Raising()], **how)
    assert "on_evaluation" in {entry.name for entry in caught.traceback}
    before = read_trials(open_finished(StudyFiles(config.folder)))
    assert [trial.state for trial in before[:3]] == ["complete", "complete", "waiting"]

    run_study(config, **how)
    after = read_trials(open_finished(StudyFiles(config.folder)))
    assert after[:2] == before[:2]
    assert [trial.number for trial in after if trial.state in FINISHED_STATES] == list(range(6))


def searched(folder: Path, **options: Any) -> StudyResult:
    """A study of four trials whose test set stays unopened."""
    config = StudyConfig(study="s", dataset="digits", trials=4, workers=1, studies_dir=folder, **options)
    return run_study(config, search_only=True, worker_processes=fake_workers)


@pytest.mark.process
def test_unfinished_study_has_its_trials_and_says_how_to_get_test_figures(tmp_path: Path) -> None:
    study = searched(tmp_path)
    assert type(study) is StudyResult
    assert not study.is_finished
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    complete = [trial for trial in study.trials if trial.value is not None]
    assert study.best_trial == max(complete, key=lambda trial: trial.value)
    assert study.config["dataset"] == "digits"
    for figure in ("winner", "recipe", "evaluation", "test_accuracies", "test_mean", "test_sd", "test_interval"):
        with pytest.raises(RuntimeError, match=rf"{figure} needs a finished study, but s has .*search_only=True"):
            getattr(study, figure)


@pytest.mark.process
def test_finished_study_is_a_study_result_too(finished: FinishedStudy) -> None:
    assert isinstance(finished, StudyResult) and finished.is_finished
    assert finished.best_trial in finished.trials
    assert finished.recipe.to_dict() == finished.winner.recipe


@pytest.mark.process
def test_run_from_python_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    searched(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.process
def test_run_shows_itself_in_the_terminal_that_it_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = StudyConfig(study="s", dataset="digits", trials=2, workers=1, studies_dir=tmp_path)
    run_study(config, Terminal(), search_only=True, worker_processes=fake_workers)
    assert "the search is complete: " in capsys.readouterr().out


class Counting(Reporter):
    """Counts how often a run begins and ends to be shown, and how it ended."""

    def __init__(self) -> None:
        self.n_begun = 0
        self.endings: list[type[BaseException] | None] = []

    def __enter__(self) -> Counting:
        self.n_begun += 1
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *error: object) -> None:
        self.endings.append(kind)


@pytest.mark.process
def test_run_begins_and_ends_what_shows_it(tmp_path: Path) -> None:
    """So that it redraws without a `with` of the caller's."""
    reporter = Counting()
    config = StudyConfig(study="s", dataset="digits", trials=2, workers=1, studies_dir=tmp_path)
    how = {"search_only": True, "worker_processes": fake_workers}
    run_study(config, reporter, **how)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        run_study(config, reporter, stop, **how)
    assert (reporter.n_begun, reporter.endings) == (2, [None, Interrupted])


@pytest.mark.process
def test_run_from_python_leaves_logging_warnings_and_environment_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"):
        monkeypatch.delenv(name, raising=False)

    def state() -> dict[str, object]:
        loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
        levels = {logger.name: logger.level for logger in loggers if logger.level != logging.NOTSET}
        return {"levels": levels, "filters": list(warnings.filters), "environment": dict(os.environ)}

    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    before = state()
    searched(tmp_path)
    assert state() == before
    with pytest.raises(UserError):
        searched(tmp_path, seed=1)
    assert state() == before


@pytest.mark.process
def test_objective_serves_a_plain_study_of_optuna(tmp_path: Path) -> None:
    study = example("open_objective", tmp_path)["study"]
    assert len(study.trials) == 4
    for trial in study.trials:  # of a free draw of the whole space, one in fifty diverges
        diverged = trial.state is TrialState.FAIL and "(diverged)" in trial.user_attrs["reason"]
        assert diverged or trial.state in (TrialState.COMPLETE, TrialState.PRUNED), trial.user_attrs["reason"]
    assert any(trial.intermediate_values for trial in study.trials)
    assert list(tmp_path.iterdir()) == []


def test_objective_of_images_that_are_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"), open_objective(StudyConfig(study="s", dataset="nowhere")):
        pass


def test_what_the_package_offers_is_there_and_nothing_else() -> None:
    assert all(getattr(search, name) for name in search.__all__)
    with pytest.raises(AttributeError, match="no attribute 'run_studdy'"):
        search.run_studdy  # noqa: B018


@pytest.mark.timeout(900)  # a whole study, and its model once more
@pytest.mark.slow
def test_recipe_alone_gives_the_study_s_model_to_the_bit(
    finished: FinishedStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "best_recipe.json"
    recipe.write_bytes(finished.files.best_recipe.read_bytes())
    best = read_json(BestRecipe, recipe)
    assert [each.test_accuracy for each in best.retrainings] == list(finished.test_accuracies)

    again = tmp_path / "again.keras"
    assert refit_main(["--recipe", str(recipe), "--out", str(again), "--seed", str(best.retrainings[-1].seed)]) == 0
    assert "exactly what the study measured with this seed" in capsys.readouterr().out
    assert weights_of(again) == weights_of(finished.files.refit_model(len(best.retrainings) - 1))


def weights_of(model: Path) -> bytes:
    """Every weight of a .keras file, by Keras in a process of its own."""
    script = (
        "import sys, keras; model = keras.saving.load_model(sys.argv[1]);"
        "sys.stdout.buffer.write(b''.join(weight.tobytes() for weight in model.get_weights()))"
    )
    child = subprocess.run([sys.executable, "-c", script, str(model)], capture_output=True, check=True)
    assert len(child.stdout) > 1000
    return child.stdout


@pytest.mark.process
def test_recipe_of_other_images_is_refused(finished: FinishedStudy, tmp_path: Path, capsys) -> None:
    recipe = tmp_path / "best_recipe.json"
    content = json.loads(finished.files.best_recipe.read_text())
    name = next(iter(content["data_checksums"]))
    recipe.write_text(json.dumps({**content, "data_checksums": {name: "0"}}))
    assert refit_main(["--recipe", str(recipe), "--out", str(tmp_path / "x.keras")]) == 2
    said = capsys.readouterr().err
    assert re.search(r"^error: .* must be as it was in the study \(checksum 0\).*pass the study's images", said)
    assert list(tmp_path.iterdir()) == [recipe]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--recipe", "nowhere.json"], r"nowhere.json cannot be read"),
        (["--recipe", "README.md"], r"README.md cannot be read \(Invalid JSON"),
        (["--recipe", "pyproject.toml", "--out", "model.h5"], r"suffix .keras, but got model.h5"),
        (
            ["--recipe", "x.json", "--out", "nowhere/x.keras"],
            r"cannot write to nowhere/x.keras \(nowhere is no folder\); .*--out",
        ),
        (["--recipe", "x.json", "--seed", "-1"], r"--seed must be between 0 and \d+, but got -1"),
        ([], r"--recipe; see python -m search.refit --help"),
    ],
)
def test_bad_options_of_a_retraining_are_said_in_one_line(options: list[str], said: str, capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    assert refit_main(options) == 2
    error = capsys.readouterr().err
    assert re.search(said, error) and error.count("\n") == 1


@pytest.mark.process
def test_guide_names_every_file_that_a_study_leaves(finished: FinishedStudy) -> None:
    guide = finished.files.guide.read_text()
    left = {path.name for path in finished.files.root.iterdir()} - {"README.md"}
    assert [name for name in sorted(left) if f"`{name}" not in guide] == []
