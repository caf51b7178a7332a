"""Files that go to a node by content: they arrive, they are put once, and nothing is left of a run that has ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.cluster.shipping import NodeFiles, Shipper
from search.worker.tasks import AverageTask, PredictTask, TrainTask
from tests.support.training.fake_trainer import recipe


class Store:
    """An object store that gives numbers for arrays."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.n_gets = 0

    def put(self, array: np.ndarray) -> int:
        self.arrays.append(array.copy())
        return len(self.arrays) - 1

    def get(self, reference: int) -> np.ndarray:
        self.n_gets += 1
        return self.arrays[reference]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def node(tmp_path: Path, store: Store) -> Callable[..., NodeFiles]:
    def open_files(name: str = "run-1") -> NodeFiles:
        return NodeFiles(name, store.get, tmp_path / "node")

    return open_files


def written(folder: Path, **contents: str) -> Path:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_text(content)
    return folder


def task(split: Path, **more: Any) -> TrainTask:
    return TrainTask(recipe(1), 0, split, 1.0, 1.0, 100, 100, **more)


def predict(model: Path) -> PredictTask:
    return PredictTask(model, np.zeros((1, 8, 8, 1), np.uint8))


def names_and_contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_folder_and_files_arrive_elsewhere_by_name_and_content(
    tmp_path: Path, store: Store, node: Callable[..., NodeFiles]
) -> None:
    split = written(tmp_path / "here" / "split", images="pixels", labels="", more="x")
    teachers = written(tmp_path / "here" / "models", a="first", b="second")
    sent = task(split, teachers=(teachers / "a", teachers / "b"), save_to=tmp_path / "here" / "best.keras")
    files = node()
    output = written(tmp_path / "output")
    there = files.unpack(Shipper(store.put).pack(sent), output)
    assert isinstance(there, TrainTask)
    assert there.split_folder.name == "split" and there.split_folder.is_relative_to(files.folder)
    assert names_and_contents(there.split_folder) == {"images": "pixels", "labels": "", "more": "x"}
    assert [path.name for path in there.teachers] == ["a", "b"]
    assert [path.read_text() for path in there.teachers] == ["first", "second"]
    assert there.save_to == output / "best.keras", "what a task writes is not sent"
    assert (there.recipe, there.seed) == (sent.recipe, sent.seed)
    assert {path.name for path in files.folder.iterdir()} == {
        path.relative_to(files.folder).parts[0] for path in (there.split_folder, *there.teachers)
    }, "nothing half written is left"
    files.close()


def test_file_is_put_once_and_fetched_once_however_many_tasks_read_it(
    tmp_path: Path, store: Store, node: Callable[..., NodeFiles]
) -> None:
    split = written(tmp_path / "split", images="pixels", labels="classes")
    shipper, files = Shipper(store.put), node()
    places = {files.unpack(shipper.pack(task(split, save_to=tmp_path / str(i))), tmp_path).split_folder for i in "abc"}
    assert len(places) == 1
    assert len(store.arrays) == store.n_gets == 2
    files.close()


def test_changed_file_is_put_again(tmp_path: Path, store: Store, node: Callable[..., NodeFiles]) -> None:
    model = written(tmp_path / "models", model="old") / "model"
    shipper, files = Shipper(store.put), node()
    before = files.unpack(shipper.pack(predict(model)), tmp_path).model
    written(tmp_path / "new", model="new").joinpath("model").replace(model)  # as models are written
    after = files.unpack(shipper.pack(predict(model)), tmp_path).model
    assert (before.read_text(), after.read_text()) == ("old", "new")
    files.close()


def test_equal_contents_under_other_names_all_arrive(
    tmp_path: Path, store: Store, node: Callable[..., NodeFiles]
) -> None:
    """A folder's name and its file's, read as one word, are a file's name."""
    models = written(tmp_path / "models", a="same", b="same")
    split = written(tmp_path / "more" / "a", b="same")
    file = written(tmp_path / "others", ab="same") / "ab"
    shipper, files = Shipper(store.put), node()
    average = AverageTask(
        (models / "a", models / "b"), (0.5, 0.5), tmp_path / "average", np.zeros((1, 8, 8, 1), np.uint8)
    )
    there = files.unpack(shipper.pack(average), tmp_path)
    assert [(path.name, path.read_text()) for path in there.models] == [("a", "same"), ("b", "same")]
    assert names_and_contents(files.unpack(shipper.pack(task(split)), tmp_path).split_folder) == {"b": "same"}
    assert files.unpack(shipper.pack(predict(file)), tmp_path).model.read_text() == "same"
    files.close()


def test_processes_of_a_run_share_its_files_and_the_last_removes_them(
    tmp_path: Path, store: Store, node: Callable[..., NodeFiles]
) -> None:
    split = written(tmp_path / "split", images="pixels")
    parcel = Shipper(store.put).pack(task(split))
    first, second = node(), node()  # each has its own lock, as processes have
    places = [files.unpack(parcel, tmp_path).split_folder for files in (first, second)]
    assert places[0] == places[1] and store.n_gets == 1
    first.close()
    assert names_and_contents(places[1]) == {"images": "pixels"}
    second.close()
    assert not second.folder.exists()


def test_folder_of_a_run_that_was_killed_is_removed_by_the_next_to_come(
    tmp_path: Path, node: Callable[..., NodeFiles]
) -> None:
    left = written(tmp_path / "node" / "run-0" / "digest", images="pixels").parent
    other = node("run-2")
    assert not left.exists()
    files = node("run-1")
    assert other.folder.exists(), "it is in use"
    other.close()
    assert files.folder.exists() and not other.folder.exists()
    files.close()
    assert list((tmp_path / "node").iterdir()) == []


def test_folder_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, node: Callable[..., NodeFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_opened = 0
    really_open = os.open

    def open_late(path: Any, flags: int) -> int:
        nonlocal n_opened
        n_opened += 1
        if n_opened == 1:  # whoever comes next to this node finds nobody's lock
            Path(path).rmdir()
        return really_open(path, flags)

    with monkeypatch.context() as patch:
        patch.setattr("search.cluster.shipping.os.open", open_late)
        files = node()
    assert files.folder.exists() and n_opened == 2
    files.close()


def test_node_keeps_files_from_other_users(tmp_path: Path, node: Callable[..., NodeFiles]) -> None:
    files = node()
    assert (tmp_path / "node").stat().st_mode & 0o077 == 0
    files.close()
