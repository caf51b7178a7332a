"""What a study exports, and what it is compared on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.source import DataSource
from fmnist.data.split import load_test
from fmnist.export.formats import ExportRecord
from search.callbacks.base import Callback
from search.records.files import StudyFiles
from search.refit.exports import make_exports
from search.worker.tasks import Interrupted
from tests.support.training.fake_trainer import FakeExporter


@pytest.fixture
def make(tmp_path: Path, source: DataSource) -> Callable[[FakeExporter, str], list[ExportRecord]]:
    def run(export: FakeExporter, names: str, stop: threading.Event | None = None) -> list[ExportRecord]:
        files, stop = StudyFiles(tmp_path), stop or threading.Event()
        files.test.touch()  # the test set has been opened
        return make_exports(files, source, names.split(), 2, stop, Callback(), export=export)

    return run


def test_exports_are_compared_on_the_whole_test_set(tmp_path: Path, make, source: DataSource) -> None:
    export, test = FakeExporter(), load_test(source)
    records = make(export, "keras onnx")
    assert [record.format for record in records] == export.asked == ["keras", "onnx"]
    assert np.array_equal(export.how["images"], test.images) and np.array_equal(export.how["labels"], test.labels)
    assert export.how["n_threads"] == 2
    assert StudyFiles(tmp_path).read_export_records() == records
    assert StudyFiles(tmp_path).read_ledger()["exports"] > 0


def test_exports_that_are_there_are_not_made_again(tmp_path: Path, make) -> None:
    with pytest.raises(Interrupted):
        make(FakeExporter(stop_before="litert"), "keras litert onnx")
    again = FakeExporter()
    assert [record.format for record in make(again, "keras litert onnx")] == ["keras", "litert", "onnx"]
    assert again.asked == ["litert", "onnx"]
    (tmp_path / "exports" / "best.onnx").unlink()
    make(again, "keras onnx")
    assert again.asked == ["litert", "onnx", "onnx"]


def test_export_that_failed_is_tried_again_when_it_is_asked_for_again(make) -> None:
    first, again = FakeExporter({"onnx": "no such layer"}), FakeExporter()
    assert [record.failure for record in make(first, "keras onnx")] == [None, "no such layer"]
    assert [record.failure for record in make(again, "keras")] == [None, "no such layer"]
    assert again.asked == []
    assert [record.failure for record in make(again, "onnx")] == [None, None]


def test_exports_stop_when_the_run_does(make) -> None:
    stop, export = threading.Event(), FakeExporter()
    make(export, "onnx", stop)
    export.how["check_cancelled"]()
    stop.set()
    with pytest.raises(Interrupted):
        export.how["check_cancelled"]()
