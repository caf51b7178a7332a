"""Whether the delivered file keeps to its targets, and how that is said."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fmnist.export.formats import ExportRecord
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.records.models import TargetOutcome
from search.targets.outcome import outcome_in_words, target_outcome
from tests.targets.test_probing import RECORD


@pytest.fixture
def files(tmp_path: Path) -> StudyFiles:
    """A study that has exported best.keras and an ensemble."""
    files = StudyFiles(tmp_path / "s")
    files.exports.mkdir(parents=True)
    files.write_json(files.targets, RECORD)
    for model, n_bytes in (("best.keras", 39_000), ("ensemble.keras", 99_000)):
        record = ExportRecord("litert", f"{model}.tflite", 1.0, 1, 360, model=model)
        fields = {"n_bytes": n_bytes, "milliseconds_by_1": 0.25}
        files.write_json(files.export_record("litert", model), type(record)(**{**vars(record), **fields}))
    return files


def outcome_of(files: StudyFiles, **more) -> TargetOutcome | None:
    config = StudyConfig(study="s", studies_dir=files.root.parent, target="litert", **more)
    return target_outcome(config, files, threading.Event())


@pytest.mark.parametrize(
    ("targets", "is_kept", "said"),
    [
        ({"max_bytes": "40kB"}, True, "best.keras.tflite has 39.0 kB, within 40.0 kB"),
        ({"max_bytes": 38_999}, False, "best.keras.tflite has 39.0 kB, MORE THAN 39.0 kB"),
        ({"max_ms": 0.3}, True, "best.keras.tflite takes 0.25 ms an image on a processor, within 0.30 ms"),
        (
            {"max_bytes": 50_000, "max_ms": 0.2},
            False,
            "best.keras.tflite has 39.0 kB, within 50.0 kB, and takes 0.25 ms an image on a processor, MORE THAN 0.20 "
            "ms",
        ),
    ],
    ids=str,
)
def test_file_of_the_best_network_is_compared_with_what_was_asked(files, targets, is_kept, said) -> None:
    outcome = outcome_of(files, **targets)
    assert outcome is not None
    assert (outcome.is_kept, outcome_in_words(outcome)) == (is_kept, said)


@pytest.mark.process
def test_machine_that_is_out_of_reach_at_the_end_leaves_the_time_unknown(files: StudyFiles) -> None:
    (files.exports / "best.keras.tflite").write_bytes(b"a model")
    outcome = outcome_of(files, max_bytes=50_000, max_ms=1, on="sh -c 'echo no route to host >&2; exit 255'")
    assert outcome is not None and not outcome.is_kept
    said = outcome_in_words(outcome)
    assert said.startswith(
        "best.keras.tflite has 39.0 kB, within 50.0 kB, and has not been timed: --on must be a command"
    )
    assert "exit code 255, no route to host" in said


def test_file_that_could_not_be_made_keeps_to_nothing(files: StudyFiles) -> None:
    record = ExportRecord("litert", "best.tflite", 1.0, 1, 360, failure="no such layer")
    files.write_json(files.export_record("litert"), record)
    assert outcome_of(files, max_bytes=10) is None
