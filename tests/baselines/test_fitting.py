"""What users start from: each is fitted for real, in a process of its own, on a few hundred digits."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fmnist.baselines.catalog import BASELINES, Baseline
from fmnist.baselines.fitting import load_baseline
from fmnist.data.images import LabelledImages
from fmnist.data.split import Split, save_split
from fmnist.training.history import HistoryPoint
from search.worker.local import WorkerProcesses
from search.worker.tasks import BaselinePredictTask, BaselineResult, BaselineTask
from tests.support.rare_class import rare_class

pytestmark = [pytest.mark.trains, pytest.mark.process]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> WorkerProcesses:
    return WorkerProcesses(tmp_path_factory.mktemp("workers") / "worker.log", threading.Event())


@pytest.fixture(scope="module")
def folder(split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baselines")
    save_split(split, folder / "split")
    return folder


def named(baseline: Baseline) -> str:
    return baseline.name


@pytest.mark.slow
@pytest.mark.parametrize("baseline", BASELINES, ids=named)
def test_baseline_learns_in_a_process_of_its_own_and_predicts_in_another(
    baseline: Baseline, workers: WorkerProcesses, folder: Path, unseen: LabelledImages
) -> None:
    path = folder / f"{baseline.name}{baseline.suffix}"
    *messages, result = workers.train(BaselineTask(baseline.name, 3, folder / "split", path, n_threads=2))
    assert isinstance(result, BaselineResult)
    points = points_of(messages)
    assert result.n_images == (500 if baseline.watches_selection else 650)
    assert result.seconds > 0 and result.peak_memory_mb > 100
    predicted = workers.predict(BaselinePredictTask(baseline.name, path, unseen.images, n_threads=2))
    assert (predicted.shape, predicted.dtype) == ((559,), np.uint8)
    assert np.mean(predicted == unseen.labels) > 0.85
    if baseline.kind == "classical":
        assert (messages, result.n_epochs, result.n_parameters) == ([], None, None)
    else:
        check_network(baseline, points, result)


def points_of(messages: Sequence[object]) -> list[HistoryPoint]:
    points = [message for message in messages if isinstance(message, HistoryPoint)]
    assert len(points) == len(messages)
    return points


def check_network(baseline: Baseline, points: list[HistoryPoint], result: BaselineResult) -> None:
    assert [point.n_images for point in points] == [result.n_images * (i + 1) for i in range(len(points))]
    assert all((point.validation_accuracy is not None) == baseline.watches_selection for point in points)
    assert result.n_parameters is not None and result.n_parameters > 1000
    assert result.n_epochs == len(points)
    if baseline.stops_early:
        assert len(points) <= 150
        losses = [point.validation_loss for point in points if point.validation_loss is not None]
        epoch = losses.index(min(losses)) + 1
        assert result.reason == f"trained for {len(points)} epochs, weights of epoch {epoch}"
        assert len(points) in (epoch + 10, 150)
    else:
        assert len(points) == baseline.n_epochs
        assert result.reason == f"trained for {len(points)} epochs"


def test_same_seed_gives_the_same_network(workers: WorkerProcesses, folder: Path, unseen: LabelledImages) -> None:
    name, predicted = "conv-pool-dense-plateau", []
    for seed in (5, 5, 6):
        path = folder / f"again-{seed}.keras"
        *messages, _ = workers.train(BaselineTask(name, seed, folder / "split", path))
        predicted.append(([point.train_loss for point in points_of(messages)], load_baseline(name, path)))
    assert predicted[0][0] == predicted[1][0] != predicted[2][0]
    classes = [model.predict_classes(unseen.images) for _, model in predicted]
    assert (classes[0] == classes[1]).all()


def test_importing_the_module_loads_neither_keras_nor_scikit_learn() -> None:
    script = (
        "import sys, fmnist.baselines.fitting; print(sorted({'keras', 'tensorflow', 'sklearn'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.strip()) == (0, "[]"), child.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv-pool-dense", "conv-pool-dense-plateau"])  # labels as numbers, and one-hot
def test_balanced_weights_find_a_rare_class_that_a_network_gives_up_without(
    name: str, workers: WorkerProcesses, tmp_path: Path
) -> None:
    parts = [LabelledImages(*rare_class(160, 6, seed)) for seed in range(3)]
    save_split(Split(*parts, checksum="", seed=0), tmp_path / "split")
    images, labels = rare_class(160, 100, seed=3)
    recalls = []
    for weights in ("none", "balanced"):
        path = tmp_path / f"{weights}.keras"
        task = BaselineTask(name, 0, tmp_path / "split", path, n_threads=1, class_weights=weights)
        assert isinstance(list(workers.train(task))[-1], BaselineResult)
        predicted = workers.predict(BaselinePredictTask(name, path, images))
        recalls.append(np.mean(predicted[labels == 1] == 1))
    assert recalls[1] > recalls[0] + 0.3, recalls
