"""The contender `ours`: python -m search.run as shipped, in a process of its own; what it stored gives its curve."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna

from search.records.files import StudyFiles
from tests.benchmarks.peers.curves import HistoryMark, trial_points
from tests.benchmarks.peers.records import Assignment, Ledger

ROOT = Path(__file__).resolve().parents[3]
SMALL_SPACE = Path(__file__).with_name("small-space.toml")
STUDY = "study"
MANY_TRIALS = 1000  # the clock ends the search, not the budget


def compete(assignment: Assignment, ledger: Ledger, space: Path | None = None) -> None:
    """Run the tool and read its study. space: another space file than that of the images."""
    outcome = subprocess.run(_command(assignment, ledger, space), cwd=ROOT, check=False)
    if outcome.returncode != 0:
        raise RuntimeError(f"search.run ended with code {outcome.returncode}")
    files = StudyFiles(Path(assignment.folder) / STUDY)
    shutil.copyfile(files.model, assignment.files.model)
    if files.ensemble.exists():
        shutil.copyfile(files.ensemble, assignment.files.ensemble)
    _enter_trials(ledger, files, assignment.started)
    _enter_final_round(ledger, files)


def compete_in_small_space(assignment: Assignment, ledger: Ledger) -> None:
    compete(assignment, ledger, SMALL_SPACE)


def _command(assignment: Assignment, ledger: Ledger, space: Path | None) -> list[str]:
    options = {
        "--study": STUDY,
        "--studies-dir": assignment.folder,
        "--timeout": f"{ledger.seconds_left():.1f}",
        "--trials": MANY_TRIALS,
        "--seed": assignment.seed,
        "--dataset": assignment.images.dataset,
        "--data-dir": assignment.images.data_dir,
        "--image-size": assignment.images.image_size,
        "--space": space or assignment.images.space,
    }
    given = [[option, str(value)] for option, value in options.items() if value is not None]
    return [sys.executable, "-m", "search.run", *(word for pair in given for word in pair)]


def _enter_trials(ledger: Ledger, files: StudyFiles, benchmark_started: float) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{files.storage}")
    for trial in study.get_trials(deepcopy=False):
        n_images = trial.user_attrs.get("n_images", 0)
        if not n_images or trial.datetime_complete is None:
            continue  # infeasible, or killed before its first look
        ledger.began_trial()
        ledger.trained_on(n_images)
        points = trial_points(
            _marks(trial.user_attrs.get("history", ())),
            trial.intermediate_values,
            n_images,
            trial.datetime_start.timestamp() - benchmark_started,
            trial.datetime_complete.timestamp() - benchmark_started,
        )
        ledger.enter(points)


def _enter_final_round(ledger: Ledger, files: StudyFiles) -> None:
    """Finalists and students learn from the selection split, so that no curve shows them."""
    for record in [*files.read_confirm_records(), *files.read_student_records()]:
        ledger.trained_on(record.n_images)


def _marks(history: Iterable[dict[str, Any]]) -> list[HistoryMark]:
    return [HistoryMark(point["n_images"], point["seconds"], point["validation_accuracy"]) for point in history]
