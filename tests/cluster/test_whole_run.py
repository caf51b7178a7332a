"""A run of the digits on a simulated cluster, from the search to the report, beside the same run on this machine."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fmnist.data.split import Split, pixel_statistics, save_split
from search import FinishedStudy, StudyConfig, run_study
from search.callbacks.reporter import Reporter
from search.cluster.place import Place, place_of
from search.worker.local import WorkerProcesses
from search.worker.tasks import (
    AverageTask,
    BaselinePredictTask,
    BaselineTask,
    PredictTask,
    TrainingSite,
    TrainResult,
    TrainTask,
)
from tests.support.reporting import Saying
from tests.support.training.fake_hosts import hosts, until
from tests.support.training.fake_trainer import recipe

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.renders, pytest.mark.timeout(480)]

QUICK = Path(__file__).parents[1] / "support" / "quick.toml"
N_TRIALS = 3


def options(folder: Path, **more: Any) -> StudyConfig:
    fields = {"study": "s", "dataset": "digits", "studies_dir": folder, "space": QUICK, "trials": N_TRIALS}
    return StudyConfig(**{**fields, "sampler": "random", "refit_seeds": 1, "front": True, **more})


def test_run_on_a_cluster_goes_from_the_search_to_the_report(cluster: Any, tmp_path: Path) -> None:
    terminal = Saying()
    there = run_study(options(tmp_path / "there", cluster=cluster.address), terminal)
    assert isinstance(there, FinishedStudy)
    assert there.files.report_html.exists() and there.files.model.exists()
    assert there.test_mean > 0.8
    assert len({point.record.multiply_adds for point in there.front}) == 2, "two widths"
    for point in there.front:
        assert point.test_accuracy > 0.8
        assert all(point.exported(name) for name in ("litert", "litert-int8-full", "onnx"))
    assert any("up to 3 trainings at a time, each of 1 thread" in text for text in terminal.said)
    environment = json.loads(there.files.environment.read_text())
    assert (environment["workers"], environment["threads_per_worker"]) == (3, 1)
    assert "1 core, " in environment["nodes"]
    until(lambda: not hosts(), "hosts go on after the run")

    here = run_study(options(tmp_path / "here", workers=3), search_only=True)
    trials, others = there.trials, here.trials
    assert len(trials) == len(others) == N_TRIALS
    origins = ["default", "default, half width", "sampler"]
    assert [trial.origin for trial in trials] == [trial.origin for trial in others] == origins
    one, other = trials[0], others[0]  # the only one that does not depend on which thread is faster
    assert one.params == other.params and one.recipe == other.recipe
    assert one.value == other.value, "one seed and one thread in both runs: the same to the bit"
    accuracies = [[point.validation_accuracy for point in each.history] for each in (one, other)]
    assert accuracies[0] == accuracies[1] and accuracies[0]
    assert "nodes" not in json.loads(here.files.environment.read_text())


@contextmanager
def started(place: Place, log: Path) -> Iterator[WorkerProcesses]:
    with place.start_workers(log, threading.Event()) as workers:
        yield workers


@pytest.fixture
def site(tmp_path: Path, digits_split: Split) -> TrainingSite:
    save_split(digits_split, tmp_path / "split")
    mean, std = pixel_statistics(digits_split.train.images)
    return TrainingSite(tmp_path / "split", mean, std, len(digits_split.train), None)


def everything_by(workers: WorkerProcesses, site: TrainingSite, folder: Path, images: np.ndarray) -> dict[str, Any]:
    """One task of each kind, each with what those before it have written."""
    folder.mkdir()
    more: dict[str, Any] = {"fit_on": "searched", "score_on_confirmation": True}
    results, models = [], []
    for seed in (1, 2):
        model = folder / f"{seed}.keras"
        teachers = {"teachers": tuple(models), "teacher_weights": (1.0,)} if models else {}
        task = site.task(recipe(4), seed, 2_000, 1_000, save_to=model, **more, **teachers)
        results.append(last_result(workers, task))
        models.append(model)
    predicted = workers.predict(PredictTask(models[0], images))
    average = workers.predict(AverageTask(tuple(models), (0.5, 0.5), folder / "average.keras", images))
    baseline = BaselineTask("nearest-neighbours", 0, site.split_folder, folder / "baseline.joblib")
    *_, fitted = workers.train(baseline)
    answers = workers.predict(BaselinePredictTask(baseline.name, baseline.save_to, images))
    return {
        "histories": [[replace(point, seconds=0.0) for point in result.history] for result in results],
        "confirmed": [result.confirmation_probabilities for result in results],
        "weights": [weights_of(model) for model in (*models, folder / "average.keras")],
        "predicted": [predicted, average, answers],
        "fitted": (fitted.n_images, fitted.n_parameters),
    }


def last_result(workers: WorkerProcesses, task: TrainTask) -> TrainResult:
    *_, result = workers.train(task)
    assert isinstance(result, TrainResult)
    return result


def weights_of(model: Path) -> list[bytes]:
    """The arrays of a .keras file, in the order of their names."""
    with zipfile.ZipFile(model) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        arrays: list[tuple[str, bytes]] = []
        file.visititems(
            lambda name, item: arrays.append((name, item[()].tobytes())) if hasattr(item, "shape") else None
        )
        assert arrays
        return [content for _, content in sorted(arrays)]


def test_every_kind_of_task_gives_on_a_node_what_it_gives_here_to_the_bit(
    cluster: Any, tmp_path: Path, digits_split: Split, site: TrainingSite
) -> None:
    images, found = np.array(digits_split.confirmation.images[:50]), []
    for name, config in (("there", cluster.config(tmp_path)), ("here", options(tmp_path, workers=2))):
        with place_of(config, Reporter()) as place, started(place, tmp_path / f"{name}.log") as workers:
            assert place.resources.n_threads == 1
            found.append(everything_by(workers, site, tmp_path / name, images))
    there, here = found
    assert there["histories"] == here["histories"]
    assert there["weights"] == here["weights"]
    assert there["fitted"] == here["fitted"]
    for key in ("confirmed", "predicted"):
        for one, other in zip(there[key], here[key], strict=True):
            assert np.array_equal(one, other), key
