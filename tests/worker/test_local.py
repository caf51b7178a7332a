"""The training process: what comes over the pipe, and what happens when it cannot go on. These train for real."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from fmnist.data.split import Split, open_split, pixel_statistics, save_split
from fmnist.metrics.robustness import changes
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from fmnist.training.history import HistoryPoint
from search.worker.local import WorkerProcesses
from search.worker.tasks import (
    AverageTask,
    BaselineTask,
    ImagesSeen,
    Interrupted,
    PredictTask,
    TrainingFailed,
    TrainResult,
    TrainTask,
)
from tests.support.training.silent import serve_and_hang, serve_in_silence

pytestmark = pytest.mark.trains

RECIPE = Recipe(Architecture((8, 8, 1), 10, (Block(8, 1, 3),)), TrainingPlan(batch_size=32, flip=False))


@pytest.fixture(scope="module")
def task(digits_split: Split, tmp_path_factory: pytest.TempPathFactory) -> TrainTask:
    folder = tmp_path_factory.mktemp("split")
    save_split(digits_split, folder)
    mean, std = pixel_statistics(digits_split.train.images)
    return TrainTask(RECIPE, 0, folder, mean, std, n_planned_images=2000, report_every_images=500)


@pytest.fixture(scope="module")
def stop_of_all() -> threading.Event:
    return threading.Event()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory, stop_of_all: threading.Event) -> Iterator[WorkerProcesses]:
    """One server for all tests: Keras loads for seconds."""
    with WorkerProcesses(tmp_path_factory.mktemp("workers") / "worker.log", stop_of_all) as processes:
        yield processes


@pytest.fixture
def stop(stop_of_all: threading.Event) -> Iterator[threading.Event]:
    yield stop_of_all
    stop_of_all.clear()


@pytest.fixture
def workers(processes: WorkerProcesses, stop: threading.Event) -> WorkerProcesses:
    return processes


def children() -> set[int]:
    """Training processes alive now: the grandchildren, where a fork server stands between."""
    return {child.pid for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE}


def test_points_come_in_order_and_end_in_one_result(workers: WorkerProcesses, task: TrainTask) -> None:
    *messages, result = workers.train(replace(task, score_on_confirmation=True))
    points = [message for message in messages if isinstance(message, HistoryPoint)]
    assert [point.n_images for point in points] == [500, 1000, 1500, 2000]
    assert isinstance(result, TrainResult)
    assert result.history == tuple(points)
    assert result.best in points
    assert result.confirmation_probabilities.shape == (239, 10)
    assert result.peak_memory_mb > 100


@pytest.mark.parametrize("n_threads", [1, 2])
def test_same_seed_gives_the_same_history_in_another_process(
    workers: WorkerProcesses, task: TrainTask, n_threads: int
) -> None:
    task = replace(task, n_threads=n_threads)
    first, second = (
        [replace(message, seconds=0) for message in workers.train(task) if isinstance(message, HistoryPoint)]
        for _ in range(2)
    )
    assert first == second
    assert first[-1].train_loss < first[0].train_loss  # in two halves of a batch too


def test_further_trainings_start_when_more_is_asked_for_and_are_those_of_a_process_of_their_own(
    workers: WorkerProcesses, task: TrainTask
) -> None:
    messages = workers.train(replace(task, n_planned_images=1000, further_lengths=(2000,)))
    short = next(message for message in messages if isinstance(message, TrainResult))
    *_, alone = workers.train(task)
    *_, long = messages
    assert [point.n_images for point in short.history] == [500, 1000]
    assert [replace(p, seconds=0) for p in long.history] == [replace(p, seconds=0) for p in alone.history]


def test_training_says_how_far_it_is_between_its_looks(workers: WorkerProcesses, task: TrainTask) -> None:
    messages = workers.train(replace(task, n_planned_images=10_000_000, report_every_images=10_000_000))
    first, second = (next(messages) for _ in range(2))
    messages.close()
    assert isinstance(first, ImagesSeen) and isinstance(second, ImagesSeen)
    assert 0 < first.n_images < second.n_images


def test_closing_the_iterator_ends_the_process(workers: WorkerProcesses, task: TrainTask) -> None:
    before = children()
    messages = workers.train(replace(task, n_planned_images=10_000_000))
    next(messages)
    assert children() - before
    messages.close()
    assert not children() - before


def test_stop_interrupts_within_a_second(workers: WorkerProcesses, task: TrainTask, stop: threading.Event) -> None:
    messages = workers.train(replace(task, n_planned_images=10_000_000))
    next(messages)
    stop.set()
    with pytest.raises(Interrupted):
        list(messages)


@pytest.mark.faults
def test_killed_process_is_a_failed_training_with_its_reason(workers: WorkerProcesses, task: TrainTask) -> None:
    before = children()
    messages = workers.train(replace(task, n_planned_images=10_000_000))
    next(messages)
    for pid in children() - before:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(TrainingFailed, match=r"memory runs out|without a word") as caught:
        list(messages)
    assert caught.value.kind == "killed"


def test_hung_process_is_ended_and_is_a_failed_training_with_its_reason(
    task: TrainTask, stop: threading.Event, tmp_path: Path
) -> None:
    how = {"serve": serve_and_hang, "preload": ["tests.support.training.silent"], "stall_seconds": 1.0}
    with WorkerProcesses(tmp_path / "worker.log", stop, **how) as workers:
        messages = workers.train(task)
        next(messages)
        hanging = children()
        with pytest.raises(TrainingFailed, match="no progress for 1 s; the process was ended") as failure:
            next(messages)
        assert failure.value.kind == "hung"
        assert children() < hanging


def test_process_that_computes_in_silence_is_not_taken_for_hung(
    task: TrainTask, stop: threading.Event, tmp_path: Path
) -> None:
    how = {"serve": serve_in_silence, "preload": ["tests.support.training.silent"], "stall_seconds": 1.0}
    with WorkerProcesses(tmp_path / "worker.log", stop, **how) as workers:
        (result,) = workers.train(task)
    assert result.seconds > 2.0


@pytest.mark.parametrize("name", ["random-forest", "conv-pool-dense"])
def test_baseline_over_its_memory_limit_fails_with_both_figures(
    workers: WorkerProcesses, task: TrainTask, tmp_path: Path, name: str
) -> None:
    baseline = BaselineTask(name, 0, task.split_folder, tmp_path / "model", memory_limit_mb=10)
    with pytest.raises(TrainingFailed, match=r"used \d+ MB, over its limit of 10 MB") as caught:
        list(workers.train(baseline))
    assert caught.value.kind == "memory"


def test_bug_in_a_baseline_carries_its_trace(workers: WorkerProcesses, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="FileNotFoundError") as caught:
        list(workers.train(BaselineTask("random-forest", 0, tmp_path / "no-such-folder", tmp_path / "model")))
    assert "Traceback" in caught.value.trace


def test_stop_interrupts_a_baseline(
    workers: WorkerProcesses, task: TrainTask, tmp_path: Path, stop: threading.Event
) -> None:
    messages = workers.train(BaselineTask("conv-pool-dense-stopped", 0, task.split_folder, tmp_path / "model.keras"))
    next(messages)
    stop.set()
    with pytest.raises(Interrupted):
        list(messages)


def test_memory_over_the_limit_fails_with_both_figures(workers: WorkerProcesses, task: TrainTask) -> None:
    with pytest.raises(TrainingFailed, match=r"used \d+ MB, over its limit of 10 MB") as caught:
        list(workers.train(replace(task, memory_limit_mb=10)))
    assert caught.value.kind == "memory"


def test_diverged_training_is_told_from_a_bug(workers: WorkerProcesses, task: TrainTask) -> None:
    plan = replace(RECIPE.plan, optimizer="sgd", peak_learning_rate=10.0, weight_decay=0.0, schedule="constant")
    explosive = {"batch_normalization": False, "activation": "gelu", "pooling": "average"}
    architecture = replace(RECIPE.architecture, blocks=(Block(8, 2, 3),) * 2, **explosive)
    recipe = Recipe(architecture, replace(plan, label_smoothing=0.0))
    with pytest.raises(TrainingFailed, match=r"not finite after .* images") as caught:
        list(workers.train(replace(task, recipe=recipe, n_planned_images=100_000, pixel_std=1.0)))
    assert caught.value.kind == "diverged"


def test_bug_in_the_child_carries_its_trace(workers: WorkerProcesses, task: TrainTask) -> None:
    with pytest.raises(TrainingFailed, match="FileNotFoundError") as caught:
        list(workers.train(replace(task, split_folder=Path("no-such-folder"))))
    assert caught.value.kind == "error"
    assert "Traceback" in caught.value.trace


def test_time_limit_ends_a_training_and_keeps_its_best_point(workers: WorkerProcesses, task: TrainTask) -> None:
    *_, result = workers.train(replace(task, n_planned_images=10_000_000, seconds_limit=1.0))
    assert result.stopped_by == "time limit"
    assert result.best is not None


def test_saved_model_predicts_in_another_process(workers: WorkerProcesses, task: TrainTask, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    *_, result = workers.train(replace(task, save_to=path, score_on_confirmation=True))
    images = open_split(task.split_folder).confirmation.images
    assert (workers.predict(PredictTask(path, images)) == result.confirmation_probabilities).all()
    changed = workers.predict(PredictTask(path, images, changed=True))
    upside_down = workers.predict(PredictTask(path, images[:, ::-1]))
    assert changed.shape == (len(changes()), *result.confirmation_probabilities.shape)
    assert (changed[-1] == upside_down).all()


@pytest.mark.parametrize("flip", [True, False])
def test_network_predicts_mirror_images_where_it_has_learned_from_such(
    workers: WorkerProcesses, task: TrainTask, tmp_path: Path, flip: bool
) -> None:
    path, recipe = tmp_path / "model.keras", replace(task.recipe, plan=replace(task.recipe.plan, flip=flip))
    *_, result = workers.train(replace(task, recipe=recipe, save_to=path, score_on_confirmation=True))
    if not flip:
        assert result.mirrored_probabilities is None
        return
    mirror_images = np.array(open_split(task.split_folder).confirmation.images)[:, :, ::-1]
    assert (workers.predict(PredictTask(path, mirror_images)) == result.mirrored_probabilities).all()


def test_average_of_models_is_saved_and_predicts(workers: WorkerProcesses, task: TrainTask, tmp_path: Path) -> None:
    paths = (tmp_path / "a.keras", tmp_path / "b.keras")
    for seed, path in enumerate(paths):
        list(workers.train(replace(task, seed=seed, save_to=path)))
    images = np.array(open_split(task.split_folder).confirmation.images)
    saved = tmp_path / "average.keras"
    predicted = workers.predict(AverageTask(paths, (0.75, 0.25), saved, images))
    first, second = (workers.predict(PredictTask(path, images)) for path in paths)
    np.testing.assert_allclose(predicted, 0.75 * first + 0.25 * second, atol=1e-6)
    assert (workers.predict(PredictTask(saved, images)) == predicted).all()
    mirrored = workers.predict(AverageTask(paths, (0.75, 0.25), saved, images, mirrored=True))
    of_mirror_images = workers.predict(PredictTask(saved, images[:, :, ::-1]))
    np.testing.assert_allclose(mirrored, of_mirror_images, atol=1e-6)  # which have the same two views
    assert np.abs(mirrored - predicted).max() > 1e-3


def test_student_is_taught_in_a_process(workers: WorkerProcesses, task: TrainTask, tmp_path: Path) -> None:
    teachers = (tmp_path / "a.keras", tmp_path / "b.keras")
    for seed, path in enumerate(teachers):
        list(workers.train(replace(task, seed=seed, save_to=path)))
    *_, plain = workers.train(replace(task, fit_on="searched"))
    taught = replace(task, fit_on="searched", teachers=teachers, teacher_weights=(0.5, 0.5))
    *_, student = workers.train(taught)
    assert student.best is None
    assert [point.n_images for point in student.history] == [point.n_images for point in plain.history]
    losses = [point.train_loss for point in student.history]
    assert losses != [point.train_loss for point in plain.history]
    *_, again = workers.train(taught)
    assert [point.train_loss for point in again.history] == losses, "to the bit"


ONE_TRAINING = """
import os, pickle, sys, threading
from pathlib import Path
from search.worker.local import WorkerProcesses
if __name__ == "__main__":
    before = dict(os.environ)
    task = pickle.loads(Path(sys.argv[1]).read_bytes())
    workers = WorkerProcesses(Path(sys.argv[2]), threading.Event())
    *_, result = workers.train(task)
    assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
    print(result.n_images)
"""


def test_other_backend_of_the_caller_is_neither_used_nor_changed(task: TrainTask, tmp_path: Path) -> None:
    """JAX is not installed: a process that loaded Keras with it would fail."""
    (tmp_path / "task").write_bytes(pickle.dumps(task))
    script = tmp_path / "caller.py"
    script.write_text(ONE_TRAINING)
    command = [sys.executable, str(script), str(tmp_path / "task"), str(tmp_path / "log")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "KERAS_BACKEND": "jax"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "1984\n"), said.stderr


SUPERVISOR = """
import sys, threading, pickle
from pathlib import Path
from search.worker.local import WorkerProcesses
if __name__ == "__main__":
    task = pickle.loads(Path(sys.argv[1]).read_bytes())
    for message in WorkerProcesses(Path(sys.argv[2]), threading.Event()).train(task):
        print("point", flush=True)
"""


@pytest.mark.faults
def test_processes_end_when_the_supervisor_is_killed(task: TrainTask, tmp_path: Path) -> None:
    (tmp_path / "task").write_bytes(pickle.dumps(replace(task, n_planned_images=10_000_000)))
    script = tmp_path / "supervisor.py"
    script.write_text(SUPERVISOR)
    command = [sys.executable, str(script), str(tmp_path / "task"), str(tmp_path / "log")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as supervisor:
        assert supervisor.stdout.readline() == b"point\n"
        family = psutil.Process(supervisor.pid).children(recursive=True)
        assert family
        supervisor.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
