"""A run inside other programs: one after the other, in threads, in an event loop, in forked and daemonic processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from fmnist.errors import UserError
from search import Callback, StudyConfig, StudyResult, open_objective, run_study
from search.records.io import read_plain
from tests.support.training.fakes import fake_workers

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def searched(folder: Path, name: str = "s", **options: Any) -> StudyResult:
    """A study of two trials whose test set stays unopened."""
    config = StudyConfig(name, **{"dataset": "digits", "trials": 2, "workers": 1, "studies_dir": folder} | options)
    return run_study(config, search_only=True, worker_processes=fake_workers)


def test_one_study_after_the_other_and_the_same_again(tmp_path: Path) -> None:
    first, other = searched(tmp_path), searched(tmp_path, "other", seed=1)
    assert [len(study.trials) for study in (first, other)] == [2, 2]
    assert searched(tmp_path).trials == first.trials


@pytest.fixture
def verbosity() -> Iterator[None]:
    """Of Optuna's, another than the usual one."""
    usual = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    yield
    optuna.logging.set_verbosity(usual)


@pytest.mark.usefixtures("verbosity")
def test_two_studies_in_two_threads_leave_the_process_as_it_was(tmp_path: Path) -> None:
    def state() -> tuple[object, ...]:
        stderr = os.fstat(2)
        return optuna.logging.get_verbosity(), list(warnings.filters), dict(os.environ), (stderr.st_dev, stderr.st_ino)

    before = state()
    with ThreadPoolExecutor(2) as threads:
        studies = list(threads.map(lambda name: searched(tmp_path, name), ["a", "b"]))
    assert [len(study.trials) for study in studies] == [2, 2]
    assert state() == before


def test_inside_a_running_event_loop(tmp_path: Path) -> None:
    async def program() -> StudyResult:
        return searched(tmp_path)

    assert len(asyncio.run(program()).trials) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [
        "process = multiprocessing.get_context('fork').Process(target=work, daemon=True)",
        "process = multiprocessing.get_context('spawn').Process(target=work, daemon=True)",
        "work('before'); process = multiprocessing.get_context('fork').Process(target=work)",
    ],
    ids=["daemonic, forked", "daemonic, spawned", "forked after a run"],
)
def test_in_processes_of_a_program(start: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        f"""
import multiprocessing
from pathlib import Path
from tests.integration.test_embedding import searched

def work(name="s"):
    study = searched(Path({str(tmp_path)!r}), name)
    Path({str(tmp_path)!r}, "trials").write_text(str(len(study.trials)))

if __name__ == "__main__":
    {start}
    process.start()
    process.join()
    raise SystemExit(process.exitcode)
"""
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    program = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env=environment)
    assert program.returncode == 0, program.stderr
    assert (tmp_path / "trials").read_text() == "2"


def test_objective_trains_in_optuna_s_threads_until_its_block_ends(tmp_path: Path) -> None:
    labels: list[str] = []

    class Noting(Callback):
        def on_training_end(self, label: str, reason: str) -> None:
            labels.append(label)

    config = StudyConfig("mine", dataset=Path("digits"), workers=np.int64(2))
    study = optuna.create_study(direction="maximize", storage=f"sqlite:///{tmp_path}/mine.db")
    with open_objective(config, Noting(), worker_processes=fake_workers) as objective:
        study.optimize(objective, n_trials=4, n_jobs=2, catch=(Exception,))
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "PRUNED"}
    assert sorted(labels) == [f"trial {number}" for number in range(4)]
    with pytest.raises(UserError, match="the block has ended"):
        study.optimize(objective, n_trials=1)


def test_options_of_numpy_are_recorded_as_plain_json(tmp_path: Path) -> None:
    study = searched(tmp_path, trials=np.float64(2), seed=np.uint32(0), dataset=Path("digits"), workers=np.int8(1))
    recorded = read_plain(study.files.config)
    assert (recorded["dataset"], recorded["seed"], type(recorded["seed"])) == ("digits", 0, int)
    assert searched(tmp_path, trials=2).trials == study.trials
