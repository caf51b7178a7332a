"""What a study exports, and what it is compared on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.source import DataSource
from fmnist.data.split import load_test, load_train
from fmnist.export.formats import ExportRecord
from search.callbacks.base import Callback
from search.records.files import StudyFiles
from search.records.models import EnsembleRecord
from search.refit.exports import make_exports, missing_exports, missing_in_words
from search.worker.tasks import Interrupted
from tests.support.training.fake_trainer import FakeExporter


class Labels(Callback):
    """Remembers what it is told of."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []

    def on_training_end(self, label: str, reason: str) -> None:
        self.ended.append((label, reason))


@pytest.fixture
def make(tmp_path: Path, source: DataSource) -> Callable[..., list[ExportRecord]]:
    def run(
        export: FakeExporter, names: str, stop: threading.Event | None = None, callback: Callback | None = None
    ) -> list[ExportRecord]:
        files, stop = StudyFiles(tmp_path), stop or threading.Event()
        files.test.touch()  # the test set has been opened
        return make_exports(files, source, 0, names.split(), 2, stop, callback or Callback(), export=export)

    return run


@pytest.fixture
def ensemble(tmp_path: Path) -> StudyFiles:
    """A study that delivers an ensemble too."""
    files = StudyFiles(tmp_path)
    files.write_json(files.ensemble_record, EnsembleRecord((), 3, 0.9, 1000, 2000))
    return files


def test_exports_are_compared_on_the_whole_test_set(tmp_path: Path, make, source: DataSource) -> None:
    export, test = FakeExporter(), load_test(source)
    records = make(export, "keras onnx")
    assert [record.format for record in records] == export.asked == ["keras", "onnx"]
    assert np.array_equal(export.how["images"], test.images) and np.array_equal(export.how["labels"], test.labels)
    assert export.how["n_threads"] == 2
    assert StudyFiles(tmp_path).read_export_records() == records
    assert StudyFiles(tmp_path).read_ledger()["exports"] > 0


def test_formats_in_8_bits_are_calibrated_on_images_that_every_network_has_learned_from(
    make, source: DataSource
) -> None:
    export = FakeExporter()
    make(export, "keras onnx")
    assert export.how["calibration"] is None
    make(export, "keras onnx-int8")
    calibration, split = export.how["calibration"], load_train(source, seed=0)
    assert len(calibration) == min(500, len(split.train.images))
    learned = {image.tobytes() for image in split.train.images}
    assert all(image.tobytes() in learned for image in calibration)


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


def test_ensemble_is_exported_too_with_files_and_records_of_its_own(make, ensemble: StudyFiles) -> None:
    export, told = FakeExporter({"litert": "no such layer"}), Labels()
    records = make(export, "keras litert onnx", callback=told)
    assert export.made == ["best.keras", "best.onnx", "ensemble.keras", "ensemble.onnx"]
    assert [(record.model, record.format) for record in records] == [
        *(("best.keras", "keras"), ("best.keras", "litert"), ("best.keras", "onnx")),
        *(("ensemble.keras", "keras"), ("ensemble.keras", "litert"), ("ensemble.keras", "onnx")),
    ]
    assert [record.failure for record in records] == [None, "no such layer", None] * 2
    assert [label for label, _ in told.ended] == [
        *("keras", "litert", "onnx", "ensemble keras", "ensemble litert", "ensemble onnx"),
    ]
    assert told.ended[-1][1].startswith("ensemble.onnx: same class for 360 of 360 test images")
    assert {path.name for path in ensemble.exports.glob("*.json")} == {
        *("keras.json", "litert.json", "onnx.json"),
        *("ensemble-keras.json", "ensemble-litert.json", "ensemble-onnx.json"),
    }
    assert ensemble.read_export_records() == records


def test_only_what_a_model_lacks_is_made(make, ensemble: StudyFiles) -> None:
    make(FakeExporter(), "keras onnx")
    (ensemble.exports / "ensemble.onnx").unlink()
    missing = missing_exports(ensemble, ["keras", "litert", "onnx"])
    assert missing_in_words(missing) == "best.keras as litert; ensemble.keras as litert, onnx"
    again = FakeExporter()
    make(again, "keras litert onnx")
    assert again.made == ["best.litert", "ensemble.litert", "ensemble.onnx"]
    (ensemble.exports / "best.keras").unlink()
    once_more = FakeExporter()
    make(once_more, "keras onnx")
    assert once_more.made == ["best.keras"]


def test_exports_that_were_stopped_go_on_with_the_ensemble(make, ensemble: StudyFiles) -> None:
    make(FakeExporter(), "litert")
    (ensemble.exports / "ensemble.litert").unlink()
    with pytest.raises(Interrupted):
        make(FakeExporter(stop_before="litert"), "keras litert")
    assert [(record.model, record.format) for record in ensemble.read_export_records()] == [
        *(("best.keras", "keras"), ("best.keras", "litert")),
        *(("ensemble.keras", "keras"), ("ensemble.keras", "litert")),
    ]
    again = FakeExporter()
    make(again, "keras litert")
    assert again.made == ["ensemble.litert"]


def test_records_that_name_no_model_are_those_of_best_keras(make, tmp_path: Path) -> None:
    (record,) = make(FakeExporter(), "onnx")
    path = StudyFiles(tmp_path).export_record("onnx")
    fields = json.loads(path.read_text())
    del fields["model"], fields["n_model_bytes"]  # as before version 0.7.0
    path.write_text(json.dumps(fields))
    again = FakeExporter()
    assert make(again, "onnx") == [record]
    assert again.made == []
