"""Tasks whose paths are replaced, and failures that go from one process to another."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from search.worker.tasks import (
    AverageTask,
    BaselinePredictTask,
    BaselineTask,
    PredictTask,
    Task,
    TrainTask,
    WorkerLost,
    map_paths,
)
from tests.support.training.fake_trainer import recipe

IMAGES = np.zeros((1, 8, 8, 1), np.uint8)
TASKS: dict[str, tuple[Task, list[tuple[str, str]]]] = {
    "training": (
        TrainTask(recipe(1), 0, Path("split"), 1.0, 1.0, 100, 100, teachers=(Path("a"), Path("b")), save_to=Path("c")),
        [("split_folder", "split"), ("teachers", "a"), ("teachers", "b"), ("save_to", "c")],
    ),
    "training of a search": (
        TrainTask(recipe(1), 0, Path("split"), 1.0, 1.0, 100, 100, further_lengths=(200,)),
        [("split_folder", "split")],
    ),
    "prediction": (PredictTask(Path("model"), IMAGES), [("model", "model")]),
    "average": (
        AverageTask((Path("a"), Path("b")), (0.5, 0.5), Path("c"), IMAGES),
        [("models", "a"), ("models", "b"), ("save_to", "c")],
    ),
    "baseline": (
        BaselineTask("ridge", 0, Path("split"), Path("c")),
        [("split_folder", "split"), ("save_to", "c")],
    ),
    "prediction of a baseline": (BaselinePredictTask("ridge", Path("model"), IMAGES), [("model", "model")]),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_path_of_a_task_is_replaced_and_nothing_else(name: str) -> None:
    task, paths = TASKS[name]
    seen: list[tuple[str, str]] = []

    def change(field: str, path: Path) -> Path:
        seen.append((field, str(path)))
        return Path("/there") / path

    changed = map_paths(task, change)
    assert sorted(seen) == sorted(paths)
    seen.clear()
    back = map_paths(changed, lambda field, path: path.relative_to("/there"))
    assert type(back) is type(task)
    assert repr(back) == repr(task)  # arrays have no equality of their own
    assert repr(changed) != repr(task)


def test_lost_worker_goes_from_process_to_process_as_it_is() -> None:
    lost = WorkerLost("node 10.0.0.1", "the node has died")
    for again in (pickle.loads(pickle.dumps(lost)), copy.deepcopy(lost)):
        assert type(again) is WorkerLost
        assert (again.kind, again.node, again.reason) == (
            "lost",
            "node 10.0.0.1",
            "node 10.0.0.1 was lost: the node has died",
        )
